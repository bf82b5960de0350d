"""Forward-mode differentiation: tensors that carry a tangent through every operation.

Inside a `dual_level`, `make_dual` joins a value and a tangent, `unpack_dual` takes them apart again. What is computed
from duals is dual too. Reverse mode works across it in both orders: a tangent has a history where its operands have
one, and the gradients of duals are duals.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from flambeau.autograd.graph import Node
from flambeau.autograd.runtime import LEAF, NS, _Mode, thread, tick
from flambeau.func.dual import Dual, dual
from flambeau.func.levels import Level, running
from flambeau.func.transforms import checked_tangent

__all__ = ["UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual", "unpack_dual"]


class _State:
    level: Level | None = None


_state = _State()


class UnpackedDualTensor(NamedTuple):
    """A value and its tangent, None where it has none."""

    primal: Any
    tangent: Any


class AliasBackward0(Node):
    """Leads from a dual to the tensor that it was made of."""

    def __init__(self, source: Any) -> None:
        self.edges = (source if source._node is LEAF else source._node,)
        self.seq = tick()

    def run(self, g: Any) -> tuple[Any, ...]:
        return (g,)

    run_recorded = run


def enter_dual_level() -> int:
    """Begins a level of forward mode and returns its number, 0. RuntimeError inside another: `torch.func.jvp` nests."""
    if _state.level is not None:
        raise RuntimeError(
            "enter_dual_level(): levels of forward mode do not nest; for derivatives of derivatives use "
            "torch.func.jvp, or forward mode over reverse"
        )
    _state.level = Level("jvp", one_tape=True)
    _state.level.__enter__()
    return 0


def exit_dual_level(*, level: int | None = None) -> None:
    """Ends the level: tangents of what was made in it are gone. RuntimeError where none is entered."""
    if _state.level is None or level not in (None, 0):
        raise RuntimeError(f"exit_dual_level(): level {level} is not the one that was entered last")
    entered, _state.level = _state.level, None
    if entered in running():
        entered.__exit__()


class dual_level(_Mode):
    """A level of forward mode as a context manager, or around each call of a function as a decorator.

    >>> import flambeau as torch
    >>> from flambeau.autograd import forward_ad
    >>> with forward_ad.dual_level():
    ...     x = forward_ad.make_dual(torch.tensor(3.0), torch.tensor(1.0))
    ...     forward_ad.unpack_dual(x * x).tangent
    tensor(6.)
    """

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(self, *exc: object) -> None:
        exit_dual_level()


def make_dual(tensor: Any, tangent: Any, *, level: int | None = None) -> Any:
    """`tensor` with `tangent` beside it, both floating-point or complex and of one shape and dtype.

    RuntimeError outside of a level, for a tensor that is a dual already, and where shapes or dtypes differ; ValueError
    for other dtypes.
    """
    entered = _state.level
    if entered is None or level not in (None, 0):
        raise RuntimeError("make_dual(): there is no level of forward mode; call it inside dual_level()")
    for what, t in (("value", tensor), ("tangent", tangent)):
        if not isinstance(t, NS["Tensor"]):
            raise TypeError(f"make_dual(): the {what} must be a Tensor, got {type(t).__name__}")
        if t._a.dtype.kind not in "fcV":
            raise ValueError(f"make_dual(): the {what} must be floating-point or complex, got {t.dtype}")
    if tensor._level is entered and tensor._tangent is not None:
        raise RuntimeError("make_dual(): the tensor is a dual already; unpack_dual() it first")
    tangent = checked_tangent(tensor, tangent, "make_dual()")
    value = tensor._primal if tensor._level is entered else tensor
    made = dual(entered, value, tangent)
    if tensor._node is not None and thread.grad:
        made._node = AliasBackward0(tensor)
    return made


def unpack_dual(tensor: Any, *, level: int | None = None) -> UnpackedDualTensor:
    """The value and the tangent of `tensor`; the tangent is None for what is no dual, and outside of a level."""
    entered = _state.level
    if entered is None or level not in (None, 0):
        return UnpackedDualTensor(tensor, None)
    if isinstance(tensor, Dual) and tensor._level is entered:
        return UnpackedDualTensor(tensor._primal, tensor._tangent)
    return UnpackedDualTensor(tensor, None)


def _current_level() -> int:
    return -1 if _state.level is None else 0
