"""``torch.compile`` and ``torch.compiler``. Programs run eagerly: what is compiled is returned as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["compile", "disable", "is_compiling", "is_dynamo_compiling", "is_exporting", "reset"]


def compile(
    model: Callable | None = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: str | Callable = "inductor",
    mode: str | None = None,
    options: dict[str, Any] | None = None,
    disable: bool = False,
) -> Any:
    """Accept everything ``torch.compile`` accepts and return ``model`` itself: it runs eagerly, with the same results.

    Without ``model`` it is a decorator.

    Raises:
        RuntimeError: both ``mode`` and ``options`` are given.

    >>> import flambeau as torch
    >>> @torch.compile(mode="reduce-overhead")
    ... def double(x):
    ...     return x * 2
    >>> double(21)
    42
    """
    if mode is not None and options is not None:
        raise RuntimeError(f"compile() takes either mode or options, got mode={mode!r} and options={options!r}")
    if model is None:
        return lambda function: compile(function, fullgraph=fullgraph, dynamic=dynamic, backend=backend, mode=mode,
                                        options=options, disable=disable)  # fmt: skip
    if not callable(model):
        raise TypeError(f"compile() takes a function or a module, got {type(model).__name__}")
    return model


def disable(fn: Callable | None = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """Keep a function out of compilation: it is returned as it is. Without ``fn`` it is a decorator."""
    return (lambda function: function) if fn is None else fn


def is_compiling() -> bool:
    """Whether code is being captured right now: no."""
    return False


def is_dynamo_compiling() -> bool:
    """Whether code is being captured right now: no."""
    return False


def is_exporting() -> bool:
    """Whether a program is being exported right now: no."""
    return False


def reset() -> None:
    """Forget what was compiled: nothing was."""
