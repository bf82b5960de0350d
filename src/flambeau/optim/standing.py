"""The batch of an optimizer's last step, kept for the next one.

From step to step a rule's numbers change, and where gradients lie; parameters and state stay. So the tables of the
native calls stay too, and only what changed is written into them.
"""

from __future__ import annotations

import ctypes
import operator
import struct
from collections.abc import Callable
from typing import Any

from flambeau.engines.native import threads
from flambeau.engines.native.calls import address, suits
from flambeau.engines.native.records import driver, pack_calls, shared_out
from flambeau.optim.arithmetic import run
from flambeau.optim.fused import ALONE, Batch

__all__ = ["Standing"]

_GRADIENT = 1  # where rules take the gradient: it is not held on to, its memory is the next step's
_PATIENCE = 20
_word = struct.Struct("<q")


class _Entry:
    """One parameter's update: what it is made of, and where its tables lie."""

    __slots__ = ("arrays", "course", "first", "given", "last", "lies", "numbers", "places", "shape", "update")

    def __init__(self, update: Callable, arrays: tuple, course: Any, given: tuple, first: int, last: int) -> None:
        self.update, self.course, self.given = update, course, given
        self.arrays: tuple[Any, ...] = tuple(None if i == _GRADIENT else a for i, a in enumerate(arrays))
        self.shape = arrays[0].shape
        self.first, self.last = first, last
        self.places: list[tuple[int, int]] = []
        self.lies = self.numbers = None


class Standing(Batch):
    """A batch that serves step after step, as long as each is like the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[_Entry] = []
        self.turn = -1  # which update of the step comes next; -1 while a step is taken down
        self.other: Batch | None = None
        self.seen: list[tuple[Callable, tuple, tuple]] = []
        self.usable = True
        self.impatience = 0

    @property
    def worthwhile(self) -> bool:
        """Whether steps have been alike often enough."""
        return self.impatience < _PATIENCE

    def add(self, update: Callable, arrays: tuple, hyper: tuple) -> bool:
        if self.turn < 0:
            return self._take_down(update, arrays, hyper)
        if self.other is not None:
            return self.other.add(update, arrays, hyper)
        entry = self.entries[self.turn] if self.turn < len(self.entries) else None
        if entry is None or not self._fits(entry, update, arrays, hyper):
            self._leave()
            return self.other.add(update, arrays, hyper)  # type: ignore[attr-defined]
        self.turn += 1
        self.seen.append((update, arrays, hyper))
        return True

    def _take_down(self, update: Callable, arrays: tuple, hyper: tuple) -> bool:
        first = len(self.records)
        if not super().add(update, arrays, hyper):
            self.usable = False
            return False
        if first == len(self.records):  # no elements, or done at once on copies
            self.usable = False
            return True
        (_, given, *_), course, _ = self.last
        self.entries.append(_Entry(update, arrays, course, given, first, len(self.records)))
        return True

    def _fits(self, entry: _Entry, update: Callable, arrays: tuple, hyper: tuple) -> bool:
        """Whether the update is the one that `entry` stands for; then what is new about it is written down."""
        known, gradient = entry.arrays, arrays[_GRADIENT]
        if arrays[0] is not known[0] or len(arrays) != len(known) or any(map(operator.is_not, arrays[2:], known[2:])):
            return False
        if gradient.shape != entry.shape or not suits(known[0], gradient):
            return False
        key = (update, entry.given, hyper, known[0].dtype)
        if self.last is None or self.last[0] != key:
            found = self._course(*key)
            if found is None:
                return False
            self.last = key, *found
        _, course, numbers = self.last
        if course is not entry.course:
            return False
        lies = address(gradient)
        if lies != entry.lies or numbers is not entry.numbers:
            self._write(entry, lies, numbers)
        return True

    def _write(self, entry: _Entry, lies: int, numbers: list[float]) -> None:
        at, form, end = self.forms[entry.course]
        for place, beyond in entry.places:
            if at >= 0:
                _word.pack_into(self.blob, place + at, lies + beyond)
            form.pack_into(self.blob, place + end, *numbers)
        entry.lies, entry.numbers = lies, numbers  # type: ignore[assignment]

    def _leave(self) -> None:
        """This step is another: it is done as any, with what was seen of it so far."""
        self.other = Batch()
        for update, arrays, hyper in self.seen:
            if not self.other.add(update, arrays, hyper):
                run(update, arrays, hyper)

    def finish(self) -> None:
        if self.turn < 0:
            whole = self.usable and len(self.owners) == len(self.entries)
            if whole:
                self._settle()
            self.run()
            if whole:
                self.turn = 0
            else:
                self._forget()
            return
        if self.other is None and self.turn != len(self.entries):
            self._leave()
        if self.other is not None:
            self.other.run()
            self._forget()
            return
        place, call = driver()
        if self.shared:
            threads.spread(place, call, self.packed, self.count, 1)
        else:
            call(self.packed, 0, self.count)
        self.turn = 0
        self.seen.clear()
        self.impatience = max(0, self.impatience - 1)

    def _forget(self) -> None:
        impatience = self.impatience + 2
        self.__init__()  # type: ignore[misc]
        self.impatience = impatience

    def _settle(self) -> None:
        """Puts the tables of the step just taken down where they stay."""
        tables = {id(table): table for _, table, *_ in self.records}
        self.blob = ctypes.create_string_buffer(b"".join(tables.values()), sum(map(len, tables.values())))
        start, at, places = ctypes.addressof(self.blob), 0, {}
        for key, table in tables.items():
            places[key] = at
            at += len(table)
        calls = [(function, start + places[id(table)], low, high) for function, table, low, high in self.records]
        self.shared = self.size > ALONE
        self.packed, self.count = pack_calls(calls, shared_out(self.records) if self.shared else None)
        self.forms: dict[Any, tuple[int, struct.Struct, int]] = {}
        for entry in self.entries:
            made, order = entry.course.made, entry.course.order
            real = "d" if entry.arrays[0].itemsize == 8 else "f4x"
            at = 16 + 24 * order.index(_GRADIENT) if _GRADIENT in order else -1
            form = struct.Struct("<" + real * len(made.numbers))
            self.forms[entry.course] = at, form, 16 + 24 * len(made.operands)
            mine = dict.fromkeys(places[id(table)] for _, table, *_ in self.records[entry.first : entry.last])
            lies = [_word.unpack_from(self.blob, place + at)[0] if at >= 0 else 0 for place in mine]
            entry.places = [(place, there - lies[0]) for place, there in zip(mine, lies, strict=True)]
