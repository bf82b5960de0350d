"""Normalisations against PyTorch: values, gradients of two orders, running statistics, dtypes, names, errors."""

import inspect

import numpy as np
import pytest
import torch

import flambeau
from tests.conformance.sidebyside import agree, plain, refused, same, to_flambeau, to_torch

RNG = np.random.default_rng(11)


def draw(*shape, dtype="float64", spread=2.0, centre=1.0):
    return RNG.normal(centre, spread, shape).astype(dtype)


LAYER = [
    ((4, 6), (6,)),
    ((2, 3, 4), (3, 4)),
    ((5,), (5,)),
    ((2, 3, 4), (2, 3, 4)),
    ((300, 70), (70,)),
    ((64, 256), (256,)),
]


@pytest.mark.parametrize(("shape", "inner"), LAYER)
def test_layer_norm(shape, inner):
    x, w, b = draw(*shape), draw(*inner), draw(*inner)
    second = x.size < 1000
    agree("plain", lambda F, x: F.layer_norm(x, inner), x, second=second)
    agree("affine", lambda F, x, w, b: F.layer_norm(x, inner, w, b, 1e-3), x, w, b, second=second)
    agree("weight", lambda F, x, w: F.layer_norm(x, list(inner), w), x, w, second=False)
    agree("bias", lambda F, x, b: F.layer_norm(x, inner, None, b), x, b, second=False)
    agree("only weight", lambda F, x, w, b: F.layer_norm(x, inner, w, b), x, w, b, wrt=[1], second=False)
    agree(
        "float32",
        lambda F, x, w, b: F.layer_norm(x, inner, w, b),
        *(v.astype("f4") for v in (x, w, b)),
        second=second,
        scale=10,
    )


@pytest.mark.parametrize(("shape", "inner"), LAYER)
def test_rms_norm(shape, inner):
    x, w = draw(*shape), draw(*inner)
    second = x.size < 1000
    agree("plain", lambda F, x: F.rms_norm(x, inner), x, second=second)
    agree("affine", lambda F, x, w: F.rms_norm(x, inner, w, 1e-3), x, w, second=second)
    agree("float32", lambda F, x, w: F.rms_norm(x, inner, w), x.astype("f4"), w.astype("f4"), second=second, scale=10)


@pytest.mark.parametrize(
    ("shape", "groups"), [((2, 6, 5), 3), ((3, 4), 2), ((2, 4, 3, 5), 1), ((4, 8, 9, 9), 8), ((16, 32, 14, 14), 4)]
)
def test_group_norm(shape, groups):
    x, w, b = draw(*shape), draw(shape[1]), draw(shape[1])
    second = x.size < 1000
    agree("plain", lambda F, x: F.group_norm(x, groups), x, second=second)
    agree("affine", lambda F, x, w, b: F.group_norm(x, groups, w, b, 1e-3), x, w, b, second=second)
    agree("weight", lambda F, x, w: F.group_norm(x, groups, w), x, w, second=False)
    agree(
        "float32",
        lambda F, x, w, b: F.group_norm(x, groups, w, b),
        *(v.astype("f4") for v in (x, w, b)),
        second=False,
        scale=20,
    )


BATCH = [(5, 3), (4, 3, 6), (2, 3, 4, 5), (2, 3, 2, 3, 4), (3, 4, 9, 9), (33, 17, 12, 12), (600, 70), (2, 2, 200)]


@pytest.mark.parametrize("shape", BATCH)
def test_batch_norm_training(shape):
    x, w, b = draw(*shape), draw(shape[1]), draw(shape[1])
    second = x.size < 1000
    agree("plain", lambda F, x: F.batch_norm(x, None, None, training=True), x, second=second)
    agree("affine", lambda F, x, w, b: F.batch_norm(x, None, None, w, b, True, eps=1e-3), x, w, b, second=second)
    agree(
        "float32",
        lambda F, x, w, b: F.batch_norm(x, None, None, w, b, True),
        *(v.astype("f4") for v in (x, w, b)),
        second=False,
        scale=50,
    )


@pytest.mark.parametrize("shape", BATCH)
def test_batch_norm_evaluation(shape):
    x, w, b, m = draw(*shape), draw(shape[1]), draw(shape[1]), draw(shape[1])
    v = np.abs(draw(shape[1])) + 0.3
    second = x.size < 1000
    agree("plain", lambda F, x, m, v: F.batch_norm(x, m, v), x, m, v, wrt=[0], second=second)
    agree("affine", lambda F, x, m, v, w, b: F.batch_norm(x, m, v, w, b), x, m, v, w, b, wrt=[0, 3, 4], second=second)


@pytest.mark.parametrize("shape", BATCH)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_running_statistics(shape, dtype):
    x = draw(*shape, dtype=dtype)
    results = []
    for lib, convert in ((flambeau, to_flambeau), (torch, to_torch)):
        mean, var = convert(np.zeros(shape[1], dtype)), convert(np.ones(shape[1], dtype))
        for momentum in (0.1, 0.5, 1.0, 0.0):
            lib.nn.functional.batch_norm(convert(x), mean, var, None, None, True, momentum)
        lib.nn.functional.batch_norm(convert(x), mean, var, None, None, False)
        results.append((mean, var))
    for a, b in zip(*results, strict=True):
        same(a, b, "running", 10)


def test_running_statistics_count_as_changed():
    mean, var = flambeau.zeros(3), flambeau.ones(3)
    before = mean._version
    flambeau.nn.functional.batch_norm(flambeau.randn(4, 3), mean, var, training=True)
    assert mean._version > before


def test_batch_norm_far_from_zero():
    x = (RNG.normal(0, 1, (64, 4, 10, 10)) + 1000).astype(np.float32)
    out, _ = agree("far", lambda F, x: F.batch_norm(x, None, None, training=True), x, wrt=[], scale=200)
    assert abs(plain(out).std() - 1) < 1e-3


def test_evaluation_is_not_touched_by_later_training():
    x = flambeau.randn(4, 3, requires_grad=True)
    mean, var = flambeau.zeros(3), flambeau.ones(3)
    out = flambeau.nn.functional.batch_norm(x, mean, var)
    (before,) = flambeau.autograd.grad(out.sum(), x, retain_graph=True)
    var += 3
    (after,) = flambeau.autograd.grad(out.sum(), x)
    np.testing.assert_array_equal(before.numpy(), after.numpy())


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 4, 5), (1, 2, 3, 3, 3), (4, 5, 20, 20)])
def test_instance_norm(shape):
    x, w, b = draw(*shape), draw(shape[1]), draw(shape[1])
    second = x.size < 500
    agree("plain", lambda F, x: F.instance_norm(x), x, second=second)
    agree("affine", lambda F, x, w, b: F.instance_norm(x, weight=w, bias=b), x, w, b, second=second)
    results = []
    for lib, convert in ((flambeau, to_flambeau), (torch, to_torch)):
        mean, var = convert(np.zeros(shape[1])), convert(np.ones(shape[1]))
        lib.nn.functional.instance_norm(convert(x), mean, var)
        out = lib.nn.functional.instance_norm(convert(x), mean, var, use_input_stats=False)
        results.append((mean, var, out))
    for a, r in zip(*results, strict=True):
        same(a, r, "running")


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_local_response_norm(size):
    for shape in ((2, 4, 3), (2, 5, 3, 4), (1, 4, 2, 2, 2)):
        agree("lrn", lambda F, x: F.local_response_norm(x, size, 0.1, 0.7, 1.3), draw(*shape))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half(dtype):
    x, w = draw(4, 6, 5, dtype="float32"), draw(5, dtype="float32")
    c = draw(6, dtype="float32")
    agree(
        "layer",
        lambda F, x, w, b: F.layer_norm(x, (5,), w, b),
        (x, dtype),
        (w, dtype),
        (w, dtype),
        second=False,
        scale=3,
    )
    agree(
        "layer mixed", lambda F, x, w, b: F.layer_norm(x, (5,), w, b), (x, dtype), w, w, wrt=[0], second=False, scale=3
    )
    agree(
        "batch",
        lambda F, x, w, b: F.batch_norm(x, None, None, w, b, True),
        (x, dtype),
        c,
        c,
        wrt=[0],
        second=False,
        scale=3,
    )
    agree(
        "group", lambda F, x, w, b: F.group_norm(x, 3, w, b), (x, dtype), (c, dtype), (c, dtype), second=False, scale=3
    )
    agree("rms", lambda F, x: F.rms_norm(x, (5,)), (x, dtype), second=False, scale=3)


def test_odd_layouts_and_empty():
    x = draw(6, 5, 7)
    agree("layer", lambda F, x: F.layer_norm(x.transpose(0, 2)[1:], (5, 6)), x)
    agree("batch", lambda F, x: F.batch_norm(x.permute(2, 0, 1)[::2], None, None, training=True), x)
    agree("group", lambda F, x: F.group_norm(x.transpose(0, 1), 3), x)
    agree("empty layer", lambda F, x: F.layer_norm(x, (4,)), np.zeros((0, 4)), second=False)
    agree("empty batch", lambda F, x: F.batch_norm(x, None, None, training=True), np.zeros((0, 4, 3)), second=False)


def test_native_forms():
    x, w = draw(4, 3, 5), draw(5)
    ours = flambeau.native_layer_norm(to_flambeau(x), (5,), to_flambeau(w), None, 1e-5)
    theirs = torch.native_layer_norm(to_torch(x), (5,), to_torch(w), None, 1e-5)
    for a, b in zip(ours, theirs, strict=True):
        same(a, b, "native_layer_norm")
    ours = flambeau.native_batch_norm(to_flambeau(x), None, None, None, None, True, 0.1, 1e-5)
    theirs = torch.native_batch_norm(to_torch(x), None, None, None, None, True, 0.1, 1e-5)
    for a, b in zip(ours, theirs, strict=True):
        same(a, b, "native_batch_norm")


CALLS = {
    "batch": lambda F, x: F.batch_norm(x, None, None, training=True),
    "instance": lambda F, x: F.instance_norm(x),
    "layer": lambda F, x: F.layer_norm(x, (5,)),
    "group": lambda F, x: F.group_norm(x, 3),
    "rms": lambda F, x: F.rms_norm(x, (5,), None if x is None else x.detach()[0, 0]),
    "lrn": lambda F, x: F.local_response_norm(x, 2),
}


@pytest.mark.parametrize("name", CALLS)
def test_grad_fn_names(name):
    x = draw(4, 6, 5)
    mine = CALLS[name](flambeau.nn.functional, to_flambeau(x).requires_grad_())
    theirs = CALLS[name](torch.nn.functional, to_torch(x).requires_grad_())
    assert mine.grad_fn.name() == theirs.grad_fn.name()


X = np.ones((2, 3, 4, 5), np.float32)


def ones(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


@pytest.mark.parametrize(
    ("call", "args"),
    [
        (lambda F, x: F.batch_norm(x, None, None, training=True), (ones(1, 3),)),
        (lambda F, x: F.batch_norm(x, None, None), (X,)),
        (lambda F, x: F.batch_norm(x, None, None, training=True), (ones(3),)),
        (lambda F, x, m, v: F.batch_norm(x, m, v), (X, ones(4), ones(4))),
        (lambda F, x, m, v, w: F.batch_norm(x, m, v, w), (X, ones(3), ones(3), ones(4))),
        (lambda F, x, m, v: F.batch_norm(x, m, v), (ones(2, 3, dtype=np.int64), ones(3), ones(3))),
        (lambda F, x, m: F.batch_norm(x, m, None, training=True), (X, ones(3))),
        (lambda F, x, m, v: F.batch_norm(x, m, v), (X.astype(np.float64), ones(3), ones(3))),
        (lambda F, x, m, v: F.batch_norm(x, m, v, eps=-1.0), (X, ones(3), ones(3))),
        (lambda F, x: F.instance_norm(x), (ones(2, 3, 1),)),
        (lambda F, x: F.instance_norm(x, use_input_stats=False), (X,)),
        (lambda F, x: F.instance_norm(x), (ones(2, 3),)),
        (lambda F, x: F.layer_norm(x, (4,)), (X,)),
        (lambda F, x, w: F.layer_norm(x, (5,), w), (X, ones(4))),
        (lambda F, x: F.layer_norm(x, ()), (X,)),
        (lambda F, x: F.layer_norm(x, (4,)), (ones(3, 4, dtype=np.int64),)),
        (lambda F, x: F.layer_norm(x, 5), (X,)),
        (lambda F, x, w: F.layer_norm(x, (5,), w), (X.astype(np.float64), ones(5))),
        (lambda F, x: F.group_norm(x, 2), (X,)),
        (lambda F, x: F.group_norm(x, 1), (ones(3),)),
        (lambda F, x, w: F.group_norm(x, 3, w), (X, ones(4))),
        (lambda F, x: F.group_norm(x, 3), (ones(1, 3),)),
        (lambda F, x: F.group_norm(x, 0), (X,)),
        (lambda F, x: F.rms_norm(x, (4,)), (X,)),
        (lambda F, x, w: F.rms_norm(x, (5,), w), (X, ones(4))),
        (lambda F, x: F.rms_norm(x, (4,)), (ones(3, 4, dtype=np.int64),)),
        (lambda F, x: F.local_response_norm(x, 2), (ones(3, 4),)),
    ],
)
def test_refused(call, args):
    refused(call, *args)


def test_signatures():
    for name in "batch_norm instance_norm layer_norm rms_norm group_norm local_response_norm".split():
        want = inspect.signature(getattr(torch.nn.functional, name)).parameters.values()
        have = inspect.signature(getattr(flambeau.nn.functional, name)).parameters.values()
        assert [(p.name, p.default) for p in have] == [(p.name, p.default) for p in want], name
