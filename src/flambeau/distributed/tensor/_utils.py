"""``torch.distributed.tensor._utils``: which part of a whole lies where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__: list[str] = []


def compute_local_shape_and_global_offset(
    global_shape: Sequence[int], mesh: Any, placements: Sequence[Any], skip_offset: bool = False
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape of this process's part of a tensor over a mesh, and where it begins in the whole.

    A dimension that does not part equally is cut into pieces of the size rounded up; the last ones are smaller or
    empty.
    """
    shape, offset = list(global_shape), [0] * len(global_shape)
    where = mesh.get_coordinate()
    if where is None:  # this process has no part
        return (0,), ()
    for along, placement in enumerate(placements):
        if not placement.is_shard():
            continue
        size, parts = shape[placement.dim], mesh.size(along)
        piece = -(-size // parts)
        begin = min(piece * where[along], size)
        offset[placement.dim] += begin
        shape[placement.dim] = min(piece, size - begin)
    return tuple(shape), () if skip_offset else tuple(offset)
