"""Native moments and row maps of batch and group norm against NumPy in double precision, for both vector lengths."""

import numpy as np
import pytest

import flambeau
from flambeau.engines.native import calls, moments, threads
from flambeau.engines.numpy import norm

pytestmark = pytest.mark.skipif(not calls.ENABLED, reason="no native kernels here")

LENGTHS = [8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 257]


@pytest.fixture(params=[256, 512])
def bits(request, monkeypatch):
    """Kernels are made anew, for vectors of this length."""
    if request.param == 512 and not calls.WIDE:
        pytest.skip("no 512-bit vectors here")
    monkeypatch.setattr(calls, "WIDE", request.param == 512)
    for made in (moments._moments, moments._products, moments._map, moments._linear):
        monkeypatch.setattr(made, "made", {})


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("length", LENGTHS)
def test_rows_of_any_length(bits, length, dtype):
    rng = np.random.default_rng(length)
    x, g = (rng.standard_normal((12, length)).astype(dtype) for _ in range(2))
    few = [rng.standard_normal(4).astype(dtype) for _ in range(4)]
    centre, scale, slope, rest = (np.tile(v, 3).astype("f8")[:, None] for v in few)
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype == "f4" else {"rtol": 1e-12, "atol": 1e-12}
    mean, squares = moments.row_moments(x)
    exact, grads = x.astype("f8"), g.astype("f8")
    np.testing.assert_allclose(mean, exact.mean(1), **tolerance)
    np.testing.assert_allclose(squares, exact.var(1) * length, **tolerance)
    plain, weighted = moments.row_products(g, x, few[0])
    np.testing.assert_allclose(plain, grads.sum(1), **tolerance)
    np.testing.assert_allclose(weighted, (grads * (exact - centre)).sum(1), **tolerance)
    np.testing.assert_allclose(moments.map_rows(x, few[1], few[2]), exact * scale + slope, **tolerance)
    wanted = grads * scale + (exact - centre) * slope + rest
    np.testing.assert_allclose(moments.linear_rows(g, x, *few), wanted, **tolerance)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_threads_agree(bits, count):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((96, 1000)).astype("f4")
    scale, shift = rng.standard_normal((2, 32)).astype("f4")
    before = threads.count()
    threads.set_workers(count)
    try:
        out, (mean, _) = moments.map_rows(x, scale, shift), moments.row_moments(x)
    finally:
        threads.set_workers(before)
    np.testing.assert_allclose(out, x * np.tile(scale, 3)[:, None] + np.tile(shift, 3)[:, None], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(mean, x.mean(1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(5, 3, 40), (4, 7, 9, 5), (1, 1, 8)])
def test_large_means_keep_their_digits(shape):
    """Statistics of values far from zero: no difference of large squares."""
    rng = np.random.default_rng(1)
    x = (rng.standard_normal(shape) + 4096).astype("f4")
    axes = (0, *range(2, x.ndim))
    mean, var = norm.batch_norm_stats(x)
    np.testing.assert_allclose(mean, x.astype("f8").mean(axes), rtol=1e-7)
    np.testing.assert_allclose(var, x.astype("f8").var(axes), rtol=1e-3)


def test_what_is_left_to_numpy():
    x = np.ones((4, 16), "f4")
    assert moments.row_moments(np.ones((4, 3), "f4")) is None
    assert moments.row_moments(x[:, ::2]) is None
    assert moments.row_moments(np.ones((4, 16), "i8")) is None
    assert moments.map_rows(x, np.ones(4, "f8"), np.ones(4, "f8")) is None


def test_not_a_number_stays_in_its_channel():
    layer = flambeau.nn.BatchNorm2d(3)
    x = flambeau.randn(4, 3, 6, 6)
    x[1, 2, 0, 0] = float("nan")
    out = layer(x)
    assert out[:, 2].isnan().all() and out[:, :2].isfinite().all()
