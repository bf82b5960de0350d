"""Whether two traces are of the same program."""

from __future__ import annotations

from typing import Any

import numpy as np
from jax.extend import core

__all__ = ["difference"]

#: Parameters of equations that say how to differentiate, which nobody asks for.
_RULES = {"jvp_jaxpr_fun", "jvp_jaxpr_thunk", "fwd_jaxpr_thunk", "bwd"}


def difference(one: Any, two: Any) -> str:
    """In words, where two closed jaxprs differ; empty if they compute the same."""
    found = _jaxprs(one.jaxpr, two.jaxpr)
    if found:
        return found
    for a, b in zip(one.consts, two.consts):
        if a is not b and not _equal(a, b):
            return (
                f"a constant of shape {list(np.shape(a))} has other values: it was computed outside of the step's ops"
            )
    return ""


def _equal(a: Any, b: Any) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def _jaxprs(one: Any, two: Any) -> str:
    if len(one.invars) != len(two.invars):
        return f"it read {len(one.invars)} tensors the first time, {len(two.invars)} the second"
    if len(one.eqns) != len(two.eqns):
        return f"it made {len(one.eqns)} calls the first time, {len(two.eqns)} the second"
    same: dict[Any, Any] = {}
    for a, b in zip((*one.invars, *one.constvars), (*two.invars, *two.constvars)):
        if a.aval.shape != b.aval.shape or a.aval.dtype != b.aval.dtype:
            return f"it read {a.aval.str_short()}, then {b.aval.str_short()}"
        same[a] = b
    for e, f in zip(one.eqns, two.eqns):
        found = _equations(e, f, same)
        if found:
            return found
    if len(one.outvars) != len(two.outvars) or not all(_atoms(a, b, same) for a, b in zip(one.outvars, two.outvars)):
        return "its results come from other places"
    return ""


def _equations(e: Any, f: Any, same: dict[Any, Any]) -> str:
    if e.primitive is not f.primitive:
        return f"it called {e.primitive} the first time, {f.primitive} the second"
    for a, b in zip(e.invars, f.invars):
        if not _atoms(a, b, same):
            if isinstance(a, core.Literal) and isinstance(b, core.Literal):
                return f"{e.primitive} works with the number {a.val}, then with {b.val}"
            return f"{e.primitive} takes another operand"
    if len(e.outvars) != len(f.outvars) or len(e.invars) != len(f.invars):
        return f"{e.primitive} has other results"
    for key in sorted((e.params.keys() | f.params.keys()) - _RULES):
        if not _params(e.params.get(key), f.params.get(key)):
            return f"{e.primitive} has another {key}"
    same.update(zip(e.outvars, f.outvars))
    return ""


def _atoms(a: Any, b: Any, same: dict[Any, Any]) -> bool:
    if isinstance(a, core.Literal):
        return isinstance(b, core.Literal) and _equal(a.val, b.val)
    return same.get(a) is b


def _params(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if isinstance(a, core.ClosedJaxpr) and isinstance(b, core.ClosedJaxpr):
        return not difference(a, b)
    if isinstance(a, core.Jaxpr) and isinstance(b, core.Jaxpr):
        return not _jaxprs(a, b)
    if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)):
        return len(a) == len(b) and all(map(_params, a, b))
    if callable(a) and callable(b):
        return True  # what it does is told by the jaxprs beside it
    try:
        return bool(a == b)
    except (ValueError, TypeError):
        return _equal(a, b)
