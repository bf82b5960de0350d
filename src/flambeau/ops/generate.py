"""The text of the code that an op's first call generates: its wrapper, and its node's backward.

Both are straight lines with a store or a test per tensor; nothing here runs per call.
"""

from __future__ import annotations

import dis
from typing import Any

from flambeau.autograd.runtime import NS
from flambeau.engines.kernels import CPU_KERNELS
from flambeau.ops.declare import INDEX, PLAIN, TENSOR, TENSORS, Op, Rule, define, parameter_list, renaming
from flambeau.ops.nodes import GeneralNode, OpNode


def wrapper_source(op: Op, ns: dict[str, Any], fallback: str = "GENERAL", watched: bool = True) -> str:
    """The wrapper's text; puts what it refers to into `ns`. Without `watched`, it pays no attention to watchers."""
    make_node_classes(op, ns)
    name = op.name
    ns["OP_" + name] = op
    ns["NODE_" + name] = op.node_class
    ns["COMPUTE_" + name] = op.compute
    arguments = ", ".join(op.parameters) + ("," if op.parameters else "")
    general = f"{fallback}(OP_{name}, ({arguments}), out)"
    lines = [f"def {name}({parameter_list(op)}):", *renaming(op)]
    if TENSORS in op.kinds or TENSOR not in op.kinds:
        lines.append(f"    return {general}")
        return "\n".join(lines) + "\n"
    asked = " or dtype is not None" if "dtype" in op.parameters else ""
    look = " or not PLAIN" if watched else ""
    lines += [f"    if out is not None{look}{asked}:", f"        return {general}"]
    lines += _unwrap(op, general)
    lines += _compute(op, ns)
    lines += _record(op)
    return "\n".join(lines) + "\n"


def _unwrap(op: Op, general: str) -> list[str]:
    lines: list[str] = []
    first = True
    for i, (name, kind) in enumerate(zip(op.parameters, op.kinds, strict=True)):
        if kind == PLAIN:
            continue
        test = f"if {name}.__class__ is Tensor or {name}.__class__ is Parameter:"
        inner = [f"a{i} = {name}._a"]
        if kind == TENSOR and not op.any_dtype:
            if first:
                inner += [f"d = a{i}.dtype", "if d is not F32 and d is not F64:", f"    return {general}"]
            else:
                inner += [f"if a{i}.dtype is not d:", f"    return {general}"]
        elif kind == TENSOR and not op.holomorphic:
            inner += [f"if a{i}.dtype.kind == 'c':", f"    return {general}"]
        if kind == INDEX or op.any_dtype:
            inner += [f"if a{i}.__class__ is not ndarray:", f"    return {general}"]  # no dtype tells a device's array
        lines += [f"    {test}", *(f"        {line}" for line in inner)]
        if op.optional[i]:
            lines += [f"    elif {name} is None:", f"        a{i} = None"]
        elif kind == TENSOR and op.numbers and not first:
            lines += [
                f"    elif {name}.__class__ is float or {name}.__class__ is int:",
                f"        kept_ = SINGLES.get({name}) if d is F32 else None",
                f"        {name} = kept_ if kept_ is not None else CONSTANT({name}, d)",
                f"        a{i} = {name}._a",
            ]
        lines += ["    else:", f"        return {general}"]
        if kind == TENSOR:
            first = False
    return lines


def _compute(op: Op, ns: dict[str, Any]) -> list[str]:
    values = [
        name if kind == PLAIN else f"a{i}" for i, (name, kind) in enumerate(zip(op.parameters, op.kinds, strict=True))
    ]
    direct = _direct_kernel(op)
    if direct is not None:
        ns["KERNEL_" + op.name] = direct
        call = f"KERNEL_{op.name}({', '.join(values)})"
    else:
        call = f"COMPUTE_{op.name}(K, {', '.join(op.passed(values))})"
    tensors = [n for n, kind in zip(op.parameters, op.kinds, strict=True) if kind != PLAIN]
    lines = [
        "    try:",
        f"        r = {call}",
        "    except (ValueError, TypeError) as error:",
        f"        raise FAILURE(OP_{op.name}, error, ({', '.join(tensors)},)) from None",
    ]
    if op.outputs == 1:
        lines += ["    if r.__class__ is not ndarray:", "        r = asarray(r)", "    t = NEW(Tensor)", "    t._a = r"]
        if op.view:
            i = op.kinds.index(TENSOR)
            lines += [f"    VIEW(t, {op.parameters[i]}, r, a{i})"]
    else:
        lines.append("    " + ", ".join(f"r{i}" for i in range(op.outputs)) + " = r")
        for i in range(op.visible):
            lines += [f"    t{i} = NEW(Tensor)", f"    t{i}._a = r{i} if r{i}.__class__ is ndarray else asarray(r{i})"]
    return lines


def _single_call(function: Any, count: int) -> tuple[str | None, tuple[int, ...]] | None:
    """What a body or rule of `count` operands does, where that is one kernel on its operands, or to return one of them.

    The kernel's name (None: an operand is returned) and the operands' positions; None for anything else.
    """
    if any(step.opcode in dis.hasjrel for step in dis.get_instructions(function)):
        return None  # a body with a choice in it does more than call a kernel
    seen: list[tuple[str, tuple]] = []

    class Probe:
        def __getattr__(self, name: str) -> Any:
            def call(*args: Any) -> Any:
                seen.append((name, args))
                return seen

            return call

    marks = [object() for _ in range(count)]
    try:
        result = function(Probe(), *marks)
    except Exception:
        return None  # the body looks at its operands: not a plain call
    name, args = (
        (None, (result,)) if not seen else (seen[0][0], seen[0][1]) if result is seen and len(seen) == 1 else (None, ())
    )
    places = tuple(marks.index(arg) for arg in args if arg in marks)
    return (name, places) if places and len(places) == len(args) else None


def _direct_kernel(op: Op) -> Any:
    """The kernel itself, where an op's body is nothing but a call of it with the op's parameters in order."""
    found = _single_call(op.compute, len(op.parameters))
    if found is None or found[0] is None or found[1] != tuple(range(len(op.parameters))):
        return None
    return CPU_KERNELS.find(found[0])


def _rule_call(op: Op, r: int, rule: Rule, values: list[str]) -> str:
    """The text of a rule's value: the kernel itself where the rule is nothing but a call of it."""
    found = _single_call(rule.function, len(values))
    if found is not None:
        name, places = found
        if name is None:
            return values[places[0]]
        kernel = CPU_KERNELS.find(name)
        if kernel is not None:
            NS[f"RULE_KERNEL_{op.name}_{r}"] = kernel
            return f"RULE_KERNEL_{op.name}_{r}({', '.join(values[i] for i in places)})"
    return f"RULE_{op.name}_{r}(K, {', '.join(values)})"


def differentiable(op: Op) -> list[tuple[int, str, Rule | None]]:
    """(position, name, rule) of the tensor parameters, in the order of the node's edges."""
    return [
        (i, name, op.rule_of.get(name))
        for i, (name, kind) in enumerate(zip(op.parameters, op.kinds, strict=True))
        if kind in (TENSOR, TENSORS)
    ]


def _record(op: Op) -> list[str]:
    targets = "t" if op.outputs == 1 else ", ".join(f"t{i}" for i in range(op.visible))
    if not op.rules:
        return [f"    return {targets}"]
    params = differentiable(op)
    lines = []
    edges, alive = [], []
    for i, name, rule in params:
        if rule is None:
            edges.append("None")
            continue
        fetch = f"{name}._node" if not op.optional[i] else f"None if {name} is None else {name}._node"
        lines.append(f"    n{i} = {fetch}")
        edges.append(f"{name} if n{i} is LEAF else n{i}")
        alive.append(f"n{i} is not None")
    lines.append(f"    if ({' or '.join(alive)}) and (RECORD or GRAD_ENABLED()):")
    body = [f"n = NODE_{op.name}()", f"n.edges = ({', '.join(edges)},)", "n.seq = TICK()"]
    for name in op.saves():
        body += _save(op, name, params)
    for what, store in (("shape", "sh"), ("dtype", "dt")):
        for i, name, _ in params:
            if any(f"{name}_{what}" in rule.takes for rule in op.rules):
                none = f"None if a{i} is None else " if op.optional[i] else ""
                body.append(f"n.{store}_{name} = {none}a{i}.{what}")
    if op.elementwise and len(params) > 1:
        body.append("size, ndim = r.size, r.ndim")
        for edge, (i, _, rule) in enumerate(params):
            if rule is not None:
                body += [
                    f"if n{i} is not None and (a{i}.size != size or a{i}.ndim != ndim or not size):",
                    f"    n.b{edge} = a{i}.shape",
                ]
    if op.outputs == 1:
        body.append("t._node = n")
    elif op.visible == 1:
        body.append("t0._node = n")
    else:
        body += [f"t{i}._node = Pick(n, {i})" for i in reversed(range(op.visible)) if i not in op.nondiff]
    lines += [f"        {line}" for line in body]
    lines.append(f"    return {targets}")
    return lines


def _save(op: Op, name: str, params: list[tuple[int, str, Rule | None]]) -> list[str]:
    """Stores for one thing that rules name, only where a rule that takes it will run."""
    users = [i for i, _, rule in params if rule is not None and name in rule.takes]
    always = len(users) == sum(rule is not None for _, _, rule in params)
    guard = "" if always else "if " + " or ".join(f"n{i} is not None" for i in users) + ": "
    if name.startswith("out") and name not in op.parameters:
        index = name[3:] or "0"
        target, value = ("t", "r") if op.outputs == 1 else ("t" + index, "r" + index)
        lines = [f"{guard}n.s_{name} = {value}"]
        if int(index) < op.visible:
            lines.append(f"{guard}{target}._cell = n.c_{name} = [0]")
        return lines
    kind = op.kinds[op.parameters.index(name)]
    if kind == INDEX:
        return [f"n.s_{name} = {name}"]
    return [f"{guard}n.s_{name} = {name}"]


def backward_source(op: Op, name: str = "run", kept: tuple[str, ...] = ()) -> str:
    """The text of `run(self, g)`: gradients on raw arrays for nodes of the straight path.

    As `last` it frees what the node has `kept`.
    """
    params = differentiable(op)
    lines = [f"def {name}(self, g):"]
    if any(op.optional[op.parameters.index(name)] for name in op.saves() if name in op.parameters):
        lines += ["    if self.freed:", "        raise FREED(self)"]  # what else is kept is None once freed
    lines.append("    " + ", ".join(f"e{i}" for i, _, _ in params) + ", = self.edges")
    for j in range(op.visible if op.visible > 1 else 0):
        if any(f"g{j}" in rule.takes for rule in op.rules):
            lines.append(f"    g{j} = g[{j}]")
    for i, _, _ in params:
        lines.append(f"    x{i} = None")
    for r, rule in enumerate(op.rules):
        mine = [i for i, name, used in params if used is rule]
        lines.append("    if " + " or ".join(f"e{i} is not None" for i in mine) + ":")
        fetch, values = [], []
        for name in rule.takes:
            got, value = _fetch(op, name, mine)
            fetch += got
            values.append(value)
        call = _rule_call(op, r, rule, values)
        targets = ", ".join(f"x{i}" for i in mine)
        lines += [f"        {line}" for line in fetch]
        lines.append(f"        {targets} = {call}")
        if op.elementwise and len(params) > 1:
            for edge, (i, _, _) in enumerate(params):
                if i in mine:
                    lines.append(f"        if self.b{edge} is not None:")
                    lines.append(f"            x{i} = SUM_TO_SHAPE(x{i}, self.b{edge})")
    lines += ["    self.freed = True"] if kept else []
    lines += [f"    self.{name} = None" for name in kept]
    lines.append("    return (" + ", ".join(f"x{i}" for i, _, _ in params) + ",)")
    return "\n".join(lines) + "\n"


def _fetch(op: Op, name: str, mine: list[int]) -> tuple[list[str], str]:
    if name == "g" or (name[0] == "g" and name[1:].isdigit()):
        return [], name
    if name == "needs":
        return [], "(" + ", ".join(f"e{i} is not None" for i in mine) + ",)"
    if name in op.parameters:
        i = op.parameters.index(name)
        kind = op.kinds[i]
        if kind == PLAIN:
            return [], f"self.s_{name}"
        test = "t is not None and t._stamp > self.seq" if op.optional[i] else "t._stamp > self.seq"
        lines = [f"t = self.s_{name}"]
        lines += [] if op.optional[i] else ["if t is None:", "    raise FREED(self)"]
        lines += [f"if {test}:", f"    raise MODIFIED(self, '{name}', t)"]
        lines.append(f"v{i} = None if t is None else t._a" if op.optional[i] else f"v{i} = t._a")
        return lines, f"v{i}"
    if name.endswith("_shape"):
        return [], f"self.sh_{name[:-6]}"
    if name.endswith("_dtype"):
        return [], f"self.dt_{name[:-6]}"
    index = int(name[3:] or 0)
    lines = [f"{name} = self.s_{name}", f"if {name} is None:", "    raise FREED(self)"]
    if index < op.visible:
        lines += [f"if self.c_{name}[0] > self.seq:", f"    raise MODIFIED(self, 'its result', {name})"]
    return lines, name


class _Written:
    """A method of a node class whose code is generated when it is first asked for, and then stands in its place."""

    def __init__(self, op: Op, name: str, kept: tuple[str, ...]) -> None:
        self.op, self.name, self.kept = op, name, kept

    def __get__(self, node: Any, cls: type) -> Any:
        text = backward_source(self.op, self.name, self.kept)
        function = define(text, self.name, f"<flambeau backward {self.op.name}>")
        setattr(self.op.node_class, self.name, function)
        return function if node is None else function.__get__(node, cls)


def make_node_classes(op: Op, ns: dict[str, Any]) -> None:
    """Makes the op's node class with its generated `run`, and the general twin."""
    if op.node_class is not None:
        return
    body: dict[str, Any] = {"op": op, "outputs": op.visible, "__module__": "flambeau.autograd"}
    if op.shown_as is not None:
        body["shown_as"] = staticmethod(op.shown_as)
    for edge in range(len(differentiable(op))):
        body[f"b{edge}"] = None
    body["kept"] = tuple(
        "s_" + name for name in op.saves() if name not in op.parameters or op.kinds[op.parameters.index(name)] != PLAIN
    )
    if body["kept"]:
        stores = "".join(f"    self.{name} = None\n" for name in body["kept"])
        body["release"] = define(
            f"def release(self):\n    self.freed = True\n{stores}", "release", f"<flambeau release {op.name}>"
        )
    slow = dict(body)
    if op.rules and not op.kinds.count(TENSORS):
        for r, rule in enumerate(op.rules):
            ns[f"RULE_{op.name}_{r}"] = rule.function
        body["run"] = _Written(op, "run", ())
        body["last"] = _Written(op, "last", body["kept"])
    op.node_class = type(op.grad_name, (OpNode,), body)
    op.slow_class = type(op.grad_name, (GeneralNode,), slow)
