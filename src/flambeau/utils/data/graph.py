"""What a data pipe is made of."""

from __future__ import annotations

from typing import Any

from flambeau.utils.data.datapipes.datapipe import IterDataPipe, MapDataPipe

__all__ = ["traverse", "traverse_dps"]


def traverse_dps(datapipe: Any) -> dict[int, tuple[Any, dict]]:
    """The pipes that a pipe draws from, as `{id(pipe): (pipe, {the same of those that it draws from})}`."""
    found: dict[int, tuple[Any, dict]] = {}
    for pipe in _pipes(vars(datapipe).values()):
        found.update(traverse_dps(pipe))
    return {id(datapipe): (datapipe, found)}


def _pipes(values: Any) -> Any:
    for value in values:
        if isinstance(value, (IterDataPipe, MapDataPipe)):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _pipes(value)
        elif isinstance(getattr(value, "source", None), (IterDataPipe, MapDataPipe)):  # what branches share
            yield value.source


def traverse(datapipe: Any, only_datapipe: bool | None = None) -> dict[int, tuple[Any, dict]]:
    """An older name of `traverse_dps`."""
    return traverse_dps(datapipe)
