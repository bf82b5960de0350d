"""Two tensors that take each other's place, wherever they are referred to."""

from __future__ import annotations

import weakref
from typing import Any

from flambeau.tensor.tensor import Tensor


def swap_tensors(t1: Any, t2: Any) -> None:
    """Exchanges all that two tensors are: values, history, gradient, class and attributes.

    Raises:
        TypeError: if one is no tensor.
        RuntimeError: if somebody holds one weakly, or it stands at the end of a graph that goes on.
    """
    for tensor in (t1, t2):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"swap_tensors(): expected Tensors, got {type(tensor).__name__}")
    if t1 is t2:
        return
    for tensor in (t1, t2):
        if weakref.getweakrefs(tensor):
            raise RuntimeError("Cannot swap a tensor that has weakref associated with it")
    t1.__class__, t2.__class__ = t2.__class__, t1.__class__
    t1.__dict__, t2.__dict__ = t2.__dict__, t1.__dict__
