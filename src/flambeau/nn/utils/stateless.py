"""Calling a module with other parameters than its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flambeau.nn.modules.module import Module

__all__ = ["functional_call"]


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Any,
    args: Any = None,
    kwargs: dict | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Call `module` with the given tensors (a dictionary by dotted name, or several) in place of its own.

    Parameters that are shared are replaced together with `tie_weights`. With `strict` the names must be exactly the
    module's; without, names that the module does not have are ignored. Gradients go to the tensors given. RuntimeError
    with `strict` for names that the module does not have or that are missing, ValueError for two values of one shared
    parameter.
    """
    if isinstance(parameter_and_buffer_dicts, (list, tuple)):
        given = {name: t for part in parameter_and_buffer_dicts for name, t in part.items()}
    else:
        given = dict(parameter_and_buffer_dicts)
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    with _replaced(module, given, tie_weights, strict):
        return module(*args, **(kwargs or {}))


@contextmanager
def _replaced(module: Module, given: dict, tie_weights: bool, strict: bool) -> Iterator[None]:
    places: dict[str, tuple[dict, str]] = {}
    for prefix, m in module.named_modules(remove_duplicate=False):
        for registry in (m._parameters, m._buffers):
            for name in registry:
                places[f"{prefix}.{name}" if prefix else name] = (registry, name)
    unknown = [name for name in given if name not in places] if strict else []
    given = {name: value for name, value in given.items() if name in places or strict}
    missing = [name for name in places if name not in given] if strict else []
    if unknown or missing:
        raise RuntimeError(
            f"functional_call: {type(module).__name__} has no {unknown or 'other names'}"
            + (f" and these are missing: {missing}" if missing else "")
        )
    if tie_weights:
        given = _tied(given, places)
    old = [(registry, name, registry[name]) for registry, name in (places[key] for key in given)]
    try:
        for key, value in given.items():
            registry, name = places[key]
            registry[name] = value
        yield
    finally:
        for registry, name, value in old:
            registry[name] = value


def _tied(given: dict, places: dict) -> dict:
    """`given` with every other name of a shared tensor added."""
    by_object: dict[int, Any] = {}
    for key, value in given.items():
        registry, name = places[key]
        if registry[name] is None:
            continue
        if by_object.setdefault(id(registry[name]), value) is not value:
            raise ValueError(f"functional_call: '{key}' is shared, and two values are given for it")
    result = dict(given)
    for key, (registry, name) in places.items():
        if registry[name] is not None and id(registry[name]) in by_object:
            result.setdefault(key, by_object[id(registry[name])])
    return result
