"""`torch.utils._python_dispatch`: modes that see operations below the public functions."""

from __future__ import annotations

from typing import Any

from flambeau.autograd.runtime import watch
from flambeau.ops import aten, dispatch
from flambeau.tensor.tensor import Tensor

__all__ = ["BaseTorchDispatchMode", "TorchDispatchMode", "is_traceable_wrapper_subclass", "return_and_correct_aliasing"]


class TorchDispatchMode:
    """A context in which `__torch_dispatch__(func, types, args, kwargs)` of the mode is asked about every operation
    that runs forward. `func` is `torch.ops.aten.<name>.default` of flambeau's own operation: what PyTorch composes of
    several may be one here. Inside the mode is off, so `func(*args, **kwargs)` runs the operation.
    """

    def __init__(self, _dispatch_key: Any = None) -> None:
        pass

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        """Computes the operation. To be overridden."""
        raise NotImplementedError("a TorchDispatchMode must define __torch_dispatch__(self, func, types, args, kwargs)")

    def _run(self, op: Any, args: tuple) -> Any:
        passed, named = dispatch._as_called(op, args)
        types = tuple({type(a): None for a in args if isinstance(a, Tensor) and type(a) is not Tensor})
        return self.__torch_dispatch__(aten.overload(op.name.removesuffix("_op")), types, passed, named)

    def __enter__(self) -> TorchDispatchMode:
        dispatch.modes.append(self._run)
        watch(True)
        return self

    def __exit__(self, *error: object) -> None:
        dispatch.modes.pop()
        watch(False)

    @classmethod
    def push(cls, *args: Any, **kwargs: Any) -> TorchDispatchMode:
        """An older way to make one for `with`."""
        return cls(*args, **kwargs)

    @classmethod
    def is_infra_mode(cls) -> bool:
        """False: none belongs to the machinery."""
        return False


class BaseTorchDispatchMode(TorchDispatchMode):
    """A mode that runs every operation as it is."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def is_traceable_wrapper_subclass(t: Any) -> bool:
    """Whether it is a subclass that is made of other tensors and says so by `__tensor_flatten__`."""
    return (
        isinstance(t, Tensor)
        and type(t) is not Tensor
        and hasattr(t, "__tensor_flatten__")
        and hasattr(t, "__tensor_unflatten__")
    )


def is_traceable_wrapper_subclass_type(t: type) -> bool:
    """The same for a class."""
    return issubclass(t, Tensor) and t is not Tensor and hasattr(t, "__tensor_flatten__")


def return_and_correct_aliasing(func: Any, args: Any, kwargs: Any, out: Any) -> Any:
    """The result as it is."""
    return out


def _get_current_dispatch_mode_stack() -> list[Any]:
    """The modes that are on, the innermost last."""
    return [m.__self__ for m in dispatch.modes if hasattr(m, "__self__")]


def _get_current_dispatch_mode() -> Any:
    """The innermost mode; None if there is none."""
    found = _get_current_dispatch_mode_stack()
    return found[-1] if found else None
