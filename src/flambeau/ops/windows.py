"""Windows, and the short-time Fourier transform that uses them."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.autograd.runtime import NS
from flambeau.ops import fourier, pad, shape
from flambeau.ops.arithmetic import div, mul
from flambeau.ops.dispatch import checks_values
from flambeau.ops.joining import unfold

__all__ = ["bartlett_window", "blackman_window", "hamming_window", "hann_window", "istft", "kaiser_window", "stft"]


def _window(name: str, length: int, periodic: bool, formula: Any, dtype: Any, requires_grad: bool) -> Any:
    """`formula` of the points 0, 1, ... and the last one's number; periodic windows leave out their last point."""
    kind = dtype or dtypes.get_default_dtype()
    if not kind.is_floating_point:
        raise RuntimeError(f"{name}(): a floating-point dtype is needed, got {kind}")
    if length < 0:
        raise RuntimeError(f"{name}(): window_length must not be negative, got {length}")
    n = length + 1 if periodic else length
    values = formula(np.arange(n, dtype=np.float64), max(n - 1, 1)) if length > 1 else np.ones(n)
    result = NS["WRAP"](values[:length].astype(kind.numpy))
    return result.requires_grad_() if requires_grad else result


def _cosines(*coefficients: float) -> Any:
    def formula(i: Any, last: int) -> Any:
        return sum((-1) ** k * c * np.cos(2 * np.pi * k * i / last) for k, c in enumerate(coefficients))

    return formula


def hann_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, requires_grad: bool = False, **_: Any
) -> Any:
    """Hann's window, a raised cosine."""
    return _window("hann_window", window_length, periodic, _cosines(0.5, 0.5), dtype, requires_grad)


def hamming_window(
    window_length: int,
    periodic: bool = True,
    alpha: float = 0.54,
    beta: float = 0.46,
    *,
    dtype: Any = None,
    requires_grad: bool = False,
    **_: Any,
) -> Any:
    """Hamming's window, alpha - beta cos."""
    return _window("hamming_window", window_length, periodic, _cosines(alpha, beta), dtype, requires_grad)


def blackman_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, requires_grad: bool = False, **_: Any
) -> Any:
    """Blackman's window, of two cosines."""
    return _window("blackman_window", window_length, periodic, _cosines(0.42, 0.5, 0.08), dtype, requires_grad)


def bartlett_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, requires_grad: bool = False, **_: Any
) -> Any:
    """Bartlett's window, a triangle."""
    return _window(
        "bartlett_window", window_length, periodic, lambda i, n: 1 - np.abs(2 * i / n - 1), dtype, requires_grad
    )


def kaiser_window(
    window_length: int,
    periodic: bool = True,
    beta: float = 12.0,
    *,
    dtype: Any = None,
    requires_grad: bool = False,
    **_: Any,
) -> Any:
    """Kaiser's window of shape `beta`."""

    def formula(i: Any, last: int) -> Any:
        return np.i0(beta * np.sqrt(np.maximum(1 - (2 * i / last - 1) ** 2, 0))) / np.i0(beta)

    return _window("kaiser_window", window_length, periodic, formula, dtype, requires_grad)


def _frame_window(name: str, window: Any, n_fft: int, win_length: int, like: Any) -> Any:
    """The window, or ones, centred in a frame of zeros."""
    if window is None:
        window = NS["BESIDE"](like, np.ones(win_length, like._a.real.dtype))
    if window._a.shape != (win_length,):
        raise RuntimeError(
            f"{name}(): the window must be a vector of win_length={win_length} elements, got {list(window._a.shape)}"
        )
    if win_length == n_fft:
        return window
    left = (n_fft - win_length) // 2
    return NS["OPS"].slice_put(window, (n_fft,), 0, left, left + win_length)


def stft(
    input: Any,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Any:
    """The Fourier transforms of windowed frames of a signal (..., time): (..., frequency, frame), complex.

    Frames are `n_fft` long and `hop_length` (a quarter) apart; with `center` the signal is padded so that frame t is
    centred at time t * hop_length. `return_complex=False` gives real and imaginary parts in a last dimension of 2.
    """
    a = input._a
    hop, width = hop_length or n_fft // 4, win_length or n_fft
    if a.ndim not in (1, 2) or a.dtype.kind not in "fc":
        raise RuntimeError(
            "stft(): a vector, or a batch of vectors, of numbers with a fraction is needed; got "
            f"{a.dtype}{list(a.shape)}"
        )
    if hop <= 0 or not 0 < width <= n_fft:
        raise RuntimeError(f"stft: expected hop_length > 0 and 0 < win_length <= n_fft, got {hop}, {width} and {n_fft}")
    whole = a.dtype.kind == "c" or (window is not None and window._a.dtype.kind == "c")
    onesided = not whole if onesided is None else onesided
    if return_complex is None and not whole:
        raise RuntimeError("stft(): return_complex must be given for real inputs; use return_complex=True")
    x = input if a.ndim == 2 else shape.unsqueeze(input, 0)
    if center:
        x = shape.squeeze_op(pad.pad(shape.unsqueeze(x, 0), (n_fft // 2, n_fft // 2), pad_mode), 0)
    if not 0 < n_fft <= x._a.shape[-1]:
        raise RuntimeError(f"stft: expected 0 < n_fft <= {x._a.shape[-1]}, but got n_fft={n_fft}")
    frames = mul(unfold(x, -1, n_fft, hop), _frame_window("stft", window, n_fft, width, input))
    norm = "ortho" if normalized else None
    spectrum = (fourier.rfft if onesided else fourier.fft)(frames, norm=norm)
    spectrum = shape.transpose(spectrum, -2, -1)
    spectrum = spectrum if a.ndim == 2 else shape.squeeze_op(spectrum, 0)
    return spectrum if return_complex or whole and return_complex is None else NS["OPS"].view_as_real(spectrum)


@checks_values
def _check_overlap(weight: np.ndarray) -> None:
    if not np.all(np.abs(weight) > 1e-11):
        raise RuntimeError(
            "istft: the squares of the windows add up to 0 somewhere: use more overlap or another window"
        )


def istft(
    input: Any,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Any:
    """The signal of a short-time Fourier transform: frames added up and divided by the windows' squares (Griffin and
    Lim 1984).
    """
    a = input._a
    if a.dtype.kind != "c" or a.ndim not in (2, 3):
        raise RuntimeError(f"istft(): a complex tensor of 2 or 3 dimensions is needed, got {a.dtype}{list(a.shape)}")
    hop, width = hop_length or n_fft // 4, win_length or n_fft
    onesided = a.shape[-2] != n_fft if onesided is None else onesided
    if a.shape[-2] != (n_fft // 2 + 1 if onesided else n_fft):
        raise RuntimeError(f"istft(): n_fft={n_fft} does not go with {a.shape[-2]} frequencies")
    spectrum = shape.transpose(input if a.ndim == 3 else shape.unsqueeze(input, 0), -2, -1)
    norm = "ortho" if normalized else None
    if return_complex:
        frames = fourier.ifft(spectrum, norm=norm)
    else:
        if not onesided:  # of a whole spectrum only the first half is read
            spectrum = shape.slice(spectrum, spectrum._a.ndim - 1, 0, n_fft // 2 + 1)
        frames = fourier.irfft(spectrum, n_fft, norm=norm)
    put = NS["OPS"].windows_put
    taper = _frame_window("istft", window, n_fft, width, input)
    batch, count, _ = frames._a.shape
    total = n_fft + hop * (count - 1)
    signal = put(mul(frames, taper), (batch, total), 1, n_fft, hop)
    weight = put(shape.expand_op(mul(taper, taper), (count, n_fft)), (total,), 0, n_fft, hop)
    start = n_fft // 2 if center else 0
    stop = start + length if length is not None else total - (n_fft // 2 if center else 0)
    kept = shape.slice(weight, 0, start, min(stop, total))
    if kept._level is None:
        _check_overlap(kept._a)
    result = div(shape.slice(signal, 1, start, min(stop, total)), kept)
    if stop > total:
        result = NS["OPS"].slice_put(result, (batch, stop - start), 1, 0, total - start)
    return result if a.ndim == 3 else shape.squeeze_op(result, 0)
