"""A program without writes: what was written in place becomes new values, for formats that know no memory.

A write into a view puts the new part into what the view shows, up to the memory's owner. A view that is read after its
memory was written is made again from the new value.
"""

from __future__ import annotations

from typing import Any

from flambeau.export.program import DETACH, WRITE, Call, Program, Ref, Value, refs_in, replaced

#: A copy of the first operand with the second one at a basic index (the third).
PUT = "put"
_RESHAPES = ("view_op", "reshape", "unsqueeze", "squeeze_op")
_SAME = (DETACH, "contiguous_op", "index_alias", "alias", "clone_op")
_INDEXED = ("index_slice", "index_select_at", "index_unsqueeze", "basic_index")


class NotFunctional(RuntimeError):
    """A write that can't be told as a new value."""


def functional(program: Program) -> Program:
    """The program without writes, and without calls that nothing needs.

    NotFunctional (a RuntimeError) for writes into parameters and buffers, and through views that show no plain part.
    """
    result = _Rewriter(program).run()
    _drop_unused(result)
    return result


class _Rewriter:
    def __init__(self, program: Program) -> None:
        self.old = program
        self.new = Program()
        self.new.inputs, self.new.state = list(program.inputs), dict(program.state)
        self.new.constants, self.new.fixed = dict(program.constants), program.fixed
        self.new.arguments, self.new.returned, self.new.dims = program.arguments, program.returned, program.dims
        self.new.values = list(program.values)
        self.maker = {n: c for c in program.calls for n in c.results}
        # where the present value of an old one is, and of which version of its memory
        self.current: dict[int, int] = {n: n for n in (*program.inputs, *program.state.values(), *program.constants)}
        self.seen: dict[int, int] = {}
        self.version: dict[int, int] = {}
        self.state = {number: name for name, number in program.state.items()}

    def run(self) -> Program:
        for call in self.old.calls:
            if call.op == WRITE:
                self._write(call)
                continue
            args = replaced(call.args, self._read)
            self.new.calls.append(call._replace(args=args))
            for number in call.results:
                self.current[number] = number
                self.seen[number] = self.version.get(self._root(number), 0)
        self.new.outputs = replaced(self.old.outputs, self._read)
        return self.new

    def _root(self, number: int) -> int:
        while number in self.old.aliases:
            number = self.old.aliases[number]
        return number

    def _read(self, ref: Ref) -> Ref:
        return type(ref)(self._present(ref.number))

    def _present(self, number: int) -> int:
        """The number of the present value; a view whose memory was written since is made again."""
        root = self._root(number)
        version = self.version.get(root, 0)
        if number != root and self.seen.get(number, 0) != version:
            call = self.maker[number]
            parent = self._present(self.old.aliases[number])
            fresh = self._value(number)
            args = replaced(call.args, lambda r: Ref(parent) if r.number == self.old.aliases[number] else self._read(r))
            self.new.calls.append(Call(call.op, args, (fresh,), call.where))
            self.current[number], self.seen[number] = fresh, version
        return self.current[number]

    def _value(self, like: int) -> int:
        self.new.values.append(self.old.values[like])
        return len(self.new.values) - 1

    def _add(self, op: str, args: tuple, like: Value, where: str) -> int:
        self.new.values.append(like)
        number = len(self.new.values) - 1
        self.new.calls.append(Call(op, args, (number,), where))
        return number

    def _write(self, call: Call) -> None:
        target, source = call.args[0].number, call.args[1]
        root = self._root(target)
        if root in self.state:
            raise NotFunctional(
                f"the model writes into its buffer or parameter {self.state[root]!r} ({call.where}); put it into "
                "eval() first"
            )
        value = self._as(self._present(source.number), self.old.values[target], call.where)
        self.version[root] = self.version.get(root, 0) + 1
        number = target
        while number != root:
            self.current[number], self.seen[number] = value, self.version[root]
            parent = self.old.aliases[number]
            value = self._put(parent, self.maker[number], value, call.where)
            number = parent
        self.current[root] = value

    def _as(self, number: int, want: Value, where: str) -> int:
        """A value in the type and shape of another."""
        have = self.new.values[number]
        if have.dtype != want.dtype:
            number = self._add("to_numpy_dtype", (Ref(number), want.dtype), Value(have.shape, want.dtype), where)
        if have.shape != want.shape:
            number = self._add("expand_op", (Ref(number), want.shape), want, where)
        return number

    def _put(self, parent: int, view: Call, value: int, where: str) -> int:
        """What the parent of a view is after `value` was written into the view."""
        whole = self.old.values[parent]
        op, args = view.op, view.args[1:]
        rank = len(whole.shape)
        if op in _SAME:
            return value
        if op in _RESHAPES:
            return self._add("reshape", (Ref(value), whole.shape), whole, where)
        if op in ("transpose", "t"):
            dims = args if op == "transpose" else (0, 1)
            return self._add("transpose", (Ref(value), *dims), whole, where) if rank > 1 else value
        if op == "permute":
            back = sorted(range(rank), key=lambda i: args[0][i] % rank)
            return self._add("permute", (Ref(value), tuple(back)), whole, where)
        index: Any = None
        if op == "slice":
            dim, start, stop, step = args
            index = (*[slice(None)] * (dim % rank), slice(start, stop, step))
        elif op == "select":
            index = (*[slice(None)] * (args[0] % rank), args[1])
        elif op in _INDEXED:
            index = args[0] if isinstance(args[0], tuple) else (args[0],)
        if index is None:
            raise NotFunctional(
                f"a write goes through a view that {op} made ({where}); write into the tensor itself, or into a slice"
            )
        return self._add(PUT, (Ref(self._unwritten(parent)), Ref(value), index), whole, where)

    def _unwritten(self, number: int) -> int:
        """The value of a parent before the write that is under way, which its views do not show yet."""
        root = self._root(number)
        self.version[root] -= 1
        try:
            return self._present(number)
        finally:
            self.version[root] += 1


def _drop_unused(program: Program) -> None:
    needed = {r.number for r in refs_in(program.outputs)}
    kept = []
    for call in reversed(program.calls):
        if any(n in needed for n in call.results):
            kept.append(call)
            needed.update(r.number for r in refs_in(call.args))
    program.calls = kept[::-1]
    program.constants = {n: c for n, c in program.constants.items() if n in needed}
    program.state = {name: n for name, n in program.state.items() if n in needed}
