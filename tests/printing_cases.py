"""Cases of printing: arrays made from a few numbers, with print options, for the tests with and without PyTorch."""

import json
from pathlib import Path

import ml_dtypes
import numpy as np

RECORDED = Path(__file__).parent / "recorded" / "printing.json"
SMALL_FLOATS = {"bfloat16": "int16", "float8_e4m3fn": "uint8", "float8_e5m2": "uint8"}
FLOATS = ["float32", "float32", "float32", "float32", "float64", "float16", *SMALL_FLOATS]
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "bool", "uint16", "uint32", "uint64"]
COMPLEX = ["complex64", "complex128"]


def numpy_dtype(name):
    return np.dtype(getattr(ml_dtypes, name) if name in SMALL_FLOATS else name)


def build(case):
    """The array of a case: `values` repeated to fill `shape`."""
    dtype = numpy_dtype(case["dtype"])
    values = case["values"]
    if dtype.kind == "c":
        values = [complex(*pair) for pair in values]
    count = int(np.prod(case["shape"], dtype=int))
    with np.errstate(all="ignore"):
        flat = np.array(values, dtype=object if dtype.kind in "iu" else None)
        return np.resize(flat.astype(dtype), count).reshape(case["shape"])


def _numbers(rng, count):
    """Floats of one of many looks: whole, tiny, huge, mixed, with or without zeros, nan and inf."""
    numbers = rng.standard_normal(count)
    look = rng.integers(10)
    if look == 1:
        numbers = np.round(numbers * rng.choice([1, 10, 1000, 1e5, 1e9]))
    elif look == 2:
        numbers = numbers * 10.0 ** rng.integers(-10, 10, count)
    elif look == 3:
        numbers = numbers * 10.0 ** rng.integers(-10, 10)
    elif look == 4:
        numbers = np.round(numbers * 3)
    elif look == 5:
        numbers = np.zeros(count) * rng.choice([-1, 1])
    elif look == 6:
        numbers = np.abs(numbers)
    elif look == 7:
        numbers = numbers * 1e-4
    elif look == 8:
        numbers = numbers * 10.0 ** rng.integers(-300, 300)
    if rng.random() < 0.3:
        odd = rng.random(count)
        for limit, value in ((0.45, -0.0), (0.4, 0.0), (0.3, -np.inf), (0.2, np.inf), (0.1, np.nan)):
            numbers = np.where(odd < limit, value, numbers)
    return np.array([float(f"{n:.7g}") for n in numbers])


def _values(rng, dtype, count):
    if dtype in COMPLEX:
        return np.stack([_numbers(rng, count), _numbers(rng, count)], 1).tolist()
    numbers = _numbers(rng, count)
    if dtype not in INTEGERS:
        return numbers.tolist()
    if dtype == "bool":
        return [bool(n > 0) for n in np.nan_to_num(numbers)]
    info = np.iinfo(dtype)
    return [int(np.clip(n, float(info.min) / 2, float(info.max) / 2)) for n in np.nan_to_num(numbers)]


def random_case(rng, largest=60):
    """A case drawn at random: dtype, shape, values, print options and what autograd knows."""
    ndim = int(rng.integers(0, 5))
    most = [1, largest, largest // 5, largest // 8, largest // 12][ndim] * (6 if rng.random() < 0.1 else 1) or 1
    shape = [int(n) for n in rng.integers(0 if rng.random() < 0.1 else 1, most + 1, ndim)]
    dtype = str(rng.choice(FLOATS * 2 + INTEGERS + COMPLEX * 2))
    count = min(max(int(np.prod(shape)), 1), largest)
    options = {}
    if rng.random() < 0.5:
        for name, low, high in (
            ("precision", 0, 9),
            ("threshold", 0, 300),
            ("edgeitems", 0, 5),
            ("linewidth", 10, 150),
        ):
            if rng.random() < 0.5:
                options[name] = int(rng.integers(low, high))
        if rng.random() < 0.3:
            options["sci_mode"] = [None, True, False][rng.integers(3)]
        if rng.random() < 0.3:
            options["profile"] = ["default", "short", "full"][rng.integers(3)]
    differentiable = dtype in ("float32", "float64", "float16", "bfloat16", *COMPLEX)
    return {
        "dtype": dtype,
        "shape": shape,
        "values": _values(rng, dtype, count),
        "options": options,
        "default": "float64" if rng.random() < 0.1 else "float32",
        "grad": str(rng.choice(["", "", "leaf", "CloneBackward0"])) if differentiable else "",
    }


def recorded():
    """The recorded cases; `text` is what PyTorch printed."""
    return json.loads(RECORDED.read_text())
