"""``torch._dynamo``: the switches of PyTorch's compiler that programs set. Nothing is captured that way here."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from flambeau.compiler import disable, is_compiling, reset

__all__ = ["allow_in_graph", "config", "disable", "graph_break", "is_compiling", "mark_dynamic", "reset"]


class _Settings(SimpleNamespace):
    """Settings that may be read and set; nothing depends on them."""

    @contextlib.contextmanager
    def patch(self, changes: dict[str, Any] | str | None = None, value: Any = None, **more: Any) -> Iterator[None]:
        """Other settings inside a `with` block, or during calls of a decorated function."""
        changes = {changes: value} if isinstance(changes, str) else {**(changes or {}), **more}
        before = dict(self.__dict__)
        self.__dict__.update(changes)
        try:
            yield
        finally:
            self.__dict__.clear()
            self.__dict__.update(before)


config = _Settings(
    suppress_errors=False, verbose=False, cache_size_limit=8, recompile_limit=8, dynamic_shapes=True,
    assume_static_by_default=True, optimize_ddp=True, capture_scalar_outputs=False, accumulated_cache_size_limit=256,
)  # fmt: skip


def is_dynamo_supported() -> bool:
    """Whether PyTorch's own compiler can be used: no. `torch.compile` here is another one."""
    return False


def assume_constant_result(fn: Any) -> Any:
    """The function as it is."""
    return fn


def allow_in_graph(fn: Any) -> Any:
    """The function, or functions, as they are."""
    return fn


def graph_break(msg: str = "") -> None:
    """Nothing to break."""


def mark_dynamic(t: Any, index: Any, **kwargs: Any) -> None:
    """Shapes may always change."""


def mark_static(t: Any, index: Any = None) -> None:
    """Shapes may always change."""


def mark_static_address(t: Any, guard: bool = True) -> None:
    """A tensor's memory is where it is."""


maybe_mark_dynamic = mark_dynamic


def optimize(*args: Any, **kwargs: Any) -> Callable:
    """A decorator that returns the function as it is."""
    return lambda function: function
