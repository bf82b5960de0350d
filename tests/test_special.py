"""Special functions against values known to the last bit, against scipy, at their edges, and by their identities."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau as torch
from flambeau.engines.numpy import errorfunctions, special

F64, F32 = np.float64, np.float32
RECORDED = json.loads((Path(__file__).parent / "recorded" / "special.json").read_text())

#: How far results may lie from the true ones, in units of their last place.
WITHIN = {
    "erf": 1, "erfc": 3, "erfcx": 3, "erfinv": 3, "ndtr": 5, "ndtri": 5, "log_ndtr": 5,
    "lgamma": 3, "digamma": 6, "polygamma 1": 6, "polygamma 4": 6, "zeta": 6,
    "i0": 4, "i0e": 4, "i1": 6, "i1e": 6, "modified_bessel_k0": 6, "modified_bessel_k1": 6,
    "scaled_modified_bessel_k0": 6, "scaled_modified_bessel_k1": 6,
    "bessel_j0": 4, "bessel_j1": 4, "bessel_y0": 20, "bessel_y1": 8, "airy_ai": 70,
    "igamma": 5000, "igammac": 10000,
}  # fmt: skip
UNARY = [name for name in WITHIN if name not in ("zeta", "igamma", "igammac")]


def kernel(name):
    if name == "erf":
        return errorfunctions.erf
    base, _, order = name.partition(" ")
    return (lambda x: special.polygamma(int(order), x)) if order else getattr(special, base)


def scale(name, x, value):
    """What an error is measured by: the value, or the amplitude about a zero; what cancels in a reflection."""
    if name.startswith("bessel_"):
        return np.maximum(np.abs(value), np.where(np.abs(x) > 2, np.sqrt(2 / np.pi / np.maximum(np.abs(x), 1)), 0))
    if name == "airy_ai":
        return np.maximum(np.abs(value), np.where(x < -1, np.abs(x) ** -0.25 / math.sqrt(math.pi), 0))
    if name in ("lgamma", "digamma"):
        return np.maximum(np.abs(value), np.where(x < 0, np.abs(kernel(name)(np.where(x < 0, 1 - x, 1.0))), 0))
    if name.startswith("polygamma"):
        return np.maximum(np.abs(value), np.where(x < 0, np.abs(kernel(name)(x - np.floor(x))), 0))
    return np.abs(value)


def error(name, x, found, wanted):
    """Units in the last place; 0 where both are the same infinity or NaN."""
    same = (found == wanted) | (np.isnan(found) & np.isnan(wanted))
    unit = np.spacing(np.maximum(scale(name, x, wanted), np.finfo(F64).tiny))
    with np.errstate(all="ignore"):
        return np.where(same, 0, np.nan_to_num(np.abs(found - wanted) / unit, nan=np.inf))


@pytest.mark.parametrize("name", WITHIN)
def test_digits(name):
    *arguments, wanted = np.array(RECORDED[name], F64).T
    found = kernel(name)(*arguments)
    wrong = error(name, arguments[-1], found, wanted)
    worst = int(wrong.argmax())
    assert wrong.max() <= WITHIN[name], ([a[worst] for a in arguments], found[worst], wanted[worst], wrong[worst])


# --- against scipy ------------------------------------------------------------------------------------------------

THEIRS = {
    "lgamma": "gammaln", "digamma": "psi", "modified_bessel_k0": "k0", "modified_bessel_k1": "k1",
    "scaled_modified_bessel_k0": "k0e", "scaled_modified_bessel_k1": "k1e", "bessel_j0": "j0", "bessel_j1": "j1",
    "bessel_y0": "y0", "bessel_y1": "y1",
}  # fmt: skip


def scipy_function(name):
    theirs = pytest.importorskip("scipy.special")
    if name == "airy_ai":
        return lambda x: theirs.airy(x)[0]
    base, _, order = name.partition(" ")
    return (lambda x: theirs.polygamma(int(order), x)) if order else getattr(theirs, THEIRS.get(base, base))


def domain(name, x):
    """Those arguments at which scipy's function can be a measure."""
    if name in ("erfinv", "ndtri"):
        return x[(x >= -1) & (x <= 1)]
    if name.startswith("polygamma"):  # scipy's sum is endless far below 0
        return x[(x > 0) & (x < 1e8)]
    if name.startswith("bessel") or name == "airy_ai":  # scipy's angles are rounded
        return x[np.abs(x) < 50]
    if name in ("lgamma", "digamma"):
        return x[(x > -1e3) | (x == np.floor(x))]
    if name in ("i0", "i1"):  # about their overflow
        return x[np.abs(x) < 700]
    return x


def agree(name, x):
    """Whether they agree as far as scipy is exact: it rounds squares in exponents, and lgamma near 1 and 2."""
    with np.errstate(all="ignore"):
        mine, theirs = kernel(name)(x), scipy_function(name)(x)
        least = 1 if name in ("lgamma", "digamma") else 0
        far = np.abs(mine - theirs) > 3e-12 * np.maximum(scale(name, x, theirs), least) + 1e-290
    wrong = (far | (np.isnan(mine) != np.isnan(theirs))) & (mine != theirs)
    assert not wrong.any(), [x[wrong][:5], mine[wrong][:5], theirs[wrong][:5]]


@pytest.mark.parametrize("name", UNARY)
def test_dense_grids_agree_with_scipy(name):
    x = domain(name, np.concatenate([np.linspace(-30, 30, 60001), np.linspace(-1, 1, 20001), np.arange(-40.0, 40)]))
    agree(name, x if name != "digamma" else x[(x > 0) | (x != np.floor(x))])  # its poles are NaN as in PyTorch


@pytest.mark.parametrize("name", UNARY)
def test_random_bits_agree_with_scipy(name):
    x = domain(name, np.random.default_rng(5).integers(0, 2**64, 20000, dtype=np.uint64).view(F64))
    agree(name, x[((x > 0) | (x != np.floor(x)) | np.isnan(x)) & ~(np.abs(x) < 1e-300)])


def test_two_operands_agree_with_scipy():
    theirs = pytest.importorskip("scipy.special")
    rng = np.random.default_rng(6)
    a, x = np.exp(rng.uniform(-7, 7, 20000)), np.exp(rng.uniform(-7, 7, 20000))
    for mine, other in ((special.igamma, theirs.gammainc), (special.igammac, theirs.gammaincc)):
        np.testing.assert_allclose(mine(a, x), other(a, x), rtol=2e-11, atol=1e-290)
    s, q = rng.uniform(1.01, 30, 20000), np.exp(rng.uniform(-7, 7, 20000))
    np.testing.assert_allclose(special.zeta(s, q), theirs.zeta(s, q), rtol=1e-13)
    whole, below = rng.integers(2, 12, 5000).astype(F64), rng.uniform(-20, 0, 5000)
    np.testing.assert_allclose(special.zeta(whole, below), theirs.zeta(whole, below), rtol=1e-9, atol=1e-11)


# --- edges --------------------------------------------------------------------------------------------------------

INF, NAN = math.inf, math.nan
ENDS = [0.0, -0.0, INF, -INF, NAN]
AT_ENDS = {
    "erf": [0.0, -0.0, 1, -1, NAN],
    "erfc": [1, 1, 0.0, 2, NAN],
    "erfcx": [1, 1, 0.0, INF, NAN],
    "erfinv": [0.0, -0.0, NAN, NAN, NAN],
    "ndtr": [0.5, 0.5, 1, 0.0, NAN],
    "ndtri": [-INF, -INF, NAN, NAN, NAN],
    "log_ndtr": [-math.log(2), -math.log(2), -0.0, -INF, NAN],
    "lgamma": [INF, INF, INF, INF, NAN],
    "digamma": [-INF, INF, INF, NAN, NAN],
    "polygamma 1": [INF, INF, 0.0, NAN, NAN],
    "polygamma 4": [-INF, -INF, NAN, -INF, NAN],
    "i0": [1, 1, NAN, NAN, NAN],
    "i0e": [1, 1, 0.0, 0.0, NAN],
    "i1": [0.0, 0.0, NAN, NAN, NAN],
    "i1e": [0.0, 0.0, 0.0, -0.0, NAN],
    "modified_bessel_k0": [INF, INF, 0.0, NAN, NAN],
    "modified_bessel_k1": [INF, INF, 0.0, NAN, NAN],
    "scaled_modified_bessel_k0": [INF, INF, 0.0, NAN, NAN],
    "scaled_modified_bessel_k1": [INF, INF, 0.0, NAN, NAN],
    "bessel_j0": [1, 1, NAN, NAN, NAN],
    "bessel_j1": [0.0, -0.0, NAN, NAN, NAN],
    "bessel_y0": [-INF, -INF, NAN, NAN, NAN],
    "bessel_y1": [-INF, -INF, NAN, NAN, NAN],
    "airy_ai": [0.35502805388781724, 0.35502805388781724, NAN, NAN, NAN],
}


@pytest.mark.parametrize("kind", [F32, F64])
@pytest.mark.parametrize("name", UNARY)
def test_ends_are_pytorchs(name, kind):
    found, wanted = kernel(name)(np.array(ENDS, kind)), np.array(AT_ENDS[name], kind)
    assert found.dtype == kind
    np.testing.assert_array_equal(found, wanted)
    zero = wanted == 0
    assert np.array_equal(np.signbit(found[zero]), np.signbit(wanted[zero]))


def test_poles_and_overflow():
    whole = -np.arange(1.0, 50)
    assert np.isinf(special.lgamma(whole)).all() and np.isnan(special.digamma(whole)).all()
    assert (special.polygamma(3, whole) == INF).all() and np.isfinite(special.polygamma(1, whole)).all()
    assert special.erfinv(np.array([1.0, -1.0, 1.5])).tolist()[:2] == [INF, -INF]
    assert special.ndtri(np.array([1.0])).tolist() == [INF] and np.isnan(special.ndtri(np.array([-0.1, 1.1]))).all()
    assert special.lgamma(np.array([1.0, 2.0, 5e-324, -5e-324, 3e305, 2.6e305])).tolist() == [
        0, 0, 744.4400719213812, 744.4400719213812, INF, pytest.approx(1.8255e308, rel=1e-4),
    ]  # fmt: skip
    assert special.polygamma(400, np.array([3.0])).tolist() == [-INF]
    tiny = np.array([1e-310, -3e-320])
    np.testing.assert_allclose(special.digamma(tiny), [-INF, INF])
    assert np.array_equal(errorfunctions.erf(tiny) > 0, [True, False])


def test_edges_of_two_operands():
    pairs = [
        (0.0, 1.0),
        (0.0, 0.0),
        (2.0, 0.0),
        (INF, 1.0),
        (INF, INF),
        (2.0, INF),
        (-1.0, 1.0),
        (1.0, -1.0),
        (NAN, 1.0),
    ]
    pairs += [(1.0, NAN), (5e-324, 0.5), (1.0, 5e-324), (1e-300, 1e-300), (1e300, 1.0), (1.0, 1e300)]
    a, x = np.array(pairs).T
    lower = [1, NAN, 0, 0, NAN, 1, NAN, NAN, NAN, NAN, 1, 5e-324, 1, 0, 1]
    upper = [0, NAN, 1, 1, NAN, 0, NAN, NAN, NAN, NAN, 0, 1, 0, 1, 0]
    np.testing.assert_allclose(special.igamma(a, x), lower, rtol=1e-15)
    np.testing.assert_allclose(special.igammac(a, x), upper, rtol=1e-15, atol=1e-290)
    pairs = [
        (1.0, 2.0),
        (0.5, 1.0),
        (2.0, 0.0),
        (2.0, -3.0),
        (2.5, -0.5),
        (NAN, 1.0),
        (2.0, NAN),
        (1.0, NAN),
        (-INF, 1.0),
    ]
    s, q = np.array(pairs).T
    np.testing.assert_array_equal(special.zeta(s, q), [INF, NAN, INF, INF, NAN, NAN, NAN, INF, NAN])
    x, y = np.array([(0.0, INF), (0.0, -2.0), (0.0, NAN), (-0.0, 1.0), (1.0, -1.0), (2.0, 0.5)]).T
    np.testing.assert_array_equal(special.xlog1py(x, y), [0, 0, NAN, 0, -INF, 2 * np.log1p(0.5)])
    far = special.zeta(np.array([2.0, 3.0]), np.array([-1e15 - 0.5, -1e15 - 0.5]))  # at once, not term by term
    np.testing.assert_allclose(far, [math.pi**2, 0], rtol=1e-12, atol=1e-12)


# --- types and layouts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", UNARY)
def test_single_precision_is_double_rounded_once(name):
    bits = np.random.default_rng(7).integers(0, 2**32, 3000, dtype=np.uint32).view(F32)
    x = np.concatenate([bits, np.linspace(-20, 20, 2000, dtype=F32), np.linspace(0, 1, 500, dtype=F32)])
    if name.startswith("polygamma"):
        x = x[np.abs(x) < 1e30]
    with np.errstate(all="ignore"):
        want = kernel(name)(x.astype(F64)).astype(F32)
        found = kernel(name)(x)
    if name == "polygamma 1":  # at its poles a value of the type's own rounding of pi
        want, found = (v[(x > 0) | (x != np.floor(x))] for v in (want, found))
    assert found.dtype == F32
    np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize("name", ["erfc", "lgamma", "i0e", "bessel_j0"])
def test_layouts_and_sizes(name):
    run = kernel(name)
    rng = np.random.default_rng(8)
    whole = rng.uniform(0.1, 9, (40, 50, 60))
    want = run(whole)
    assert want.flags.c_contiguous and np.array_equal(want[3, 4], run(whole[3, 4].copy()))
    turned = run(whole.transpose(2, 0, 1))
    assert np.array_equal(turned, want.transpose(2, 0, 1)) and turned.strides == whole.transpose(2, 0, 1).strides
    assert np.array_equal(run(whole[::-1, ::3, 5:9]), want[::-1, ::3, 5:9])
    assert np.array_equal(run(np.broadcast_to(whole[0, 0], (7, 60))), np.broadcast_to(want[0, 0], (7, 60)))
    assert run(np.zeros((0, 4))).shape == (0, 4) and run(np.array(2.5)).shape == ()
    assert float(run(np.array(2.5))) == run(np.array([2.5]))[0]
    before = whole.copy()
    run(whole)
    assert np.array_equal(whole, before)
    single = whole.astype(F32)[::2]
    assert np.array_equal(run(single), run(single.astype(F64)).astype(F32))


def test_operands_broadcast():
    a, x = torch.tensor([[0.5], [2.0], [30.0]], dtype=torch.float64), torch.linspace(0, 40, 7, dtype=torch.float64)
    whole = torch.igamma(a, x)
    assert whole.shape == (3, 7)
    assert all(torch.igamma(a[i, 0], x[j]) == whole[i, j] for i in range(3) for j in range(7))
    assert torch.special.zeta(2, x + 1).shape == (7,) and torch.special.zeta(x + 2, 1.0).dtype == torch.float64
    ints = torch.arange(1, 5)
    assert torch.lgamma(ints).dtype == torch.float32 and torch.allclose(
        torch.lgamma(ints).exp(), torch.tensor([1.0, 1, 2, 6])
    )
    assert torch.erfinv(torch.tensor([0.5], dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_a_compiled_step_sees_other_numbers():
    def step(x):
        y = torch.lgamma(x) + torch.erf(x) + torch.special.i0(x) + torch.nn.functional.gelu(x)
        return y + torch.igamma(x.abs() + 0.1, x.abs())

    run = torch.compile(step)
    for seed in range(4):
        x = torch.from_numpy(np.random.default_rng(seed).standard_normal((30, 40)) * (1 + seed))
        assert torch.equal(run(x), step(x))


# --- identities ---------------------------------------------------------------------------------------------------


def between(low, high):
    """Many numbers at once, since a call costs more than what it computes."""
    return st.lists(st.floats(low, high), min_size=30, max_size=30).map(np.array)


def property_of(*numbers):
    return lambda test: settings(deadline=None, max_examples=12)(given(*numbers)(test))


def at(name, *values):
    return kernel(name)(*values)


def near(found, wanted, rel=0.0, size=0.0):
    """Both are the same up to `rel` of what is wanted and to `size`."""
    wrong = np.abs(found - wanted) > rel * np.abs(wanted) + size
    assert not wrong.any(), [found[wrong], np.broadcast_to(wanted, found.shape)[wrong]]


@property_of(between(-30, 30))
def test_error_functions_fit_together(x):
    assert np.array_equal(at("erf", -x), -at("erf", x))
    near(at("erf", x) + at("erfc", x), 1, rel=3e-16)
    right = x[x > -20]
    near(at("erfcx", right) * np.exp(-right * right), at("erfc", right), rel=1e-12, size=1e-300)
    near(at("ndtr", x) + at("ndtr", -x), 1, rel=3e-16)
    near(np.exp(at("log_ndtr", x)), at("ndtr", x), rel=1e-12)
    close = x[np.abs(x) < 5]
    near(at("erfinv", at("erf", close)), close, size=1e-15 * np.exp(close * close))
    low = x[x < 5]
    near(at("ndtri", at("ndtr", low)), low, rel=1e-14, size=1e-15 * np.exp(np.maximum(low, 0) ** 2))


@property_of(between(-40, 150))
def test_gamma_functions_fit_together(x):
    x = x[np.abs(x - np.rint(x)) > 1e-3]
    size = 1 + np.abs(at("lgamma", x)) + np.abs(np.log(np.abs(x)))
    near(at("lgamma", x + 1), at("lgamma", x) + np.log(np.abs(x)), size=2e-13 * size)
    near(at("lgamma", x), np.array([math.lgamma(v) for v in x]), size=1e-12 * size)
    size = 1 + np.abs(at("digamma", x)) + np.abs(1 / x)
    near(at("digamma", x + 1), at("digamma", x) + 1 / x, size=1e-11 * size)
    reflected = at("digamma", x) + math.pi / np.tan(math.pi * (x - np.rint(x)))
    near(at("digamma", 1 - x), reflected, rel=1e-11, size=1e-11 * size)
    for n in (1, 2, 5):
        step = (-1) ** n * math.factorial(n) * x ** -(n + 1.0)
        value = at(f"polygamma {n}", x)
        near(at(f"polygamma {n}", x + 1), value + step, size=1e-11 * (np.abs(value) + np.abs(step)))


@property_of(between(1.001, 60), between(1e-3, 1e6))
def test_zeta_moves_by_a_term(s, q):
    near(at("zeta", s, q), q**-s + at("zeta", s, q + 1), rel=1e-12, size=1e-300)


@property_of(between(1e-6, 2e3), between(1e-6, 4e3))
def test_incomplete_gamma_functions_fit_together(a, x):
    p, q = at("igamma", a, x), at("igammac", a, x)
    assert (p >= 0).all() and (p <= 1).all() and (q >= 0).all() and (q <= 1).all()
    near(p + q, 1, rel=1e-14)
    step = np.exp(a * np.log(x) - x - at("lgamma", a + 1))
    near(at("igamma", a + 1, x), p - step, size=1e-12)
    near(at("igammac", a + 1, x), q + step, size=1e-12)


@property_of(between(1e-3, 500))
def test_bessel_functions_fit_together(x):
    wronskian = at("bessel_j1", x) * at("bessel_y0", x) - at("bessel_j0", x) * at("bessel_y1", x)
    near(wronskian, 2 / (math.pi * x), rel=1e-12)
    first = at("i0e", x) * at("scaled_modified_bessel_k1", x) + at("i1e", x) * at("scaled_modified_bessel_k0", x)
    near(first, 1 / x, rel=1e-13)
    near(at("i0", x), at("i0e", x) * np.exp(x), rel=1e-14)
    assert np.array_equal(at("bessel_j1", -x), -at("bessel_j1", x))
    assert np.array_equal(at("bessel_j0", -x), at("bessel_j0", x))


@property_of(between(-40, 20))
def test_airys_equation(x):
    step = 1e-3 / np.sqrt(1 + np.abs(x))
    below, here, above = (at("airy_ai", x + k * step) for k in (-1, 0, 1))
    size = np.maximum(np.maximum(np.abs(below), np.abs(above)), np.abs(here))
    near((above - 2 * here + below) / step**2, x * here, size=2e-5 * size * (1 + np.abs(x)))
