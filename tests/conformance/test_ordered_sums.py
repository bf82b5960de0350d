"""Sums of small float arrays equal PyTorch's to the last bit, whatever their shape."""

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")

LENGTHS = [*range(1, 70), 100, 127, 128, 200, 511, 512, 513, 1000, 2047, 2048, 2049, 5000, 20000, 32768]
SHAPES = [(1, 5), (2, 5), (3, 3), (4, 4), (10, 5), (10, 3), (10, 16), (10, 17), (10, 1), (40, 5), (64, 10), (64, 64),
          (100, 33), (7, 31), (7, 32), (256, 16), (300, 20), (17, 4), (33, 9), (500, 2), (2000, 8)]  # fmt: skip


def both(shape, dtype, compute):
    values = np.random.default_rng(3).standard_normal(shape).astype(dtype)
    return compute(flambeau.from_numpy(values)).numpy(), compute(torch.from_numpy(values)).numpy()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("length", LENGTHS)
def test_all(length, dtype):
    np.testing.assert_array_equal(*both(length, dtype, lambda x: x.sum()))
    np.testing.assert_array_equal(*both(length, dtype, lambda x: x.mean()))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_and_columns(shape, dtype):
    np.testing.assert_array_equal(*both(shape, dtype, lambda x: x.sum(0)))
    if shape[0] * shape[1] <= 4096:
        np.testing.assert_array_equal(*both(shape, dtype, lambda x: x.sum(1, keepdim=True)))


def test_a_gradient_that_was_broadcast():
    def gradient(lib):
        lib.manual_seed(0)
        bias = lib.zeros(5, requires_grad=True)
        (lib.randn(10, 5) + bias).pow(2).sum().backward()
        return bias.grad.numpy()

    np.testing.assert_array_equal(gradient(flambeau), gradient(torch))


def test_squared_error():
    def loss(lib, reduction):
        lib.manual_seed(0)
        return lib.nn.functional.mse_loss(lib.randn(10, 3), lib.randn(10, 3), reduction=reduction).item()

    for reduction in ("sum", "mean"):
        assert loss(flambeau, reduction) == loss(torch, reduction)
