"""Several modules at a time, each in a thread of its own."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flambeau.autograd.runtime import is_grad_enabled, set_grad_enabled
from flambeau.nn.modules.module import Module

__all__ = ["get_a_var", "parallel_apply"]


def get_a_var(obj: Any) -> Any:
    """A tensor in there, at any depth; None if there is none."""
    from flambeau.pytree import tree_leaves
    from flambeau.tensor.tensor import Tensor

    return next((x for x in tree_leaves(obj) if isinstance(x, Tensor)), None)


def parallel_apply(
    modules: Sequence[Module], inputs: Sequence[Any], kwargs_tup: Sequence[dict] | None = None, devices: Any = None
) -> list[Any]:
    """The results of `modules[i](*inputs[i], **kwargs_tup[i])`, computed side by side. The first error is raised."""
    if len(modules) != len(inputs):
        raise AssertionError(f"the number of modules {len(modules)} is not that of inputs {len(inputs)}")
    keywords = kwargs_tup or [{}] * len(modules)
    grad = is_grad_enabled()

    def run(module: Module, args: Any, kwargs: dict) -> Any:
        with set_grad_enabled(grad):
            return module(*(args if isinstance(args, (list, tuple)) else (args,)), **kwargs)

    if len(modules) == 1:
        return [run(modules[0], inputs[0], keywords[0])]
    with ThreadPoolExecutor(len(modules)) as pool:
        return list(pool.map(run, modules, inputs, keywords))
