"""``torch.backends.cudnn``: its flags can be set and read, and change nothing without a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

enabled: Any = True
benchmark: Any = False
deterministic: Any = False
allow_tf32: Any = True
benchmark_limit: Any = 10
fp32_precision: Any = "none"


def is_available() -> bool:
    """Whether cuDNN can be used: no."""
    return False


def version() -> None:
    """cuDNN's version: ``None``, there is none."""


def is_acceptable(tensor: Any) -> bool:
    """Whether cuDNN could work on ``tensor``: no."""
    return False


def set_flags(
    _enabled: bool | None = None,
    _benchmark: bool | None = None,
    _benchmark_limit: int | None = None,
    _deterministic: bool | None = None,
    _allow_tf32: bool | None = None,
    _fp32_precision: str | None = None,
) -> tuple:
    """Set those flags that are not ``None``; return all of them as they were."""
    global enabled, benchmark, benchmark_limit, deterministic, allow_tf32, fp32_precision
    before: tuple[Any, ...] = (enabled, benchmark, benchmark_limit, deterministic, allow_tf32, fp32_precision)
    given = (_enabled, _benchmark, _benchmark_limit, _deterministic, _allow_tf32, _fp32_precision)
    enabled, benchmark, benchmark_limit, deterministic, allow_tf32, fp32_precision = (
        old if new is None else new for old, new in zip(before, given)
    )
    return before


@contextmanager
def flags(
    enabled: bool = False,
    benchmark: bool = False,
    benchmark_limit: int = 10,
    deterministic: bool = False,
    allow_tf32: bool = True,
    fp32_precision: str = "none",
) -> Iterator[None]:
    """A context in which the flags have these values."""
    before = set_flags(enabled, benchmark, benchmark_limit, deterministic, allow_tf32, fp32_precision)
    try:
        yield
    finally:
        set_flags(*before)
