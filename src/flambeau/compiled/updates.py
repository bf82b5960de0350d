"""An optimizer's step in a plan: learning rates and step counts are read anew, everything else is prepared.

The rule of each parameter still runs, on the numbers alone; they are written into the tables of the native calls.
"""

from __future__ import annotations

import ctypes
import operator
import struct
from collections.abc import Callable
from typing import Any

from flambeau.engines.native import threads
from flambeau.engines.native.records import driver
from flambeau.optim import optimizer as steps
from flambeau.optim.arithmetic import run
from flambeau.optim.fused import Batch

__all__ = ["Updates"]


class _Prepared(Batch):
    """The batch of a step whose arrays stay where they are: only numbers change from step to step."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = -1  # which update of the step comes next; -1 while the first step is taken down
        self.known: list[tuple[Any, ...]] = []
        self.blob: Any = None
        self.usable = True
        self.other: Batch | None = None
        self.seen: list[tuple[Callable, tuple, tuple]] = []

    def add(self, update: Callable, arrays: tuple, hyper: tuple) -> bool:
        if self.turn < 0:
            first = len(self.records)
            if not super().add(update, arrays, hyper):
                self.usable = False
                return False
            course = self.last[1]
            self.known.append((update, arrays, course, self.last[0][1], first, len(self.records)))
            return True
        if self.other is not None:
            return self.other.add(update, arrays, hyper)
        known, given, course, present, first, end = self.known[self.turn]
        key = (update, present, hyper)
        if self.last is None or self.last[0] != key:
            found = self._course(update, present, hyper, arrays[0].dtype)
            self.last = (key, *found) if found is not None else (key, None, None)
        if known is not update or self.last[1] is not course or any(map(operator.is_not, arrays, given)):
            return self._leave(update, arrays, hyper)
        self.turn += 1
        self.seen.append((update, arrays, hyper))
        numbers = self.last[2]
        if numbers is not self.written.get(first):
            self.written[first] = numbers
            form = self.forms[first]
            for place in self.places[first:end]:
                form.pack_into(self.blob, place, *numbers)
        return True

    def _leave(self, update: Callable, arrays: tuple, hyper: tuple) -> bool:
        """The rule takes another course than was prepared: this step is done as any other, what was seen included."""
        self.other = Batch()
        for known in self.seen:
            if not self.other.add(*known):
                run(*known)
        return self.other.add(update, arrays, hyper)

    def begin(self) -> None:
        """Before each step."""
        self.turn, self.other = 0, None
        self.seen.clear()

    def settle(self) -> None:
        """Puts the tables where they stay."""
        self.forms: dict[int, struct.Struct] = {}
        self.written: dict[int, Any] = {}
        self.places: list[int] = []
        size = sum(len(r[1]) for r in self.records)
        self.blob = ctypes.create_string_buffer(size)
        start, at = ctypes.addressof(self.blob), 0
        words: list[int] = []
        for function, table, low, high in self.records:
            self.blob[at : at + len(table)] = table
            words += (function, start + at, low, high)
            at += len(table)
            self.places.append(at)
        for _, arrays, course, _, first, end in self.known:
            count = len(course.made.numbers)
            real = "d" if arrays[0].itemsize == 8 else "f4x"
            self.forms[first] = struct.Struct("<" + real * count)
            for i in range(first, end):
                self.places[i] -= 8 * count
        self.packed, self.count = struct.pack(f"<{len(words)}q", *words), len(self.records)
        self.shared = self.size > 24_000
        self.turn = 0

    def run(self) -> None:
        if self.turn < 0:
            if len(self.owners) != len(self.known):
                self.usable = False
            super().run()
            return
        if self.other is not None:
            self.other.run()
            return
        place, call = driver()
        if self.shared:
            threads.spread(place, call, self.packed, self.count, 1)
        else:
            call(self.packed, 0, self.count)


class Updates:
    """The step of one optimizer, on the parameters and gradients that it had in the capture."""

    def __init__(self, optimizer: Any, grads: list[tuple[Any, list[tuple[Any, Any, Any]]]]) -> None:
        self.optimizer, self.grads = optimizer, grads
        self.batch: _Prepared | None = None
        self.plain = False

    def run(self) -> None:
        """Does it."""
        if self.plain:
            self._each(Batch())
        elif self.batch is None:
            batch = _Prepared()
            records = self._each(batch, keep=True)
            if batch.usable and records:
                batch.records = records
                batch.settle()
                self.batch = batch
            else:
                self.plain = True
        else:
            self.batch.begin()
            self._each(self.batch)
            if self.batch.other is not None:
                self.batch = None  # prepared anew at the next step

    def _each(self, batch: Any, keep: bool = False) -> Any:
        optimizer, open_ = self.optimizer, steps._open
        before = open_.batch
        open_.batch = batch
        try:
            for group, pairs in self.grads:
                hyper = optimizer.prepare(group)
                for p, grad, state in pairs:
                    optimizer.update(group, p, grad, state, hyper)
        finally:
            open_.batch = before
        if not keep:
            batch.run()
            return None
        records, size = batch.records, batch.size
        batch.run()
        batch.size = size
        return records
