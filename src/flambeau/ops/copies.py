"""Views' twins whose results have memory of their own: `torch.permute_copy` and its kin, and the `unsafe_` splits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.autograd.graph import show_as
from flambeau.ops import joining, matrices, shape
from flambeau.ops.dims import wrap_dim
from flambeau.ops.dispatch import deliver

__all__ = [
    "alias_copy",
    "as_strided_copy",
    "detach_copy",
    "expand_copy",
    "narrow_copy",
    "permute_copy",
    "select_copy",
    "slice_copy",
    "split_copy",
    "split_with_sizes",
    "split_with_sizes_copy",
    "squeeze_copy",
    "t_copy",
    "transpose_copy",
    "unbind_copy",
    "unfold_copy",
    "unsafe_chunk",
    "unsafe_split",
    "unsafe_split_with_sizes",
    "unsqueeze_copy",
    "view_as_complex_copy",
    "view_as_real_copy",
    "view_copy",
]


def _copied(name: str, node: str, view: Callable, out: Any) -> Any:
    return deliver(name, out, show_as(shape.contiguous_op(view), f"{node}Backward0_copy"))


def alias_copy(input: Any, *, out: Any = None) -> Any:
    """A copy of the tensor."""
    return _copied("alias_copy", "Alias", input, out)


def detach_copy(input: Any, *, out: Any = None) -> Any:
    """A copy outside the graph."""
    return deliver("detach_copy", out, shape.contiguous_op(input.detach()))


def as_strided_copy(input: Any, size: Any, stride: Any, storage_offset: int | None = None, *, out: Any = None) -> Any:
    """The elements that `as_strided` shows."""
    return _copied("as_strided_copy", "AsStrided", shape.as_strided(input, size, stride, storage_offset), out)


def expand_copy(input: Any, size: Any, *, implicit: bool = False, out: Any = None) -> Any:
    """`expand`, written out."""
    return _copied("expand_copy", "Expand", shape.expand_op(input, tuple(size)), out)


def permute_copy(input: Any, dims: Any, *, out: Any = None) -> Any:
    """The dimensions in another order, in memory too."""
    return _copied("permute_copy", "Permute", shape.permute(input, tuple(dims)), out)


def transpose_copy(input: Any, dim0: int, dim1: int, *, out: Any = None) -> Any:
    """Two dimensions swapped, in memory too."""
    return _copied("transpose_copy", "Transpose", shape.transpose(input, dim0, dim1), out)


def t_copy(input: Any, *, out: Any = None) -> Any:
    """A matrix transposed, in memory too."""
    return _copied("t_copy", "T", shape.t(input), out)


def squeeze_copy(input: Any, dim: Any = None, *, out: Any = None) -> Any:
    """A copy without the dimensions of length 1, all or those named."""
    return _copied("squeeze_copy", "Squeeze", shape.squeeze_op(input, dim), out)


def unsqueeze_copy(input: Any, dim: int, *, out: Any = None) -> Any:
    """A copy with a new dimension of length 1 at `dim`."""
    return _copied("unsqueeze_copy", "Unsqueeze", shape.unsqueeze(input, dim), out)


def view_copy(input: Any, size: Any, *, out: Any = None) -> Any:
    """A copy in another shape, or of the same memory read as another dtype."""
    seen = shape.view_op(input, tuple(size)) if isinstance(size, (list, tuple)) else joining.view_dtype(input, size)
    return _copied("view_copy", "View", seen, out)


def unfold_copy(input: Any, dimension: int, size: int, step: int, *, out: Any = None) -> Any:
    """The windows that `unfold` shows, written out."""
    return _copied("unfold_copy", "Unfold", joining.unfold(input, dimension, size, step), out)


def select_copy(input: Any, dim: int, index: int, *, out: Any = None) -> Any:
    """A copy of the slice at `index` of one dimension."""
    return _copied("select_copy", "Select", shape.select(input, dim, index), out)


def slice_copy(
    input: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1, *, out: Any = None
) -> Any:
    """A copy of the part `start:end:step` along `dim`."""
    d = wrap_dim(dim, input.ndim)
    first, last, step = slice(start, end, step).indices(input.shape[d])
    return _copied("slice_copy", "Slice", shape.slice(input, d, first, max(first, last), step), out)


def narrow_copy(input: Any, dim: int, start: int, length: int, *, out: Any = None) -> Any:
    """A copy of the `length` elements from `start` along `dim`."""
    if dim >= input.ndim > 0:
        raise RuntimeError(f"narrow_copy(): there is no dimension {dim} in a tensor of {input.ndim}")
    return _copied("narrow_copy", "Narrow", shape.narrow(input, dim, start, length), out)


def view_as_real_copy(input: Any, *, out: Any = None) -> Any:
    """Complex numbers as pairs of real ones, in a last dimension of length 2."""
    return _copied("view_as_real_copy", "ViewAsReal", matrices.view_as_real(input), out)


def view_as_complex_copy(input: Any, *, out: Any = None) -> Any:
    """Pairs of real numbers in the last dimension as complex ones."""
    return _copied("view_as_complex_copy", "ViewAsComplex", matrices.view_as_complex(input), out)


def _each(name: str, views: Any, node: str, out: Any) -> Any:
    copies = tuple(show_as(shape.contiguous_op(v), node) for v in views)
    if out is None:
        return copies
    deliver(name, tuple(out), copies)
    return None


def unbind_copy(input: Any, dim: int = 0, *, out: Any = None) -> Any:
    """Copies of the slices along `dim`."""
    return _each("unbind_copy", joining.unbind(input, dim), "UnbindBackward0_copy", out)


def split_copy(input: Any, split_size: int, dim: int = 0, *, out: Any = None) -> Any:
    """Copies of consecutive parts of one length along `dim`."""
    return _each("split_copy", joining.split(input, split_size, dim), "SplitBackward0_copy", out)


def split_with_sizes(input: Any, split_sizes: Any, dim: int = 0) -> tuple[Any, ...]:
    """Views of consecutive parts of the lengths listed along `dim`."""
    return joining.split(input, list(split_sizes), dim)


def split_with_sizes_copy(input: Any, split_sizes: Any, dim: int = 0, *, out: Any = None) -> Any:
    """Copies of consecutive parts of the lengths listed along `dim`."""
    parts = split_with_sizes(input, split_sizes, dim)
    return _each("split_with_sizes_copy", parts, "SplitWithSizesBackward0_copy", out)


def unsafe_split(input: Any, split_size: int, dim: int = 0) -> tuple[Any, ...]:
    """`split`, whose parts may be written in place: here they are copies, so that nothing else changes with them."""
    return _each("unsafe_split", joining.split(input, split_size, dim), "UnsafeSplitBackward0", None)


def unsafe_split_with_sizes(input: Any, split_sizes: Any, dim: int = 0) -> tuple[Any, ...]:
    """`split_with_sizes`, whose parts may be written in place."""
    parts = split_with_sizes(input, split_sizes, dim)
    return _each("unsafe_split_with_sizes", parts, "UnsafeSplitWithSizesBackward0", None)


def unsafe_chunk(input: Any, chunks: int, dim: int = 0) -> tuple[Any, ...]:
    """`chunk`, whose parts may be written in place."""
    return _each("unsafe_chunk", joining.chunk(input, chunks, dim), "UnsafeSplitBackward0", None)
