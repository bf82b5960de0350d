"""Pooling against PyTorch: values, indices, gradients of two orders, NaN and ties, dtypes, errors."""

import itertools

import numpy as np
import pytest
import torch

import flambeau
from tests.conformance.sidebyside import agree, refused, same, to_flambeau, to_torch

RNG = np.random.default_rng(5)
SIZES = {1: (9,), 2: (7, 8), 3: (4, 6, 5)}
INF, NAN = float("inf"), float("nan")


def normal(*shape, dtype="float64"):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(dtype)


def settings(nd):
    """Combinations of kernel, stride, padding, ceil_mode."""
    for kernel, stride, padding in ((2, None, 0), (3, 2, 1), (3, 1, 1), (2, 3, 0), (4, 2, 2), (1, 2, 0)):
        for ceil_mode in (False, True):
            yield kernel, stride, padding, ceil_mode
    if nd > 1:
        yield tuple(range(2, 2 + nd)), tuple(range(1, 1 + nd)), tuple(range(nd)), False


def with_indices(name, call, x):
    """Values, indices and the gradient of a pool that returns indices."""
    results = []
    for lib, convert in ((flambeau, to_flambeau), (torch, to_torch)):
        out = call(lib.nn.functional, convert(x))
        assert isinstance(out, tuple) and not out[1].requires_grad
        results.append(out)
    same(results[0][0], results[1][0], f"{name}: values")
    same(results[0][1], results[1][1], f"{name}: indices")
    agree(name, lambda F, x: call(F, x)[0], x)


@pytest.mark.parametrize("nd", [1, 2, 3])
def test_max_pool(nd):
    x = normal(2, 3, *SIZES[nd])
    for (kernel, stride, padding, ceil_mode), dilation in itertools.product(settings(nd), (1, 2)):
        if dilation == 2 and kernel not in (2, 3):
            continue
        args = (kernel, stride, padding, dilation, ceil_mode)
        name = f"max_pool{nd}d"
        agree(f"{name} {args}", lambda F, x: getattr(F, name)(x, *args), x)
        with_indices(f"{name} {args}", lambda F, x: getattr(F, name)(x, *args, return_indices=True), x)


@pytest.mark.parametrize("nd", [1, 2, 3])
def test_max_pool_ties_nan_and_infinities(nd):
    x = RNG.integers(-2, 3, (2, 3, *SIZES[nd])).astype("float64")
    for filling in (None, NAN, INF, -INF):
        if filling is not None:
            x = np.where(RNG.random(x.shape) < 0.3, filling, x)
        for kernel, stride, padding, ceil_mode in settings(nd):
            name = f"max_pool{nd}d"
            call = lambda F, x: getattr(F, name)(x, kernel, stride, padding, 1, ceil_mode, return_indices=True)
            with_indices(f"{name} {kernel} {stride} {padding} {ceil_mode} {filling}", call, x)


def test_max_pool_gradient_of_infinities():
    x, g = normal(1, 1, 4, 4), np.array([[[[INF, 1.0], [NAN, 2.0]]]])
    grads = []
    for lib in (flambeau, torch):
        a = lib.tensor(x, requires_grad=True)
        grads.append(lib.autograd.grad(lib.nn.functional.max_pool2d(a, 2), a, lib.tensor(g))[0].numpy())
    np.testing.assert_equal(*grads)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "float16", "bfloat16", "float32"])
def test_max_pool_dtypes(dtype):
    x = (RNG.integers(0, 100, (2, 3, 6, 6)).astype("float64"), dtype)
    agree(dtype, lambda F, x: F.max_pool2d(x, 2), x, second=False)
    agree(dtype, lambda F, x: F.max_pool2d(x, 3, 2, 1, return_indices=True)[1], x, wrt=[])


@pytest.mark.parametrize("nd", [1, 2, 3])
def test_avg_pool(nd):
    x, name = normal(2, 3, *SIZES[nd]), f"avg_pool{nd}d"
    for (kernel, stride, padding, ceil_mode), include in itertools.product(settings(nd), (True, False)):
        agree(f"{name} {kernel}", lambda F, x: getattr(F, name)(x, kernel, stride, padding, ceil_mode, include), x)
    if nd > 1:
        for kernel, stride, padding, ceil_mode in settings(nd):
            args = (kernel, stride, padding, ceil_mode, False, 5)
            agree(f"{name} {kernel} divisor", lambda F, x: getattr(F, name)(x, *args), x)


def test_avg_pool_dtypes():
    for dtype in ("float32", "float16", "bfloat16"):
        agree(dtype, lambda F, x: F.avg_pool2d(x, 2), (normal(2, 3, 6, 6), dtype), second=False)
    agree("int64", lambda F, x: F.avg_pool2d(x, 3, 2, 1), RNG.integers(-9, 9, (2, 3, 7, 6)))


@pytest.mark.parametrize("nd", [1, 2, 3])
def test_larger(nd):
    size = {1: (3000,), 2: (64, 64), 3: (8, 24, 24)}[nd]
    x = normal(5, 33, *size, dtype="float32")
    for kernel, stride, padding in ((2, 2, 0), (3, 2, 1), (3, 1, 1)):
        agree("max", lambda F, x: getattr(F, f"max_pool{nd}d")(x, kernel, stride, padding), x, second=False)
        agree("avg", lambda F, x: getattr(F, f"avg_pool{nd}d")(x, kernel, stride, padding), x, second=False)


@pytest.mark.parametrize("nd", [1, 2, 3])
@pytest.mark.parametrize("output", [1, 2, 3, 5, 7, "mixed"])
def test_adaptive(nd, output):
    x = normal(2, 3, *SIZES[nd])
    output = (None, 3, 2)[:nd] if output == "mixed" and nd > 1 else 4 if output == "mixed" else output
    agree(f"avg {output}", lambda F, x: getattr(F, f"adaptive_avg_pool{nd}d")(x, output), x)
    call = lambda F, x: getattr(F, f"adaptive_max_pool{nd}d")(x, output, return_indices=True)
    with_indices(f"max {output}", call, x)
    with_indices(f"max ties {output}", call, np.round(x))
    with_indices(f"max nan {output}", call, np.where(RNG.random(x.shape) < 0.1, NAN, x))
    agree("not indices", lambda F, x: getattr(F, f"adaptive_max_pool{nd}d")(x, output), x, second=False)


@pytest.mark.parametrize("nd", [1, 2, 3])
def test_lp_pool(nd):
    x = np.abs(normal(2, 3, *SIZES[nd])) + 0.1
    for p, stride, ceil_mode in ((2, None, False), (3.0, 1, True), (1, 2, False)):
        agree(f"lp {p}", lambda F, x: getattr(F, f"lp_pool{nd}d")(x, p, 2, stride, ceil_mode), x, second=p == 3)


@pytest.mark.parametrize("nd", [2, 3])
def test_fractional(nd):
    x, u = normal(2, 3, *(n + 3 for n in SIZES[nd])), RNG.random((2, 3, nd))
    name = f"fractional_max_pool{nd}d"
    for output in (1, 3, (2, 4, 3)[:nd]):
        convert = lambda F: (to_torch if F is torch.nn.functional else to_flambeau)(u)
        call = lambda F, x: getattr(F, name)(x, 2, output, return_indices=True, _random_samples=convert(F))
        with_indices(f"{name} {output}", call, x)
    agree("ratio", lambda F, x: getattr(F, name)(x, 2, output_ratio=(0.5,) * nd, _random_samples=convert(F)), x)
    results = []
    for lib in (flambeau, torch):
        lib.manual_seed(3)
        results.append(getattr(lib.nn.functional, name)(lib.tensor(x[0]), 2, 3).numpy())
    np.testing.assert_allclose(*results)


@pytest.mark.parametrize("nd", [1, 2, 3])
def test_unpool(nd):
    x = normal(2, 3, *SIZES[nd])
    for kernel, stride, padding in ((2, None, 0), (3, 2, 1), (2, 3, 0)):
        pooled, at = getattr(torch.nn.functional, f"max_pool{nd}d")(
            torch.tensor(x), kernel, stride, padding, return_indices=True
        )
        for size in (None, SIZES[nd], (2, 3, *SIZES[nd])):
            if size is None and (stride or any(n % 2 for n in SIZES[nd])):
                continue  # the usual size need not have room for all indices
            agree(
                f"unpool {kernel} {stride} {size}",
                lambda F, y, i: getattr(F, f"max_unpool{nd}d")(y, i, kernel, stride, padding, size),
                pooled.numpy(), at.numpy(),
            )  # fmt: skip


@pytest.mark.parametrize("nd", [1, 2, 3])
def test_unbatched_empty_and_strided(nd):
    x = normal(3, *SIZES[nd])
    for name in ("max_pool", "avg_pool"):
        call = lambda F, x: getattr(F, f"{name}{nd}d")(x, 2)
        agree("unbatched", call, x)
        agree("no images", call, x[None][:0], second=False)
        agree("strided", lambda F, x: call(F, x.transpose(0, -1)), x)
    for name in ("adaptive_avg_pool", "adaptive_max_pool"):
        call = lambda F, x: getattr(F, f"{name}{nd}d")(x, 2)
        agree("unbatched", call, x)
        agree("no images", call, x[None][:0], second=False)


def names(lib):
    F, x = lib.nn.functional, lib.ones(2, 6, 6, 6, dtype=lib.float64, requires_grad=True)
    outs = (
        F.max_pool2d(x, 2), F.max_pool3d(x, 2), F.avg_pool2d(x, 2), F.avg_pool3d(x, 2), F.adaptive_avg_pool2d(x, 2),
        F.adaptive_avg_pool2d(x, 1), F.adaptive_avg_pool3d(x, 2), F.adaptive_max_pool2d(x, 2), F.conv2d(x, x),
        F.adaptive_max_pool3d(x, 2), F.fractional_max_pool2d(x, 2, 3), F.fractional_max_pool3d(x, 2, 2),
    )  # fmt: skip
    return [out.grad_fn.name() for out in outs]


def test_names_of_nodes():
    assert names(flambeau) == names(torch)


X = normal(2, 3, 8, 8)
REFUSED = {
    "no kernel": lambda F, x: F.max_pool2d(x, 0),
    "negative kernel": lambda F, x: F.max_pool2d(x, -1),
    "padding over half": lambda F, x: F.max_pool2d(x, 2, padding=2),
    "negative padding": lambda F, x: F.max_pool2d(x, 2, padding=-1),
    "zero stride": lambda F, x: F.max_pool2d(x, 2, 0),
    "kernel of three": lambda F, x: F.max_pool2d(x, (2, 2, 2)),
    "kernel of floats": lambda F, x: F.max_pool2d(x, 2.5),
    "kernel string": lambda F, x: F.max_pool2d(x, "a"),
    "zero dilation": lambda F, x: F.max_pool2d(x, 2, dilation=0),
    "too large": lambda F, x: F.max_pool2d(x, 9),
    "too few dimensions": lambda F, x: F.max_pool2d(x[0, 0], 2),
    "too many dimensions": lambda F, x: F.max_pool2d(x[None], 2),
    "no channels": lambda F, x: F.max_pool2d(x[:, :0], 2),
    "no rows": lambda F, x: F.max_pool2d(x[:, :, :0], 2),
    "bool": lambda F, x: F.max_pool2d(x > 0, 2),
    "complex": lambda F, x: F.max_pool2d(x + 1j, 2),
    "no tensor": lambda F, x: F.max_pool2d([1], 2),
    "1d of 4": lambda F, x: F.max_pool1d(x, 2),
    "3d of 3": lambda F, x: F.max_pool3d(x[0], 2),
    "avg no kernel": lambda F, x: F.avg_pool2d(x, 0),
    "avg padding": lambda F, x: F.avg_pool2d(x, 2, padding=2),
    "avg divisor": lambda F, x: F.avg_pool2d(x, 2, divisor_override=0),
    "avg too large": lambda F, x: F.avg_pool2d(x, 9),
    "avg dimensions": lambda F, x: F.avg_pool2d(x[0, 0], 2),
    "avg stride": lambda F, x: F.avg_pool2d(x, 2, 0),
    "avg complex": lambda F, x: F.avg_pool2d(x + 1j, 2),
    "avg 1d of 4": lambda F, x: F.avg_pool1d(x, 2),
    "avg 1d kernel of two": lambda F, x: F.avg_pool1d(x[0], (2, 2)),
    "adaptive negative": lambda F, x: F.adaptive_avg_pool2d(x, -1),
    "adaptive of three": lambda F, x: F.adaptive_avg_pool2d(x, (1, 2, 3)),
    "adaptive int to 1": lambda F, x: F.adaptive_avg_pool2d(x.long(), 1),
    "adaptive int": lambda F, x: F.adaptive_avg_pool2d(x.long(), 2),
    "adaptive string": lambda F, x: F.adaptive_avg_pool1d(x, "a"),
    "adaptive max negative": lambda F, x: F.adaptive_max_pool2d(x, -1),
    "adaptive max no rows": lambda F, x: F.adaptive_max_pool2d(x[:, :, :0], 1),
    "adaptive max int": lambda F, x: F.adaptive_max_pool2d(x.long(), 2),
    "fractional without size": lambda F, x: F.fractional_max_pool2d(x, 2),
    "fractional too large": lambda F, x: F.fractional_max_pool2d(x, 2, output_size=9),
    "fractional samples": lambda F, x: F.fractional_max_pool2d(x, 2, 3, _random_samples=x[0, :, :, :3]),
    "unpool size": lambda F, x: F.max_unpool2d(x, x.long() * 0, 2, output_size=(30, 16)),
    "unpool size of three": lambda F, x: F.max_unpool2d(x, x.long() * 0, 2, output_size=(3, 16, 16)),
    "unpool index": lambda F, x: F.max_unpool2d(x, x.long() * 0 + 1000, 2),
    "unpool negative index": lambda F, x: F.max_unpool2d(x, x.long() * 0 - 1, 2),
    "unpool dtype": lambda F, x: F.max_unpool2d(x, x.int(), 2),
    "unpool shape": lambda F, x: F.max_unpool2d(x, x[:1].long(), 2),
    "unpool dimensions": lambda F, x: F.max_unpool2d(x[0, 0], x[0, 0].long(), 2),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    refused(REFUSED[case], X)
