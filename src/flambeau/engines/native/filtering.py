"""Convolution by 3x3 kernels of stride 1 in arrays: Winograd's method where it pays."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from . import threads
from .calls import WIDE, address
from .channels import ChannelsWord, channels_code
from .correlate import RUN
from .gemm import tile
from .windows import Image, Sizes, copied, image_of, made, offsets_of, share
from .winograd import TileWord, WeightsWord, tiles_code, weights_code
from .winograd_weights import KernelsWord, SumsWord, kernels_code, row_bytes, sums_code

__all__ = ["filtered", "filtered_weights", "pays", "weights_pay"]


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


# --- gradient of the kernels --------------------------------------------------------------------------------------

_SLICE_BYTES = 1 << 24  # at most, of transformed tiles of a slice


@lru_cache(maxsize=256)
def _rows_of(height: int, row: int, low: int, total: int) -> np.ndarray:
    """Where the rows of padded images begin in a plane, for `spread` and its like: negative for zeros."""
    at = np.arange(total, dtype=np.int64) - low
    return np.where((at >= 0) & (at < height), at * row, -1)


def _channels_last(images: np.ndarray, low: Sizes, height: int, width: int) -> np.ndarray:
    """Contiguous images `[N, C, H, W]` as `[N, height, width, C]`, `low` zeros before them."""
    n, c, h, w = images.shape
    size = images.itemsize
    result = np.empty((n, height, width, c), images.dtype)
    rows = _rows_of(h, w * size, low[0], height)
    words = [0] * ChannelsWord.COUNT
    words[ChannelsWord.SOURCE], words[ChannelsWord.RESULT] = address(images), address(result)
    words[ChannelsWord.ROWS], words[ChannelsWord.FROM] = height, address(rows)
    words[ChannelsWord.IMAGE], words[ChannelsWord.PLANE] = c * h * w * size, h * w * size
    words[ChannelsWord.CHANNELS] = c
    function = made(channels_code, size == 8, low[1], w, width - w - low[1])
    share(*function, words, n * height, max(1, 32768 // (width * c)), result.size * 0.3)
    return result


@lru_cache(maxsize=256)
def _places(n: int, down: int, along: int, image: Sizes, grad: Sizes) -> np.ndarray:
    """Where each tile lies in images and gradients: bytes from image to image, row to row, column to column."""
    number, y, x = (v.reshape(-1) for v in np.indices((n, down, along)))
    return np.stack([number * s[0] + 2 * y * s[1] + 2 * x * s[2] for s in (image, grad)], axis=1).astype(np.int64)


def weights_pay(n: int, channels: int, outputs: int, out: Sizes) -> bool:
    """Likewise for the gradient of the kernels."""
    lanes = 16 if WIDE else 8
    return (
        channels % lanes == 0 and outputs % lanes == 0 and min(channels, outputs) >= 32 and n * out[0] * out[1] >= 256
    )


def filtered_weights(x: np.ndarray, g: np.ndarray, low: Sizes, result: np.ndarray) -> None:
    """Fills `result` by the gradient of `filtered` for its kernels: `x` the images, `g` the result's gradient."""
    (n, channels), outputs, size = x.shape[:2], g.shape[1], x.itemsize
    down, along = -(-g.shape[2] // 2), -(-g.shape[3] // 2)
    height, width = 2 * down + 2, 2 * along + 2
    images = _channels_last(x, low, height, width)
    grads = _channels_last(g, (0, 0), height - 2, width - 2)
    places = _places(n, down, along, images.strides[:3], grads.strides[:3])
    total, rows, count = n * down * along, tile(WIDE)[0], threads.count()
    chunk = outputs
    while outputs * channels >= 1 << 15 and chunk > 64 and (outputs // chunk) < 2 * count and chunk % (2 * rows) == 0:
        chunk //= 2
    chunks = -(-outputs // chunk)
    share_of = -(-total // max(1, min(total // 64, 2 * count // chunks)))
    parts = -(-total // share_of)
    row = row_bytes(channels, size), row_bytes(outputs, size)
    # few channels: all of a slice stays in the second-level cache; many: the sums are read and written less often
    length = 48 if channels * outputs <= 1 << 13 else 128
    length = max(16, min(length, _SLICE_BYTES // (16 * (row[0] + row[1])), share_of))
    piece = 16 * length * (row[0] + row[1])
    scratch, claims = np.empty(count * piece // size, x.dtype), np.zeros(-(-count // 64), np.int64)
    sums = np.empty((parts, 16, outputs, channels), x.dtype)
    w, words = SumsWord, [0] * SumsWord.COUNT
    words[w.A], words[w.B], words[w.C] = address(grads), address(images), address(sums)
    words[w.M], words[w.K], words[w.ROWS], words[w.CHUNKS] = outputs, total, chunk, chunks
    words[w.STEP_A], words[w.STEP_C], words[w.SHARE] = row[1], channels * size, share_of
    words[w.TILES], words[w.PART_C], words[w.ELEMENT_C] = address(places), sums[0].nbytes, sums[0, 0].nbytes
    words[w.SCRATCH], words[w.SCRATCH_STEP], words[w.CLAIMS], words[w.SLOTS] = (
        address(scratch),
        piece,
        address(claims),
        count,
    )
    function = made(sums_code, size == 8, channels, outputs, images.strides[1], grads.strides[1], length)
    share(*function, words, parts * chunks, 1, 1e9)
    words = [0] * KernelsWord.COUNT
    words[KernelsWord.SUMS], words[KernelsWord.KERNELS] = address(sums), address(result)
    words[KernelsWord.CHANNELS], words[KernelsWord.PARTS] = channels, parts
    words[KernelsWord.PART], words[KernelsWord.ELEMENT] = sums[0].nbytes, sums[0, 0].nbytes
    share(*made(kernels_code, size == 8), words, outputs, max(1, 8192 // channels), outputs * channels * 8.0)
