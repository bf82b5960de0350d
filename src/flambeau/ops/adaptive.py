"""Pools told by their output: adaptive and fractional pooling; and max pooling undone.

`plane_scatter` (add at flat positions) and `plane_select` (take from them) are each other's derivatives, as are
`adaptive_avg_pool` and `adaptive_avg_pool_input`.
"""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau.errors import describe, need_tensor
from flambeau.ops.conv import ints
from flambeau.ops.core import op
from flambeau.ops.dispatch import checks_values
from flambeau.ops.pool import check_pool_dtype
from flambeau.ops.random_ops import rand
from flambeau.ops.shape import squeeze, unsqueeze

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool1d_with_indices",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool3d",
    "adaptive_max_pool3d_with_indices",
    "fractional_max_pool2d",
    "fractional_max_pool2d_with_indices",
    "fractional_max_pool3d",
    "fractional_max_pool3d_with_indices",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
]


# --- the ops ------------------------------------------------------------------------------------------------------


@op(name="plane_scatter", grad_name="PlaneScatterBackward0")
def _plane_scatter(k, grad: Tensor, indices: Index, size, nd):
    """Zeros whose last `nd` dimensions are `size`, with `grad` added at flat `indices`."""
    return k.plane_scatter(grad, indices, size, nd)


@_plane_scatter.derivative("grad")
def _(k, g, indices, nd):
    return k.plane_select(g, indices, nd)


@op(name="plane_select", grad_name="PlaneSelectBackward0")
def _plane_select(k, input: Tensor, indices: Index, nd):
    """The elements at flat `indices` in the last `nd` dimensions."""
    return k.plane_select(input, indices, nd)


@_plane_select.derivative("input")
def _(k, g, indices, input_shape, nd):
    return k.plane_scatter(g, indices, input_shape[-nd:], nd)


def _declare_avg(name: str, grad_name: str) -> Any:
    def compute(k, input: Tensor, size):
        return k.adaptive_avg_pool(input, size)

    function = op(compute, name=name, grad_name=grad_name)

    @function.derivative("input")
    def _(k, g, input_shape, size):
        return k.adaptive_avg_pool_input(g, input_shape[-len(size) :])

    return function


_declare_avg("adaptive_avg_pool", "AdaptiveAvgPoolBackward0")
_global_avg = _declare_avg("global_avg_pool_op", "MeanBackward1")
_avg = {nd: _declare_avg(f"adaptive_avg_pool{nd}d_op", f"AdaptiveAvgPool{nd}DBackward0") for nd in (2, 3)}


@op(name="adaptive_avg_pool_input", grad_name="AdaptiveAvgPoolBackwardBackward0")
def _adaptive_avg_pool_input(k, grad: Tensor, size):
    """Each window's share for all of its elements, in an input of spatial `size`."""
    return k.adaptive_avg_pool_input(grad, size)


@_adaptive_avg_pool_input.derivative("grad")
def _(k, g, grad_shape, size):
    return k.adaptive_avg_pool(g, grad_shape[-len(size) :])


def _declare_max(nd: int) -> Any:
    def compute(k, input: Tensor, size):
        return k.adaptive_max_pool(input, size)

    function = op(
        compute, name=f"adaptive_max_pool{nd}d_op", outputs=2, nondiff=(1,), grad_name=f"AdaptiveMaxPool{nd}DBackward0"
    )

    @function.derivative("input")
    def _(k, g0, out1, input_shape):
        return k.plane_scatter(g0, out1, input_shape[-nd:], nd)

    return function


def _declare_fractional(nd: int) -> Any:
    def compute(k, input: Tensor, samples: Index, kernel, size):
        return k.fractional_max_pool(input, kernel, size, samples)

    function = op(
        compute,
        name=f"fractional_max_pool{nd}d_op", outputs=2, nondiff=(1,), grad_name=f"FractionalMaxPool{nd}DBackward0",
    )  # fmt: skip

    @function.derivative("input")
    def _(k, g0, out1, input_shape):
        return k.plane_scatter(g0, out1, input_shape[-nd:], nd)

    return function


def _declare_unpool(nd: int) -> Any:
    def compute(k, input: Tensor, indices: Index, size):
        return k.plane_put(input, indices, size, nd)

    function = op(compute, name=f"max_unpool{nd}d_op", grad_name=f"MaxUnpool{nd}DBackward0")

    @function.derivative("input")
    def _(k, g, indices):
        return k.plane_select(g, indices, nd)

    return function


_max = {nd: _declare_max(nd) for nd in (2, 3)}
_fractional = {nd: _declare_fractional(nd) for nd in (2, 3)}
_unpool = {nd: _declare_unpool(nd) for nd in (2, 3)}


# --- adaptive -----------------------------------------------------------------------------------------------------


def _check_adaptive(name: str, nd: int, input: Any, output_size: Any) -> tuple[int, ...]:
    """The output's spatial size: None keeps the input's."""
    need_tensor(name, input, "input")
    given = output_size
    if isinstance(given, Sequence) and not isinstance(given, str):
        if len(given) >= input.ndim and nd > 1:
            raise ValueError(
                f"{name}(): an input of at least {len(given) + 1} dimensions is needed, got {describe(input)}"
            )
        if len(given) == nd:
            given = tuple(n if o is None else o for o, n in zip(given, input.shape[-nd:]))
    size = ints(name, "output_size", given, nd)
    if input.ndim not in (nd + 1, nd + 2):
        raise RuntimeError(
            f"{name}(): expected an input of {nd + 1} (unbatched) or {nd + 2} dimensions, got {describe(input)}"
        )
    if min(size) < 0:
        raise RuntimeError(f"{name}(): output sizes must not be negative, got {list(size)}")
    return size


def _adaptive_avg(name: str, nd: int, input: Any, output_size: Any) -> Any:
    size = _check_adaptive(name, nd, input, output_size)
    if size == (1,) * nd:
        if input._a.dtype.kind not in "fcV":
            raise RuntimeError(f"{name}(): expected a floating-point or complex input, got {describe(input)}")
        return _global_avg(input, size)
    if 0 in input.shape[-nd:]:
        raise RuntimeError(f"{name}(): only batch and channels may be empty, got an input of {list(input.shape)}")
    check_pool_dtype(name, input, False)
    return _avg[nd](input, size)


def adaptive_avg_pool1d(input: Any, output_size: Any) -> Any:
    """Means over `output_size` windows that share the last dimension of `input` (N, C, L) or (C, L) out evenly.

    Window i covers positions `i L // output_size` to `ceil((i + 1) L / output_size)`.

    >>> import flambeau as torch
    >>> torch.nn.functional.adaptive_avg_pool1d(torch.tensor([[1.0, 2.0, 3.0]]), 2)
    tensor([[1.5000, 2.5000]])
    """
    size = _check_adaptive("adaptive_avg_pool1d", 1, input, output_size)
    return squeeze(_adaptive_avg("adaptive_avg_pool1d", 2, unsqueeze(input, -2), (1, *size)), -2)


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Any:
    """Means over windows that share H x W of `input` (N, C, H, W) or (C, H, W) out evenly; as `adaptive_avg_pool1d`.

    `output_size` is an int or two; None keeps a dimension.
    """
    return _adaptive_avg("adaptive_avg_pool2d", 2, input, output_size)


def adaptive_avg_pool3d(input: Any, output_size: Any) -> Any:
    """Means over windows that share D x H x W of `input` (N, C, D, H, W) or (C, D, H, W) out evenly."""
    return _adaptive_avg("adaptive_avg_pool3d", 3, input, output_size)


def _adaptive_max(name: str, nd: int, input: Any, output_size: Any) -> Any:
    size = _check_adaptive(name, nd, input, output_size)
    if 0 in input.shape[1 if input.ndim == nd + 2 else 0 :]:
        raise RuntimeError(f"{name}(): only the batch may be empty, got an input of size {list(input.shape)}")
    check_pool_dtype(name, input, False)
    return _max[nd](input, size)


def adaptive_max_pool1d_with_indices(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """`adaptive_max_pool1d` and the positions of the maxima."""
    size = _check_adaptive("adaptive_max_pool1d", 1, input, output_size)
    out, indices = _adaptive_max("adaptive_max_pool1d", 2, unsqueeze(input, -2), (1, *size))
    return squeeze(out, -2), squeeze(indices, -2)


def adaptive_max_pool2d_with_indices(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """`adaptive_max_pool2d` and the positions of the maxima."""
    return _adaptive_max("adaptive_max_pool2d", 2, input, output_size)


def adaptive_max_pool3d_with_indices(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """`adaptive_max_pool3d` and the positions of the maxima."""
    return _adaptive_max("adaptive_max_pool3d", 3, input, output_size)


def adaptive_max_pool1d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima over the windows of `adaptive_avg_pool1d`; with `return_indices` also their positions (int64)."""
    result = adaptive_max_pool1d_with_indices(input, output_size)
    return result if return_indices else result[0]


def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima over the windows of `adaptive_avg_pool2d`; with `return_indices` also their flat positions (int64)."""
    result = adaptive_max_pool2d_with_indices(input, output_size)
    return result if return_indices else result[0]


def adaptive_max_pool3d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima over the windows of `adaptive_avg_pool3d`; with `return_indices` also their flat positions (int64)."""
    result = adaptive_max_pool3d_with_indices(input, output_size)
    return result if return_indices else result[0]


# --- fractional ---------------------------------------------------------------------------------------------------


def _fractional_pool(
    name: str, nd: int, input: Any, kernel_size: Any, output_size: Any, output_ratio: Any, samples: Any
) -> Any:
    need_tensor(name, input, "input")
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name}(): give either output_size or output_ratio")
    if input.ndim not in (nd + 1, nd + 2) or 0 in input.shape[1 if input.ndim == nd + 2 else 0 :]:
        raise RuntimeError(
            f"{name}(): expected an input of {nd + 1} (unbatched) or {nd + 2} dimensions that are not empty, got "
            f"{describe(input)}"
        )
    check_pool_dtype(name, input, False)
    kernel, space = ints(name, "kernel_size", kernel_size, nd), input.shape[-nd:]
    if output_size is None:
        if len(output_ratio) != nd:
            raise ValueError(f"{name}(): output_ratio must hold {nd} numbers, got {output_ratio!r}")
        output_size = tuple(int(n * r) for n, r in zip(space, output_ratio))
    size = ints(name, "output_size", output_size, nd)
    for n, k, o in zip(space, kernel, size):
        if k < 1 or o < 1 or o + k - 1 > n - (nd == 3):
            raise RuntimeError(
                f"{name}(): windows of {list(kernel)} do not fit: an output of {list(size)} from an input of "
                f"{list(space)} needs output + kernel - 1 {'<' if nd == 3 else '<='} input"
            )
    planes = (input.shape[0] if input.ndim == nd + 2 else 1, input.shape[-nd - 1], nd)
    if samples is None:
        samples = rand(*planes, dtype=input.dtype)
    need_tensor(name, samples, "_random_samples")
    if samples.dim() == 3 and samples.shape[0] > planes[0]:  # samples for a larger batch do as well
        samples = samples[: planes[0]]
    if tuple(samples.shape) != planes or samples.dtype is not input.dtype:
        raise RuntimeError(
            f"{name}(): _random_samples must be {input.dtype} of size {list(planes)}, got {describe(samples)}"
        )
    return _fractional[nd](input, samples, kernel, size)


def fractional_max_pool2d_with_indices(
    input: Any, kernel_size: Any, output_size: Any = None, output_ratio: Any = None, return_indices: bool = False,
    _random_samples: Any = None,
) -> Any:  # fmt: skip
    """`fractional_max_pool2d` and the flat positions of the maxima."""
    return _fractional_pool("fractional_max_pool2d", 2, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool3d_with_indices(
    input: Any, kernel_size: Any, output_size: Any = None, output_ratio: Any = None, return_indices: bool = False,
    _random_samples: Any = None,
) -> Any:  # fmt: skip
    """`fractional_max_pool3d` and the flat positions of the maxima."""
    return _fractional_pool("fractional_max_pool3d", 3, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool2d(
    input: Any, kernel_size: Any, output_size: Any = None, output_ratio: Any = None, return_indices: bool = False,
    _random_samples: Any = None,
) -> Any:  # fmt: skip
    """Maxima over `kernel_size` windows at random places of `input` (N, C, H, W) or (C, H, W).

    The output is `output_size`, or `output_ratio` (two numbers below 1) times the input's size. Graham 2014,
    arXiv:1412.6071. ValueError without either, RuntimeError where windows do not fit.
    """
    result = fractional_max_pool2d_with_indices(
        input, kernel_size, output_size, output_ratio, _random_samples=_random_samples
    )
    return result if return_indices else result[0]


def fractional_max_pool3d(
    input: Any, kernel_size: Any, output_size: Any = None, output_ratio: Any = None, return_indices: bool = False,
    _random_samples: Any = None,
) -> Any:  # fmt: skip
    """Maxima over `kernel_size` windows at random places of `input` (N, C, D, H, W) or (C, D, H, W); see 2d."""
    result = fractional_max_pool3d_with_indices(
        input, kernel_size, output_size, output_ratio, _random_samples=_random_samples
    )
    return result if return_indices else result[0]


# --- max pooling undone -------------------------------------------------------------------------------------------


def _unpool_size(name: str, space: Any, kernel: Any, stride: Any, padding: Any, output_size: Any) -> tuple[int, ...]:
    nd = len(kernel)
    usual = tuple((n - 1) * s + k - 2 * p for n, k, s, p in zip(space, kernel, stride, padding))
    if output_size is None:
        return usual
    size = tuple(output_size)
    if len(size) == nd + 2:
        size = size[2:]
    if len(size) != nd:
        raise ValueError(f"{name}(): output_size must hold {nd} or {nd + 2} numbers, got {tuple(output_size)}")
    for n, u, s in zip(size, usual, stride):
        if not u - s < n < u + s:
            raise ValueError(
                f"{name}(): output_size {size} can't come from this pooling: each must be less than the stride "
                f"{tuple(stride)} away from {usual}"
            )
    return size


def _max_unpool(
    name: str, nd: int, input: Any, indices: Any, kernel: Any, stride: Any, padding: Any, output_size: Any
) -> Any:
    need_tensor(name, input, "input")
    need_tensor(name, indices, "indices")
    if input.ndim not in (nd + 1, nd + 2):
        raise RuntimeError(f"{name}(): expected an input of {nd + 1} or {nd + 2} dimensions, got {describe(input)}")
    kernel = ints(name, "kernel_size", kernel, nd)
    stride = kernel if stride is None else ints(name, "stride", stride, nd)
    padding = ints(name, "padding", padding, nd)
    if indices._a.dtype.kind != "i" or indices._a.dtype.itemsize != 8:
        raise RuntimeError(f"{name}(): indices must be int64, got {describe(indices)}")
    if indices.shape != input.shape:
        raise RuntimeError(
            f"{name}(): indices must have the input's shape {list(input.shape)}, got {list(indices.shape)}"
        )
    size = _unpool_size(name, input.shape[-nd:], kernel, stride, padding, output_size)
    places = 1
    for n in size:
        places *= n
    if min(size) < 1:
        raise RuntimeError(f"{name}(): found an index outside of the output, whose spatial size is {list(size)}")
    _check_places(name, indices, places, size)
    return size


@checks_values
def _check_places(name: str, indices: Any, places: int, size: tuple[int, ...]) -> None:
    at = indices._a
    if at.size and indices._level is None and (at.min() < 0 or at.max() >= places):
        raise RuntimeError(f"{name}(): found an index outside of the output, whose spatial size is {list(size)}")


def max_unpool1d(
    input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Any:
    """Puts each element of `input` (N, C, L) or (C, L) at its position in `indices`, zero elsewhere.

    Undoes `max_pool1d` with the same settings as far as that can be; `output_size` settles which of the possible
    lengths. RuntimeError for an index out of range, ValueError for an impossible `output_size`.

    >>> import flambeau as torch
    >>> F = torch.nn.functional
    >>> F.max_unpool1d(*F.max_pool1d(torch.tensor([[1.0, 3.0, 2.0, 0.0]]), 2, return_indices=True), 2)
    tensor([[0., 3., 2., 0.]])
    """
    size = _max_unpool("max_unpool1d", 1, input, indices, kernel_size, stride, padding, output_size)
    return squeeze(_unpool[2](unsqueeze(input, -1), unsqueeze(indices, -1), (*size, 1)), -1)


def max_unpool2d(
    input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Any:
    """Puts each element of `input` (N, C, H, W) or (C, H, W) at its flat position in `indices`; as `max_unpool1d`."""
    size = _max_unpool("max_unpool2d", 2, input, indices, kernel_size, stride, padding, output_size)
    return _unpool[2](input, indices, size)


def max_unpool3d(
    input: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Any:
    """Puts each element of `input` (N, C, D, H, W) or (C, D, H, W) at its flat position in `indices`."""
    size = _max_unpool("max_unpool3d", 3, input, indices, kernel_size, stride, padding, output_size)
    return _unpool[3](input, indices, size)
