"""``torch.fx.experimental.symbolic_shapes``: questions about sizes that may be symbols. Here they are numbers."""

from __future__ import annotations

from typing import Any

__all__ = ["guard_or_false", "guard_or_true", "guard_size_oblivious", "has_free_symbols", "hint_int",
           "is_concrete_bool", "is_concrete_int", "statically_known_true", "sym_eq"]  # fmt: skip


def guard_size_oblivious(expr: Any) -> bool:
    """The condition's value."""
    return bool(expr)


guard_or_false = guard_or_true = statically_known_true = guard_size_oblivious


def has_free_symbols(val: Any) -> bool:
    """Whether a value has sizes that are not known."""
    return False


def hint_int(a: Any, fallback: int | None = None) -> int:
    """The size."""
    return int(a)


def is_concrete_int(a: Any) -> bool:
    """Whether a size is known."""
    return True


def is_concrete_bool(a: Any) -> bool:
    """Whether a condition is known."""
    return True


def sym_eq(x: Any, y: Any) -> bool:
    """Whether two sizes, or sequences of them, are equal."""
    return x == y


def free_symbols(val: Any) -> set:
    """The sizes in a value that are not known: none."""
    return set()
