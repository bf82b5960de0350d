"""Lines of the program that nodes came from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["annotate", "get_current_meta", "has_preserved_node_meta", "preserve_node_meta", "set_current_meta"]

_current: dict[str, Any] = {}
_kept = False


@contextmanager
def preserve_node_meta(enable: bool = True) -> Iterator[None]:
    """Inside, `has_preserved_node_meta()` says so."""
    global _kept
    before, _kept = _kept, enable
    try:
        yield
    finally:
        _kept = before


def has_preserved_node_meta() -> bool:
    """Whether metadata is to be handed on."""
    return _kept


@contextmanager
def set_current_meta(node: Any, pass_name: str = "") -> Iterator[None]:
    """Inside, `get_current_meta()` gives the metadata of `node`."""
    global _current
    before, _current = _current, dict(node.meta)
    try:
        yield
    finally:
        _current = before


@contextmanager
def annotate(annotation_dict: dict[str, Any]) -> Iterator[None]:
    """Inside, the current metadata has these entries under `custom`."""
    global _current
    before = _current
    _current = {**before, "custom": {**before.get("custom", {}), **annotation_dict}}
    try:
        yield
    finally:
        _current = before


def get_current_meta() -> dict[str, Any]:
    """The metadata set by `set_current_meta`."""
    return _current
