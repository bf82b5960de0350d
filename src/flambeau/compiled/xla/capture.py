"""The capture of a step for XLA: the program runs once on symbols, and what it did to memory is the program.

Every memory that the step meets is lifted by the engine's `Trace`. Here is what stands above arrays: tensors in NumPy
memory, which for that time hold arrays that can be lifted; random numbers and optimizers' numbers, which are fed to the
program at each call; and what a program must not do while its step is traced.
"""

from __future__ import annotations

import gc
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from flambeau.autograd.runtime import NS
from flambeau.autograd.views import owner
from flambeau.compiled.traced import user_line
from flambeau.devices import CPU
from flambeau.engines.arrays import move
from flambeau.engines.numpy import draws
from flambeau.engines.xla import drawn
from flambeau.engines.xla.array import XArray, fresh
from flambeau.engines.xla.calls import called_back
from flambeau.engines.xla.runtime import jnp, lifting
from flambeau.engines.xla.whole import Fed, HostStore, Trace, is_symbol
from flambeau.errors import CaptureError
from flambeau.ops import dispatch
from flambeau.random import Generator

__all__ = ["WholeCapture"]

#: Devices whose random numbers the host's generator draws; on others programs draw their own.
HOSTS = ("cpu", "xla")


class WholeCapture:
    """What `NS["CAPTURE"]` is while a step is traced for XLA."""

    def __init__(self, device: Any, in_sight: Iterable[np.ndarray] = ()) -> None:
        self.in_sight = list(in_sight)  # NumPy's arrays that the step can see
        self.trace = Trace(device)
        self.device = device
        self.feeds: list[Callable[[list[Any]], Any]] = []
        self.hosts: dict[tuple[int, Any], HostStore] = {}
        self.swapped: list[tuple[Any, np.ndarray, XArray]] = []
        self.arrays: dict[int, XArray] = {}
        self.before: dict[int, np.ndarray] = {}
        self.steps: list[Any] = []
        self.skips: list[tuple[Any, list[Any]]] = []
        self.ended: list[Callable[[], None]] = []
        self.moved: list[Any] = []
        self.keys: dict[Any, tuple[Any, Any]] = {}
        self.drawn: dict[Any, Any] = {}

    # --- what ops ask a capture -----------------------------------------------------------------------------------

    def op(self, op: Any, arrays: list[Any]) -> Any:
        """An op on NumPy's arrays alone: constants of the program."""
        return op.run(NS["K"], arrays)

    def rule(self, rule: Any, values: tuple) -> Any:
        """A derivative's rule on constants."""
        return rule.function(NS["K"], *values)

    def check(self, function: Callable, args: tuple) -> None:
        """A check of constants' values."""
        function(*args)

    def again(self, function: Callable, args: tuple, writes: tuple = ()) -> Any:
        """A function of ours that looks at values: the program calls it on the host."""
        if not any(a.__class__ is XArray for a in args):
            return function(*args)
        if not writes:
            return called_back(function, args, {})

        def written(first: Any, *rest: Any) -> Any:
            function(first, *rest)
            return first

        writes[0][...] = called_back(written, args, {})
        return None

    def hand_over(self, g: Any, array: Any) -> bool:
        """Whether a gradient can be a leaf's own: values of XLA's never change, so there is nothing to save."""
        return False

    def placed(self, array: Any, where: Any) -> Any:
        """The array of a tensor that a factory makes."""
        if array.__class__ is np.ndarray and where is CPU:
            return self.trace.constant(array, CPU) if array.ndim or self.device is CPU else array
        return move(array, where, True)

    def shared(self, array: np.ndarray) -> Any:
        """The array of a tensor that shares memory with one of NumPy's: the program's own is read, and written, at each
        call; one that the step has made is a constant.
        """
        own = any(np.may_share_memory(array, known) for known in self.in_sight)
        return self._host_array(array) if own else array

    def optimizer(self, optimizer: Any, update: Callable[[], None]) -> None:
        """An optimizer's step."""
        from .updates import Steps

        self.steps.append(Steps(optimizer, self))

    def scheduled(self, scheduler: Any, step: Callable[[], None]) -> None:
        """A step of a learning-rate schedule: made, in its turn, before each call."""
        from .updates import Scheduled

        step()
        self.steps.append(Scheduled(scheduler, step))

    def refuse(self, error: CaptureError) -> None:
        """The step does what can't be captured: a trace has changed nothing yet."""
        raise error

    def looking(self) -> bool:
        """Whether what happens is noted just now: always."""
        return True

    @contextmanager
    def skipping(self, found: list[Any], optimizer: Any, ended: Callable[[], None]) -> Iterator[None]:
        """Inside, whatever is written stays as it was in a call in which one of the numbers `found` is not 0. At the
        end of the step `ended` is asked whether that was all.
        """
        count = len(self.steps)
        self.ended.append(ended)
        skip = jnp.asarray(False)
        for t in found:
            skip = skip | (t._a.value.reshape(()) != 0)
        with self.trace.writes() as before:
            yield
        for store, old in before.items():
            store.value = jnp.where(skip, old, store.value)
            store.version += 1
        if len(self.steps) > count:
            self.skips.append((skip, self.steps[count:]))

    # --- inputs ---------------------------------------------------------------------------------------------------

    def feed(self, kind: str, example: Any, again: Callable[[list[Any]], Any]) -> Any:
        """A symbol whose value `again(given)` makes for each call."""
        fed = Fed(kind, len(self.feeds), example)
        self.feeds.append(again)
        return self.trace.lift(fed)

    def argument(self, at: int, tensor: Any, gradient: bool = False) -> XArray:
        """An array that stands for an argument (or its gradient), with its strides as far as memory is dense."""
        array = self.before.get(id(tensor), tensor._a)
        label = array.device if array.__class__ is XArray else CPU
        again: Callable[[list[Any]], Any]
        if array.__class__ is not XArray:
            again = (lambda given: given[at]._grad._a) if gradient else (lambda given: given[at]._a)
        elif gradient:
            again = lambda given: given[at]._grad._a.value  # noqa: E731
        else:
            again = lambda given: given[at]._a.value  # noqa: E731
        symbol = self.feed("argument", array, again)
        order = dense_order(array)
        if order is None:
            return fresh(symbol, label)
        view = fresh(symbol.transpose(order), label).transpose(np.argsort(order))
        view.base = None
        return view

    def draw(self, function: Callable, args: tuple, kwargs: dict) -> Any:
        """Random numbers: drawn by the generator at each call, in the order of the program.

        Who puts the generator back (activation checkpoints do) and draws again gets the same numbers again.
        """
        generator = args[0]
        state, pos, pair = generator.mark()
        known = function, state.tobytes(), pos, pair, repr(args[1:]), repr(kwargs)
        if self.device.type not in HOSTS and function.__name__ in drawn.IN_PROGRAM:
            root = self._key(generator)
            generator.few(1)  # so that the next draw is another one
            if known not in self.drawn:
                key = drawn.fold(root, len(self.drawn))
                self.drawn[known] = drawn.IN_PROGRAM[function.__name__](key, *args[1:], **kwargs)
            return fresh(self.drawn[known], self.device)
        made = function(*args, **kwargs)
        if known not in self.drawn:
            self.drawn[known] = self._fed_once("random", made, lambda: function(*args, **kwargs))
        return fresh(self.drawn[known], self.device)

    def _fed_once(self, kind: str, made: Any, draw: Callable[[], Any]) -> Any:
        """A symbol for what is drawn at each call; at the first one it is what was drawn already."""
        state = {"first": made}

        def again(given: list[Any]) -> Any:
            first = state.pop("first", None)
            return draw() if first is None else first

        return self.feed(kind, made, again)

    def _draw_by_values(self, function: Callable, args: tuple, kwargs: dict) -> Any:
        """Random numbers whose distribution depends on values of the program."""
        if function.__name__ == "bernoulli_each":
            generator, p = args
            double = p.dtype == np.float64
            even = self.draw(draws.uniform, (generator, p.size, np.dtype(np.float64 if double else np.float32)), {})
            return np.less(even, p if double else p.astype(np.float32))
        return called_back(function, args, kwargs)

    def _key(self, generator: Any) -> Any:
        """A key for random numbers within the program: of words that the generator gives once per call."""
        if generator not in self.keys:

            def words() -> Any:
                return generator.few(2).astype(np.uint32)

            root = self._fed_once("key", words(), words)
            self.keys[generator] = root, generator.mark()
        return self.keys[generator][0]

    # --- begin and end --------------------------------------------------------------------------------------------

    @contextmanager
    def open(self) -> Iterator[None]:
        """Inside, tensors in NumPy memory hold arrays that can be lifted, and this is the capture under way."""
        self._swap()
        restore = self._swap_draws()
        NS["CAPTURE"] = self
        try:
            yield
        finally:
            NS["CAPTURE"] = None
            for generator, (_, mark) in self.keys.items():
                generator.rewind(mark)
            self.drawn.clear()
            for where, name, function in restore:
                setattr(where, name, function)
            for t, a, mine in self.swapped:
                if t._a is mine:
                    t._a = a
                else:
                    self.moved.append(t)

    def _swap(self) -> None:
        tensor = NS["Tensor"]
        constants = {id(t) for t in dispatch._constants.values()}
        for t in [o for o in gc.get_objects() if isinstance(o, tensor)]:
            a = getattr(t, "_a", None)
            if a.__class__ is not np.ndarray or id(t) in constants or a.dtype.hasobject:
                continue
            mine = self.arrays.get(id(a))
            if mine is None:
                mine = self.arrays[id(a)] = self._host_array(a)
            self.swapped.append((t, a, mine))
            self.before[id(t)] = a
            t._a = mine

    def _host_array(self, a: np.ndarray) -> XArray:
        """An array that can be lifted, on the memory of NumPy's array `a`."""
        whole = owner(a)
        key = id(whole), a.dtype
        store = self.hosts.get(key)
        if store is None:
            store = self.hosts[key] = HostStore(_flat(whole, a.dtype) if a is not whole else _memory(a))
        return store.view_of(a)

    def _swap_draws(self) -> list[tuple[Any, str, Any]]:
        """Random numbers become inputs of the program."""
        restore: list[tuple[Any, str, Any]] = []
        for name in draws.__all__:
            function = getattr(draws, name)
            if not isinstance(function, types.FunctionType):
                continue

            def drawing(*args: Any, function: Callable = function, **kwargs: Any) -> Any:
                if lifting.trace is not self.trace or self.trace.drawing:
                    return function(*args, **kwargs)
                self.trace.drawing = True
                try:
                    if any(a.__class__ is XArray and is_symbol(a.value) for a in args):
                        return self._draw_by_values(function, args, kwargs)
                    return self.draw(function, args, kwargs)
                finally:
                    self.trace.drawing = False

            restore.append((draws, name, function))
            setattr(draws, name, drawing)
        seed = Generator.manual_seed

        def manual_seed(generator: Any, number: int) -> Any:
            raise CaptureError(
                f"a step compiled by XLA can't seed a random generator: at {user_line()}. Seed it before the step, or "
                "compile with fallback=True to run such steps eagerly"
            )

        restore.append((Generator, "manual_seed", seed))
        Generator.manual_seed = manual_seed  # type: ignore[method-assign, assignment]
        return restore


def dense_order(array: Any) -> tuple[int, ...] | None:
    """The order of dimensions in memory, where the array is dense there but not in C order."""
    if array.flags.c_contiguous or array.ndim < 2:
        return None
    strides = array.strides
    order = tuple(sorted(range(array.ndim), key=lambda d: (-strides[d], d)))
    step = array.dtype.itemsize
    for d in reversed(order):
        if array.shape[d] > 1 and strides[d] != step:
            return None
        step *= array.shape[d]
    return order


def address_of(a: np.ndarray) -> int:
    return a.__array_interface__["data"][0]


def _memory(a: np.ndarray) -> np.ndarray:
    """An array's own memory in C order."""
    if a.flags.c_contiguous:
        return a
    return a.T if a.T.flags.c_contiguous else _flat(a, a.dtype)


def _flat(whole: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The memory of an array, flat, read as a dtype."""
    if whole.dtype == dtype and whole.flags.c_contiguous:
        return whole
    low, high = np.lib.array_utils.byte_bounds(whole)
    count = (high - low) // dtype.itemsize
    start = whole
    while start.ndim and start.size and address_of(start) != low:  # negative steps: begin at the lowest address
        start = start[tuple(slice(None, None, -1) if s < 0 else slice(None) for s in start.strides)]
    flat = np.ndarray((count * dtype.itemsize,), np.uint8, buffer=_bytes(start, low, high))
    return flat.view(dtype)


def _bytes(a: np.ndarray, low: int, high: int) -> Any:
    return np.lib.stride_tricks.as_strided(a.reshape(-1)[:1].view(np.uint8), (high - low,), (1,))
