"""A version string that compares as a version: ``torch.__version__ >= (1, 8)``, ``torch.__version__ < "2.20"``."""

from __future__ import annotations

import re
from typing import Any

_PATTERN = re.compile(
    r"\s*v?(?P<release>\d+(?:\.\d+)*)[-_.]?(?:(?P<phase>a|alpha|b|beta|c|rc|pre|preview|dev|post)[-_.]?(?P<number>\d*))?"
    r"[^+]*(?:\+(?P<local>[a-zA-Z0-9._-]+))?\s*$"
)
_PHASES = {"dev": -4, "a": -3, "alpha": -3, "b": -2, "beta": -2, "c": -1, "rc": -1, "pre": -1, "preview": -1, "post": 1}


def _key(version: Any) -> tuple | None:
    """What orders versions (PEP 440): release numbers, then phase, then the local part; `None` if it is no version."""
    if not isinstance(version, str):
        version = ".".join(map(str, version)) if isinstance(version, (tuple, list)) else str(version)
    match = _PATTERN.match(version)
    if match is None:
        return None
    release = [int(part) for part in match["release"].split(".")]
    while release and release[-1] == 0:
        release.pop()
    local = tuple((1, int(p), "") if p.isdigit() else (0, 0, p) for p in re.split(r"[._-]", match["local"] or "") if p)
    return tuple(release), _PHASES.get(match["phase"], 0), int(match["number"] or 0), local


class TorchVersion(str):
    """A string that compares by version with strings, tuples of numbers and ``packaging`` versions.

    >>> TorchVersion("2.13.0") > "2.9", TorchVersion("2.13.0") >= (1, 8)
    (True, True)
    """

    __slots__ = ()

    def _compare(self, other: Any, name: str) -> Any:
        mine, theirs = _key(str(self)), _key(other)
        if mine is None or theirs is None:
            return getattr(str, name)(self, other)
        return getattr(mine, name)(theirs)

    def __lt__(self, other: Any) -> Any:
        return self._compare(other, "__lt__")

    def __le__(self, other: Any) -> Any:
        return self._compare(other, "__le__")

    def __gt__(self, other: Any) -> Any:
        return self._compare(other, "__gt__")

    def __ge__(self, other: Any) -> Any:
        return self._compare(other, "__ge__")

    def __eq__(self, other: Any) -> Any:
        return self._compare(other, "__eq__")

    def __ne__(self, other: Any) -> Any:
        return self._compare(other, "__ne__")

    __hash__ = str.__hash__
