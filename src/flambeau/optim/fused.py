"""Updates of all parameters at once: the rule, written for one parameter, becomes a native kernel.

The rule is called with `Tracer` for its operations: once per step and set of hyperparameters, to note the numbers it
works with and the course it takes; once ever for each course, to make the kernel. Products that feed a sum are
rounded once, as in PyTorch's kernels. All parameters then go through it in one job over all cores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.engines.arrays import FOREIGN
from flambeau.engines.native import threads
from flambeau.engines.native.calls import Kernel, address, suits
from flambeau.engines.native.records import Record, run_records
from flambeau.engines.native.rows import RowKernel
from flambeau.engines.native.symbols import Symbol, Unsupported, maximum
from flambeau.engines.native.values import Value
from flambeau.optim.scalars import Number, Script

__all__ = ["ALONE", "Batch"]

_LINE = 64  # bytes
_ROW = 2048  # elements of a row: a parameter is cut into rows
_TOGETHER = 8  # rows of a record, what one thread does at a time
ALONE = 24_000  # elements up to which one thread is quicker


class Tracer:
    """The operations of `arithmetic.Plain` on symbols. Numbers are noted in the order in which they are used."""

    def __init__(self, k: RowKernel) -> None:
        self.k = k
        self.numbers: list[float] = []
        self.course: list[Any] = []

    def _value(self, x: Any) -> Value:
        if isinstance(x, Symbol):
            return x.value  # type: ignore[return-value]
        if isinstance(x, (int, float)):
            self.numbers.append(float(x))
            return self.k.number(f"n{len(self.numbers)}")
        raise Unsupported(type(x).__name__)

    def _new(self, value: Value) -> Symbol:
        return Symbol(self.k, value)

    def neg(self, a: Any) -> Symbol:
        return self._new(self.k.neg(self._value(a)))

    def abs(self, a: Any) -> Symbol:
        return self._new(self.k.abs(self._value(a)))

    def sqrt(self, a: Any) -> Symbol:
        return self._new(self.k.sqrt(self._value(a)))

    def sqrt_(self, a: Symbol) -> Symbol:
        return self._set(a, self.k.sqrt(self._value(a)))

    def clone(self, a: Any) -> Symbol:
        return self._new(self._value(a))

    def copy_(self, a: Symbol, b: Any) -> Symbol:
        return self._set(a, self._value(b))

    def _set(self, a: Symbol, value: Value) -> Symbol:
        a.set(value)
        return a

    def _sum(self, a: Any, b: Any, alpha: float) -> Value:
        if alpha == 1.0:
            return self.k.add(self._value(a), self._value(b))
        return self.k.fma(self._value(b), self._value(alpha), self._value(a))

    def add(self, a: Any, b: Any, alpha: float = 1.0) -> Symbol:
        return self._new(self._sum(a, b, alpha))

    def add_(self, a: Symbol, b: Any, alpha: float = 1.0) -> Symbol:
        return self._set(a, self._sum(a, b, alpha))

    def mul(self, a: Any, b: Any) -> Symbol:
        return self._new(self.k.mul(self._value(a), self._value(b)))

    def mul_(self, a: Symbol, b: Any) -> Symbol:
        return self._set(a, self.k.mul(self._value(a), self._value(b)))

    def _quotient(self, a: Any, b: Any) -> Value:
        over, under = self._value(a), self._value(b)
        if over.op == "sqrt" and not isinstance(b, Symbol) and _divides_roots(b):
            return self.k.root_over(over, under)
        return self.k.div(over, under)

    def div(self, a: Any, b: Any) -> Symbol:
        return self._new(self._quotient(a, b))

    def div_(self, a: Symbol, b: Any) -> Symbol:
        return self._set(a, self._quotient(a, b))

    def lerp_(self, a: Symbol, end: Any, weight: float) -> Symbol:
        start, stop = self._value(a), self._value(end)
        step = self.k.sub(stop, start)
        if _is_small(weight):
            return self._set(a, self.k.fma(step, self._value(weight), start))
        return self._set(a, self.k.fma(step, self.k.sub(self._value(weight), 1.0), stop))

    def decay_square_(self, a: Symbol, factor: float, b: Any, weight: float) -> Symbol:
        return self.addcmul_(self.mul_(a, factor), b, b, weight)

    def _product_sum(self, a: Any, b: Any, c: Any, value: float) -> Value:
        left = self._value(b)
        if value != 1.0:
            left = self.k.mul(left, self._value(value))
        return self.k.fma(left, self._value(c), self._value(a))

    def addcmul(self, a: Any, b: Any, c: Any, value: float) -> Symbol:
        return self._new(self._product_sum(a, b, c, value))

    def addcmul_(self, a: Symbol, b: Any, c: Any, value: float) -> Symbol:
        return self._set(a, self._product_sum(a, b, c, value))

    def addcdiv_(self, a: Symbol, b: Any, c: Any, value: float) -> Symbol:
        scaled = self.k.mul(self._value(b), self._value(value))
        return self._set(a, self.k.add(self._value(a), self.k.div(scaled, self._value(c))))

    def maximum_(self, a: Symbol, b: Any) -> Symbol:
        return self._set(a, maximum(self.k, self._value(a), self._value(b)))

    def dtype_like(self, a: Any, like: Any) -> Any:
        return a

    def __getattr__(self, name: str) -> Any:
        raise Unsupported(name)


def _divides_roots(x: Any) -> bool:
    """Whether `RowKernel.root_over` is made for this number."""
    return 2.0**-20 <= x <= 1.0


def _is_small(x: Any) -> bool:
    return x < 0.5


#: By which property of its number an operation chooses its way.
_WAY_BY = {"lerp_": _is_small, "div": _divides_roots, "div_": _divides_roots}
#: Where an operation's factor stands that is left out when it is one.
_FACTORS = {"add": 1, "add_": 1, "addcmul": 2, "addcmul_": 2, "decay_square_": 2}


class _Names(Tracer):
    """A tracer that makes no values: it notes the course and the numbers, which is quick."""

    def __init__(self) -> None:
        self.numbers = []
        self.course = []


def _noting(name: str) -> Callable:
    in_place = name.endswith("_")
    factor, way = _FACTORS.get(name), _WAY_BY.get(name)

    def method(self: Any, a: Any, *rest: Any) -> Any:
        course = self.course
        course.append(name)
        for i, x in enumerate(rest):
            kind = x.__class__
            if kind is _Name:
                course.append(x.at)
            elif kind is float or kind is int or kind is Number:
                if i == factor and x == 1.0:
                    course.append(None)
                else:
                    self.numbers.append(x)
                    course.append(way is not None and way(x))
            else:
                raise Unsupported(type(x).__name__)
        if in_place:
            course.append(a.at)
            return a
        return _Name(len(course))

    return method


for _method in [name for name in vars(Tracer) if not name.startswith("_")]:
    setattr(_Names, _method, _noting(_method))


class _Name:
    """Stands for an array where only its name matters."""

    __slots__ = ("at",)

    def __init__(self, at: int) -> None:
        self.at = at

    def __array_ufunc__(self, *args: Any, **kwargs: Any) -> Any:
        raise Unsupported("a ufunc")


class _Course:
    """A rule's kernel for one course through it: which arrays it takes, and in which order its numbers come."""

    def __init__(self, update: Callable, given: tuple[bool, ...], hyper: tuple, dtype: np.dtype) -> None:
        names = [f"a{i}" for i in range(len(given))]
        self.order: list[int] = []

        def write(k: RowKernel) -> None:
            tracer = Tracer(k)
            symbols = [Symbol(k, k.make("load", imm=n)) if ok else None for n, ok in zip(names, given, strict=True)]
            update(tracer, *symbols, *hyper)
            for name, symbol in zip(names, symbols, strict=True):
                if symbol is not None and symbol.written:
                    k.store(name, symbol.value)
            taken = {v.imm for v in k.order if v.op == "load" and any(v in w.args for w in k.order)}
            for name in names:
                if name in taken:
                    k.load(name)

        self.made = Kernel(write, update.__name__).of(dtype)
        self.order = [names.index(name) for name in self.made.operands]
        self.places = [int(name[1:]) - 1 for name in self.made.numbers]


_courses: dict[Any, _Course | None] = {}
#: For a rule, what it is given and its dtype: functions of its hyperparameters, each with its course.
_scripts: dict[Any, list[tuple[Callable, _Course]]] = {}
_WAYS = 6  # through a rule that are kept
_opaque: set[Any] = set()  # rules that do more with their numbers than arithmetic


def _names(update: Callable, given: tuple[bool, ...], hyper: Sequence[Any]) -> _Names | None:
    """The rule's course and numbers; None for one that is not for native kernels."""
    names = _Names()
    try:
        update(names, *(_Name(-i) if ok else None for i, ok in enumerate(given)), *hyper)
    except Unsupported:
        return None
    return names


def _keep(rule: tuple[Callable, tuple[bool, ...], np.dtype], course: _Course, hyper: tuple) -> None:
    """Makes a function of the rule's numbers, if it does nothing with them but arithmetic and comparisons."""
    script = Script(hyper)
    try:
        names = _names(rule[0], rule[1], script.given)
    except TypeError:  # a function that wants a float
        names = None
    if names is None:
        _opaque.add(rule)
    else:
        function = script.function([names.numbers[i] for i in course.places])
        _scripts.setdefault(rule, []).append((function, course))


class Batch:
    """Collects the updates of a step and does them together."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.kept: list[Any] = []
        self.size = 0
        self.last: Any = None
        self.owners: set[int] = set()

    def add(self, update: Callable, arrays: tuple, hyper: tuple) -> bool:
        """Takes an update in; False where it is none for a native kernel."""
        given = tuple(a is not None for a in arrays)
        mine = [a for a in arrays if a is not None]
        first = mine[0]
        if any(a.shape != first.shape for a in mine):
            return False
        if not suits(*mine):
            return self._copied(update, arrays, hyper)
        key = (update, given, hyper, first.dtype)
        if self.last is None or self.last[0] != key:
            found = self._course(update, given, hyper, first.dtype)
            if found is None:
                return False
            self.last = key, *found
        _, course, numbers = self.last
        if id(first) in self.owners:  # a parameter that is there twice is updated twice, one after the other
            self.run()
        self.owners.add(id(first))
        self._record(course, [arrays[i] for i in course.order], numbers)
        return True

    def _copied(self, update: Callable, arrays: tuple, hyper: tuple) -> bool:
        """Does an update of arrays that are not contiguous on copies, at once."""
        if any(a.__class__ in FOREIGN for a in arrays):  # their values are shared, and never change
            return False
        work = tuple(a if a is None else np.ascontiguousarray(a) for a in arrays)
        if not suits(*(w for w in work if w is not None)):
            return False
        alone = Batch()
        if not alone.add(update, work, hyper):
            return False
        alone.run()
        for a, w in zip(arrays, work, strict=True):
            if a is not w:
                a[...] = w
        return True

    def _course(
        self, update: Callable, given: tuple[bool, ...], hyper: tuple, dtype: np.dtype
    ) -> tuple[_Course, list[float]] | None:
        """The kernel for what the rule does with these hyperparameters, and its numbers."""
        rule = update, given, dtype
        known = _scripts.get(rule, ())
        for script, course in known:
            numbers = script(*hyper)
            if numbers is not None:
                return course, numbers
        names = _names(update, given, hyper)
        if names is None:
            return None
        key = (update, given, tuple(names.course), dtype)
        if key not in _courses:
            if len(_courses) > 256:
                _courses.clear()
                _scripts.clear()
            try:
                _courses[key] = _Course(update, given, hyper, dtype)
            except Unsupported:
                _courses[key] = None
        found = _courses[key]
        if found is None:
            return None
        if len(known) < _WAYS and rule not in _opaque:
            _keep(rule, found, hyper)
        return found, [names.numbers[i] for i in found.places]

    @staticmethod
    def script(update: Callable, given: tuple[bool, ...], dtype: np.dtype, course: Any) -> Callable | None:
        """The numbers of one course through a rule, as a function of its hyperparameters, if there is such."""
        return next((script for script, its in _scripts.get((update, given, dtype), ()) if its is course), None)

    def _record(self, course: _Course, arrays: list[np.ndarray], numbers: list[float]) -> None:
        n, size = arrays[0].size, arrays[0].itemsize
        if not n:
            return
        places = [address(a) for a in arrays]
        self.kept.append(arrays)
        self.size += n
        # vectors that cross a line of the cache cost more: the first row ends where most arrays have none that do
        beyond = [place % _LINE for place in places]
        head = (-max(beyond, key=beyond.count) % _LINE) // size if n > _ROW else 0
        rows, rest = divmod(n - head, _ROW)
        self._rows(course, places, (head, size), numbers, 1)
        self._rows(course, [place + head * size for place in places], (_ROW, size), numbers, rows)
        self._rows(course, [place + (n - rest) * size for place in places], (rest, size), numbers, 1)

    def _rows(
        self, course: _Course, places: list[int], row: tuple[int, int], numbers: list[float], rows: int
    ) -> None:
        """Records of rows that lie one after the other, for each thread as many; `row`: elements, bytes of one."""
        length, size = row
        if not rows or not length:
            return
        made = course.made
        words: list[int] = []
        for place in places:
            words += (place, length * size, 0)
        table = made.pack(length, rows, *words, *numbers)
        shares = min(threads.count(), rows)
        for share in range(shares):
            end = (share + 1) * rows // shares
            for start in range(share * rows // shares, end, _TOGETHER):
                self.records.append((made.place, table, start, min(start + _TOGETHER, end)))

    def run(self) -> None:
        """Does what was collected."""
        if self.records:
            run_records(self.records, self.size > ALONE)
        self.records, self.kept, self.size, self.owners = [], [], 0, set()

    def finish(self) -> None:
        """The step is over: does what is left of it."""
        self.run()
