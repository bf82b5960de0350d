"""``torch.cuda.graphs``: recording what a stream does, to run it again. Here whole steps are compiled instead."""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["CUDAGraph", "graph", "is_current_stream_capturing", "make_graphed_callables"]


def _refuse(name: str) -> NoReturn:
    raise RuntimeError(f"torch.cuda.{name}: streams are not recorded. torch.compile(step) makes one program of a step")


class CUDAGraph:
    """A recording. Making one is refused: RuntimeError says what to do instead."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse("CUDAGraph")


class graph:
    """A context that records. It is refused: RuntimeError says what to do instead."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse("graph")


def make_graphed_callables(callables: Any, sample_args: Any, *args: Any, **kwargs: Any) -> NoReturn:
    """Raises RuntimeError, as `CUDAGraph` does."""
    _refuse("make_graphed_callables")


def is_current_stream_capturing() -> bool:
    """Whether a stream is being recorded: never."""
    return False
