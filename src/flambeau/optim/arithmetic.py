"""The arithmetic of optimizer updates, in three kinds that take the same calls.

An update (`adam_update`, `sgd_update`, ...) is one function over `k`, a set of in-place operations. It is written once
and runs
- on raw arrays (`Plain`, and `Exact` and `Wide` where rounding needs more care), which is the ordinary step, or
- on tensors (`Recorded`), which is what `differentiable=True` asks for: the step itself goes on the tape.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.engines.arrays import ENGINES, FOREIGN, is_array
from flambeau.engines.numpy.blas import blend
from flambeau.engines.numpy.parallel import parallel_for
from flambeau.ops.compare import where

__all__ = ["Exact", "Plain", "Recorded", "Wide", "run"]

_EXACT_SIZE = 4096  # up to here float32 updates round like fused multiply-adds, beyond they run at full speed
_BLOCK = (
    131072  # elements of each array worked on at a time: in cache, and few enough calls for threads to run side by side
)

_float32, _float64 = np.dtype(np.float32), np.dtype(np.float64)

_copyto, _add, _subtract, _multiply, _divide = np.copyto, np.add, np.subtract, np.multiply, np.divide


class Plain:
    """In-place operations on arrays, one rounding per ufunc. Names ending in `_` write their first argument."""

    neg = staticmethod(np.negative)
    abs = staticmethod(np.absolute)
    sign = staticmethod(np.sign)
    sqrt = staticmethod(np.sqrt)

    @staticmethod
    def clone(a):
        return a.copy()

    @staticmethod
    def copy_(a, b):
        _copyto(a, b)
        return a

    @staticmethod
    def sqrt_(a):
        return np.sqrt(a, a)

    @staticmethod
    def add(a, b, alpha=1.0):
        """`a + alpha * b`."""
        if alpha == 1.0:
            return _add(a, b)
        t = _multiply(b, alpha)
        return _add(a, t, t)

    @staticmethod
    def add_(a, b, alpha=1.0):
        if alpha == 1.0:
            return _add(a, b, a)
        return _add(a, _multiply(b, alpha), a)

    @staticmethod
    def mul(a, b):
        return _multiply(a, b)

    @staticmethod
    def mul_(a, b):
        return _multiply(a, b, a)

    @staticmethod
    def div(a, b):
        return _divide(a, b)

    @staticmethod
    def div_(a, b):
        return _divide(a, b, a)

    @staticmethod
    def lerp_(a, end, weight):
        """`a` moves towards `end` by the fraction `weight`."""
        if blend(weight, end, 1.0 - weight, a):
            return a
        t = _subtract(end, a)
        _multiply(t, weight, t)
        return _add(a, t, a)

    @staticmethod
    def decay_square_(a, factor, b, weight):
        """`a = factor * a + weight * b**2`."""
        t = _multiply(b, b)
        if not blend(weight, t, factor, a):
            _multiply(a, factor, a)
            _multiply(t, weight, t)
            _add(a, t, a)
        return a

    @staticmethod
    def addcmul(a, b, c, value):
        t = _multiply(b, value)
        _multiply(t, c, t)
        return _add(a, t, t)

    @staticmethod
    def addcmul_(a, b, c, value):
        """`a += value * b * c`."""
        t = _multiply(b, value)
        _multiply(t, c, t)
        return _add(a, t, a)

    @staticmethod
    def addcdiv_(a, b, c, value):
        """`a += value * b / c`; `c` is used up."""
        t = _divide(b, c, c)
        if blend(value, t, 1.0, a):
            return a
        return _add(a, _multiply(t, value, t), a)

    @staticmethod
    def maximum_(a, b):
        return np.maximum(a, b, out=a)

    @staticmethod
    def clamp_(a, low, high):
        return np.clip(a, low, high, out=a)

    @staticmethod
    def where(condition, a, b):
        return np.where(condition, a, b)

    @staticmethod
    def dtype_like(a, like):
        return a.astype(like.dtype)


def _fma(a, b, scale, out):
    """`a + scale * b` for small float32 arrays, rounded once: the product is exact in float64."""
    t = b.astype(_float64)
    _multiply(t, scale, t)
    _add(t, a.astype(_float64), t)
    if out is None:
        return t.astype(_float32)
    out[...] = t
    return out


class _Constants(dict):
    """Scalars as 0-dim arrays, which ufuncs take twice as fast as Python floats. Holds the few that recur."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype

    def __missing__(self, value: float) -> Any:
        if len(self) > 256:
            self.clear()
        self[value] = array = np.array(_float32.type(value), self.dtype)
        return array


_c32, _c64 = _Constants(_float32), _Constants(_float64)


class Exact(Plain):
    """`Plain` for small float32 arrays, with the single rounding of a processor's fused multiply-add.

    PyTorch's CPU kernels for `lerp`, `addcmul` and `add(alpha=)` compile to fused multiply-adds. Following them to the
    last bit costs little on small arrays, and lets short programs print the same numbers.
    """

    @staticmethod
    def mul_(a, b):
        return _multiply(a, _c32[b] if type(b) is float else b, a)

    @staticmethod
    def add(a, b, alpha=1.0):
        return _add(a, b) if alpha == 1.0 else _fma(a, b, _c64[alpha], None)

    @staticmethod
    def add_(a, b, alpha=1.0):
        if type(b) is float:
            return _add(a, _c32[b], a)
        return _add(a, b, a) if alpha == 1.0 else _fma(a, b, _c64[alpha], a)

    @staticmethod
    def lerp_(a, end, weight):
        t = _subtract(end, a)
        return _fma(a, t, _c64[weight], a) if weight < 0.5 else _fma(end, t, _c64[_c64[weight].item() - 1.0], a)

    @staticmethod
    def decay_square_(a, factor, b, weight):
        return Exact.addcmul_(Exact.mul_(a, factor), b, b, weight)

    @staticmethod
    def addcdiv_(a, b, c, value):
        t = _multiply(b, value)
        _divide(t, c, t)
        return _add(a, t, a)

    @staticmethod
    def addcmul(a, b, c, value):
        return _fma(a, _multiply(b, _c32[value]) if value != 1.0 else b, c, None)

    @staticmethod
    def addcmul_(a, b, c, value):
        return _fma(a, _multiply(b, _c32[value]) if value != 1.0 else b, c, a)


def _widened(name: str) -> Any:
    plain = getattr(Plain, name)
    in_place = name.endswith("_")

    def op(a, *rest, **kw):
        wide = [r.astype(_float32) if is_array(r) else r for r in rest]
        result = plain(a.astype(_float32), *wide, **kw)
        if in_place:
            a[...] = result
            return a
        return result.astype(a.dtype)

    return staticmethod(op)


class Wide(Plain):
    """`Plain` for float16 and bfloat16: each operation computes in float32 and rounds its result once."""

    sqrt, sqrt_ = _widened("sqrt"), _widened("sqrt_")
    add, add_, mul, mul_ = _widened("add"), _widened("add_"), _widened("mul"), _widened("mul_")
    div, div_, lerp_ = _widened("div"), _widened("div_"), _widened("lerp_")
    addcmul, addcmul_, addcdiv_ = _widened("addcmul"), _widened("addcmul_"), _widened("addcdiv_")
    clamp_, decay_square_ = _widened("clamp_"), _widened("decay_square_")


class Recorded:
    """The same operations on tensors, recorded on the tape where gradients are on."""

    @staticmethod
    def add(a, b, alpha=1.0):
        return a.add(b) if alpha == 1.0 else a.add(b, alpha=alpha)

    @staticmethod
    def add_(a, b, alpha=1.0):
        return a.add_(b) if alpha == 1.0 else a.add_(b, alpha=alpha)

    @staticmethod
    def addcmul(a, b, c, value):
        return a.addcmul(b, c, value=value)

    @staticmethod
    def addcmul_(a, b, c, value):
        return a.addcmul_(b, c, value=value)

    @staticmethod
    def decay_square_(a, factor, b, weight):
        return a.mul_(factor).addcmul_(b, b, value=weight)

    @staticmethod
    def addcdiv_(a, b, c, value):
        return a.addcdiv_(b, c, value=value)

    @staticmethod
    def maximum_(a, b):
        return a.copy_(a.maximum(b))

    @staticmethod
    def where(condition, a, b):
        return where(condition, a, b)

    @staticmethod
    def dtype_like(a, like):
        return a.to(like.dtype)


def _forward(name: str) -> Any:
    return staticmethod(lambda a, *rest: getattr(a, name)(*rest))


for _name in ("neg", "abs", "sign", "sqrt", "sqrt_", "clone", "copy_", "mul", "mul_", "div", "div_", "lerp_", "clamp_"):
    setattr(Recorded, _name, _forward(_name))


def _real(a):
    """A complex array as twice as many reals, sharing memory."""
    return a.reshape(-1).view(a.real.dtype) if a is not None else None


def run(update: Callable, arrays: tuple, hyper: tuple) -> None:
    """Call `update(k, *arrays, *hyper)` in the way that suits the arrays; the first is the parameter, `None`s pass
    through.

    Small arrays go in one call, large ones in blocks that stay in cache, on all cores.
    """
    param = arrays[0]
    dtype = param.dtype
    if param.__class__ in FOREIGN:
        if dtype.kind == "c":
            arrays = tuple(map(_real, arrays))
        k = Wide if dtype.itemsize < 4 else Plain
        ENGINES[param.__class__].run_update(k, update, arrays, hyper)
        return
    if param.size <= _EXACT_SIZE and dtype is _float32:
        update(Exact, *arrays, *hyper)
        return
    if not all(a is None or a.flags.c_contiguous for a in arrays) and (param.size > _BLOCK or dtype.kind == "c"):
        work = tuple(a if a is None else np.ascontiguousarray(a) for a in arrays)
        run(update, work, hyper)
        for a, w in zip(arrays, work, strict=True):
            if a is not w:
                a[...] = w
        return
    if dtype.kind == "c":
        run(update, tuple(map(_real, arrays)), hyper)
        return
    k = Plain if dtype.char in "fd" else Wide
    if param.size <= _BLOCK or not all(a is None or a.flags.c_contiguous for a in arrays):
        update(k, *arrays, *hyper)
        return
    flat = [None if a is None else a.reshape(-1) for a in arrays]

    def block(start: int, stop: int) -> None:
        update(k, *[None if a is None else a[start:stop] for a in flat], *hyper)

    parallel_for(param.size, block, grain=_BLOCK, block=min(_BLOCK, -(-param.size // 2)))
