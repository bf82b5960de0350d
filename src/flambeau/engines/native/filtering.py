"""Convolution by 3x3 kernels of stride 1 in arrays: Winograd's method where it pays."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from . import threads
from .calls import WIDE, address
from .correlate import RUN
from .gemm import tile
from .windows import Image, Sizes, copied, image_of, made, offsets_of, share
from .winograd import TileWord, WeightsWord, tiles_code, weights_code

__all__ = ["filtered", "pays"]


class _Tiling(NamedTuple):
    """How a batch of images falls into panels of tiles."""

    image: Image
    panels: int
    last: int
    offsets: np.ndarray
    starts: np.ndarray
    runs: np.ndarray
    out_starts: np.ndarray
    out_runs: np.ndarray


@lru_cache(maxsize=256)
def _tiling(n: int, channels: int, outputs: int, shape: Sizes, low: Sizes, out: Sizes, m: int, size: int) -> _Tiling:
    """Tiles of m x m results for images of `shape`, `low` zeros before them, with results of `out`."""
    edge, lanes = m + 2, (64 if WIDE else 32) // size
    width = tile(WIDE)[1] * lanes
    down, along = -(-out[0] // m), -(-out[1] // m)
    length = (1, (down - 1) * m + edge, (along - 1) * m + edge)
    image = image_of((1, *shape), (0, *low), length, (1, m, m), tuple(range(edge)), size)
    taps = tuple((0, i, j) for i in range(edge) for j in range(edge))
    starts, out_starts = [0], [0]
    runs: list[tuple[int, ...]] = []
    out_runs: list[tuple[int, ...]] = []
    rows = tile(WIDE)[0]
    total = n * down * along
    for first in range(0, total, width):
        at, end = first, min(first + width, total)
        while at < end:
            line, column = divmod(at, along)
            number, y = divmod(line, down)
            count = min(end - at, along - column)
            source = number * channels * image.channel + y * image.steps[1] + column * size
            for i in range(0, count, lanes):
                runs.append((source + i * size, (at - first + i) * size, min(lanes, count - i), 0))
            wide = min(count * m, out[1] - column * m)
            for i in range(min(m, out[0] - y * m)):
                place = (i * rows * width + at - first) * m * size
                to = ((number * outputs * out[0] + y * m + i) * out[1] + column * m) * size
                for j in range(0, wide, lanes):
                    out_runs.append((place + j * size, to + j * size, min(lanes, wide - j), 0))
            at += count
        starts.append(len(runs) * RUN)
        out_starts.append(len(out_runs) * RUN)
    left = total - (len(starts) - 2) * width
    tables = (np.array(table, np.int64) for table in (starts, runs, out_starts, out_runs))
    return _Tiling(image, len(starts) - 1, -(-left // lanes), offsets_of(channels, image, taps, size), *tables)


def pays(n: int, channels: int, outputs: int, out: Sizes) -> bool:
    """Whether the transforms cost less than the products they spare."""
    return channels >= 16 and outputs >= 32 and channels % 8 == 0 and outputs % 8 == 0 and n * out[0] * out[1] >= 256


def filtered(x: np.ndarray, w: np.ndarray, turned: bool, bias: Any, low: Sizes, result: np.ndarray, m: int = 2) -> None:
    """Fills `result` by the correlation of contiguous images `x` with kernels `w`, `low` zeros before the images; if
    `turned`, with kernels turned by half a circle, whose first axis is the input channel.
    """
    n, channels = x.shape[:2]
    outputs, size = result.shape[1], x.itemsize
    plan = _tiling(n, channels, outputs, x.shape[2:], low, result.shape[2:], m, size)
    count, rows = (m + 2) ** 2, tile(WIDE)[0]
    weights = np.empty(count * channels * outputs, x.dtype)
    steps = (9 * size, 9 * outputs * size) if turned else (9 * channels * size, 9 * size)
    words = [0] * WeightsWord.COUNT
    words[WeightsWord.KERNELS], words[WeightsWord.RESULT] = address(w), address(weights)
    words[WeightsWord.STEP_ROW], words[WeightsWord.STEP_CHANNEL], words[WeightsWord.CHANNELS] = *steps, channels
    share(*made(weights_code, size == 8, m, turned), words, outputs // rows, 1, channels * outputs * 5.0)
    laid = copied(x, plan.image)
    wanted, chunks = 4 * threads.count(), 1
    while plan.panels * chunks < wanted and outputs // (2 * chunks) >= 64:
        chunks *= 2
    chunk = -(-outputs // chunks)
    chunk += -chunk % rows
    piece = count * channels * tile(WIDE)[1] * (64 if WIDE else 32)
    scratch, claims = np.empty(threads.count() * piece // size, x.dtype), np.zeros(-(-threads.count() // 64), np.int64)
    offset = np.zeros(outputs, x.dtype) if bias is None else bias
    w_, words = TileWord, [0] * TileWord.COUNT
    words[w_.A], words[w_.B], words[w_.C] = address(weights), address(laid), address(result)
    words[w_.M], words[w_.K], words[w_.BIAS] = outputs, channels, address(offset)
    words[w_.STEP_C], words[w_.CHUNKS], words[w_.ROWS] = result.shape[2] * result.shape[3] * size, chunks, chunk
    words[w_.PANELS], words[w_.OFFSETS] = plan.panels, address(plan.offsets)
    words[w_.STARTS], words[w_.RUNS] = address(plan.starts), address(plan.runs)
    words[w_.OUT_STARTS], words[w_.OUT_RUNS] = address(plan.out_starts), address(plan.out_runs)
    words[w_.SCRATCH], words[w_.SCRATCH_STEP] = address(scratch), piece
    words[w_.CLAIMS], words[w_.SLOTS] = address(claims), threads.count()
    total = plan.panels * chunks
    share(*made(tiles_code, size == 8, m, plan.last), words, total, max(1, total // (16 * threads.count())), 1e9)
