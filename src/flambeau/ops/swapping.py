"""Giving a function other code for a time, without anybody's having to import it anew."""

from __future__ import annotations

import types
from typing import Any

from flambeau.ops.declare import define


class Swap:
    """A function whose code can be replaced by a call of `run`, which has the original to hand."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.kept = (function.__code__, function.__defaults__, function.__kwdefaults__)
        original = types.FunctionType(
            function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
        )
        original.__kwdefaults__ = function.__kwdefaults__
        self.original = original
        self.name = f"_swapped_{function.__name__}_{id(function)}"

    def run(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        """What the function does while it is replaced."""
        return self.original(*args, **kwargs)

    def install(self) -> None:
        """Replaces the code."""
        function = self.function
        function.__globals__[self.name] = self.run
        text = f"def {function.__name__}(*args, **kwargs):\n    return {self.name}(args, kwargs)\n"
        code = define(text, function.__name__, f"<flambeau swapped {function.__name__}>").__code__
        function.__defaults__ = function.__kwdefaults__ = None
        function.__code__ = code.replace(co_freevars=self.kept[0].co_freevars)

    def restore(self) -> None:
        """Gives the function its own code back."""
        function = self.function
        function.__code__, function.__defaults__, function.__kwdefaults__ = self.kept
        function.__globals__.pop(self.name, None)
