"""Dimension arguments: negative ones wrapped, bad ones refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def wrap_dim(dim: Any, ndim: int) -> int:
    """`dim` counted from the front; IndexError when out of range. A zero-dim tensor has one dimension here."""
    n = ndim or 1
    if dim.__class__ is not int:
        if isinstance(dim, bool) or not hasattr(dim, "__index__"):
            raise TypeError(f"dim must be an int, got {type(dim).__name__}")
        dim = dim.__index__()
    if 0 <= dim < n:
        return dim
    if -n <= dim < 0:
        return dim + n
    raise IndexError(f"dim {dim} is out of range: a tensor of {n} dimensions has {-n} to {n - 1}")


def wrap_dims(dim: Any, ndim: int) -> tuple[int, ...]:
    """Several dimensions counted from the front; RuntimeError when one appears twice."""
    if dim.__class__ is int or not isinstance(dim, (tuple, list)):
        return (wrap_dim(dim, ndim),)
    dims = tuple([wrap_dim(d, ndim) for d in dim])
    if len(set(dims)) != len(dims):
        twice = next(d for d in dims if dims.count(d) > 1)
        raise RuntimeError(f"dim {twice} is listed more than once")
    return dims


def reduce_dims(dim: Any, ndim: int) -> tuple[int, ...] | None:
    """The dimensions that a reduction takes away; None stands for all of them."""
    if dim is None:
        return None
    dims = wrap_dims(dim, ndim)
    if not dims or ndim == 0:
        return None
    return dims


def kept_shape(shape: tuple[int, ...], dim: Any) -> tuple[int, ...]:
    """`shape` with the reduced dimensions at length 1."""
    dims = reduce_dims(dim, len(shape))
    if dims is None:
        return (1,) * len(shape)
    return tuple(1 if i in dims else n for i, n in enumerate(shape))


def checked_size(args: Sequence[Any], function: str) -> tuple[int, ...]:
    """The size of a tensor to be made, given as `(2, 3)` or as `2, 3`: no length may be negative."""
    shape = size_of(args)
    if min(shape, default=0) < 0:
        raise RuntimeError(f"{function}(): a size can't be negative, got {list(shape)}")
    return shape


def given_size(function: str, sizes: tuple, size: Any = None) -> tuple[int, ...]:
    """The size that a factory is called with: as ints, as one sequence of ints, or by name."""
    if size is not None:
        if sizes:
            raise TypeError(f"{function}() got the size twice: {sizes} and size={size}")
        sizes = (size,)
    elif not sizes:
        raise TypeError(
            f"{function}() needs a size: ints or a tuple of ints; {function}(()) makes a tensor without dimensions"
        )
    given = sizes[0] if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes
    return checked_size(given, function)


def size_of(args: Sequence[Any]) -> tuple[int, ...]:
    """A size given as `(2, 3)` or as `2, 3`."""
    for n in args:
        if n.__class__ is not int:
            break
    else:
        if args:
            return tuple(args)
    if len(args) == 1 and not isinstance(args[0], int) and not hasattr(args[0], "__index__"):
        args = args[0]
    elif len(args) == 1 and isinstance(args[0], (tuple, list)):
        args = args[0]
    try:
        return tuple([n if n.__class__ is int else n.__index__() for n in args])
    except AttributeError:
        bad = next(n for n in args if not hasattr(n, "__index__"))
        raise TypeError(f"a size must be ints, got {type(bad).__name__} {bad!r}") from None
    except TypeError:
        raise TypeError(f"a size must be a tuple of ints, got {args!r}") from None
