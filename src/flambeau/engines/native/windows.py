"""Where the windows of a convolution lie in memory: the tables that `spread.py` and `correlate.py` read.

Every convolution has three spatial axes here, missing ones of size 1 in front. Tables depend on sizes alone: they are
kept.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from . import threads
from .calls import WIDE, address, function_of
from .correlate import RUN, ConvWord, correlate_code
from .gemm import tile
from .rearrange import RearrangeWord, rearrange_code
from .spread import HALVES, MAPPED, WHOLE, SpreadWord, spread_code
from .wgrad import LONGEST, MOST_ROWS, WeightWord, weight_code

__all__ = [
    "Image",
    "Sizes",
    "address",
    "copied",
    "correlate",
    "image_of",
    "made",
    "offsets_of",
    "panels_of",
    "rearrange",
    "spread",
]

Sizes = tuple[int, ...]

_made: dict[Any, tuple[int, Any]] = {}


def made(code: Any, *key: Any) -> tuple[int, Any]:
    """The function of `code(WIDE, *key)`, made once."""
    found = _made.get((code, key))
    if found is None:
        found = _made[code, key] = function_of(code(WIDE, *key))
    return found


@dataclass(eq=False, frozen=True, slots=True)
class Image:
    """How images lie: bytes from channel to channel and, per axis, from position to position (of a window's origin);
    bytes from element to element of a window are told by `at`. `copy` is None where images are read as they are.
    """

    channel: int
    steps: Sizes
    rows: Sizes
    parts: Sizes
    part: int
    stride: int
    copy: Any

    def at(self, tap: Sizes, size: int) -> int:
        """Where a window's element lies, `tap` positions from its origin."""
        place = self.parts.index(tap[2] % self.stride) * self.part + tap[2] // self.stride
        return (tap[0] * self.rows[0] + tap[1]) * self.rows[1] + place * size


@lru_cache(maxsize=1024)
def image_of(shape: Sizes, low: Sizes, length: Sizes, stride: Sizes, columns: Sizes, size: int) -> Image:
    """Images of a spatial shape as seen by windows: `low` zeros before them, `length` positions in all on each axis;
    windows are `stride` apart and read columns `columns` from their origin.
    """
    parts = tuple(sorted({c % stride[2] for c in columns}))
    if low == (0, 0, 0) and stride[2] == 1 and all(k <= n for k, n in zip(length, shape, strict=True)):
        row = shape[2] * size
        steps = (stride[0] * shape[1] * row, stride[1] * row, size)
        return Image(shape[0] * shape[1] * row, steps, (shape[1], row), parts, 0, 1, None)
    part = -(-length[2] // stride[2])
    row = part * len(parts) * size
    whole = np.full((length[0], length[1]), -1, np.int64)
    for d, h in product(range(length[0]), range(length[1])):
        z, y = d - low[0], h - low[1]
        if 0 <= z < shape[0] and 0 <= y < shape[1]:
            whole[d, h] = (z * shape[1] + y) * shape[2] * size
    if stride[2] == 1 and low[2] >= 0 and low[2] + shape[2] <= length[2]:
        copy: tuple[Any, ...] = (whole, shape[2], low[2] * size, None)
    elif stride[2] == 2:
        runs = []
        for number, first in enumerate(parts):  # column 2 q + first of the padded image is column q of the part
            start = max(0, -((first - low[2]) // 2))
            end = min(part, (shape[2] - 1 + low[2] - first) // 2 + 1, (length[2] - 1 - first) // 2 + 1)
            place = (number * part + start) * size
            runs.append(((2 * start + first - low[2]) * size, place, max(0, end - start)))
        copy = (whole, len(runs), 0, np.array(runs, np.int64).reshape(-1, 3))
    else:
        pairs = [
            ((i - low[2]) * size, (parts.index(i % stride[2]) * part + i // stride[2]) * size)
            for i in range(length[2])
            if 0 <= i - low[2] < shape[2] and i % stride[2] in parts
        ]
        copy = (whole, len(pairs), 0, np.array(pairs, np.int64).reshape(-1, 2))
    steps = (stride[0] * length[1] * row, stride[1] * row, size)
    return Image(length[0] * length[1] * row, steps, (length[1], row), parts, part, stride[2], copy)


def spread(
    source: np.ndarray, result: np.ndarray, planes: int, plane: int, step: int, rows: np.ndarray, count: int, left: int,
    pairs: np.ndarray | None, fill: float = 0.0,
) -> None:  # fmt: skip
    """Fills the rows of `result`, `step` bytes long, from planes of `plane` bytes; see `SpreadWord`."""
    total = planes * rows.size
    if not total or not step:
        return
    how = WHOLE if pairs is None else HALVES if pairs.shape[1] == 3 else MAPPED
    place, call = made(spread_code, source.itemsize == 8, how)
    words = [0] * SpreadWord.COUNT_OF
    words[SpreadWord.SOURCE], words[SpreadWord.RESULT] = address(source), address(result)
    words[SpreadWord.ROWS], words[SpreadWord.PLANE], words[SpreadWord.STEP] = rows.size, plane, step
    words[SpreadWord.FROM], words[SpreadWord.COUNT], words[SpreadWord.LEFT] = address(rows), count, left
    words[SpreadWord.MAP] = 0 if pairs is None else address(pairs)
    words[SpreadWord.FILL] = struct.unpack("<q", struct.pack("<d" if source.itemsize == 8 else "<f4x", fill))[0]
    share(place, call, words, total, max(1, 65536 // step), total * step * (4 if how == MAPPED else 1) / 16)


def copied(images: np.ndarray, image: Image, fill: float = 0.0) -> np.ndarray:
    """Contiguous images `[N, C, ...]` in the layout that `image` tells, with `fill` around them."""
    if image.copy is None:
        return images
    planes = images.shape[0] * images.shape[1]
    result = np.empty(planes * image.channel // images.itemsize, images.dtype)
    plane = images.nbytes // planes if planes else 0
    spread(images, result, planes, plane, image.rows[1], *image.copy, fill=fill)
    return result


def share(place: int, call: Any, words: list[int], end: int, piece: int, work: float) -> None:
    """Runs a native function over `range(end)`: on all threads if its work, in nanoseconds, is worth that."""
    table = np.array(words, np.int64).tobytes()
    if work < 12_000 or threads.alone():
        threads.run(place, call, table, end, end)
    else:
        threads.run(place, call, table, end, max(1, min(piece, -(-end // (2 * threads.count())))))


def rearrange(source: np.ndarray, start: int, result: np.ndarray, row: int, column: int, places: np.ndarray) -> None:
    """Fills a contiguous `result` `[rows, columns, numbers]` from bytes `start + row * i + column * j + places[k]`."""
    w, words = RearrangeWord, [0] * RearrangeWord.COUNT
    words[w.SOURCE], words[w.RESULT] = address(source) + start, address(result)
    words[w.ROW], words[w.COLUMN], words[w.PLACES] = row, column, address(places)
    rows, words[w.COLUMNS], words[w.NUMBERS] = result.shape
    if result.size:
        function = made(rearrange_code, result.itemsize == 8)
        share(*function, words, rows, max(1, 16384 * rows // result.size), result.size * 1.0)


class Panels(NamedTuple):
    """The output positions as columns of panels: how many panels, vectors in the last one, whether that is partial; and
    the panels' runs.
    """

    number: int
    last: int
    partial: bool
    starts: np.ndarray
    runs: np.ndarray


@lru_cache(maxsize=1024)
def panels_of(out: Sizes, steps: Sizes, size: int, width: int = 0) -> Panels:
    """Panels, `width` wide, for output positions `out`, `steps` bytes apart on each axis."""
    lanes = (64 if WIDE else 32) // size
    width = width or tile(WIDE)[1] * lanes
    depth, height, row = out
    if steps[1] == row * size:  # rows are side by side
        row, height = row * height, 1
        if steps[0] == row * size:
            row, depth = row * depth, 1
    total = depth * height * row
    starts: list[int] = []
    runs: list[tuple[int, ...]] = []
    for first in range(0, total, width):
        starts.append(len(runs) * RUN)
        at, end = first, min(first + width, total)
        while at < end:
            line, column = divmod(at, row)
            z, y = divmod(line, height)
            count = min(lanes, end - at, row - column)
            place = z * steps[0] + y * steps[1] + column * size
            runs.append((place, (at - first) * size, count, 0))
            at += count
    starts.append(len(runs) * RUN)
    left = total - (len(starts) - 2) * width
    return Panels(
        len(starts) - 1, -(-left // lanes), left % lanes != 0, np.array(starts, np.int64), np.array(runs, np.int64)
    )


@lru_cache(maxsize=1024)
def offsets_of(channels: int, image: Image, taps: tuple[Sizes, ...], size: int) -> np.ndarray:
    """Where each row of a panel lies: channel by channel, each with its kernel elements."""
    within = np.array([image.at(tap, size) for tap in taps], np.int64)
    return (np.arange(channels, dtype=np.int64)[:, None] * image.channel + within).reshape(-1)


def _side_by_side(n: int, batch: int, positions: Sizes, image: Image, size: int) -> tuple[Sizes, Sizes] | None:
    """Positions, and the bytes between them, of a batch of small images seen as one; None where it stays a batch."""
    few = 2 * tile(WIDE)[1] * (64 if WIDE else 32) // size
    if n == 1 or positions[0] != 1 or positions[1] * positions[2] >= few:
        return None
    return (n, *positions[1:]), (batch, *image.steps[1:])


def correlate(
    images: np.ndarray, image: Image, weight: np.ndarray, taps: tuple[Sizes, ...], bias: Any, out: np.ndarray,
    positions: Sizes,
) -> None:  # fmt: skip
    """Fills `out` `[N, groups, M, positions]` by products of `weight` `[groups, M, K]` with the windows of laid out
    images. `out` may be a view whose last dimension is contiguous.
    """
    n, (groups, m, k), size = out.shape[0], weight.shape, images.itemsize
    batch = groups * k // len(taps) * image.channel
    together = _side_by_side(n, batch, positions, image, size)
    if together is None:
        _correlate(images, image, image.steps, weight, taps, bias, out, positions)
        return
    whole = np.empty((1, groups, m, n * out.shape[3]), out.dtype)
    _correlate(images, image, together[1], weight, taps, bias, whole, together[0])
    out[...] = whole.reshape(groups, m, n, -1).transpose(2, 0, 1, 3)


def _correlate(
    images: np.ndarray, image: Image, steps: Sizes, weight: np.ndarray, taps: tuple[Sizes, ...], bias: Any,
    out: np.ndarray, positions: Sizes,
) -> None:  # fmt: skip
    n, (groups, m, k), size, out_steps = out.shape[0], weight.shape, images.itemsize, out.strides
    channels = k // len(taps)
    panels = panels_of(positions, steps, size)
    offsets = offsets_of(channels, image, taps, size)
    rows = tile(WIDE)[0]
    tasks, chunk = n * groups * panels.number, m
    wanted = 4 * threads.count()
    if tasks < wanted and m > rows:
        chunk = rows * max(1, m // rows * tasks // wanted)
    chunks = -(-m // chunk)
    w = ConvWord
    words = [0] * w.COUNT
    words[w.A], words[w.B], words[w.C] = address(weight), address(images), address(out)
    words[w.M], words[w.N], words[w.K] = m, positions[0] * positions[1] * positions[2], k
    words[w.STEP_A], words[w.STEP_C], words[w.CHUNKS], words[w.ROWS] = k * size, out_steps[2], chunks, chunk
    words[w.PANELS], words[w.BATCH_B], words[w.BATCH_C] = panels.number, groups * channels * image.channel, out_steps[0]
    words[w.BIAS] = 0 if bias is None else address(bias)
    words[w.INNER], words[w.INNER_A], words[w.INNER_B] = groups, m * k * size, channels * image.channel
    words[w.INNER_C] = out_steps[1]
    words[w.OFFSETS], words[w.STARTS], words[w.RUNS] = address(offsets), address(panels.starts), address(panels.runs)
    place, call = made(correlate_code, size == 8, m % rows, panels.last, panels.partial)
    total = tasks * chunks
    share(place, call, words, total, max(1, total // (8 * threads.count())), n * groups * m * k * words[w.N] / 40)


def weight_sums(
    images: np.ndarray, image: Image, g: np.ndarray, groups: int, taps: tuple[Sizes, ...], positions: Sizes
) -> np.ndarray:
    """Products of the windows of laid out images with contiguous gradients `[N, Co, ...]`, summed over positions:
    `[shares, groups, channels * taps, Co / groups]`, still to be summed over shares of the images.
    """
    n, size = g.shape[0], g.itemsize
    count = positions[0] * positions[1] * positions[2]
    batch, steps = images.nbytes // n, image.steps
    channels = batch // image.channel // groups
    together = _side_by_side(n, batch, positions, image, size)
    if together is not None:
        g = np.ascontiguousarray(g.reshape(n, g.shape[1], -1).swapaxes(0, 1))[None]
        n, count, (positions, steps) = 1, n * count, together
    m, columns, rows = channels * len(taps), g.shape[1] // groups, tile(WIDE)[0]
    slices = -(-count // LONGEST)
    length = -(-count // slices)
    panels = panels_of(positions, steps, size, length)
    offsets = offsets_of(channels, image, taps, size)
    chunks = -(-m // MOST_ROWS)
    chunk = -(-m // chunks)
    chunk += -chunk % rows
    chunks = -(-m // chunk)
    wanted = 1 if n * count * m * columns * groups < 400_000 or threads.alone() else 2 * threads.count()
    share_of = -(-n // max(1, min(n, wanted // (chunks * groups))))
    shares = -(-n // share_of)
    result = np.zeros((shares, groups, m, columns), g.dtype)
    width, lanes = tile(WIDE)[1] * (64 if WIDE else 32) // size, (64 if WIDE else 32) // size
    w = WeightWord
    words = [0] * w.COUNT
    words[w.A], words[w.B], words[w.C] = address(images), address(g), address(result)
    words[w.M], words[w.N], words[w.K] = m, columns, count
    words[w.STEP_A], words[w.STEP_B], words[w.STEP_C] = -(-length // lanes) * lanes * size, count * size, columns * size
    words[w.CHUNKS], words[w.ROWS], words[w.PANELS] = chunks, chunk, -(-columns // width)
    words[w.BATCH_A], words[w.BATCH_B] = groups * channels * image.channel, g.shape[1] * count * size
    words[w.INNER], words[w.INNER_A], words[w.INNER_B] = groups, channels * image.channel, columns * count * size
    words[w.INNER_C], words[w.PART_C] = m * columns * size, groups * m * columns * size
    words[w.OFFSETS], words[w.STARTS], words[w.RUNS] = address(offsets), address(panels.starts), address(panels.runs)
    words[w.IMAGES], words[w.SHARE], words[w.SLICES] = n, share_of, slices
    left = columns - (words[w.PANELS] - 1) * width
    place, call = made(weight_code, size == 8, m % rows, -(-left // lanes), left % lanes != 0, length)
    share(place, call, words, shares * groups * chunks, 1, n * groups * m * columns * count / 40)
    return result
