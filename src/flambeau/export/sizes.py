"""From recordings at several sizes one program for all of them; and whether what was recorded hangs on values.

PyTorch follows sizes as symbols through Python. Here a function simply runs a few times, with inputs of other sizes and
other values: calls must agree, numbers that differ must be polynomials of the sizes, and constants must be the same, or
of a kind that can be made in any size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from flambeau import random
from flambeau.engines.arrays import host
from flambeau.export.extents import Unknown, fitted, fitted_real
from flambeau.export.program import Call, Fitting, Made, Program, Ref, Value, is_pooling, is_tensor, window_settings
from flambeau.export.recording import record, state_of
from flambeau.nn.modules.module import Module
from flambeau.ops.core import REGISTRY
from flambeau.ops.placing import beside
from flambeau.pytree import tree_flatten


class Different(RuntimeError):
    """Two runs of one function did different things: what it does hangs on sizes or values in a way that no program
    can follow.
    """


def points_for(
    base: dict[str, int], limits: dict[str, tuple[int, float]], upwards: bool = True
) -> list[dict[str, int]]:
    """Sizes to record at: the example's (unless it is 0 or 1, which are often special), and others around it."""
    names = sorted(base)
    count = 2 * len(names) + 3
    choices = {}
    for i, name in enumerate(names):
        low, high = limits.get(name, (0, math.inf))
        low = max(low, 2)
        below = [n for n in range(base[name] - 1, low - 1, -1) if n <= high]
        above = [n for n in range(max(base[name], low - 1) + 1, max(base[name], low) + 2 * count) if n <= high]
        few = above if upwards and len(above) >= 3 else below if len(below) >= 3 else above + below
        inner = [n for n in few if n < high]  # the largest size is special, too: a slice of all is none
        few = (inner if len(inner) >= 3 else few)[: 2 * count]
        choices[name] = few[i:] + few[:i] or [base[name]]
    usual = all(1 < n < limits.get(name, (0, math.inf))[1] for name, n in base.items())
    points = [dict(base)] if usual else []
    for j in range(8 * count):
        point = {n: choices[n][(j * (i + 1) + (j // 3) * i) % len(choices[n])] for i, n in enumerate(names)}
        if point not in points:
            points.append(point)
        if len(points) == count:
            break
    return points


def resized(tensor: Any, dims: dict[int, str], sizes: dict[str, int], turned: bool = True) -> Any:
    """The tensor in other sizes: its own values, repeated, in reverse order if `turned`."""
    array = host(tensor._a)
    if turned:
        array = array.reshape(-1)[::-1].reshape(array.shape)
    for d, name in dims.items():
        array = np.take(array, np.arange(sizes[name]) % max(array.shape[d], 1), axis=d)
    made = beside(tensor, np.array(array, order="C"))
    return made.requires_grad_(tensor.requires_grad)


@contextmanager
def unchanged(module: Any) -> Iterator[None]:
    """Puts buffers, and the state of the generator, back to where they were."""
    kept = [(t, t.detach().clone()) for t in dict(module.named_buffers()).values()] if _is_module(module) else []
    generator = random.get_rng_state()
    try:
        yield
    finally:
        random.set_rng_state(generator)
        for t, old in kept:
            t.data.copy_(old)


def _is_module(thing: Any) -> bool:
    return isinstance(thing, Module)


def recorded_at(
    function: Callable, args: tuple, kwargs: dict, dims: Sequence[dict[int, str]], sizes: dict[str, int], owner: Any
) -> Program:
    """The program for inputs of other sizes and values."""
    leaves, spec = tree_flatten((tuple(args), dict(kwargs)))
    source = iter(dims)
    others = [resized(leaf, next(source), sizes) if is_tensor(leaf) else leaf for leaf in leaves]
    new_args, new_kwargs = spec.unflatten(others)
    with unchanged(owner if owner is not None else function):
        random.manual_seed(20201)  # what is drawn at random is to show
        return record(function, new_args, new_kwargs, owner)[0]


def merged(programs: Sequence[Program], points: Sequence[dict[str, int]], names: Sequence[dict[int, str]]) -> Program:
    """One program of several recordings of one function. `Different` where they do not fit together."""
    first = programs[0]
    for other in programs[1:]:
        same_calls(first, other)
    result = Program()
    result.inputs, result.state, result.fixed = first.inputs, first.state, first.fixed
    result.aliases = first.aliases
    result.arguments, result.returned, result.dims = first.arguments, first.returned, list(names)
    for rows in zip(*(p.calls for p in programs), strict=True):
        call = rows[0]
        rows = _windows_fitted(rows, programs)
        args = _merged([c.args for c in rows], points, f"{call.op} at {call.where or 'some place'}")
        result.calls.append(Call(call.op, args, call.results, call.where))
    for seen in zip(*(p.values for p in programs), strict=True):
        shape = tuple(_size(n, points) for n in zip(*(v.shape for v in seen), strict=True))
        result.values.append(Value(shape, seen[0].dtype))
    result.outputs = _merged([p.outputs for p in programs], points, "the result")
    for number in first.constants:
        result.constants[number] = _constant(number, programs, points)
    return result


def _size(seen: Sequence[int], points: Sequence[dict[str, int]]) -> Any:
    found = fitted(seen, points)
    return found if not isinstance(found, Unknown) else -1


def same_calls(one: Program, other: Program) -> None:
    for a, b in zip(one.calls, other.calls, strict=False):
        if a.op != b.op or a.results != b.results:
            raise Different(
                f"for other sizes or values the function did something else: {a.op} at {a.where or 'some place'} came "
                f"out as {b.op} at {b.where or 'some place'}. A recorded program has one path: decide in Python by "
                "what is fixed, and between values with torch.where"
            )
    if len(one.calls) != len(other.calls):
        longer = max(one.calls, other.calls, key=len)
        extra = longer[min(len(one.calls), len(other.calls))]
        raise Different(
            f"for other sizes or values the function did more or less: {extra.op} at {extra.where or 'some place'}. "
            "A loop whose length follows an input's size can't be recorded for every size: keep that size fixed"
        )
    if one.state != other.state or list(one.constants) != list(other.constants) or one.inputs != other.inputs:
        raise Different("for other sizes or values the function used other parameters or constants")
    if one.returned != other.returned:
        raise Different("for other sizes or values the function returned another structure")


def _merged(seen: list[Any], points: Sequence[dict[str, int]], what: str) -> Any:
    first = seen[0]
    cls = first.__class__
    if any(v.__class__ is not cls for v in seen):
        raise Different(f"{what} has arguments of different kinds from size to size: {seen[0]!r}, {seen[-1]!r}")
    if cls is tuple or cls is list:
        if any(len(v) != len(first) for v in seen):
            raise Different(f"{what} has arguments of different lengths from size to size")
        return cls(_merged(list(row), points, what) for row in zip(*seen, strict=True))
    if cls is slice:
        parts = ([getattr(v, name) for v in seen] for name in ("start", "stop", "step"))
        return slice(*(_merged(p, points, what) for p in parts))
    if cls is float and points[0] and len(set(seen)) > 1:
        real = fitted_real(seen, points)
        if real is not None:
            return real
    if isinstance(first, Ref) or cls is not int:
        if any(v != first and not (v != v and first != first) for v in seen):
            raise Different(
                f"{what} has the argument {first!r} once and {next(v for v in seen if v != first)!r} for other sizes "
                "or values: what is read from a tensor into Python is fixed in a recorded program"
            )
        return first
    found = fitted(seen, points) if points[0] else first
    if isinstance(found, Unknown) or any(v != first for v in seen) and not points[0]:
        shown = f"{first} once, {next(v for v in seen if v != first)} for other sizes or values"
        raise Different(
            f"{what} has a number that is no polynomial of the sizes that may vary, nor fixed: {shown}. Keep the "
            "size that it follows fixed, or let reshape find it (-1)"
        )
    return found


def _windows_fitted(rows: Sequence[Call], programs: Sequence[Program]) -> Sequence[Call]:
    """Calls of a pooling whose number of windows follows the sizes have `Fitting` in its place."""
    op = REGISTRY.get(rows[0].op)
    if op is None or not is_pooling(op):
        return rows
    i = op.parameters.index("size")
    if all(c.args[i] == rows[0].args[i] for c in rows):
        return rows
    for fitting in (Fitting(False), Fitting(True)):
        if all(
            tuple(c.args[i]) == fitting.of(p.values[c.args[0].number].shape, *window_settings(op, c.args))
            for c, p in zip(rows, programs, strict=True)
        ):
            return [c._replace(args=(*c.args[:i], fitting, *c.args[i + 1 :])) for c in rows]
    return rows


def _constant(number: int, programs: Sequence[Program], points: Sequence[dict[str, int]]) -> Any:
    tensors = [p.constants[number] for p in programs]
    arrays = [np.asarray(host(t._a)) for t in tensors]
    first = arrays[0]
    if all(a.shape == first.shape and a.dtype == first.dtype and _equal(a, first) for a in arrays):
        return tensors[0]
    user = next((c for c in programs[0].calls if Ref(number) in _flat(c.args)), None)
    place = f" (in {user.op} at {user.where})" if user is not None and user.where else ""
    if all(a.shape == first.shape for a in arrays):
        raise Different(
            f"a constant{place} had other values for other inputs: it was computed outside of operations, read from a "
            "tensor, or drawn at random. Put the module into eval(), and keep values in tensors"
        )
    shape = (
        tuple(fitted(n, points) for n in zip(*(a.shape for a in arrays), strict=True))
        if len({a.ndim for a in arrays}) == 1
        else (Unknown(()),)
    )
    made = None if any(isinstance(n, Unknown) for n in shape) else made_of(arrays, shape, points)
    if made is None:
        raise Different(
            f"a constant{place} follows the sizes of the inputs in a way that is not known: neither one number "
            "everywhere, nor arange, nor eye. Keep that size fixed, or compute it from these"
        )
    return made


def _flat(args: Any) -> list[Any]:
    return [v for a in args for v in _flat(a)] if args.__class__ in (tuple, list) else [args]


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))


def made_of(arrays: list[np.ndarray], shape: tuple, points: Sequence[dict[str, int]]) -> Made | None:
    """Arrays of several sizes as a constant that is made in any; None if they are none that is known."""
    dtype = arrays[0].dtype
    flats = [a.reshape(-1) for a in arrays]
    value = next((f[0] for f in flats if f.size), dtype.type(0))
    if all(_equal(f, np.full_like(f, value)) for f in flats):
        return Made("full", shape, dtype, (value.item(),))
    if len(shape) == 1 and all(f.size > 1 for f in flats):
        starts, steps = [f[0].item() for f in flats], [(f[1] - f[0]).item() for f in flats]
        start, step = (fitted(v, points) if all(type(n) is int for n in v) else v[0] for v in (starts, steps))
        made = Made("arange", shape, dtype, (start, step))
        known = not isinstance(start, Unknown) and not isinstance(step, Unknown)
        if known and all(_equal(made.array(p), a) for p, a in zip(points, arrays, strict=True)):
            return made
    if len(shape) == 2:
        made = Made("eye", shape, dtype, ())
        if all(_equal(made.array(p), a) for p, a in zip(points, arrays, strict=True)):
            return made
    return None


def general_program(
    function: Callable,
    args: tuple,
    kwargs: dict,
    dims: Sequence[dict[int, str]],
    limits: dict[str, tuple[int, float]] | None = None,
    owner: Any = None,
) -> Program:
    """The program of a function for all sizes of the named dimensions, checked with other values besides.

    `dims` names, for each tensor among the arguments, the sizes that may vary. `Different` if there is none.
    """
    tensors = [leaf for leaf in tree_flatten((tuple(args), dict(kwargs)))[0] if is_tensor(leaf)]
    base: dict[str, int] = {}
    for t, named in zip(tensors, dims, strict=True):
        for d, name in named.items():
            if base.setdefault(name, t.shape[d]) != t.shape[d]:
                raise RuntimeError(
                    f"the size {name!r} is {base[name]} in one input and {t.shape[d]} in another: name them differently"
                )
    with unchanged(owner if owner is not None else function):
        first = record(function, args, kwargs, owner)[0]
    if not base:
        other = recorded_at(function, args, kwargs, dims, {}, owner)
        result = merged([first, other], [{}, {}], dims)
        result.values = first.values
        return result
    points, programs = _recordings(function, args, kwargs, dims, base, limits or {}, owner)
    if points[0] == base:
        same_calls(programs[0], first)
    result = merged(programs, points, dims)
    result.example = base
    return result


def _recordings(
    function: Callable, args: tuple, kwargs: dict, dims: Sequence[dict[int, str]], base: dict, limits: dict, owner: Any
) -> tuple[list[dict[str, int]], list[Program]]:
    """Sizes and the programs at these: larger ones, or smaller where a function does not take them (a table of
    positions ends somewhere).
    """
    failed: Exception | None = None
    for upwards in (True, False):
        points = points_for(base, limits, upwards)
        if len(points) < len(base) + 2:
            failed = failed or RuntimeError(
                f"the limits of the sizes {sorted(base)} leave too few sizes to record at: {points}"
            )
            continue
        try:
            return points, [recorded_at(function, args, kwargs, dims, point, owner) for point in points]
        except Exception as error:
            failed = failed or error
    assert failed is not None
    raise failed


__all__ = ["Different", "general_program", "state_of"]
