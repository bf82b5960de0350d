"""An optimizer's step in a plan: learning rates and step counts are read anew, everything else is prepared.

Parameters whose updates have the same numbers form a cluster. The rule of its first one runs at each step, on the
numbers alone; they are written into the tables of the native calls of all, and the others' counts follow the first's.
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.autograd.runtime import NS
from flambeau.autograd.views import bump
from flambeau.engines.native import threads
from flambeau.engines.native.records import driver, pack_calls, shared_out
from flambeau.optim import optimizer as steps
from flambeau.optim.arithmetic import run
from flambeau.optim.fused import ALONE, Batch

from .ahead import Ahead, foreseeable

__all__ = ["Updates"]

_FEW = 6  # tables that are written one by one
#: A parameter, its gradient and its state.
Member = tuple[Any, Any, Any]


class _Cluster:
    """Parameters whose updates have the same numbers, and where these stand in the tables."""

    def __init__(self, group: dict, known: _Known, hyper: tuple) -> None:
        self.group, self.update, self.given, self.course = group, known.update, known.given, known.course
        self.hyper = hyper
        self.dtype = known.arrays[0].dtype
        self.members: list[Member] = []
        self.arrays: list[tuple] = []
        self.counts: list[list[np.ndarray]] = []
        #: of the first one's state all tensors, of the others' those that count: whose state, which entry, the tensor
        self.held: list[tuple[dict, str, Any]] = []
        self.values: list[float] = []
        self.spans: list[tuple[int, int]] = []
        self.places: list[int] = []
        self.at: Any = None
        self.form: Any = None
        self.ahead = Ahead()

    def take(self, known: _Known) -> None:
        """Takes a parameter in."""
        self.members.append(known.member)
        self.arrays.append(known.arrays)
        self.spans.append((known.first, known.end))
        held = known.counting if self.held else known.tensors
        self.held += [(known.member[2], name, tensor) for name, tensor in held]
        for i, count in enumerate(known.counts):
            if len(self.counts) == i:
                self.counts.append([])
            self.counts[i].append(count)
        self.values = known.values

    def even(self) -> bool:
        """Whether the state's tensors are those that they were, and all counts stand where the last step left them."""
        for state, name, tensor in self.held:
            if state.get(name) is not tensor:
                return False
        for counts, value in zip(self.counts, self.values, strict=True):
            for count in counts:
                if count.item() != value:
                    return False
        return True

    def goes_on(self, numbers: Any) -> bool:
        """Whether the step's numbers were known ahead: then they are in the tables, and the step is counted."""
        if not self.ahead.left or len(self.counts) != 1 or not self.even():
            return False
        row = self.ahead.next(self.group, self.values[0])
        if row is None:
            return False
        self.hyper, found = row
        self._write(numbers, found)
        value = self.values[0] = self.ahead.count
        for count in self.counts[0]:
            count.fill(value)
        for p, _, _ in self.members:
            bump(p)
        return True

    def look_ahead(self) -> None:
        """After a step of this cluster: sees to the next ones'."""
        if len(self.counts) == 1:
            told = _rules.script(self.update, self.given, self.dtype, self.course)
            self.ahead.look(self.group, self.members[0][2], self.values[0], self.hyper, told, _with_hyper)

    def _write(self, numbers: Any, found: Sequence[float]) -> None:
        """Puts a step's numbers into the tables."""
        if len(self.at) > _FEW:
            numbers[self.at] = found
        else:
            for place in self.places:
                self.form.pack_into(numbers, place, *found)

    def follow(self, seen: list[tuple[Callable, tuple, tuple]], numbers: Any) -> bool:
        """Lets all do what the first one's rule has done; False, and nothing done, where it took another course."""
        if len(seen) != 1:
            return False
        update, arrays, hyper = seen[0]
        if update is not self.update or any(map(operator.is_not, arrays, self.arrays[0])):
            return False
        if hyper != self.hyper:
            found = _rules._course(update, self.given, hyper, self.dtype)
            if found is None or found[0] is not self.course:
                return False
            self._write(numbers, found[1])
            self.hyper = hyper
        for i, (first, *rest) in enumerate(self.counts):
            value = self.values[i] = first.item()
            for count in rest:
                count[()] = value
        for p, _, _ in self.members[1:]:
            bump(p)
        return True


def _with_hyper(table: np.ndarray, given: Callable) -> list[Any]:
    """Hyperparameters, and the numbers that the rule makes of them."""
    return [(given(step), row) for step, row in enumerate(table.tolist(), 1)]


class _Known:
    """An update as the first step took it down."""

    def __init__(self, who: tuple[dict, Member], update: Callable, arrays: tuple, batch: Batch, first: int) -> None:
        (group, self.member), self.update, self.arrays = who, update, arrays
        (_, self.given, self.hyper, _), self.course, self.numbers = batch.last
        self.first, self.end = first, len(batch.records)
        used = {id(a) for a in arrays}
        state = self.member[2]
        self.tensors = [(name, v) for name, v in state.items() if isinstance(v, NS["Tensor"])]
        self.counting = [(name, v) for name, v in self.tensors if not v._a.ndim and id(v._a) not in used]
        self.counts = [v._a for _, v in self.counting]
        self.values = [a.item() for a in self.counts]
        self.group = group
        # what else a state counts is each parameter's own
        alone = any(v is not None and not isinstance(v, NS["Tensor"]) for v in state.values())
        own = id(self.member[0]) if alone else 0
        self.key = id(group), own, update, self.given, self.course, tuple(self.numbers), tuple(self.values)


class _First(Batch):
    """The batch of the first step: it does what any does, and takes down what that was."""

    def __init__(self) -> None:
        super().__init__()
        self.known: list[_Known] = []
        self.who: Any = None
        self.usable = True

    def add(self, update: Callable, arrays: tuple, hyper: tuple) -> bool:
        first = len(self.records)
        if not super().add(update, arrays, hyper):
            self.usable = False
            return False
        if first >= len(self.records):  # no elements, or done on copies, or a parameter that is there twice
            self.usable = False
        else:
            self.known.append(_Known(self.who, update, arrays, self, first))
        return True


class _Taking:
    """The batch of a prepared step: it takes down what a rule wants done."""

    def __init__(self) -> None:
        self.seen: list[tuple[Callable, tuple, tuple]] = []

    def add(self, update: Callable, arrays: tuple, hyper: tuple) -> bool:
        self.seen.append((update, arrays, hyper))
        return True


class Updates:
    """The step of one optimizer, on the parameters and gradients that it had in the capture."""

    def __init__(self, optimizer: Any, groups: list[tuple[Any, list[Member]]]) -> None:
        self.optimizer, self.groups = optimizer, groups
        self.clusters: list[_Cluster] | None = None
        self.plain = False
        self.foreseeable = foreseeable(optimizer)
        self.taking = _Taking()

    def run(self) -> None:
        """Does it."""
        open_ = steps._open
        before = open_.batch
        try:
            if self.plain:
                self._each(Batch())
            elif self.clusters is None:
                self._first()
            else:
                self._prepared(self.clusters)
        finally:
            open_.batch = before

    def _each(self, batch: Any) -> None:
        """Every parameter by its rule."""
        steps._open.batch = batch
        for group, members in self.groups:
            hyper = self.optimizer.prepare(group)
            for member in members:
                if batch.__class__ is _First:
                    batch.who = group, member
                self.optimizer.update(group, *member, hyper)
        if batch.__class__ is not _First:
            batch.run()

    def _first(self) -> None:
        batch = _First()
        self._each(batch)
        if batch.usable and len(batch.known) == sum(len(members) for _, members in self.groups) and batch.records:
            self._settle(batch)
        else:
            self.plain = True
        batch.run()

    def _settle(self, batch: _First) -> None:
        """Puts the tables where they stay, and parameters together."""
        tables = [table for _, table, *_ in batch.records]
        self.blob = np.frombuffer(bytearray(b"".join(tables)), np.uint8)
        start, at = self.blob.ctypes.data, 0
        calls: list[tuple[int, ...]] = []
        ends: list[int] = []
        for function, table, low, high in batch.records:
            calls.append((function, start + at, low, high))
            at += len(table)
            ends.append(at)
        self.shared = batch.size > ALONE
        self.packed, self.count = pack_calls(calls, shared_out(batch.records) if self.shared else None)
        clusters: dict[Any, _Cluster] = {}
        for known in batch.known:
            if known.key not in clusters:
                clusters[known.key] = _Cluster(known.group, known, known.hyper)
            clusters[known.key].take(known)
        for cluster in clusters.values():
            count = len(cluster.course.made.numbers)
            wide = cluster.dtype.itemsize == 8
            # numbers are at the end of a table, in eight bytes each
            cluster.places = [ends[i] - 8 * count for span in cluster.spans for i in range(*span)]
            cluster.form = struct.Struct("<" + ("d" if wide else "f4x") * count)
            cluster.at = np.array(cluster.places, np.intp)[:, None] // (8 if wide else 4) + np.arange(count) * (
                1 if wide else 2
            )
        self.views = {4: self.blob.view(np.float32), 8: self.blob.view(np.float64)}
        self.clusters = list(clusters.values())

    def _prepared(self, clusters: list[_Cluster]) -> None:
        """A step on the prepared tables; as any other, where a rule takes another course than it did."""
        optimizer = self.optimizer
        taking = steps._open.batch = self.taking  # type: ignore[assignment]
        group = hyper = None
        for i, cluster in enumerate(clusters):
            if cluster.goes_on(self.views[cluster.dtype.itemsize]):
                continue
            if cluster.group is not group:
                group = cluster.group
                hyper = optimizer.prepare(group)
            seen: list[Any] = []
            done = 0
            if cluster.even():
                done, taking.seen = 1, seen
                optimizer.update(group, *cluster.members[0], hyper)
                if cluster.follow(seen, self.views[cluster.dtype.itemsize]):
                    if self.foreseeable:
                        cluster.look_ahead()
                    continue
            self._leave(clusters, i, seen, done)
            return
        place, call = driver()
        if self.shared:
            threads.spread(place, call, self.packed, self.count, 1)
        else:
            call(self.packed, 0, self.count)

    def _leave(self, clusters: list[_Cluster], at: int, seen: list[tuple[Callable, tuple, tuple]], done: int) -> None:
        """Does a step, the rules of some clusters' parameters already having counted, without prepared tables."""
        self.clusters = None  # prepared anew at the next step
        batch = steps._open.batch = Batch()
        counted = [(c.update, arrays, c.hyper) for c in clusters[:at] for arrays in c.arrays]
        for call in (*counted, *seen):
            if not batch.add(*call):
                run(*call)
        for i, cluster in enumerate(clusters[at:]):
            hyper = self.optimizer.prepare(cluster.group)
            for member in cluster.members[0 if i else done :]:
                self.optimizer.update(cluster.group, *member, hyper)
        batch.run()


#: Rules are asked here for their course and numbers.
_rules = Batch()
