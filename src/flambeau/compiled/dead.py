"""Calls whose results nobody reads are left out of a plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .capture import Entry
from .memory import Block

__all__ = ["is_pure", "living"]


def living(entries: Sequence[Entry], live: set[Block]) -> list[Entry]:
    """The entries without which something would be missing in a block of `live`, or an effect; in their order."""
    wanted = set(live)
    kept: list[Entry] = []
    for entry in reversed(entries):
        results = (*entry.made, *entry.wrote)
        if results and is_pure(entry.kind, entry.function) and not {p.block for p in results if p.size} & wanted:
            continue
        wanted |= entry.touched
        kept.append(entry)
    kept.reverse()
    return kept


def is_pure(kind: str, function: Any) -> bool:
    """Whether a call does nothing but give its result: those of NumPy, and chains of these."""
    if kind in ("ufunc", "chain"):
        return True
    if kind != "call":
        return False
    of = getattr(function, "__self__", None)
    module = getattr(function, "__module__", None) or ""
    return (
        isinstance(of, np.ufunc)
        or getattr(function, "__objclass__", None) is np.ndarray
        or (module.partition(".")[0] == "numpy" and not module.startswith("numpy.random"))
    )
