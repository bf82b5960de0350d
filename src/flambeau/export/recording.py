"""Recording: a function runs once for real, and every operation that it comes to is noted.

Operations are seen by a mode of the dispatcher, writes in place by what writes report. A tensor that no noted call has
made, and that is neither input nor parameter, is a constant.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from flambeau.autograd.runtime import NS, watch
from flambeau.engines.arrays import is_array
from flambeau.export.program import DETACH, WRITE, ArrayRef, Call, Program, Ref, Value, is_tensor, tensors_in
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter
from flambeau.ops import dispatch
from flambeau.ops.declare import Op
from flambeau.ops.placing import wrap
from flambeau.pytree import tree_flatten
from flambeau.tensor.tensor import Tensor

_HERE = str(Path(__file__).parents[1])
_PLAIN_CLASSES = (Tensor, Parameter)
_recording = 0
#: One view under names that hang on sizes: a slice of everything is an alias.
_SAME_VIEW = dict.fromkeys(("index_alias", "index_select_at", "index_unsqueeze"), "index_slice")


def is_recording() -> bool:
    """Whether a program is being recorded right now."""
    return _recording > 0


class Recorder:
    """Notes operations and writes; as a mode of the dispatcher it is called in place of every operation."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.program = Program()
        self._numbers: dict[int, int] = {}  # by the identity of the array
        self._alive: list[Any] = []  # arrays known by identity must not make room for others
        self._named = {id(t._a): (name, t) for name, t in reversed(state.items())}
        self._detached: dict[int, int] = {}
        self._requires: list[bool] = []

    def new_value(self, tensor: Any) -> int:
        """A number for a tensor that now has a value of its own."""
        program, array = self.program, tensor._a
        number = len(program.values)
        program.values.append(Value(tuple(array.shape), np.dtype(array.dtype)))
        self._requires.append(tensor._node is not None)
        self._numbers[id(array)] = number
        self._alive.append(array)
        return number

    def add_input(self, tensor: Any) -> None:
        """Makes `tensor` the next input."""
        self.program.inputs.append(self.new_value(tensor))

    def number_of(self, tensor: Any) -> int:
        """The number of a tensor's value: a known one, a parameter or buffer, else a new constant."""
        number = self._numbers.get(id(tensor._a))
        if number is None:
            found = self._named.get(id(tensor._a))
            if found is not None:
                number = self.program.state[found[0]] = self.new_value(found[1])
            else:
                number = self.new_value(tensor)
                kept = tensor if tensor._node is not None or tensor._shared is not None else wrap(tensor._a)
                self.program.constants[number] = kept
                return number
        if self._requires[number] and tensor._node is None and tensor._base is None:
            return self._detach(number)
        return number

    def _detach(self, number: int) -> int:
        known = self._detached.get(number)
        if known is None:
            program = self.program
            known = self._detached[number] = len(program.values)
            program.values.append(program.values[number])
            self._requires.append(False)
            program.calls.append(Call(DETACH, (Ref(number),), (known,), _where()))
            program.aliases[known] = number
        return known

    def encoded(self, value: Any) -> Any:
        """An argument with references in the place of tensors and known arrays."""
        if is_tensor(value):
            return Ref(self.number_of(value))
        if is_array(value):
            number = self._numbers.get(id(value))
            if number is None:
                number = self.number_of(wrap(value))
            return ArrayRef(number)
        if value.__class__ is tuple or value.__class__ is list:
            return value.__class__(self.encoded(v) for v in value)
        if isinstance(value, tuple):  # sizes
            return tuple(self.encoded(v) for v in value)
        return value.item() if isinstance(value, np.generic) else value

    def __call__(self, op: Op, args: tuple) -> Any:
        if _is_wrapped(op, args):  # the operations inside are noted instead
            dispatch.modes.append(self)
            try:
                return NS["GENERALLY"](op, args)
            finally:
                dispatch.modes.pop()
        encoded = self.encoded(args)
        result = dispatch.general(op, args)
        results = result if result.__class__ is tuple else (result,)
        numbers = tuple(self.new_value(t) for t in results)
        self.program.calls.append(Call(_SAME_VIEW.get(op.name, op.name), encoded, numbers, _where()))
        for number, t in zip(numbers, results, strict=True):
            source = next((v for v in args if is_tensor(v)), None)
            if source is not None and (t._base is not None or t._a is source._a):
                self.program.aliases[number] = encoded[next(i for i, v in enumerate(args) if v is source)].number
        return result

    def whole(self, name: str, function: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Runs a function unseen and notes it as one call."""
        encoded = (self.encoded(args), [(k, self.encoded(v)) for k, v in kwargs.items()])
        before = dispatch.modes[:]
        dispatch.modes.clear()
        NS["WRITES"] = None
        try:
            result = function(*args, **kwargs)
        finally:
            dispatch.modes[:] = before
            NS["WRITES"] = self
        numbers = tuple(self.new_value(t) for t in tensors_in(result))
        self.program.calls.append(Call(name, encoded, numbers, _where()))
        return result

    def write(self, target: Any, source: Any) -> None:
        """Notes that `source`, a tensor or a number, was written into `target`."""
        if not is_tensor(source):
            source = wrap(np.array(source, dtype=target._a.dtype))
        number = self._numbers.get(id(target._a))
        destination = number if number is not None else self.number_of(target)
        self.program.calls.append(Call(WRITE, (Ref(destination), self.encoded(source)), (), _where()))

    def replace(self, target: Any, source: Any) -> None:
        """Notes that `target` was given new memory with the value of `source`."""
        self._numbers[id(target._a)] = self.number_of(source)
        self._alive.append(target._a)


def _is_wrapped(op: Op, args: tuple) -> bool:
    """Whether some operand belongs to a transform or to a class with a say of its own."""
    for value in args:
        for v in value if value.__class__ in (tuple, list) else (value,):
            if isinstance(v, Tensor) and (v._level is not None or v.__class__ not in _PLAIN_CLASSES):
                return True
    return False


def _where() -> str:
    """File and line of the program that called."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(_HERE) and name[0] != "<":
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


@contextmanager
def noting(recorder: Recorder) -> Iterator[None]:
    """Lets `recorder` see all operations and writes."""
    global _recording
    before = NS["WRITES"]
    watch(True)
    dispatch.modes.append(recorder)
    NS["WRITES"] = recorder
    _recording += 1
    try:
        yield
    finally:
        _recording -= 1
        NS["WRITES"] = before
        dispatch.modes.remove(recorder)
        watch(False)


def state_of(module: Any) -> dict[str, Any]:
    """Parameters and buffers of a module by name; nothing for a function."""
    if not isinstance(module, Module):
        return {}
    found = dict(module.named_parameters(remove_duplicate=False))
    found.update(module.named_buffers(remove_duplicate=False))
    return found


def record(
    function: Callable, args: tuple, kwargs: dict[str, Any] | None = None, owner: Any = None
) -> tuple[Program, Any]:
    """The program of `function(*args, **kwargs)`, and what it returned.

    Tensors in the arguments, also within containers, are the inputs; they are copied first, so that writes into them
    leave the caller's alone. `owner` is the module whose parameters and buffers keep their names, by default the
    function itself if it is a module. TypeError for a result that is neither tensor, number, text nor a container.
    """
    recorder = Recorder(state_of(function if owner is None else owner))
    program = recorder.program
    leaves, program.arguments = tree_flatten((tuple(args), dict(kwargs or {})))
    passed = []
    for i, leaf in enumerate(leaves):
        if is_tensor(leaf):
            leaf = leaf.detach().clone().requires_grad_(leaf.requires_grad)
            recorder.add_input(leaf)
        else:
            program.fixed[i] = leaf
        passed.append(leaf)
    call_args, call_kwargs = program.arguments.unflatten(passed)
    with noting(recorder):
        returned = function(*call_args, **call_kwargs)
        results, program.returned = tree_flatten(returned)
        for leaf in results:
            if not (is_tensor(leaf) or leaf is None or isinstance(leaf, (bool, int, float, complex, str))):
                raise TypeError(
                    f"a recorded function may return tensors, numbers, text and containers of them, but this one "
                    f"returned a {type(leaf).__name__}"
                )
        program.outputs = [recorder.encoded(leaf) for leaf in results]
    program.dims = [{} for _ in program.inputs]
    return program, returned


def inputs_in(program: Program, args: tuple, kwargs: dict[str, Any] | None = None) -> list[Any]:
    """The tensors of a call's arguments, in the program's order.

    RuntimeError for arguments of another structure, or if what is no tensor differs from what was recorded.
    """
    leaves, spec = tree_flatten((tuple(args), dict(kwargs or {})))
    if spec != program.arguments:
        raise RuntimeError(
            f"the program was recorded for arguments of the structure {program.arguments}, but got {spec}"
        )
    tensors = []
    for i, leaf in enumerate(leaves):
        if i in program.fixed:
            if is_tensor(leaf) or leaf != program.fixed[i]:
                raise RuntimeError(
                    f"the program was recorded with {program.fixed[i]!r} for argument {i}, which is fixed now, but got "
                    f"{leaf!r}"
                )
        elif not is_tensor(leaf):
            raise RuntimeError(f"argument {i} was a tensor when the program was recorded, but got {leaf!r}")
        else:
            tensors.append(leaf)
    return tensors
