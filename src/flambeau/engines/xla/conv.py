"""Convolution, its transpose and its weight's gradient: XLA's own convolution with dilations."""

from __future__ import annotations

from typing import Any

from flambeau.engines.xla.protocol import PRECISE
from flambeau.engines.xla.runtime import jnp, lax

__all__ = ["conv", "conv_input", "conv_weight"]


def _layout(nd: int) -> tuple[str, str, str]:
    space = "DHW"[3 - nd :]
    return f"NC{space}", f"OI{space}", f"NC{space}"


def _integers(a: Any) -> bool:
    return a.dtype.kind in "iub"


def _run(x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int, spread: Any = None) -> Any:
    return lax.conv_general_dilated(
        x, w, stride, padding, spread, dilation, dimension_numbers=_layout(x.ndim - 2), feature_group_count=groups,
        precision=None if _integers(x) else PRECISE, preferred_element_type=x.dtype,
    )  # fmt: skip


def conv(x: Any, w: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """Cross-correlation of `x` `[N, C, ...]` with `w` `[Co, C / groups, ...]`, plus `bias` `[Co]` unless None."""
    size = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(x.shape[2:], w.shape[2:], stride, padding, dilation)
    ]
    if 0 in x.shape or 0 in w.shape or min(size, default=1) < 1:
        out = jnp.zeros((x.shape[0], w.shape[0], *(max(n, 0) for n in size)), x.dtype)
    else:
        out = _run(x, w, stride, [(p, p) for p in padding], dilation, groups)
    return out if bias is None else out + bias.reshape(-1, *(1,) * (x.ndim - 2))


def conv_input(g: Any, w: Any, bias: Any, x_shape: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """The gradient of `conv` for its input of shape `x_shape`, plus `bias`: the transposed convolution of `g`."""
    if 0 in g.shape or 0 in w.shape or 0 in x_shape:
        out = jnp.zeros(x_shape, g.dtype)
    else:
        co, ci = w.shape[:2]
        space = w.shape[2:]
        flipped = jnp.flip(w, range(2, w.ndim)).reshape(groups, co // groups, ci, *space)
        flipped = jnp.swapaxes(flipped, 1, 2).reshape(groups * ci, co // groups, *space)
        pads = []
        for n, m, k, s, p, d in zip(x_shape[2:], g.shape[2:], space, stride, padding, dilation):
            before = d * (k - 1) - p
            pads.append((before, n - ((m - 1) * s + 1) + d * (k - 1) - before))
        out = _run(g, flipped, (1,) * len(space), pads, dilation, groups, stride)
    return out if bias is None else out + bias.reshape(-1, *(1,) * (g.ndim - 2))


def conv_weight(g: Any, x: Any, w_shape: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """The gradient of `conv` for its weight of shape `w_shape`."""
    if 0 in g.shape or 0 in x.shape or 0 in w_shape:
        return jnp.zeros(w_shape, g.dtype)
    n, c = x.shape[:2]
    # images become channels and groups images: each group's channels are correlated with its outputs' gradients
    cg = c // groups
    xs = jnp.moveaxis(x.reshape(n, groups, cg, *x.shape[2:]), 0, 2).reshape(groups * cg, n, *x.shape[2:])
    gs = jnp.moveaxis(g.reshape(n, groups, -1, *g.shape[2:]), 0, 2).reshape(-1, n, *g.shape[2:])
    pads = []
    for size, m, k, s, p, d in zip(x.shape[2:], g.shape[2:], w_shape[2:], stride, padding, dilation):
        pads.append((p, (k - 1) * d + (m - 1) * s + 1 - size - p))
    co = w_shape[0] // groups
    return _by_group(xs, gs, cg, co, groups, dilation, pads, stride)


def _by_group(xs: Any, gs: Any, cg: int, co: int, groups: int, dilation: Any, pads: Any, stride: Any) -> Any:
    """All groups in one convolution with as many feature groups: for depthwise convolutions and their like."""
    n = xs.shape[1]
    space = xs.shape[2:]
    x = jnp.moveaxis(xs.reshape(groups, cg, n, *space), 0, 1).reshape(cg, groups * n, *space)
    out = _run(x, gs, dilation, pads, stride, groups)  # (cg, groups * co, kernel)
    kernel = out.shape[2:]
    out = out.reshape(cg, groups, co, *kernel)
    return jnp.moveaxis(out, 0, 2).reshape(groups * co, cg, *kernel)
