"""``torch.backends.opt_einsum``: whether `einsum` asks the package opt_einsum for the order of its contractions.

Without it, or with `enabled` false, `einsum` finds an order itself: the best one for up to six operands, a greedy one
for more.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from flambeau.ops.einsum import SETTINGS, installed

_STRATEGIES = ("auto", "greedy", "optimal")


def is_available() -> bool:
    """Whether the package opt_einsum is installed."""
    return installed()


def get_opt_einsum() -> Any:
    """The package opt_einsum, or None where it is not installed."""
    return importlib.import_module("opt_einsum") if is_available() else None


def set_flags(_enabled: bool | None = None, _strategy: str | None = None) -> tuple[bool, str | None]:
    """Set what is not None; return both as they were.

    ValueError for a strategy other than 'auto', 'greedy' and 'optimal', and for switching on what is not installed.
    """
    module: Any = sys.modules[__name__]
    before = (module.enabled, module.strategy)
    if _enabled is not None:
        module.enabled = _enabled
    if _strategy is not None:
        if not module.enabled:
            raise ValueError(f"opt_einsum is not in use, so its strategy can't be set to {_strategy!r}")
        if _strategy not in _STRATEGIES:
            raise ValueError(f"strategy must be one of {_STRATEGIES}, got {_strategy!r}")
        module.strategy = _strategy
    return before


@contextmanager
def flags(enabled: bool | None = None, strategy: str | None = None) -> Iterator[None]:
    """A context in which the flags have these values."""
    before = dict(SETTINGS)
    set_flags(enabled, strategy)
    try:
        yield
    finally:
        SETTINGS.update(before)


class _Module(ModuleType):
    """This module, whose two settings are `einsum`'s own."""

    @property
    def enabled(self) -> bool:
        """Whether `einsum` asks opt_einsum."""
        return installed() if SETTINGS["enabled"] is None else SETTINGS["enabled"]

    @enabled.setter
    def enabled(self, value: bool) -> None:
        if value and not installed():
            raise ValueError("opt_einsum is not installed, so it can't be enabled: pip install opt-einsum")
        SETTINGS["enabled"] = bool(value)

    @property
    def strategy(self) -> str | None:
        """How it looks for an order: 'auto', 'greedy' or 'optimal'; None where it is not installed."""
        return SETTINGS["strategy"] if installed() else None

    @strategy.setter
    def strategy(self, value: str) -> None:
        SETTINGS["strategy"] = value  # unlike `set_flags`, this takes whatever name opt_einsum may know


sys.modules[__name__].__class__ = _Module
