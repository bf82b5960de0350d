"""The general path of every op: what the straight path in generated code leaves out.

Python numbers, other dtypes and their promotion, low precision, complex numbers, sequences of tensors, `out=`,
subclasses with `__torch_function__`, anomaly mode, saved-tensor hooks, and the errors for operands of a wrong type.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.autograd.graph import Pick
from flambeau.autograd.runtime import LEAF, NS, no_grad, thread, tick
from flambeau.autograd.views import make_view, mark_inference, view_if_shared
from flambeau.devices import CPU, require
from flambeau.devices import default as default_device
from flambeau.engines.arrays import FOREIGN, as_array, is_array, move, visible
from flambeau.errors import describe_all
from flambeau.ops.asking import call_modes, call_overrides, overrides
from flambeau.ops.declare import INDEX, PLAIN, TENSOR, TENSORS, Op, define
from flambeau.ops.generate import make_node_classes, wrapper_source
from flambeau.ops.placing import bare, engine_of, wrap

NUMBER = (bool, int, float, complex, np.generic)


_singles: dict[Any, Any] = {}  # those of float32 by their value alone: 0 and -0 are equal, so neither is here
_constants: dict[tuple[Any, np.dtype, bool], Any] = {}


def constant(value: Any, d: np.dtype) -> Any:
    """The zero-dim tensor of a Python number, kept for the next time; never shown to a program."""
    key = (value, d, value == 0 and str(value)[0] == "-")
    found = _constants.get(key)
    if found is None:
        if len(_constants) > 4096:
            _constants.clear()
            _singles.clear()
        with np.errstate(over="ignore"):
            found = _constants[key] = wrap(np.array(_fitting(value, d), dtype=d))
        if value and d == np.float32:
            _singles[value] = found
    return found


def _fitting(value: Any, d: np.dtype) -> Any:
    """An integer within the limits of `d`: unsigned types wrap negative ones around, what is too large is refused."""
    if d.kind not in "iu" or value.__class__ is not int:
        return value
    limits = np.iinfo(d)
    if limits.min <= value <= limits.max:
        return value
    if d.kind == "u" and -limits.max <= value < 0:
        return value % (limits.max + 1)
    raise RuntimeError(f"the value {value} does not fit into {dtypes.of_numpy(d)}: it has {limits.min} to {limits.max}")


NS["CONSTANT"] = constant
NS["SINGLES"] = _singles


def failure(op: Op, error: Exception, operands: Sequence[Any]) -> Exception:
    """The RuntimeError (IndexError for an axis, NotImplementedError for a dtype) for what NumPy refused."""
    if isinstance(error, (np.exceptions.AxisError, IndexError)):
        return IndexError(f"{op.name}(): dimension out of range: {error}")
    if isinstance(error, TypeError) and not _refused_by_numpy(error):
        return error
    names = [n for n, kind in zip(op.parameters, op.kinds, strict=True) if kind != PLAIN]
    if isinstance(error, TypeError) and "boolean" not in str(error):
        return NotImplementedError(f"{op.name}() is not there for these dtypes: {describe_all(names, operands)}")
    return RuntimeError(f"{op.name}(): {error} (got {describe_all(names, operands)})")


NS["FAILURE"] = failure


def _refused_by_numpy(error: TypeError) -> bool:
    """Whether a ufunc has no loop for a dtype, such as `-` for bools."""
    text = str(error)
    return type(error).__module__.startswith("numpy") or "numpy boolean" in text or text.startswith("ufunc ")


#: What casts the operands of ops, by their names, while autocasting is on somewhere (`autocast`).
autocasts: dict[str, Callable[[tuple], tuple]] = {}

#: What runs operations in place of `general`, the innermost last; each is called as `mode(op, args)`.
modes: list[Callable[[Op, tuple], Any]] = []


def general(op: Op, args: tuple, out: Any = None) -> Any:
    """Runs `op` on any operands, and records it."""
    if autocasts and out is None and op.name in autocasts:
        args = autocasts[op.name](args)
    if modes and out is None:
        mode = modes.pop()
        try:
            return mode(op, args)
        finally:
            modes.append(mode)
    if thread.inference and out is None and not (thread.grad or NS["PLAIN"] or op.keywords):
        return _infer(op, args)
    return _generally(op, args, out)


def _generally(op: Op, args: tuple, out: Any = None) -> Any:
    if NS["LEVELS"]:  # vmap or forward mode is at work
        result = NS["LAYERED"](op, args, out)
        if result is not None:
            return result
    if overrides.functions:
        passed, named = _as_called(op, args)
        return call_modes(op.function, passed, named if out is None else {**named, "out": out})  # type: ignore[attr-defined]
    if not overrides.off:
        handler = find_override(op, args)
        if handler is not None:
            return handler
    if out is not None:
        return write_out(op, args, out)
    make_node_classes(op, NS)
    if op.no_bool:
        _refuse_bool(op, args)
    tensors, _ = run_plain(op, *_operands(op, args))
    return tensors[0] if op.visible == 1 else tuple(tensors)


NS["GENERAL"] = general
NS["GENERALLY"] = _generally


def run_plain(op: Op, values: list[Any], dtype: dtypes.dtype | None) -> tuple[list[Any], Any]:
    """Runs `op` on tensors of arrays and records it: its tensors, and all that its body returned."""
    engine = engine_of(op, values) if FOREIGN else None
    arrays = _arrays(op, values, dtype)
    try:
        capture = NS["CAPTURE"]
        if engine is not None:
            results = engine.run_op(op, arrays)
        else:
            results = op.run(NS["K"], arrays) if capture is None else capture.op(op, arrays)
    except (ValueError, TypeError, OverflowError) as error:
        shown = [v for v, kind in zip(values, op.kinds, strict=True) if kind != PLAIN]
        raise failure(op, error, shown) from None
    tensors = _wrap_results(op, results, values, arrays, dtype)
    if thread.inference:
        for t in tensors:
            if t._base is None:
                mark_inference(t)
    elif op.rules and thread.grad:
        _record(op, values, arrays, tensors, results, dtype)
    return tensors, results


@functools.cache
def _straight(op: Op) -> Any:
    """The op's wrapper once more, for a thread in inference mode: watchers, its own among them, see nothing of it."""
    return define(wrapper_source(op, NS, "GENERALLY", watched=False), op.name, f"<flambeau op {op.name} unwatched>")


def checks_values(function: Callable) -> Callable:
    """For functions that refuse operands by their values and return nothing: a compiled step checks at every replay."""

    @functools.wraps(function)
    def wrapper(*args: Any) -> None:
        capture = NS["CAPTURE"]
        if FOREIGN and not all(visible(getattr(a, "_a", a)) for a in args):
            return
        if capture is None:
            function(*args)
        else:
            capture.check(function, args)

    return wrapper


def one_call(function: Callable) -> Callable:
    """For functions on arrays that look at values: a compiled step makes the whole call again at every replay.

    The shapes of its results must not depend on values.
    """

    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        capture = NS["CAPTURE"]
        return function(*args) if capture is None else capture.again(function, args)

    return wrapper


def one_write(function: Callable) -> Callable:
    """The same for a function that returns nothing and writes into the array that is its first argument."""

    @functools.wraps(function)
    def wrapper(*args: Any) -> None:
        capture = NS["CAPTURE"]
        if capture is None:
            function(*args)
        else:
            capture.again(function, args, args[:1])

    return wrapper


def _infer(op: Op, args: tuple) -> Any:
    """An op in inference mode: nothing is recorded, so the straight path will do; its results are marked."""
    result = _straight(op)(*args)
    for t in result if result.__class__ is tuple else (result,):
        if isinstance(t, NS["Tensor"]) and t._base is None:
            mark_inference(t)
    return result


def operator(op: Op, args: tuple, out: Any = None) -> Any:
    """`general` for Python's operators: an operand of a foreign type gets its own say."""
    if out is None and len(args) == 2 and op.elementwise is True and NS["PLAIN"]:
        found = _integers(op, *args)
        if found is not None:
            return found
    if isinstance(args[0], NUMBER):
        raise _wrong_type(op, 0, args[0])
    for value, kind in zip(args, op.kinds, strict=True):
        if kind == TENSOR and not isinstance(value, (NS["Tensor"], *NUMBER)):
            if op.name == "eq" and isinstance(value, np.ndarray):
                return general(op, tuple(wrap(a) if isinstance(a, np.ndarray) else a for a in args), out)
            if overrides.off or not hasattr(type(value), "__torch_function__"):
                return NotImplemented
    return general(op, args, out)


NS["OPERATOR"] = operator


def _integers(op: Op, x: Any, y: Any) -> Any:
    """The quick way for integers of one dtype, which need no promotion and record nothing; None for all else."""
    cls = NS["Tensor"]
    if x.__class__ is not cls or x._a.dtype.kind not in "iu" or x._a.__class__ is not np.ndarray:
        return None
    d = x._a.dtype
    if y.__class__ is cls and y._a.dtype is d and y._a.__class__ is np.ndarray:
        b = y._a
    elif y.__class__ is int:
        b = constant(y, d)._a
    else:
        return None
    try:
        return wrap(op.compute(NS["K"], x._a, b))
    except (ValueError, TypeError):
        return None  # told by the general way


def _refuse_bool(op: Op, args: tuple) -> None:
    for value in args:
        if isinstance(value, bool) or (isinstance(value, NS["Tensor"]) and value._a.dtype == bool):
            raise RuntimeError(
                f"{op.name}(): bool operands can't be subtracted: use ~ to invert a mask, ^ for a difference of "
                "masks, or convert with .int()"
            )


def _operands(op: Op, args: tuple) -> tuple[list[Any], dtypes.dtype | None]:
    """The operands as tensors, and the dtype that they are computed in."""
    values = list(args)
    tensor_class = NS["Tensor"]
    full: list[dtypes.dtype] = []
    zero_dim: list[dtypes.dtype] = []
    scalars: list[dtypes.dtype] = []
    numbers: list[int] = []
    for i, (value, kind) in enumerate(zip(args, op.kinds, strict=True)):
        if kind == PLAIN:
            continue
        if kind == TENSORS:
            values[i] = value = _sequence(op, i, value)
            for t in value:
                (full if t._a.ndim else zero_dim).append(dtypes.of_numpy(t._a.dtype))
            continue
        if isinstance(value, tensor_class):
            if kind == TENSOR:
                (full if value._a.ndim else zero_dim).append(dtypes.of_numpy(value._a.dtype))
        elif value is None and op.optional[i]:
            continue
        elif op.numbers and kind == TENSOR and isinstance(value, NUMBER) and not (op.numbers == "other" and not i):
            numbers.append(i)
            values[i] = value = value.item() if isinstance(value, np.generic) else value
            scalars.append(dtypes.of_scalar(value))
        else:
            raise _wrong_type(op, i, value)
    if numbers and not full and not zero_dim and op.parameters[0] != "condition":
        raise _wrong_type(op, numbers[0], args[numbers[0]])
    if not (full or zero_dim or scalars):
        return values, None
    dtype = _common_dtype(op, full, zero_dim, scalars, values)
    for i in numbers:
        values[i] = constant(values[i], compute_type(op, dtype) or dtype.numpy)
    return values, dtype


def _common_dtype(op: Op, full: list, zero_dim: list, scalars: list, values: list) -> dtypes.dtype:
    if op.elementwise or TENSORS in op.kinds:
        dtype = dtypes.result_dtype(full, zero_dim, scalars)
        if op.elementwise == "float" and dtype.kind in "bui":
            dtype = dtypes.get_default_dtype()
        if op.no_complex and dtype.is_complex:
            raise op.no_complex(f"{op.name}(): complex numbers have no order; compare their .abs() or their parts")
        return dtype
    present = full + zero_dim
    if not op.any_dtype and any(d is not present[0] for d in present):
        names = [n for n, kind in zip(op.parameters, op.kinds, strict=True) if kind == TENSOR]
        shown = [v for v, kind in zip(values, op.kinds, strict=True) if kind == TENSOR]
        raise RuntimeError(
            f"{op.name}(): operands of one dtype are needed, got {describe_all(names, shown)}; convert one with "
            ".to(dtype)"
        )
    return present[0]


def _sequence(op: Op, i: int, value: Any) -> list[Any]:
    tensor_class = NS["Tensor"]
    if isinstance(value, tensor_class) or not isinstance(value, (list, tuple)):
        raise TypeError(
            f"{op.name}(): '{op.parameters[i]}' (position {i + 1}) must be a tuple of Tensors, got "
            f"{type(value).__name__}"
        )
    for j, t in enumerate(value):
        if not isinstance(t, tensor_class):
            raise TypeError(
                f"{op.name}(): element {j} of '{op.parameters[i]}' must be a Tensor, got {type(t).__name__}"
            )
    return list(value)


def _wrong_type(op: Op, i: int, value: Any) -> TypeError:
    hint = "; make it one with torch.from_numpy" if isinstance(value, np.ndarray) else ""
    return TypeError(
        f"{op.name}(): '{op.parameters[i]}' (position {i + 1}) must be a Tensor, got {type(value).__name__}{hint}"
    )


def _arrays(op: Op, values: list[Any], dtype: dtypes.dtype | None) -> list[Any]:
    target = compute_type(op, dtype)
    arrays: list[Any] = []
    for value, kind in zip(values, op.kinds, strict=True):
        if kind == PLAIN or value is None:
            arrays.append(value)
        elif kind == INDEX:
            arrays.append(value._a)
        elif kind == TENSORS:
            arrays.append([cast(t._a, target) for t in value])
        else:
            arrays.append(cast(value._a, target))
    return arrays


def compute_type(op: Op, dtype: dtypes.dtype | None) -> np.dtype | None:
    """The NumPy type to compute in; None where operands are taken as they are."""
    if dtype is None or (op.any_dtype and TENSORS not in op.kinds):
        return None
    if dtype.numpy in dtypes.UPCAST and op.upcast:
        return np.dtype(np.float32)
    return dtype.numpy


def cast(array: np.ndarray, target: np.dtype | None) -> np.ndarray:
    """`array` in the type `target`, without a copy where it is."""
    return array if target is None or array.dtype == target else array.astype(target)


def _wrap_results(op: Op, results: Any, values: list, arrays: list, dtype: dtypes.dtype | None) -> list[Any]:
    visible = (results,) if op.outputs == 1 else results[: op.visible]
    tensors = []
    widened = dtype is not None and op.upcast and not op.any_dtype and dtype.numpy in dtypes.UPCAST
    for r in visible:
        r = as_array(r)
        if widened and r.dtype == np.float32:
            r = r.astype(dtype.numpy)  # type: ignore[union-attr]
        tensors.append(bare(r))
    if op.view and tensors:
        i = op.kinds.index(TENSOR)
        if op.visible == 1:
            view_if_shared(tensors[0], values[i], tensors[0]._a, arrays[i])
        else:
            for t in tensors:
                make_view(t, values[i])
                t._multi_view = True
    return tensors


def _edges(op: Op, values: list[Any]) -> list[Any]:
    edges: list[Any] = []
    for name, value, kind in zip(op.parameters, values, op.kinds, strict=True):
        if kind == TENSORS:
            edges += [(t if t._node is LEAF else t._node) for t in value]
        elif kind == TENSOR:
            node = None if value is None or name not in op.rule_of else value._node
            edges.append(value if node is LEAF else node)
    return edges


def _record(op: Op, values: list, arrays: list, tensors: list, results: Any, dtype: dtypes.dtype | None) -> None:
    edges = _edges(op, values)
    if all(edge is None for edge in edges):
        return
    if not any(t._a.dtype.kind in "fcV" for t in tensors):
        return  # integer and bool results have no gradient
    node = object.__new__(op.slow_class)
    node.edges = tuple(edges)
    node.seq = tick()
    node.output_dtypes = tuple(t._a.dtype for t in tensors)
    node.compute_dtype = compute_type(op, dtype)
    dtype_list: list[Any] = []
    shape = tensors[0]._a.shape
    for i, t in enumerate(_flat_tensors(op, values)):
        dtype_list.append(None if t is None else t._a.dtype)
        if op.elementwise and t is not None and t._a.shape != shape:
            setattr(node, f"b{i}", t._a.shape)
    node.input_dtypes = tuple(dtype_list)
    _save(op, node, values, tensors, results)
    if NS.get("TRACE") is not None:
        node.trace = NS["TRACE"]()
    if op.visible == 1:
        tensors[0]._node = node
    else:
        for i, t in reversed(list(enumerate(tensors))):
            if i not in op.nondiff and t._a.dtype.kind in "fcV":
                t._node = Pick(node, i)


def _flat_tensors(op: Op, values: list[Any]) -> list[Any]:
    flat: list[Any] = []
    for value, kind in zip(values, op.kinds, strict=True):
        if kind == TENSORS:
            flat += value
        elif kind == TENSOR:
            flat.append(value)
    return flat


def _save(op: Op, node: Any, values: list, tensors: list, results: Any) -> None:
    by_name = dict(zip(op.parameters, values, strict=True))
    raw = (results,) if op.outputs == 1 else results
    for name in op.saves():
        if name in by_name:
            setattr(node, "s_" + name, by_name[name])
            continue
        index = int(name[3:] or 0)
        if index < op.visible:
            setattr(node, "s_" + name, tensors[index]._a)
            cell = [0]
            tensors[index]._cell = cell
            setattr(node, "c_" + name, cell)
        else:
            setattr(node, "s_" + name, raw[index])
    for name, value, kind in zip(op.parameters, values, op.kinds, strict=True):
        if kind == TENSOR and value is not None:
            setattr(node, "sh_" + name, value._a.shape)
            setattr(node, "dt_" + name, value._a.dtype)
        elif kind == TENSORS:
            setattr(node, "sh_" + name, [t._a.shape for t in value])
        elif kind == TENSOR:
            setattr(node, "sh_" + name, None)
            setattr(node, "dt_" + name, None)
    hooks = NS.get("SAVED_HOOKS")
    if hooks:
        with no_grad():
            _pack(node, *hooks[-1])


def _pack(node: Any, pack: Callable, unpack: Callable) -> None:
    """Hands what the node keeps to the program's own hooks."""
    node.packed = {}
    for key in node.kept:
        value = node.__dict__.get(key)
        if value is not None and not isinstance(value, list) and not is_array(value):
            history = value if value._node is LEAF else value._node
            node.packed[key] = (unpack, pack(value), history)
            node.__dict__.pop(key)
        elif is_array(value):
            node.packed[key] = (lambda t, u=unpack: u(t)._a, pack(wrap(value)), None)
            node.__dict__.pop(key)


def write_out(op: Op, args: tuple, out: Any) -> Any:
    """`out=`: computes and writes into the tensors given."""
    outs = out if isinstance(out, (tuple, list)) else (out,)
    tensor_class = NS["Tensor"]
    for t in outs:
        if not isinstance(t, tensor_class):
            raise TypeError(f"{op.name}(): out must be a Tensor, got {type(t).__name__}")
    operands = [a for a in args if isinstance(a, tensor_class)]
    if thread.grad and any(t._node is not None for t in (*outs, *operands)) and op.rules:
        raise RuntimeError(
            f"{op.name}(): out= can't be recorded, but an operand requires grad; drop out=, or call it under "
            "torch.no_grad()"
        )
    results = general(op, args)
    if op.exact_out and outs[0]._a.dtype != results._a.dtype:
        raise RuntimeError(f"{op.name}(): out must have the result's dtype {results.dtype}, got {outs[0].dtype}")
    for t, r in zip(outs, results if isinstance(results, tuple) else (results,), strict=True):
        NS["WRITE_OUT"](op.name, t, r)
    return out


def made(array: Any, device: Any) -> Any:
    """A new tensor, as factories make them."""
    where = default_device() if device is None else require(device)
    if NS["CAPTURE"] is not None:
        array = NS["CAPTURE"].placed(array, where)
    elif where is not CPU or array.__class__ is not np.ndarray:
        array = move(array, where, True)
    result = bare(array)
    return mark_inference(result) if thread.inference else result


def deliver(name: str, out: Any, result: Any) -> Any:
    """The result of a composition, or `out` (a tensor or a tuple of them) after it was written there."""
    if out is None:
        return result
    for t, r in zip(out, result, strict=True) if isinstance(out, tuple) else ((out, result),):
        NS["WRITE_OUT"](name, t, r)
    return out


def give(name: str, array: Any, out: Any, device: Any, requires_grad: bool) -> Any:
    """The tensor that a factory returns: a new one, or `out` with these values."""
    result = deliver(name, out, made(array, device))
    if requires_grad:
        result.requires_grad_()
    return result


def by_example(function: Callable) -> Callable:
    """Lets vmap run a function that looks at values, and has no derivative, once per example."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if NS["LEVELS"]:
            return NS["BY_EXAMPLE"](function, args, kwargs)
        return function(*args, **kwargs)

    return wrapper


def find_override(op: Op, args: tuple) -> Any:
    """The result of an operand's `__torch_function__`, or None where no operand has one."""
    plain = (NS["Tensor"], NS["Parameter"])
    found: list[Any] = []
    for value, kind in zip(args, op.kinds, strict=True):
        for v in value if kind == TENSORS and isinstance(value, (list, tuple)) else (value,):
            cls = type(v)
            if kind == PLAIN or cls in plain or isinstance(v, (int, float)) or v is None:
                continue
            if getattr(cls, "__torch_function__", None) is not None and cls not in found:
                if getattr(cls.__torch_function__, "disabled", False):
                    continue
                found.append(cls)
    if not found:
        return None
    found.sort(key=lambda cls: -len(cls.__mro__))
    passed, named = _as_called(op, args)
    return call_overrides(op.function, found, passed, named)  # type: ignore[attr-defined]


def _as_called(op: Op, args: tuple) -> tuple[tuple, dict]:
    """The arguments as a program would pass them: without defaults at the end, keyword-only ones by name."""
    passed: list[Any] = []
    named: dict[str, Any] = {}
    defaults = [p.default for p in op.signature.parameters.values()]
    for name, value, default in zip(op.parameters, args, defaults, strict=True):
        if name not in op.keywords:
            passed.append(value)
        elif value is not default:
            named[name] = value
    while passed and passed[-1] is defaults[len(passed) - 1]:
        passed.pop()
    return tuple(passed), named
