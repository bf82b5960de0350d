"""Functions that write their arrays in place, as compiled programs: an optimizer's update of one parameter.

The arrays' new values are the program's results. Numbers that were seen to change from call to call (a step count, a
scheduled learning rate) become arguments of the program, all others are part of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.engines.xla.array import XArray
from flambeau.engines.xla.calls import STEPWISE, call
from flambeau.engines.xla.runtime import UNTRACEABLE

_last: dict[Any, tuple] = {}
_changing: dict[Any, set[int]] = {}
_pinned: dict[Any, set[int]] = {}


def _numbers(values: tuple, found: list[Any]) -> Any:
    """The shape of nested numbers; the numbers themselves are added to `found`."""
    shape = []
    for v in values:
        if v.__class__ is tuple:
            shape.append(_numbers(v, found))
        else:
            shape.append(None)
            found.append(v)
    return tuple(shape)


def _nested(shape: tuple, values: Any) -> tuple:
    return tuple(_nested(s, values) if s is not None else next(values) for s in shape)


def run_update(kinds: Any, update: Callable, arrays: tuple, hyper: tuple) -> None:
    """`update(kinds, *arrays, *hyper)`, which writes into some of the arrays."""
    name = ("update", update.__module__, update.__qualname__, kinds.__name__)
    numbers: list[Any] = []
    shape = _numbers(hyper, numbers)
    changing = _changing.setdefault(name, set())
    last = _last.get(name)
    if last is not None and len(last) == len(numbers):
        changing.update(
            i for i, (a, b) in enumerate(zip(numbers, last, strict=True)) if a.__class__ is float and a != b
        )
    _last[name] = tuple(numbers)
    results = _run(name, _Update((kinds, update)), shape, arrays, numbers, changing)
    for a, new in zip(arrays, results, strict=True):
        if new is not None and new is not a:
            a.put(new.value)


def _run(name: Any, what: _Update, shape: tuple, arrays: tuple, numbers: list, changing: set[int]) -> tuple:
    """The results with the changing numbers as arguments, but for those that the update decides by."""
    pinned = _pinned.setdefault(name, set())
    free = changing - pinned
    for fixed in (set(), *({i} for i in sorted(free))):
        given = [
            np.asarray(n) if i in free - fixed and n.__class__ is float else n for i, n in enumerate(numbers)
        ]  # fmt: skip
        try:
            results = call(name, _updated, (what, shape, arrays, given), strict=True)
        except UNTRACEABLE:
            continue
        pinned |= fixed
        return results
    STEPWISE.setdefault(name, 0)
    return call(name, _updated, (what, shape, arrays, numbers))


class _Update(tuple):
    """What is done, as one value of a call's signature."""


def _updated(what: _Update, shape: tuple, arrays: tuple, numbers: list) -> tuple:
    kinds, update = what
    before = [None if a is None else a.store.version for a in arrays]
    values = []
    for n in numbers:
        if n.__class__ is XArray:
            n.weak = True
        elif n.__class__ is np.ndarray:  # step by step: an ordinary number
            n = n.item()
        values.append(n)
    update(kinds, *arrays, *_nested(shape, iter(values)))
    return tuple(
        a if a is not None and a.store.version != version else None for a, version in zip(arrays, before, strict=True)
    )
