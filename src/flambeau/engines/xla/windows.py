"""Strided views of memory that can't be strided: how a view is read from its base's value, and written into it.

A view is known by what NumPy knows of it (shape, strides, offset). Most views are a few digits of the flat index: the
base is cut into digits, each digit is sliced, digits are reordered and broadcast. What is none of that (diagonals of
odd matrices, overlapping windows) is read and written by a table of places.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from flambeau.engines.xla.layouts import agreeing
from flambeau.engines.xla.runtime import Tracer, jax, jnp, wide


class Plan(NamedTuple):
    """A view of `size` elements in C order: digits' lengths, a slice of each, the order of those kept, the result."""

    size: int
    digits: tuple[int, ...]
    slices: tuple[tuple[int, int, int], ...]
    kept: tuple[int, ...]  # digits that are dimensions of the view, in the view's order
    inner: tuple[int, ...]  # the view's shape with 1 where it repeats one element
    shape: tuple[int, ...]
    places: tuple | None  # (offset, steps) where only a table of places will do


@functools.lru_cache(maxsize=4096)
def plan_of(root: tuple[int, ...], shape: tuple[int, ...], steps: tuple[int, ...], offset: int) -> Plan:
    """The plan of a view with these steps and offset (in elements) of a base of shape `root`."""
    size = math.prod(root)
    if 0 in shape or not size:
        return Plan(size, (), (), (), shape, shape, None)
    mine = tuple(sorted({s for s, n in zip(steps, shape) if n > 1 and s > 0} | {1}, reverse=True))
    base, step = [], 1
    for n in reversed(root):
        base.append(step)
        step *= n
    rows = tuple(sorted({s for s in base if s} | {1}, reverse=True))
    for radices in (rows, mine, tuple(sorted({*rows, *mine}, reverse=True))):
        found = _digits(size, shape, steps, offset, radices)
        if found is not None:
            return found
    return Plan(size, (), (), (), shape, shape, (offset, steps))


def _digits(size: int, shape: Any, steps: Any, offset: int, radices: tuple[int, ...]) -> Plan | None:
    """The plan with these radices, if the view takes each digit at most once and never carries."""
    if any(a % b for a, b in zip(radices, radices[1:])) or any(s < 0 for s in steps):
        return None
    lengths = [-(-size // radices[0]), *(a // b for a, b in zip(radices, radices[1:]))]
    slices = []
    rest = offset
    for radix in radices:
        slices.append((rest // radix, 1, 1))
        rest %= radix
    user: dict[int, int] = {}
    for d, (n, s) in enumerate(zip(shape, steps)):
        if n == 1 or s == 0:
            continue
        at = next((i for i, radix in enumerate(radices) if s % radix == 0), None)
        if at is None or at in user:
            return None
        user[at] = d
        slices[at] = (slices[at][0], n, s // radices[at])
    if any(start + (n - 1) * step >= length for (start, n, step), length in zip(slices, lengths)):
        return None
    kept = tuple(sorted(user, key=lambda at: user[at]))
    inner = tuple(n if d in user.values() else 1 for d, n in enumerate(shape))
    return Plan(size, tuple(lengths), tuple(slices), kept, inner, tuple(shape), None)


def _table(plan: Plan) -> np.ndarray:
    """The place in the flat base of each element of the view."""
    offset, steps = plan.places
    places = np.full(plan.shape, offset, np.int64)
    for axis, (n, step) in enumerate(zip(plan.shape, steps)):
        along = [1] * len(plan.shape)
        along[axis] = n
        places += (np.arange(n) * step).reshape(along)
    return places


def _grid(plan: Plan, value: Any) -> Any:
    flat = value.reshape(-1)
    missing = math.prod(plan.digits) - plan.size
    return (jnp.pad(flat, (0, missing)) if missing else flat).reshape(plan.digits)


def _index(plan: Plan) -> tuple[slice, ...]:
    return tuple(slice(start, start + (n - 1) * step + 1, step) for start, n, step in plan.slices)


def read(plan: Plan, value: Any) -> Any:
    """The view's value from its base's."""
    if 0 in plan.shape or not plan.size:
        return jnp.zeros(plan.shape, value.dtype)
    if plan.places is not None:
        return value.reshape(-1)[_table(plan)]
    cut = _grid(plan, value)[_index(plan)]
    rest = tuple(i for i in range(len(plan.digits)) if i not in plan.kept)
    cut = cut.transpose((*plan.kept, *rest)).reshape(plan.inner)
    return cut if plan.inner == plan.shape else jnp.broadcast_to(cut, plan.shape)


def write(plan: Plan, value: Any, new: Any, add: bool = False) -> Any:
    """The base's value with `new` written (or added) into the view; of elements shown several times the last counts."""
    if 0 in plan.shape or not plan.size:
        return value
    if plan.places is not None or (add and plan.inner != plan.shape):
        table = _table(plan if plan.places is not None else _as_table(plan))
        at = value.reshape(-1).at[table]
        return (at.add(new) if add else at.set(new)).reshape(value.shape)
    for axis, (n, m) in enumerate(zip(plan.inner, plan.shape)):
        if n != m:
            new = new.take(jnp.array([m - 1]), axis)
    rest = tuple(i for i in range(len(plan.digits)) if i not in plan.kept)
    order = (*plan.kept, *rest)
    new = new.reshape([plan.slices[i][1] for i in order]).transpose(np.argsort(order))
    at = _grid(plan, value).at[_index(plan)]
    grid = at.add(new) if add else at.set(new)
    return grid.reshape(-1)[: plan.size].reshape(value.shape)


def _as_table(plan: Plan) -> Plan:
    """The same view by a table of places."""
    radices = [math.prod(plan.digits[i + 1 :]) for i in range(len(plan.digits))]
    offset = sum(start * radix for (start, _, _), radix in zip(plan.slices, radices))
    steps = [0] * len(plan.shape)
    dims = [d for d, n in enumerate(plan.inner) if n > 1]
    for d, at in zip(dims, plan.kept):
        steps[d] = plan.slices[at][2] * radices[at]
    return plan._replace(places=(offset, tuple(steps)))


@functools.lru_cache(maxsize=4096)
def _jitted(plan: Plan, what: str) -> Any:
    if what == "read":
        return jax.jit(functools.partial(read, plan))
    return jax.jit(functools.partial(write, plan, add=what == "add"))


def derived(plan: Plan, value: Any) -> Any:
    """`read`, compiled where it does not run inside another program."""
    if isinstance(value, Tracer):
        return read(plan, value)
    with wide(True):
        return agreeing(_jitted(plan, "read"), [value])


def replaced(plan: Plan, value: Any, new: Any, add: bool = False) -> Any:
    """`write`, compiled where it does not run inside another program."""
    if isinstance(value, Tracer) or isinstance(new, Tracer):
        return write(plan, value, new, add)
    with wide(True):
        return agreeing(_jitted(plan, "add" if add else "write"), [value, new])
