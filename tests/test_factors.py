"""Factors as LAPACK packs them, by NumPy's OpenBLAS and without it, and the exponential of matrices."""

import threading

import numpy as np
import pytest

import flambeau as torch
from flambeau.engines.numpy import factoring, lapack
from flambeau.engines.numpy.exponential import exponential

KINDS = [np.float32, np.float64, np.complex64, np.complex128]
EXACT = {np.float32: 1e-5, np.complex64: 1e-5, np.float64: 1e-13, np.complex128: 1e-13}
SHAPES = [(1, 1), (4, 4), (3, 7, 4), (2, 3, 4, 9), (90, 90), (2, 130, 70), (70, 150)]


@pytest.fixture(params=["lapack", "plain"])
def route(request, monkeypatch):
    """By LAPACK where NumPy brings it, or by NumPy's operations alone."""
    if request.param == "plain":
        monkeypatch.setattr(factoring, "routine_of", lambda *a: None)
    return request.param


def drawn(rng, shape, kind):
    a = rng.standard_normal(shape)
    if np.dtype(kind).kind == "c":
        a = a + 1j * rng.standard_normal(shape)
    return a.astype(kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_exchanged_times_l_times_u(route, shape, kind):
    a = drawn(np.random.default_rng(0), shape, kind)
    before = a.copy()
    packed, pivots = factoring.triangular(a)
    assert np.array_equal(a, before) and packed.shape == shape and packed.dtype == kind and pivots.dtype == np.int32
    m, n = shape[-2:]
    k = min(m, n)
    assert pivots.shape == (*shape[:-2], k)
    lower = np.tril(packed[..., :k], -1) + np.eye(m, k, dtype=kind)
    assert np.abs(lower).max() <= (1 + 1e-5) * (2**0.5 if np.dtype(kind).kind == "c" else 1)
    product = lower @ np.triu(packed[..., :k, :])
    for place in np.ndindex(shape[:-2]):
        moved = a[place]
        for i, j in enumerate(pivots[place] - 1):
            moved[[i, j]] = moved[[j, i]]
        assert np.abs(product[place] - moved).max() < EXACT[kind] * 20 * k


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_both_routes_choose_alike(shape, kind, monkeypatch):
    a = drawn(np.random.default_rng(1), shape, kind)
    square = a[..., : min(shape[-2:]), : min(shape[-2:])]
    even, hermitian = square + square.swapaxes(-1, -2), square + square.conj().swapaxes(-1, -2)

    def factors():
        return [factoring.triangular(a), factoring.symmetric(even, False), factoring.symmetric(hermitian, True)]

    first = factors() if np.dtype(kind).kind == "c" else factors()[:2]
    monkeypatch.setattr(factoring, "routine_of", lambda *a: None)
    for mine, theirs in zip(factors(), first, strict=False):
        scale = EXACT[kind] * 1000 * np.abs(np.tril(theirs[0])).max()
        assert np.abs(np.tril(mine[0]) - np.tril(theirs[0])).max() < scale * shape[-1]
        assert all(np.array_equal(x, y) for x, y in zip(mine[1:], theirs[1:], strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 3, 10, 75])
@pytest.mark.parametrize("hermitian", [False, True])
def test_symmetric_factors_solve(route, n, kind, hermitian):
    rng = np.random.default_rng(n)
    a = drawn(rng, (3, n, n), kind)
    a = a + (a.conj() if hermitian else a).swapaxes(-1, -2)
    a[0, : n // 2, : n // 2] = 0  # blocks of two are needed
    upper_is_not_read = np.tril(a) + np.triu(np.full((n, n), np.nan, kind), 1)
    packed, pivots, info = lapack.ldl_factor(upper_is_not_read, hermitian)
    assert not info.any() and packed.dtype == kind and np.array_equal(packed, np.tril(packed))
    b = drawn(rng, (3, n, 4), kind)
    x = lapack.ldl_solve(packed, pivots, b, hermitian)
    assert np.abs(a @ x - b).max() < EXACT[kind] * 100 * n * max(1, np.abs(x).max())


def test_nothing_and_zeros(route):
    for shape in ((0, 3, 3), (3, 0, 4), (2, 4, 0), (0, 0)):
        packed, pivots = factoring.triangular(np.zeros(shape))
        assert packed.shape == shape and pivots.shape == (*shape[:-2], min(shape[-2:]))
    for shape in ((0, 3, 3), (2, 0, 0)):
        packed, pivots, info = factoring.symmetric(np.zeros(shape), False)
        assert (packed.shape, pivots.shape, info.shape) == (shape, shape[:-1], shape[:-2])
    packed, pivots = factoring.triangular(np.zeros((3, 3)))
    assert not packed.any() and pivots.tolist() == [1, 2, 3]
    packed, pivots, info = factoring.symmetric(np.zeros((2, 3, 3)), False)
    assert not packed.any() and pivots.tolist() == [[1, 2, 3]] * 2 and info.tolist() == [1, 1]
    singular = np.diag([2.0, 0.0, 3.0])
    assert factoring.symmetric(singular, False)[2] == 2
    assert np.isnan(factoring.triangular(np.full((2, 2), np.nan))[0]).all()
    turned = np.arange(12.0).reshape(4, 3).T[::-1]  # neither order of memory
    assert np.array_equal(factoring.triangular(turned)[0], factoring.triangular(turned.copy())[0])


def test_many_threads_at_once():
    a = np.random.default_rng(2).standard_normal((8, 60, 60))
    want, found = factoring.triangular(a), [None] * 8

    def work(i):
        for _ in range(20):
            found[i] = factoring.triangular(a[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, (packed, pivots) in enumerate(found):
        assert np.allclose(packed, want[0][i], rtol=1e-9, atol=1e-9) and np.array_equal(pivots, want[1][i])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(3, 3), (6, 4), (4, 6), (2, 5, 3)])
def test_reflections_of_geqrf_rebuild_the_matrix(shape, kind):
    a = torch.from_numpy(drawn(np.random.default_rng(3), shape, kind))
    packed, tau = torch.geqrf(a)
    m, n = shape[-2:]
    assert packed.dtype == tau.dtype == a.dtype and tau.shape[-1] == min(m, n)
    r = packed.triu()[..., : min(m, n), :]
    q = torch.linalg.householder_product(packed[..., : min(m, n)].contiguous(), tau)
    assert torch.allclose(q @ r, a, atol=EXACT[kind] * 100)


# --- the exponential ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [0, 1e-9, 1e-5, 1e-2, 0.2, 0.7, 2, 12])
@pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
def test_exponential_of_what_can_be_made_diagonal(kind, scale, batch):
    rng = np.random.default_rng(4)
    vectors = np.linalg.qr(rng.standard_normal((*batch, 5, 5)))[0]
    values = rng.uniform(-1, 1, (*batch, 5)) * scale
    if np.dtype(kind).kind == "c":
        values = values * (1 + 2j)
    turned = vectors.swapaxes(-1, -2)
    a, want = (vectors * values[..., None, :] @ turned, vectors * np.exp(values)[..., None, :] @ turned)
    found = exponential(a.astype(kind))
    assert found.dtype == kind and np.abs(found - want).max() < EXACT[kind] * 50 * np.abs(want).max() * max(1, scale)


def test_exponential_of_shifts_is_exact_and_edges_are_nan():
    shift = np.diag(np.full(3, 0.5), 1)
    want = np.eye(4) + shift + shift @ shift / 2 + shift @ shift @ shift / 6
    assert np.abs(exponential(shift) - want).max() < 1e-16
    assert np.array_equal(exponential(np.zeros((2, 3, 3))), np.stack([np.eye(3)] * 2))
    assert exponential(np.zeros((0, 3, 3))).shape == (0, 3, 3) and exponential(np.zeros((3, 0, 0))).shape == (3, 0, 0)
    assert exponential(np.array([[[3.0]]])).tolist() == [[[np.exp(3.0)]]]
    good, bad = np.eye(2), np.array([[0, np.inf], [0, 0]])
    assert np.isnan(exponential(bad)).all() and np.isnan(exponential(np.full((2, 2), np.nan))).all()
    mixed = exponential(np.stack([good, bad, good * np.nan, good * 20]))
    assert np.allclose(mixed[0], good * np.e) and np.isnan(mixed[1:3]).all() and np.allclose(mixed[3], good * np.e**20)


def test_a_compiled_step_sees_other_matrices():
    @torch.compile
    def step(a):
        return torch.linalg.lu_factor(a)[0] + torch.matrix_exp(a)

    for seed in range(4):
        a = torch.from_numpy(np.random.default_rng(seed).standard_normal((4, 4)) * 4**seed)
        assert torch.equal(step(a), torch.linalg.lu_factor(a)[0] + torch.matrix_exp(a))
