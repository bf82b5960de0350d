"""Many tensors as one flat tensor, and back: what gradient exchanges of others are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from flambeau.ops.joining import cat


def _flatten_dense_tensors(tensors: Sequence[Any]) -> Any:
    """The elements of all tensors, one after another, in one dimension."""
    return cat([tensor.contiguous().view(-1) for tensor in tensors])


def _unflatten_dense_tensors(flat: Any, tensors: Sequence[Any]) -> tuple[Any, ...]:
    """Views of `flat` that are shaped as `tensors`, one after another."""
    views, at = [], 0
    for tensor in tensors:
        views.append(flat.narrow(0, at, tensor.numel()).view_as(tensor))
        at += tensor.numel()
    return tuple(views)


def _take_tensors(tensors: Sequence[Any], size_limit: int) -> Iterator[list[Any]]:
    """Groups of tensors of one dtype, of up to that many bytes each."""
    waiting: dict[Any, tuple[list[Any], int]] = {}
    for tensor in tensors:
        group, size = waiting.get(tensor.dtype, ([], 0))
        added = tensor.numel() * tensor.element_size()
        if group and size + added > size_limit:
            yield group
            group, size = [], 0
        waiting[tensor.dtype] = ([*group, tensor], size + added)
    for group, _ in waiting.values():
        if group:
            yield group
