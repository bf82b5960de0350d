"""Modules whose insides are computed again in backward, by wrapping them."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from flambeau.nn import Module, Parameter
from flambeau.utils.checkpoint import checkpoint

__all__ = ["CheckpointImpl", "CheckpointWrapper", "apply_activation_checkpointing", "checkpoint_wrapper"]

_INSIDE = "_checkpoint_wrapped_module."


class CheckpointImpl(enum.Enum):
    """Which of the two ways of `torch.utils.checkpoint` is used."""

    REENTRANT = enum.auto()
    NO_REENTRANT = enum.auto()


class ActivationWrapper(Module):
    """A module around another: it answers for the other's attributes and keeps the names of its state."""

    def __init__(self, mod: Module) -> None:
        super().__init__()
        self._checkpoint_wrapped_module = mod
        self._register_state_dict_hook(self._named_as_inside)
        self.register_load_state_dict_pre_hook(self._named_as_here)

    @staticmethod
    def _named_as_inside(module: Any, state_dict: dict, prefix: str, *args: Any) -> dict:
        for key in [key for key in state_dict if key.startswith(prefix + _INSIDE)]:
            state_dict[prefix + key[len(prefix) + len(_INSIDE) :]] = state_dict.pop(key)
        return state_dict

    @staticmethod
    def _named_as_here(module: Any, state_dict: dict, prefix: str, *args: Any) -> None:
        for key in [key for key in state_dict if key.startswith(prefix) and not key.startswith(prefix + _INSIDE)]:
            state_dict[prefix + _INSIDE + key[len(prefix) :]] = state_dict.pop(key)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self._checkpoint_wrapped_module, name)

    def __getitem__(self, key: int) -> Any:
        return self._checkpoint_wrapped_module[key]  # type: ignore[index]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's result."""
        return self._checkpoint_wrapped_module(*args, **kwargs)

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, Parameter]]:
        """The module's parameters, by the names that they have inside."""
        for name, parameter in super().named_parameters(*args, **kwargs):
            yield name.replace(_INSIDE, ""), parameter


class CheckpointWrapper(ActivationWrapper):
    """A module whose forward keeps its inputs only, and is run again in backward."""

    def __init__(self, mod: Module, checkpoint_impl: CheckpointImpl = CheckpointImpl.NO_REENTRANT,
                 checkpoint_fn: Callable | None = None, **checkpoint_fn_kwargs: Any) -> None:  # fmt: skip
        super().__init__(mod)
        self.checkpoint_impl = checkpoint_impl
        reentrant = checkpoint_impl is CheckpointImpl.REENTRANT
        usual = partial(checkpoint, use_reentrant=reentrant) if checkpoint_fn is None else checkpoint_fn
        self.checkpoint_fn = partial(usual, **checkpoint_fn_kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's result."""
        if self.checkpoint_impl is CheckpointImpl.REENTRANT and kwargs:  # that way takes no keywords
            names = list(kwargs)

            def run(*values: Any) -> Any:
                given = values[: len(args)]
                return self._checkpoint_wrapped_module(*given, **dict(zip(names, values[len(args) :], strict=True)))

            return self.checkpoint_fn(run, *args, *kwargs.values())
        return self.checkpoint_fn(self._checkpoint_wrapped_module, *args, **kwargs)


def checkpoint_wrapper(module: Module, checkpoint_impl: CheckpointImpl = CheckpointImpl.NO_REENTRANT,
                       checkpoint_fn: Callable | None = None,
                       **checkpoint_fn_kwargs: Any) -> CheckpointWrapper:  # fmt: skip
    """`module`, whose insides are computed again in backward."""
    return CheckpointWrapper(module, checkpoint_impl, checkpoint_fn, **checkpoint_fn_kwargs)


def apply_activation_checkpointing(model: Module, checkpoint_wrapper_fn: Callable = checkpoint_wrapper,
                                   check_fn: Callable = lambda _: True,
                                   auto_wrap_policy: Any = None) -> None:  # fmt: skip
    """Wraps, in place, every module below `model` of which `check_fn` says so, the inner ones first."""

    def walk(parent: Module) -> None:
        for name, child in list(parent.named_children()):
            walk(child)
            if check_fn(child):
                setattr(parent, name, checkpoint_wrapper_fn(child))

    walk(model)
