"""The capture of a step: its calls in order, and the memory they work on.

Each entry is a function with its operands, what it made and what it wrote. Operands are places in memory; where two
share it they are tied together by it, so views and writes in place need no rules of their own.
"""

from __future__ import annotations

import gc
import sys
import types
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import get_ident
from typing import Any

import numpy as np

from flambeau.autograd.runtime import NS, watch
from flambeau.devices import CPU
from flambeau.engines.arrays import FOREIGN, move
from flambeau.engines.kernels import CPU_KERNELS, Kernels
from flambeau.engines.native import hooks
from flambeau.engines.numpy import draws, parallel
from flambeau.errors import CaptureError
from flambeau.ops import dispatch
from flambeau.ops.dispatch import wrap
from flambeau.random import Generator

from .memory import Block, Memory, Place, calls_of
from .traced import MASKS, HostRead, Traced, current, plain, refuse

__all__ = ["Capture", "Entry", "arrays_in"]


class Entry:
    """One call: `kind` is 'call', 'ufunc', 'chain', 'native', 'check' or 'optimizer'. Arrays in it are places.

    `touched`: the blocks it works on; `written`: those of a native call that it may write. `foreign`: operands that
    neither an earlier call has made nor a tensor holds, as they were: constants, or a sign that something was computed
    unseen.
    """

    __slots__ = (
        "args", "code", "foreign", "function", "fused", "kind", "kwargs", "made", "touched", "written", "wrote",
    )  # fmt: skip

    def __init__(
        self, kind: str, function: Any, args: Any, kwargs: Any, made: Sequence[Place] = (), wrote: Sequence[Place] = ()
    ) -> None:
        self.kind, self.function, self.args, self.kwargs = kind, function, args, kwargs
        self.made, self.wrote = made, wrote
        self.touched: set[Block] = set()
        self.written: set[Block] = set()
        self.foreign: list[tuple[Any, int]] = []
        self.fused = 0
        self.code: Any = None  # of a kernel that is the plan's own

    @property
    def name(self) -> str:
        """What it calls, in a word."""
        return getattr(self.function, "__name__", None) or (
            "native" if self.function is None else type(self.function).__name__
        )


def arrays_in(x: Any) -> Iterator[np.ndarray]:
    """The arrays in any nesting of tuples, lists and dicts."""
    if isinstance(x, np.ndarray):
        yield x
    elif x.__class__ is tuple or x.__class__ is list:
        for v in x:
            yield from arrays_in(v)
    elif x.__class__ is dict:
        for v in x.values():
            yield from arrays_in(v)
    elif isinstance(x, slice):
        return


class _CaptureKernels(Kernels):
    """The CPU's kernels, each seen through where it is made of calls that can be noted, else noted as one call."""

    def __init__(self, capture: Capture) -> None:
        self.capture = capture

    def find(self, name: str) -> Any:
        kernel = CPU_KERNELS.find(name)
        if name in _SHAPED_BY_VALUE:

            def refused(*args: Any, **kwargs: Any) -> Any:
                if not current.off:
                    refuse(f"have shapes that depend on values ({name})", MASKS)
                return kernel(*plain(args), **plain(kwargs))

            return refused
        if kernel is None or isinstance(kernel, np.ufunc) or not callable(kernel):
            return kernel
        capture = self.capture

        def noted(*args: Any, **kwargs: Any) -> Any:
            return capture.kernel(kernel, args, kwargs)

        return noted


class Capture:
    """Notes what happens between `start` and `stop`."""

    def __init__(self, lenient: bool = False) -> None:
        self.lenient = lenient
        self.within = 0  # kernels under way: what they do on the host is noted as one call
        self.error: CaptureError | None = None
        self.stopped = False
        self.entries: list[Entry] = []
        self.memory = Memory()
        self.states: list[tuple[weakref.ref, int]] = []
        self.moved: list[Any] = []
        self.schedules: list[Any] = []

    # --- noting -----------------------------------------------------------------------------------------------

    def call(self, function: Callable, args: tuple, kwargs: dict, writes: tuple = (), elementwise: bool = False) -> Any:
        """Runs the call for real and notes it; results are traced, and single numbers arrays without dimensions."""
        bare, named = plain(args), plain(kwargs)
        result = function(*bare, **named)
        if writes:
            wrote = plain([w for w in writes if w is not None])
            self.note("ufunc" if elementwise else "call", function, bare, named, [], wrote)
            return writes[0] if result is not None and len(writes) == 1 else writes if result is not None else None
        if result is None:
            return None
        made = result if isinstance(result, (tuple, list)) else [result]
        values = [np.asarray(r) if isinstance(r, np.generic) else r for r in made]
        fresh = [v for v in values if isinstance(v, np.ndarray)]
        if not all(self._is_view(v, bare, named) for v in fresh):
            self.note("ufunc" if elementwise else "call", function, bare, named, fresh)
        wrapped = [v.view(Traced) if isinstance(v, np.ndarray) else v for v in values]
        if isinstance(result, tuple):
            return tuple(wrapped)
        return wrapped if isinstance(result, list) else wrapped[0]

    def note(
        self, kind: str, function: Any, args: Any, kwargs: Any, made: Sequence = (), wrote: Sequence = ()
    ) -> Entry:
        """Adds an entry, after the call: places for its arrays, and the blocks that it touches."""
        memory = self.memory
        entry = Entry(kind, function, memory.place(args), memory.place(kwargs))
        for a in made:
            memory.make(a)
        entry.made, entry.wrote = memory.place(list(made)), memory.place(list(wrote))
        written = {p.block for p in (*entry.made, *entry.wrote) if p.size}
        for a in (*arrays_in(args), *arrays_in(kwargs)):
            block = memory.meet(a)
            if block is None:
                continue
            entry.touched.add(block)
            if block.blank and block not in written:
                unseen = f"{entry.name} reads memory that something has written where the capture can't see it"
                memory.trouble = memory.trouble or unseen
            if not block.known and (block not in written or kind == "chain"):
                entry.foreign.append((block.array, hash(a.tobytes())))
        for block in written:
            block.known, block.blank = True, False
        entry.touched |= written
        self.entries.append(entry)
        return entry

    def _is_view(self, result: np.ndarray, args: Any, kwargs: Any) -> bool:
        if not result.size:
            return False
        blocks = {self.memory.meet(a) for a in arrays_in((args, kwargs))}
        return self.memory.at(np.lib.array_utils.byte_bounds(result)[0]) in blocks - {None}

    def kernel(self, kernel: Callable, args: tuple, kwargs: dict) -> Any:
        """A kernel: seen through if all it does can be noted, else one call."""
        if current.off:
            return kernel(*plain(args), **plain(kwargs))
        if not any(a.__class__ is Traced for a in arrays_in((args, kwargs))):
            return kernel(*args, **kwargs)
        mark = len(self.entries)
        self.within += 1
        try:
            result = kernel(*args, **kwargs)
        except (HostRead, hooks.Unseen):
            return self.whole(kernel, args, kwargs, mark)
        finally:
            self.within -= 1
        if any(a.__class__ is not Traced for a in arrays_in(result)):
            return self.whole(kernel, args, kwargs, mark)
        return result

    def whole(self, function: Callable, args: tuple, kwargs: dict, mark: int) -> Any:
        """Notes a function of ours as one call."""
        del self.entries[mark:]
        current.off += 1
        try:
            bare, named = plain(args), plain(kwargs)
            result = function(*bare, **named)
        finally:
            current.off -= 1
        result = _as_arrays(result)
        made = list(arrays_in(result))
        if not made or not all(self._is_view(r, bare, named) for r in made):
            self.note("call", function, bare, named, made)
        return _traced(result)

    def again(self, function: Callable, args: tuple, writes: tuple = ()) -> Any:
        """A function of ours that looks at values: done again as a whole at every replay."""
        if current.off:
            return function(*plain(args))
        if not writes:
            return self.whole(function, args, {}, len(self.entries))
        with self.paused():
            function(*plain(args))
        self.note("call", function, plain(args), {}, [], list(plain(writes)))
        return None

    def op(self, op: Any, arrays: list[Any]) -> Any:
        """The body of an op; what it does besides calling kernels is noted too, or else the op as one call."""

        def body(*operands: Any) -> Any:
            return op.run(NS["K"], operands)

        if current.off:
            return op.run(NS["K"], plain(arrays))
        masked = op.name == "index" and any(a.dtype == np.bool_ for a in arrays_in(arrays[1]))
        if masked or op.name in _SHAPED_BY_VALUE:
            refuse(f"have shapes that depend on values ({op.name})", MASKS)
            return op.run(NS["K"], plain(arrays))
        body.__name__ = op.name
        return self.kernel(body, tuple(arrays), {})

    def check(self, function: Callable, args: tuple) -> None:
        """A check of values, repeated at every replay."""
        if current.off:
            return function(*args)
        tensors = [isinstance(x, NS["Tensor"]) for x in args]
        bare = tuple(plain(x._a) if t else plain(x) for x, t in zip(args, tensors, strict=True))

        def checked(*values: Any) -> None:
            function(*(wrap(v) if t else v for v, t in zip(values, tensors, strict=True)))

        checked.__name__ = function.__name__
        with self.paused():
            checked(*bare)
        self.note("check", checked, bare, {})

    def looking(self) -> bool:
        """Whether calls are noted one by one just now."""
        return not current.off

    def rule(self, rule: Any, values: tuple) -> Any:
        """A derivative's rule, like the body of an op."""

        def body(*operands: Any) -> Any:
            return rule.function(NS["K"], *operands)

        body.__name__ = "derivative"
        return self.kernel(body, values, {})

    def meet(self, a: np.ndarray) -> None:
        """An array whose address someone asks for: native calls may use it."""
        if not current.off:
            self.memory.meet(a)

    def native(self, what: str, *call: Any) -> None:
        """A native call, as `hooks` reports it; the memory it works on is found by the addresses in its tables."""
        if current.off:
            return
        lift = self.memory.lift
        args: tuple[Any, ...]
        if what == "run":
            place, table, end, piece = call
            args = (what, place, lift(table), end, piece)
        elif what == "records":
            records, shared = call
            args = (what, [(place, lift(table), *rows) for place, table, *rows in records], shared)
        else:
            turns, loops, shared = call
            lifted = [
                [(place, lift(table, growth, turns), start, stop, growth) for place, table, start, stop, growth in loop]
                for loop in loops
            ]
            args = (what, turns, lifted, shared)
        entry = Entry("native", None, args, {})
        for function, table in calls_of(args):
            known = hooks.writes.get(function)
            for word, block, _ in self.memory.words_of(table):
                entry.touched.add(block)
                if known is None or word in known:
                    entry.written.add(block)
        for block in entry.touched:
            block.blank = False
        self.entries.append(entry)

    def chain(self, chain: Callable, arrays: tuple, temps: int) -> bool:
        """A chain of ufuncs that is about to run natively: noted as what it computes. False: not noted."""
        if current.off:
            return False
        bare = plain(arrays)
        self.note("chain", chain, bare, {"temps": temps}, wrote=bare)
        return True

    def placed(self, array: Any, where: Any) -> Any:
        """The array of a tensor that a factory makes."""
        return array if where is CPU and array.__class__ not in FOREIGN else move(array, where, True)

    def shared(self, array: Any) -> Any:
        """The array of a tensor that shares memory with a program's array: a plan reads it where it lies."""
        return array

    def hand_over(self, g: Any, array: Any) -> bool:
        """Whether a gradient that was made here can be a leaf's own: it is the only one that it is given to."""
        if g.__class__ is not Traced or g.strides != array.strides or g.dtype != array.dtype:
            return False
        block = self.memory.meet(plain(g))
        if block is None or block.given or not block.made:
            return False
        block.given = True
        return True

    def adopt(self, tensor: Any) -> None:
        """Counts a tensor's memory among what was there before."""
        if (block := self.memory.meet(plain(tensor._a))) is not None:
            block.known = True
        if tensor._a.__class__ is np.ndarray:
            tensor._a = tensor._a.view(Traced)

    def optimizer(self, optimizer: Any, update: Callable[[], None]) -> None:
        """An optimizer's step: done for real, noted as a whole."""
        if current.off:
            return update()
        with self.paused():
            update()
        groups = []
        touched = []
        for group in optimizer.param_groups:
            used = [(p, p._grad._a, optimizer.state.get(p) or {}) for p in group["params"] if p._grad is not None]
            groups.append((group, [(p, self.memory.place(plain(grad)), state) for p, grad, state in used]))
            for p, grad, state in used:
                touched += [p._a, grad, *(v._a for v in state.values() if isinstance(v, NS["Tensor"]))]
        entry = self.note("optimizer", optimizer, (), {}, wrote=plain(touched))
        entry.kwargs = {"groups": groups}

    def scheduled(self, scheduler: Any, step: Callable[[], None]) -> None:
        """A step of a learning-rate schedule, made again at every replay."""
        with self.paused():
            step()
        self.schedules.append(scheduler)
        self.entries.append(Entry("check", step, (), {}))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside, nothing is noted."""
        current.off += 1
        try:
            yield
        finally:
            current.off -= 1

    # --- begin and end ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """From here on everything is noted."""
        tensor = NS["Tensor"]
        numbers = {id(t) for t in dispatch._constants.values()}  # that a program has used: constants of its calls
        for t in [o for o in gc.get_objects() if isinstance(o, tensor)]:
            a = t.__dict__.get("_a") if hasattr(t, "__dict__") else None
            a = getattr(t, "_a", None) if a is None else a
            if a.__class__ is np.ndarray and id(t) not in numbers:
                if (block := self.memory.meet(a)) is not None:
                    block.known = True
                t._a = a.view(Traced)
                t._a.real_array = a
                self.states.append((weakref.ref(t), id(t._a)))
        self.kernels = NS["K"]
        NS["K"] = _CaptureKernels(self)
        self._swap_numpy()
        self._swap_draws()
        self._swap_generators()
        self.inside = parallel._local.inside
        parallel._local.inside = True
        watch(True)
        NS["CAPTURE"] = self
        hooks.capture = self
        current.capture, current.thread = self, get_ident()

    def refuse(self, error: CaptureError) -> None:
        """The step does what can't be captured: raises the error, or, where the step is to go on as it is, ends the
        capture with it.
        """
        if not self.lenient or self.within:
            try:
                raise error
            finally:
                del error  # its traceback has this frame
        self.error = error
        self.stop()

    def stop(self) -> None:
        """Puts everything back; tensors keep what they hold now, as ordinary arrays. Once more: those that were made
        since.
        """
        if not self.stopped:
            self.stopped = True
            self._stop()
        tensor = NS["Tensor"]
        for t in [o for o in gc.get_objects() if isinstance(o, tensor)]:
            if getattr(t, "_a", None).__class__ is Traced:
                t._a = t._a.view(np.ndarray)

    def _stop(self) -> None:
        current.capture, current.thread = None, 0
        hooks.capture = None
        NS["CAPTURE"] = None
        watch(False)
        parallel._local.inside = self.inside
        for module, name, value in self.swapped:
            setattr(module, name, value)
        NS["K"] = self.kernels
        for ref, view in self.states:
            t = ref()
            if t is None:
                continue
            if id(t._a) == view and t._a.real_array is not None:
                t._a = t._a.real_array
            else:
                self.moved.append(t)

    def _swap_numpy(self) -> None:
        """Our modules see a `numpy` whose new memory is traced."""
        proxy = types.ModuleType("numpy")
        proxy.__dict__.update(np.__dict__)

        def creating(function: Callable) -> Callable:
            def make(*args: Any, **kwargs: Any) -> Any:
                result = function(*plain(args), **plain(kwargs))
                if current.capture is None or current.off or result.__class__ is not np.ndarray:
                    return result
                if function is np.empty:
                    self.memory.make(result, blank=True)
                else:
                    self.note("call", function, plain(args), plain(kwargs), [result])
                return result.view(Traced)

            return make

        for name in ("empty", "zeros", "ones", "full"):
            setattr(proxy, name, creating(getattr(np, name)))
        proxy.array = self._array(np.array)
        proxy.asarray = self._array(np.asarray)
        proxy.ascontiguousarray = self._array(np.ascontiguousarray)
        proxy.asanyarray = self._array(np.asanyarray)
        self.swapped: list[tuple[Any, str, Any]] = []
        for name, module in list(sys.modules.items()):
            if name.startswith("flambeau.") and not name.startswith(("flambeau.compiled", "flambeau.engines.xla")):
                if vars(module).get("np") is np:
                    self.swapped.append((module, "np", np))
                    module.np = proxy  # type: ignore[attr-defined]

    def _swap_generators(self) -> None:
        """States of random generators are taken, set and seeded again at every step."""
        get, place, seed = Generator.get_state, Generator.set_state, Generator.manual_seed

        def noted(step: Callable, *args: Any) -> None:
            with self.paused():
                step(*args)
            self.note("check", step, args, {})

        def get_state(generator: Any) -> Any:
            if current.off:
                return get(generator)
            return wrap(self.whole(lambda: get(generator)._a, (), {}, len(self.entries)))

        def set_state(generator: Any, state: Any) -> Any:
            if current.off or not isinstance(state, NS["Tensor"]):
                return place(generator, state)
            noted(lambda a: place(generator, wrap(a)), plain(state._a))
            return generator

        def manual_seed(generator: Any, number: int) -> Any:
            if current.off:
                return seed(generator, number)
            noted(lambda: seed(generator, number))
            return generator

        for made in (get_state, set_state, manual_seed):
            self.swapped.append((Generator, made.__name__, getattr(Generator, made.__name__)))
            setattr(Generator, made.__name__, made)

    def _array(self, function: Callable) -> Callable:
        def make(x: Any, *args: Any, **kwargs: Any) -> Any:
            if x.__class__ is not Traced or current.off:
                return function(plain(x), *args, **kwargs)
            return self.call(function, (x, *args), kwargs)

        return make

    def _swap_draws(self) -> None:
        """Random numbers are drawn again at every step."""
        for name in draws.__all__ if hasattr(draws, "__all__") else [n for n in vars(draws) if not n.startswith("_")]:
            function = getattr(draws, name)
            if not isinstance(function, types.FunctionType) or function.__module__ != draws.__name__:
                continue

            def drawing(*args: Any, function: Callable = function, **kwargs: Any) -> Any:
                if current.off or current.capture is None:
                    return function(*args, **kwargs)
                return self.whole(function, args, kwargs, len(self.entries))

            self.swapped.append((draws, name, function))
            setattr(draws, name, drawing)


#: Kernels and ops whose results have shapes that depend on values.
_SHAPED_BY_VALUE = {"masked_select_op", "nonzero", "unique", "unique_runs"}


def _as_arrays(x: Any) -> Any:
    """NumPy's single numbers as arrays without dimensions."""
    if isinstance(x, np.generic):
        return np.asarray(x)
    if isinstance(x, tuple):
        return tuple(_as_arrays(v) for v in x)
    return [_as_arrays(v) for v in x] if isinstance(x, list) else x


def _traced(x: Any) -> Any:
    if x.__class__ is np.ndarray:
        return x.view(Traced)
    if isinstance(x, tuple):
        return tuple(_traced(v) for v in x)
    return [_traced(v) for v in x] if isinstance(x, list) else x
