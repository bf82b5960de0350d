"""Batching rules of elementwise operations, reductions, and everything that names dimensions or shapes."""

from __future__ import annotations

from typing import Any

from flambeau.autograd.runtime import NS
from flambeau.func.batched import Operands, rule
from flambeau.ops.declare import INDEX, PLAIN, TENSORS


def aligned(o: Operands, rank: int) -> dict[str, Any]:
    """Operands that broadcast: batched ones get dimensions of length 1 after the batch, up to `rank`."""
    found: dict[str, Any] = {}
    for name, value in o.inner.items():
        if o.batched[name] is True:
            found[name] = padded(value, rank)
    return found


def padded(inner: Any, rank: int) -> Any:
    """A batch with dimensions of length 1 after the batch dimension, so that each example has `rank`."""
    shape = inner._a.shape
    missing = rank + 1 - len(shape)
    return inner if missing <= 0 else NS["OPS"].reshape(inner, (shape[0], *(1,) * missing, *shape[1:]))


def top_rank(o: Operands) -> int:
    """The most dimensions that a program sees among the operands."""
    return max(t._a.ndim for t, kind in zip(o.shown.values(), o.op.kinds, strict=True) if _is_tensor(t, kind))


def _is_tensor(value: Any, kind: str) -> bool:
    return kind not in (PLAIN, TENSORS) and value is not None


@rule("elementwise gelu silu drop drop_and_shift rrelu_with_noise binary_cross_entropy")
def _elementwise(o: Operands) -> list[Any]:
    rank = top_rank(o)
    changed = aligned(o, rank)
    reduction = o.inner.get("reduction", "none") if "reduction" in o.op.parameters else "none"
    if reduction == "none":
        return o.call(**changed)
    (each,) = o.call(**changed, reduction="none")
    dims = tuple(range(1, each._a.ndim))
    if not dims:
        return [each]
    return [NS["OPS"].mean(each, dims) if reduction == "mean" else NS["OPS"].sum(each, dims)]


@rule("linalg_cross")
def _cross(o: Operands) -> list[Any]:
    rank = top_rank(o)
    dim = o.inner["dim"]
    return o.call(**aligned(o, rank), dim=dim - rank if dim >= 0 else dim)


def place(dim: int, rank: int) -> int:
    """A dimension that a program names, as one of the batch's; errors are left to the operation."""
    if not -max(rank, 1) <= dim < max(rank, 1):
        raise IndexError(
            f"dimension out of range: {dim} came for {rank} dimensions, which are named from {-max(rank, 1)} to "
            f"{max(rank, 1) - 1}"
        )
    return dim + 1 if dim >= 0 else dim + max(rank, 1) + 1


def places(dims: Any, rank: int) -> tuple[int, ...]:
    """`place` of one or several dimensions."""
    return tuple(place(d, rank) for d in (dims if isinstance(dims, (tuple, list)) else (dims,)))


@rule("sum mean nansum amax amin all any var_op std_op linalg_vector_norm logsumexp")
def _reduction(o: Operands) -> list[Any]:
    rank = o.rank("input")
    dim = o.inner["dim"]
    x = o.inner["input"]
    if rank == 0:
        if dim not in (None, ()):
            places(dim, 0)
        return o.call(input=NS["OPS"].unsqueeze(x, 1), dim=1 if o.op.name in ("all", "any") else (1,), keepdim=False)
    if dim is None or (isinstance(dim, (tuple, list)) and not dim):
        dims: Any = tuple(range(1, rank + 1))
        if o.op.name in ("all", "any") and isinstance(o.inner["dim"], (tuple, list)):
            return [NS["OPS"].ne(x, 0)]
    else:
        dims = places(dim, rank)
    return o.call(dim=dims)


@rule("max_all min_all prod_all median_all")
def _of_all(o: Operands) -> list[Any]:
    x = o.inner["input"]
    ops = NS["OPS"]
    flat = ops.reshape(x, (o.n, -1)) if x._a.size or not o.n else ops.reshape(x, (o.n, 0))
    name = o.op.name
    if name == "prod_all":
        return [ops.prod_dim(flat, 1, dtype=o.inner["dtype"])]
    if name == "median_all":
        return [ops.median_dim(flat, 1, False, o.inner["skip_nan"])[0]]
    return [(ops.amax if name == "max_all" else ops.amin)(flat, (1,))]


@rule("argmax argmin")
def _argument(o: Operands) -> list[Any]:
    x, rank = o.inner["input"], o.rank("input")
    ops = NS["OPS"]
    if o.inner["dim"] is None:
        (found,) = o.call(input=ops.reshape(x, (o.n, -1)), dim=1, keepdim=False)
        return [ops.reshape(found, (o.n, *(1,) * rank)) if o.inner["keepdim"] else found]
    if rank == 0:
        places(o.inner["dim"], 0)
        return o.call(input=ops.unsqueeze(x, 1), dim=1, keepdim=False)
    return o.call(dim=place(o.inner["dim"], rank))


@rule(
    "softmax log_softmax cumsum cumprod logcumsumexp glu prod_dim max_dim min_dim median_dim kthvalue_op mode_op "
    "sort_op topk_op cummax_op cummin_op windows"
)
def _along(o: Operands) -> list[Any]:
    """One operand, one dimension; a tensor without dimensions is taken for one of length 1."""
    rank = o.rank("input")
    dim = place(o.inner["dim"], rank)
    if rank:
        return o.call(dim=dim)
    found = o.call(input=NS["OPS"].unsqueeze(o.inner["input"], 1), dim=1)
    return [t if t._a.ndim == 1 else NS["OPS"].squeeze_op(t, 1) for t in found]


@rule("renorm")
def _renorm(o: Operands) -> list[Any]:
    return o.call(dims=places(o.inner["dims"], o.rank("input")))


@rule("flip")
def _flip(o: Operands) -> list[Any]:
    dims = o.inner["dims"]
    return o.call(dims=places(dims, o.rank("input")) if o.rank("input") else ())


@rule("fft_c2c fft_c2r fft_r2c")
def _fourier(o: Operands) -> list[Any]:
    return o.call(dims=places(o.inner["dims"], o.rank("input")))


@rule("roll")
def _roll(o: Operands) -> list[Any]:
    x, rank, dims = o.inner["input"], o.rank("input"), o.inner["dims"]
    if dims is None or dims == () or dims == []:
        flat = NS["OPS"].reshape(x, (o.n, -1)) if x._a.size else x
        (moved,) = o.call(input=flat, dims=(1,)) if x._a.size else (flat,)
        return [NS["OPS"].reshape(moved, x._a.shape)]
    return o.call(dims=places(dims, rank))


@rule("permute")
def _permute(o: Operands) -> list[Any]:
    dims, rank = o.inner["dims"], o.rank("input")
    if len(dims) != rank:
        raise RuntimeError(f"permute(): the order must name each of the {rank} dimensions once, got {tuple(dims)}")
    return o.call(dims=(0, *(places(dims, rank) if rank else ())))


@rule("transpose")
def _transpose(o: Operands) -> list[Any]:
    rank = o.rank("input")
    a, b = place(o.inner["dim0"], rank), place(o.inner["dim1"], rank)
    return o.call(dim0=a, dim1=b) if rank else [NS["OPS"].index_alias(o.inner["input"], (Ellipsis,))]


@rule("t")
def _t(o: Operands) -> list[Any]:
    x, rank = o.inner["input"], o.rank("input")
    if rank > 2:
        raise RuntimeError(f"t(): at most 2 dimensions, got {rank}; use .mT or .transpose(a, b)")
    return [NS["OPS"].transpose(x, 1, 2) if rank == 2 else NS["OPS"].index_alias(x, (Ellipsis,))]


@rule("reshape view_op")
def _reshape(o: Operands) -> list[Any]:
    shape = o.inner["shape"]
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    if -1 in shape:
        from flambeau.ops.shape import infer_size

        shape = infer_size(shape, o.shown["input"]._a.size)
    return o.call(shape=(o.n, *shape))


@rule("expand_op")
def _expand(o: Operands) -> list[Any]:
    shape = tuple(o.inner["shape"])
    x = padded(o.inner["input"], len(shape))
    if len(shape) < o.rank("input"):
        raise RuntimeError(
            f"expand(): a tensor of shape {list(o.shown['input']._a.shape)} can't lose dimensions, got {list(shape)}"
        )
    return o.call(input=x, shape=(o.n, *shape))


@rule("sum_to_shape")
def _sum_to_shape(o: Operands) -> list[Any]:
    x, shape = o.inner["input"], tuple(o.inner["shape"])
    extra = o.rank("input") - len(shape)
    if extra > 0:
        x = NS["OPS"].sum(x, tuple(range(1, extra + 1)))
    return o.call(input=x, shape=(o.n, *shape))


@rule("unsqueeze")
def _unsqueeze(o: Operands) -> list[Any]:
    return o.call(dim=place(o.inner["dim"], o.rank("input") + 1))


@rule("squeeze_op")
def _squeeze(o: Operands) -> list[Any]:
    dim, shape = o.inner["dim"], o.shown["input"]._a.shape
    if dim is None:
        dims = tuple(i + 1 for i, n in enumerate(shape) if n == 1)
    else:
        dims = places(dim, len(shape)) if shape else ()
    return o.call(dim=dims) if dims else [NS["OPS"].index_alias(o.inner["input"], (Ellipsis,))]


@rule("select slice")
def _select(o: Operands) -> list[Any]:
    rank = o.rank("input")
    if not rank:
        raise IndexError(f"{o.op.name}(): a tensor without dimensions has no places to choose from")
    return o.call(dim=place(o.inner["dim"], rank))


@rule("diagonal")
def _diagonal(o: Operands) -> list[Any]:
    rank = o.rank("input")
    return o.call(dim1=place(o.inner["dim1"], rank), dim2=place(o.inner["dim2"], rank))


@rule("diagonal_put")
def _diagonal_put(o: Operands) -> list[Any]:
    shape = tuple(o.inner["shape"])
    rank = len(shape)
    return o.call(shape=(o.n, *shape), dim1=place(o.inner["dim1"], rank), dim2=place(o.inner["dim2"], rank))


@rule("slice_put windows_put")
def _put_back(o: Operands) -> list[Any]:
    shape = tuple(o.inner["shape"])
    return o.call(shape=(o.n, *shape), dim=place(o.inner["dim"], len(shape)))


@rule("unfold")
def _unfold(o: Operands) -> list[Any]:
    rank = o.rank("input")
    if not rank:
        return None  # type: ignore[return-value]
    return o.call(dimension=place(o.inner["dimension"], rank))


@rule("repeat")
def _repeat(o: Operands) -> list[Any]:
    repeats = tuple(o.inner["repeats"])
    return o.call(input=padded(o.inner["input"], len(repeats)), repeats=(1, *repeats))


@rule("cat_op")
def _cat(o: Operands) -> list[Any]:
    shown = o.shown["tensors"]
    kept = [i for i, t in enumerate(shown) if t._a.shape != (0,)] or [0]
    rank = shown[kept[0]]._a.ndim
    return o.call(tensors=[_whole(o, i) for i in kept], dim=place(o.inner["dim"], rank))


@rule("stack_op")
def _stack(o: Operands) -> list[Any]:
    shown = o.shown["tensors"]
    return o.call(tensors=[_whole(o, i) for i in range(len(shown))], dim=place(o.inner["dim"], shown[0]._a.ndim + 1))


def _whole(o: Operands, i: int) -> Any:
    from flambeau.func.batched import whole

    return whole(o.inner["tensors"][i], o.batched["tensors"][i], o.n)


@rule(
    "tril triu contiguous_op clone_op to_numpy_dtype conj_physical view_as_real view_as_complex linalg_cholesky "
    "linalg_det linalg_eig linalg_eigh linalg_inv linalg_lu_factor linalg_matrix_exp linalg_pinv linalg_qr "
    "linalg_slogdet linalg_svd svdvals bernoulli poisson frexp_op pixel_shuffle pixel_unshuffle norm_of_differences"
)
def _in_front(o: Operands) -> list[Any]:
    """What works on the last dimensions, or on each element, takes the batch for one more in front."""
    return o.call()


@rule("linalg_solve_triangular cdist_euclidean linalg_solve_matrix cholesky_solve")
def _matrices(o: Operands) -> list[Any]:
    names = [n for n, kind in zip(o.op.parameters, o.op.kinds, strict=True) if kind not in (PLAIN, INDEX)]
    rank = max(o.rank(n) for n in names)
    return o.call(**{n: padded(o.inner[n], rank) for n in names if o.batched[n]})


@rule("trace")
def _trace(o: Operands) -> list[Any]:
    if o.rank("input") != 2:
        raise RuntimeError(f"trace(): a matrix is needed, got {o.rank('input')} dimensions")
    return [NS["OPS"].sum(NS["OPS"].diagonal(o.inner["input"], 0, 1, 2), (1,))]
