"""Copies of a tensor with one of its parts replaced: `select_scatter` and its kin."""

from __future__ import annotations

from typing import Any

from flambeau.autograd.function import Function
from flambeau.autograd.graph import show_as
from flambeau.autograd.runtime import NS
from flambeau.ops import shape
from flambeau.ops.dims import wrap_dim
from flambeau.ops.dispatch import deliver

__all__ = ["as_strided_scatter", "diagonal_scatter", "select_scatter", "slice_scatter"]


def _copied_into(part: Any) -> Any:
    def function(input: Any, src: Any, *args: Any, **kwargs: Any) -> Any:
        result = shape.clone(input)
        view = part(result, *args, **kwargs)
        if tuple(view._a.shape) != tuple(src._a.shape):
            raise RuntimeError(
                f"src must have the shape of the part that it replaces, {list(view._a.shape)}, got {list(src._a.shape)}"
            )
        view.copy_(src)
        return result

    return function


def diagonal_scatter(input: Any, src: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """A copy of `input` with `src` on the diagonals in two dimensions."""
    return _copied_into(shape.diagonal)(input, src, offset, dim1, dim2)


def select_scatter(input: Any, src: Any, dim: int, index: int) -> Any:
    """A copy of `input` with `src` at `index` of `dim`."""
    return _copied_into(shape.select)(input, src, dim, index)


def slice_scatter(
    input: Any, src: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1, *, out: Any = None
) -> Any:
    """A copy of `input` with `src` in `start:end:step` of `dim`."""
    d = wrap_dim(dim, input._a.ndim)
    result = _copied_into(lambda t: t[(slice(None),) * d + (slice(start, end, step),)])(input, src)
    return deliver("slice_scatter", out, result)


def as_strided_scatter(input: Any, src: Any, size: Any, stride: Any, storage_offset: int | None = None) -> Any:
    """A copy of `input` with `src` where a strided view of its memory would look."""
    if NS["GRAD_ENABLED"]() and (input.requires_grad or src.requires_grad) and input._level is src._level is None:
        result = _StridedScatter.apply(input, src, tuple(size), tuple(stride), storage_offset)
        return show_as(result, "AsStridedScatterBackward0")
    plain = input.device.type == "cpu" and input._level is None
    length = input.untyped_storage().nbytes() // input.element_size() if plain else input._a.size
    if length == input._a.size and input.is_contiguous() or not plain:
        return _copied_into(shape.as_strided)(shape.contiguous(input), src, size, stride, storage_offset)
    whole = shape.clone(shape.as_strided(input, (length,), (1,), 0))
    part = shape.as_strided(whole, size, stride, input.storage_offset() if storage_offset is None else storage_offset)
    part.copy_(src)
    return shape.as_strided(whole, input.shape, input.stride(), input.storage_offset())


class _StridedScatter(Function):
    """Its derivative is PyTorch's, which is not that of its values: elements that stay get no gradient, and those that
    are written over get one.
    """

    @staticmethod
    def forward(ctx: Any, input: Any, src: Any, *place: Any) -> Any:
        ctx.place, ctx.shape = place, input.shape
        return as_strided_scatter(input, src, *place)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        g = shape.contiguous(g)
        for_input = for_src = None
        part = shape.as_strided(g, *ctx.place)
        if ctx.needs_input_grad[0]:
            for_input = _copied_into(shape.as_strided)(NS["OPS"].zeros_like(g), part, *ctx.place)
        if ctx.needs_input_grad[1]:
            for_src = shape.clone(part)
        return for_input, for_src, None, None, None
