"""Data types, and the rules by which they are promoted.

A `dtype` is a name, flags, and the NumPy type that stores it. bfloat16 and the float8 types come from ml_dtypes.
"""

from __future__ import annotations

from typing import Any, ClassVar

import ml_dtypes
import numpy as np


class dtype:
    """The type of a tensor's elements, such as `flambeau.float32`. There is one object per type."""

    __slots__ = ("is_complex", "is_floating_point", "is_signed", "itemsize", "kind", "name", "numpy")
    _by_numpy: ClassVar[dict[np.dtype, dtype]] = {}

    name: str
    numpy: np.dtype
    kind: str
    itemsize: int
    is_floating_point: bool
    is_complex: bool
    is_signed: bool

    def __init__(self, name: str, storage: Any, kind: str) -> None:
        self.name = name
        self.numpy = np.dtype(storage)
        self.kind = kind  # one of b (bool), u, i, f, c, q: also the order of promotion between categories
        self.itemsize = self.numpy.itemsize
        self.is_floating_point = kind == "f"
        self.is_complex = kind == "c"
        self.is_signed = kind not in "bu"
        if self.numpy.fields is None:
            dtype._by_numpy.setdefault(self.numpy, self)

    def __repr__(self) -> str:
        return "torch." + self.name

    def __reduce__(self) -> str:
        return self.name

    def to_real(self) -> dtype:
        """The real type of the parts of a complex type; a real type is its own."""
        return _REAL.get(self, self)

    def to_complex(self) -> dtype:
        """The complex type whose parts have this type."""
        if self.is_complex:
            return self
        if self not in _COMPLEX:
            raise RuntimeError(f"{self} has no complex counterpart; use float32 or float64")
        return _COMPLEX[self]


bool_ = dtype("bool", np.bool_, "b")
uint8 = dtype("uint8", np.uint8, "u")
uint16 = dtype("uint16", np.uint16, "u")
uint32 = dtype("uint32", np.uint32, "u")
uint64 = dtype("uint64", np.uint64, "u")
int8 = dtype("int8", np.int8, "i")
int16 = dtype("int16", np.int16, "i")
int32 = dtype("int32", np.int32, "i")
int64 = dtype("int64", np.int64, "i")
float16 = dtype("float16", np.float16, "f")
bfloat16 = dtype("bfloat16", ml_dtypes.bfloat16, "f")
float32 = dtype("float32", np.float32, "f")
float64 = dtype("float64", np.float64, "f")
complex64 = dtype("complex64", np.complex64, "c")
complex128 = dtype("complex128", np.complex128, "c")
#: Programs ask whether a tensor is of this type. None is: no array computes in it, so making one is refused.
complex32 = dtype("complex32", [("real", np.float16), ("imag", np.float16)], "c")
float8_e4m3fn = dtype("float8_e4m3fn", ml_dtypes.float8_e4m3fn, "f")
float8_e5m2 = dtype("float8_e5m2", ml_dtypes.float8_e5m2, "f")
float8_e4m3fnuz = dtype("float8_e4m3fnuz", ml_dtypes.float8_e4m3fnuz, "f")
float8_e5m2fnuz = dtype("float8_e5m2fnuz", ml_dtypes.float8_e5m2fnuz, "f")
float8_e8m0fnu = dtype("float8_e8m0fnu", ml_dtypes.float8_e8m0fnu, "f")

half, float_, double = float16, float32, float64
short, int_, long = int16, int32, int64
chalf, cfloat, cdouble = complex32, complex64, complex128

_REAL = {complex32: float16, complex64: float32, complex128: float64}
_COMPLEX = {float32: complex64, float64: complex128, float16: complex64, bfloat16: complex64}
_ORDER = "buifc"
_LOW_PRECISION = (float16, bfloat16)

#: NumPy types that are computed in float32 and rounded once, as PyTorch's CPU kernels do.
UPCAST = {float16.numpy, bfloat16.numpy}

# NumPy types without an own torch name that NumPy arrays arrive with
_ALIASES = {np.dtype(np.longlong): int64, np.dtype(np.ulonglong): uint64}


def of_numpy(storage: Any) -> dtype:
    """The `dtype` that stores as this NumPy type; TypeError for one that PyTorch has not."""
    storage = np.dtype(storage)
    found = dtype._by_numpy.get(storage) or _ALIASES.get(storage)
    if found is None:
        if storage.byteorder not in "=|" and storage.newbyteorder("=") in dtype._by_numpy:
            raise ValueError(
                "the array's byte order is not this machine's; convert it with "
                "array.astype(array.dtype.newbyteorder('='))"
            )
        raise TypeError(f"no dtype holds NumPy's {storage}; convert to a float, complex, integer or bool type first")
    return found


class _Default:
    """The dtype that Python floats become: float32 until `set_default_dtype` says otherwise."""

    dtype: ClassVar[dtype] = float32


def chosen(value: Any, fallback: dtype | None = None) -> dtype:
    """The dtype that a factory is asked for: `value`, or if that is None the fallback, or else the default."""
    return (fallback or _Default.dtype) if value is None else dtype_of(value)


def get_default_dtype() -> dtype:
    """The dtype that Python floats become."""
    return _Default.dtype


def set_default_dtype(d: dtype) -> None:
    """Makes `d` the dtype that Python floats become; a TypeError unless it is a floating-point type."""
    if not isinstance(d, dtype) or not d.is_floating_point:
        raise TypeError(f"set_default_dtype(): a floating-point dtype is needed, got {d!r}")
    _Default.dtype = d


def _need_dtypes(function: str, *values: Any) -> None:
    for value in values:
        if not isinstance(value, dtype):
            raise TypeError(f"{function}(): a torch.dtype is needed, got {type(value).__name__}")


_PYTHON_TYPES: dict[Any, dtype] = {float: float64, int: int64, bool: bool_, complex: complex128}


def dtype_of(value: Any) -> dtype:
    """`value` as a dtype: one of these, or Python's float, int, bool or complex."""
    found = value if isinstance(value, dtype) else _PYTHON_TYPES.get(value)
    if found is None:
        raise TypeError(f"dtype must be a torch.dtype, got {type(value).__name__} {value!r}")
    if found is complex32:
        raise TypeError("torch.complex32: no tensor can be of this dtype here; use torch.complex64")
    return found


def promote_types(type1: dtype, type2: dtype) -> dtype:
    """The smallest type that holds values of both, by PyTorch's table.

    >>> import flambeau as torch
    >>> torch.promote_types(torch.int32, torch.float16)
    torch.float16
    """
    _need_dtypes("promote_types", type1, type2)
    if type1 is type2:
        return type1
    a, b = (type1, type2) if _ORDER.index(type1.kind) >= _ORDER.index(type2.kind) else (type2, type1)
    if a.kind == b.kind:
        if a.kind == "f":
            return _promote_floats(a, b)
        return a if a.itemsize >= b.itemsize else b
    if a.kind == "c":
        if a is complex32 and b is float16:
            return a
        return promote_types(a, b.to_complex()) if b.kind == "f" else a
    if a.kind == "i" and b.kind == "u":
        if b.itemsize > 1:
            raise RuntimeError(f"promotion of {a} with {b} is not supported; convert one of them first")
        return int16 if a.itemsize == 1 else a
    return a


def _promote_floats(a: dtype, b: dtype) -> dtype:
    if a.itemsize == b.itemsize:
        if a.itemsize == 1:
            raise RuntimeError(f"promotion of {a} with {b} is not supported; convert one of them first")
        return float32  # float16 with bfloat16: neither holds the other
    return a if a.itemsize > b.itemsize else b


def of_scalar(value: Any) -> dtype:
    """The dtype of a Python number on its own."""
    if isinstance(value, (bool, np.bool_)):
        return bool_
    if isinstance(value, (int, np.integer)):
        return int64
    if isinstance(value, (float, np.floating)):
        return get_default_dtype()
    return get_default_dtype().to_complex()


def result_dtype(full: list[dtype], zero_dim: list[dtype], scalars: list[dtype]) -> dtype:
    """The type of an operation on tensors, zero-dim tensors and Python numbers: a lower class only counts by its
    category.
    """
    result: dtype | None = None
    for group in (full, zero_dim, scalars):
        current: dtype | None = None
        for d in group:
            current = d if current is None else promote_types(current, d)
        if current is None:
            continue
        result = current if result is None else _absorb(result, current)
    assert result is not None
    return result


def _absorb(higher: dtype, lower: dtype) -> dtype:
    """`higher`, unless `lower` is of a category above it."""
    rank = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}
    if rank[lower.kind] <= rank[higher.kind]:
        return higher
    if lower.kind == "c" and higher.kind == "f":
        return higher.to_complex()
    return lower


def can_cast(from_: dtype, to: dtype) -> bool:
    """Whether values of `from_` may be written into `to` under PyTorch's rules: never down a category."""
    _need_dtypes("can_cast", from_, to)
    rank = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}
    return rank[from_.kind] <= rank[to.kind]


class _Info:
    def __init__(self, type: dtype | None, info: Any, fields: tuple[str, ...]) -> None:
        chosen = type or get_default_dtype()
        self.dtype = chosen.name
        self.bits = chosen.itemsize * 8
        found = info(chosen.to_real().numpy)
        for field in fields:
            value = getattr(found, field)
            setattr(self, field, int(value) if info is np.iinfo else float(value))
        self._fields = fields


class finfo(_Info):
    """Numerical limits of a floating-point type: `bits`, `eps`, `max`, `min`, `tiny`, `smallest_normal`,
    `resolution`.
    """

    def __init__(self, type: dtype | None = None) -> None:
        if type is not None and not (type.is_floating_point or type.is_complex):
            raise TypeError(
                f"finfo(): a floating-point or complex dtype is needed, got {type}; iinfo() is for integers"
            )
        super().__init__(type, ml_dtypes.finfo, ("eps", "max", "min", "tiny", "smallest_normal", "resolution"))

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}, "
            f"smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, dtype={self.dtype})"
        )


class iinfo(_Info):
    """Numerical limits of an integer type: `bits`, `max`, `min`."""

    def __init__(self, type: dtype) -> None:
        if type.kind not in "ui":
            raise TypeError(f"iinfo(): an integer dtype is needed, got {type}; finfo() is for floating-point types")
        super().__init__(type, np.iinfo, ("max", "min"))

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"
