"""Activations and softmax without PyTorch: recorded values, kernels against their formulas, edges, in-place, errors."""

import math
import warnings

import numpy as np
import pytest

import flambeau as torch
from flambeau.engines.kernels import CPU_KERNELS, FORMULAS
from flambeau.engines.numpy import activation as kernels
from flambeau.engines.numpy import chain, softmax
from flambeau.nn import functional as F

X = [-3.0, -1.0, -0.25, 0.0, 0.5, 2.0, 6.5]

# what PyTorch 2.13 gives (gelu at -3: in float64)
RECORDED = {
    "relu": [0.0, 0.0, 0.0, 0.0, 0.5, 2.0, 6.5],
    "relu6": [0.0, 0.0, 0.0, 0.0, 0.5, 2.0, 6.0],
    "elu": [-0.950213, -0.6321205, -0.2211992, 0.0, 0.5, 2.0, 6.5],
    "selu": [-1.670569, -1.111331, -0.3888902, 0.0, 0.5253505, 2.101402, 6.829556],
    "leaky_relu": [-0.03, -0.01, -0.0025, 0.0, 0.5, 2.0, 6.5],
    "gelu": [-0.004049694, -0.1586553, -0.1003234, 0.0, 0.3457312, 1.9545, 6.5],
    "silu": [-0.1422776, -0.2689414, -0.1094559, 0.0, 0.3112297, 1.761594, 6.490242],
    "mish": [-0.1456475, -0.3034014, -0.129927, 0.0, 0.3752452, 1.943959, 6.49997],
    "softplus": [0.04858735, 0.3132617, 0.5759394, 0.6931472, 0.974077, 2.126928, 6.501503],
    "logsigmoid": [-3.048587, -1.313262, -0.8259394, -0.6931472, -0.474077, -0.126928, -0.00150231],
    "hardtanh": [-1.0, -1.0, -0.25, 0.0, 0.5, 1.0, 1.0],
    "hardswish": [-0.0, -0.3333333, -0.1145833, 0.0, 0.2916667, 1.666667, 6.5],
    "hardsigmoid": [0.0, 0.3333333, 0.4583333, 0.5, 0.5833333, 0.8333333, 1.0],
    "hardshrink": [-3.0, -1.0, 0.0, 0.0, 0.0, 2.0, 6.5],
    "softshrink": [-2.5, -0.5, 0.0, 0.0, 0.0, 1.5, 6.0],
    "tanhshrink": [-2.004945, -0.2384058, -0.005081341, 0.0, 0.03788283, 1.035972, 5.500005],
    "softsign": [-0.75, -0.5, -0.2, 0.0, 0.3333333, 0.6666667, 0.8666667],
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", RECORDED)
def test_recorded_values(name, dtype):
    out = getattr(F, name)(torch.tensor(X, dtype=dtype))
    assert out.dtype is dtype
    rtol = 1e-2 if dtype is torch.bfloat16 else 2e-6
    np.testing.assert_allclose(
        out.double().numpy(), RECORDED[name], rtol, 3e-7 if dtype is not torch.bfloat16 else 1e-2
    )


def test_recorded_softmax():
    x = torch.tensor(X)
    want = [7.360858e-05, 0.0005438979, 0.001151432, 0.001478468, 0.002437582, 0.01092448, 0.9833905]
    np.testing.assert_allclose(torch.softmax(x, 0).numpy(), want, 2e-6)
    np.testing.assert_allclose(torch.log_softmax(x, 0).numpy(), np.log(want), 2e-5)
    np.testing.assert_allclose(
        F.gelu(x, approximate="tanh").numpy()[:3], [-0.003637433, -0.158808, -0.1003246], 2e-6, 3e-7
    )
    np.testing.assert_allclose(F.celu(x, 0.5).numpy()[:3], [-0.4987606, -0.4323324, -0.1967347], 2e-6)


def test_single_precision_erf_is_exact_to_the_last_digits():
    x = np.concatenate([np.linspace(-7, 7, 40001), np.geomspace(1e-30, 1, 2000)]).astype(np.float32)
    want = np.array([math.erf(v) for v in x.astype(float)])
    assert np.abs(kernels.erf(x) - want).max() < 2e-7
    small = np.abs(x) < 0.1
    relative = np.abs(kernels.erf(x)[small] / np.where(want[small] == 0, 1, want[small]) - (want[small] != 0))
    assert relative.max() < 5e-7
    assert kernels.erf(np.array([np.inf, -np.inf], np.float32)).tolist() == [1.0, -1.0]


# the fused backward kernels with their plain operands, against the formulas that recorded backwards use
FUSED = {
    "relu_backward": ("g", "positive"),
    "threshold_backward": ("g", "a", 0.25),
    "hardtanh_backward": ("g", "a", -0.5, 1.5),
    "leaky_relu_backward": ("g", "a", 0.2),
    "elu_backward": ("g", "a", 0.7, 1.3, 0.9),
    "sigmoid_backward": ("g", "unit"),
    "tanh_backward": ("g", "unit"),
    "mish_backward": ("g", "a"),
    "softplus_backward": ("g", "a", 1.7, 2.0),
    "log_sigmoid_backward": ("g", "a"),
    "hard_gate_backward": ("g", "a", True),
    "softmax_backward": ("g", "unit", 1),
    "log_softmax_backward": ("g", "unit", 0),
}


@pytest.mark.parametrize("shape", [(3, 5), (7, 1), (300, 500)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUSED)
def test_fused_kernels_equal_their_formulas(name, dtype, shape):
    rng = np.random.default_rng(0)
    a = rng.normal(0, 2, shape).astype(dtype)
    given = {
        "g": rng.normal(size=shape).astype(dtype),
        "a": a,
        "positive": np.maximum(a, 0),
        "unit": np.tanh(np.abs(a)),
    }
    args = [given.get(v, v) if isinstance(v, str) else v for v in FUSED[name]]
    fused = getattr(CPU_KERNELS, name)(*args)
    formula = FORMULAS[name](CPU_KERNELS, *args)
    assert fused.dtype == dtype
    np.testing.assert_allclose(
        fused, formula, 2e-5 if dtype == "float32" else 1e-11, 1e-5 if dtype == "float32" else 1e-11
    )


@pytest.mark.parametrize("shape", [(3, 5), (300, 500)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_slopes_kept_by_forward_equal_the_formulas(dtype, shape):
    rng = np.random.default_rng(0)
    a, g = rng.normal(0, 2, shape).astype(dtype), rng.normal(size=shape).astype(dtype)
    exact = 1e-5 if dtype == "float32" else 1e-11
    for name, options in (("gelu", ("none",)), ("gelu", ("tanh",)), ("silu", ())):
        out, slope = getattr(kernels, name)(a, *options, True)
        plain, nothing = getattr(kernels, name)(a, *options)
        assert nothing is None and out.dtype == slope.dtype == dtype
        np.testing.assert_allclose(out, plain, exact, exact)
        fused = getattr(kernels, name + "_backward")(g, a, slope, *options)
        np.testing.assert_allclose(fused, FORMULAS[name + "_backward"](CPU_KERNELS, g, a, None, *options), exact, exact)


def test_choosing_by_bits_equals_where():
    rng = np.random.default_rng(0)
    for shape in ((3,), (900,), (210, 211)):
        for dtype in ("float32", "float64", "int64"):
            mask, a, b = (
                rng.random(shape) < 0.5,
                rng.normal(size=shape).astype(dtype),
                rng.normal(size=shape).astype(dtype),
            )
            if dtype != "int64":
                a.flat[0], b.flat[1], a.flat[2] = np.nan, np.inf, -0.0
            for x, y in ((a, b), (a, b[..., :1]), (np.array(2, dtype), b), (a, a.T.copy().T)):
                np.testing.assert_array_equal(chain.choose(mask, x, y), np.where(mask, x, y))


def test_softmax_far_from_zero_uses_the_maximum():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(100, 100)).astype(np.float32)
    want = softmax.softmax(rows.astype(np.float64), 1)
    for shift in (-3000, -90, 90, 3000):
        shifted = (rows + np.float32(shift)).astype(np.float32)
        exact = softmax.softmax(shifted.astype(np.float64), 1)
        np.testing.assert_allclose(softmax.softmax(shifted, 1), exact, 2e-6)
    np.testing.assert_allclose(softmax.softmax(rows, 1), want, 2e-6)
    rows[3] = -np.inf
    assert np.isnan(softmax.softmax(rows, 1)[3]).all() and not np.isnan(softmax.softmax(rows, 1)[4]).any()


@pytest.mark.parametrize("name", ["relu", "elu", "leaky_relu", "silu", "hardtanh", "hardswish", "mish", "selu"])
def test_inplace_writes_and_still_differentiates(name):
    f = getattr(F, name)
    x = torch.tensor([-2.0, -0.3, 0.4, 0.9], dtype=torch.float64, requires_grad=True)
    y = x * 1
    z = f(y, inplace=True)
    assert z is y
    np.testing.assert_array_equal(y.detach().numpy(), f(x).detach().numpy())
    (got,) = torch.autograd.grad(z.sum(), x)
    (want,) = torch.autograd.grad(f(x).sum(), x)
    np.testing.assert_allclose(got.numpy(), want.numpy())


def test_inplace_on_a_leaf_is_refused_and_changes_nothing():
    x = torch.tensor([-2.0, 1.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        F.elu(x, inplace=True)
    assert x.tolist() == [-2.0, 1.0]


def test_relu_gradient_at_zero_nan_and_infinity():
    x = torch.tensor([0.0, math.nan, -1.0, 1.0], requires_grad=True)
    (g,) = torch.autograd.grad(torch.relu(x), x, torch.tensor([1.0, 2.0, math.inf, math.inf]))
    np.testing.assert_array_equal(g.numpy(), [0.0, 2.0, 0.0, math.inf])


def test_implicit_dim_warns():
    with pytest.warns(UserWarning, match="dim"):
        F.softmax(torch.ones(2, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        F.softmax(torch.ones(2, 3), dim=1)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: F.gelu(torch.ones(2), approximate="x"), RuntimeError),
        (lambda: F.gelu(torch.arange(3)), NotImplementedError),
        (lambda: F.glu(torch.ones(3, 3)), RuntimeError),
        (lambda: F.hardtanh(torch.ones(2), 2.0, 1.0), ValueError),
        (lambda: F.prelu(torch.ones(2, 3), torch.ones(2)), RuntimeError),
        (lambda: F.relu(torch.tensor([True])), RuntimeError),
        (lambda: F.relu(None), TypeError),
        (lambda: torch.softmax(torch.ones(2), 3), IndexError),
        (lambda: F.rrelu(torch.ones(2), 0.5, 0.1, True), RuntimeError),
    ],
)
def test_refused(call, error):
    with pytest.raises(error):
        call()


def test_rrelu_and_gumbel_are_reproducible():
    x = torch.linspace(-2, 2, 12)
    for call in (lambda: F.rrelu(x, training=True), lambda: F.gumbel_softmax(x.view(3, 4), hard=True)):
        torch.manual_seed(3)
        first = call()
        torch.manual_seed(3)
        np.testing.assert_array_equal(first.numpy(), call().numpy())
    slopes = (F.rrelu(x, 0.1, 0.2, True) / x)[x < 0]
    assert ((slopes >= 0.1) & (slopes <= 0.2)).all()
