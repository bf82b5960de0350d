"""``torch._tensor_str``: where some programs look for the options of printing, and for parts of it."""

from __future__ import annotations

from typing import Any

from flambeau.dtypes import get_default_dtype
from flambeau.tensor.printing import (
    _options,
    format_array,
    get_printoptions,
    printoptions,
    set_printoptions,
    tensor_repr,
    with_suffixes,
)
from flambeau.tensor.tensor import Tensor

__all__ = ["PRINT_OPTS", "get_printoptions", "printoptions", "set_printoptions"]

#: The options in force.
PRINT_OPTS = _options


def _tensor_str(self: Any, indent: int) -> str:
    """The elements of a tensor as they are printed, in brackets."""
    return format_array(self.detach()._a, indent)


def _add_suffixes(tensor_str: str, suffixes: list[str], indent: int, force_newline: bool) -> str:
    """Text that is closed by what is to be said behind it; on a line of its own if `force_newline`."""
    if not force_newline or not suffixes:
        return with_suffixes(tensor_str, suffixes, indent)
    return f"{tensor_str},\n{' ' * indent}{', '.join(suffixes)})"


def _str_intern(inp: Any, *, tensor_contents: str | None = None) -> str:
    """A tensor as it is printed, with other text in the place of its elements."""
    plain = type(inp) is Tensor
    return tensor_repr(inp, plain=plain, default_dtype=get_default_dtype(), tensor_contents=tensor_contents)
