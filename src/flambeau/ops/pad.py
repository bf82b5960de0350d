"""Padding, in all of `F.pad`'s modes."""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau.ops.core import op

_MODES = ("constant", "reflect", "replicate", "circular")


def _pairs(pad: Sequence[int], ndim: int) -> tuple[tuple[int, int], ...]:
    """The widths per dimension from a list that starts with the last dimension."""
    given = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
    return ((0, 0),) * (ndim - len(given)) + tuple(reversed(given))


@op(any_dtype=True, grad_name="ConstantPadNdBackward0")
def constant_pad_nd(k, input: Tensor, pad, value=0):
    """A border of `value`: `pad` holds (before, after) from the last dimension on; negative widths cut off.

    RuntimeError for an odd number of widths, more than there are dimensions, or a negative length.
    """
    pairs = _check_pad(pad, input.shape)
    for d, (n, (b, e)) in enumerate(zip(input.shape, pairs)):
        if n + b + e < 0 or (b < 0 and -b > n) or (e < 0 and -e > n):
            raise RuntimeError(f"pad: dimension {d} of length {n} can't be padded by {b} and {e}: a negative length")
    return k.constant_pad(input, pairs, value)


@constant_pad_nd.derivative("input")
def _(k, g, pad):
    return k.constant_pad_nd(g, [-p for p in pad], 0)


def _check_pad(pad: Sequence[int], shape: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    if len(pad) % 2:
        raise RuntimeError(f"pad: expected an even number of widths, got {list(pad)}")
    if len(pad) // 2 > len(shape):
        raise RuntimeError(f"pad: {len(pad) // 2} pairs of widths for an input of {len(shape)} dimensions {shape}")
    return _pairs(pad, len(shape))


@op(any_dtype=True, grad_name="CopySlices")
def edge_pad(k, input: Tensor, pairs, mode):
    """The input continued over its borders; `pairs` are the widths per dimension."""
    return k.edge_pad(input, pairs, mode)


@edge_pad.derivative("input")
def _(k, g, pairs, mode):
    return k.edge_fold(g, pairs, mode)


@op(any_dtype=True)
def edge_fold(k, g: Tensor, pairs, mode):
    """The transpose of `edge_pad`."""
    return k.edge_fold(g, pairs, mode)


@edge_fold.derivative("g")
def _(k, g, pairs, mode):
    return k.edge_pad(g, pairs, mode)


def _declare(name: str, mode: str, grad_name: str) -> Any:
    """An op that pads in one mode over a number of dimensions."""

    def compute(k, input: Tensor, padding):
        return k.edge_pad(input, _pairs(padding, input.ndim), mode)

    compute.__name__ = compute.__qualname__ = name
    compute.__doc__ = f"Padding in the mode '{mode}'; see `pad`."
    function = op(any_dtype=True, grad_name=grad_name)(compute)

    @function.derivative("input")
    def _(k, g, padding, input_shape):
        return k.edge_fold(g, _pairs(padding, len(input_shape)), mode)

    return function


reflection_pad1d = _declare("reflection_pad1d", "reflect", "ReflectionPad1DBackward0")
reflection_pad2d = _declare("reflection_pad2d", "reflect", "ReflectionPad2DBackward0")
reflection_pad3d = _declare("reflection_pad3d", "reflect", "ReflectionPad3DBackward0")
replication_pad1d = _declare("replication_pad1d", "replicate", "ReplicationPad1DBackward0")
replication_pad2d = _declare("replication_pad2d", "replicate", "ReplicationPad2DBackward0")
replication_pad3d = _declare("replication_pad3d", "replicate", "ReplicationPad3DBackward0")

_BY_DIMS = {
    "reflect": (reflection_pad1d, reflection_pad2d, reflection_pad3d),
    "replicate": (replication_pad1d, replication_pad2d, replication_pad3d),
}


def _check_edges(shape: tuple[int, ...], pad: Sequence[int], mode: str) -> None:
    """RuntimeError for widths that the mode can't fill."""
    n_dims = len(pad) // 2
    batched = len(shape) == n_dims + 2
    if any(n == 0 for n in (shape[1:] if batched else shape)):
        raise RuntimeError(f"pad: mode '{mode}' needs dimensions that are not empty, got {shape}")
    for i in range(n_dims):
        n, b, e = shape[len(shape) - 1 - i], pad[2 * i], pad[2 * i + 1]
        if mode == "reflect" and (b >= n or e >= n):
            raise RuntimeError(f"pad: reflection over {b} and {e} needs a longer dimension than {n}, shape {shape}")
        if mode == "circular" and (b > n or e > n):
            raise RuntimeError(
                f"pad: circular padding by {b} and {e} of a dimension of length {n} wraps more than once"
            )
        if n + b + e < (0 if mode == "circular" else 1):
            raise RuntimeError(f"pad: padding by {b} and {e} leaves nothing of a dimension of length {n}")


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    """Pad the last dimensions of `input` by `pad`: (left, right), (left, right, top, bottom), and so on.

    'constant' fills with `value` (0 if None) and pads any number of dimensions. 'reflect' mirrors without repeating the
    edge, 'replicate' repeats it, 'circular' continues periodically: these pad the last 1, 2 or 3 dimensions of inputs
    with a channel and perhaps a batch dimension. Negative widths cut off.

    RuntimeError for widths that do not fit, NotImplementedError for other numbers of dimensions or an unknown mode.

    >>> import flambeau as torch
    >>> torch.nn.functional.pad(torch.tensor([[1.0, 2.0, 3.0]]), (1, 2), mode="reflect")
    tensor([[2., 1., 2., 3., 2., 1.]])
    """
    widths = [int(p) for p in (pad.tolist() if hasattr(pad, "tolist") else pad)]
    shape = tuple(input.shape)
    _check_pad(widths, shape)
    if mode == "constant":
        return constant_pad_nd(input, widths, 0 if value is None else value)
    if value is not None and value != 0:
        raise RuntimeError(f"pad: mode '{mode}' takes no value, got {value}")
    n = len(widths) // 2
    if mode not in _MODES or n not in (1, 2, 3) or len(shape) not in (n + 1, n + 2):
        what = f"one of {_MODES}, got {mode!r}" if mode not in _MODES else f"{n + 1} or {n + 2} dimensions, got {shape}"
        raise NotImplementedError(f"pad: expected {what} (with {len(widths)} widths)")
    _check_edges(shape, widths, mode)
    if mode == "circular":
        return edge_pad(input, _pairs(widths, len(shape)), mode)
    return _BY_DIMS[mode][n - 1](input, widths)
