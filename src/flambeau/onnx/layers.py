"""ONNX nodes for layers: convolution, pooling, norms, attention, resizing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.export.extents import Extent
from flambeau.export.program import Fitting
from flambeau.onnx.elementwise import Formula
from flambeau.onnx.graph import Graph, Operand, emits, is_fixed

Sizes = Sequence[int]


@emits("conv")
def _conv(
    g: Graph, x: Operand, weight: Operand, bias: Any, stride: Sizes, padding: Any, dilation: Sizes, groups: int
) -> str:
    return g.node(
        "Conv", x, weight, bias, kernel_shape=list(weight.shape[2:]), strides=list(stride), dilations=list(dilation),
        pads=_both_ends(padding), group=groups,
    )  # fmt: skip


def _both_ends(padding: Sequence[Any]) -> list[int]:
    """Padding, one number or a pair per dimension, as ONNX has it: all before, then all after."""
    pairs = [(p, p) if isinstance(p, int) else p for p in padding]
    return [b for b, _ in pairs] + [e for _, e in pairs]


@emits("conv_input")
def _conv_transpose(
    g: Graph, x: Operand, weight: Operand, bias: Any, shape: Any, stride: Sizes, padding: Any, dilation: Sizes,
    groups: int,
) -> str:  # fmt: skip
    more = []
    for i, (s, p, d, k) in enumerate(zip(stride, padding, dilation, weight.shape[2:], strict=True)):
        have, want = _sample(g, x.shape[i + 2]), _sample(g, shape[i + 2])
        more.append(want - ((have - 1) * s - 2 * p + d * (k - 1) + 1))
    return g.node(
        "ConvTranspose", x, weight, bias, kernel_shape=list(weight.shape[2:]), strides=list(stride),
        dilations=list(dilation), pads=_both_ends(padding), group=groups, output_padding=more,
    )  # fmt: skip


def _sample(g: Graph, n: Any) -> int:
    """A size for sizes of the inputs that are all the same: differences of sizes do not hang on them."""
    if isinstance(n, Extent):
        return n.at(dict.fromkeys((name for m in n.terms for name in m), 960))
    if n < 0:
        raise g.unsupported("a transposed convolution of an input whose size is not known")
    return n


# --- pooling ----------------------------------------------------------------------------------------------------------


def _reach(x: Operand, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, size: Any) -> list[int] | None:
    """How far the last windows reach beyond the padding; None where sizes vary."""
    lengths = x.shape[x.rank - len(kernel) :]
    if isinstance(size, Fitting) or not all(is_fixed(n) for n in (*lengths, *size)):
        return None
    settings = zip(lengths, kernel, stride, padding, dilation, size, strict=True)
    return [max((m - 1) * s + d * (k - 1) + 1 - n - 2 * p, 0) for n, k, s, p, d, m in settings]


def _pool(
    g: Graph, kind: str, x: Operand, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, size: Any,
    outputs: int = 1, **more: Any,
) -> Any:  # fmt: skip
    reach = _reach(x, kernel, stride, padding, dilation, size)
    pads = [*padding, *(p + r for p, r in zip(padding, reach or [0] * len(padding), strict=True))]
    inner, folded = _folded(g, x, len(kernel))
    ceil = int(isinstance(size, Fitting) and size.ceil)
    found = g.node(
        kind, inner, kernel_shape=list(kernel), strides=list(stride), pads=pads, ceil_mode=ceil, outputs=outputs, **more
    )
    if not folded:
        return found
    return [_unfolded(g, f) for f in found] if outputs > 1 else _unfolded(g, found)


def _folded(g: Graph, x: Operand, spatial: int) -> tuple[Any, bool]:
    """A value with a batch and a channel dimension."""
    if x.rank == spatial + 1:
        return g.unsqueeze(x, 0), True
    return x, False


def _unfolded(g: Graph, name: str) -> str:
    return g.squeeze(name, 0)


@emits("max_pool2d_op", "max_pool3d_op")
def _max_pool(g: Graph, x: Operand, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, size: Any) -> Any:
    return _pool(g, "MaxPool", x, kernel, stride, padding, dilation, size, dilations=list(dilation))


@emits("max_pool2d_with_indices_op", "max_pool3d_with_indices_op")
def _max_pool_indices(
    g: Graph, x: Operand, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, size: Any
) -> Any:
    plane = x.shape[x.rank - len(kernel) :]
    if not all(is_fixed(n) for n in plane):
        raise g.unsupported("max pooling with indices of an input whose size may vary")
    values, places = _pool(g, "MaxPool", x, kernel, stride, padding, dilation, size, 2, dilations=list(dilation))
    return values, g.node("Mod", places, g.number(math.prod(plane), np.int64))


@emits("avg_pool", "avg_pool2d_op", "avg_pool3d_op")
def _avg_pool(
    g: Graph, x: Operand, kernel: Sizes, stride: Sizes, padding: Sizes, size: Any, include_pad: bool, divisor: Any
) -> Any:
    ones = (1,) * len(kernel)
    reach = _reach(x, kernel, stride, padding, ones, size)
    volume = math.prod(kernel)
    if divisor is not None:
        total = _pool(g, "AveragePool", x, kernel, stride, padding, ones, size, count_include_pad=1)
        return g.node("Mul", total, g.number(volume / divisor, x.dtype))
    found = _pool(g, "AveragePool", x, kernel, stride, padding, ones, size, count_include_pad=int(include_pad))
    if not include_pad or not reach or not any(reach):
        return found
    factors: Any = np.ones((), np.float64)  # windows at the far end count what is padded, not what lies beyond it
    for n, k, s, p, m in zip(x.shape[x.rank - len(kernel) :], kernel, stride, padding, size, strict=True):
        start = np.arange(m) * s - p
        counted = np.minimum(start + k, n + p) - start
        factors = factors[..., None] * (k / counted)
    return g.node("Mul", found, g.tensor(factors.astype(x.dtype)))


def _windows(g: Graph, n: Any, out: int) -> list[tuple[int, int]]:
    if not is_fixed(n):
        raise g.unsupported("adaptive pooling of a dimension whose size may vary, to more than one place,")
    return [(i * n // out, -(-(i + 1) * n // out)) for i in range(out)]


@emits("adaptive_avg_pool", "adaptive_avg_pool2d_op", "adaptive_avg_pool3d_op", "global_avg_pool_op")
def _adaptive_avg(g: Graph, x: Operand, size: Sizes) -> Any:
    result: Any = x
    first = x.rank - len(size)
    ones = [first + i for i, m in enumerate(size) if m == 1]
    if ones:
        result = g.reduce("Mean", result, ones, True)
    for i, m in enumerate(size):
        axis = first + i
        if m == 1 or m == x.shape[axis]:
            continue
        windows = _windows(g, x.shape[axis], m)
        matrix = np.zeros((x.shape[axis], m), x.dtype)
        for column, (start, stop) in enumerate(windows):
            matrix[start:stop, column] = 1 / (stop - start)
        order = [*(d for d in range(x.rank) if d != axis), axis]
        product = g.node("MatMul", g.transpose(result, order), g.tensor(matrix))
        result = g.transpose(product, [order.index(d) for d in range(x.rank)])
    return result if result is not x else g.node("Identity", x)


@emits("adaptive_max_pool2d_op", "adaptive_max_pool3d_op")
def _adaptive_max(g: Graph, x: Operand, size: Sizes) -> Any:
    result: Any = x
    first = x.rank - len(size)
    for i, m in enumerate(size):
        axis = first + i
        if m == 1:
            result = g.reduce("Max", result, [axis], True)
        elif m != x.shape[axis]:
            parts = [
                g.reduce("Max", g.slice(result, axis, start, stop), [axis], True)
                for start, stop in _windows(g, x.shape[axis], m)
            ]
            result = g.node("Concat", *parts, axis=axis)
    return (result if result is not x else g.node("Identity", x)), *[None] * (len(g.results) - 1)


# --- norms ------------------------------------------------------------------------------------------------------------


@emits("native_batch_norm")
def _batch_norm(g: Graph, x: Operand, weight: Any, bias: Any, mean: Any, var: Any, training: bool, eps: float) -> Any:
    channels = x.shape[1]
    if training:
        axes = [0, *range(2, x.rank)]
        return _normalized(g, x, axes, weight, bias, eps, [1, channels] + [1] * (x.rank - 2)), None, None
    one = weight if weight is not None else g.tensor(np.ones(channels, x.dtype))
    zero = bias if bias is not None else g.tensor(np.zeros(channels, x.dtype))
    return g.node("BatchNormalization", x, one, zero, mean, var, epsilon=float(eps)), None, None


def _normalized(
    g: Graph, x: Any, axes: Sequence[int], weight: Any, bias: Any, eps: float, view: Any, dtype: Any = None
) -> str:
    f = Formula(g, x.dtype if isinstance(x, Operand) else dtype)
    centred = f("Sub", x, g.reduce("Mean", x, axes, True))
    var = g.reduce("Mean", f("Mul", centred, centred), axes, True)
    result = f("Div", centred, f("Sqrt", f("Add", var, float(eps))))
    return _affine(g, result, weight, bias, view)


def _affine(g: Graph, x: str, weight: Any, bias: Any, view: Any) -> str:
    if weight is not None:
        x = g.node("Mul", x, weight if view is None else g.reshape(weight, view))
    return x if bias is None else g.node("Add", x, bias if view is None else g.reshape(bias, view))


@emits("layer_norm")
def _layer_norm(g: Graph, x: Operand, shape: Sizes, weight: Any, bias: Any, eps: float) -> str:
    if all(is_fixed(n) for n in shape):
        scale = weight if weight is not None else g.tensor(np.ones(tuple(shape), x.dtype))
        return g.node("LayerNormalization", x, scale, bias, axis=-len(shape), epsilon=float(eps))
    axes = list(range(x.rank - len(shape), x.rank))
    return _normalized(g, x, axes, weight, bias, eps, None)


@emits("rms_norm")
def _rms_norm(g: Graph, x: Operand, shape: Sizes, weight: Any, eps: float) -> str:
    f = Formula(g, x.dtype)
    axes = list(range(x.rank - len(shape), x.rank))
    mean = g.reduce("Mean", f("Mul", x, x), axes, True)
    return _affine(g, f("Div", x, f("Sqrt", f("Add", mean, float(eps)))), weight, None, None)


@emits("group_norm")
def _group_norm(g: Graph, x: Operand, groups: int, weight: Any, bias: Any, eps: float) -> str:
    split = g.node("Reshape", x, g.ints([0, groups, -1]))
    normal = _normalized(g, split, [2], None, None, eps, None, x.dtype)
    back = g.node("Reshape", normal, g.node("Shape", x))
    return _affine(g, back, weight, bias, [1, x.shape[1]] + [1] * (x.rank - 2))


# --- attention --------------------------------------------------------------------------------------------------------


@emits("attention")
def _attention(
    g: Graph, query: Operand, key: Operand, value: Operand, mask: Any = None, causal: bool = False, scale: Any = 1.0
) -> str:
    f = Formula(g, query.dtype)
    turned = [*range(key.rank - 2), key.rank - 1, key.rank - 2]
    factor = scale if isinstance(scale, float) else g.number(scale, query.dtype)
    scores = f("MatMul", f("Mul", query, factor), g.transpose(key, turned))
    if causal:
        rows, columns = g.slice(g.shape_of(query), 0, -2, -1), g.slice(g.shape_of(key), 0, -2, -1)
        whole = g.node("Expand", f("Identity", 1.0), g.node("Concat", rows, columns, axis=0))
        scores = f("Where", f("Greater", f("Trilu", whole, upper=0), 0.0), scores, -math.inf)
    if mask is not None and mask.dtype == np.bool_:
        scores = f("Where", mask, scores, -math.inf)
    elif mask is not None:
        scores = f("Add", scores, mask)
    weights = f("Softmax", scores, axis=-1)
    if mask is not None:  # rows that may see nothing give zeros
        weights = f("Where", f("IsNaN", weights), 0.0, weights)
    return f("MatMul", weights, value)


# --- resizing ---------------------------------------------------------------------------------------------------------


@emits("whole.interpolate")
def _interpolate(g: Graph, args: tuple, named: list[tuple[str, Any]]) -> str:
    names = ("input", "size", "scale_factor", "mode", "align_corners", "recompute_scale_factor", "antialias")
    given = {**dict(zip(names, args, strict=False)), **dict(named)}
    x, mode, n = given["input"], given.get("mode", "nearest"), given["input"].rank - 2
    size, factor = given.get("size"), given.get("scale_factor")
    if mode == "area" or (given.get("antialias") and g.opset < 18):
        raise g.unsupported(f"interpolate with mode {mode!r}{' and antialias' if given.get('antialias') else ''}")
    exact = mode == "nearest-exact"
    kind = {"nearest": "nearest", "nearest-exact": "nearest", "bicubic": "cubic"}.get(mode, "linear")
    where = "half_pixel" if exact or kind != "nearest" else "asymmetric"
    if given.get("align_corners"):
        where = "align_corners"
    options: dict[str, Any] = {"antialias": 1} if given.get("antialias") else {}
    if kind == "nearest":
        options["nearest_mode"] = "round_prefer_ceil" if exact else "floor"
    if kind == "cubic":
        options["cubic_coeff_a"] = -0.5 if given.get("antialias") else -0.75
    scales = sizes = None
    if size is not None:
        wanted = list(size) if isinstance(size, (tuple, list)) else [size] * n
        sizes = g.node("Concat", g.slice(g.shape_of(x), 0, 0, 2), g.ints(wanted), axis=0)
    else:
        factors: list[Any] = list(factor) if isinstance(factor, (tuple, list)) else [factor] * n
        scales = g.tensor(np.array([1.0, 1.0, *[float(v) for v in factors]], np.float32))
    return g.node("Resize", x, None, scales, sizes, mode=kind, coordinate_transformation_mode=where, **options)
