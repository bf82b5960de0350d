"""An optimizer's step within an XLA program: its rule is traced, and the numbers that it works with are inputs.

Learning rates, step counts and what follows from them are computed on the host, in Python's floats as ever. Parameters
whose numbers agree form a cluster; its first one's rule runs at each call, on numbers alone, and says them for all. If
the rule then takes another course than was traced, the program does not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from flambeau.autograd.runtime import NS
from flambeau.compiled.ahead import Ahead, foreseeable
from flambeau.compiled.effects import parts_of
from flambeau.engines.arrays import FOREIGN
from flambeau.engines.xla.array import fresh
from flambeau.ops.placing import bare
from flambeau.optim import optimizer as steps
from flambeau.optim.arithmetic import Plain, Wide
from flambeau.optim.scalars import Number, numbers_of

__all__ = ["Changed", "Scheduled", "Steps"]

#: Operations whose numbers are inputs; those of others are part of the course.
_FED = frozenset("add add_ mul mul_ div div_ lerp_ decay_square_ addcmul addcmul_ addcdiv_".split())
_IN_PLACE = frozenset(n for n in vars(Plain) if n.endswith("_") and not n.startswith("_"))


class Changed(Exception):
    """The rule takes another course than was traced."""


class _Told(Exception):
    """The numbers are told, and nothing else is to be done."""


class _Name:
    """Stands for an array where only numbers matter."""

    __slots__ = ()

    def __gt__(self, other: Any) -> Any:
        return self

    __lt__ = __ge__ = __le__ = __gt__


_NAME = _Name()
#: Operations to which a factor of 1 means that there is none, which is part of the course.
_PLAIN_AT_ONE = frozenset(("add", "add_"))


class _Numbers:
    """The operations of an update on nothing: they note their course and the numbers that they are given."""

    def __init__(self) -> None:
        self.numbers: list[Any] = []
        self.course: list[Any] = []


def _is_fed(name: str, x: Any) -> bool:
    """Whether a number that an operation is given is an input of the program."""
    kind = x.value.__class__ if x.__class__ is Number else x.__class__
    return name in _FED and kind is float and (name not in _PLAIN_AT_ONE or x != 1.0)


def _noting(name: str) -> Callable:
    def method(self: _Numbers, *given: Any) -> Any:
        course = self.course
        course.append(name)
        for x in given:
            if x.__class__ is _Name:
                continue
            if _is_fed(name, x):
                self.numbers.append(x)
                course.append(None)
            else:
                course.append(x.fixed() if x.__class__ is Number else x)
        return _NAME

    return method


class _Traced:
    """The operations of an update on symbols: numbers come from the program's input, in the order of `_Numbers`."""

    def __init__(self, kinds: Any, numbers: Iterator[Any]) -> None:
        self.kinds = kinds
        self.numbers = numbers


def _tracing(name: str) -> Callable:
    def method(self: _Traced, *given: Any) -> Any:
        return getattr(self.kinds, name)(*[next(self.numbers) if _is_fed(name, x) else x for x in given])

    return method


def _with_factor(name: str) -> Callable:
    """`a + alpha * b` with a fed `alpha`, which `Plain` would compare with 1."""
    plain = _tracing(name)

    def method(self: _Traced, a: Any, b: Any, alpha: Any = 1.0) -> Any:
        if b.__class__ is float or alpha == 1.0:
            return plain(self, a, b) if alpha == 1.0 else plain(self, a, b, alpha)
        wide = self.kinds is Wide
        x, y = (v.astype(np.float32) if wide else v for v in (a, b))
        result = np.add(x, np.multiply(y, next(self.numbers)))
        if name == "add":
            return result.astype(a.dtype) if wide else result
        a[...] = result
        return a

    return method


for _operation in [n for n in vars(Plain) if not n.startswith("_")]:
    setattr(_Numbers, _operation, _noting(_operation))
    setattr(_Traced, _operation, (_with_factor if _operation in _PLAIN_AT_ONE else _tracing)(_operation))


def _noted(update: Callable, given: tuple[bool, ...], hyper: tuple) -> _Numbers:
    names = _Numbers()
    update(names, *[_NAME if there else None for there in given], *hyper)
    return names


class _Cluster:
    """Parameters whose updates have the same numbers."""

    def __init__(
        self, group: dict, update: Callable, given: tuple[bool, ...], hyper: tuple, names: _Numbers, wide: bool
    ) -> None:
        self.group, self.update, self.given = group, update, given
        #: the numbers for other hyperparameters, as long as these do not change the course
        self.told = numbers_of(lambda *hyper: _noted(update, given, hyper).numbers, hyper) if hyper else None
        self.course = names.course
        self.first: np.ndarray | None = np.array(names.numbers, np.float64 if wide else np.float32)
        self.dtype = self.first.dtype
        self.symbol: Any = None
        self.members: list[Any] = []
        self.counts: list[tuple[Any, np.ndarray]] = []  # the first one's counts, and the memory of all
        self.names: list[str] = []  # theirs, in the state
        self.held: list[tuple[str, Any]] = []  # what else the first one's state holds
        self.hyper: tuple[Any, ...] = ()  # of the last step whose numbers were not known ahead
        self.ahead = Ahead()

    def counts_moved(self, states: Any) -> bool:
        """Whether the first one's counts are other tensors now, or elsewhere in memory."""
        state = states.get(self.members[0]) or {}
        for name, (value, together) in zip(self.names, self.counts):
            if value._a.base is not together or state.get(name) is not value:
                return True
        return False

    def holds(self, states: Any) -> bool:
        """Whether the first one's state has the tensors that the program works on."""
        state = states.get(self.members[0]) or {}
        for name, value in self.held:
            if state.get(name) is not value:
                return False
        return True

    def counts_there(self, states: Any) -> bool:
        """Whether the parameters have the counts that they had, be they other tensors."""
        return all(_is_count((states.get(p) or {}).get(name)) for p in self.members for name in self.names)

    def even(self) -> bool:
        """Whether all of its parameters have made as many steps: else it is no cluster any more."""
        for _, together in self.counts:
            values = together.tolist()
            if values.count(values[0]) != len(values):
                return False
        return True

    def goes_on(self) -> bool:
        """Whether the next step's numbers were known ahead: then it is counted."""
        if len(self.counts) != 1:
            return False
        value, together = self.counts[0]
        first = self.ahead.next(self.group, value._a.item())
        if first is None:
            return False
        self.first = first
        together.fill(self.ahead.count)
        return True

    def look_ahead(self, state: dict) -> None:
        """After a step of this cluster: sees to the next ones'."""
        if len(self.counts) == 1:
            count = self.counts[0][0]._a.item()
            self.ahead.look(self.group, state, count, self.hyper, self.told, self._rows)

    def _rows(self, table: np.ndarray, given: Callable) -> Any:
        return table.astype(self.dtype)


class Steps:
    """One step of one optimizer in a program."""

    def __init__(self, optimizer: Any, capture: Any) -> None:
        self.optimizer = optimizer
        self.capture = capture
        self.clusters: dict[Any, _Cluster] = {}
        self.fixed: list[tuple[dict, Any]] = []
        self.used: set[int] = set()
        self.state = optimizer.state
        self.groups = optimizer.param_groups
        self.marks: list[float] = []  # the counts before the last step, of each cluster's first parameter
        self._trace()
        self.list = list(self.clusters.values())
        self.foreseeable = foreseeable(optimizer)
        self.capture = None

    # --- while it is traced ---------------------------------------------------------------------------------------

    def _trace(self) -> None:
        self.owners = {id(p._a): (group, p) for group in self.groups for p in group["params"]}
        self.singles = self._single_numbers()
        self.earlier = {id(t): a.item() for t, a in self.singles}
        back = [(t, t._a) for t, _ in self.singles]
        for t, a in self.singles:
            t._a = a
        before = steps._open.batch
        steps._open.batch = self  # type: ignore[assignment]
        try:
            self.optimizer._update_each()
        finally:
            steps._open.batch = before
            for t, mine in back:
                t._a = mine
        del self.owners

    def _single_numbers(self) -> list[tuple[Any, np.ndarray]]:
        """The state's and the groups' tensors of one number in NumPy's memory, and the arrays that they had."""
        known = {id(t): a for t, a, _ in self.capture.swapped if not a.ndim}
        held = [v for s in self.state.values() if isinstance(s, dict) for v in s.values()]
        held += [v for g in self.groups for v in g.values()]
        held += [v for g in self.groups for x in g.values() if isinstance(x, tuple) for v in x]
        return [(t, known[id(t)]) for t in held if isinstance(t, NS["Tensor"]) and id(t) in known]

    def add(self, update: Callable, arrays: tuple, hyper: tuple) -> bool:
        """Takes an update, which is traced at once."""
        if arrays[0].__class__ not in FOREIGN:
            return False
        arrays = tuple(
            self.capture.arrays.get(id(a), a) if a.__class__ is np.ndarray else a for a in arrays
        )  # a state of one number for a parameter of one number
        group, param = self.owners[id(arrays[0])]
        self.used.update(id(a) for a in arrays)
        given = tuple(a is not None for a in arrays)
        names = _noted(update, given, hyper)
        dtype = arrays[0].dtype
        wide = dtype.itemsize == (16 if dtype.kind == "c" else 8)
        counted = tuple([v._a.item() for v in (self.state.get(param) or {}).values() if _is_count(v)])
        key = (id(group), update, given, tuple(map(repr, names.course)), tuple(names.numbers), counted, wide)
        cluster = self.clusters.get(key)
        if cluster is None:
            cluster = self.clusters[key] = _Cluster(group, update, given, hyper, names, wide)
            if names.numbers:
                cluster.symbol = self.capture.feed("numbers", cluster.first, lambda given: self._fed(cluster))
        cluster.members.append(param)
        symbols = self._symbols(cluster, len(names.numbers))
        if dtype.kind == "c":
            arrays = tuple(None if a is None else a.reshape(-1).view(a.real.dtype) for a in arrays)
        update(_Traced(Wide if dtype.itemsize < 4 else Plain, symbols), *arrays, *hyper)
        return True

    def feed(self, group: dict, param: Any, numbers: tuple[float, ...]) -> tuple[Any, ...]:
        """The numbers of a rule that is made of operations on tensors, as tensors of one number."""
        names = _Numbers()
        names.numbers = list(numbers)
        wide = param._a.dtype.itemsize == 8
        key = (id(group), type(self.optimizer).change, numbers, wide)
        cluster = self.clusters.get(key)
        if cluster is None:
            cluster = self.clusters[key] = _Cluster(group, type(self.optimizer).change, (), (), names, wide)
            cluster.symbol = self.capture.feed("numbers", cluster.first, lambda given: self._fed(cluster))
        cluster.members.append(param)
        device = param._a.device
        return tuple([bare(fresh(cluster.symbol[i], device)) for i in range(len(numbers))])

    def run(self) -> None:
        """Nothing is left to do: updates are traced one by one."""

    def _symbols(self, cluster: _Cluster, count: int) -> Iterator[Any]:
        for i in range(count):
            number = fresh(cluster.symbol[i], self.capture.device)
            number.weak = True
            yield number

    # --- afterwards -----------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Puts the counts of each cluster's parameters side by side, so that one write advances all."""
        for cluster in self.list:
            lead = self.state.get(cluster.members[0]) or {}
            names = cluster.names = [n for n, v in lead.items() if _is_count(v)]
            cluster.held = [(n, v) for n, v in lead.items() if isinstance(v, NS["Tensor"]) and n not in names]
            cluster.counts = [(lead[n], _together([self.state[p][n] for p in cluster.members])) for n in names]
        self.sizes = len(self.state), len(self.groups)
        if not self.marks:  # the trace has counted
            self.marks = [self.earlier.get(id(value), 0.0) for c in self.list for value, _ in c.counts]

    def advance(self) -> bool:
        """Advances the counts and computes the numbers of the next call; False, and all as before, if these are for
        another program.
        """
        optimizer = self.optimizer
        states = self.state
        if optimizer.state is not states or optimizer.param_groups is not self.groups:
            return False
        if (len(states), len(self.groups)) != self.sizes:
            return False
        for cluster in self.list:
            if cluster.held and not cluster.holds(states):
                return False
            if cluster.counts_moved(states):
                if not all(c.counts_there(states) for c in self.list):
                    return False
                self.settle()
                break
        for cluster in self.list:
            if not cluster.even():
                return False
        self.marks = [value._a.item() for c in self.list for value, _ in c.counts]
        new = [cluster for cluster in self.list if not cluster.goes_on()]
        return not new or self._take_numbers(new)

    def _take_numbers(self, clusters: list[_Cluster]) -> bool:
        """Runs the optimizer's rule for the numbers of these, which were not known ahead."""
        optimizer, taking, before = self.optimizer, self._Taking(), steps._open.batch
        steps._open.batch = taking  # type: ignore[assignment]
        try:
            group = hyper = None
            for cluster in clusters:
                if cluster.group is not group:
                    group = cluster.group
                    hyper = optimizer.prepare(group)
                lead = cluster.members[0]
                state = self.state.get(lead)
                taking.cluster = cluster
                try:
                    optimizer.update(group, lead, lead, state, hyper)
                except _Told:
                    pass
                for value, together in cluster.counts:
                    together.fill(value._a)
                if self.foreseeable:
                    cluster.look_ahead(state or {})
        except Changed:
            self.take_back()
            return False
        finally:
            steps._open.batch = before
        return True

    def take_back(self) -> None:
        """Undoes what `advance` has counted."""
        values = iter(self.marks)
        for cluster in self.list:
            for _, together in cluster.counts:
                together.fill(next(values))

    def _fed(self, cluster: _Cluster) -> Any:
        return cluster.first

    class _Taking:
        """The batch of a call: it takes the numbers of a cluster's first update."""

        cluster: Any = None

        def add(self, update: Callable, arrays: tuple, hyper: tuple) -> bool:
            cluster = self.cluster
            if update is not cluster.update or tuple([a is not None for a in arrays]) != cluster.given:
                raise Changed
            numbers = None if cluster.told is None else cluster.told(*hyper)
            if numbers is None:
                names = _noted(update, cluster.given, hyper)
                if names.course != cluster.course:
                    raise Changed
                numbers = names.numbers
            cluster.first = np.array(numbers, cluster.dtype)
            cluster.hyper = hyper
            return True

        def feed(self, group: dict, param: Any, numbers: tuple[float, ...]) -> Any:
            self.cluster.first = np.array(numbers, self.cluster.dtype)
            raise _Told

        def run(self) -> None:
            """Nothing is left to do."""


class Scheduled:
    """One step of a learning-rate schedule, among the steps of optimizers."""

    def __init__(self, scheduler: Any, step: Callable[[], None]) -> None:
        self.scheduler, self.step = scheduler, step
        self.before: list[tuple[dict, dict]] = []

    def settle(self) -> None:
        """Nothing has to be put in place."""

    def advance(self) -> bool:
        """Makes the step."""
        held = [*map(vars, parts_of(self.scheduler)), *self.scheduler.optimizer.param_groups]
        self.before = [(one, dict(one)) for one in held]
        self.step()
        return True

    def take_back(self) -> None:
        """Undoes it."""
        for one, before in self.before:
            one.clear()
            one.update(before)


def _is_count(value: Any) -> bool:
    """Whether an entry of an optimizer's state is one number of the host's."""
    return isinstance(value, NS["Tensor"]) and value._a.__class__ is np.ndarray and not value._a.ndim


def _together(tensors: list[Any]) -> np.ndarray:
    """Single numbers, side by side in one memory."""
    base = tensors[0]._a.base
    if base.__class__ is np.ndarray and base.size == len(tensors) and all(t._a.base is base for t in tensors):
        return base
    base = np.array([t._a.item() for t in tensors], tensors[0]._a.dtype)
    for i, t in enumerate(tensors):
        t._a = base[i : i + 1].reshape(())
    return base
