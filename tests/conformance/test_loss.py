"""Losses against PyTorch: values, gradients of two orders, reductions, dtypes, names, warnings, errors."""

import inspect

import numpy as np
import pytest
import torch

import flambeau
from tests.conformance.sidebyside import agree, refused, same, to_flambeau, to_torch, warned

RNG = np.random.default_rng(17)
REDUCTIONS = ["mean", "sum", "none"]


def draw(*shape, dtype="float64"):
    return RNG.normal(0, 1.5, shape).astype(dtype)


def unit(*shape, dtype="float64"):
    return RNG.uniform(0.02, 0.98, shape).astype(dtype)


def classes(n, *shape):
    return RNG.integers(0, n, shape)


def signs(*shape, dtype="float64"):
    return RNG.choice([-1.0, 1.0], shape).astype(dtype)


# name: (call, arguments, places of the arguments to differentiate by)
PAIRS = {
    "mse": (lambda F, x, t, r: F.mse_loss(x, t, reduction=r), (draw(4, 5), draw(4, 5)), [0, 1]),
    "l1": (lambda F, x, t, r: F.l1_loss(x, t, reduction=r), (draw(4, 5), draw(4, 5)), [0, 1]),
    "smooth_l1": (lambda F, x, t, r: F.smooth_l1_loss(x, t, reduction=r, beta=0.7), (draw(4, 5), draw(4, 5)), [0, 1]),
    "smooth_l1 0": (lambda F, x, t, r: F.smooth_l1_loss(x, t, reduction=r, beta=0.0), (draw(4, 5), draw(4, 5)), [0, 1]),
    "huber": (lambda F, x, t, r: F.huber_loss(x, t, r, 0.8), (draw(4, 5), draw(4, 5)), [0, 1]),
    "bce": (lambda F, x, t, r: F.binary_cross_entropy(x, t, reduction=r), (unit(4, 5), unit(4, 5)), [0, 1]),
    "bce weight": (
        lambda F, x, t, w, r: F.binary_cross_entropy(x, t, w, reduction=r),
        (unit(4, 5), unit(4, 5), unit(5)),
        [0, 1],
    ),
    "bce logits": (
        lambda F, x, t, r: F.binary_cross_entropy_with_logits(x, t, reduction=r),
        (draw(4, 5), unit(4, 5)),
        [0, 1],
    ),
    "bce logits weight": (
        lambda F, x, t, w, p, r: F.binary_cross_entropy_with_logits(x, t, w, reduction=r, pos_weight=p),
        (draw(4, 5), unit(4, 5), unit(4, 5), unit(5)),
        [0, 1],
    ),
    "kl": (lambda F, x, t, r: F.kl_div(x, t, reduction=r), (np.log(unit(4, 5)), unit(4, 5)), [0, 1]),
    "kl log": (
        lambda F, x, t, r: F.kl_div(x, t, reduction=r, log_target=True),
        (np.log(unit(4, 5)), np.log(unit(4, 5))),
        [0, 1],
    ),
    "poisson": (lambda F, x, t, r: F.poisson_nll_loss(x, t, reduction=r), (draw(4, 5), unit(4, 5)), [0, 1]),
    "poisson rate": (
        lambda F, x, t, r: F.poisson_nll_loss(x, t, False, True, reduction=r),
        (unit(4, 5), 4 * unit(4, 5)),
        [0, 1],
    ),
    "gaussian": (
        lambda F, x, t, v, r: F.gaussian_nll_loss(x, t, v, reduction=r),
        (draw(4, 5), draw(4, 5), unit(4, 5)),
        [0, 1, 2],
    ),
    "gaussian row": (
        lambda F, x, t, v, r: F.gaussian_nll_loss(x, t, v, True, reduction=r),
        (draw(4, 5), draw(4, 5), unit(4)),
        [0, 1, 2],
    ),
    "gaussian number": (
        lambda F, x, t, r: F.gaussian_nll_loss(x, t, 0.3, True, reduction=r),
        (draw(4, 5), draw(4, 5)),
        [0, 1],
    ),
    "soft margin": (lambda F, x, t, r: F.soft_margin_loss(x, t, reduction=r), (draw(4, 5), signs(4, 5)), [0]),
    "hinge": (
        lambda F, x, t, r: F.hinge_embedding_loss(x, t, 1.2, reduction=r),
        (np.abs(draw(4, 5)), signs(4, 5)),
        [0],
    ),
    "ranking": (
        lambda F, a, b, t, r: F.margin_ranking_loss(a, b, t, 0.3, reduction=r),
        (draw(6), draw(6), signs(6)),
        [0, 1],
    ),
    "multilabel soft": (
        lambda F, x, t, w, r: F.multilabel_soft_margin_loss(x, t, w, reduction=r),
        (draw(4, 5), unit(4, 5), unit(5)),
        [0],
    ),
    "cosine": (
        lambda F, a, b, t, r: F.cosine_embedding_loss(a, b, t, 0.1, reduction=r),
        (draw(6, 4), draw(6, 4), signs(6)),
        [0, 1],
    ),
    "cosine single": (
        lambda F, a, b, t, r: F.cosine_embedding_loss(a, b, t, reduction=r),
        (draw(4), draw(4), np.array(1.0)),
        [0, 1],
    ),
    "triplet": (
        lambda F, a, p, n, r: F.triplet_margin_loss(a, p, n, reduction=r),
        (draw(6, 4), draw(6, 4), draw(6, 4)),
        [0, 1, 2],
    ),
    "triplet swap": (
        lambda F, a, p, n, r: F.triplet_margin_loss(a, p, n, 2.0, 3, swap=True, reduction=r),
        (draw(6, 4), draw(6, 4), draw(6, 4)),
        [0, 1, 2],
    ),
    "triplet distance": (
        lambda F, a, p, n, r: F.triplet_margin_with_distance_loss(
            a, p, n, distance_function=lambda u, v: (u - v).abs().sum(-1), margin=0.7, swap=True, reduction=r
        ),
        (draw(6, 4), draw(6, 4), draw(6, 4)),
        [0, 1, 2],
    ),
    "multi margin": (lambda F, x, t, r: F.multi_margin_loss(x, t, reduction=r), (draw(5, 4), classes(4, 5)), [0]),
    "multi margin 2": (
        lambda F, x, t, w, r: F.multi_margin_loss(x, t, 2, 0.7, w, reduction=r),
        (draw(5, 4), classes(4, 5), unit(4)),
        [0],
    ),
    "multi margin single": (lambda F, x, t, r: F.multi_margin_loss(x, t, reduction=r), (draw(4), np.array(2)), [0]),
    "multilabel": (
        lambda F, x, t, r: F.multilabel_margin_loss(x, t, reduction=r),
        (draw(3, 4), np.array([[1, 3, -1, 2], [0, -1, -1, -1], [3, 2, 1, 0]])),
        [0],
    ),
    "multilabel single": (
        lambda F, x, t, r: F.multilabel_margin_loss(x, t, reduction=r),
        (draw(4), np.array([2, 0, -1, 1])),
        [0],
    ),
}
NO_SECOND = ("multi margin", "multilabel", "soft margin")  # PyTorch has no (or another) second derivative


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", PAIRS)
def test_pairs(name, reduction):
    call, args, wrt = PAIRS[name]
    second = not name.startswith(NO_SECOND)
    agree(name, call, *args, reduction, wrt=wrt, second=second)
    single = [a.astype(np.float32) if a.dtype == np.float64 else a for a in args]
    agree(name + " float32", call, *single, reduction, wrt=wrt, second=False, scale=10)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["mse", "l1", "smooth_l1", "huber", "bce logits", "soft margin", "hinge", "poisson"])
def test_half(name, dtype):
    call, args, _ = PAIRS[name]
    agree(name, call, *[(a.astype(np.float32), dtype) for a in args], "mean", wrt=[0], second=False)


@pytest.mark.parametrize("name", ["mse", "l1", "smooth_l1"])
def test_broadcast_and_promotion(name):
    call = PAIRS[name][0]
    agree(name, call, draw(3, 4), draw(4), "mean")
    agree(name, call, draw(3, 1), draw(1, 4), "none")
    assert warned(lambda F, x, t: call(F, x, t, "mean"), draw(3, 4), draw(4)) == [UserWarning]
    agree(name, call, draw(3, 4, dtype="float32"), draw(3, 4), "mean", wrt=[])
    agree(name, call, draw(3, 4, dtype="float32"), classes(4, 3, 4), "mean", second=False)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss"])
def test_weighted_regression(name, reduction):
    agree(
        name,
        lambda F, x, t, w: getattr(F, name)(x, t, reduction=reduction, weight=w),
        draw(3, 4),
        draw(3, 4),
        unit(3, 4),
        wrt=[0, 1],
    )


def test_large_mse():
    for n in (4000, 8192, 100_003):
        agree(
            "mse",
            lambda F, x, t: F.mse_loss(x, t),
            draw(n, dtype="float32"),
            draw(n, dtype="float32"),
            second=False,
            scale=10,
        )


KINDS = {
    "plain": {},
    "weight": {"weight": True},
    "ignore": {"ignore_index": 2},
    "both": {"weight": True, "ignore_index": 2},
    "smoothing": {"label_smoothing": 0.15},
    "all": {"weight": True, "ignore_index": 2, "label_smoothing": 0.3},
}
SHAPES = [((5, 4), (5,)), ((4,), ()), ((3, 4, 2), (3, 2)), ((2, 5, 3, 2), (2, 3, 2)), ((2, 3, 2, 2, 2), (2, 2, 2, 2))]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_cross_entropy(kind, reduction, shape):
    options = dict(KINDS[kind], reduction=reduction)
    n = shape[0][1 if len(shape[0]) > 1 else 0]
    extra = [unit(n)] if options.pop("weight", False) else []
    x, t = draw(*shape[0]), classes(n, *shape[1])
    agree("ce", lambda F, x, t, w=None: F.cross_entropy(x, t, w, **options), x, t, *extra, wrt=[0])
    single = [v.astype(np.float32) for v in extra]
    agree(
        "ce",
        lambda F, x, t, w=None: F.cross_entropy(x, t, w, **options),
        x.astype("f4"),
        t,
        *single,
        wrt=[0],
        second=False,
    )
    p = np.moveaxis(RNG.dirichlet(np.ones(n), shape[1]), -1, 1 if len(shape[0]) > 1 else 0)
    options.pop("ignore_index", None)
    agree(
        "ce probabilities",
        lambda F, x, p, w=None: F.cross_entropy(x, p, w, **options),
        x,
        np.ascontiguousarray(p),
        *extra,
        wrt=[0, 1],
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("kind", ["plain", "weight", "ignore", "both"])
def test_nll_loss(kind, reduction, shape):
    options = dict(KINDS[kind], reduction=reduction)
    n = shape[0][1 if len(shape[0]) > 1 else 0]
    extra = [unit(n)] if options.pop("weight", False) else []
    agree(
        "nll",
        lambda F, x, t, w=None: F.nll_loss(x, t, w, **options),
        draw(*shape[0]),
        classes(n, *shape[1]),
        *extra,
        wrt=[0],
    )


def test_class_targets_at_the_edges():
    ce = lambda F, x, t, **k: F.cross_entropy(x, t, **k)  # noqa: E731
    x = draw(6, 4, dtype="float32")
    agree("all ignored", ce, x, np.full(6, -100), second=False)
    agree("all ignored, none", ce, x, np.full(6, -100), reduction="none", second=False)
    agree("all ignored, sum", ce, x, np.full(6, -100), reduction="sum", second=False)
    agree("some ignored", ce, x, np.array([0, -100, 3, -100, 1, 2]))
    agree("bytes", ce, x, classes(4, 6).astype(np.uint8))
    for r in REDUCTIONS:
        agree("empty", ce, np.zeros((0, 4)), np.zeros(0, np.int64), reduction=r, second=False)
    huge = x * 200
    agree("huge", ce, huge, classes(4, 6), second=False, scale=2)
    huge[0, 1] = np.inf
    huge[1, 2] = -np.inf
    huge[2, 3] = np.nan
    agree("infinite", ce, huge, np.array([0, 2, 3, 1, 1, 0]), reduction="none", wrt=[])
    agree("wide", ce, draw(70, 1000, dtype="float32"), classes(1000, 70), second=False)
    agree("strided", lambda F, x, t: F.cross_entropy(x.t(), t), draw(4, 6), classes(4, 6))


def test_small_cross_entropy_keeps_its_digits():
    for top in (4.0, 9.0, 14.0):
        x = flambeau.tensor([[top, 0.0, 1.0]])
        loss = flambeau.nn.functional.cross_entropy(x, flambeau.tensor([0])).item()
        assert abs(loss - np.log1p((1 + np.e) * np.exp(-top))) < 1.5e-7


@pytest.mark.parametrize("zero_infinity", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("lengths", [((12, 10, 7), (4, 3, 2)), ((12, 2, 7), (4, 3, 0)), ((12, 12, 12), (4, 4, 4))])
def test_ctc(lengths, reduction, zero_infinity):
    x = draw(12, 3, 6)
    t = RNG.integers(1, 6, (3, 4))
    t[0, 1] = t[0, 0]
    flat = np.concatenate([row[:n] for row, n in zip(t, lengths[1], strict=True)])

    def call(F, x, t):
        return F.ctc_loss(F.log_softmax(x, -1), t, *lengths, reduction=reduction, zero_infinity=zero_infinity)

    agree("ctc", call, x, t, second=False)
    agree("ctc flat", call, x, flat, second=False)
    agree("ctc float32", call, x.astype(np.float32), t.astype(np.int32), second=False, scale=10)
    given = [np.array(n) for n in lengths]
    agree(
        "ctc tensors",
        lambda F, x, t, a, b: F.ctc_loss(x, t, a, b, blank=0, reduction=reduction),
        x,
        t,
        *given,
        second=False,
    )


def test_ctc_single_and_blank():
    x, t = draw(9, 5), np.array([1, 3, 3])
    agree(
        "single",
        lambda F, x, t: F.ctc_loss(
            F.log_softmax(x, -1),
            t,
            flambeau.tensor(9) if F is flambeau.nn.functional else torch.tensor(9),
            flambeau.tensor(3) if F is flambeau.nn.functional else torch.tensor(3),
            blank=2,
        ),
        x,
        t,
        second=False,
    )


def test_bce_at_zero_and_one():
    x = np.array([0.0, 1.0, 0.0, 1.0, 0.5], np.float32)
    t = np.array([0.0, 1.0, 1.0, 0.0, 0.5], np.float32)
    agree("bce", lambda F, x, t: F.binary_cross_entropy(x, t, reduction="none"), x, t, second=False)
    x = np.array([200.0, -200.0, 0.0, np.inf, -np.inf], np.float32)
    agree("logits", lambda F, x, t: F.binary_cross_entropy_with_logits(x, t, reduction="none"), x, t, wrt=[])
    agree("kl zero", lambda F, x, t: F.kl_div(x, t, reduction="sum"), np.zeros(3), np.array([0.0, 0.5, 0.5]), wrt=[0])


def test_kl_batchmean_and_warning():
    args = np.log(unit(4, 5)), unit(4, 5)
    agree("batchmean", lambda F, x, t: F.kl_div(x, t, reduction="batchmean"), *args)
    assert warned(lambda F, x, t: F.kl_div(x, t), *args) == [UserWarning]
    assert warned(lambda F, x, t: F.kl_div(x, t, reduction="sum"), *args) == []


@pytest.mark.parametrize(
    "name", ["mse_loss", "l1_loss", "smooth_l1_loss", "soft_margin_loss", "poisson_nll_loss", "hinge_embedding_loss"]
)
@pytest.mark.parametrize("old", [{"size_average": False}, {"size_average": True}, {"reduce": False}, {"reduce": True}])
def test_outdated_flags(name, old):
    args = draw(3, 4), signs(3, 4)
    agree(name, lambda F, x, t: getattr(F, name)(x, t, **old), *args, wrt=[0], second=False)
    assert warned(lambda F, x, t: getattr(F, name)(x, t, **old), *args) == [UserWarning]


def test_grad_fn_names():
    calls = {n: (lambda F, *a, c=c: c(F, *a, "mean"), a) for n, (c, a, _) in PAIRS.items()}
    calls["ce"] = (lambda F, x, t: F.cross_entropy(x, t), (draw(5, 4), classes(4, 5)))
    calls["ce none"] = (lambda F, x, t: F.cross_entropy(x, t, reduction="none"), (draw(5, 4), classes(4, 5)))
    calls["ce smooth"] = (lambda F, x, t: F.cross_entropy(x, t, label_smoothing=0.1), (draw(5, 4), classes(4, 5)))
    calls["ce 2d"] = (lambda F, x, t: F.cross_entropy(x, t), (draw(5, 4, 2), classes(4, 5, 2)))
    calls["nll"] = (lambda F, x, t: F.nll_loss(x, t), (draw(5, 4), classes(4, 5)))
    wrong = {}
    for name, (call, args) in calls.items():
        nodes = []
        for lib, convert in ((flambeau, to_flambeau), (torch, to_torch)):
            first, *rest = [convert(a) for a in args]
            nodes.append(call(lib.nn.functional, first.requires_grad_(), *rest).grad_fn.name())
        if nodes[0] != nodes[1]:
            wrong[name] = nodes
    assert not wrong


X = np.ones((3, 4), np.float32)
T = np.array([0, 1, 3])


def ones(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


def logs(*shape):
    return np.log(np.full(shape, 1 / shape[-1], np.float32))


ELEMENTWISE = "mse_loss l1_loss smooth_l1_loss huber_loss kl_div poisson_nll_loss soft_margin_loss".split()
BAD = [
    *[
        (lambda F, x, t, n=n: getattr(F, n)(x, t), (X, ones(5)))
        for n in "mse_loss l1_loss smooth_l1_loss huber_loss kl_div poisson_nll_loss soft_margin_loss".split()
    ],
    *[
        (lambda F, x, t, n=n: getattr(F, n)(x, t, reduction="foo"), (X, X))
        for n in [*ELEMENTWISE, "binary_cross_entropy_with_logits"]
    ],
    *[(lambda F, x, n=n: getattr(F, n)(x, None), (X,)) for n in [*ELEMENTWISE, "binary_cross_entropy_with_logits"]],
    *[
        (lambda F, x, t, n=n: getattr(F, n)(x, t), (T, T))
        for n in "mse_loss l1_loss smooth_l1_loss huber_loss kl_div soft_margin_loss".split()
    ],
    (lambda F, x, t: F.smooth_l1_loss(x, t, beta=-1.0), (X, X)),
    (lambda F, x, t: F.huber_loss(x, t, delta=0.0), (X, X)),
    (lambda F, x, t, w: F.mse_loss(x, t, weight=w), (X, X, ones(3))),
    (lambda F, x, t: F.binary_cross_entropy(x, t), (X, ones(3))),
    (lambda F, x, t: F.binary_cross_entropy(x, t), (X * 2, X)),
    (lambda F, x, t: F.binary_cross_entropy(x, t), (X, X * 2)),
    (lambda F, x, t: F.binary_cross_entropy(x, t), (X, X.astype(np.float64))),
    (lambda F, x, t: F.binary_cross_entropy(x, t), (X, X.astype(np.int64))),
    (lambda F, x, t, w: F.binary_cross_entropy(x, t, weight=w), (X, X, ones(3))),
    (lambda F, x, t: F.binary_cross_entropy_with_logits(x, t), (X, ones(3, 4, 1))),
    (lambda F, x, t: F.binary_cross_entropy_with_logits(x, t), (X, ones(4))),
    (lambda F, x, t: F.binary_cross_entropy_with_logits(x, t), (X, X.astype(np.int64))),
    (lambda F, x, t, w: F.binary_cross_entropy_with_logits(x, t, pos_weight=w), (X, X, ones(3))),
    (lambda F, x, t: F.cross_entropy(x, t), (X, np.array([0, 1, 4]))),
    (lambda F, x, t: F.cross_entropy(x, t), (X, np.array([0, 1, -1]))),
    (lambda F, x, t: F.cross_entropy(x, t), (X, np.array([0, 1]))),
    (lambda F, x, t: F.cross_entropy(x, t), (X, ones(3))),
    (lambda F, x, t: F.cross_entropy(x, t), (X, T.astype(np.int32))),
    (lambda F, x, t: F.cross_entropy(x, t), (X, np.zeros((3, 1), np.int64))),
    (lambda F, x, t: F.cross_entropy(x, t), (X, ones(3, 5))),
    (lambda F, x, t: F.cross_entropy(x, t), (X, ones(3, 4, dtype=np.int64))),
    (lambda F, x, t, w: F.cross_entropy(x, t, w), (X, T, ones(3))),
    (lambda F, x, t, w: F.cross_entropy(x, t, w), (X, T, ones(4, dtype=np.float64))),
    (lambda F, x, t: F.cross_entropy(x, t), (np.array(1.0), np.array(0))),
    (lambda F, x, t: F.cross_entropy(x, t), (ones(3, 4, dtype=np.int64), T)),
    (lambda F, x, t: F.cross_entropy(x, t, label_smoothing=1.5), (X, T)),
    (lambda F, x, t: F.cross_entropy(x, t, reduction="x"), (X, T)),
    (lambda F, x, t: F.cross_entropy(x, t), (ones(3, 0), T)),
    (lambda F, x, t: F.cross_entropy(x, t), (X, T.astype(bool))),
    (lambda F, x, t: F.cross_entropy(x, t, ignore_index=1), (X, X)),
    (lambda F, x, t: F.cross_entropy(x, t), (ones(2, 3, 4), np.zeros((2, 5), np.int64))),
    (lambda F, x, t, w: F.cross_entropy(x, t, w.requires_grad_()), (X, T, ones(4))),
    (lambda F, x, t: F.nll_loss(x, t), (X, np.array([0, 1, 4]))),
    (lambda F, x, t: F.nll_loss(x, t), (X, np.array([0, 1]))),
    (lambda F, x, t: F.nll_loss(x, t), (X, ones(3))),
    (lambda F, x, t: F.nll_loss(x, t), (X, T.astype(np.int16))),
    (lambda F, x, t: F.nll_loss(x, t), (X, np.zeros((3, 4), np.int64))),
    (lambda F, x, t: F.nll_loss(x, t), (ones(2, 3, 4), np.zeros((2, 5), np.int64))),
    (lambda F, x, t: F.nll_loss(x, t), (ones(2, 3, 4, 5), np.zeros((2, 4, 6), np.int64))),
    (lambda F, x, t, w: F.nll_loss(x, t, w), (X, T, ones(3))),
    (lambda F, x, t: F.nll_loss(x, t), (np.array(1.0), np.array(0))),
    (lambda F, x, t: F.nll_loss(x, t), (ones(3, 4, dtype=np.int64), T)),
    (lambda F, x, t, w: F.nll_loss(x, t, w.requires_grad_()), (X, T, ones(4))),
    (lambda F, x, t, v: F.gaussian_nll_loss(x, t, v), (X, X, -X)),
    (lambda F, x, t, v: F.gaussian_nll_loss(x, t, v), (X, X, ones(4))),
    (lambda F, x, t: F.gaussian_nll_loss(x, t, -1.0), (X, X)),
    (lambda F, x, t: F.gaussian_nll_loss(x, t, 1.0, reduction="q"), (X, X)),
    (lambda F, x, t: F.multi_margin_loss(x, t), (X, np.array([0, 1, 9]))),
    (lambda F, x, t: F.multi_margin_loss(x, t, p=3), (X, T)),
    (lambda F, x, t: F.multi_margin_loss(x, t), (X, T[:2])),
    (lambda F, x, t, w: F.multi_margin_loss(x, t, weight=w), (X, T, ones(3))),
    (lambda F, x, t: F.multi_margin_loss(x, t), (X, T.astype(np.float32))),
    (lambda F, x, t: F.multilabel_margin_loss(x, t), (X, T)),
    (lambda F, x, t: F.multilabel_margin_loss(x, t), (X, X)),
    (lambda F, x, t: F.multilabel_margin_loss(x, t), (X, np.full((3, 4), 7))),
    (lambda F, a, b, t: F.cosine_embedding_loss(a, b, t), (X, X, ones(3, 1))),
    (lambda F, a, b, t: F.cosine_embedding_loss(a, b, t), (X, X[:2], ones(3))),
    (lambda F, a, b, t: F.margin_ranking_loss(a, b, t), (X, X, ones(3))),
    (lambda F, a, p, n: F.triplet_margin_loss(a, p, n), (X, X, X[0])),
    (lambda F, a, p, n: F.triplet_margin_loss(a, p, n, margin=-1.0), (X, X, X)),
    (lambda F, a, p, n: F.triplet_margin_with_distance_loss(a, p, n, margin=-1.0), (X, X, X)),
    (lambda F, a, p, n: F.triplet_margin_with_distance_loss(a, p, n), (X, X, X[0])),
    (lambda F, x, t: F.ctc_loss(x, t, (5, 5), (3, 3), blank=9), (logs(5, 2, 6), ones(2, 3, dtype=np.int64))),
    (lambda F, x, t: F.ctc_loss(x, t, (5, 9), (3, 3)), (logs(5, 2, 6), ones(2, 3, dtype=np.int64))),
    (lambda F, x, t: F.ctc_loss(x, t, (5, 5), (3, 9)), (logs(5, 2, 6), ones(2, 3, dtype=np.int64))),
    (lambda F, x, t: F.ctc_loss(x, t, (5,), (3, 3)), (logs(5, 2, 6), ones(2, 3, dtype=np.int64))),
    (lambda F, x, t: F.ctc_loss(x, t, (-1, 5), (3, 3)), (logs(5, 2, 6), ones(2, 3, dtype=np.int64))),
    (lambda F, x, t: F.ctc_loss(x, t, (5, 5), (3, 3)), (logs(5, 2, 6), ones(4, dtype=np.int64))),
    (lambda F, x, t: F.ctc_loss(x, t, (5, 5), (3, 3)), (ones(5, 2, 6, dtype=np.int64), ones(2, 3, dtype=np.int64))),
]


@pytest.mark.parametrize(("call", "args"), BAD)
def test_refused(call, args):
    refused(call, *args)


def test_signatures():
    for name in (
        "ctc_loss nll_loss poisson_nll_loss gaussian_nll_loss kl_div cross_entropy binary_cross_entropy "
        "binary_cross_entropy_with_logits smooth_l1_loss huber_loss l1_loss mse_loss margin_ranking_loss "
        "hinge_embedding_loss multilabel_margin_loss soft_margin_loss multilabel_soft_margin_loss "
        "cosine_embedding_loss multi_margin_loss "
        "triplet_margin_loss triplet_margin_with_distance_loss"
    ).split():
        want = inspect.signature(getattr(torch.nn.functional, name)).parameters.values()
        have = inspect.signature(getattr(flambeau.nn.functional, name)).parameters.values()
        assert [(p.name, p.default) for p in have] == [(p.name, p.default) for p in want], name


def test_same():
    same(to_flambeau(X), to_torch(X), "the comparison itself")
    with pytest.raises(AssertionError):
        same(to_flambeau(X), to_torch(X + 1), "the comparison itself")
