"""Batching rules of products, convolutions, pooling, norms and losses."""

from __future__ import annotations

from typing import Any

from flambeau.autograd.runtime import NS
from flambeau.func.batched import Operands, rule
from flambeau.func.rules_shape import padded
from flambeau.ops.attention import attention_by_steps
from flambeau.ops.rnn import gru_steps, lstm_steps, rnn_steps


def _k() -> Any:
    return NS["OPS"]


# --- products --------------------------------------------------------------------------------------------------------


@rule("mm bmm matmul")
def _matmul(o: Operands) -> list[Any]:
    ops = _k()
    left, right = o.op.parameters
    a, b = o.inner[left], o.inner[right]
    rank_a, rank_b = o.rank(left), o.rank(right)
    if not rank_a or not rank_b or o.shown[left]._a.shape[-1] != o.shown[right]._a.shape[-2 if rank_b > 1 else 0]:
        raise RuntimeError(
            f"{o.op.name}(): shapes {list(o.shown[left]._a.shape)} and {list(o.shown[right]._a.shape)} can't be "
            "multiplied"
        )
    if rank_a == 1:
        a = ops.unsqueeze(a, -2)
    if rank_b == 1:
        b = ops.unsqueeze(b, -1)
    rank = max(rank_a, rank_b, 2)
    a = padded(a, rank) if o.batched[left] else a
    b = padded(b, rank) if o.batched[right] else b
    product = _joined_product(ops, a, b)
    if rank_a == 1:
        product = ops.squeeze_op(product, -2)
    if rank_b == 1:
        product = ops.squeeze_op(product, -1)
    return [product]


def _joined_product(ops: Any, a: Any, b: Any) -> Any:
    """`a @ b`; rows of a batch that meet one matrix are multiplied in one product."""
    if b._a.ndim == 2 and a._a.ndim > 2 and a._a.size:
        rows = ops.reshape(a, (-1, a._a.shape[-1]))
        return ops.reshape(ops.mm(rows, b), (*a._a.shape[:-1], b._a.shape[-1]))
    return ops.matmul(a, b)


@rule("linear")
def _linear(o: Operands) -> list[Any]:
    ops = _k()
    x, w, bias = o.inner["input"], o.inner["weight"], o.inner["bias"]
    if not o.batched["weight"] and not o.batched["bias"]:
        return o.call()
    rank = o.rank("input")
    if rank == 0 or o.shown["input"]._a.shape[-1] != o.shown["weight"]._a.shape[-1]:
        raise RuntimeError(
            f"linear(): shapes {list(o.shown['input']._a.shape)} and {list(o.shown['weight']._a.shape)} can't be "
            "multiplied"
        )
    vector = o.rank("weight") == 1
    if vector:
        w = ops.unsqueeze(w, -2)
    if not o.batched["weight"]:
        out = ops.linear(x, w, None)
    else:
        if rank == 1:
            x = ops.unsqueeze(x, -2)
        x = padded(x, max(rank, 2)) if o.batched["input"] else x
        out = ops.matmul(x, padded(ops.transpose(w, -2, -1), max(rank, 2)))
        if rank == 1:
            out = ops.squeeze_op(out, -2)
    if vector:
        out = ops.squeeze_op(out, -1)
    if bias is not None:
        out = ops.add(out, padded(bias, rank - 1 if vector else rank) if o.batched["bias"] else bias)
    return [out]


# --- the batch joined with a dimension that is there already ---------------------------------------------------------


def folded(o: Operands, names: tuple[str, ...], lead: int, **changed: Any) -> list[Any]:
    """Calls with the batch joined with the first `lead` dimensions of the operands `names`, and splits it off again."""
    ops = _k()
    shapes = None
    for name in names:
        if o.inner[name] is None:
            continue
        t = o.whole(name)
        shape = t._a.shape
        if lead > 0:
            shapes = shape[: lead + 1]
            size = 1
            for n in shapes:
                size *= n
            t = ops.reshape(t, (size, *shape[lead + 1 :]))
        changed[name] = t
    found = o.call(**changed)
    if shapes is None:
        return found
    return [ops.reshape(t, (*shapes, *t._a.shape[1:])) for t in found]


@rule("channel_shuffle")
def _channel_shuffle(o: Operands) -> list[Any]:
    return folded(o, ("input",), 1)


@rule("multi_margin_loss multilabel_margin_loss")
def _margins(o: Operands) -> Any:
    """Losses of rows: of all rows of all examples at once, each example's then reduced by itself."""
    if o.batched.get("weight"):
        return None
    each, *rest = folded(o, ("input", "target"), 1, reduction="none")
    reduction = o.inner["reduction"]
    if reduction != "none":
        each = (_k().mean if reduction == "mean" else _k().sum)(each, (1,))
    return [each, *rest]


#: Operations on planes: the number of dimensions of one sample (channels and space).
_PLANES = {
    "max_pool2d_op": 3, "max_pool3d_op": 4, "max_pool2d_with_indices_op": 3, "max_pool3d_with_indices_op": 4,
    "avg_pool2d_op": 3, "avg_pool3d_op": 4, "adaptive_avg_pool2d_op": 3, "adaptive_avg_pool3d_op": 4,
    "adaptive_max_pool2d_op": 3, "adaptive_max_pool3d_op": 4,
    "reflection_pad1d": 2, "reflection_pad2d": 3, "reflection_pad3d": 4, "replication_pad1d": 2,
    "replication_pad2d": 3, "replication_pad3d": 4,
    "upsample_bicubic2d": 3, "upsample_bicubic2d_aa": 3, "upsample_bilinear2d": 3, "upsample_bilinear2d_aa": 3,
    "upsample_linear1d": 2, "upsample_nearest1d": 2, "upsample_nearest2d": 3, "upsample_nearest3d": 4,
    "upsample_nearest_exact1d": 2, "upsample_nearest_exact2d": 3, "upsample_nearest_exact3d": 4,
    "upsample_trilinear3d": 3, "col2im": 2, "im2col": 3,
}  # fmt: skip


@rule(" ".join(_PLANES))
def _planes(o: Operands) -> list[Any]:
    return folded(o, ("input",), o.rank("input") - _PLANES[o.op.name])


@rule("max_unpool2d_op max_unpool3d_op")
def _unpool(o: Operands) -> list[Any]:
    return folded(o, ("input", "indices"), o.rank("input") - (3 if o.op.name == "max_unpool2d_op" else 4))


@rule("plane_scatter plane_select max_pool_scatter max_pool_select")
def _plane_places(o: Operands) -> list[Any]:
    grid = o.inner["nd"] if "nd" in o.op.parameters else len(o.inner["kernel"])
    return folded(o, tuple(o.op.parameters[:2]), o.rank(o.op.parameters[0]) - grid - 1)


@rule("avg_pool_input adaptive_avg_pool_input adaptive_avg_pool global_avg_pool_op avg_pool")
def _plane_means(o: Operands) -> list[Any]:
    name = o.op.parameters[0]
    return folded(o, (name,), o.rank(name) - len(o.inner["size"]) - 1)


@rule("fractional_max_pool2d_op fractional_max_pool3d_op")
def _fractional(o: Operands) -> Any:
    if o.rank("input") - len(o.inner["size"]) != 2:
        return None
    return folded(o, ("input", "samples"), 1)


@rule("constant_pad_nd")
def _constant_pad(o: Operands) -> list[Any]:
    return o.call()


@rule("resample_dims")
def _resample(o: Operands) -> list[Any]:
    return o.call(maps=(None, *o.inner["maps"]))


@rule("edge_pad edge_fold")
def _edges(o: Operands) -> list[Any]:
    return o.call(pairs=[(0, 0), *o.inner["pairs"]])


# --- convolution -----------------------------------------------------------------------------------------------------


def _into(t: Any, dim: int) -> Any:
    """A batch with its first dimension joined into dimension `dim` (counted without it), the batch outermost there."""
    ops = _k()
    rank = t._a.ndim - 1
    order = (*range(1, dim + 1), 0, *range(dim + 1, rank + 1))
    moved = ops.permute(t, order)
    shape = moved._a.shape
    return ops.reshape(moved, (*shape[:dim], shape[dim] * shape[dim + 1], *shape[dim + 2 :]))


def _out_of(t: Any, dim: int, n: int) -> Any:
    """The opposite of `_into`."""
    ops = _k()
    shape = t._a.shape
    split = ops.reshape(t, (*shape[:dim], n, shape[dim] // n, *shape[dim + 1 :]))
    return ops.permute(split, (dim, *range(dim), *range(dim + 1, len(shape) + 1)))


def _with_bias(o: Operands, out: Any, single: bool) -> list[Any]:
    bias = o.inner["bias"]
    if bias is None:
        return [out]
    ops = _k()
    space = out._a.ndim - (2 if single else 3)
    shape = bias._a.shape
    if o.batched["bias"]:
        bias = ops.reshape(bias, (shape[0], *(() if single else (1,)), shape[1], *(1,) * space))
    else:
        bias = ops.reshape(bias, (shape[0], *(1,) * space))
    return [ops.add(out, bias)]


@rule("conv conv_input")
def _conv(o: Operands) -> Any:
    ops = _k()
    x, w = o.inner["input"], o.inner["weight"]
    single = o.rank("input") == o.rank("weight") - 1
    bx, bw = o.batched["input"], o.batched["weight"]
    n, groups = o.n, o.inner["groups"]
    shape = o.inner.get("shape")
    changed: dict[str, Any] = {"bias": None}
    if not bw:
        if single:
            return _with_bias(o, _one(o.call(**changed, **_shape(shape, lambda s: (n, *s)))), True)
        rows = x._a.shape[1]
        flat = ops.reshape(x, (n * rows, *x._a.shape[2:]))
        out = _one(o.call(input=flat, **changed, **_shape(shape, lambda s: (n * s[0], *s[1:]))))
        return _with_bias(o, ops.reshape(out, (n, rows, *out._a.shape[1:])), False)
    channels = 0 if single else 1
    if bx or groups > 1:
        x = _into(o.whole("input"), channels)
        groups *= n
    elif o.op.name == "conv_input":
        x = _into(o.whole("input"), channels)
        groups *= n
    joined = ops.reshape(w, (n * w._a.shape[1], *w._a.shape[2:]))
    sized = _shape(shape, lambda s: (*s[:channels], s[channels] * n, *s[channels + 1 :]))
    out = _one(o.call(input=x, weight=joined, groups=groups, **changed, **sized))
    return _with_bias(o, _out_of(out, channels, n), single)


def _one(outputs: list[Any]) -> Any:
    return outputs[0]


def _shape(shape: Any, change: Any) -> dict[str, Any]:
    """The shape argument of a transposed convolution, changed; nothing where there is none."""
    return {} if shape is None else {"shape": change(tuple(shape))}


@rule("conv_weight")
def _conv_weight(o: Operands) -> Any:
    shape = tuple(o.inner["shape"])
    single = o.rank("input") == len(shape) - 1
    channels = 0 if single else 1
    found = o.call(
        grad=_into(o.whole("grad"), channels),
        input=_into(o.whole("input"), channels),
        shape=(o.n * shape[0], *shape[1:]),
        groups=o.inner["groups"] * o.n,
    )
    return [_k().reshape(found[0], (o.n, *shape))]


# --- norms -----------------------------------------------------------------------------------------------------------


@rule("layer_norm rms_norm")
def _layer_norm(o: Operands) -> list[Any]:
    ops = _k()
    if not (o.batched["weight"] or o.batched.get("bias")):
        return o.call()
    changed = {"weight": None} | ({"bias": None} if "bias" in o.op.parameters else {})
    out, *rest = o.call(input=o.whole("input"), **changed)
    rank = o.rank("input")
    for name, join in (("weight", ops.mul), ("bias", ops.add)):
        p = o.inner.get(name)
        if p is not None:
            out = join(out, padded(p, rank) if o.batched[name] else p)
    return [out, *rest]


@rule("group_norm")
def _group_norm(o: Operands) -> list[Any]:
    ops = _k()
    x = o.whole("input")
    n, rows = x._a.shape[:2]
    out, *rest = o.call(input=ops.reshape(x, (n * rows, *x._a.shape[2:])), weight=None, bias=None)
    out = ops.reshape(out, x._a.shape)
    for name, join in (("weight", ops.mul), ("bias", ops.add)):
        p = o.inner[name]
        if p is not None:
            shape = (p._a.shape[0], 1, p._a.shape[1]) if o.batched[name] else (p._a.shape[0],)
            out = join(out, ops.reshape(p, (*shape, *(1,) * (x._a.ndim - 3))))
    return [out, *(ops.reshape(t, (n, t._a.shape[0] // n, *t._a.shape[1:])) for t in rest)]


@rule("native_batch_norm")
def _batch_norm(o: Operands) -> Any:
    ops = _k()
    if o.rank("input") < 2:
        return None
    changed: dict[str, Any] = {"input": _into(o.whole("input"), 1)}
    for name in ("weight", "bias", "running_mean", "running_var"):
        p = o.inner[name]
        if p is not None:
            changed[name] = ops.reshape(o.whole(name), (-1,))
    out, *rest = o.call(**changed)
    return [_out_of(out, 1, o.n), *(ops.reshape(t, (o.n, t._a.size // o.n)) for t in rest)]


# --- losses and attention, made of other operations ------------------------------------------------------------------


def _class_loss(scores: Any, target: Any, weight: Any, ignore_index: int, reduction: str) -> Any:
    """Minus the scores (N, C, ...) at the target classes."""
    ops = _k()
    counted = ops.ne(target, ignore_index)
    safe = ops.where(counted, target, ops.zeros_like(target))
    picked = ops.neg(ops.squeeze_op(ops.gather(scores, 1, ops.unsqueeze(safe, 1)), 1))
    share = ops.to_numpy_dtype(counted, scores._a.dtype)
    if weight is not None:
        flat = ops.reshape(safe, (-1,))
        share = ops.mul(share, ops.reshape(ops.index_select(weight, 0, flat), safe._a.shape))
    each = ops.where(counted, ops.mul(picked, share), ops.zeros_like(picked))
    if reduction == "none":
        return each
    total = ops.sum(each)
    return total if reduction == "sum" else ops.div(total, ops.sum(share))


def _nll(input: Any, target: Any, weight: Any, ignore_index: int, reduction: str) -> Any:
    return _class_loss(input, target, weight, ignore_index, reduction)


def _cross_entropy(input: Any, target: Any, weight: Any, ignore_index: int, reduction: str) -> Any:
    return _class_loss(_k().log_softmax(input, 1), target, weight, ignore_index, reduction)


def _attention(query: Any, key: Any, value: Any, mask: Any, causal: bool, scale: float) -> Any:
    return attention_by_steps(query, key, value, mask, causal, scale, 0.0)[0]


def _trilinear(input1: Any, weight: Any, input2: Any) -> Any:
    ops = _k()
    rows = ops.matmul(ops.unsqueeze(ops.unsqueeze(input1, 1), 1), weight)
    return ops.squeeze(ops.squeeze(ops.matmul(rows, ops.unsqueeze(ops.unsqueeze(input2, 1), 3)), 3), 2)


NS["DECOMPOSED"] |= {
    "nll_loss": _nll,
    "nll_loss2d": _nll,
    "cross_entropy_rows": _cross_entropy,
    "attention": _attention,
    "trilinear": _trilinear,
    "lstm_layer": lstm_steps,
    "gru_layer": gru_steps,
    "rnn_layer": rnn_steps,
}
