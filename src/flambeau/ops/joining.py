"""Joining tensors, taking them apart, and repeating them."""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.autograd.graph import show_as
from flambeau.autograd.runtime import NS
from flambeau.autograd.views import make_view
from flambeau.errors import describe
from flambeau.ops import shape
from flambeau.ops.core import op
from flambeau.ops.dims import wrap_dim
from flambeau.ops.dispatch import deliver
from flambeau.ops.parts import SplitBackward0, SplitWithSizesBackward0, UnbindBackward0, parts_of
from flambeau.ops.public import asking

__all__ = [
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "broadcast_shapes",
    "broadcast_tensors",
    "broadcast_to",
    "cat",
    "chunk",
    "column_stack",
    "concat",
    "concatenate",
    "diff",
    "dsplit",
    "dstack",
    "fliplr",
    "flipud",
    "hsplit",
    "hstack",
    "meshgrid",
    "repeat_interleave",
    "rot90",
    "row_stack",
    "split",
    "stack",
    "tensor_split",
    "tile",
    "unbind",
    "vsplit",
    "vstack",
    "windows",
]


@op(any_dtype=True)
def cat_op(k, tensors: Tensors, dim=0):
    """The tensors joined along `dim`."""
    return k.cat(tensors, dim)


@cat_op.derivative("tensors")
def _(k, g, tensors_shape, dim, needs):
    parts, start = [], 0
    for s, needed in zip(tensors_shape, needs, strict=True):
        stop = start + s[dim]
        parts.append(k.slice(g, dim, start, stop) if needed else None)
        start = stop
    return parts


def _plain(tensors: Any, dtype: Any) -> bool:
    """Whether tensors of one dtype can be joined as arrays: no subclass, nothing to record, no mode that looks on."""
    if not NS["PLAIN"]:
        return False
    tensor, recorded = NS["Tensor"], NS["GRAD_ENABLED"]()
    for t in tensors:
        if t.__class__ is not tensor or t._a.dtype is not dtype or (recorded and t._node is not None):
            return False
    return True


def cat(tensors: Any, dim: int = 0, *, out: Any = None) -> Any:
    """The tensors joined along `dim`; all other lengths must agree. dtypes are promoted together.

    >>> import flambeau as torch
    >>> torch.cat([torch.zeros(1, 2), torch.ones(2, 2)]).shape
    torch.Size([3, 2])
    """
    if not isinstance(tensors, (list, tuple)):
        raise TypeError(f"cat(): expected a sequence of tensors, got {type(tensors).__name__}")
    if not tensors:
        raise ValueError("cat(): at least one tensor is needed, got an empty sequence")
    tensor = NS["Tensor"]
    for i, t in enumerate(tensors):
        if not isinstance(t, tensor):
            raise TypeError(f"element {i} of the sequence must be a Tensor, got {type(t).__name__}")
        if not t._a.ndim:
            raise RuntimeError(f"cat(): tensor {i} has no dimensions, so it can't be put beside others; use stack")
    kept = [t for t in tensors if t._a.shape != (0,)] or list(tensors[:1])
    first = kept[0]._a
    d = wrap_dim(dim, first.ndim)
    if out is None and len(kept) == len(tensors) and _plain(tensors, first.dtype):
        try:
            return NS["WRAP"](np.concatenate([t._a for t in tensors], d))
        except ValueError:
            pass  # told below
    for i, t in enumerate(kept[1:], 1):
        a = t._a
        if a.ndim != first.ndim:
            raise RuntimeError(f"cat(): the tensors differ in their number of dimensions: {first.ndim} and {a.ndim}")
        for axis in range(a.ndim):
            if axis != d and a.shape[axis] != first.shape[axis]:
                raise RuntimeError(
                    f"cat(): along dimension {d} the lengths may differ, elsewhere not; tensor 0 is "
                    f"{list(first.shape)}, tensor {i} is {list(a.shape)}"
                )
    return cat_op(list(kept), d, out=out)


concat = concatenate = cat


@op(any_dtype=True)
def stack_op(k, tensors: Tensors, dim=0):
    """The tensors joined along a new dimension."""
    return k.stack(tensors, dim)


@stack_op.derivative("tensors")
def _(k, g, tensors_shape, dim, needs):
    return [k.select(g, dim, i) if needed else None for i, needed in enumerate(needs)]


def stack(tensors: Any, dim: int = 0, *, out: Any = None) -> Any:
    """The tensors, all of one shape, joined along a new dimension `dim`."""
    if not isinstance(tensors, (list, tuple)):
        raise TypeError(f"stack(): expected a sequence of tensors, got {type(tensors).__name__}")
    if not tensors:
        raise RuntimeError("stack(): at least one tensor is needed, got an empty sequence")
    first = tensors[0]._a.shape
    for i, t in enumerate(tensors):
        if not isinstance(t, NS["Tensor"]):
            raise TypeError(f"element {i} of the sequence must be a Tensor, got {type(t).__name__}")
        if t._a.shape != first:
            raise RuntimeError(
                f"stack(): the tensors must have one shape; tensor 0 is {list(first)}, tensor {i} is {list(t._a.shape)}"
            )
    d = wrap_dim(dim, len(first) + 1)
    if out is None and _plain(tensors, tensors[0]._a.dtype):
        return NS["WRAP"](np.stack([t._a for t in tensors], d))
    return stack_op(list(tensors), d, out=out)


@asking
def unbind(input: Any, dim: int = 0) -> tuple[Any, ...]:
    """The slices along `dim`, without that dimension, as views."""
    if not input._a.ndim:
        raise IndexError("a tensor without dimensions has no dimension to take apart")
    d = wrap_dim(dim, input._a.ndim)
    return parts_of(input, d, [(i, i + 1) for i in range(input._a.shape[d])], UnbindBackward0, drop=True)


@asking
def split(tensor: Any, split_size_or_sections: Any = None, dim: int = 0, **kwargs: Any) -> tuple[Any, ...]:
    """Views of consecutive parts along `dim`: of a length each, or of the lengths listed."""
    sections: Any = kwargs.get("split_size", kwargs.get("split_sizes", split_size_or_sections))
    if not tensor._a.ndim:
        raise RuntimeError("split(): a tensor without dimensions can't be split")
    d = wrap_dim(dim, tensor._a.ndim)
    n = tensor._a.shape[d]
    if isinstance(sections, (list, tuple)):
        sizes = [int(s) for s in sections]
        if sum(sizes) != n or min(sizes, default=0) < 0:
            raise RuntimeError(f"split(): the sizes {sizes} add up to {sum(sizes)}, but dimension {d} has length {n}")
    else:
        size = int(sections)
        if size < 0 or (size == 0 and n):
            raise RuntimeError(f"split(): the size of a part must not be negative, got {size}")
        sizes = [min(size, n - start) for start in range(0, n, size)] if n else [0]
    cuts, start = [], 0
    for size in sizes:
        cuts.append((start, start + size))
        start += size
    listed = isinstance(split_size_or_sections, (list, tuple))
    return parts_of(tensor, d, cuts, SplitWithSizesBackward0 if listed else SplitBackward0)


@asking
def chunk(input: Any, chunks: int, dim: int = 0) -> tuple[Any, ...]:
    """Views of at most `chunks` parts of equal length along `dim` (the last may be shorter)."""
    if chunks <= 0:
        raise RuntimeError(f"chunk(): the number of parts must be positive, got {chunks}")
    if not input._a.ndim:
        raise RuntimeError("chunk(): a tensor without dimensions can't be split")
    n = input._a.shape[wrap_dim(dim, input._a.ndim)]
    if n == 0:
        return split(input, [0] * chunks, dim)
    return split(input, -(-n // chunks), dim)


@asking
def tensor_split(input: Any, indices_or_sections: Any, dim: int = 0) -> tuple[Any, ...]:
    """Views split at indices, or into a number of parts whose lengths differ by at most one."""
    if not input._a.ndim:
        raise RuntimeError("tensor_split(): a tensor without dimensions can't be split")
    d = wrap_dim(dim, input._a.ndim)
    n = input._a.shape[d]
    if isinstance(indices_or_sections, NS["Tensor"]):
        indices_or_sections = indices_or_sections.tolist()
    if isinstance(indices_or_sections, int):
        count = indices_or_sections
        if count <= 0:
            raise RuntimeError(f"tensor_split(): the number of parts must be positive, got {count}")
        sizes = [n // count + (i < n % count) for i in range(count)]
        edges = [sum(sizes[: i + 1]) for i in range(count - 1)]
    else:
        edges = [int(i) for i in indices_or_sections]
    cuts = [0, *(max(0, min(n, e if e >= 0 else e + n)) for e in edges), n]
    parts = parts_of(input, d, [(a, max(a, b)) for a, b in zip(cuts[:-1], cuts[1:], strict=True)], SplitBackward0)
    show_as(parts[0], "SliceBackward0")
    return parts


def hsplit(input: Any, indices_or_sections: Any) -> tuple[Any, ...]:
    """`tensor_split` along columns (dimension 1, or 0 of a vector)."""
    return _even_split(input, indices_or_sections, 0 if input._a.ndim == 1 else 1, 1, "hsplit")


def vsplit(input: Any, indices_or_sections: Any) -> tuple[Any, ...]:
    """`tensor_split` along rows."""
    return _even_split(input, indices_or_sections, 0, 2, "vsplit")


def dsplit(input: Any, indices_or_sections: Any) -> tuple[Any, ...]:
    """`tensor_split` along depth (dimension 2)."""
    return _even_split(input, indices_or_sections, 2, 3, "dsplit")


def _even_split(input: Any, parts: Any, dim: int, least: int, name: str) -> tuple[Any, ...]:
    if input._a.ndim < least:
        raise RuntimeError(f"{name}(): at least {least} dimensions are needed, got {describe(input)}")
    if isinstance(parts, str):
        raise TypeError(f"{name}(): the parts must be an int, or ints to split at, got {parts!r}")
    if isinstance(parts, int) and (parts <= 0 or input._a.shape[dim] % parts):
        raise RuntimeError(
            f"{name}(): dimension {dim} of length {input._a.shape[dim]} is not divisible into {parts} equal parts"
        )
    return tensor_split(input, parts, dim)


@op(any_dtype=True)
def repeat(k, input: Tensor, repeats):
    """Copies laid side by side, `repeats` times along each dimension."""
    if len(repeats) < input.ndim:
        raise RuntimeError(f"repeat(): a count per dimension is needed: {len(repeats)} came for {describe(input)}")
    if min(repeats, default=0) < 0:
        raise RuntimeError(f"repeat(): counts must not be negative, got {tuple(repeats)}")
    return k.tile(input, repeats)


@repeat.derivative("input")
def _(k, g, input_shape, repeats):
    full = (1,) * (len(repeats) - len(input_shape)) + tuple(input_shape)
    folded = []
    for r, n in zip(repeats, full, strict=True):
        folded += [r, n]
    summed = k.sum(k.reshape(g, tuple(folded)), tuple(range(0, 2 * len(full), 2))) if full else g
    return k.reshape(summed, input_shape)


def tile(input: Any, *counts: Any, dims: Any = ()) -> Any:
    """`repeat`, with missing leading counts taken as 1."""
    counts = counts or (dims,)
    counts = tuple(counts[0]) if len(counts) == 1 and not isinstance(counts[0], int) else tuple(counts)
    return repeat(input, (1,) * (input._a.ndim - len(counts)) + counts)


def repeat_interleave(input: Any, repeats: Any = None, dim: Any = None, *, output_size: Any = None) -> Any:
    """Each element repeated, a number of times or as many as `repeats` says for it."""
    tensor = NS["Tensor"]
    wrap = NS["WRAP"]
    if repeats is None:
        counts = input._a
        if counts.dtype.kind not in "iu" or counts.ndim != 1:
            raise RuntimeError(
                f"repeat_interleave(): repeats must be a vector of int64 or int32, got {describe(counts)}"
            )
        return wrap(np.repeat(np.arange(counts.size), counts))
    if dim is None:
        input, dim = shape.flatten(input), 0
    d = wrap_dim(dim, input._a.ndim)
    counts = repeats._a if isinstance(repeats, tensor) else np.asarray(repeats)
    if counts.size and counts.min() < 0:
        raise RuntimeError("repeat_interleave(): repeats must not be negative")
    if counts.ndim and counts.size not in (1, input._a.shape[d]):
        raise RuntimeError(
            f"repeat_interleave(): repeats must have one value, or one per slice along dim; got {describe(counts)}"
        )
    picked = np.repeat(np.arange(input._a.shape[d]), counts if counts.size > 1 else int(counts.reshape(-1)[0]))
    result = NS["OPS"].index(input, (slice(None),) * d + (picked,))
    return show_as(result, "IndexSelectBackward0" if isinstance(repeats, tensor) else "ViewBackward0")


def broadcast_tensors(*tensors: Any) -> tuple[Any, ...]:
    """The tensors expanded to their common shape."""
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    full = broadcast_shapes(*(t._a.shape for t in tensors))
    return tuple(t if t._a.shape == tuple(full) else shape.expand_op(t, tuple(full)) for t in tensors)


def broadcast_shapes(*shapes: Any) -> Any:
    """The shape that arrays of these shapes broadcast to."""
    from flambeau.tensor.size import Size  # a plain tuple class; no tensors

    try:
        return Size(np.broadcast_shapes(*[(s,) if isinstance(s, int) else tuple(s) for s in shapes]))
    except ValueError:
        raise RuntimeError(
            f"the shapes {[tuple(s) if not isinstance(s, int) else s for s in shapes]} can't be broadcast together"
        ) from None


def broadcast_to(input: Any, size: Any) -> Any:
    """`expand` as a function."""
    return shape.expand_op(input, tuple(size))


@op(view=True)
def unfold(k, input: Tensor, dimension, size, step):
    """All windows of length `size` along a dimension, `step` apart, as a new last dimension of a view."""
    d = wrap_dim(dimension, input.ndim)
    n = input.shape[d] if input.ndim else 1
    if size > n:
        raise RuntimeError(f"unfold(): windows of {size} don't fit into dimension {d} of length {n}")
    if step <= 0:
        raise RuntimeError(f"unfold(): step must be positive, got {step}")
    return k.windows(input, d, size, step)


@unfold.derivative("input")
def _(k, g, input_shape, dimension, size, step):
    return k.windows_put(g, input_shape, wrap_dim(dimension, len(input_shape)), size, step)


@op
def windows_put(k, g: Tensor, shape, dim, size, step):
    """Zeros of `shape` with windows added in: the gradient of `unfold`."""
    return k.windows_put(g, shape, dim, size, step)


@windows_put.derivative("g")
def _(k, g, dim, size, step):
    return k.windows(g, dim, size, step)


@op(any_dtype=True)
def windows(k, input: Tensor, dim, size, step):
    """The windows of `unfold`, as a value."""
    return k.windows(input, dim, size, step)


@windows.derivative("input")
def _(k, g, input_shape, dim, size, step):
    return k.windows_put(g, input_shape, dim, size, step)


def view_dtype(input: Any, dtype: Any) -> Any:
    """The same memory read as another dtype."""
    if not isinstance(dtype, dtypes.dtype):
        raise TypeError(f"view(): dtype must be a torch.dtype, got {type(dtype).__name__}")
    array = input._a
    if dtype.itemsize != array.itemsize and (not array.ndim or (array.ndim and array.strides[-1] != array.itemsize)):
        raise RuntimeError(
            f"view(): {input.dtype} and {dtype} differ in size, so the last dimension must lie without gaps; call "
            ".contiguous() first"
        )
    try:
        result = NS["WRAP"](array.view(dtype.numpy))
    except ValueError as error:
        raise RuntimeError(f"view(): {error}") from None
    make_view(result, input)
    return result


def diff(input: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None, *, out: Any = None) -> Any:
    """The `n`-th differences along `dim`."""
    d = wrap_dim(dim, input._a.ndim)
    if not input._a.ndim:
        raise RuntimeError("diff(): a tensor without dimensions has no neighbours to subtract")
    if n < 0:
        raise RuntimeError(f"diff(): n must not be negative, got {n}")
    if n == 0:
        return deliver("diff", out, shape.clone(input))
    parts = [p for p in (prepend, input, append) if p is not None]
    current = cat(parts, d) if len(parts) > 1 else input
    ops = NS["OPS"]
    for _ in range(n):
        length = current._a.shape[d]
        high = shape.slice(current, d, 1, length)
        low = shape.slice(current, d, 0, max(length - 1, 0))
        current = ops.bitwise_xor(high, low) if current._a.dtype == bool else ops.sub(high, low)
    return deliver("diff", out, current)


def rot90(input: Any, k: int = 1, dims: Any = (0, 1)) -> Any:
    """Rotated by 90 degrees `k` times in the plane of two dimensions."""
    if input._a.ndim < 2:
        raise RuntimeError(f"rot90(): at least 2 dimensions are needed, got {input._a.ndim}")
    if len(dims) != 2:
        raise RuntimeError(f"rot90(): dims must name 2 dimensions, got {len(dims)}")
    a, b = wrap_dim(dims[0], input._a.ndim), wrap_dim(dims[1], input._a.ndim)
    if a == b:
        raise RuntimeError(f"rot90(): dims must name two different dimensions, got {dims[0]} and {dims[1]}")
    k %= 4
    if k == 0:
        return shape.clone(input)
    if k == 2:
        turned = shape.flip(input, (a, b))
    elif k == 1:
        turned = shape.transpose(shape.flip(input, (b,)), a, b)
    else:
        turned = shape.flip(shape.transpose(input, a, b), (b,))
    return show_as(turned, "Rot90Backward0")


def fliplr(input: Any) -> Any:
    """The order reversed along dimension 1."""
    if input._a.ndim < 2:
        raise RuntimeError(f"fliplr(): at least 2 dimensions are needed, got {input._a.ndim}")
    return shape.flip(input, (1,))


def flipud(input: Any) -> Any:
    """The order reversed along dimension 0."""
    if input._a.ndim < 1:
        raise RuntimeError("flipud(): at least 1 dimension is needed, got 0")
    return shape.flip(input, (0,))


def atleast_1d(*tensors: Any) -> Any:
    """Zero-dim tensors as vectors of one element."""
    return _atleast(tensors, lambda t: shape.reshape(t, (1,)) if t._a.ndim == 0 else t)


def atleast_2d(*tensors: Any) -> Any:
    """With at least two dimensions, new ones in front."""
    return _atleast(
        tensors,
        lambda t: shape.reshape(t, (1, 1)) if t._a.ndim == 0 else shape.unsqueeze(t, 0) if t._a.ndim == 1 else t,
    )


def atleast_3d(*tensors: Any) -> Any:
    """With at least three dimensions."""

    def lift(t: Any) -> Any:
        n = t._a.ndim
        if n == 0:
            return shape.reshape(t, (1, 1, 1))
        return shape.unsqueeze(shape.unsqueeze(t, 0), -1) if n == 1 else shape.unsqueeze(t, -1) if n == 2 else t

    return _atleast(tensors, lift)


def _atleast(tensors: tuple, lift: Any) -> Any:
    if len(tensors) == 1 and not isinstance(tensors[0], (list, tuple)):
        return lift(tensors[0])
    items = tensors[0] if len(tensors) == 1 else tensors
    return tuple(lift(t) for t in items)


def hstack(tensors: Any, *, out: Any = None) -> Any:
    """Joined along columns (vectors: end to end)."""
    if not len(tensors):
        raise RuntimeError("hstack(): at least one tensor is needed")
    items = atleast_1d(list(tensors))
    return cat(items, 0 if items[0]._a.ndim == 1 else 1, out=out)


def _some(name: str, tensors: Any) -> None:
    if not len(tensors):
        raise RuntimeError(f"{name}(): at least one tensor is needed, got an empty sequence")


def vstack(tensors: Any, *, out: Any = None) -> Any:
    """Joined along rows."""
    _some("vstack", tensors)
    return cat(atleast_2d(list(tensors)), 0, out=out)


def dstack(tensors: Any, *, out: Any = None) -> Any:
    """Joined along depth."""
    _some("dstack", tensors)
    return cat(atleast_3d(list(tensors)), 2, out=out)


row_stack = vstack


def column_stack(tensors: Any, *, out: Any = None) -> Any:
    """Vectors as columns, joined with matrices along columns."""
    items = [shape.reshape(t, (t._a.size, 1)) if t._a.ndim <= 1 else t for t in tensors]
    return cat(items, 1, out=out)


def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Any, ...]:
    """Coordinate grids of vectors, as views; `indexing` is 'ij' or 'xy'."""
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    if indexing not in (None, "ij", "xy"):
        raise RuntimeError(f"meshgrid(): indexing must be 'xy' or 'ij', got {indexing!r}")
    for i, t in enumerate(tensors):
        if t._a.ndim > 1:
            raise RuntimeError(f"meshgrid(): vectors and single numbers are expected, tensor {i} is {describe(t)}")
    items = list(tensors)
    swap = indexing == "xy" and len(items) >= 2
    if swap:
        items[0], items[1] = items[1], items[0]
    full = tuple(t._a.size for t in items)
    grids = []
    for i, t in enumerate(items):
        lengths = [1] * len(items)
        lengths[i] = t._a.size
        grids.append(shape.expand_op(shape.reshape(t, tuple(lengths)), full))
    if swap:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)
