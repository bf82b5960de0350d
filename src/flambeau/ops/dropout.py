"""Dropout: zero elements, or whole channels, at random, and scale up the rest (Hinton et al. 2012, arXiv:1207.0580).

The noise is drawn by PyTorch's Bernoulli kernel, so masks are PyTorch's for the same seed. The alpha kinds keep the
mean and the variance of what SELU gives (Klambauer et al. 2017, arXiv:1706.02515).
"""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau import random
from flambeau.engines.arrays import VALUELESS
from flambeau.engines.numpy import draws
from flambeau.errors import describe, need_tensor
from flambeau.ops.core import op
from flambeau.ops.dispatch import wrap
from flambeau.ops.fillers import arranged, drawing
from flambeau.ops.whole import recorded_whole

__all__ = ["alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout"]

_ALPHA = 1.7580993408473766  # minus the value that SELU approaches for large negative arguments


@op(name="drop", grad_name="MulBackward0")
def _drop(k, input: Tensor, noise: Index):
    """Each element times its noise."""
    return k.mul(input, noise)


@_drop.derivative("input")
def _(k, g, noise):
    return k.mul(g, noise)


@op(name="drop_and_shift", grad_name="AddBackward0", upcast=False)  # 16-bit types round the product before the sum
def _drop_and_shift(k, input: Tensor, noise: Index, shift: Index):
    """Each element times its noise, plus its shift."""
    return k.add(k.mul(input, noise), shift)


@_drop_and_shift.derivative("input")
def _(k, g, noise):
    return k.mul(g, noise)


def _noise(input: Any, keep: float, channels: bool) -> np.ndarray:
    """Ones with probability `keep`, else zeros: per element in the input's memory layout, or one per channel."""
    array = input._a
    source = random.default_generator if array.__class__ not in VALUELESS else random.NOWHERE
    if channels:
        if array.ndim < 2:
            raise RuntimeError(f"feature dropout needs at least 2 dimensions, got {describe(input)}")
        shape = array.shape[:2] + (1,) * (array.ndim - 2)
        return draws.bernoulli(source, shape[0] * shape[1], keep).reshape(shape)
    return arranged(draws.bernoulli(source, array.size, keep), array)


def _check(name: str, input: Any, p: Any, error: type[Exception]) -> float:
    need_tensor(name, input)
    if not 0 <= p <= 1:
        raise error(f"{name}(): the probability p must lie between 0 and 1, got {p}")
    return float(p)


def _dropped(name: str, input: Any, p: float, inplace: bool, alpha: bool = False, channels: bool = False) -> Any:
    storage = input._a.dtype
    if not input.is_floating_point():
        if input.is_complex():
            raise NotImplementedError(
                f"{name}() is not implemented for {input.dtype}; drop real and imaginary parts apart"
            )
        raise RuntimeError(
            f"{name}() expects a floating-point tensor, but got {describe(input)}; convert it with .float()"
        )
    shift = None
    if p == 1:
        noise = wrap(np.zeros((), storage))
    else:
        like = input if input._level is None else wrap(np.empty(input._a.shape, storage))
        noise, shift = _drawn_noise(like, p, alpha, channels)
    if inplace:
        input.mul_(noise)
        return input if shift is None else input.add_(shift)
    return _drop(input, noise) if shift is None else _drop_and_shift(input, noise, shift)


@recorded_whole
@drawing
def _drawn_noise(input: Any, p: float, alpha: bool, channels: bool) -> tuple[Any, Any]:
    """What to multiply with, and what to add (None for nothing)."""
    mask = _noise(input, 1 - p, channels)
    if not alpha:
        return wrap(_scaled(mask, 1 - p, input._a.dtype)), None
    noise, shift = _alpha_noise(mask, p, input._a.dtype)
    return wrap(noise), wrap(shift)


def _scaled(mask: np.ndarray, keep: float, storage: np.dtype) -> np.ndarray:
    """1 / keep where the mask is set, else 0; 16-bit types divide in float32."""
    wide = storage.type if storage in (np.float32, np.float64) else np.float32
    noise = mask.astype(storage)
    noise *= (wide(1) / wide(keep)).astype(storage)
    return noise


def _alpha_noise(mask: np.ndarray, p: float, storage: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """What to multiply with and what to add, step by step in the tensor's dtype."""
    a = 1 / ((_ALPHA * _ALPHA * p + 1) * (1 - p)) ** 0.5
    wide = np.dtype(storage if storage in (np.float32, np.float64) else np.float32)
    ones = mask.astype(wide)
    shift = (ones - 1) * wide.type(_ALPHA * a)
    shift = shift.astype(storage).astype(wide) + wide.type(_ALPHA * a * p)
    return (ones * wide.type(a)).astype(storage), shift.astype(storage)


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """In training, zeroes each element with probability `p` and divides the others by 1 - p; otherwise the input
    itself.

    ValueError for a `p` outside [0, 1].

    >>> import flambeau as torch
    >>> torch.nn.functional.dropout(torch.ones(3), p=0.0)
    tensor([1., 1., 1.])
    """
    p = _check("dropout", input, p, ValueError)
    if not training or p == 0 or not input._a.size:
        return input
    return _dropped("dropout", input, p, inplace)


def alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Any:
    """Dropout for SELU networks: sets elements to SELU's negative limit, then scales and shifts to keep mean and
    variance.
    """
    p = _check("alpha_dropout", input, p, ValueError)
    if not training or p == 0 or not input._a.size:
        return input
    return _dropped("alpha_dropout", input, p, inplace, alpha=True)


def feature_alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Any:
    """`alpha_dropout` of whole channels (dimension 1)."""
    p = _check("feature_alpha_dropout", input, p, ValueError)
    if not training or p == 0 or not input._a.size:
        return input
    return _dropped("feature_alpha_dropout", input, p, inplace, alpha=True, channels=True)


def _channels(name: str, input: Any, p: float, training: bool, inplace: bool) -> Any:
    if not training or p == 0 or not input._a.size:
        return input
    return _dropped(name, input, p, inplace, channels=True)


def _unbatched(name: str, input: Any, p: float, training: bool, inplace: bool) -> Any:
    """One sample without a batch dimension: it gets one for the while."""
    if inplace:
        _channels(name, input.unsqueeze(0), p, training, True)
        return input
    return _channels(name, input.unsqueeze(0), p, training, False).squeeze(0)


def dropout1d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """In training, zeroes whole channels of (N, C, L) or (C, L) with probability `p`, and scales up the others."""
    p = _check("dropout1d", input, p, ValueError)
    if input.dim() not in (2, 3):
        raise RuntimeError(f"dropout1d expects an input of shape (N, C, L) or (C, L), but got {describe(input)}")
    return (_channels if input.dim() == 3 else _unbatched)("dropout1d", input, p, training, inplace)


def dropout2d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """In training, zeroes whole channels of (N, C, H, W) with probability `p`, and divides the others by 1 - p.

    Three dimensions are taken as (N, C, L), with a warning, as in PyTorch. So are other numbers of dimensions.
    """
    p = _check("dropout2d", input, p, ValueError)
    if input.dim() == 3:
        warnings.warn(
            "dropout2d takes a 3-dim input as (N, C, L) and drops channels in dimension 1; say so with dropout1d, "
            "or give a single image a batch dimension with unsqueeze(0)",
            stacklevel=2,
        )
    elif input.dim() != 4:
        warnings.warn(f"dropout2d expects (N, C, H, W), but got {describe(input)}; use dropout instead", stacklevel=2)
    return _channels("dropout2d", input, p, training, inplace)


def dropout3d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """In training, zeroes whole channels of (N, C, D, H, W) or (C, D, H, W) with probability `p`, and divides the
    others by 1 - p.
    """
    p = _check("dropout3d", input, p, ValueError)
    if input.dim() not in (4, 5):
        warnings.warn(
            f"dropout3d expects (N, C, D, H, W) or (C, D, H, W), but got {describe(input)}; use dropout instead",
            stacklevel=2,
        )
    return (_channels if input.dim() == 5 else _unbatched)("dropout3d", input, p, training, inplace)


# --- the forms in the flat namespace --------------------------------------------------------------------------------


def _plain(name: str, inplace: bool, **how: bool) -> Callable[[Any, float, bool], Any]:
    """The function of that name in the flat namespace, which wants all of its three arguments."""

    def function(input: Any, p: float, train: bool) -> Any:
        p = _check(name, input, p, RuntimeError)
        if not train or p == 0 or not input._a.size:
            return input
        return _dropped(name, input, p, inplace, **how)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`nn.functional.{name.rstrip('_')}` without defaults{', in place' if inplace else ''}."
    return function


def native_dropout(input: Any, p: float, train: bool | None) -> tuple[Any, Any]:
    """Dropout and its mask of bools."""
    p = _check("native_dropout", input, p, RuntimeError)
    if train is False or not input._a.size:
        return input, beside(input, np.ones(input._a.shape, np.bool_))
    if p == 1:
        return _drop(input, wrap(np.zeros((), input._a.dtype))), wrap(np.zeros(input._a.shape, np.bool_))
    like = input if input._level is None else wrap(np.empty(input._a.shape, input._a.dtype))
    noise, _ = _drawn_noise(like, p, False, False)
    return _drop(input, noise), noise != 0


#: What `flambeau` itself offers under these names.
NAMESPACE: dict[str, Callable] = {"native_dropout": native_dropout}
for _suffix in ("", "_"):
    for _name, _how in (
        ("dropout", {}),
        ("alpha_dropout", {"alpha": True}),
        ("feature_dropout", {"channels": True}),
        ("feature_alpha_dropout", {"alpha": True, "channels": True}),
    ):
        NAMESPACE[_name + _suffix] = _plain(_name + _suffix, bool(_suffix), **_how)
