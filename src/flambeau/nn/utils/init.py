"""Modules without initialisation."""

from __future__ import annotations

import inspect
from typing import Any

from flambeau.random import fork_rng

__all__ = ["skip_init"]


def skip_init(module_cls: type, *args: Any, **kwargs: Any) -> Any:
    """An instance of `module_cls` whose parameters hold no meaningful values (drawing them is wasted if they are
    loaded).

    RuntimeError unless it is a Module class that takes `device`.
    """
    from flambeau.nn.modules.module import Module

    if not issubclass(module_cls, Module):
        raise RuntimeError(f"skip_init: expected a Module class, got {module_cls.__name__}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError(f"skip_init: {module_cls.__name__} takes no device")
    with fork_rng(devices=[]):  # nothing is drawn, as far as the program's generator goes
        return module_cls(*args, **kwargs)
