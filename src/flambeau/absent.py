"""What `torch.mps` and `torch.xpu` are on a machine without such a GPU: seeds are accepted, questions answered, orders
refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn


def is_available() -> bool:
    """Whether there is such a GPU: no."""
    return False


def device_count() -> int:
    """The number of such GPUs: 0."""
    return 0


def manual_seed(seed: int) -> None:
    """Accepted: there is nothing to seed."""


def seed() -> None:
    """Accepted: there is nothing to seed."""


def refusing(module: str, guard: str) -> Callable[..., NoReturn]:
    """What stands for every order in the module of that name; `guard` tells a program that there is no such GPU."""

    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        """Raises RuntimeError: there is no such GPU."""
        raise RuntimeError(f"{module}: there is no such device here; guard the call with {guard}()")

    return refuse
