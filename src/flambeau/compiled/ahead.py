"""An update's numbers for the steps to come: while an optimizer's options stay as they are, only its count goes on."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from flambeau.autograd.runtime import NS

__all__ = ["Ahead", "foreseeable"]

_FEW, _MOST = 64, 256  # steps to look ahead: twice as many each time that all were used
_CONSTANT = (bool, int, float, str)


class Ahead:
    """The numbers of one cluster of parameters, ahead of its steps.

    Two steps in a row with the same options show which hyperparameter is the count; `look` then goes on from there.
    """

    __slots__ = ("before", "count", "left", "named", "options", "rows", "size", "steps")

    def __init__(self) -> None:
        self.rows: Sequence[Any] = ()
        self.left = 0  # how many of these are for steps to come
        self.named: Any = None  # what takes the options out of the group, which had so many entries
        self.size = 0
        self.options: tuple[Any, ...] | None = None  # of the group, when these were computed
        self.count = 0.0
        self.steps = _FEW
        self.before: tuple[float, tuple[Any, ...]] | None = None  # the count and hyperparameters of the step before

    def next(self, group: dict, count: float) -> Any:
        """The row of the step after that count, and counts it here; None where it is not known."""
        left = self.left
        if not left:
            return None
        if count != self.count or not self._same(group):
            self.left, self.steps = 0, _FEW
            return None
        self.count += 1.0
        self.left = left - 1
        return self.rows[-left]

    def _same(self, group: dict) -> bool:
        """Whether the group's options are those that the numbers were computed for."""
        try:
            return len(group) == self.size and self.named(group) == self.options
        except KeyError:  # one is gone, and there is another
            return False

    def look(
        self,
        group: dict,
        state: dict,
        count: float,
        hyper: tuple[Any, ...],
        numbers: Callable[..., list[float] | None] | None,
        made: Callable[[np.ndarray, Callable[[int], tuple[Any, ...]]], Sequence[Any]],
    ) -> None:
        """After a step whose numbers were not known: computes those of the next ones, if that is possible.

        `numbers` has them for hyperparameters; `made` makes of all of them, a row for each step, and of what says
        the hyperparameters of the first, second, ... step, what each step wants.
        """
        self.named, self.size = _taking(group), len(group)
        options = self.named(group)
        if numbers is None or not _plain(options, state):
            return
        before, same = self.before, options == self.options
        self.options, self.before = options, (count, hyper)
        if not same or before is None or before[0] != count - 1.0:
            return
        counted = [i for i, (x, y) in enumerate(zip(before[1], hyper)) if x is not y and x != y]
        if len(counted) > 1 or any((before[1][i], hyper[i]) != (before[0], count) for i in counted):
            return
        at = counted[0] if counted else len(hyper)
        first, rest = hyper[:at], hyper[at + 1 :]

        def given(step: int) -> tuple[Any, ...]:
            return (*first, count + step, *rest) if counted else hyper

        # not a list of rows: memory that comes and goes takes longer than the arithmetic
        flat, done, width = array("d"), 0, 0
        for step in range(1, self.steps + 1):
            try:
                row = numbers(*given(step))
                if row is None:
                    break
                flat.extend(row)
            except (ArithmeticError, TypeError):  # for that step to say, if it comes; or a number is complex
                break
            done, width = step, len(row)
        self.steps = min(2 * self.steps, _MOST)
        if done:
            table = np.array(flat[: done * width]).reshape(done, width)
            self.count, self.rows, self.left = count, made(table, given), done
            self.before = count + done, given(done)  # as it will be when these are used up


def foreseeable(optimizer: Any) -> bool:
    """Whether the rule is the library's: a program's own may depend on what nobody sees."""
    kind = type(optimizer)
    return all(getattr(kind, name).__module__.startswith("flambeau.optim.") for name in ("prepare", "update"))


def _taking(group: dict) -> Any:
    """What takes a group's options out of it: all but its parameters."""
    names = [name for name in group if name != "params" and name != "param_names"]
    return itemgetter(*names, names[0]) if names else tuple


def _plain(options: tuple[Any, ...], state: dict) -> bool:
    """Whether no option, and nothing in a parameter's state, may change without being another object: but for tensors
    that count.
    """
    if not all(x is None or isinstance(x, _CONSTANT) or _constants(x) for x in options):
        return False
    return all(x is None or isinstance(x, NS["Tensor"]) for x in state.values())


def _constants(x: Any) -> bool:
    return x.__class__ is tuple and all(isinstance(y, _CONSTANT) for y in x)
