"""`Variable`: since tensors record by themselves, a way to make one from a tensor."""

from __future__ import annotations

from typing import Any

from flambeau.autograd.runtime import NS


class _VariableMeta(type):
    def __instancecheck__(cls, other: Any) -> bool:
        return isinstance(other, NS["Tensor"])


class Variable(metaclass=_VariableMeta):
    """`Variable(tensor, requires_grad=True)` is a tensor that shares the given one's memory.

    `volatile=True`, of old programs, means that nothing is recorded: such a variable never requires grad.
    """

    def __new__(cls, data: Any = None, requires_grad: bool = False, volatile: bool = False) -> Any:  # type: ignore[misc]
        if data is None:
            return NS["Tensor"](0)
        if not isinstance(data, NS["Tensor"]):
            raise TypeError(f"Variable(): data must be a Tensor, got {type(data).__name__}")
        result = data.detach()
        if requires_grad and not volatile:
            result.requires_grad_()
        return result
