"""Convolution and pooling against direct loops, adjoint identities and finite differences; the threads under them."""

import itertools
import threading

import numpy as np
import pytest

import flambeau
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.engines.numpy import adaptive, blas, conv, parallel, pool

F = flambeau.nn.functional


def normal(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape)


def direct(x, w, bias, stride, padding, dilation, groups):
    """Convolution by its definition, a loop over output positions."""
    nd = x.ndim - 2
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    out = [
        (n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape[2:], w.shape[2:], stride, dilation, strict=True)
    ]
    result = np.zeros((x.shape[0], w.shape[0], *out))
    per = w.shape[0] // groups
    for at in itertools.product(*(range(o) for o in out)):
        window = tuple(
            slice(o * s, o * s + d * (k - 1) + 1, d)
            for o, s, d, k in zip(at, stride, dilation, w.shape[2:], strict=True)
        )
        patch = x[(slice(None), slice(None), *window)]
        for g in range(groups):
            part = patch[:, g * w.shape[1] : (g + 1) * w.shape[1]].reshape(x.shape[0], -1)
            rows = slice(g * per, (g + 1) * per)
            result[(slice(None), rows, *at)] = part @ w[rows].reshape(per, -1).T
    return result if bias is None else result + bias.reshape(1, -1, *(1,) * nd)


CASES = [
    # x, w, stride, padding, dilation, groups
    ((2, 3, 9), (4, 3, 3), (1,), (1,), (1,), 1),
    ((2, 4, 9), (6, 2, 2), (3,), (2,), (2,), 2),
    ((2, 3, 6, 7), (4, 3, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((2, 3, 7, 6), (5, 3, 3, 2), (2, 3), (1, 0), (1, 2), 1),
    ((9, 40, 4, 4), (44, 40, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((3, 18, 12, 11), (20, 18, 3, 3), (2, 1), (1, 2), (1, 1), 1),
    ((2, 6, 5, 5), (6, 1, 3, 3), (1, 1), (1, 1), (1, 1), 6),
    ((2, 32, 8, 8), (40, 16, 3, 3), (1, 1), (1, 1), (1, 1), 2),
    ((2, 33, 8, 8), (40, 33, 1, 1), (1, 1), (0, 0), (1, 1), 1),
    ((2, 33, 8, 8), (40, 33, 1, 1), (2, 2), (0, 0), (1, 1), 1),
    ((2, 3, 4, 5, 6), (4, 3, 2, 3, 2), (1, 2, 1), (1, 0, 1), (1, 1, 2), 1),
    ((2, 2, 2, 4, 4), (3, 2, 1, 2, 2), (1, 1, 1), (2, 1, 1), (1, 1, 1), 1),
    ((1, 24, 70, 70), (24, 24, 3, 3), (1, 1), (1, 1), (1, 1), 1),
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_conv_is_the_sum_over_windows(case, dtype):
    x, w, *settings = case
    x, w, b = normal(*x), normal(*w), normal(w[0])
    got = conv.conv(x.astype(dtype), w.astype(dtype), b.astype(dtype), *settings)
    wanted = direct(x, w, b, *settings)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, wanted, *((1e-9, 1e-9) if dtype == "float64" else (1e-4, 1e-3)))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_are_adjoint(case, threads, set_threads):
    """<conv(x, w), g> = <x, conv_input(g, w)> = <w, conv_weight(g, x)>."""
    set_threads(threads)
    x, w, *settings = case
    x, w = normal(*x), normal(*w)
    y = conv.conv(x, w, None, *settings)
    g = normal(*y.shape)
    product = (y * g).sum()
    scale = np.abs(y * g).sum()
    np.testing.assert_allclose((x * conv.conv_input(g, w, None, x.shape, *settings)).sum(), product, atol=1e-12 * scale)
    np.testing.assert_allclose((w * conv.conv_weight(g, x, w.shape, *settings)).sum(), product, atol=1e-12 * scale)


@pytest.fixture
def set_threads():
    before = parallel.get_num_threads()
    yield parallel.set_num_threads
    parallel.set_num_threads(before)


def test_without_openblas(monkeypatch):
    """Where NumPy has another BLAS, plain patches give the same."""
    x, w = normal(3, 20, 9, 9), normal(24, 20, 3, 3)
    settings = (1, 1), (1, 1), (1, 1), 1
    g = normal(3, 24, 9, 9)
    kernels = (
        lambda: conv.conv(x, w, None, *settings),
        lambda: conv.conv_input(g, w, None, x.shape, *settings),
        lambda: conv.conv_weight(g, x, w.shape, *settings),
    )
    fast = [kernel() for kernel in kernels]
    monkeypatch.setattr(conv, "gemm_of", lambda dtype: None)
    for kernel, wanted in zip(kernels, fast, strict=True):
        np.testing.assert_allclose(kernel(), wanted, 1e-10, 1e-10)


def tensors(*shapes):
    return tuple(flambeau.tensor(normal(*s), requires_grad=True) for s in shapes)


@pytest.mark.filterwarnings("ignore:padding='same'")
@pytest.mark.parametrize(
    "call,shapes",
    [
        (lambda x, w, b: F.conv1d(x, w, b, 2, 1), ((2, 2, 5), (2, 2, 3), (2,))),
        (lambda x, w, b: F.conv2d(x, w, b, 1, 1, 2), ((1, 2, 4, 4), (2, 2, 2, 2), (2,))),
        (lambda x, w: F.conv2d(x, w, padding="same", groups=2), ((1, 2, 3, 3), (2, 1, 2, 3))),
        (lambda x, w: F.conv3d(x, w, stride=2), ((1, 2, 3, 3, 3), (2, 2, 2, 2, 2))),
        (lambda x, w, b: F.conv_transpose2d(x, w, b, 2, 1, 1), ((1, 2, 3, 2), (2, 2, 3, 2), (2,))),
        (lambda x, w: F.conv_transpose1d(x, w, None, 1, 0, 2, 1, 3), ((1, 2, 3), (2, 2, 2))),
        (lambda x: F.max_pool2d(x, 3, 2, 1), ((1, 2, 5, 5),)),
        (lambda x: F.avg_pool2d(x, 3, 2, 1, False, False), ((1, 2, 5, 5),)),
        (lambda x: F.avg_pool3d(x, 2, 1), ((1, 1, 3, 3, 3),)),
        (lambda x: F.adaptive_avg_pool2d(x, (2, 3)), ((1, 2, 5, 4),)),
        (lambda x: F.adaptive_max_pool2d(x, (2, 3)), ((1, 2, 5, 4),)),
    ],
)
def test_derivatives_of_both_orders(call, shapes):
    inputs = tensors(*shapes)
    assert gradcheck(call, inputs)
    assert gradgradcheck(call, inputs)


@pytest.mark.parametrize("nan", [False, True])
def test_max_pool_takes_the_first_maximum(nan):
    rng = np.random.default_rng(0)
    x = rng.integers(-2, 3, (2, 3, 7, 8)).astype("float64")
    if nan:
        x[rng.random(x.shape) < 0.1] = np.nan
    out, taps = pool.max_pool_taps(x, (3, 2), (2, 2), (1, 0), (1, 1), (4, 4))
    at = pool.max_pool_indices(taps, (7, 8), (3, 2), (2, 2), (1, 0), (1, 1))
    for n, c, i, j in np.ndindex(out.shape):
        best = position = None
        for a, b in itertools.product(range(max(0, 2 * i - 1), min(7, 2 * i + 2)), range(2 * j, 2 * j + 2)):
            value = x[n, c, a, b]
            if best is None or value > best or np.isnan(value):
                best, position = value, a * 8 + b
        np.testing.assert_equal(out[n, c, i, j], best)
        assert at[n, c, i, j] == position


def test_pools_and_their_adjoints():
    x = normal(3, 4, 9, 8)
    out = adaptive.adaptive_avg_pool(x, (4, 3))
    g = normal(*out.shape)
    np.testing.assert_allclose((adaptive.adaptive_avg_pool_input(g, (9, 8)) * x).sum(), (out * g).sum())
    np.testing.assert_allclose(out[0, 0, 1, 2], x[0, 0, 2:5, 5:8].mean())
    out, at = adaptive.adaptive_max_pool(x, (4, 3))
    np.testing.assert_array_equal(adaptive.plane_select(x, at, 2), out)
    np.testing.assert_allclose((adaptive.plane_scatter(g, at, (9, 8), 2) * x).sum(), (out * g).sum())


# --- the thread pool ----------------------------------------------------------------------------------------------


def test_parallel_for_covers_the_range_once(set_threads):
    for threads, n, grain, block in itertools.product((1, 2, 4), (0, 1, 7, 1000), (1, 100), (None, 64)):
        set_threads(threads)
        seen = np.zeros(n, int)

        def fill(start, stop):
            seen[start:stop] += 1

        parallel.parallel_for(n, fill, grain, block)
        assert (seen == 1).all()


def test_errors_of_tasks_reach_the_caller(set_threads):
    set_threads(3)

    def fail(i):
        if i == 5:
            raise KeyError(i)

    for _ in range(20):
        with pytest.raises(KeyError):
            parallel.run_tasks(fail, [(i,) for i in range(50)])
    parallel.run_tasks(lambda i: None, [(i,) for i in range(50)])


def test_tasks_may_run_tasks(set_threads):
    set_threads(2)
    total = []
    parallel.run_tasks(lambda i: parallel.run_tasks(total.append, [(i,), (i,)]), [(i,) for i in range(8)])
    assert sorted(total) == sorted([*range(8), *range(8)])


def test_callers_in_several_threads(set_threads):
    set_threads(2)
    results = [0] * 4

    def caller(i):
        for _ in range(50):
            seen = np.zeros(64, int)
            parallel.run_tasks(lambda a: seen.__setitem__(a, a), [(a,) for a in range(64)])
            results[i] += int(seen.sum())

    threads = [threading.Thread(target=caller, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [50 * sum(range(64))] * 4


def test_scratch_is_bounded_and_reused():
    first = parallel.scratch("test", (100,), np.float32)
    again = parallel.scratch("test", (50,), np.float32)
    assert np.shares_memory(first, again)
    parallel.scratch("huge", (1 << 26,), np.uint8)
    assert sum(b.size for b in parallel._local.scratch.values()) <= parallel._SCRATCH_BYTES


def test_set_num_threads_refuses():
    for bad in (0, -1, 2.0, True):
        with pytest.raises(RuntimeError):
            parallel.set_num_threads(bad)


def test_single_blas_restores():
    before = blas.get_threads()
    with parallel.single_blas():
        assert blas.get_threads() in (0, 1)
    assert blas.get_threads() == before
