"""``torch.signal.windows``: weights for the samples of a frame.

`M` is the number of points. A symmetric window (`sym=True`) ends as it begins, for filters; a periodic one is a
symmetric window of one more point without its last, for spectra. The values are computed in double precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.autograd.runtime import NS
from flambeau.tensor.formats import strided

__all__ = [
    "bartlett",
    "blackman",
    "cosine",
    "exponential",
    "gaussian",
    "general_cosine",
    "general_hamming",
    "hamming",
    "hann",
    "kaiser",
    "nuttall",
]


def _made(
    name: str, M: int, sym: bool, formula: Callable, dtype: Any, layout: Any, device: Any, requires_grad: bool
) -> Any:
    """`formula(i, n)` at the points i = 0, 1, ..., of a window whose last point would be n."""
    kind = dtypes.get_default_dtype() if dtype is None else dtype
    if M < 0:
        raise ValueError(f"{name}(): M, the number of points, must not be negative, got {M}")
    if layout is not strided:
        raise ValueError(f"{name}(): only strided tensors are made, got the layout {layout}")
    if kind not in (dtypes.float32, dtypes.float64):
        raise ValueError(f"{name}(): the dtype must be float32 or float64, got {kind}")
    n = M if not sym and M > 1 else M - 1
    values = formula(np.arange(M, dtype=np.float64), n) if M != 1 else np.ones(1)
    result = NS["WRAP"](np.asarray(values, dtype=kind.numpy))
    if device is not None:
        result = result.to(device)
    return result.requires_grad_() if requires_grad else result


def exponential(
    M: int,
    *,
    center: float | None = None,
    tau: float = 1.0,
    sym: bool = True,
    dtype: Any = None,
    layout: Any = strided,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """exp(-|i - center| / tau); a `center` of one's own is for periodic windows."""
    if tau <= 0:
        raise ValueError(f"exponential(): tau must be positive, got {tau}")
    if sym and center is not None:
        raise ValueError("exponential(): a symmetric window has its center in the middle; pass sym=False or no center")

    def formula(i: Any, n: int) -> Any:
        return np.exp(-np.abs(i - (n / 2 if center is None else center)) / tau)

    if M == 1 and center is not None:
        return _made("exponential", M, sym, formula, dtype, layout, device, False) * math.exp(-abs(center) / tau)
    return _made("exponential", M, sym, formula, dtype, layout, device, requires_grad)


def cosine(
    M: int,
    *,
    sym: bool = True,
    dtype: Any = None,
    layout: Any = strided,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """The arch of a sine between its zeros."""
    return _made(
        "cosine", M, sym, lambda i, n: np.sin(np.pi * (i + 0.5) / (n + 1)), dtype, layout, device, requires_grad
    )


def gaussian(
    M: int,
    *,
    std: float = 1.0,
    sym: bool = True,
    dtype: Any = None,
    layout: Any = strided,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """A bell of standard deviation `std`, in points."""
    if std <= 0:
        raise ValueError(f"gaussian(): std must be positive, got {std}")
    return _made(
        "gaussian", M, sym, lambda i, n: np.exp(-(((i - n / 2) / std) ** 2) / 2), dtype, layout, device, requires_grad
    )


def kaiser(
    M: int,
    *,
    beta: float = 12.0,
    sym: bool = True,
    dtype: Any = None,
    layout: Any = strided,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """Kaiser's window of shape `beta`, from Bessel's function I0."""
    if beta < 0:
        raise ValueError(f"kaiser(): beta must not be negative, got {beta}")

    def formula(i: Any, n: int) -> Any:
        return np.i0(beta * np.sqrt(np.maximum(1 - (2 * i / n - 1) ** 2, 0))) / np.i0(beta) if M else i

    return _made("kaiser", M, sym, formula, dtype, layout, device, requires_grad)


def bartlett(
    M: int,
    *,
    sym: bool = True,
    dtype: Any = None,
    layout: Any = strided,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """A triangle with zeros at its ends."""
    return _made("bartlett", M, sym, lambda i, n: 1 - np.abs(2 * i / n - 1), dtype, layout, device, requires_grad)


def general_cosine(
    M: int,
    *,
    a: Iterable,
    sym: bool = True,
    dtype: Any = None,
    layout: Any = strided,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """A sum of cosines with the coefficients `a`, of alternating signs."""
    if not isinstance(a, Iterable):
        raise TypeError(f"general_cosine(): a must be a sequence of coefficients, got {type(a).__name__}")
    coefficients = list(a)
    if not coefficients:
        raise ValueError("general_cosine(): a must have at least one coefficient")

    def formula(i: Any, n: int) -> Any:
        terms = ((-1) ** j * c * np.cos(2 * np.pi * j * i / n) for j, c in enumerate(coefficients))
        return sum(terms) if M else i

    return _made("general_cosine", M, sym, formula, dtype, layout, device, requires_grad)


def general_hamming(M: int, *, alpha: float = 0.54, sym: bool = True, **options: Any) -> Any:
    """alpha - (1 - alpha) cos."""
    return general_cosine(M, a=[alpha, 1.0 - alpha], sym=sym, **options)


def hamming(M: int, *, sym: bool = True, **options: Any) -> Any:
    """Hamming's window, 0.54 - 0.46 cos.

    >>> import flambeau as torch
    >>> torch.signal.windows.hamming(5)
    tensor([0.0800, 0.5400, 1.0000, 0.5400, 0.0800])
    """
    return general_hamming(M, sym=sym, **options)


def hann(M: int, *, sym: bool = True, **options: Any) -> Any:
    """Hann's window, a raised cosine."""
    return general_hamming(M, alpha=0.5, sym=sym, **options)


def blackman(M: int, *, sym: bool = True, **options: Any) -> Any:
    """Blackman's window, of two cosines."""
    return general_cosine(M, a=[0.42, 0.5, 0.08], sym=sym, **options)


def nuttall(M: int, *, sym: bool = True, **options: Any) -> Any:
    """Nuttall's window, of three cosines, with small side lobes."""
    return general_cosine(M, a=[0.3635819, 0.4891775, 0.1365995, 0.0106411], sym=sym, **options)
