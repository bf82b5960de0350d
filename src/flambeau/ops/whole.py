"""Functions that a recorded program calls as a whole, and not as the operations that they come to.

What is drawn at random is drawn again whenever the program runs, and what works with tables for a size makes them for
the size that there is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from flambeau.autograd.runtime import NS

#: These functions by the name that they have in programs.
WHOLE: dict[str, Callable] = {}


def recorded_whole(function: Callable) -> Callable:
    """Lets a recorder note a call of `function` instead of what happens inside."""
    name = "whole." + function.__name__.lstrip("_")
    WHOLE[name] = function

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        recorder = NS["WRITES"]
        if recorder is None or NS["LEVELS"]:
            return function(*args, **kwargs)
        return recorder.whole(name, function, args, kwargs)

    return wrapper
