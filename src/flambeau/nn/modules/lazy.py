"""Modules that learn the shapes of their parameters from their first input."""

from __future__ import annotations

import itertools
from typing import Any

from flambeau.nn.parameter import is_lazy

__all__ = ["LazyModuleMixin"]


class LazyModuleMixin:
    """Goes before a Module in the bases of a class whose parameters start without a shape.

    Such a class registers `UninitializedParameter`s and `UninitializedBuffer`s and defines
    `initialize_parameters(*args, **kwargs)`, which gets the arguments of the first forward and materializes them. After
    that the object becomes one of `cls_to_become`, if that is set. Build the optimizer after the first forward.
    """

    cls_to_become: type | None = None

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._load_hook = self._register_load_state_dict_pre_hook(_materialize_from_state, with_module=True)
        self._initialize_hook = self.register_forward_pre_hook(_initialize, with_kwargs=True)

    def _save_to_state_dict(self: Any, destination: Any, prefix: str, keep_vars: bool) -> None:
        # What has no shape yet is saved as it is: there is nothing to detach.
        for name, param in self._parameters.items():
            if param is not None:
                destination[prefix + name] = param if is_lazy(param) or keep_vars else param.detach()
        for name, buf in self._buffers.items():
            if buf is not None and name not in self._non_persistent_buffers_set:
                destination[prefix + name] = buf if is_lazy(buf) or keep_vars else buf.detach()

    def initialize_parameters(self: Any, *args: Any, **kwargs: Any) -> None:
        """Materialize the parameters for an input. Subclasses define it."""
        raise NotImplementedError(f"{type(self).__name__} has no initialize_parameters: a lazy module defines it")

    def has_uninitialized_params(self: Any) -> bool:
        """Whether any parameter or buffer of this module still has no shape."""
        return any(is_lazy(p) for p in itertools.chain(self._parameters.values(), self._buffers.values()))

    def _replicate_for_data_parallel(self: Any) -> Any:
        raise RuntimeError(
            "a lazy module can't be copied to several devices before its first forward: run one batch first"
        )


def _materialize_from_state(
    module: Any,
    state_dict: Any,
    prefix: str,
    local_metadata: Any,
    strict: bool,
    missing: Any,
    unexpected: Any,
    errors: Any,
) -> None:
    """Before loading: parameters without a shape take that of what is about to be loaded."""
    for name, param in itertools.chain(module._parameters.items(), module._buffers.items()):
        value = state_dict.get(prefix + name)
        if param is not None and value is not None and is_lazy(param) and not is_lazy(value):
            param.materialize(value.shape)


def _initialize(module: Any, args: tuple, kwargs: dict | None = None) -> None:
    """Before the first forward: materialize, then become an ordinary module."""
    module.initialize_parameters(*args, **(kwargs or {}))
    if module.has_uninitialized_params():
        raise RuntimeError(f"{type(module).__name__}: initialize_parameters left parameters without a shape")
    module._initialize_hook.remove()
    module._load_hook.remove()
    del module._initialize_hook
    del module._load_hook
    if module.cls_to_become is not None:
        module.__class__ = module.cls_to_become
