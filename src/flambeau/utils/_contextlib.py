"""``torch.utils._contextlib``: context managers that decorate functions as well."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from typing import Any

__all__: list[str] = []


def context_decorator(ctx: Any, func: Callable) -> Callable:
    """`func` inside the context that `ctx` is, or that calling it makes, a new one at each call."""
    make = ctx if callable(ctx) and not hasattr(ctx, "__enter__") else lambda: ctx
    if inspect.isgeneratorfunction(func):
        return _generator(make, func)

    @functools.wraps(func)
    def inside(*args: Any, **kwargs: Any) -> Any:
        with make():
            return func(*args, **kwargs)

    return inside


def _generator(make: Callable, func: Callable) -> Callable:
    """The context is open while the generator runs, and closed while it waits."""

    @functools.wraps(func)
    def inside(*args: Any, **kwargs: Any) -> Any:
        generator, answer = func(*args, **kwargs), None
        step: Callable = generator.send
        while True:
            try:
                with make():
                    value = step(answer)
            except StopIteration as end:
                return end.value
            try:
                answer, step = (yield value), generator.send
            except GeneratorExit:
                with make():
                    generator.close()
                raise
            except BaseException as error:  # noqa: BLE001 - it is thrown into the generator, as it came
                answer, step = error, generator.throw

    return inside


class _DecoratorContextManager:
    """A base class: its instances are contexts, and decorate functions and generators."""

    def __call__(self, orig_func: Callable) -> Callable:
        return context_decorator(self.clone, orig_func)

    def __enter__(self) -> None:
        raise NotImplementedError(f"{type(self).__name__} must define __enter__")

    def __exit__(self, *exc: object) -> None:
        raise NotImplementedError(f"{type(self).__name__} must define __exit__")

    def clone(self) -> Any:
        """A context of the same kind, for one call."""
        return copy.copy(self) if self.__dict__ else type(self)()


class _NoParamDecoratorContextManager(_DecoratorContextManager):
    """The same, and the class itself decorates a function when it is called with one."""

    def __new__(cls, orig_func: Callable | None = None) -> Any:
        made = super().__new__(cls)
        return made if orig_func is None else made(orig_func)
