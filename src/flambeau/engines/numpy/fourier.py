"""Discrete Fourier transforms, unscaled, through NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np


def fft_c2c(a: Any, dims: tuple[int, ...], scale: float, forward: bool) -> Any:
    """The transform of complex numbers over `dims`, times `scale`."""
    result = np.fft.fftn(a, axes=dims) if forward else np.fft.ifftn(a, axes=dims, norm="forward")
    return _scaled(result, scale)


def fft_r2c(a: Any, dims: tuple[int, ...], scale: float) -> Any:
    """The forward transform of real numbers, of which the last dimension keeps the half that is not redundant."""
    return _scaled(np.fft.rfftn(a, axes=dims), scale)


def fft_c2r(a: Any, dims: tuple[int, ...], scale: float, length: int) -> Any:
    """The backward transform of half a Hermitian spectrum to real numbers, `length` of them in the last dimension."""
    for d in dims[:-1]:
        a = np.fft.ifft(a, axis=d, norm="forward")
    return _scaled(np.fft.irfft(a, length, axis=dims[-1], norm="forward"), scale)


def _scaled(a: Any, scale: float) -> Any:
    return a if scale == 1 else a * scale
