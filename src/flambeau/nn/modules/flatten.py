"""Reshaping as modules: `Flatten` and `Unflatten`."""

from __future__ import annotations

from typing import Any

from flambeau.nn.modules.module import Module

__all__ = ["Flatten", "Unflatten"]


class Flatten(Module):
    """Joins the dimensions from `start_dim` to `end_dim` to one; by default all but the batch dimension."""

    __constants__ = ["start_dim", "end_dim"]

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input):
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Splits the dimension `dim` (a number or a name) into dimensions of the sizes `unflattened_size`.

    TypeError unless the sizes are a tuple or list of ints.
    """

    __constants__ = ["dim", "unflattened_size"]

    def __init__(self, dim: int | str, unflattened_size: Any) -> None:
        super().__init__()
        if isinstance(dim, int):
            self._check(unflattened_size, int, "ints")
        elif isinstance(dim, str):
            self._check(unflattened_size, tuple, "(name, size) pairs")
        else:
            raise TypeError(f"Unflatten: dim must be an int or a str, got {type(dim).__name__}")
        self.dim = dim
        self.unflattened_size = unflattened_size

    @staticmethod
    def _check(sizes: Any, kind: type, what: str) -> None:
        if not isinstance(sizes, (tuple, list)):
            raise TypeError(f"Unflatten: unflattened_size must be a tuple of {what}, got {type(sizes).__name__}")
        for i, element in enumerate(sizes):
            if not isinstance(element, kind):
                raise TypeError(
                    f"Unflatten: unflattened_size must be a tuple of {what}, got {type(element).__name__} at "
                    f"position {i}"
                )

    def forward(self, input):
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
