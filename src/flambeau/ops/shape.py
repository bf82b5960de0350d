"""Views and rearrangements: the elements stay, their places change."""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from flambeau.autograd.graph import show_as
from flambeau.autograd.runtime import NS
from flambeau.autograd.views import Region, make_view, shows_memory_of
from flambeau.engines.arrays import is_array, moved, place_of, window
from flambeau.ops import memory_formats
from flambeau.ops.core import composite, op
from flambeau.ops.dims import wrap_dim, wrap_dims

__all__ = [
    "as_strided",
    "clone",
    "diagonal",
    "flatten",
    "flip",
    "moveaxis",
    "movedim",
    "narrow",
    "permute",
    "reshape",
    "roll",
    "select",
    "squeeze",
    "swapaxes",
    "swapdims",
    "t",
    "transpose",
    "unflatten",
    "unsqueeze",
]


def infer_size(shape: tuple[int, ...], numel: int) -> tuple[int, ...]:
    """`shape` with its -1 filled in; RuntimeError where the count does not fit."""
    known, at = 1, -1
    for i, n in enumerate(shape):
        if n == -1:
            if at >= 0:
                raise RuntimeError(f"only one length may be -1, got {list(shape)}")
            at = i
        elif n < 0:
            raise RuntimeError(f"a length can't be negative (-1 aside): {n} at place {i} of {list(shape)}")
        else:
            known *= n
    if at < 0:
        if known != numel:
            raise RuntimeError(f"{numel} elements don't fit the shape {list(shape)}")
        return shape
    if known == 0:
        raise RuntimeError(
            f"{numel} elements into {list(shape)}: with a length of 0 there, -1 could be anything; say which"
        )
    if numel % known:
        raise RuntimeError(f"{numel} elements don't fit the shape {list(shape)}")
    return (*shape[:at], numel // known, *shape[at + 1 :])


_LARGE = 4096  # elements from which the engine's own way to copy is worth a look


def _shaped(array: Any, shape: tuple[int, ...]) -> Any:
    """`array.reshape(shape)`, with an error that tells more."""
    if shape and min(shape) < 0:
        shape = infer_size(shape, array.size)
    try:
        return array.reshape(shape)
    except ValueError:
        infer_size(shape, array.size)
        raise


@op(view=True, grad_name="ViewBackward0")
def view_op(k, input: Tensor, shape):
    """The same memory in another shape; RuntimeError where the strides do not allow it."""
    result = _shaped(input, shape)
    if input.size and not shows_memory_of(result, input):
        raise RuntimeError(
            f"no view of a {list(input.shape)} tensor with these strides has the shape {list(shape)}: its elements do "
            "not lie evenly in memory. Use .reshape(...), which copies where it must"
        )
    return result


@view_op.derivative("input")
def _(k, g, input_shape):
    return k.reshape(g, input_shape)


@op(view=True, grad_name="ViewBackward0")
def reshape(k, input: Tensor, shape):
    """The elements in another shape: a view where the strides allow it, else a copy. One length may be -1.

    >>> import flambeau as torch
    >>> torch.arange(6).reshape(2, -1).shape
    torch.Size([2, 3])
    """
    if shape.__class__ is not tuple:
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
    if input.size > _LARGE and not input.flags.c_contiguous:
        return k.reshape(input, infer_size(shape, input.size))
    return _shaped(input, shape)


@reshape.derivative("input")
def _(k, g, input_shape):
    return k.reshape(g, input_shape)


def reshaped(input: Any, shape: tuple[int, ...]) -> Any:
    """`reshape`, whose node is shown under the name that PyTorch has for memory that is not in order."""
    result = reshape(input, shape)
    if not input._a.flags.c_contiguous and getattr(result, "_node", None) is not None:
        show_as(result, "UnsafeViewBackward0" if result._base is None else "ReshapeAliasBackward0")
    return result


@op(view=True)
def permute(k, input: Tensor, dims):
    """The dimensions in another order."""
    if len(dims) != input.ndim:
        raise RuntimeError(
            f"permute(): the order must name each of the {input.ndim} dimensions once, got {len(dims)}: {tuple(dims)}"
        )
    wrapped = wrap_dims(dims, input.ndim) if input.ndim else tuple(dims)
    return k.permute(input, wrapped)


@permute.derivative("input")
def _(k, g, input_shape, dims):
    wrapped = wrap_dims(dims, len(input_shape)) if input_shape else ()
    inverse = [0] * len(wrapped)
    for i, d in enumerate(wrapped):
        inverse[d] = i
    return k.permute(g, tuple(inverse))


@op(view=True)
def transpose(k, input: Tensor, dim0, dim1):
    """Two dimensions swapped."""
    n = input.ndim
    d0, d1 = wrap_dim(dim0, n), wrap_dim(dim1, n)
    return k.transpose(input, d0, d1) if n else k.reshape(input, ())


@transpose.derivative("input")
def _(k, g, dim0, dim1, input_shape):
    return k.transpose(g, dim0, dim1) if input_shape else g


@op(view=True)
def t(k, input: Tensor):
    """A matrix transposed; vectors and scalars as they are."""
    if input.ndim > 2:
        raise RuntimeError(f"t(): at most 2 dimensions, got {input.ndim}; use .mT or .transpose(a, b)")
    return k.transpose(input, 0, 1) if input.ndim == 2 else k.reshape(input, input.shape)


@t.derivative("input")
def _(k, g, input_shape):
    return k.transpose(g, 0, 1) if len(input_shape) == 2 else g


@op(view=True)
def expand_op(k, input: Tensor, shape):
    """Lengths of 1 stretched to those asked for, and new leading dimensions, without a copy; -1 keeps a length."""
    extra = len(shape) - input.ndim
    if extra < 0:
        raise RuntimeError(
            f"expand(): a tensor of shape {list(input.shape)} can't lose dimensions, the size asked for is "
            f"{list(shape)}"
        )
    full = []
    for i, n in enumerate(shape):
        have = input.shape[i - extra] if i >= extra else None
        if n == -1:
            if have is None:
                raise RuntimeError(
                    f"expand(): -1 keeps a length that is there, but dimension {i} of {list(shape)} is a new one; "
                    "give its length"
                )
            n = have
        if n < 0:
            raise RuntimeError(f"expand(): a length can't be negative (-1 aside), got {list(shape)}")
        if have is not None and have not in (1, n):
            raise RuntimeError(
                f"expand(): only lengths of 1 can be stretched; dimension {i} has {have}, {n} was asked for "
                f"(from {list(input.shape)} to {list(shape)})"
            )
        full.append(n)
    return k.expand(input, tuple(full))


@expand_op.derivative("input")
def _(k, g, input_shape):
    return k.sum_to_shape(g, input_shape)


@op(view=True)
def unsqueeze(k, input: Tensor, dim):
    """A new dimension of length 1 at `dim`."""
    return k.unsqueeze(input, wrap_dim(dim, input.ndim + 1))


@unsqueeze.derivative("input")
def _(k, g, input_shape):
    return k.reshape(g, input_shape)


@op(
    view=True,
    shown_as=lambda node: f"SqueezeBackward{0 if node.s_dim is None else 1 + (not isinstance(node.s_dim, int))}",
)
def squeeze_op(k, input: Tensor, dim):
    """Without the dimensions `dim` that have length 1 (None: all that have)."""
    shape = input.shape
    if dim is None:
        dims = tuple(i for i, n in enumerate(shape) if n == 1)
    else:
        dims = tuple(d for d in wrap_dims(dim, len(shape)) if shape and shape[d] == 1)
    return k.reshape(input, tuple(n for i, n in enumerate(shape) if i not in dims))


@squeeze_op.derivative("input")
def _(k, g, input_shape, dim):
    return k.reshape(g, input_shape)


def squeeze(input: Any, dim: Any = None) -> Any:
    """Without the dimensions of length 1, all or those named."""
    return squeeze_op(input, dim)


@op(view=True, grad_name="SliceBackward0")
def slice(k, input: Tensor, dim, start, stop, step=1):
    """The part `start:stop:step` along `dim`."""
    return k.slice(input, dim, start, stop, step)


@slice.derivative("input")
def _(k, g, input_shape, dim, start, stop, step):
    return k.slice_put(g, input_shape, dim, start, stop, step)


@op
def slice_put(k, g: Tensor, shape, dim, start, stop, step=1):
    """Zeros of `shape` with `g` in a part of one dimension: the gradient of `slice`."""
    return k.slice_put(g, shape, dim, start, stop, step)


@slice_put.derivative("g")
def _(k, g, dim, start, stop, step):
    return k.slice(g, dim, start, stop, step)


@op(view=True)
def select(k, input: Tensor, dim, index):
    """The slice at `index` of one dimension, which is taken away."""
    if input.ndim == 0:
        raise IndexError("select(): a zero-dim tensor has no dimension to select from")
    dim = wrap_dim(dim, input.ndim)
    n = input.shape[dim]
    at = index.__index__()
    if not -n <= at < n:
        raise IndexError(f"select(): index {at} is outside dimension {dim} of {list(input.shape)}")
    return input[(builtins.slice(None),) * dim + (at, ...)] if not hasattr(input, "_a") else k.select(input, dim, at)


@select.derivative("input")
def _(k, g, input_shape, dim, index):
    d = wrap_dim(dim, len(input_shape))
    at = index % input_shape[d]
    return k.slice_put(k.unsqueeze(g, d), input_shape, d, at, at + 1)


def narrow(input: Any, dim: int, start: Any, length: int) -> Any:
    """The `length` elements from `start` along `dim`, as a view."""
    if input.ndim == 0:
        raise RuntimeError("narrow(): a zero-dim tensor has no dimension to narrow")
    dim = wrap_dim(dim, input.ndim)
    n = input.shape[dim]
    if hasattr(start, "_a") and (start._a.ndim or start._a.dtype.kind not in "iu"):
        raise RuntimeError(f"narrow(): start must be an integer or a zero-dim tensor of one, got {start.dtype}")
    start = int(start)
    if length < 0:
        raise RuntimeError(f"narrow(): length must not be negative, got {length}")
    if not -n <= start <= n:
        raise IndexError(f"narrow(): start must be between {-n} and {n}, got {start}")
    if start < 0:
        start += n
    if start + length > n:
        raise RuntimeError(f"narrow(): {length} elements from {start} on reach beyond dimension {dim} of length {n}")
    return slice(input, dim, start, start + length)


@op(view=True)
def diagonal(k, input: Tensor, offset=0, dim1=0, dim2=1):
    """The diagonals in two dimensions, as the last dimension of a view."""
    d1, d2 = wrap_dim(dim1, input.ndim), wrap_dim(dim2, input.ndim)
    if d1 == d2:
        raise RuntimeError(f"diagonal(): two different dimensions are needed, got {dim1} and {dim2}")
    return k.diagonal(input, offset, d1, d2)


@diagonal.derivative("input")
def _(k, g, input_shape, offset, dim1, dim2):
    return k.diagonal_put(g, input_shape, offset, wrap_dim(dim1, len(input_shape)), wrap_dim(dim2, len(input_shape)))


@op
def diagonal_put(k, g: Tensor, shape, offset, dim1, dim2):
    """Zeros of `shape` with `g` on diagonals: the gradient of `diagonal`."""
    return k.diagonal_put(g, shape, offset, dim1, dim2)


@diagonal_put.derivative("g")
def _(k, g, offset, dim1, dim2):
    return k.diagonal(g, offset, dim1, dim2)


@op(any_dtype=True, grad_name="CloneBackward0")
def clone_op(k, input: Tensor):
    """A copy with memory of its own."""
    return k.clone(input)


@clone_op.derivative("input")
def _(k, g):
    return g


@op(any_dtype=True, grad_name="CloneBackward0")
def contiguous_op(k, input: Tensor):
    """A copy with C strides."""
    return k.contiguous_copy(input)


@contiguous_op.derivative("input")
def _(k, g):
    return g


@op(any_dtype=True)
def flip(k, input: Tensor, dims):
    """The order reversed along `dims`, as a copy."""
    return k.flip(input, wrap_dims(dims, input.ndim) if input.ndim else ())


@flip.derivative("input")
def _(k, g, dims):
    return k.flip(g, dims)


@op(any_dtype=True)
def roll(k, input: Tensor, shifts, dims=None):
    """The elements shifted around along `dims` (None: in the flattened tensor)."""
    counts = [len(x) if isinstance(x, (tuple, list)) else 1 for x in (shifts, () if dims is None else dims)]
    if counts[0] != (counts[1] or 1):
        raise RuntimeError(f"roll(): as many shifts as dims are needed, got shifts {shifts} and dims {dims}")
    return k.roll(input, shifts, dims)


@roll.derivative("input")
def _(k, g, shifts, dims):
    back = tuple(-s for s in shifts) if isinstance(shifts, (tuple, list)) else -shifts
    return k.roll(g, back, dims)


@op(any_dtype=True)
def region_take(k, input: Tensor, region):
    """The elements that a strided region shows."""
    return k.region_take(input, region)


@region_take.derivative("input")
def _(k, g, region):
    return k.region_put(g, region)


@op(any_dtype=True)
def region_put(k, input: Tensor, region):
    """Zeros with `input` added into a strided region."""
    return k.region_put(input, region)


@region_put.derivative("input")
def _(k, g, region):
    return k.region_take(g, region)


@op(any_dtype=True)
def sum_to_shape(k, input: Tensor, shape):
    """Sums away what broadcasting from `shape` adds."""
    return k.sum_to_shape(input, shape)


@sum_to_shape.derivative("input")
def _(k, g, input_shape, shape):
    extra = len(input_shape) - len(shape)
    return k.expand(k.reshape(g, (1,) * extra + tuple(shape)), input_shape)


@op(any_dtype=True, grad_name="ToCopyBackward0", holomorphic=False)
def to_numpy_dtype(k, input: Tensor, dtype):
    """A copy in another dtype."""
    if input.dtype.kind == "c" and dtype.kind != "c":
        input = k.real(input)
    return input.astype(dtype) if is_array(input) else np.array(input, dtype=dtype)


@to_numpy_dtype.derivative("input")
def _(k, g, input_dtype):
    if getattr(getattr(g, "_a", g), "dtype", None).kind == "c" and input_dtype.kind != "c":
        g = k.real(g)
    return k.to_numpy_dtype(g, input_dtype)


@op(any_dtype=True, grad_name="ToCopyBackward0")
def to_device(k, input: Tensor, device, source):
    """A copy on `device`; `source` is where `input` is."""
    return moved(input, device)


@to_device.derivative("input")
def _(k, g, device, source):
    return k.to_device(g, source, device)


@composite
def to_dtype(k, a, dtype_of):
    """`a` in the dtype of another tensor."""
    want = getattr(dtype_of, "_a", dtype_of).dtype
    return a if getattr(a, "_a", a).dtype == want else k.to_numpy_dtype(a, want)


def as_strided(input: Any, size: Any, stride: Any, storage_offset: int | None = None) -> Any:
    """A view of `input`'s memory with any size and strides (in elements)."""
    if any(s < 0 for s in stride) or len(size) != len(stride):
        raise RuntimeError(f"as_strided(): a stride of at least 0 per dimension is needed, got {list(stride)}")
    if input._level is not None:
        return NS["LAYERED_STRIDED"](input, tuple(size), tuple(stride), storage_offset)
    array = input._a
    root = array.base if is_array(array.base) else array
    shown, whole = place_of(array), place_of(root)
    offset = (shown.__array_interface__["data"][0] - whole.__array_interface__["data"][0]) // array.itemsize
    start = offset if storage_offset is None else storage_offset
    reach = start + builtins.sum((n - 1) * s for n, s in zip(size, stride, strict=True) if n > 1)
    if 0 not in tuple(size) and (start < 0 or reach >= root.size):
        raise RuntimeError(
            f"as_strided(): size {list(size)} with strides {list(stride)} from {start} on reaches beyond the memory of "
            f"{root.size} elements"
        )
    flat = root.reshape(-1) if root.flags.c_contiguous else root
    view = window(flat, tuple(size), start, tuple(stride))
    if view.__class__ is not array.__class__:
        view = view.view(type(array))
    if input._node is None or not NS["GRAD_ENABLED"]():
        result = NS["WRAP"](view)
    else:
        result = show_as(region_take(input, Region(array, view)), "AsStridedBackward0")
        result._a = view
    make_view(result, input)
    return result


def expand(input: Any, *sizes: Any, size: Any = (), implicit: bool = False) -> Any:
    """A view with lengths of 1 stretched; -1 keeps a length."""
    sizes = sizes or (size,)
    if len(sizes) == 1 and not isinstance(sizes[0], int) and not hasattr(sizes[0], "__index__"):
        sizes = tuple(sizes[0])
    return expand_op(input, tuple([int(n) for n in sizes]))


def movedim(input: Any, source: Any, destination: Any) -> Any:
    """Dimensions moved from `source` to `destination`, the others in their order."""
    n = input.ndim
    src = wrap_dims(source, n)
    dst = wrap_dims(destination, n)
    if len(src) != len(dst):
        raise RuntimeError(f"movedim(): as many destinations as sources are needed, got {list(src)} and {list(dst)}")
    order: list[Any] = [None] * n
    for s, d in zip(src, dst, strict=True):
        order[d] = s
    rest = iter([i for i in range(n) if i not in src])
    return permute(input, tuple(next(rest) if d is None else d for d in order))


def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Dimensions `start_dim` to `end_dim` joined into one."""
    n = input.ndim
    first, last = wrap_dim(start_dim, n), wrap_dim(end_dim, n)
    if first > last:
        raise RuntimeError(f"flatten(): start_dim {start_dim} comes after end_dim {end_dim}")
    if n == 0:
        return reshape(input, (1,))
    if first == last:
        return input
    shape = input._a.shape
    length = 1
    for size in shape[first : last + 1]:
        length *= size
    return reshaped(input, (*shape[:first], length, *shape[last + 1 :]))


def unflatten(input: Any, dim: Any, sizes: Any) -> Any:
    """One dimension split into several of the lengths `sizes`."""
    d = wrap_dim(dim, input.ndim)
    sizes = tuple(sizes)
    if not sizes:
        raise RuntimeError("unflatten(): sizes are empty")
    full = input._a.shape[d]
    try:
        inferred = infer_size(sizes, full)
    except RuntimeError:
        raise RuntimeError(
            f"unflatten(): the product of {list(sizes)} is not {full}, the length of dimension {d}"
        ) from None
    return reshape(input, (*input._a.shape[:d], *inferred, *input._a.shape[d + 1 :]))


def contiguous(input: Any, memory_format: Any = None) -> Any:
    """The tensor itself if its memory is in C order (or in that of `memory_format`), else a copy that is."""
    if memory_format is not None and memory_formats.order_of(memory_format, input._a.ndim, "contiguous") is not None:
        return memory_formats.laid_out(input, memory_format, "contiguous")
    return input if input._a.flags.c_contiguous else contiguous_op(input)


def clone(input: Any, *, memory_format: Any = None) -> Any:
    """A copy, in the order of `memory_format` if given; gradients flow through it."""
    if memory_format is None or memory_formats.elsewhere(input._a):
        return clone_op(input)
    order = memory_formats.order_of(memory_format, input._a.ndim, "clone")
    if order is not None:
        return memory_formats.ordered_copy(input, order)
    return clone_op(input) if memory_format.name == "preserve_format" else contiguous_op(input)


swapdims = transpose


def swapaxes(input: Any, axis0: int, axis1: int) -> Any:
    """`transpose`, as NumPy calls it."""
    return transpose(input, axis0, axis1)


moveaxis = movedim
