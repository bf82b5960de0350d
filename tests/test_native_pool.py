"""Native pooling against windows taken one by one, for both vector lengths."""

import itertools
import mmap

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from flambeau.engines.native import calls, pooling, windows
from flambeau.engines.numpy import pool

pytestmark = pytest.mark.skipif(not calls.ENABLED, reason="no native kernels here")


@pytest.fixture(scope="module", params=[256, 512])
def bits(request):
    """The module's tests run with vectors of this length."""
    if request.param == 512 and not calls.WIDE:
        pytest.skip("no 512-bit vectors here")
    before, kept = (calls.WIDE, windows.WIDE), dict(windows._made)

    def use(wide, narrow):
        calls.WIDE, windows.WIDE = wide, narrow
        windows._made.clear()
        pooling._max.cache_clear()
        pooling._mean.cache_clear()

    use(request.param == 512, request.param == 512)
    yield request.param
    use(*before)
    windows._made.update(kept)


@st.composite
def geometries(draw):
    nd = draw(st.integers(1, 3))
    kernel, stride, padding, dilation, size = [], [], [], [], []
    for _ in range(nd):
        k, d = draw(st.integers(1, 3)), draw(st.integers(1, 2))
        p = draw(st.integers(0, k // 2))
        least = max(1, d * (k - 1) + 1 - 2 * p)
        size.append(draw(st.integers(least, least + (8 if nd == 3 else 70))))
        kernel.append(k)
        stride.append(draw(st.integers(1, 3)))
        padding.append(p)
        dilation.append(d)
    return size, tuple(kernel), tuple(stride), tuple(padding), tuple(dilation), draw(st.sampled_from(["f4", "f8"]))


def _outputs(size, kernel, stride, padding, dilation):
    return tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True)
    )


def _windows_of(x, kernel, stride, padding, dilation, out):
    """For each result the positions in the flattened plane that its window has, in order."""
    size = x.shape[1:]
    for place in itertools.product(*(range(o) for o in out)):
        inside = []
        for tap in itertools.product(*(range(k) for k in kernel)):
            at = [o * s + t * d - p for o, s, t, d, p in zip(place, stride, tap, dilation, padding, strict=True)]
            if all(0 <= a < n for a, n in zip(at, size, strict=True)):
                inside.append(int(np.ravel_multi_index(at, size)))
        yield place, inside


@settings(max_examples=30, deadline=None)
@given(case=geometries(), seed=st.integers(0, 99))
def test_max_of_any_geometry(bits, case, seed):
    size, kernel, stride, padding, dilation, dtype = case
    rng = np.random.default_rng(seed)
    x = rng.integers(-4, 4, (2, *size)).astype(dtype)  # many equal ones: the first counts
    x[0][rng.random(size) < 0.05] = np.nan
    x[1][rng.random(size) < 0.3] = -np.inf
    out = _outputs(size, kernel, stride, padding, dilation)
    setting = kernel, stride, padding, dilation
    assume(all(inside for _, inside in _windows_of(x, *setting, out)))
    values, taps = pool.max_pool_taps(x, *setting, out)
    indices = pool.max_pool_indices(taps, tuple(size), *setting)
    g = rng.standard_normal(values.shape).astype(dtype)
    back, wanted = pool.max_pool_scatter(g, taps, tuple(size), *setting), np.zeros((2, x[0].size))
    assert taps.itemsize == x.itemsize, "NumPy did it"
    for place, inside in _windows_of(x, *setting, out):
        for plane in (0, 1):
            window = x[plane].reshape(-1)[inside]
            nans = np.flatnonzero(np.isnan(window))
            at = nans[-1] if nans.size else int(window.argmax())
            assert indices[plane][place] == inside[at]
            np.testing.assert_array_equal(values[plane][place], window[at])
            wanted[plane, inside[at]] += g[plane][place]
    tolerance = 1e-5 if dtype == "f4" else 1e-13
    np.testing.assert_allclose(back.reshape(2, -1), wanted, rtol=tolerance, atol=tolerance)


@settings(max_examples=20, deadline=None)
@given(case=geometries(), include=st.booleans())
def test_means_of_any_geometry(bits, case, include):
    size, kernel, stride, padding, _, dtype = case
    dilation = (1,) * len(kernel)
    x = np.random.default_rng(0).standard_normal((2, *size)).astype(dtype)
    out = _outputs(size, kernel, stride, padding, dilation)
    values = pool.avg_pool(x, kernel, stride, padding, out, include, None)
    tolerance = 1e-5 if dtype == "f4" else 1e-13
    for place, inside in _windows_of(x, kernel, stride, padding, dilation, out):
        count = len(inside)
        if include:
            count = 1
            for o, s, k, p, n in zip(place, stride, kernel, padding, size, strict=True):
                count *= min(o * s - p + k, n + p) - (o * s - p)
        for plane in (0, 1):
            wanted = x[plane].reshape(-1)[inside].astype("f8").sum() / count
            np.testing.assert_allclose(values[plane][place], wanted, rtol=tolerance, atol=tolerance)


def test_windows_that_miss_the_input_are_left_to_numpy():
    """A dilated window can miss a short input: then its winner lies nowhere, and native code would write there."""
    assert not pool._Windows((1,), (1,), (2,), (1,), (1,), (2,)).reach_in()
    assert pool._Windows((2,), (2,), (2,), (1,), (1,), (2,)).reach_in()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("width", [2, 14, 16, 30, 32, 34, 62, 64, 66])
def test_memory_beyond_the_image_is_not_touched(bits, width, dtype):
    """An image that ends where readable memory ends."""
    page = mmap.PAGESIZE
    area = mmap.mmap(-1, 2 * page)
    machine_protect = calls.install.__globals__["_protect"]
    whole = np.frombuffer(area, np.uint8)
    x = whole[:page].view(dtype)[-2 * width :].reshape(1, 2, width)
    x[...] = np.arange(2 * width).reshape(1, 2, width)
    start = whole.ctypes.data
    assert machine_protect(start + page, page, 0) == 0
    try:
        values, taps = pool.max_pool_taps(x, (2, 2), (2, 2), (0, 0), (1, 1), (1, width // 2))
    finally:
        assert machine_protect(start + page, page, mmap.PROT_READ | mmap.PROT_WRITE) == 0
    np.testing.assert_array_equal(values[0, 0], x[0, 1, 1::2])
    assert (taps == 3).all()
