"""How a launched process tells its launcher of errors."""

from __future__ import annotations

import functools
import os
import traceback
from collections.abc import Callable
from typing import Any

__all__ = ["record"]


def record(fn: Callable, error_handler: object = None) -> Callable:
    """Marks a program's main function: what it raises goes on, and its traceback into the launcher's report."""

    @functools.wraps(fn)
    def recorded(*args: Any, **kwargs: Any) -> Any:
        try:
            return fn(*args, **kwargs)
        except Exception:
            path = os.environ.get("TORCHELASTIC_ERROR_FILE")
            if path:
                with open(path, "w") as file:
                    file.write(traceback.format_exc())
            raise

    return recorded
