"""Which submodules `FullyShardedDataParallel` shards on their own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["ModuleWrapPolicy", "always_wrap_policy", "enable_wrap", "lambda_auto_wrap_policy",
           "size_based_auto_wrap_policy", "transformer_auto_wrap_policy", "wrap"]  # fmt: skip


class ModuleWrapPolicy:
    """Modules of these classes."""

    def __init__(self, module_classes: Iterable[type]) -> None:
        self.classes = tuple(module_classes)

    def __call__(self, module: Any, recurse: bool, **kwargs: Any) -> bool:
        return recurse or isinstance(module, self.classes)


def always_wrap_policy(*args: Any, **kwargs: Any) -> bool:
    """Every module."""
    return True


def size_based_auto_wrap_policy(module: Any, recurse: bool, nonwrapped_numel: int, min_num_params: int = int(1e8),
                                **kwargs: Any) -> bool:  # fmt: skip
    """Modules with so many numbers that no inner one has taken."""
    return recurse or nonwrapped_numel >= min_num_params


def transformer_auto_wrap_policy(module: Any, recurse: bool, nonwrapped_numel: int, transformer_layer_cls: set,
                                 **kwargs: Any) -> bool:  # fmt: skip
    """Modules of these classes."""
    return recurse or isinstance(module, tuple(transformer_layer_cls))


def lambda_auto_wrap_policy(module: Any, recurse: bool, nonwrapped_numel: int, lambda_fn: Callable) -> bool:
    """Modules of which a function says so."""
    return recurse or bool(lambda_fn(module))


def chosen(module: Any, policy: Any) -> list[Any]:
    """The submodules that a policy wants, inner ones first."""
    if policy is None:
        return []
    taken: set[int] = set()
    found: list[Any] = []

    def visit(part: Any) -> None:
        for child in part.children():
            visit(child)
            left = sum(p.numel() for p in child.parameters() if id(p) not in taken)
            if any(True for _ in child.parameters()) and policy(module=child, recurse=False, nonwrapped_numel=left):
                if type(child).__name__ not in ("ModuleList", "ModuleDict") and child not in found:
                    found.append(child)
                    taken.update(id(p) for p in child.parameters())

    visit(module)
    return found


class enable_wrap:  # noqa: N801 - PyTorch's name
    """A context in which `wrap(module)` shards."""

    current: dict | None = None

    def __init__(self, *, wrapper_cls: Any, **kwargs: Any) -> None:
        self.options = {"wrapper_cls": wrapper_cls, **kwargs}

    def __enter__(self) -> None:
        self.before, enable_wrap.current = enable_wrap.current, self.options

    def __exit__(self, *exc: object) -> None:
        enable_wrap.current = self.before


def wrap(module: Any, **overrides: Any) -> Any:
    """The module wrapped as the `enable_wrap` around says; outside of one, itself."""
    if enable_wrap.current is None:
        return module
    options = {**enable_wrap.current, **overrides}
    return functools.partial(options.pop("wrapper_cls"), **options)(module)
