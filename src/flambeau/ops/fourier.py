"""Discrete Fourier transforms and their kin."""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.autograd.graph import show_as
from flambeau.autograd.runtime import NS
from flambeau.errors import need_tensor
from flambeau.ops import shape
from flambeau.ops.core import op
from flambeau.ops.dims import wrap_dims
from flambeau.ops.dispatch import deliver
from flambeau.ops.elementwise import conj_physical


@op(grad_name="FftC2CBackward0")
def fft_c2c(k, input: Tensor, dims, scale, forward):
    """The transform of complex numbers over `dims`, times `scale`."""
    return k.fft_c2c(input, dims, scale, forward)


@fft_c2c.derivative("input")
def _(k, g, dims, scale, forward):
    return k.fft_c2c(g, dims, scale, forward)  # the transform's matrix is symmetric


@op(holomorphic=False, grad_name="FftR2CBackward0")
def fft_r2c(k, input: Tensor, dims, scale):
    """The transform of real numbers: the half of the last dimension that is not redundant."""
    return k.fft_r2c(input, dims, scale)


@fft_r2c.derivative("input")
def _(k, g, dims, scale, input_shape):
    last = dims[-1]
    half = g.shape[last]
    if half != input_shape[last]:
        g = k.slice_put(g, input_shape, last, 0, half)
    return k.real(k.fft_c2c(g, dims, scale, False))


@op(holomorphic=False, grad_name="FftC2RBackward0")
def fft_c2r(k, input: Tensor, dims, scale, length):
    """The backward transform of half a Hermitian spectrum to real numbers."""
    return k.fft_c2r(input, dims, scale, length)


@fft_c2r.derivative("input")
def _(k, g, dims, scale, length, input_shape):
    last = dims[-1]
    half = k.fft_r2c(g, dims, scale)
    twice = (length - 1) // 2  # both a number and its mirror image were used
    if not twice:
        return half
    parts = [k.slice(half, last, 0, 1), k.mul(k.slice(half, last, 1, 1 + twice), 2)]
    if half.shape[last] > 1 + twice:
        parts.append(k.slice(half, last, 1 + twice, half.shape[last]))
    return k.cat(parts, last)


def _complex(input: Any) -> Any:
    a = input._a
    if a.dtype.kind == "c":
        return input
    return shape.to_numpy_dtype(input, np.complex128 if a.dtype == np.float64 else np.complex64)


def _real(name: str, input: Any) -> Any:
    a = input._a
    if a.dtype.kind == "c":
        raise RuntimeError(f"{name}(): a floating-point tensor is needed, got {input.dtype}")
    return input if a.dtype.kind == "f" else shape.to_numpy_dtype(input, dtypes.get_default_dtype().numpy)


def _sized(input: Any, dims: tuple[int, ...], sizes: Any) -> Any:
    """`input` cut or padded with zeros to `sizes` along `dims`."""
    if sizes is None:
        return input
    for d, n in zip(dims, sizes, strict=True):
        if n is None or n == -1:
            continue
        if n < 1:
            raise RuntimeError(f"a length to transform must be at least 1, got n={n}")
        have = input._a.shape[d]
        if n < have:
            input = shape.slice(input, d, 0, n)
        elif n > have:
            full = (*input._a.shape[:d], n, *input._a.shape[d + 1 :])
            input = NS["OPS"].slice_put(input, full, d, 0, have)
    return input


def _scale(norm: str | None, count: int, forward: bool) -> float:
    if norm not in (None, "forward", "backward", "ortho"):
        raise RuntimeError(f"norm must be 'forward', 'backward' or 'ortho', got {norm!r}")
    if norm == "ortho":
        return 1 / math.sqrt(count)
    return 1 / count if (norm == "forward") == forward else 1.0


def _dims(input: Any, s: Any, dim: Any) -> tuple[tuple[int, ...], Any]:
    n = input._a.ndim
    if s is not None and not isinstance(s, (tuple, list)):
        s = (s,)
    if dim is None:
        return tuple(range(n - len(s), n) if s is not None else range(n)), s
    dims = wrap_dims(dim, n)
    if s is not None and len(s) != len(dims):
        raise RuntimeError(f"s and dim must be equally long, got {len(s)} and {len(dims)} values")
    return dims, s


def _count(input: Any, dims: tuple[int, ...]) -> int:
    for d in dims:
        if input._a.shape[d] < 1:
            raise RuntimeError(f"a length to transform must be at least 1; dimension {d} has {input._a.shape[d]}")
    return math.prod(input._a.shape[d] for d in dims)


def _c2c(name: str, input: Any, s: Any, dim: Any, norm: str | None, forward: bool, out: Any) -> Any:
    need_tensor(name, input)
    dims, s = _dims(input, s, dim)
    x = _sized(_complex(input), dims, s)
    if not dims:
        return deliver(name, out, x)
    result = fft_c2c(x, dims, _scale(norm, _count(x, dims), forward), forward)
    if input._a.dtype.kind != "c" and name in ("fft", "ifft"):
        show_as(result, "FftR2CBackward0")
    return deliver(name, out, result)


def _r2c(name: str, input: Any, s: Any, dim: Any, norm: str | None, out: Any) -> Any:
    need_tensor(name, input)
    dims, s = _dims(input, s, dim)
    x = _sized(_real(name, input), dims, s)
    return deliver(name, out, fft_r2c(x, dims, _scale(norm, _count(x, dims), True)))


def _c2r(name: str, input: Any, s: Any, dim: Any, norm: str | None, forward: bool, out: Any) -> Any:
    need_tensor(name, input)
    dims, s = _dims(input, s, dim)
    x = _complex(input)
    length = 2 * (x._a.shape[dims[-1]] - 1) if s is None or s[-1] in (None, -1) else s[-1]
    if length < 1:
        raise RuntimeError(f"a length to transform must be at least 1, got {length}")
    wanted = [None] * len(dims) if s is None else list(s)
    x = _sized(x, dims, [*wanted[:-1], length // 2 + 1])
    if forward:
        x = conj_physical(x)
    count = length * math.prod(x._a.shape[d] for d in dims[:-1])
    return deliver(name, out, fft_c2r(x, dims, _scale(norm, count, forward), length))


def fft(input: Any, n: int | None = None, dim: int = -1, norm: str | None = None, *, out: Any = None) -> Any:
    """The Fourier transform along `dim`, of `n` points (cut, or padded with zeros).

    `norm` scales: 'backward' (the default) not at all, 'ortho' by 1 / sqrt(n), 'forward' by 1 / n.
    """
    return _c2c("fft", input, None if n is None else (n,), dim, norm, True, out)


def ifft(input: Any, n: int | None = None, dim: int = -1, norm: str | None = None, *, out: Any = None) -> Any:
    """The inverse of `fft`."""
    return _c2c("ifft", input, None if n is None else (n,), dim, norm, False, out)


def fft2(input: Any, s: Any = None, dim: Any = (-2, -1), norm: str | None = None, *, out: Any = None) -> Any:
    """The Fourier transform over two dimensions."""
    return _c2c("fft2", input, s, dim, norm, True, out)


def ifft2(input: Any, s: Any = None, dim: Any = (-2, -1), norm: str | None = None, *, out: Any = None) -> Any:
    """The inverse of `fft2`."""
    return _c2c("ifft2", input, s, dim, norm, False, out)


def fftn(input: Any, s: Any = None, dim: Any = None, norm: str | None = None, *, out: Any = None) -> Any:
    """The Fourier transform over `dim` (all, or the last as many as `s` has sizes)."""
    return _c2c("fftn", input, s, dim, norm, True, out)


def ifftn(input: Any, s: Any = None, dim: Any = None, norm: str | None = None, *, out: Any = None) -> Any:
    """The inverse of `fftn`."""
    return _c2c("ifftn", input, s, dim, norm, False, out)


def rfft(input: Any, n: int | None = None, dim: int = -1, norm: str | None = None, *, out: Any = None) -> Any:
    """The Fourier transform of real numbers along `dim`: the n // 2 + 1 values that are not redundant."""
    return _r2c("rfft", input, None if n is None else (n,), dim, norm, out)


def irfft(input: Any, n: int | None = None, dim: int = -1, norm: str | None = None, *, out: Any = None) -> Any:
    """The inverse of `rfft`: `n` real numbers (2 (m - 1) from m values)."""
    return _c2r("irfft", input, None if n is None else (n,), dim, norm, False, out)


def rfft2(input: Any, s: Any = None, dim: Any = (-2, -1), norm: str | None = None, *, out: Any = None) -> Any:
    """The Fourier transform of real numbers over two dimensions."""
    return _r2c("rfft2", input, s, dim, norm, out)


def irfft2(input: Any, s: Any = None, dim: Any = (-2, -1), norm: str | None = None, *, out: Any = None) -> Any:
    """The inverse of `rfft2`."""
    return _c2r("irfft2", input, s, dim, norm, False, out)


def rfftn(input: Any, s: Any = None, dim: Any = None, norm: str | None = None, *, out: Any = None) -> Any:
    """The Fourier transform of real numbers over `dim`."""
    return _r2c("rfftn", input, s, dim, norm, out)


def irfftn(input: Any, s: Any = None, dim: Any = None, norm: str | None = None, *, out: Any = None) -> Any:
    """The inverse of `rfftn`."""
    return _c2r("irfftn", input, s, dim, norm, False, out)


def hfft(input: Any, n: int | None = None, dim: int = -1, norm: str | None = None, *, out: Any = None) -> Any:
    """The Fourier transform, real, of a Hermitian signal of which half is given."""
    return _c2r("hfft", input, None if n is None else (n,), dim, norm, True, out)


def ihfft(input: Any, n: int | None = None, dim: int = -1, norm: str | None = None, *, out: Any = None) -> Any:
    """The inverse of `hfft`."""
    dims, s = _dims(input, None if n is None else (n,), dim)
    x = _sized(_real("ihfft", input), dims, s)
    return deliver("ihfft", out, conj_physical(fft_r2c(x, dims, _scale(norm, _count(x, dims), False))))


def hfftn(input: Any, s: Any = None, dim: Any = None, norm: str | None = None, *, out: Any = None) -> Any:
    """The Fourier transform, real, of a signal that is Hermitian over `dim`, of which half of the last is given."""
    dims, s = _dims(input, s, dim)
    first = _c2c("hfftn", input, None if s is None else s[:-1], dims[:-1], norm, True, None)
    return _c2r("hfftn", first, None if s is None else s[-1:], dims[-1:], norm, True, out)


def ihfftn(input: Any, s: Any = None, dim: Any = None, norm: str | None = None, *, out: Any = None) -> Any:
    """The inverse of `hfftn`."""
    dims, s = _dims(input, s, dim)
    last = ihfft(input, None if s is None else s[-1], dims[-1], norm)
    return _c2c("ihfftn", last, None if s is None else s[:-1], dims[:-1], norm, False, out)


def hfft2(input: Any, s: Any = None, dim: Any = (-2, -1), norm: str | None = None, *, out: Any = None) -> Any:
    """`hfftn` over two dimensions."""
    return hfftn(input, s, dim, norm, out=out)


def ihfft2(input: Any, s: Any = None, dim: Any = (-2, -1), norm: str | None = None, *, out: Any = None) -> Any:
    """The inverse of `hfft2`."""
    return ihfftn(input, s, dim, norm, out=out)


def fftfreq(n: int, d: float = 1.0, *, dtype: Any = None, out: Any = None, **kwargs: Any) -> Any:
    """The frequencies that `fft` of `n` points `d` apart gives, in its order."""
    kind = (dtype or dtypes.get_default_dtype()).numpy
    steps = np.concatenate((np.arange((n + 1) // 2), np.arange(-(n // 2), 0)))
    return deliver("fftfreq", out, _made(steps.astype(kind) * kind.type(1 / (n * d)), kwargs))


def rfftfreq(n: int, d: float = 1.0, *, dtype: Any = None, out: Any = None, **kwargs: Any) -> Any:
    """The frequencies that `rfft` of `n` points `d` apart gives."""
    kind = (dtype or dtypes.get_default_dtype()).numpy
    return deliver("rfftfreq", out, _made(np.arange(n // 2 + 1).astype(kind) * kind.type(1 / (n * d)), kwargs))


def _made(array: Any, options: dict[str, Any]) -> Any:
    result = NS["WRAP"](array)
    return result.requires_grad_() if options.get("requires_grad") else result


def fftshift(input: Any, dim: Any = None) -> Any:
    """The zero frequency moved to the middle of `dim` (all)."""
    dims = tuple(range(input._a.ndim)) if dim is None else wrap_dims(dim, input._a.ndim)
    return shape.roll(input, tuple(input._a.shape[d] // 2 for d in dims), dims)


def ifftshift(input: Any, dim: Any = None) -> Any:
    """The inverse of `fftshift`."""
    dims = tuple(range(input._a.ndim)) if dim is None else wrap_dims(dim, input._a.ndim)
    return shape.roll(input, tuple((input._a.shape[d] + 1) // 2 for d in dims), dims)
