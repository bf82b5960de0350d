"""Native convolution against plain patches and products in double precision, for both vector lengths."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flambeau.engines.native import calls, convolution, filtering, threads, windows
from flambeau.engines.numpy import conv_plain
from flambeau.engines.numpy.conv_blocks import Geometry

pytestmark = pytest.mark.skipif(not calls.ENABLED, reason="no native kernels here")


@pytest.fixture(scope="module", params=[256, 512])
def bits(request):
    """The module's tests run with vectors of this length."""
    wide = request.param == 512
    if wide and not calls.WIDE:
        pytest.skip("no 512-bit vectors here")
    tables = (windows.image_of, windows.panels_of, windows.offsets_of, filtering._tiling)
    before, kept = windows.WIDE, dict(windows._made)
    windows.WIDE = filtering.WIDE = wide
    windows._made.clear()
    for table in tables:
        table.cache_clear()
    yield request.param
    windows.WIDE = filtering.WIDE = before
    windows._made.clear()
    windows._made.update(kept)
    for table in tables:
        table.cache_clear()


@st.composite
def geometries(draw):
    """Shapes and settings of a convolution that has a result."""
    nd = draw(st.integers(1, 3))
    kernel, stride, padding, dilation, size = [], [], [], [], []
    for _ in range(nd):
        k, d, p = draw(st.integers(1, 4)), draw(st.integers(1, 2)), draw(st.integers(0, 3))
        least = max(1, d * (k - 1) + 1 - 2 * p)
        size.append(draw(st.integers(least, least + (9 if nd == 3 else 40))))
        kernel.append(k)
        stride.append(draw(st.integers(1, 3)))
        padding.append(p)
        dilation.append(d)
    groups, n = draw(st.sampled_from([1, 1, 2, 3])), draw(st.integers(1, 3))
    channels = draw(st.sampled_from([1, 2, 5])), draw(st.sampled_from([1, 3, 8, 9, 17]))
    return n, channels, groups, size, kernel, stride, padding, dilation, draw(st.sampled_from(["f4", "f8"]))


def _arrays(case, seed=0):
    n, (ci, co), groups, size, kernel, stride, padding, dilation, dtype = case
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, ci * groups, *size)).astype(dtype)
    w = rng.standard_normal((co * groups, ci, *kernel)).astype(dtype)
    out = [
        (s + 2 * p - d * (k - 1) - 1) // t + 1
        for s, k, t, p, d in zip(size, kernel, stride, padding, dilation, strict=True)
    ]
    g = rng.standard_normal((n, co * groups, *out)).astype(dtype)
    return x, w, g, rng.standard_normal(co * groups).astype(dtype)


def _reference(case, x, w, g, bias):
    """Result and gradients by patches, in double precision."""
    n, _, groups, size, kernel, stride, padding, dilation, _ = case
    three = lambda v, fill: (fill,) * (3 - len(v)) + tuple(v)  # noqa: E731
    xs, ws, gs = (a.astype("f8").reshape(*a.shape[:2], *three(a.shape[2:], 1)) for a in (x, w, g))
    geo = Geometry(
        n, x.shape[1], xs.shape[2:], ws.shape[2:], three(stride, 1), three(padding, 0), three(dilation, 1), gs.shape[2:]
    )
    out, gx, gw = np.empty(gs.shape), np.empty(xs.shape), np.empty(ws.shape)
    conv_plain.forward(xs, ws, None, geo, groups, out)
    out += bias.reshape(-1, 1, 1, 1)
    conv_plain.backward_input(gs, ws, geo, groups, gx)
    conv_plain.backward_weight(gs, xs, geo, groups, gw)
    return out.reshape(g.shape), gx.reshape(x.shape), gw.reshape(w.shape)


def _close(actual, wanted):
    tolerance = 2e-5 if actual.dtype == np.float32 else 1e-12
    np.testing.assert_allclose(actual, wanted, rtol=tolerance, atol=tolerance * max(1.0, np.abs(wanted).max()))


def _check(case):
    x, w, g, bias = _arrays(case)
    _, _, groups, _, _, stride, padding, dilation, _ = case
    settings_ = tuple(stride), tuple(padding), tuple(dilation), groups
    out, gx, gw = (np.full(a.shape, np.nan, a.dtype) for a in (g, x, w))
    wanted = _reference(case, x, w, g, bias)
    assert convolution.forward(x, w, bias, *settings_, out)
    _close(out, wanted[0])
    if convolution.input_gradient(g, w, None, *settings_, gx):
        _close(gx, wanted[1])
    few = groups > 1 and w.shape[0] < 8 * groups
    assert convolution.weight_gradient(g, x, *settings_, gw) is not few
    if not few:
        _close(gw, wanted[2])


@settings(max_examples=40, deadline=None)
@given(case=geometries())
def test_any_geometry(bits, case):
    _check(case)


@pytest.mark.parametrize("width", [1, 7, 8, 15, 16, 17, 31, 32, 47, 48, 49])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_widths_around_the_vector(bits, width, dtype):
    _check((2, (3, 10), 1, [3, width], [3, 3], [1, 1], [1, 1], [1, 1], dtype))


@pytest.mark.parametrize("channels", [(150, 1), (1, 50), (40, 97), (130, 24)])
def test_more_channels_than_a_slice(bits, channels):
    _check((1, channels, 1, [9, 30], [3, 3], [1, 1], [1, 1], [1, 1], "f4"))


@pytest.mark.parametrize("m", [2, 4])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(
    "sizes", [(1, 8, 8, 3, 3), (2, 16, 24, 5, 7), (3, 8, 16, 13, 35), (5, 24, 8, 4, 4), (1, 8, 72, 17, 16)]
)
def test_filtering_tile_by_tile(bits, sizes, dtype, m):
    n, ci, co, height, width = sizes
    for pad in (0, 1, 2):
        case = (n, (ci, co), 1, [height, width], [3, 3], [1, 1], [pad, pad], [1, 1], dtype)
        x, w, g, bias = _arrays(case)
        wanted = _reference(case, x, w, g, bias)
        out, gx = (np.full(a.shape, np.nan, a.dtype) for a in (g, x))
        filtering.filtered(x, w, False, bias, (pad, pad), out, m)
        filtering.filtered(g, w, True, None, (2 - pad, 2 - pad), gx, m)
        tolerance = (2e-5 if m == 4 else 2e-6) if dtype == "f4" else 1e-13
        for actual, right in ((out, wanted[0]), (gx, wanted[1])):
            np.testing.assert_allclose(actual, right, rtol=0, atol=tolerance * np.abs(right).max())


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("sizes", [(1, 16, 16, 3, 3), (2, 48, 32, 5, 7), (3, 16, 64, 13, 35), (9, 64, 16, 4, 4)])
def test_filtering_gives_the_gradient_of_kernels(bits, sizes, dtype):
    n, ci, co, height, width = sizes
    for pad in (0, 1, 2):
        case = (n, (ci, co), 1, [height, width], [3, 3], [1, 1], [pad, pad], [1, 1], dtype)
        x, w, g, bias = _arrays(case)
        wanted = _reference(case, x, w, g, bias)[2]
        gw = np.full(w.shape, np.nan, w.dtype)
        filtering.filtered_weights(x, g, (pad, pad), gw)
        np.testing.assert_allclose(gw, wanted, rtol=0, atol=(3e-6 if dtype == "f4" else 1e-13) * np.abs(wanted).max())


def test_filtering_shares_scratch_among_threads(bits):
    case = (6, (64, 72), 1, [24, 24], [3, 3], [1, 1], [1, 1], [1, 1], "f4")
    before = threads.count()
    try:
        for count in (1, 2, 5):
            threads.set_workers(count)
            _check(case)
    finally:
        threads.set_workers(before)


def test_strided_input_gradient_is_native(bits):
    case = (2, (4, 8), 1, [16, 16], [3, 3], [2, 2], [1, 1], [1, 1], "f4")
    x, w, g, _ = _arrays(case)
    result = np.full(x.shape, np.nan, x.dtype)
    assert convolution.input_gradient(g, w, None, (2, 2), (1, 1), (1, 1), 1, result)
    assert np.isfinite(result).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (4, 4), (7, 7), (2, 30)])
@pytest.mark.parametrize("groups", [1, 2])
def test_small_images_side_by_side(bits, size, groups):
    for stride in ([1, 1], [2, 2]):
        _check((9, (8, 24), groups, list(size), [3, 3], stride, [1, 1], [1, 1], "f4"))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_threads_agree(bits, count):
    before = threads.count()
    threads.set_workers(count)
    try:
        _check((8, (16, 24), 1, [20, 20], [3, 3], [1, 1], [1, 1], [1, 1], "f4"))
        _check((9, (8, 24), 2, [20, 20], [3, 3], [2, 2], [1, 1], [1, 1], "f8"))
    finally:
        threads.set_workers(before)


def test_memory_outside_is_not_read_into_results(bits):
    """Windows at an image's end beside memory full of NaN."""
    wide = np.full((3, 4, 12, 12), np.nan, "f4")
    wide[1] = 1
    x = wide[1:2]
    w = np.ones((8, 4, 3, 3), "f4")
    out = np.empty((1, 8, 10, 10), "f4")
    assert convolution.forward(x, w, None, (1, 1), (0, 0), (1, 1), 1, out)
    assert (out == 36).all()


def test_what_does_not_suit(bits):
    x, w = np.ones((1, 2, 5), "i8"), np.ones((1, 2, 3), "i8")
    assert not convolution.forward(x, w, None, (1,), (0,), (1,), 1, np.empty((1, 1, 3), "i8"))
    half = np.ones((1, 2, 5), "f2")
    assert not convolution.forward(half, half[..., :3], None, (1,), (0,), (1,), 1, np.empty((1, 1, 3), "f2"))
    empty = np.ones((0, 2, 5), "f4")
    assert not convolution.forward(
        empty, np.ones((1, 2, 3), "f4"), None, (1,), (0,), (1,), 1, np.empty((0, 1, 3), "f4")
    )
