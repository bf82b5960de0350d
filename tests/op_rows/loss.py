"""Rows of losses."""

import numpy as np

from tests.op_rows.tools import Fixed, call, row

F = "nn.functional."
REDUCTIONS = ("mean", "sum", "none")


def pairs(name, first="real", second="real", ops=None, **options):
    """Losses of two tensors alike, for each reduction."""

    def samples(s):
        for reduction in REDUCTIONS:
            yield call(getattr(s, first)(3, 2), getattr(s, second)(3, 2), reduction=reduction)
        yield call(getattr(s, first)(), getattr(s, second)())

    row(F + name, samples, ops=ops or name, method=False, **options)


def half(s):
    return lambda *shape: s.uniform(0.1, 0.9, *shape)


pairs("mse_loss", dtypes="dfhl")
pairs("l1_loss", "apart", "unit", ops="abs", dtypes="dfh")
pairs("smooth_l1_loss", "apart", "unit", dtypes="dfhl")
pairs("huber_loss", "apart", "unit", dtypes="dfhl")
pairs("kl_div", "real", "positive", ops="xlogy", dtypes="df")
pairs("poisson_nll_loss", "real", "positive", ops="exp", dtypes="df")


@lambda f: row(F + "mse_loss broadcast", f, lambda lib, *a, **k: lib.nn.functional.mse_loss(*a, **k), ops="mse_loss")
def _(s):
    yield call(s.real(3, 2), s.real(2))
    yield call(s.real(3, 1), s.real(1, 2), reduction="none")
    yield call(s.strided(s.real, 3, 2), s.real(3, 2))


@lambda f: row(
    F + "smooth_l1_loss beta", f, lambda lib, *a, **k: lib.nn.functional.smooth_l1_loss(*a, **k), ops="smooth_l1_loss"
)
def _(s):
    yield call(s.apart(4), s.unit(4), beta=0.3)
    yield call(s.apart(4), s.unit(4), beta=2.5)


@lambda f: row(F + "binary_cross_entropy", f, ops="binary_cross_entropy", method=False)
def _(s):
    p = half(s)
    for reduction in REDUCTIONS:
        yield call(p(3, 2), p(3, 2), reduction=reduction)
    yield call(p(3, 2), p(3, 2), Fixed(s.positive(3, 2)))


@lambda f: row(
    F + "binary_cross_entropy_with_logits", f, ops="binary_cross_entropy_with_logits", method=False, dtypes="dfh"
)
def _(s):
    for reduction in REDUCTIONS:
        yield call(s.nonzero(3, 2), half(s)(3, 2), reduction=reduction)
    yield call(s.nonzero(3, 2), half(s)(3, 2), Fixed(s.positive(3, 2)), pos_weight=Fixed(s.positive(2)))


@lambda f: row(F + "soft_margin_loss", f, ops="soft_margin_loss", method=False, dtypes="dfh")
def _(s):
    for reduction in REDUCTIONS:
        yield call(s.real(3, 2), Fixed(np.sign(s.nonzero(3, 2))), reduction=reduction)


@lambda f: row(F + "gaussian_nll_loss", f, ops="log", method=False)
def _(s):
    yield call(s.real(3, 2), s.real(3, 2), s.positive(3, 2), True)
    yield call(s.real(3, 2), s.real(3, 2), s.positive(3), reduction="none")


@lambda f: row(F + "hinge_embedding_loss", f, ops="where", method=False)
def _(s):
    yield call(s.nonzero(3, 2), Fixed(np.sign(s.nonzero(3, 2))))


@lambda f: row(F + "margin_ranking_loss", f, ops="clamp_min", method=False, grad_fn=False)
def _(s):
    yield call(s.real(6), s.real(6), Fixed(np.sign(s.nonzero(6))), 0.3, reduction="none")


@lambda f: row(F + "multilabel_soft_margin_loss", f, ops="log_sigmoid", method=False)
def _(s):
    yield call(s.real(3, 2), Fixed(half(s)(3, 2)))
    yield call(s.real(3, 2), Fixed(half(s)(3, 2)), Fixed(s.positive(2)), reduction="none")


@lambda f: row(F + "cosine_embedding_loss", f, ops="div", method=False)
def _(s):
    yield call(s.nonzero(4, 3), s.nonzero(4, 3), Fixed(np.array([1.0, -1.0, 1.0, -1.0])), 0.1)


@lambda f: row(F + "triplet_margin_loss", f, ops="clamp_min", method=False, grad_fn=False)
def _(s):
    yield call(s.real(3, 2), s.real(3, 2), s.real(3, 2), 5.0)
    yield call(s.real(3, 2), s.real(3, 2), s.real(3, 2), 5.0, swap=True, reduction="none")


def class_targets(s):
    """Reductions, weights and an ignored class, for rows of scores."""
    for reduction in REDUCTIONS:
        yield call(s.real(4, 3), s.ints(0, 3, 4), reduction=reduction)
    yield call(s.real(4, 3), s.ints(0, 3, 4), Fixed(s.positive(3)), ignore_index=1)
    yield call(s.real(3), s.ints(0, 3))


def dense_targets(s):
    for reduction in REDUCTIONS:
        yield call(s.real(2, 3, 2), s.ints(0, 3, 2, 2), Fixed(s.positive(3)), reduction=reduction, ignore_index=2)


row(F + "nll_loss", class_targets, ops="nll_loss", dtypes="df", method=False)
row(F + "cross_entropy", class_targets, ops="cross_entropy_rows", dtypes="df", method=False)
row(
    F + "nll_loss dense",
    dense_targets,
    lambda lib, *a, **k: lib.nn.functional.nll_loss(*a, **k),
    ops="nll_loss2d",
    dtypes="df",
)
row(
    F + "cross_entropy dense",
    dense_targets,
    lambda lib, *a, **k: lib.nn.functional.cross_entropy(*a, **k),
    ops="nll_loss2d log_softmax",
    dtypes="df",
)


@lambda f: row(
    F + "cross_entropy soft",
    f,
    lambda lib, *a, **k: lib.nn.functional.cross_entropy(*a, **k),
    ops="log_softmax",
    grad_fn=False,
)
def _(s):
    yield call(s.real(3, 4), s.positive(3, 4))
    yield call(s.real(3, 4), s.positive(3, 4), Fixed(s.positive(4)), reduction="none", label_smoothing=0.2)
    yield call(s.real(3, 4), s.ints(0, 4, 3), label_smoothing=0.2)


@lambda f: row(F + "multi_margin_loss", f, ops="multi_margin_loss", method=False)
def _(s):
    for reduction in REDUCTIONS:
        yield call(s.apart(3, 4), s.ints(0, 4, 3), reduction=reduction)
    yield call(s.apart(3, 4), s.ints(0, 4, 3), 2, 0.7, Fixed(s.positive(4)))


@lambda f: row(F + "multilabel_margin_loss", f, ops="multilabel_margin_loss", method=False)
def _(s):
    for reduction in REDUCTIONS:
        yield call(s.apart(2, 4), np.array([[1, 3, -1, 2], [0, -1, -1, -1]]), reduction=reduction)


# PyTorch's gradient of ctc_loss is that of the scores before their log-softmax, not of the log-probabilities themselves
@lambda f: row(
    F + "ctc_loss",
    f,
    lambda lib, x, t, *a, **k: lib.nn.functional.ctc_loss(lib.nn.functional.log_softmax(x, -1), t, *a, **k),
    ops="ctc_loss_rows",
)
def _(s):
    yield call(s.real(5, 2, 3), np.array([[1, 2], [2, 2]]), (5, 4), (2, 1))
    yield call(s.real(5, 2, 3), np.array([[1, 2], [2, 2]]), (5, 4), (2, 2), 0, "sum")
