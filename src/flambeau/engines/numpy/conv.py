"""Convolution in 1 to 3 spatial dimensions, and its gradients with respect to the input and the weight.

Where there are native kernels they do the work (`engines/native/convolution.py`). Elsewhere all three are products
(BLAS) over blocks of patches (`conv_blocks.py`), spread over images. Three ways, by shape: blocks in rows layout,
blocks in full layout, and, for data types without BLAS and for many small groups, plain patches and `np.matmul`
(`conv_plain.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..native import convolution
from ..native.hooks import finite, look
from . import conv_depthwise, conv_plain
from .blas import NO_TRANS, ROW_MAJOR, TRANS, gemm_of, single_blas
from .conv_blocks import Geometry, Operand, blocks, images_of
from .parallel import get_num_threads, run_tasks, scratch

__all__ = ["conv", "conv_bias_grad", "conv_input", "conv_weight"]

Sizes = tuple[int, ...]

_SMALL_IMAGE = 48  # output positions below which several images share a block
_SMALL_WORK = 20_000_000  # floating point operations below which waking a helper does not pay
_UNPACKED = 1_000_000  # multiplications up to which OpenBLAS leaves operands where they are
_SHORT_PRODUCT = 10_000_000  # likewise, below which products are better made several images at a time


#: Multiply-adds up to which a convolution sums as PyTorch's does, so that what a short program prints is the same.
_PRINTED = 20_000


def _spatial(a: np.ndarray) -> np.ndarray:
    """`a` with three spatial axes. A single one becomes the height: then kernel rows are offsets, not copies."""
    if a.ndim == 5:
        return a
    return a[:, :, None] if a.ndim == 4 else a[:, :, None, :, None]


def _three(values: Sizes, fill: int) -> Sizes:
    if len(values) == 3:
        return tuple(values)
    return (fill, *values) if len(values) == 2 else (fill, values[0], fill)


def _geometry(x: np.ndarray, w: np.ndarray, stride: Sizes, padding: Sizes, dilation: Sizes) -> Geometry:
    return Geometry(
        x.shape[0], x.shape[1], x.shape[2:], w.shape[2:], _three(stride, 1), _three(padding, 0), _three(dilation, 1)
    )


def _address(a: np.ndarray) -> int:
    return a.__array_interface__["data"][0]


def _rows_contiguous(a: np.ndarray) -> bool:
    """Whether each `a[n]` is one contiguous block."""
    return a.shape[0] == 0 or bool(a[0].flags.c_contiguous)


def _group_of(geo: Geometry, tasks: int) -> int:
    """How many images share a block, as its innermost axis: small images alone would make thin products."""
    if geo.columns >= _SMALL_IMAGE:
        return 1
    return max(1, min(-(-geo.n // tasks), -(-256 // geo.columns)))


def _split_of(geo: Geometry, m: int) -> int:
    """Into how many runs of rows to cut an image so that each is a product that OpenBLAS does without repacking."""
    _, rows, width = geo.out
    most = _UNPACKED // (m * geo.c * geo.taps * width)
    if geo.out[0] > 1 or rows <= most:
        return 1
    fitting = [s for s in range(1, rows + 1) if rows % s == 0 and rows // s <= most and rows // s * width >= 48]
    return fitting[0] if fitting else 1


def _full_layout(geo: Geometry, m: int) -> bool:
    """Whether to copy a patch per kernel element: where a product per kernel row would be a short one, or to spare a
    large weight its rearrangement.
    """
    kd, kh, kw = geo.kernel
    if kd * kh == 1:
        return True
    if 2 * m * geo.c * kw * geo.columns < _SHORT_PRODUCT and geo.columns >= _SMALL_IMAGE:
        return True
    return m * 4 > geo.n * geo.columns


def _over_images(n: int, work: int, group: int, task: Callable[[int, int], None]) -> None:
    """Run `task(first, last)` over `range(n)`: on all threads, each with its own BLAS, or here with BLAS's threads."""
    threads = get_num_threads()
    if threads == 1 or n < 2 * group or work < _SMALL_WORK:
        task(0, n)
        return
    step = -(-n // (threads if work < 50 * _SMALL_WORK else 2 * threads))
    step = -(-step // group) * group
    with single_blas():
        run_tasks(task, [(i, min(i + step, n)) for i in range(0, n, step)])


def _grouped(images: np.ndarray, group: int, key: str = "conv_in") -> np.ndarray:
    """Images as `[I, C, D, H, W, G]`: side by side, or, with `group` above 1, as the innermost axis."""
    if group == 1:
        return images[..., None]
    n, *rest = images.shape
    result = scratch(key, (1, *rest, n), images.dtype)
    np.copyto(result.reshape(-1, n), images.reshape(n, -1).T)
    return result


def _by_rows(w: np.ndarray) -> np.ndarray:
    """The weight as `[kd, kh, Co, C, kw]`; kernel rows are moved as opaque elements, which is three times as fast."""
    w = np.ascontiguousarray(w)
    rows = w.view(np.dtype((np.void, w.shape[4] * w.itemsize)))[..., 0]
    return np.ascontiguousarray(rows.transpose(2, 3, 0, 1))[..., None].view(w.dtype)


def _products(weight: np.ndarray, trans: bool, operand: Any, out: np.ndarray, n: int, count: int) -> None:
    """Fill `out[n:]` by the products of `operand.steps`, for the operand's images or for a group of `count`."""
    gemm: Any = gemm_of(out.dtype)
    result = out[n] if count == 1 else scratch("conv_out", (*out.shape[1:], count), out.dtype)
    size, m, width = out.itemsize, out.shape[1], result[0].size
    turn, a, a_step = TRANS if trans else NO_TRANS, _address(weight), weight[0].nbytes
    b, c = _address(operand.buffer), _address(result)
    b_step, c_step, lda = operand.buffer.strides[0], out.strides[0], weight.shape[2]
    for c_at, columns, taps in operand.steps:
        beta = 0.0
        for tap, b_at in taps:  # images innermost: the weight of one tap stays in the cache
            left, right, into = a + tap * a_step, b + b_at * size, c + c_at * size
            for i in range(operand.images):
                gemm(
                    ROW_MAJOR, turn, NO_TRANS, m, columns, operand.k, 1.0, left, lda,
                    right + i * b_step, operand.ld, beta, into + i * c_step, width,
                )  # fmt: skip
            beta = 1.0
        for i in range(operand.images) if not taps else ():  # the whole window lies in the padding
            part = out[n + i] if count == 1 else result
            part.reshape(m, -1)[:, c_at : c_at + columns] = 0
    if count > 1:
        np.copyto(out[n : n + count].reshape(count, -1), result.reshape(-1, count).T)


def _correlate(
    x: np.ndarray, geo: Geometry, weight: np.ndarray, trans: bool, out: np.ndarray, bias: Any, full: bool, flip: bool
) -> None:
    """out[n] = weight · patches(x[n]) + bias. `weight` is `[taps, M, K]`, or `[taps, K, M]` with `trans`."""
    size, columns, m = out.itemsize, geo.columns, out.shape[1]
    matrix = weight[0].T if trans else weight[0]
    group = _group_of(geo, get_num_threads())
    together = 1 if group > 1 else images_of(geo, size, full)
    plain = geo.plain() and group == 1 and _rows_contiguous(x)
    whole = [(0, geo.out[0], 0, geo.out[1])]
    cuts = whole if group > 1 or plain or together > 1 else blocks(geo, size, full)
    split = _split_of(geo, m) if full and group == 1 and not plain and cuts == whole else 1

    def images(first: int, last: int, cut: Any) -> None:
        operand, held, chunk = None, 0, max(group, together)
        for n in range(first, last, chunk):
            count = min(chunk, last - n)
            if not plain and (operand is None or held != count):
                sizes = (1, count) if group > 1 else (count, 1)
                operand, held = Operand(geo, cut, *sizes, out.dtype, full, flip, split), count
            patches = x[n : n + count] if operand is None else operand.load(_grouped(x[n : n + count], group))
            if full and group == 1:
                start = (cut[0] * geo.out[1] + cut[2]) * geo.out[2]
                patches = patches.reshape(count, split, matrix.shape[1], -1)
                width = split * patches.shape[3]
                part = out[n : n + count].reshape(count, m, columns)[:, :, start : start + width]
                part = part.reshape(count, m, split, -1).transpose(0, 2, 1, 3)
                np.matmul(matrix, patches, out=part)
            else:
                _products(weight, trans, operand, out, n, count if group > 1 else 1)
            if bias is not None:
                d0, d1, h0, h1 = cut
                part = out[n : n + count, :, d0:d1, h0:h1]
                np.add(part, bias, out=part)

    def task(first: int, last: int) -> None:
        for cut in cuts:
            images(first, last, cut)

    _over_images(geo.n, 2 * geo.n * columns * m * geo.c * geo.taps, group, task)


def _blas_suits(dtype: np.dtype, groups: int, channels: int, empty: bool) -> bool:
    return gemm_of(dtype) is not None and (groups == 1 or channels >= 16) and not empty


def _drop(shape: Sizes, nd: int) -> Sizes:
    """The user's shape for one with three spatial axes."""
    return shape if nd == 3 else (*shape[:2], *shape[3:]) if nd == 2 else (*shape[:2], shape[3])


def conv(
    x: np.ndarray, w: np.ndarray, bias: Any, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> np.ndarray:
    """Cross-correlation of `x` `[N, C, ...]` with `w` `[Co, C / groups, ...]`, plus `bias` `[Co]` unless None."""
    nd = x.ndim - 2
    xs, ws = _spatial(x), _spatial(w)
    geo = _geometry(xs, ws, stride, padding, dilation)
    out = np.empty((geo.n, w.shape[0], *geo.out), x.dtype)
    native = out.size * w[:1].size > _PRINTED
    if native and convolution.forward(x, w, bias, stride, padding, dilation, groups, out.reshape(_drop(out.shape, nd))):
        return out.reshape(_drop(out.shape, nd))
    if bias is not None:
        bias = bias.reshape(-1, 1, 1, 1)
    if conv_depthwise.suits(geo, groups, w.shape[0]) and out.size and x.dtype.kind in "fc":
        conv_depthwise.forward(xs, ws, geo, out)
        if bias is not None:
            np.add(out, bias, out=out)
        return out.reshape(_drop(out.shape, nd))
    if not _blas_suits(x.dtype, groups, ws.shape[1], out.size * w.size == 0):
        conv_plain.forward(xs, ws, bias, geo, groups, out)
        return out.reshape(_drop(out.shape, nd))
    geo.c = ws.shape[1]
    co = w.shape[0] // groups
    full = _full_layout(geo, co)
    for i in range(groups):
        part = ws[i * co : (i + 1) * co]
        if full:
            weight = np.ascontiguousarray(part).reshape(1, co, -1)
        else:
            weight = _by_rows(part).reshape(-1, co, geo.c * geo.kernel[2])
        _correlate(
            xs[:, i * geo.c : (i + 1) * geo.c], geo, weight, False, out[:, i * co : (i + 1) * co],
            None if bias is None else bias[i * co : (i + 1) * co], full, False,
        )  # fmt: skip
    if any(geo.pad):
        look(_all_taps, out, xs, ws, bias, geo, groups)
    return out.reshape(_drop(out.shape, nd))


def _all_taps(out: np.ndarray, xs: np.ndarray, ws: np.ndarray, bias: Any, geo: Geometry, groups: int) -> None:
    """Blocks pass over taps that only meet padding: an infinite or NaN one would make a NaN there."""
    if not finite(ws):
        conv_plain.forward(xs, ws, bias, geo, groups, out)


# --- gradient of the input ----------------------------------------------------------------------------------------


def conv_input(
    g: np.ndarray, w: np.ndarray, bias: Any, x_shape: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> np.ndarray:
    """The gradient of `conv` with respect to its input of shape `x_shape`: the transposed convolution of `g`.

    Plus `bias`, one per channel of the result, unless it is None.
    """
    result = np.empty(x_shape, g.dtype)
    gs, ws = _spatial(g), _spatial(w)
    shape = tuple(x_shape[:2]) + _three(tuple(x_shape[2:]), 1)
    geo = Geometry(
        shape[0], ws.shape[1], shape[2:], ws.shape[2:], _three(stride, 1), _three(padding, 0), _three(dilation, 1)
    )
    geo.out = gs.shape[2:]  # output padding beyond the stride makes the result larger than the formula says
    result = result.reshape(shape)
    flat, column = result.reshape(x_shape), None if bias is None else bias.reshape(-1, 1, 1, 1)
    if not convolution.input_gradient(g, w, bias, stride, padding, dilation, groups, flat):
        _back_to_input(gs, ws, geo, groups, result)
        if column is not None:
            np.add(result, column, out=result)
    look(_without_surroundings, result, gs, ws, column, geo, groups)
    return flat


def _without_surroundings(
    result: np.ndarray, gs: np.ndarray, ws: np.ndarray, bias: Any, geo: Geometry, groups: int
) -> None:
    """Infinite or NaN weights may have met the zeros that gradients are surrounded with: no such product is part of
    the sum. Every place of the result has met all weights that reach it and its like, so the first ones tell.
    """
    if not result.size:
        return
    first: Any = (0, slice(None), *(slice(0, s) for s in geo.stride))
    if finite(result[first]) or finite(ws):
        return
    conv_plain.backward_input(gs, ws, geo, groups, result)
    if bias is not None:
        np.add(result, bias, out=result)


def _back_to_input(gs: np.ndarray, ws: np.ndarray, geo: Geometry, groups: int, result: np.ndarray) -> None:
    """Fills `result` by the gradient of the input, three spatial axes each."""
    co, ci = ws.shape[0] // groups, ws.shape[1]
    if _blas_suits(gs.dtype, groups, min(ci, co) if groups > 1 else ci, gs.size * ws.size * result.size == 0):
        for i in range(groups):
            part = ws[i * co : (i + 1) * co]
            _input_gradient(gs[:, i * co : (i + 1) * co], part, geo, result[:, i * ci : (i + 1) * ci])
        return
    geo.c = result.shape[1]
    back = _mirrored(geo)
    if conv_depthwise.suits(geo, groups, ws.shape[0]) and result.size * gs.size and gs.dtype.kind in "fc":
        conv_depthwise.input_gradient(gs, ws, geo, result)
    elif back and groups > 1 and result.size * gs.size * ws.size:
        mirror = Geometry(geo.n, gs.shape[1], geo.out, geo.kernel, geo.stride, back, geo.dilation, geo.size)
        turned = ws.reshape(groups, co, *ws.shape[1:]).swapaxes(1, 2)[..., ::-1, ::-1, ::-1]
        turned = np.ascontiguousarray(turned).reshape(-1, *turned.shape[2:])
        conv_plain.forward(gs, turned, None, mirror, groups, result)
    else:
        conv_plain.backward_input(gs, ws, geo, groups, result)


def _mirrored(geo: Geometry) -> Sizes:
    """The padding of the convolution that is this one's gradient for its input; () where there is none."""
    back = tuple(d * (k - 1) - p for d, k, p in zip(geo.dilation, geo.kernel, geo.pad, strict=True))
    return back if geo.stride == (1, 1, 1) and min(back) >= 0 else ()


def _input_gradient(g: np.ndarray, w: np.ndarray, geo: Geometry, out: np.ndarray) -> None:
    back = _mirrored(geo)
    if back:
        mirror = Geometry(geo.n, w.shape[0], geo.out, geo.kernel, geo.stride, back, geo.dilation, geo.size)
        full = _full_layout(mirror, geo.c)
        if not (full and geo.taps > 1 and w.size > (1 << 18)):
            order = (0, 2, 3, 4, 1) if full else (2, 3, 0, 4, 1)
            weight = np.ascontiguousarray(w.transpose(order))
            weight = weight.reshape(1 if full else geo.kernel[0] * geo.kernel[1], -1, geo.c)
            _correlate(g, mirror, weight, True, out, None, full, True)
            return
    _scatter_patches(g, w, geo, out)


def _scatter_patches(g: np.ndarray, w: np.ndarray, geo: Geometry, out: np.ndarray) -> None:
    """Gradients of the patches by one product, then added where the patches were taken."""
    gemm: Any = gemm_of(out.dtype)
    size, co, columns, taps = out.itemsize, w.shape[0], geo.columns, geo.taps
    if not _rows_contiguous(g):
        g = np.ascontiguousarray(g)
    w = np.ascontiguousarray(w)
    group = _group_of(geo, get_num_threads())
    cuts = [(0, geo.out[0], 0, geo.out[1])] if group > 1 else blocks(geo, size, True)
    per_channel = taps * size * max((b - a) * (d - c) for a, b, c, d in cuts) * geo.out[2] * group
    step = min(geo.c, max(8, (1 << 20) // per_channel))
    if taps * geo.c // step > 1 and group == 1:  # rather all channels at once than thin products
        step = geo.c

    def images(n: int, count: int) -> None:
        source = _grouped(g[n : n + count], group)
        target = out[n][..., None] if group == 1 else scratch("conv_out", (*out.shape[1:], count), out.dtype)
        target[...] = 0
        for d0, d1, h0, h1 in cuts:
            block = (d1 - d0, h1 - h0, geo.out[2], count)
            width = block[0] * block[1] * block[2] * count
            for c0 in range(0, geo.c, step):
                c1 = min(c0 + step, geo.c)
                patches = scratch("conv", (c1 - c0, *geo.kernel, *block), out.dtype)
                gemm(
                    ROW_MAJOR, TRANS, NO_TRANS, (c1 - c0) * taps, width, co, 1.0,
                    _address(w) + c0 * taps * size, geo.c * taps,
                    _address(source) + (d0 * geo.out[1] + h0) * geo.out[2] * count * size, columns * count,
                    0.0, _address(patches), width,
                )  # fmt: skip
                conv_plain.add_patches(target[c0:c1], patches, geo, d0, h0)
        if group > 1:
            np.copyto(out[n : n + count].reshape(count, -1), target.reshape(-1, count).T)

    def task(first: int, last: int) -> None:
        for n in range(first, last, group):
            images(n, min(group, last - n))

    _over_images(geo.n, 2 * geo.n * columns * co * geo.c * taps, group, task)


# --- gradient of the weight ---------------------------------------------------------------------------------------


def conv_weight(
    g: np.ndarray, x: np.ndarray, w_shape: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> np.ndarray:
    """The gradient of `conv` with respect to its weight of shape `w_shape`."""
    result = np.empty(w_shape, g.dtype)
    if convolution.weight_gradient(g, x, stride, padding, dilation, groups, result):
        return result
    gs, xs = _spatial(g), _spatial(x)
    shape = tuple(w_shape[:2]) + _three(tuple(w_shape[2:]), 1)
    geo = Geometry(
        xs.shape[0], shape[1], xs.shape[2:], shape[2:], _three(stride, 1), _three(padding, 0), _three(dilation, 1)
    )
    geo.out = gs.shape[2:]
    result = result.reshape(shape)
    co, ci = shape[0] // groups, shape[1]
    depthwise = Geometry(geo.n, xs.shape[1], geo.size, geo.kernel, geo.stride, geo.pad, geo.dilation, geo.out)
    if conv_depthwise.suits(depthwise, groups, shape[0]) and g.size and g.dtype.kind in "fc":
        conv_depthwise.weight_gradient(gs, xs, depthwise, result)
        look(_between_rows, result, gs, xs, geo, groups)
        return result.reshape(w_shape)
    if not _blas_suits(g.dtype, groups, min(ci, co) if groups > 1 else ci, g.size * x.size * result.size == 0):
        conv_plain.backward_weight(gs, xs, geo, groups, result)
        return result.reshape(w_shape)
    if not _rows_contiguous(gs):
        gs = np.ascontiguousarray(gs)
    for i in range(groups):
        _weight_gradient(gs[:, i * co : (i + 1) * co], xs[:, i * ci : (i + 1) * ci], geo, result[i * co : (i + 1) * co])
    return result.reshape(w_shape)


def _between_rows(result: np.ndarray, gs: np.ndarray, xs: np.ndarray, geo: Geometry, groups: int) -> None:
    """Zeros between the gradient's rows may have met an infinity or NaN."""
    if not finite(result):
        conv_plain.backward_weight(gs, xs, geo, groups, result)


def conv_bias_grad(g: np.ndarray) -> np.ndarray:
    """The gradient of a convolution's bias: the sum over all but the channels."""
    if g.dtype.kind != "f" or not g.size:
        return g.sum(axis=(0, *range(2, g.ndim)))
    flat = g.reshape(g.shape[0], g.shape[1], -1)
    return np.matmul(flat, np.ones(flat.shape[2], g.dtype)).sum(axis=0)


def _weight_gradient(g: np.ndarray, x: np.ndarray, geo: Geometry, out: np.ndarray) -> None:
    """Large weights are shared out by channels, so that threads need no copies of their own; others by images."""
    threads = get_num_threads()
    work = 2 * geo.n * geo.columns * out.size
    if threads == 1 or work < _SMALL_WORK or (geo.n < 2 and geo.c < 2 * threads):
        out[...] = _weight_part(g, x, geo, 0, geo.n)
        return
    with single_blas():
        if out.size > (1 << 20) and geo.c >= 8 * threads:
            cuts = [geo.c * i // (2 * threads) for i in range(2 * threads + 1)]

            def channels(c0: int, c1: int) -> None:
                part = Geometry(geo.n, c1 - c0, geo.size, geo.kernel, geo.stride, geo.pad, geo.dilation)
                out[:, c0:c1] = _weight_part(g, x[:, c0:c1], part, 0, geo.n)

            run_tasks(channels, list(zip(cuts, cuts[1:], strict=False)))
            return
        cuts = [geo.n * i // threads for i in range(threads + 1)]
        parts: list[Any] = [None] * threads

        def images(i: int) -> None:
            parts[i] = _weight_part(g, x, geo, cuts[i], cuts[i + 1])

        run_tasks(images, [(i,) for i in range(threads)])
    np.add(parts[0], parts[1], out=out)
    for part in parts[2:]:
        np.add(out, part, out=out)


def _weight_part(g: np.ndarray, x: np.ndarray, geo: Geometry, first: int, last: int) -> np.ndarray:
    """The weight's gradient from the images `first` to `last`."""
    size, co, columns = g.itemsize, g.shape[1], geo.columns
    group = _group_of(geo, 1)
    full = _full_layout(geo, co) or geo.c * geo.kernel[2] < 48 or (group > 1 and co * 2 > geo.n * columns)
    together = 1 if group > 1 else images_of(geo, size, full)
    taps = 1 if full else geo.kernel[0] * geo.kernel[1]
    # patches · gᵀ is the faster of the two forms, but leaves a transposed sum: not for large weights
    turned = co * geo.c * geo.taps <= 1 << 18
    shape = (geo.c * geo.taps // taps, co)
    total = np.zeros((taps, *(shape if turned else shape[::-1])), g.dtype)
    plain = geo.plain() and group == 1 and _rows_contiguous(x)
    whole = group > 1 or plain or together > 1
    for cut in [(0, geo.out[0], 0, geo.out[1])] if whole else blocks(geo, size, full):
        operand, held, chunk = None, 0, max(group, together)
        for n in range(first, last, chunk):
            count = min(chunk, last - n)
            if not plain and (operand is None or held != count):
                split = (1, count) if group > 1 else (count, 1)
                operand, held = Operand(geo, cut, *split, g.dtype, full, False), count
            patches = x[n : n + count] if operand is None else operand.load(_grouped(x[n : n + count], group))
            grads = _grouped(g[n : n + count], group, "conv_g")
            if full and group == 1:
                start = (cut[0] * geo.out[1] + cut[2]) * geo.out[2]
                patches = patches.reshape(count, shape[0], -1)
                grads = grads.reshape(count, co, columns)[:, :, start : start + patches.shape[2]]
                _add_products(total[0], *((patches, grads) if turned else (grads, patches)))
            else:
                _accumulate(total, grads, operand, co, columns * (count if group > 1 else 1), turned)
    if turned:
        total = total.swapaxes(1, 2)
    if full:
        return total[0].reshape(co, geo.c, *geo.kernel)
    kd, kh, kw = geo.kernel
    return total.reshape(kd, kh, co, geo.c, kw).transpose(2, 3, 0, 1, 4)


def _add_products(total: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """total += sum of a[i] · b[i]ᵀ."""
    if a.shape[0] == 1:
        np.add(total, np.matmul(a[0], b[0].T), out=total)
    else:
        np.add(total, np.matmul(a, b.swapaxes(1, 2)).sum(axis=0), out=total)


def _accumulate(total: np.ndarray, grads: np.ndarray, operand: Any, co: int, width: int, turned: bool) -> None:
    """total[tap] += patches · gᵀ, or its transpose."""
    gemm: Any = gemm_of(total.dtype)
    size, k, base, step = total.itemsize, operand.k, _address(total), total[0].nbytes
    a_step, b_step = grads.strides[0], operand.buffer.strides[0]
    for a_at, count, pairs in operand.steps:
        for tap, b_at in pairs:
            a, b = _address(grads) + a_at * size, _address(operand.buffer) + b_at * size
            for i in range(operand.images):  # innermost: the sum of one tap stays in the cache
                left, right = (a + i * a_step, width, co), (b + i * b_step, operand.ld, k)
                (m_at, m_ld, m), (n_at, n_ld, n) = (right, left) if turned else (left, right)
                gemm(ROW_MAJOR, NO_TRANS, TRANS, m, n, count, 1.0, m_at, m_ld, n_at, n_ld, 1.0, base + tap * step, n)
