"""Counting the floating-point operations of a program: `with FlopCounterMode() as counter: ...`.

What is counted are the products that a program's time goes into: of matrices, of convolution, of attention and of
recurrent layers, forward and backward, a multiplication and an addition as two. Each kernel of that kind has a
formula over the shapes of its operands and result; elementwise work and reductions count nothing, as in PyTorch.
"""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from flambeau.autograd.runtime import NS, watch
from flambeau.engines.arrays import is_array
from flambeau.engines.kernels import CPU_KERNELS, Kernels
from flambeau.nn.modules import _hooks as hooks
from flambeau.ops import aten

__all__ = ["FlopCounterMode", "flop_registry", "register_flop_formula"]


# --- formulas -----------------------------------------------------------------------------------------------------

#: For each kernel: the name by which PyTorch lists it, given the operands, and its number of operations.
_FORMULAS: dict[str, tuple[Callable[..., str], Callable[..., int]]] = {}
#: Formulas that a program has given, by the name of the operation: functions of shapes, and `out_shape`.
flop_registry: dict[Any, Callable[..., int]] = {}


def register_flop_formula(targets: Any, get_raw: bool = False) -> Callable:
    """Decorator: the function counts these operations (`torch.ops.aten.mm`, or a list of such) from now on.

    It is called with the operation's arguments, tensors as their shapes (as they are with `get_raw`), and with the
    result's as `out_shape` (`out_val`).
    """

    def decorate(formula: Callable) -> Callable:
        for target in targets if isinstance(targets, (list, tuple)) else [targets]:
            flop_registry[target] = _wrapped(formula, get_raw)
        return formula

    return decorate


def _wrapped(formula: Callable, raw: bool) -> Callable:
    @functools.wraps(formula)
    def count(args: tuple, result: Any) -> int:
        if raw:
            return formula(*args, out_val=result)
        return formula(*(_shapes(a) for a in args), out_shape=_shapes(result))

    return count


def _shapes(x: Any) -> Any:
    if is_array(x):
        return tuple(x.shape)
    return type(x)(map(_shapes, x)) if isinstance(x, (tuple, list)) else x


def _counts(kernel: str, name: str | Callable[..., str]) -> Callable:
    def decorate(formula: Callable[..., int]) -> Callable[..., int]:
        _FORMULAS[kernel] = (name if callable(name) else lambda *args: name), formula
        return formula

    return decorate


def _size(shape: Any) -> int:
    return math.prod(shape)


@_counts("matmul", lambda a, b: "mm" if min(a.ndim, b.ndim) <= 2 else "bmm")
def _matmul(out: Any, a: Any, b: Any) -> int:
    return 2 * out.size * a.shape[-1]


@_counts("linear", lambda a, weight, bias=None: "mm" if bias is None else "addmm")
def _linear(out: Any, a: Any, weight: Any, bias: Any = None) -> int:
    return 2 * a.size * (weight.shape[0] if weight.ndim == 2 else 1)


@_counts("linear_weight", "mm")
def _linear_weight(out: Any, g: Any, a: Any) -> int:
    return 2 * g.size * a.shape[-1]


@_counts("conv", "convolution")
def _conv(out: Any, a: Any, weight: Any, *rest: Any) -> int:
    return 2 * out.size * _size(weight.shape[1:])


@_counts("conv_input", "convolution_backward")
def _conv_input(out: Any, g: Any, weight: Any, *rest: Any) -> int:
    return 2 * g.size * _size(weight.shape[1:])


@_counts("conv_weight", "convolution_backward")
def _conv_weight(out: Any, g: Any, a: Any, shape: Any, *rest: Any) -> int:
    return 2 * g.size * _size(shape[1:])


@_counts("attention", "_scaled_dot_product_flash_attention_for_cpu")
def _attention(out: Any, q: Any, k: Any, v: Any, *rest: Any) -> int:
    # scores and mixtures, masked half included, as PyTorch counts
    return 2 * _size(q.shape[:-1]) * k.shape[-2] * (q.shape[-1] + v.shape[-1])


@_counts("attention_backward", "_scaled_dot_product_flash_attention_for_cpu_backward")
def _attention_backward(out: Any, g: Any, q: Any, k: Any, v: Any, *rest: Any) -> int:
    # the scores again, then gradients of values, of the scores, and of queries and keys
    return 2 * _size(q.shape[:-1]) * k.shape[-2] * (3 * q.shape[-1] + 2 * v.shape[-1])


def _recurrent(steps: Any, *weights: Any) -> int:
    return 2 * _size(steps.shape[:2]) * sum(w.size for w in weights if w is not None)


@_counts("lstm_layer", "lstm")
def _lstm(out: Any, x: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, b: Any = None, b2: Any = None, w_hr: Any = None,
          *rest: Any) -> int:  # fmt: skip
    return _recurrent(x, w_ih, w_hh, w_hr)


@_counts("lstm_layer_backward", "lstm_backward")
def _lstm_backward(out: Any, gy: Any, gh: Any, gc: Any, x: Any, h: Any, w_ih: Any, w_hh: Any, b: Any, w_hr: Any,
                   *rest: Any) -> int:  # fmt: skip
    return 2 * _recurrent(x, w_ih, w_hh, w_hr)


@_counts("gru_layer", "gru")
@_counts("rnn_layer", "rnn")
def _simple(out: Any, x: Any, h: Any, w_ih: Any, w_hh: Any, *rest: Any) -> int:
    return _recurrent(x, w_ih, w_hh)


@_counts("gru_layer_backward", "gru_backward")
@_counts("rnn_layer_backward", "rnn_backward")
def _simple_backward(out: Any, gy: Any, gh: Any, x: Any, h: Any, w_ih: Any, w_hh: Any, *rest: Any) -> int:
    return 2 * _recurrent(x, w_ih, w_hh)


# --- the mode -----------------------------------------------------------------------------------------------------


def counted(kernel: Callable, name: str, seen: Callable[[str, tuple, Any], None]) -> Callable:
    """The kernel; each call is told to `seen(name, args, result)`."""

    def call(*args: Any, **kwargs: Any) -> Any:
        result = kernel(*args, **kwargs)
        seen(name, args, result)
        return result

    return call


class Counting(Kernels):
    """The CPU's kernels, each call told to `seen(name, args, result)`: of all kernels, or of `names` alone."""

    def __init__(self, seen: Callable[[str, tuple, Any], None], names: Any = None) -> None:
        self.seen, self.names = seen, names

    def find(self, name: str) -> Any:
        kernel = CPU_KERNELS.find(name)
        if kernel is None or not callable(kernel) or (self.names is not None and name not in self.names):
            return kernel
        return counted(kernel, name, self.seen)


class FlopCounterMode:
    """A context in which floating-point operations are counted, by module and by operation.

    `mods` is accepted and not needed: modules are followed as they are called. `depth`: how deep in the table of
    modules; `display`: whether the table is printed at the end; `custom_mapping`: formulas for this context, as
    `register_flop_formula` takes them (those with the attribute `_get_raw` get the arguments themselves). Compiled
    steps run eagerly inside. On the CPU.

    >>> import flambeau as torch
    >>> from flambeau.utils.flop_counter import FlopCounterMode
    >>> model, x = torch.nn.Linear(4, 3), torch.ones(2, 4)
    >>> with FlopCounterMode(display=False) as counter:
    ...     model(x).sum().backward()
    >>> counter.get_total_flops()
    96
    """

    def __init__(
        self, mods: Any = None, depth: int = 2, display: bool = True, custom_mapping: dict[Any, Any] | None = None
    ) -> None:
        self.depth, self.display = depth, display
        self.custom = {
            target: formula if hasattr(formula, "__wrapped__") else _wrapped(formula, hasattr(formula, "_get_raw"))
            for target, formula in (custom_mapping or {}).items()
        }
        self.flop_counts: dict[str, dict[Any, int]] = defaultdict(lambda: defaultdict(int))

    # --- what was counted -------------------------------------------------------------------------------------

    def get_total_flops(self) -> int:
        """All operations."""
        return sum(self.flop_counts["Global"].values())

    def get_flop_counts(self) -> dict[str, dict[Any, int]]:
        """For each module by its name (`Global` for everything): operations by the kind of product."""
        return {name: dict(counts) for name, counts in self.flop_counts.items()}

    def get_table(self, depth: int | None = None) -> str:
        """The counts as text: modules down to `depth`, the kinds of products under each."""
        depth = self.depth if depth is None else depth
        total = self.get_total_flops()
        rows = [("Module", "FLOP", "% Total")]
        for name in sorted(self.flop_counts, key=lambda n: (n != "Global", n)):
            level = name.count(".")
            if name != "Global" and level >= depth:
                continue
            indent = " " * (0 if name == "Global" else 1 + level)
            entries = [(indent + name, sum(self.flop_counts[name].values()))]
            entries += [(f"{indent} - {op}", count) for op, count in self.flop_counts[name].items()]
            rows += [
                (label, _short(count, total), f"{count / total * 100 if total else 0:.2f}%") for label, count in entries
            ]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}".rstrip() for a, b, c in rows]
        lines.insert(1, "  ".join("-" * w for w in widths))
        return "\n".join(lines)

    # --- counting ---------------------------------------------------------------------------------------------

    def __enter__(self) -> FlopCounterMode:
        self.flop_counts.clear()
        self.names: dict[int, str] = {}
        self.path: list[str] = []  # the modules that are at work, outermost first
        self.back: list[str] = []  # and those that the backward pass is in
        self.handles: list[Any] = []
        self.below, self.kernels = NS["K"], Counting(self._seen, _FORMULAS)
        NS["K"] = self.kernels
        watch(True)
        self.handles += [
            hooks.register_module_forward_pre_hook(self._enter_module),
            hooks.register_module_forward_hook(self._leave_module, always_call=True),
        ]
        return self

    def __exit__(self, *exc: Any) -> None:
        for handle in self.handles:
            handle.remove()
        watch(False)
        NS["K"] = self.below
        if self.display and exc[0] is None:
            print(self.get_table(self.depth))

    def _seen(self, kernel: str, args: tuple, result: Any) -> None:
        naming, formula = _FORMULAS[kernel]
        target = aten.packet(naming(*args))
        out = result[0] if isinstance(result, tuple) else result
        given = self.custom.get(target) or flop_registry.get(target)
        count = formula(out, *args) if given is None else given(args, result)
        for name in dict.fromkeys(["Global", *(self.path or self.back)]):
            self.flop_counts[name][target] += int(count)

    def _enter_module(self, module: Any, args: Any) -> None:
        name = self.names.get(id(module))
        if name is None:
            name = type(module).__name__
            for inner, child in module.named_modules():
                self.names.setdefault(id(child), f"{name}.{inner}" if inner else name)
            name = self.names[id(module)]
        if not self.path:
            self.back.clear()
        self._follow(args, self._left_backward, name)
        self.path.append(name)

    def _leave_module(self, module: Any, args: Any, output: Any) -> None:
        name = self.names.get(id(module))
        if self.path and self.path[-1] == name:
            self.path.pop()
        self._follow(output, self._came_backward, str(name))

    def _follow(self, tensors: Any, reached: Callable[[str], None], name: str) -> None:
        """Has it noted when the backward pass reaches one of the tensors."""
        for t in _tensors(tensors):
            if t.requires_grad:
                self.handles.append(t.register_hook(lambda g: reached(name)))

    def _came_backward(self, name: str) -> None:
        if name not in self.back:
            self.back.append(name)

    def _left_backward(self, name: str) -> None:
        if name in self.back:
            self.back.remove(name)


def _tensors(x: Any) -> list[Any]:
    if isinstance(x, NS["Tensor"]):
        return [x]
    if isinstance(x, dict):
        x = list(x.values())
    return [t for v in x for t in _tensors(v)] if isinstance(x, (tuple, list)) else []


def _short(count: int, total: int) -> str:
    """A count with the unit that suits the total."""
    power = min(5, max(0, (len(str(total)) - 1) // 3))
    return f"{count / 1000**power:.3f}{['', 'K', 'M', 'B', 'T', 'P'][power]}"
