"""An update's numbers for the steps to come: while an optimizer's options stay as they are, only its count goes on."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import numpy as np

from flambeau.autograd.runtime import NS

__all__ = ["Ahead"]

_STEPS = 64
_CONSTANT = (bool, int, float, str)


class Ahead:
    """The numbers of one cluster of parameters, ahead of its steps.

    Two steps in a row with the same options show which hyperparameter is the count; `look` then goes on from there.
    """

    __slots__ = ("before", "count", "named", "options", "rows", "seen", "size")

    def __init__(self) -> None:
        self.rows: list[np.ndarray] = []  # the last one first
        self.named: Any = None  # what takes the options out of the group, which had so many entries
        self.size = 0
        self.options: tuple[Any, ...] | None = None  # of the group, when these were computed
        self.count = 0.0
        self.seen: tuple[Any, ...] | None = None  # the last step's hyperparameters
        self.before: tuple[float, tuple[Any, ...]] | None = None  # the count and those of the step before

    def next(self, group: dict, counts: list[tuple[Any, np.ndarray]]) -> np.ndarray | None:
        """The numbers of the step that follows, which is counted; None where they are not known."""
        rows = self.rows
        if not rows:
            return None
        if len(counts) != 1 or counts[0][0]._a.item() != self.count or not self._same(group):
            rows.clear()
            return None
        self.count += 1.0
        counts[0][1].fill(self.count)
        return rows.pop()

    def _same(self, group: dict) -> bool:
        """Whether the group's options are those that the numbers were computed for."""
        try:
            return len(group) == self.size and self.named(group) == self.options
        except KeyError:  # one is gone, and there is another
            return False

    def look(self, cluster: Any, state: dict) -> None:
        """After a step whose numbers were not known: computes those of the next ones, if that is possible."""
        self.named, self.size = _taking(cluster.group), len(cluster.group)
        options = self.named(cluster.group)
        if self.seen is None or len(cluster.counts) != 1 or not _plain(options, state):
            return
        count, before, hyper = cluster.counts[0][0]._a.item(), self.before, self.seen
        same, self.options, self.before = options == self.options, options, (count, hyper)
        if not same or before is None or before[0] != count - 1.0 or cluster.told is None:
            return
        counted = [i for i, (x, y) in enumerate(zip(before[1], hyper)) if x is not y and x != y]
        if any((before[1][i], hyper[i]) != (before[0], count) for i in counted):
            return
        steps = count + np.arange(1.0, _STEPS + 1)
        try:
            numbers = cluster.told(*[steps if i in counted else x for i, x in enumerate(hyper)])
        except ValueError:  # the course depends on the count
            return
        if numbers is not None:
            table = np.empty((_STEPS, len(numbers)), cluster.dtype)
            for i, column in enumerate(numbers):
                table[:, i] = column
            self.count, self.rows = count, list(table[::-1])


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
