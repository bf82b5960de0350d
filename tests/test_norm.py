"""Normalisations without PyTorch: recorded values, kernels against their formulas, running statistics, errors."""

import numpy as np
import pytest

import flambeau as torch
from flambeau.engines.kernels import CPU_KERNELS, FORMULAS
from flambeau.engines.numpy import norm as kernels
from flambeau.nn import functional as F

X = torch.linspace(-2, 3, 24).reshape(2, 4, 3).sin()
W, B = torch.tensor([0.5, 1, 2, 3]), torch.tensor([1.0, 0, -1, 0.5])

# what PyTorch 2.13 gives: the first six values
RECORDED = {
    "layer_norm": (lambda: F.layer_norm(X, (3,)), [1.36956, -0.396305, -0.973256, -1.11926, -0.187253, 1.30651]),
    "rms_norm": (lambda: F.rms_norm(X, (4, 3)), [-1.28119, -1.37749, -1.40896, -1.3741, -1.27456, -1.11502]),
    "group_norm": (lambda: F.group_norm(X, 2, W, B), [1.12167, 0.634165, 0.474883, -0.697344, 0.310385, 1.92552]),
    "batch_norm": (
        lambda: F.batch_norm(X, None, None, W, B, True),
        [0.534028, 0.493711, 0.480539, -1.08881, -1.0134, -0.892542],
    ),
    "instance_norm": (lambda: F.instance_norm(X), [1.36956, -0.396304, -0.973256, -1.11926, -0.187254, 1.30651]),
    "local_response_norm": (
        lambda: F.local_response_norm(X, 3),
        [-0.909257, -0.977608, -0.999944, -0.975192, -0.904553, -0.791335],
    ),
}


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_values(name):
    call, want = RECORDED[name]
    np.testing.assert_allclose(call().flatten()[:6].numpy(), want, 2e-5, 2e-6)


def test_recorded_running_statistics():
    mean, var = torch.zeros(4), torch.ones(4)
    F.batch_norm(X, mean, var, training=True)
    np.testing.assert_allclose(mean.numpy(), [-0.011928177, 0.004484711, 0.019056773, 0.025806649], 1e-5)
    np.testing.assert_allclose(var.numpy(), [0.98623186, 1.0053306, 0.951701641, 0.904361129], 1e-5)


@pytest.mark.parametrize("rows", [2, 5, 48, 700])
@pytest.mark.parametrize("width", [2, 7, 64, 600])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layer_norm_kernels_equal_their_formulas(rows, width, dtype):
    rng = np.random.default_rng(rows * width)
    a, g = (rng.normal(1, 2, (rows, width)).astype(dtype) for _ in range(2))
    w, b = (rng.normal(size=width).astype(dtype) for _ in range(2))
    exact = 2e-4 if dtype == "float32" else 1e-9
    out, mean, rstd = kernels.layer_norm(a, (width,), w, b, 1e-3)
    assert out.dtype == dtype
    centred = a.astype(np.float64) - a.astype(np.float64).mean(1, keepdims=True)
    np.testing.assert_allclose(out, centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-3) * w + b, exact, exact)
    for params in ((w, b), (None, None), (w, None)):
        args = (g, a, mean, rstd, *params, (True, params[0] is not None, params[1] is not None), (width,), 1e-3)
        for x, y in zip(
            kernels.layer_norm_backward(*args), FORMULAS["layer_norm_backward"](CPU_KERNELS, *args), strict=True
        ):
            assert (x is None) == (y is None)
            if x is not None:
                np.testing.assert_allclose(x, y, exact, exact * (10 * np.abs(y).max() + 1))
    out, rstd = kernels.rms_norm(a, (width,), w, 1e-3)
    args = (g, a, rstd, w, (True, True), (width,), 1e-3)
    for x, y in zip(kernels.rms_norm_backward(*args), FORMULAS["rms_norm_backward"](CPU_KERNELS, *args), strict=True):
        np.testing.assert_allclose(x, y, exact, exact * (10 * np.abs(y).max() + 1))


@pytest.mark.parametrize("shape", [(3, 2), (50, 300), (4, 6, 5), (2, 6, 9, 9), (16, 32, 12, 12), (5, 4, 70)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("centre", [0.0, 30.0])
def test_batch_and_group_norm_kernels_equal_their_formulas(shape, dtype, centre):
    rng = np.random.default_rng(1)
    a, g = rng.normal(centre, 2, shape).astype(dtype), rng.normal(size=shape).astype(dtype)
    w, b = (rng.normal(size=shape[1]).astype(dtype) for _ in range(2))
    exact = 5e-4 if dtype == "float32" else 1e-9
    mean, var = kernels.batch_norm_stats(a)
    dims = (0, *range(2, len(shape)))
    np.testing.assert_allclose(mean, a.astype(np.float64).mean(dims), exact, exact)
    np.testing.assert_allclose(var, a.astype(np.float64).var(dims), exact, exact)
    for training in (True, False):
        args = (g, a, w, b, mean, var, training, 1e-3, (True, True, True))
        for x, y in zip(
            kernels.batch_norm_backward(*args), FORMULAS["batch_norm_backward"](CPU_KERNELS, *args), strict=True
        ):
            assert x.dtype == dtype
            np.testing.assert_allclose(x, y, exact, exact * (10 * np.abs(y).max() + 1))
    groups = 2
    out, mean, rstd = kernels.group_norm(a, groups, w, b, 1e-3)
    split = a.astype(np.float64).reshape(shape[0], groups, -1)
    xhat = (split - split.mean(2, keepdims=True)) / np.sqrt(split.var(2, keepdims=True) + 1e-3)
    view = (1, -1) + (1,) * (len(shape) - 2)
    np.testing.assert_allclose(out, xhat.reshape(shape) * w.reshape(view) + b.reshape(view), exact, exact * 10)
    args = (g, a, mean, rstd, w, b, (True, True, True), groups, 1e-3)
    for x, y in zip(
        kernels.group_norm_backward(*args), FORMULAS["group_norm_backward"](CPU_KERNELS, *args), strict=True
    ):
        np.testing.assert_allclose(x, y, exact, exact * (10 * np.abs(y).max() + 1))


def test_large_means_keep_their_variance():
    x = np.random.default_rng(0).normal(1000, 1, (40, 3, 10, 10)).astype(np.float32)
    _, var = kernels.batch_norm_stats(x)
    np.testing.assert_allclose(var, x.astype(np.float64).var((0, 2, 3)), 1e-3)


def test_evaluation_does_not_change_running_statistics():
    mean, var = torch.ones(4), torch.full((4,), 2.0)
    F.batch_norm(X, mean, var)
    assert mean.tolist() == [1.0] * 4 and var.tolist() == [2.0] * 4


def test_a_refused_call_changes_no_statistics():
    mean, var = torch.zeros(4), torch.ones(4)
    with pytest.raises(RuntimeError):
        F.batch_norm(X, mean, var, torch.ones(5), training=True)
    with pytest.raises(ValueError, match="more than 1 value"):
        F.batch_norm(torch.ones(1, 4), mean, var, training=True)
    assert mean.tolist() == [0.0] * 4 and var.tolist() == [1.0] * 4


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: F.layer_norm(X, (4,)), RuntimeError, "normalized_shape"),
        (lambda: F.layer_norm(X, (3,), torch.ones(4)), RuntimeError, "weight"),
        (lambda: F.layer_norm(X, 3), TypeError, "tuple"),
        (lambda: F.group_norm(X, 3), RuntimeError, "num_groups=3"),
        (lambda: F.batch_norm(X, None, None), RuntimeError, "running_mean"),
        (lambda: F.batch_norm(X, torch.zeros(3), torch.ones(3)), RuntimeError, "4 elements"),
        (lambda: F.instance_norm(torch.ones(2, 3, 1)), ValueError, "spatial"),
        (lambda: F.local_response_norm(torch.ones(2, 3), 2), ValueError, "3 dimensions"),
        (lambda: F.rms_norm(torch.ones(2, 3, dtype=torch.int64), (3,)), NotImplementedError, "floating"),
    ],
)
def test_refused(call, error, says):
    with pytest.raises(error, match=says):
        call()
