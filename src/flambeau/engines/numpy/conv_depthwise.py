"""Depthwise convolution: every channel with a kernel of its own, so there are no products for BLAS to do.

Some channels of the padded input, split by stride phases, lie in one run of memory. In it a kernel element is an
offset: a tap is one multiplication and one addition over the whole run. Rows are as wide as the padded input's; what
the extra columns hold is dropped at the end (forward) or zero from the start (gradients).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np

from .conv_blocks import Geometry
from .parallel import get_num_threads, run_tasks, scratch

__all__ = ["forward", "input_gradient", "suits", "weight_gradient"]

_BLOCK = 1 << 14  # elements of padded input worked on at a time: ten such arrays stay in the second-level cache
_SMALL_WORK = 2_000_000  # multiplications below which one thread is enough


class _Runs:
    """Where the taps of a depthwise convolution lie: `[D', H', W']` planes per phase, flattened."""

    def __init__(self, geo: Geometry) -> None:
        self.geo = geo
        self.sizes = tuple(
            o + (k - 1) * d // s for o, k, d, s in zip(geo.out, geo.kernel, geo.dilation, geo.stride, strict=True)
        )
        rows, width = self.sizes[1], self.sizes[2]
        self.plane = self.sizes[0] * rows * width
        self.length = ((geo.out[0] - 1) * rows + geo.out[1] - 1) * width + geo.out[2]
        self.phases = geo.stride[0] * geo.stride[1] * geo.stride[2]
        self.taps = [self._tap(at) for at in itertools.product(*(range(k) for k in geo.kernel))]

    def _tap(self, at: tuple[int, ...]) -> tuple[int, int]:
        """The phase that a kernel element reads, and its offset there."""
        phase = offset = 0
        for i, d, s, size in zip(at, self.geo.dilation, self.geo.stride, self.sizes, strict=True):
            shift, rest = divmod(i * d, s)
            phase, offset = phase * s + rest, offset * size + shift
        return phase, offset

    def windows(self) -> Iterator[tuple[int, tuple[slice, ...], tuple[slice, ...]]]:
        """For each phase: its number, the part of its plane that input fills, and which part of the input that is."""
        stride = self.geo.stride
        for number, at in enumerate(itertools.product(*(range(s) for s in stride))):
            put, get = [], []
            for rest, s, size, n, p in zip(at, stride, self.sizes, self.geo.size, self.geo.pad, strict=True):
                first = max(0, -((rest - p) // s))  # the first q with q * s + rest - p >= 0
                last = max(first, min(size, (n - 1 + p - rest) // s + 1))
                put.append(slice(first, last))
                start = first * s + rest - p
                get.append(slice(start, start + (last - first - 1) * s + 1, s) if last > first else slice(0, 0))
            yield number, tuple(put), tuple(get)

    def output(self, flat: np.ndarray) -> np.ndarray:
        """The output positions in runs `[..., plane]`."""
        d, h, w = self.geo.out
        return flat.reshape(*flat.shape[:-1], *self.sizes)[..., :d, :h, :w]


def suits(geo: Geometry, groups: int, out_channels: int) -> bool:
    """Whether each input channel is a group of its own, with one or a few outputs."""
    return groups == geo.c and groups > 1 and out_channels <= 4 * groups and geo.taps > 1


def _over_channels(runs: _Runs, fn: Callable[[int, int, int, int], None], block: int = _BLOCK) -> None:
    """Run `fn(c0, c1, n0, n1)` over ranges of channels that fit the cache, and of images."""
    geo = runs.geo
    step = max(1, min(geo.c, block // max(1, runs.plane)))
    channels = [(c, min(c + step, geo.c)) for c in range(0, geo.c, step)]
    threads = get_num_threads()
    if threads == 1 or geo.n * geo.c * geo.columns * geo.taps < _SMALL_WORK:
        for c0, c1 in channels:
            fn(c0, c1, 0, geo.n)
        return
    images = 1 if len(channels) >= 2 * threads else min(geo.n, 2 * threads)
    cuts = [geo.n * i // images for i in range(images + 1)]
    run_tasks(fn, [(c0, c1, cuts[i], cuts[i + 1]) for c0, c1 in channels for i in range(images)])


def _expanded(runs: _Runs, w: np.ndarray) -> np.ndarray:
    """The weight `[C, times, taps]` of each position in a run: `[times, taps, C * plane]`."""
    return np.repeat(np.ascontiguousarray(w.transpose(1, 2, 0)), runs.plane, axis=2)


def _load(runs: _Runs, x: np.ndarray) -> np.ndarray:
    """The channels `x` `[C, D, H, W]`, padded and by phases: `[phases, C, plane]`."""
    wide = scratch("depthwise", (runs.phases, x.shape[0], runs.plane), x.dtype)
    planes = wide.reshape(runs.phases, x.shape[0], *runs.sizes)
    for number, put, get in runs.windows():
        if any(s.stop - s.start < size for s, size in zip(put, runs.sizes, strict=True)):
            planes[number] = 0
        planes[number][:, put[0], put[1], put[2]] = x[:, get[0], get[1], get[2]]
    return wide


def forward(x: np.ndarray, w: np.ndarray, geo: Geometry, out: np.ndarray) -> None:
    """`out` is overwritten by the convolution of `x` with `w` `[Co, 1, kd, kh, kw]`."""
    runs = _Runs(geo)
    times = w.shape[0] // geo.c
    results = out.reshape(geo.n, geo.c, times, *geo.out)

    def channels(c0: int, c1: int, n0: int, n1: int) -> None:
        length = (c1 - c0 - 1) * runs.plane + runs.length
        weights = _expanded(runs, w.reshape(geo.c, times, -1)[c0:c1])
        total = scratch("depthwise_sum", ((c1 - c0) * runs.plane,), out.dtype)
        part = scratch("depthwise_part", (length,), out.dtype)
        run, shaped = total[:length], runs.output(total.reshape(c1 - c0, -1))
        for n in range(n0, n1):
            wide = _load(runs, x[n, c0:c1]).reshape(runs.phases, -1)
            for t in range(times):
                for i, (phase, offset) in enumerate(runs.taps):
                    source = wide[phase, offset : offset + length]
                    if i == 0:
                        np.multiply(source, weights[t, i, :length], out=run)
                    else:
                        np.multiply(source, weights[t, i, :length], out=part)
                        np.add(run, part, out=run)
                results[n, c0:c1, t] = shaped

    _over_channels(runs, channels)


def _spread(runs: _Runs, g: np.ndarray) -> np.ndarray:
    """Gradients `[C, Do, Ho, Wo]` in runs `[C, plane]`, zero in the extra columns."""
    flat = scratch("depthwise_sum", (g.shape[0], runs.plane), g.dtype)
    flat[...] = 0
    runs.output(flat)[...] = g
    return flat


def input_gradient(g: np.ndarray, w: np.ndarray, geo: Geometry, out: np.ndarray) -> None:
    """`out` is overwritten by the gradient of the input."""
    runs = _Runs(geo)
    times = w.shape[0] // geo.c
    grads = g.reshape(geo.n, geo.c, times, *geo.out)

    def channels(c0: int, c1: int, n0: int, n1: int) -> None:
        length = (c1 - c0 - 1) * runs.plane + runs.length
        weights = _expanded(runs, w.reshape(geo.c, times, -1)[c0:c1])
        wide = scratch("depthwise", (runs.phases, (c1 - c0) * runs.plane), out.dtype)
        part = scratch("depthwise_part", (length,), out.dtype)
        planes = wide.reshape(runs.phases, c1 - c0, *runs.sizes)
        for n in range(n0, n1):
            wide[...] = 0
            for t in range(times):
                source = _spread(runs, grads[n, c0:c1, t]).reshape(-1)[:length]
                for i, (phase, offset) in enumerate(runs.taps):
                    target = wide[phase, offset : offset + length]
                    np.multiply(source, weights[t, i, :length], out=part)
                    np.add(target, part, out=target)
            result = out[n, c0:c1]
            result[...] = 0
            for number, put, get in runs.windows():
                result[:, get[0], get[1], get[2]] = planes[number][:, put[0], put[1], put[2]]

    _over_channels(runs, channels)


def weight_gradient(g: np.ndarray, x: np.ndarray, geo: Geometry, out: np.ndarray) -> None:
    """`out` is overwritten by the gradient of the weight."""
    runs = _Runs(geo)
    times = out.shape[0] // geo.c
    grads = g.reshape(geo.n, geo.c, times, *geo.out)
    partial = np.zeros((geo.n, geo.c, times, geo.taps), out.dtype)

    def channels(c0: int, c1: int, n0: int, n1: int) -> None:
        for n in range(n0, n1):
            wide = _load(runs, x[n, c0:c1])
            for t in range(times):
                source = _spread(runs, grads[n, c0:c1, t])[:, None, : runs.length]
                for i, (phase, offset) in enumerate(runs.taps):
                    window = wide[phase][:, offset : offset + runs.length, None]
                    partial[n, c0:c1, t, i] = np.matmul(source, window)[:, 0, 0]

    _over_channels(runs, channels, 8 * _BLOCK)
    out[...] = partial.sum(axis=0).reshape(out.shape)
