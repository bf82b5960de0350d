"""Arguments by the names of the parameters they go to."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["ArgsKwargsPair", "get_signature_for_torch_op", "normalize_function", "normalize_module"]


class ArgsKwargsPair(NamedTuple):
    """Positional arguments, and those by keyword."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def get_signature_for_torch_op(op: Callable, return_schemas: bool = False) -> list[inspect.Signature] | None:
    """The signatures of a function: here always one."""
    try:
        return [inspect.signature(op)]
    except (TypeError, ValueError):
        return None


def normalize_function(
    target: Callable,
    args: tuple[Any, ...],
    kwargs: dict[str, Any] | None = None,
    arg_types: Any = None,
    kwarg_types: Any = None,
    normalize_to_only_use_kwargs: bool = False,
    no_default_values: bool = False,
) -> ArgsKwargsPair | None:
    """The arguments of `target` as keyword arguments with defaults filled in (the first ones stay positional unless
    asked otherwise); None where `target` has no signature or they do not fit it.
    """
    found = get_signature_for_torch_op(target)
    if found is None:
        return None
    return _bind(found[0], args, kwargs or {}, normalize_to_only_use_kwargs, no_default_values)


def normalize_module(
    root: Any, target: str, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None,
    normalize_to_only_use_kwargs: bool = False,
) -> ArgsKwargsPair | None:  # fmt: skip
    """The same for the forward of a submodule of `root`."""
    forward = root.get_submodule(target).forward
    return _bind(inspect.signature(forward), args, kwargs or {}, normalize_to_only_use_kwargs, False)


def _bind(
    signature: inspect.Signature, args: tuple, kwargs: dict[str, Any], only_kwargs: bool, no_defaults: bool
) -> ArgsKwargsPair | None:
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        return None
    if not no_defaults:
        bound.apply_defaults()
    parameters = signature.parameters.values()
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters):
        return ArgsKwargsPair(bound.args, bound.kwargs)
    named = {k: v for k, v in bound.arguments.items() if not (k == "out" and v is None)}
    if only_kwargs:
        return ArgsKwargsPair((), named)
    first = tuple(named.pop(name) for name in list(named)[: len(args)])
    return ArgsKwargsPair(first, named)
