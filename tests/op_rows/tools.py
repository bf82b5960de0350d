"""What rows of the op table are made of: `row(...)`, `call(...)`, and `Sampler`, which makes operands.

A family's module in this folder is a list of `row(...)`. An array of float64 in a sample is an operand whose
derivatives are checked; `Fixed(array)` is one that has none, `D("float32")` a dtype of either library.
"""

import zlib
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Fixed:
    """A floating-point operand that is not differentiated."""

    array: np.ndarray


@dataclass
class D:
    """A dtype by name, or any other attribute of the library."""

    name: str


@dataclass
class Call:
    """One call: its arguments."""

    args: tuple
    kwargs: dict


def call(*args, **kwargs):
    """A sample: the arguments of one call."""
    return Call(args, kwargs)


@dataclass
class Row:
    """One op: how to call it, on what, and how exact it is."""

    name: str
    samples: object
    do: object = None
    ops: tuple = ()
    orders: int = 2
    dtypes: str = "df"
    rtol: float = 1e-9
    method: bool = True
    grad_fn: bool = True
    places: bool = True
    gradcheck: dict = field(default_factory=dict)

    def function(self, lib):
        """The function to call, of flambeau or of PyTorch."""
        if self.do is not None:
            return lambda *args, **kwargs: self.do(lib, *args, **kwargs)
        found = lib
        for part in self.name.split("."):
            found = getattr(found, part)
        return found

    def calls(self):
        """The samples, the same each time."""
        return list(self.samples(Sampler(zlib.crc32(self.name.encode()))))


ROWS = []


def row(name, samples, do=None, *, ops="", **options):
    """Adds a row to the table.

    `name`: the public name under `torch` (`"nn.functional.relu"`). `samples(s)`: calls, made with the `Sampler` `s`.
    `do(lib, *args)`: what to call where it is not simply the function of that name. `ops`: the registered ops that the
    row exercises, if they have other names. `orders`: up to which order derivatives are checked (0: there are none).
    `dtypes`: what is compared with PyTorch: d f (float64, float32), h (float16 and bfloat16, forward), l (int64),
    b (bool), c (complex128). `rtol`: relative tolerance in float64; float32 has 1e4 times as much, at least 2e-5.
    `method`: compare `Tensor.<name>` and `Tensor.<name>_` too, where PyTorch has them. `places`: integer results
    (places of equals, say) must agree. `grad_fn`: so must the name of the node. `gradcheck`: options for it.
    """
    found = Row(name, samples, do, tuple(ops.split()) or (name.rsplit(".", 1)[-1],), **options)
    ROWS.append(found)
    return found


class Sampler:
    """Operands of one row, from its own random numbers."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def real(self, *shape):
        """Normal numbers."""
        return np.asarray(self.rng.standard_normal(shape))

    def uniform(self, low, high, *shape):
        """Numbers between two limits."""
        return np.asarray(self.rng.uniform(low, high, shape))

    def positive(self, *shape):
        """Numbers in [0.3, 2.5]."""
        return self.uniform(0.3, 2.5, *shape)

    def unit(self, *shape):
        """Numbers in [-0.9, 0.9]."""
        return self.uniform(-0.9, 0.9, *shape)

    def nonzero(self, *shape):
        """Numbers of both signs, at least 0.3 from 0."""
        return np.asarray(self.uniform(0.3, 2.0, *shape) * np.where(self.rng.random(shape) < 0.5, -1.0, 1.0))

    def apart(self, *shape):
        """Numbers of which no two are close, none near an integer or zero, in any order: no kinks within a step."""
        n = int(np.prod(shape))
        return np.asarray((self.rng.permutation(n) - n // 2) * 0.37 + 0.13).reshape(shape)

    def matrix(self, *shape):
        """A well-conditioned square matrix (or several)."""
        return self.real(*shape) * 0.4 + 2 * np.eye(shape[-1])

    def ints(self, low, high, *shape):
        """Integers in [low, high)."""
        return np.asarray(self.rng.integers(low, high, shape))

    def bools(self, *shape):
        """Truth values."""
        return np.asarray(self.rng.random(shape) < 0.5)

    def strided(self, make, *shape):
        """`make(shape)` with its dimensions in memory in reverse order."""
        return np.asfortranarray(make(*shape))

    def unary(self, make, *args, **kwargs):
        """One operand: a matrix, a zero-dim one, an empty one, one with odd strides."""
        for operand in (make(3, 4), make(), make(0, 2), self.strided(make, 2, 3)):
            yield call(operand, *args, **kwargs)

    def binary(self, make, other=None, *args, **kwargs):
        """Two operands: alike, broadcast both ways, zero-dim, empty, and with odd strides."""
        other = other or make
        for a, b in (
            (make(3, 2), other(3, 2)),
            (make(2, 1), other(1, 3)),
            (make(2, 2), other()),
            (make(), other(3)),
            (make(0, 3), other(3)),
            (self.strided(make, 2, 3), other(2, 3)),
        ):
            yield call(a, b, *args, **kwargs)


def convert(value, lib, dtype=None):
    """A sample's operand as a tensor of `lib`, floating-point ones in `dtype` (a name) if given."""
    if isinstance(value, Fixed):
        return convert(value.array, lib, dtype)
    if isinstance(value, D):
        found = lib
        for part in value.name.split("."):
            found = getattr(found, part)
        return found
    if isinstance(value, np.ndarray):
        return _tensor(value, lib, dtype)
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return type(value)(convert(v, lib, dtype) for v in value)
    if isinstance(value, dict):
        return {k: convert(v, lib, dtype) for k, v in value.items()}
    return value


def _tensor(array, lib, dtype):
    array = np.array(array, order="K")
    if dtype is None or array.dtype.kind not in "fc":
        return lib.from_numpy(array)
    if dtype in ("int64", "int32", "uint8"):
        return lib.from_numpy(np.asarray(np.rint(array * 3).astype(dtype)))
    if dtype == "bool":
        return lib.from_numpy(np.asarray(array > 0.5))
    if dtype == "complex128":
        return lib.from_numpy(np.asarray(array + 0.5j * np.roll(array, 1)) if array.dtype.kind == "f" else array)
    if array.dtype.kind == "c":
        dtype = {"float32": "complex64"}.get(dtype, "complex128")
    return lib.from_numpy(array).to(getattr(lib, dtype))


def operands(value):
    """The differentiable operands of a sample, in order."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "fc":
        return [value]
    if isinstance(value, (list, tuple)):
        return [x for v in value for x in operands(v)]
    if isinstance(value, dict):
        return [x for v in value.values() for x in operands(v)]
    if isinstance(value, Call):
        return operands(value.args) + operands(value.kwargs)
    return []


def replaced(value, tensors, lib, dtype=None):
    """The sample with its differentiable operands taken from the iterator `tensors`, everything else converted."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "fc":
        return next(tensors)
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return type(value)([replaced(v, tensors, lib, dtype) for v in value])
    if isinstance(value, dict):
        return {k: replaced(v, tensors, lib, dtype) for k, v in value.items()}
    return convert(value, lib, dtype)


def flat(result):
    """The tensors (or other values) of a result as a list."""
    if isinstance(result, (list, tuple)):
        return [x for r in result for x in flat(r)]
    return [result]
