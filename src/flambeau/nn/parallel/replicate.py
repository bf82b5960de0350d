"""Copies of a module for several devices."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from flambeau.nn.modules.module import Module

__all__ = ["replicate"]


def replicate(network: Module, devices: Sequence[Any], detach: bool = False) -> list[Module]:
    """One module per device that shares `network`'s parameters where they are there already."""
    made = []
    for _ in devices:
        memo: dict[int, Any] = {id(t): t.detach() if detach else t for t in [*network.parameters(), *network.buffers()]}
        made.append(copy.deepcopy(network, memo))
    return made
