"""``assert_close``: equal in kind, and in value up to what the dtype allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

import flambeau

_TOLERANCES = {
    "float16": (1e-3, 1e-5),
    "bfloat16": (1.6e-2, 1e-5),
    "float32": (1.3e-6, 1e-5),
    "float64": (1e-7, 1e-7),
    "complex32": (1e-3, 1e-5),
    "complex64": (1.3e-6, 1e-5),
    "complex128": (1e-7, 1e-7),
}
Message = str | Callable[[str], str] | None


def _tolerances(*dtypes: Any) -> tuple[float, float]:
    pairs = [_TOLERANCES.get(str(dtype).rpartition(".")[2], (0.0, 0.0)) for dtype in dtypes]
    return max(p[0] for p in pairs), max(p[1] for p in pairs)


class _Comparison:
    """One call's options, and the comparison of one pair with them."""

    def __init__(self, rtol, atol, equal_nan, check_device, check_dtype, check_layout, check_stride):
        if (rtol is None) != (atol is None):
            raise ValueError(f"rtol and atol are given both or not at all; got rtol={rtol}, atol={atol}")
        self.rtol, self.atol, self.equal_nan = rtol, atol, equal_nan
        self.check_device, self.check_dtype = check_device, check_dtype
        self.check_layout, self.check_stride = check_layout, check_stride

    def differences(self, actual: Any, expected: Any) -> str | None:
        """What is wrong with two tensors, or ``None``."""
        if actual.shape != expected.shape:
            return f"The shapes do not match: {tuple(actual.shape)} != {tuple(expected.shape)}."
        if self.check_layout and actual.layout != expected.layout:
            return f"The layouts do not match: {actual.layout} != {expected.layout}."
        if self.check_device and actual.device != expected.device:
            return f"The devices do not match: {actual.device} != {expected.device}."
        if self.check_dtype and actual.dtype != expected.dtype:
            return f"The dtypes do not match: {actual.dtype} != {expected.dtype}."
        if self.check_stride and actual.stride() != expected.stride():
            return f"The strides do not match: {actual.stride()} != {expected.stride()}."
        rtol, atol = (self.rtol, self.atol) if self.rtol is not None else _tolerances(actual.dtype, expected.dtype)
        return self._values(_array(actual), _array(expected), rtol, atol)

    def _values(self, a: np.ndarray, e: np.ndarray, rtol: float, atol: float) -> str | None:
        with np.errstate(all="ignore"):
            wide = np.complex128 if "c" in (a.dtype.kind, e.dtype.kind) else np.float64
            if a.dtype.kind in "biu" and e.dtype.kind in "biu":
                exact = a == e
                gap = np.abs(a.astype(object) - e.astype(object)) if rtol or atol else None
                close = exact if gap is None else exact | (gap <= atol + rtol * np.abs(e.astype(object))).astype(bool)
            else:
                close = np.isclose(a.astype(wide), e.astype(wide), rtol=rtol, atol=atol, equal_nan=self.equal_nan)
            wrong = ~np.asarray(close, bool)
            count = int(wrong.sum())
            if not count:
                return None
            gap = np.where(wrong, np.abs(a.astype(wide) - e.astype(wide)), 0.0)
            relative = np.where(wrong, gap / np.abs(e.astype(wide)), 0.0)
        if not wrong.shape:
            return (
                f"Expected {e.item()} but got {a.item()}: the absolute difference is {float(gap)} (up to {atol} "
                f"allowed), the relative difference {float(relative)} (up to {rtol} allowed)."
            )
        at, rel_at = (np.unravel_index(int(np.argmax(x)), x.shape) for x in (gap, relative))
        return (
            f"{count} of {wrong.size} elements differ ({100 * count / wrong.size:.1f}%). The greatest absolute "
            f"difference is {gap[at]} at {tuple(map(int, at))} (up to {atol} allowed), the greatest relative "
            f"difference "
            f"is {relative[rel_at]} at {tuple(map(int, rel_at))} (up to {rtol} allowed)."
        )


def _array(tensor: Any) -> np.ndarray:
    tensor = tensor.detach()
    kind = str(tensor.dtype)
    tensor = tensor.to(flambeau.float32) if "bfloat16" in kind or "float8" in kind else tensor
    return tensor.cpu().resolve_conj().numpy()


def _pairs(actual: Any, expected: Any, where: str, subclasses: bool) -> Iterator[tuple[str, Any, Any]]:
    """Leaves to compare, with where they stand in the containers."""
    if isinstance(actual, Mapping) and isinstance(expected, Mapping):
        if set(actual) != set(expected):
            odd = sorted(set(actual) ^ set(expected), key=repr)
            raise AssertionError(f"the keys of the mappings differ{where}: {odd} are in one of them only")
        for key in actual:
            yield from _pairs(actual[key], expected[key], f"{where}[{key!r}]", subclasses)
    elif all(isinstance(x, Sequence) and not isinstance(x, str) for x in (actual, expected)):
        if len(actual) != len(expected):
            raise AssertionError(f"the lengths of the sequences differ{where}: {len(actual)} and {len(expected)}")
        for i, (a, e) in enumerate(zip(actual, expected)):
            yield from _pairs(a, e, f"{where}[{i}]", subclasses)
    elif actual is not None or expected is not None:
        yield where, *_leaves(actual, expected, subclasses)


def _leaves(actual: Any, expected: Any, subclasses: bool) -> tuple[Any, Any]:
    """Both as tensors, if they are of one kind: tensors, Python numbers, or arrays and NumPy's numbers."""
    related = type(actual) is type(expected) or (
        subclasses and (isinstance(actual, type(expected)) or isinstance(expected, type(actual)))
    )
    tensors = all(isinstance(x, flambeau.Tensor) for x in (actual, expected))
    if tensors and related:
        return actual, expected
    if all(isinstance(x, (np.ndarray, np.generic)) for x in (actual, expected)):
        return flambeau.as_tensor(actual), flambeau.as_tensor(expected)
    if all(isinstance(x, (int, float, complex)) for x in (actual, expected)):
        a, e = (flambeau.tensor(x, dtype=_NUMBERS.get(type(x).__name__, flambeau.float64)) for x in (actual, expected))
        return a, e
    raise TypeError(f"{type(actual).__name__} can't be compared with {type(expected).__name__}")


_NUMBERS = {"bool": flambeau.bool, "int": flambeau.int64, "complex": flambeau.complex128}


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: Message = None,
) -> None:
    """Check that ``actual`` and ``expected`` are close: ``|actual - expected| <= atol + rtol * |expected|`` everywhere.

    Tensors, numbers, arrays, and sequences and mappings of them are compared. Without ``rtol`` and ``atol`` both depend
        on
    the dtype: 1.3e-6 and 1e-5 for float32, 1e-7 and 1e-7 for float64, 0 for integers.

    Raises:
        AssertionError: they differ in shape, dtype, device, layout or value; it says where and by how much.
        ValueError: only one of ``rtol`` and ``atol`` is given.
        TypeError: something that cannot be compared.

    >>> import flambeau as torch
    >>> torch.testing.assert_close(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.000001]))
    """
    comparison = _Comparison(rtol, atol, equal_nan, check_device, check_dtype, check_layout, check_stride)
    for where, a, e in _pairs(actual, expected, "", allow_subclasses):
        text = comparison.differences(a, e)
        if text is not None:
            text = f"The values{' at ' + where if where else ''} are not close. {text}"
            raise AssertionError(msg(text) if callable(msg) else msg or text)


def assert_allclose(
    actual: Any,
    expected: Any,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = True,
    msg: str = "",
) -> None:
    """The older form of ``assert_close``: arrays and numbers welcome, dtypes need not match, NaN equals NaN."""
    a, e = flambeau.as_tensor(actual), flambeau.as_tensor(expected)
    if rtol is None and atol is None:
        rtol, atol = _tolerances(a.dtype, e.dtype)
    assert_close(a, e, rtol=rtol, atol=atol, equal_nan=equal_nan, check_dtype=False, msg=msg or None)
