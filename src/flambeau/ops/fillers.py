"""Filling tensors with random numbers, in place: PyTorch's methods, equal to PyTorch's for the same seed.

What a distribution draws is in `engines/numpy/draws.py`. Here are the arguments, their errors, and where the numbers
go: a tensor whose memory is not in the order of its dimensions is filled in the order of its memory, as in PyTorch.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau import dtypes, random
from flambeau.autograd.graph import Node
from flambeau.autograd.runtime import NS, thread, tick
from flambeau.autograd.views import bump, check_writable, written
from flambeau.devices import META, default
from flambeau.engines.arrays import VALUELESS
from flambeau.engines.numpy import draws
from flambeau.errors import describe
from flambeau.ops.dispatch import checks_values, wrap

__all__ = [
    "bernoulli_",
    "cauchy_",
    "exponential_",
    "geometric_",
    "log_normal_",
    "normal_",
    "random_",
    "uniform_",
]

_INT64_MIN = -(2**63)


# --- where the numbers go -----------------------------------------------------------------------------------------


def drawing(function: Callable) -> Callable:
    """Lets vmap have its say in what a function draws; for tensors without values nothing is drawn."""
    takes = "generator" in inspect.signature(function).parameters

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if NS["LEVELS"]:
            return NS["DRAW"](function, args, kwargs)
        if takes and _valueless(args, kwargs.get("device")):
            kwargs["generator"] = random.NOWHERE
        return function(*args, **kwargs)

    return wrapper


def _valueless(args: tuple, where: Any) -> bool:
    """Whether the numbers are for a tensor without values: then none are drawn."""
    if where is not None:
        return getattr(where, "type", where) == "meta"
    if VALUELESS and args and isinstance(args[0], NS["Tensor"]):
        return args[0]._a.__class__ in VALUELESS
    return default() is META


def generator_of(generator: Any) -> random.Generator:
    """The generator to draw from: the one given, or the default one."""
    if generator is None:
        return random.default_generator
    if not isinstance(generator, random.Generator):
        raise TypeError(f"generator must be a torch.Generator or None, got {type(generator).__name__}")
    return generator


def memory_order(array: np.ndarray) -> tuple[int, ...]:
    """The dimensions from the largest steps in memory to the smallest, as PyTorch's iterator sorts them."""
    order = list(range(array.ndim))[::-1]
    strides, shape = array.strides, array.shape
    for i in range(1, len(order)):  # insertion sort from the innermost; a step of 0 compares with nothing
        here = i
        for there in range(i - 1, -1, -1):
            inner, outer = order[there], order[here]
            if strides[inner] == 0 or strides[outer] == 0:
                continue
            if strides[inner] == strides[outer] and shape[inner] <= shape[outer] or strides[inner] < strides[outer]:
                break
            order[there], order[here] = outer, inner
            here = there
    return tuple(order[::-1])


def arranged(flat: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Values in order of memory as an array of `like`'s shape, laid out in memory as `like` is."""
    if like.flags.c_contiguous:
        return flat.reshape(like.shape)
    order = memory_order(like)
    return flat.reshape([like.shape[i] for i in order]).transpose(np.argsort(order))


def real_parts(array: np.ndarray) -> np.ndarray:
    """A view of the parts of complex numbers, along one more dimension."""
    return array[..., None].view(np.float32 if array.dtype == np.complex64 else np.float64)


# --- filling in place ---------------------------------------------------------------------------------------------


def _put(array: np.ndarray, flat: np.ndarray) -> None:
    """Write values into an array in the order of its memory."""
    if array.flags.c_contiguous:
        array.reshape(-1)[...] = flat
    else:
        target = array.transpose(memory_order(array))
        target[...] = flat.reshape(target.shape)


def _fill(tensor: Any, label: str, draw: Callable[[np.ndarray], np.ndarray]) -> Any:
    """Fill a tensor with what `draw(array)` gives for its array.

    What was recorded before gets no gradient through it.
    """
    array = tensor._a
    if array.size and array.__class__ not in VALUELESS:
        target = real_parts(array) if array.dtype.kind == "c" else array
        _put(target, draw(target))
    if thread.grad:
        written(tensor, forget(tensor, label))
    else:
        bump(tensor)
    return tensor


class _Forgotten(Node):
    """The history of values that don't depend on what was there before: a gradient of zero."""

    def __init__(self, edge: Any) -> None:
        self.edges = (edge,)
        self.seq = tick()

    def run(self, g: np.ndarray) -> tuple[Any, ...]:
        return (np.zeros_like(g),)

    def run_recorded(self, g: Any) -> tuple[Any, ...]:
        return (wrap(np.zeros_like(g._a)),)


_forgotten: dict[str, type] = {}


def forget(tensor: Any, label: str) -> Any:
    """The node for a tensor filled anew; None where nothing was recorded."""
    edge = tensor._node
    if edge is None:
        return None
    kind = _forgotten.get(label)
    if kind is None:
        kind = _forgotten[label] = type(label, (_Forgotten,), {})
    return kind(edge)


def _writable(tensor: Any, name: str) -> None:
    if not isinstance(tensor, NS["Tensor"]):
        raise TypeError(f"{name}(): expected a Tensor, not {type(tensor).__name__}")
    check_writable(tensor, name, thread.grad)


def _refuse(name: str, array: np.ndarray, kinds: str = "f", error: type[Exception] = NotImplementedError) -> None:
    """Raise unless the array's dtype is of one of the `kinds` (f: floating point, c: complex, i: integers)."""
    found = dtypes.of_numpy(array.dtype)
    kind = {"b": "b", "u": "i", "i": "i"}.get(found.kind, found.kind)
    if kind not in kinds or found.itemsize == 1 and found.kind == "f":
        names = {"f": "floating point", "c": "complex", "i": "integer", "b": "bool"}
        wanted = " or ".join(names[k] for k in kinds)
        raise error(f"{name}() is not implemented for {found}; it fills tensors of {wanted} dtype")


def check_normal(std: float) -> None:
    """Raise RuntimeError for a negative standard deviation."""
    if not std >= 0:
        raise RuntimeError(f"normal_(): std must not be negative, got {std}")


@drawing
def normal_(self: Any, mean: float = 0, std: float = 1, *, generator: Any = None) -> Any:
    """Fill with normal numbers (complex: of total variance std squared). Returns self.

    Raises RuntimeError for a negative `std` and for a leaf that requires grad.
    """
    _writable(self, "normal_")
    check_normal(std)
    _refuse("normal_", self._a, "fc")
    source = generator_of(generator)
    if self._a.dtype.kind == "c":
        std = std / 2**0.5

    def draw(a: np.ndarray) -> np.ndarray:
        return draws.normal(source, a.size, a.dtype, float(mean), float(std), bool(a.flags.c_contiguous))

    return _fill(self, "NormalBackward0", draw)


@drawing
def uniform_(self: Any, *bounds: float, generator: Any = None, **named: float) -> Any:
    """`uniform_(from=0, to=1)`: fill with numbers uniform in [from, to). Returns self.

    Raises RuntimeError where from > to, or where the dtype can't hold their difference, and for a leaf that requires
    grad.
    """
    low, high = _bounds("uniform_", bounds, named, 0.0, 1.0)
    _writable(self, "uniform_")
    _refuse("uniform_", self._a, "fc")
    if not -30000 <= low <= high <= 30000:  # what every floating-point type can hold needs no closer look
        _check_uniform(low, high, dtypes.of_numpy(self._a.dtype).to_real())
    source = generator_of(generator)
    return _fill(self, "UniformBackward0", lambda a: draws.uniform(source, a.size, a.dtype, float(low), float(high)))


def _check_uniform(low: float, high: float, found: Any) -> None:
    largest = dtypes.finfo(found).max  # type: ignore[attr-defined]
    for label, value in (("from", low), ("to", high)):
        if not -largest <= value <= largest:
            raise RuntimeError(f"uniform_(): {label} is {value}, which {found} can't hold")
    if low > high:
        raise RuntimeError(f"uniform_(): to must not be below from, got from={low} and to={high}")
    if high - low > largest:
        raise RuntimeError(
            f"uniform_(): to - from must be at most {largest}, the largest {found}; got from={low} and to={high}"
        )


def _bounds(name: str, given: tuple, named: dict, low: Any, high: Any) -> tuple[Any, Any]:
    """The arguments `from` and `to`: Python can't have a parameter named `from`."""
    unknown = set(named) - {"from", "to"}
    if unknown or len(given) > 2 or (given and "from" in named) or (len(given) > 1 and "to" in named):
        raise TypeError(f"{name}() takes 'from' and 'to', but got {len(given)} values and {sorted(named)}")
    if given:
        low = given[0]
    if len(given) > 1:
        high = given[1]
    return named.get("from", low), named.get("to", high)


@drawing
def random_(self: Any, *bounds: int, generator: Any = None, **named: int) -> Any:
    """`random_()`, `random_(to)`, `random_(from, to)`: fill with integers uniform in [from, to). Returns self.

    Without bounds: all that the dtype holds from 0 on; for floating point all up to 2**24 (float32), 2**53 (float64),
    ... `random_(from, None)` has no upper bound but the dtype's. Raises RuntimeError for bounds that the dtype can't
    hold.
    """
    _writable(self, "random_")
    source = generator_of(generator)
    if not bounds and not named:
        _refuse("random_", self._a, "fib")
        if dtypes.of_numpy(self._a.dtype).name in ("uint16", "uint32", "uint64"):
            raise NotImplementedError(f"random_() without bounds is not implemented for {self.dtype}; give from and to")
        return _fill(self, "RandomBackward2", lambda a: draws.integers_any(source, a.size, a.dtype))
    if len(bounds) == 1 and not named:
        bounds = (0, bounds[0])
    low, high = _bounds("random_", bounds, named, 0, None)
    draw = integer_draw(self._a.dtype, low, high, source)
    return _fill(self, "RandomBackward0" if high is not None else "RandomBackward1", draw)


def integer_draw(storage: np.dtype, low: int, high: int | None, source: random.Generator) -> Any:
    """What fills an array of this dtype with integers in [low, high); checks the bounds."""
    found = dtypes.of_numpy(storage)
    if found.kind not in "buif":
        raise RuntimeError(f"random integers can't be {found}; expected an integer, floating-point or bool dtype")
    for label, value in (("from", low), ("to", high)):
        if value is not None and (isinstance(value, float) or not hasattr(value, "__index__")):
            raise TypeError(f"random_(): {label} must be an int, got {type(value).__name__}")
    low = int(low)
    if high is None:
        if low == _INT64_MIN:
            if found.name not in ("int64", "float64", "float32", "bfloat16"):
                raise RuntimeError(
                    f"integers over all of int64's range need int64, float64, float32 or bfloat16, not {found}"
                )
            return lambda a: draws.integers_full(source, a.size, a.dtype)
        if found.kind == "f":
            last = min(2 ** draws.DIGITS[found.name], 2**63 - 1)
            low = _representable_low(low, storage)
        else:
            last = 1 if found.kind == "b" else min(int(np.iinfo(storage).max), 2**63 - 1)
        if low > last:
            raise RuntimeError(f"random_(): from must be at most {last} for {found}, got from={low}")
    else:
        high = int(high)
        if low >= high:
            raise RuntimeError(f"random_(): from must be below to, got from={low} and to={high}")
        if found.kind == "f":
            low, high = _representable_low(low, storage), _representable_high(high, storage)
            if low >= high:
                raise RuntimeError(f"random_(): from must be below to in {found} too, where they are {low} and {high}")
        last = high - 1
    _check_range(low, last, found)
    span = last - low + 1
    return lambda a: draws.integers(source, a.size, a.dtype, low, span)


def _check_range(low: int, last: int, found: Any) -> None:
    if found.kind == "f":
        limit = float(dtypes.finfo(found).max)
        smallest, largest = -limit, limit
    elif found.kind == "b":
        smallest, largest = 0, 1
    else:
        info = np.iinfo(found.numpy)
        smallest, largest = int(info.min), min(int(info.max), 2**63 - 1)
    for label, value in (("from", low), ("to - 1", last)):
        if not smallest <= value <= largest:
            raise RuntimeError(
                f"random_: {label} = {value} is out of bounds for {found}, which holds {smallest} to {largest}"
            )
    if found.kind == "f" and max(abs(low), abs(last)) > 2 ** draws.DIGITS[found.name]:
        digits = draws.DIGITS[found.name]
        warnings.warn(
            f"random_: {found} can't tell integers beyond 2**{digits} apart, so {low} to {last} is drawn unevenly",
            stacklevel=4,
        )


def _rounded(value: int, storage: np.dtype) -> int:
    return int(np.array(float(value)).astype(np.float64 if storage == np.float64 else np.float32).astype(storage))


def _representable_low(low: int, storage: np.dtype) -> int:
    """The bound moved up to a value that the dtype holds, so that no draw rounds to below it."""
    above = _rounded(low + 1, storage)
    if above < low:
        low = above + 2 ** (abs(low + 1).bit_length() - 1 - draws.DIGITS[dtypes.of_numpy(storage).name] + 1)
    return low


def _representable_high(high: int, storage: np.dtype) -> int:
    """The bound moved down to a value that the dtype holds, so that no draw rounds up to it."""
    below = _rounded(high - 1, storage)
    if below >= high:
        high = below - 2 ** (abs(high - 1).bit_length() - 1 - draws.DIGITS[dtypes.of_numpy(storage).name] + 1)
    return high


@drawing
def exponential_(self: Any, lambd: float = 1, *, generator: Any = None) -> Any:
    """Fill with exponential numbers of rate `lambd`. Returns self. Raises RuntimeError unless lambd > 0."""
    _writable(self, "exponential_")
    if not lambd > 0:
        raise RuntimeError(f"exponential_(): lambd must be positive, got {lambd}")
    _refuse("exponential_", self._a, "f", RuntimeError)
    source = generator_of(generator)
    return _fill(self, "ExponentialBackward0", lambda a: draws.exponential(source, a.size, a.dtype, float(lambd)))


@drawing
def cauchy_(self: Any, median: float = 0, sigma: float = 1, *, generator: Any = None) -> Any:
    """Fill with Cauchy numbers. Returns self. Raises RuntimeError unless sigma > 0."""
    _writable(self, "cauchy_")
    if not sigma > 0:
        raise RuntimeError(f"cauchy_(): sigma must be positive, got {sigma}")
    _refuse("cauchy_", self._a, "f", RuntimeError)
    source = generator_of(generator)
    return _fill(self, "CauchyBackward0", lambda a: draws.cauchy(source, a.size, a.dtype, float(median), float(sigma)))


@drawing
def log_normal_(self: Any, mean: float = 1, std: float = 2, *, generator: Any = None) -> Any:
    """Fill with numbers whose logarithms are normal. Returns self. Raises RuntimeError unless std > 0."""
    _writable(self, "log_normal_")
    if not std > 0:
        raise RuntimeError(f"log_normal_(): std must be positive, got {std}")
    _refuse("log_normal_", self._a)
    source = generator_of(generator)
    return _fill(
        self, "LogNormalBackward0", lambda a: draws.log_normal(source, a.size, a.dtype, float(mean), float(std))
    )


@drawing
def geometric_(self: Any, p: float, *, generator: Any = None) -> Any:
    """Fill with numbers of trials until the first success of probability `p`.

    Returns self. RuntimeError unless 0 < p < 1.
    """
    _writable(self, "geometric_")
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_(): p must lie strictly between 0 and 1, got {p}")
    _refuse("geometric_", self._a, "fi")
    source = generator_of(generator)
    return _fill(self, "GeometricBackward0", lambda a: draws.geometric(source, a.size, a.dtype, float(p)))


@drawing
def bernoulli_(self: Any, p: Any = 0.5, *, generator: Any = None) -> Any:
    """Fill with ones of probability `p`, else zeros; `p` is a number, or a tensor that broadcasts to this one. Returns
    self.

    Raises RuntimeError for a probability outside [0, 1].
    """
    _writable(self, "bernoulli_")
    _refuse("bernoulli_", self._a, "fib")
    source = generator_of(generator)
    if isinstance(p, NS["Tensor"]):
        check_probabilities("bernoulli_", p._a)
        try:
            wide = np.broadcast_to(p._a, self._a.shape)
        except ValueError:
            raise RuntimeError(f"bernoulli_: p {describe(p)} can't be broadcast to {describe(self)}") from None

        def draw(a: np.ndarray) -> np.ndarray:
            return draws.bernoulli_each(source, wide.transpose(memory_order(a)).reshape(-1))

        return _fill(self, "BernoulliBackward1", draw)
    if not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_(): p must lie between 0 and 1, got {p}")
    return _fill(self, "BernoulliBackward2", lambda a: draws.bernoulli(source, a.size, float(p)))


def check_probabilities(name: str, p: np.ndarray) -> None:
    """Raise unless all are floating-point numbers in [0, 1]."""
    if dtypes.of_numpy(p.dtype).kind != "f":
        raise NotImplementedError(
            f"{name}() is not implemented for probabilities of {dtypes.of_numpy(p.dtype)}; use a floating-point dtype"
        )
    _in_unit(name, p)


@checks_values
def _in_unit(name: str, p: np.ndarray) -> None:
    if not np.all((p >= 0) & (p <= 1)):
        raise RuntimeError(f"{name}(): every probability must lie between 0 and 1")
