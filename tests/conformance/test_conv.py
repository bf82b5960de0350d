"""Convolutions against PyTorch: values, gradients of two orders, settings, layouts, dtypes, errors."""

import itertools

import numpy as np
import pytest
import torch

import flambeau
from tests.conformance.sidebyside import agree, refused

RNG = np.random.default_rng(11)
SIZES = {1: (11,), 2: (7, 9), 3: (4, 6, 5)}


def normal(*shape, dtype="float64"):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(dtype)


def settings(nd):
    """Combinations of kernel, stride, padding, dilation."""
    yield (3,) * nd, 1, 1, 1
    yield (3,) * nd, 2, 1, 1
    yield (1,) * nd, 1, 0, 1
    yield (1,) * nd, 2, 0, 1
    yield (2,) * nd, 3, 2, 1
    yield (3,) * nd, 1, 2, 2
    yield tuple(range(1, nd + 1)), 1, 0, 1
    yield tuple(range(3, 3 - nd, -1)), tuple(range(1, nd + 1)), tuple(range(nd)), 1


@pytest.mark.parametrize("nd", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_conv(nd, groups):
    name = f"conv{nd}d"
    for kernel, stride, padding, dilation in settings(nd):
        x, w, b = normal(2, 4, *SIZES[nd]), normal(8, 4 // groups, *kernel), normal(8)
        kwargs = dict(stride=stride, padding=padding, dilation=dilation, groups=groups)
        agree(f"{name} {kernel} {kwargs}", lambda F, *a, **k: getattr(F, name)(*a, **k), x, w, b, **kwargs)


@pytest.mark.parametrize("nd", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
def test_conv_transpose(nd, groups):
    name = f"conv_transpose{nd}d"
    for kernel, stride, padding, dilation in settings(nd):
        least = min(stride) if isinstance(stride, tuple) else stride
        for output_padding in {0, max(least, dilation) - 1}:
            x, w, b = normal(2, 4, *(min(n, 5) for n in SIZES[nd])), normal(4, 6 // groups, *kernel), normal(6)
            padding_now = tuple(min(p, k - 1) for p, k in zip(np.broadcast_to(padding, nd).tolist(), kernel))
            agree(
                f"{name} {kernel} {stride} {padding_now} {dilation} {output_padding}",
                lambda F, *a: getattr(F, name)(*a),
                x, w, b, stride, padding_now, output_padding, groups, dilation,
            )  # fmt: skip


SHAPES = [
    # n, c, size, co, kernel, stride, padding, groups: the ways that kernels choose between
    (32, 3, (32, 32), 16, (3, 3), 1, 1, 1),
    (8, 64, (16, 16), 64, (3, 3), 1, 1, 1),
    (8, 64, (16, 16), 32, (1, 1), 2, 0, 1),
    (9, 48, (4, 4), 96, (3, 3), 1, 1, 1),
    (9, 48, (4, 4), 96, (3, 3), 2, 1, 1),
    (4, 32, (20, 20), 32, (5, 5), 2, 2, 2),
    (4, 40, (12, 12), 40, (3, 3), 1, 1, 40),
    (3, 8, (4000,), 24, (5,), 1, 2, 1),
    (2, 16, (6, 18, 18), 20, (3, 3, 3), 1, 1, 1),
    (2, 16, (120, 100), 20, (3, 3), 1, 1, 1),
    (1, 64, (56, 56), 64, (3, 3), 1, 1, 1),
    (2, 130, (8, 8), 200, (3, 3), 1, 1, 1),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_larger(shape, dtype):
    n, c, size, co, kernel, stride, padding, groups = shape
    x, w = normal(n, c, *size, dtype=dtype), normal(co, c // groups, *kernel, dtype=dtype)
    w /= np.sqrt(w[0].size)
    name = f"conv{len(size)}d"
    scale = 1 if dtype == "float64" else 60 * np.sqrt(n * np.prod(size) / 1000)
    agree(
        name, lambda F, x, w: getattr(F, name)(x, w, None, stride, padding, 1, groups), x, w, second=False, scale=scale
    )


def test_threads_do_not_change_results():
    x, w = normal(16, 32, 16, 16), normal(32, 32, 3, 3)
    from flambeau.engines.numpy import parallel

    before = parallel.get_num_threads()
    try:
        for threads in (1, 2, 5):
            parallel.set_num_threads(threads)
            agree("conv2d", lambda F, x, w: F.conv2d(x, w, padding=1), x, w, second=False)
    finally:
        parallel.set_num_threads(before)


@pytest.mark.parametrize("nd", [1, 2, 3])
def test_named_padding(nd):
    name = f"conv{nd}d"
    for padding, k, dilation in itertools.product(("same", "valid"), (1, 2, 3, 4), (1, 2)):
        x, w = normal(2, 2, *(n + 4 for n in SIZES[nd])), normal(3, 2, *(k,) * nd)
        agree(
            f"{name} {padding} {k} {dilation}",
            lambda F, x, w: getattr(F, name)(x, w, padding=padding, dilation=dilation), x, w, second=k == 2,
        )  # fmt: skip
    with pytest.warns(UserWarning, match="same"):  # PyTorch does so once in a process
        ones = flambeau.ones(1, 2, *SIZES[nd]), flambeau.ones(3, 2, *(2,) * nd)
        getattr(flambeau.nn.functional, name)(*ones, padding="same")


@pytest.mark.parametrize("nd", [1, 2, 3])
def test_unbatched_and_empty(nd):
    x, w, wt = normal(4, *SIZES[nd]), normal(6, 4, *(3,) * nd), normal(4, 6, *(3,) * nd)
    agree("unbatched", lambda F, x, w: getattr(F, f"conv{nd}d")(x, w, padding=1), x, w)
    agree("unbatched", lambda F, x, w: getattr(F, f"conv_transpose{nd}d")(x, w, stride=2), x, wt)
    agree("no images", lambda F, x, w: getattr(F, f"conv{nd}d")(x[None][:0], w), x, w, second=False)
    agree("no images", lambda F, x, w: getattr(F, f"conv_transpose{nd}d")(x[None][:0], w), x, wt, second=False)


def test_other_layouts():
    x, w = normal(3, 9, 8, 5), normal(6, 4, 3, 3)
    x = np.concatenate([x, x], 3)[..., :8]
    permuted = lambda F, x, w: F.conv2d(x.permute(0, 3, 1, 2), w.permute(0, 1, 3, 2)[:, :4], padding=1)
    agree("permuted", permuted, x[..., :4], w)
    agree("strided", lambda F, x, w: F.conv2d(x[:, ::2, 1:], w), normal(2, 8, 9, 8), w)
    agree("expanded", lambda F, x, w: F.conv2d(x.expand(2, 4, 6, 6), w), normal(1, 4, 1, 6), w)
    x, w = normal(8, 32, 16, 16), normal(64, 32, 1, 1)
    agree("1x1", lambda F, x, w: F.conv2d(x.transpose(2, 3), w), x, w, second=False)
    x, w = normal(2, 4, 6, 6), normal(6, 4, 3, 3)
    agree("summed", lambda F, x, w: F.conv2d(x, w).sum((2, 3)), x, w)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision(dtype):
    x, w, b = normal(2, 3, 8, 8), normal(4, 3, 3, 3), normal(4)
    agree(dtype, lambda F, x, w, b: F.conv2d(x, w, b, 2, 1), (x, dtype), (w, dtype), (b, dtype), second=False, scale=4)


@pytest.mark.parametrize("dtype", ["int64", "int32"])
def test_integers(dtype):
    x, w = (RNG.integers(-5, 5, s).astype(dtype) for s in ((2, 3, 8, 8), (4, 3, 3, 3)))
    agree(dtype, lambda F, x, w: F.conv2d(x, w, padding=1), x, w)


def test_complex():
    x, w = (normal(*s) + 1j * RNG.normal(size=s) for s in ((2, 3, 6, 6), (4, 3, 3, 3)))
    agree("complex", lambda F, x, w: F.conv2d(x, w, padding=1), x, w, wrt=[])
    mine, theirs = [], []
    for lib, out in ((flambeau, mine), (torch, theirs)):
        a, b = lib.tensor(x, requires_grad=True), lib.tensor(w, requires_grad=True)
        y = lib.nn.functional.conv2d(a, b)
        out += [g.numpy() for g in lib.autograd.grad((y * y.conj()).real.sum(), (a, b))]
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(a, b, 1e-9, 1e-9)


def test_other_names():
    x, w, b = normal(2, 4, 8), normal(6, 4, 3), normal(6)
    for lib in ("nn.functional", ""):
        agree(lib, lambda F, x, w: top(F).conv1d(x, w), x, w, second=False)
    agree("convolution", lambda F, x, w, b: top(F).convolution(x, w, b, [2], [1], [1], False, [0], 1), x, w, b)
    agree("transposed", lambda F, x, w: top(F).convolution(x, w, None, [2], [1], [1], True, [1], 1), x, normal(4, 6, 3))
    agree("conv_tbc", lambda F, x, w, b: F.conv_tbc(x, w, b, 1), normal(7, 2, 3), normal(3, 3, 4), normal(4))


def top(functional):
    return torch if functional is torch.nn.functional else flambeau


X, W = normal(2, 3, 8, 8), normal(4, 3, 3, 3)
REFUSED = {
    "too few dimensions": lambda F, x, w: F.conv2d(x[0, 0], w),
    "too many dimensions": lambda F, x, w: F.conv2d(x[None], w),
    "channels": lambda F, x, w: F.conv2d(x[:, :2], w),
    "weight dimensions": lambda F, x, w: F.conv2d(x, w[0]),
    "no groups": lambda F, x, w: F.conv2d(x, w, groups=0),
    "negative groups": lambda F, x, w: F.conv2d(x, w, groups=-1),
    "groups do not divide": lambda F, x, w: F.conv2d(x, w[:, :1], groups=3),
    "bias length": lambda F, x, w: F.conv2d(x, w, x[0, 0, 0]),
    "bias dimensions": lambda F, x, w: F.conv2d(x, w, w[:, :1, 0, 0]),
    "kernel larger than input": lambda F, x, w: F.conv2d(x[:, :, :2], w),
    "dilated kernel larger than input": lambda F, x, w: F.conv2d(x, w, dilation=4),
    "zero stride": lambda F, x, w: F.conv2d(x, w, stride=0),
    "negative stride": lambda F, x, w: F.conv2d(x, w, stride=(1, -1)),
    "negative padding": lambda F, x, w: F.conv2d(x, w, padding=-1),
    "zero dilation": lambda F, x, w: F.conv2d(x, w, dilation=0),
    "stride of three": lambda F, x, w: F.conv2d(x, w, stride=(1, 1, 1)),
    "stride of floats": lambda F, x, w: F.conv2d(x, w, stride=1.5),
    "stride string": lambda F, x, w: F.conv2d(x, w, stride="a"),
    "unknown padding": lambda F, x, w: F.conv2d(x, w, padding="full"),
    "same with stride": lambda F, x, w: F.conv2d(x, w, padding="same", stride=2),
    "input dtype": lambda F, x, w: F.conv2d(x.float(), w),
    "bias dtype": lambda F, x, w: F.conv2d(x, w, w[:, 0, 0, 0].float()),
    "bool": lambda F, x, w: F.conv2d(x > 0, w > 0),
    "no tensor": lambda F, x, w: F.conv2d([1.0], w),
    "None": lambda F, x, w: F.conv2d(x, None),
    "no output channels": lambda F, x, w: F.conv2d(x, w[:0]),
    "empty rows": lambda F, x, w: F.conv2d(x[:, :, :0], w, padding=1),
    "1d input of 4": lambda F, x, w: F.conv1d(x, w[0]),
    "3d input of 3": lambda F, x, w: F.conv3d(x[0], w[None]),
    "transposed channels": lambda F, x, w: F.conv_transpose2d(x, w),
    "transposed bias": lambda F, x, w: F.conv_transpose2d(x, w[:3], w[0, :2, 0, 0]),
    "transposed output padding": lambda F, x, w: F.conv_transpose2d(x, w[:3], stride=2, output_padding=2),
    "negative output padding": lambda F, x, w: F.conv_transpose2d(x, w[:3], stride=2, output_padding=-1),
    "transposed groups": lambda F, x, w: F.conv_transpose2d(x, w[:3], groups=2),
    "transposed too small": lambda F, x, w: F.conv_transpose2d(x[:, :, :2, :2], w[:3], padding=5),
    "transposed padding string": lambda F, x, w: F.conv_transpose2d(x, w[:3], padding="same"),
    "tbc dimensions": lambda F, x, w: F.conv_tbc(x, w[0], w[0, 0, 0]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    refused(REFUSED[case], X, W)


def test_messages_name_shapes():
    error = refused(REFUSED["channels"], X, W)
    assert "[2, 2, 8, 8]" in str(error) and "[4, 3, 3, 3]" in str(error) and "3 channels" in str(error)
