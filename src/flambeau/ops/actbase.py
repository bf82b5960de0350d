"""What activation functions share: refusals of dtypes, and writing in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.autograd.runtime import NS
from flambeau.errors import describe, need_tensor


def floating(name: str, a: Any, kinds: str = "f") -> None:
    if a.dtype.kind not in kinds:
        raise NotImplementedError(
            f"{name}(): expected a floating-point tensor, got {describe(a)}; convert it with .to(torch.float32)"
        )


def ordered(name: str, a: Any) -> None:
    """Refuses what has no order, or no use for one."""
    if a.dtype.kind == "b":
        raise RuntimeError(
            f"{name}(): bool tensors are not supported, got {describe(a)}; convert it with .to(torch.float32)"
        )
    if a.dtype.kind == "c":
        raise NotImplementedError(f"{name}(): complex numbers have no order, got {describe(a)}")


# --- in place -----------------------------------------------------------------------------------------------------

_writers: dict[Callable, Callable] = {}


def write_into(function: Callable, input: Any, *args: Any) -> Any:
    """`function(input, *args)` written into `input`."""
    writer = _writers.get(function)
    if writer is None:
        writer = _writers[function] = NS["IN_PLACE"](function)
    need_tensor(f"{function.__name__}_", input)
    return writer(input, *args)
