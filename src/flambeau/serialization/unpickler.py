"""An unpickler that runs no code.

A pickle is a program for a small stack machine, and Python's own machine calls whatever function the program names.
This one knows a closed list of names. Only these can be called, made instances of, or given a state; a pickle that
names anything else is refused before anything of it is imported. What it may cost is bounded by its length: memory,
because what calls may copy is counted; time, because keys must be cheap to hash and may not all have one hash.
"""

from __future__ import annotations

import struct
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO

from flambeau.errors import CheckpointError, EmptyCheckpointError

__all__ = ["Unpickler", "global_names"]

_DICTS = (dict, OrderedDict, Counter)
_SIZED = (str, bytes, bytearray, tuple, list, dict, set, frozenset)
#: What Python 2 called them, and pickles of protocol 2 still do.
_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}
#: What calls may copy: each thing that a pickle writes once, and some on top.
_COPIES, _COPIES_FREE = 3, 1 << 16
#: Of how many parts the key of a dict may be made, and how many keys of one dict may share a hash.
_KEY_PARTS, _KEYS_ALIKE = 1000, 1000


class _Mark:
    """Where the arguments of an instruction begin on the stack."""


class Unpickler:
    """Reads one pickle from `file`, from where it stands up to the pickle's end.

    Args:
        file: a binary file with `read` and `readline`.
        find_global: gives what a name such as `"torch.Size"` stands for, or None to refuse it.
        callables: those of the named things that the pickle may call.
        classes: those that the user vouched for: their instances may be made and given a state as usual.
        length: how many bytes the pickle can have at most.
        persistent_load: gives the object that a persistent id, such as that of a storage, stands for.

    Raises:
        CheckpointError: for a name that is refused, and for anything that is no sound pickle.
    """

    def __init__(
        self,
        file: BinaryIO,
        find_global: Callable[[str], Any],
        callables: set[int],
        length: int,
        classes: tuple[type, ...] = (),
        persistent_load: Callable[[Any], Any] | None = None,
        encoding: str = "utf-8",
    ) -> None:
        self._file = file
        self._find_global = find_global
        self._callables = callables
        self._classes = classes
        self._persistent_load = persistent_load
        self._encoding = encoding
        self._length = length
        self._copies = _COPIES * length + _COPIES_FREE
        self._hashes: dict[int, Counter[int]] = {}
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def load(self) -> Any:
        """The object that the pickle describes."""
        read, steps = self._file.read, _STEPS
        try:
            while True:
                code = read(1)
                if not code:
                    raise EmptyCheckpointError("Ran out of input: the pickle has no end")
                if code == b".":
                    return self.stack.pop()
                step = steps.get(code)
                if step is None:
                    raise CheckpointError(
                        f"instruction {code!r} is not one that data needs, or this is no pickle; if you trust the "
                        "file, load it with weights_only=False"
                    )
                step(self)
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, struct.error) as error:
            raise CheckpointError(f"the pickle is damaged or not of this kind: {str(error)[:200]}") from error

    # --- helpers ---------------------------------------------------------------------------------------------------

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        data = self._file.read(size) if 0 <= size <= self._length else b""
        if len(data) != size:
            raise CheckpointError(f"the pickle was cut short: {size} bytes were expected, {len(data)} came")
        return data

    def number(self, layout: str) -> Any:
        """The next number, of the given `struct` layout."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def line(self) -> str:
        """The next line of text."""
        return self._file.readline()[:-1].decode("utf-8")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def since_mark(self) -> list[Any]:
        """Take what lies above the last mark, and the mark."""
        stack = self.stack
        at = len(stack) - 1
        while stack[at] is not _Mark:
            at -= 1
            if at < 0:
                raise CheckpointError("the pickle is damaged: an instruction has no mark to go back to")
        found = stack[at + 1 :]
        del stack[at:]
        return found

    def spend(self, args: Iterable[Any]) -> None:
        """Account for a call that may copy its arguments."""
        self._copies -= 16 + sum(len(arg) for arg in args if isinstance(arg, _SIZED))
        if self._copies < 0:
            raise CheckpointError("the pickle copies the same data over and over: it is a trap, no checkpoint")

    def check_keys(self, target: Any, keys: Iterable[Any]) -> None:
        """Refuse keys that would take forever to hash or to tell from each other."""
        for key in keys:
            kind = type(key)
            if kind is str or kind is bytes or kind is float or (kind is int and key.bit_length() <= 64):
                continue
            parts, waiting = 0, [key]
            while waiting and parts <= _KEY_PARTS:
                part = waiting.pop()
                parts += 1
                if isinstance(part, tuple):
                    waiting.extend(part[: _KEY_PARTS + 1])
            if parts > _KEY_PARTS:
                raise CheckpointError(f"the pickle has a key of more than {_KEY_PARTS} parts")
            seen = self._hashes.setdefault(id(target), Counter())
            seen[hash(key)] += 1
            if seen[hash(key)] > _KEYS_ALIKE:
                raise CheckpointError("the pickle has keys that all have the same hash: it is a trap, no checkpoint")

    # --- names and calls -------------------------------------------------------------------------------------------

    def named(self, module: str, name: str) -> None:
        full = f"{_RENAMED.get(module, module)}.{name}"
        found = self._find_global(full)
        if found is None:
            raise CheckpointError(
                f"the pickle asks for the global {full}, which is not among those that data may name. If you trust it, "
                f"allow it with flambeau.serialization.add_safe_globals([{name}]) or the context manager "
                "safe_globals, or load the file with weights_only=False, which lets it run any code"
            )
        self.push(found)

    def stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise CheckpointError("the pickle is damaged: a global's name must be text")
        self.named(module, name)

    def call(self) -> None:
        args, function = self.stack.pop(), self.stack.pop()
        if id(function) not in self._callables or type(args) is not tuple:
            raise CheckpointError(f"the pickle calls {_name(function)}, which data has no need to call")
        self.spend(args)
        if function in _KEYED:
            self.check_keys(args, _KEYED[function](*args))
        self.push(function(*args))

    def new(self, keywords: bool = False) -> None:
        kwargs = self.stack.pop() if keywords else {}
        args, cls = self.stack.pop(), self.stack.pop()
        known = id(cls) in self._callables and isinstance(cls, type)
        if not known or type(args) is not tuple:
            raise CheckpointError(f"the pickle makes an instance of {_name(cls)}, which data has no need of")
        self.spend(args)
        if cls in _KEYED and cls not in self._classes:
            self.check_keys(args, _KEYED[cls](*args, **kwargs))
        self.push(cls.__new__(cls, *args, **kwargs) if cls in self._classes else cls(*args, **kwargs))

    def build(self) -> None:
        state, instance = self.stack.pop(), self.stack[-1]
        if type(instance) is OrderedDict:
            instance.__dict__.update(_plain_state(state))
        elif type(instance) in self._classes:
            _set_state(instance, state)
        else:
            raise CheckpointError(f"the pickle gives a state to a {type(instance).__name__}, which takes none")

    def persistent(self) -> None:
        if self._persistent_load is None:
            raise CheckpointError("the pickle refers to data outside of it, but there is none")
        self.push(self._persistent_load(self.stack.pop()))

    # --- containers ------------------------------------------------------------------------------------------------

    def append(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is list:
            target.extend(values)
        elif type(target) in self._classes:
            for value in values:
                target.append(value)
        else:
            raise CheckpointError(f"the pickle appends to a {type(target).__name__}; only lists take that")

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) not in _DICTS and type(target) not in self._classes:
            raise CheckpointError(f"the pickle sets items of a {type(target).__name__}; only dicts take that")
        self.check_keys(target, items[::2])
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[key] = value

    def pairs(self, items: list[Any]) -> None:
        self.push({})
        self.set_items(items)

    def frozen(self, items: list[Any]) -> None:
        self.check_keys(items, items)
        self.push(frozenset(items))

    def add_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not set:
            raise CheckpointError(f"the pickle adds items to a {type(target).__name__}; only sets take that")
        self.check_keys(target, items)
        target.update(items)

    def text(self, data: bytes) -> None:
        """Push a string of Python 2: text in the encoding asked for, or bytes."""
        self.push(data if self._encoding == "bytes" else data.decode(self._encoding))


def _name(thing: Any) -> str:
    return getattr(thing, "__qualname__", None) or f"a {type(thing).__name__}"


def _plain_state(state: Any) -> dict[str, Any]:
    if type(state) is not dict or not all(type(key) is str and key[:2] != "__" for key in state):
        raise CheckpointError("the pickle gives an OrderedDict attributes that are none")
    return state


def _set_state(instance: Any, state: Any) -> None:
    """What `pickle` does with a state; only for classes that the user vouched for."""
    setstate = getattr(instance, "__setstate__", None)
    if setstate is not None:
        setstate(state)
        return
    attributes, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    if attributes:
        instance.__dict__.update(attributes)
    for name, value in (slots or {}).items():
        setattr(instance, name, value)


def _integer(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


def _text_integer(line: str) -> int | bool:
    return {"00": False, "01": True}[line] if line in ("00", "01") else int(line.rstrip("L"))


def _proto(u: Unpickler) -> None:
    version = u.take(1)[0]
    if version > 5:
        raise CheckpointError(f"the pickle is of protocol {version}, which nobody knows")


def _keys(items: Any = ()) -> list[Any]:
    if type(items) not in (list, tuple, set, frozenset):
        raise TypeError("a set is made from a list")
    return list(items)


def _keys_of_pairs(items: Any = ()) -> list[Any]:
    if type(items) not in (list, tuple, dict) or not all(type(pair) in (list, tuple) for pair in _unless_dict(items)):
        raise TypeError("an OrderedDict is made from a list of pairs")
    return [pair[0] for pair in _unless_dict(items)]


def _unless_dict(items: Any) -> Any:
    return () if type(items) is dict else items  # whose keys were checked when it was filled


def _keys_counted(items: Any = None) -> list[Any]:
    if items is not None and type(items) is not dict:
        raise TypeError("a Counter is made from a dict")
    return []


#: How to find, among the arguments of what makes containers, the things that will be hashed.
_KEYED: dict[Any, Callable[..., list[Any]]] = {
    set: _keys,
    frozenset: _keys,
    OrderedDict: _keys_of_pairs,
    Counter: _keys_counted,
}


def _tuple_of(size: int) -> Callable[[Unpickler], None]:
    def step(u: Unpickler) -> None:
        if len(u.stack) < size:
            raise IndexError("the stack is too short for a tuple")
        u.stack[-size:] = [tuple(u.stack[-size:])]

    return step


def _memo_put(u: Unpickler, key: int) -> None:
    u.memo[key] = u.stack[-1]


def _pop_pair(u: Unpickler) -> list[Any]:
    pair = u.stack[-2:]
    del u.stack[-2:]
    return pair


_STEPS: dict[bytes, Callable[[Unpickler], Any]] = {
    # structure
    b"\x80": _proto,
    b"\x95": lambda u: u.take(8),
    b"(": lambda u: u.push(_Mark),
    b"0": lambda u: u.stack.pop(),
    b"1": lambda u: u.since_mark(),
    b"2": lambda u: u.push(u.stack[-1]),
    # constants
    b"N": lambda u: u.push(None),
    b"\x88": lambda u: u.push(True),
    b"\x89": lambda u: u.push(False),
    b"I": lambda u: u.push(_text_integer(u.line())),
    b"L": lambda u: u.push(_text_integer(u.line())),
    b"J": lambda u: u.push(u.number("<i")),
    b"K": lambda u: u.push(u.take(1)[0]),
    b"M": lambda u: u.push(u.number("<H")),
    b"\x8a": lambda u: u.push(_integer(u.take(u.take(1)[0]))),
    b"\x8b": lambda u: u.push(_integer(u.take(u.number("<i")))),
    b"F": lambda u: u.push(float(u.line())),
    b"G": lambda u: u.push(u.number(">d")),
    b"T": lambda u: u.text(u.take(u.number("<i"))),
    b"U": lambda u: u.text(u.take(u.take(1)[0])),
    b"V": lambda u: u.push(u.line().encode("latin-1").decode("raw-unicode-escape")),
    b"X": lambda u: u.push(u.take(u.number("<I")).decode("utf-8", "surrogatepass")),
    b"\x8c": lambda u: u.push(u.take(u.take(1)[0]).decode("utf-8", "surrogatepass")),
    b"\x8d": lambda u: u.push(u.take(u.number("<Q")).decode("utf-8", "surrogatepass")),
    b"B": lambda u: u.push(u.take(u.number("<I"))),
    b"C": lambda u: u.push(u.take(u.take(1)[0])),
    b"\x8e": lambda u: u.push(u.take(u.number("<Q"))),
    b"\x96": lambda u: u.push(bytearray(u.take(u.number("<Q")))),
    # containers
    b")": lambda u: u.push(()),
    b"t": lambda u: u.push(tuple(u.since_mark())),
    b"\x85": _tuple_of(1),
    b"\x86": _tuple_of(2),
    b"\x87": _tuple_of(3),
    b"]": lambda u: u.push([]),
    b"l": lambda u: u.push(u.since_mark()),
    b"a": lambda u: u.append([u.stack.pop()]),
    b"e": lambda u: u.append(u.since_mark()),
    b"}": lambda u: u.push({}),
    b"d": lambda u: u.pairs(u.since_mark()),
    b"s": lambda u: u.set_items(_pop_pair(u)),
    b"u": lambda u: u.set_items(u.since_mark()),
    b"\x8f": lambda u: u.push(set()),
    b"\x90": lambda u: u.add_items(u.since_mark()),
    b"\x91": lambda u: u.frozen(u.since_mark()),
    # memory
    b"p": lambda u: _memo_put(u, int(u.line())),
    b"q": lambda u: _memo_put(u, u.take(1)[0]),
    b"r": lambda u: _memo_put(u, u.number("<I")),
    b"\x94": lambda u: _memo_put(u, len(u.memo)),
    b"g": lambda u: u.push(u.memo[int(u.line())]),
    b"h": lambda u: u.push(u.memo[u.take(1)[0]]),
    b"j": lambda u: u.push(u.memo[u.number("<I")]),
    # names and calls
    b"c": lambda u: u.named(u.line(), u.line()),
    b"\x93": lambda u: u.stack_global(),
    b"R": lambda u: u.call(),
    b"\x81": lambda u: u.new(),
    b"\x92": lambda u: u.new(keywords=True),
    b"b": lambda u: u.build(),
    b"Q": lambda u: u.persistent(),
}


class _Names(Unpickler):
    """Walks through a pickle and only writes down the names it asks for."""

    def __init__(self, file: BinaryIO, length: int) -> None:
        super().__init__(file, lambda name: None, set(), length)
        self.found: set[str] = set()

    def named(self, module: str, name: str) -> None:
        self.found.add(f"{_RENAMED.get(module, module)}.{name}")
        self.push(None)

    def call(self) -> None:
        self.stack[-2:] = [None]

    def new(self, keywords: bool = False) -> None:
        self.stack[-3 if keywords else -2 :] = [None]

    def build(self) -> None:
        self.stack.pop()

    def persistent(self) -> None:
        self.stack[-1] = None

    def append(self, values: list[Any]) -> None:
        """Containers stay empty: only names are wanted."""

    def set_items(self, items: list[Any]) -> None:
        """Containers stay empty: only names are wanted."""

    def add_items(self, items: list[Any]) -> None:
        """Containers stay empty: only names are wanted."""

    def frozen(self, items: list[Any]) -> None:
        self.push(None)


def global_names(data: bytes) -> set[str]:
    """The names that a pickle asks for; nothing of it is run."""
    import io

    walk = _Names(io.BytesIO(data), len(data))
    walk.load()
    return walk.found


class _Outside:
    """Stands for what lies in a record of the archive."""

    def __init__(self, key: str) -> None:
        self.key = key


class _Places(Unpickler):
    """Builds the containers only, with marks where tensors would be."""

    def call(self) -> None:
        args = self.stack[-1]
        waiting = list(args) if type(args) is tuple else []
        for part in waiting[:50]:
            if isinstance(part, tuple):
                waiting.extend(part)
            if isinstance(part, _Outside):
                self.stack[-2:] = [part]
                return
        super().call()

    def build(self) -> None:
        self.stack.pop()

    def persistent(self) -> None:
        saved = self.stack.pop()
        self.push(_Outside(saved[2]))


def place_of(data: bytes, key: str, find_global: Callable[[str], Any], callables: set[int]) -> str | None:
    """Where, in the containers that a pickle describes, a tensor stands that lies in a record: keys, with dots."""
    import io

    try:
        root = _Places(io.BytesIO(data), find_global, callables, len(data)).load()
    except (CheckpointError, LookupError, TypeError):
        return None
    waiting: list[tuple[Any, tuple]] = [(root, ())]
    seen: set[int] = set()
    for thing, path in waiting:
        if isinstance(thing, _Outside) and thing.key == key:
            return ".".join(str(part)[:80] for part in path) or None
        if id(thing) not in seen and len(path) < 40:
            seen.add(id(thing))
            numbered = thing if type(thing) in (list, tuple) else ()
            items = thing.items() if isinstance(thing, dict) else enumerate(numbered)
            waiting.extend((item, (*path, name)) for name, item in items)
    return None
