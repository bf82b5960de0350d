"""Losses without PyTorch: recorded values, kernels against formulas, class targets, CTC by brute force, errors."""

import itertools

import numpy as np
import pytest

import flambeau as torch
from flambeau.engines.kernels import CPU_KERNELS, FORMULAS
from flambeau.engines.numpy import loss as kernels
from flambeau.nn import functional as F

X = torch.linspace(-2, 2, 12).reshape(3, 4)
Y = torch.linspace(1, -1, 12).reshape(3, 4).abs()
T = torch.tensor([0, 3, 1])
SCORES = torch.linspace(-1, 1, 40).reshape(5, 2, 4).sin()

# what PyTorch 2.13 gives
RECORDED = {
    "mse_loss": (lambda: F.mse_loss(X, Y), 1.969697),
    "l1_loss": (lambda: F.l1_loss(X, Y), 1.090909),
    "smooth_l1_loss": (lambda: F.smooth_l1_loss(X, Y), 0.6900827),
    "huber_loss": (lambda: F.huber_loss(X, Y, delta=0.5), 0.4318182),
    "binary_cross_entropy": (lambda: F.binary_cross_entropy(X.sigmoid(), Y), 0.8710847),
    "binary_cross_entropy_with_logits": (lambda: F.binary_cross_entropy_with_logits(X, Y), 0.8710847),
    "kl_div": (lambda: F.kl_div(X, Y, reduction="sum"), -2.765084),
    "poisson_nll_loss": (lambda: F.poisson_nll_loss(X, Y), 1.994105),
    "gaussian_nll_loss": (lambda: F.gaussian_nll_loss(X, Y, Y + 0.1), 0.8740923),
    "soft_margin_loss": (lambda: F.soft_margin_loss(X, Y), 0.8175989),
    "multilabel_soft_margin_loss": (lambda: F.multilabel_soft_margin_loss(X, Y), 0.8710849),
    "cross_entropy": (lambda: F.cross_entropy(X, T), 1.528047),
    "cross_entropy smoothed": (lambda: F.cross_entropy(X, T, label_smoothing=0.2), 1.515926),
    "cross_entropy soft": (lambda: F.cross_entropy(X, Y), 3.201689),
    "nll_loss": (lambda: F.nll_loss(X, T), 0.06060608),
    "multi_margin_loss": (lambda: F.multi_margin_loss(X, T), 0.8181818),
    "multilabel_margin_loss": (
        lambda: F.multilabel_margin_loss(X, torch.tensor([[0, 2, -1, 1], [3, -1, 0, 0], [1, 2, 3, 0]])),
        0.5303031,
    ),
    "cosine_embedding_loss": (lambda: F.cosine_embedding_loss(X, Y, torch.tensor([1, -1, 1])), 0.6666667),
    "hinge_embedding_loss": (lambda: F.hinge_embedding_loss(Y, X.sign()), 0.5),
    "margin_ranking_loss": (lambda: F.margin_ranking_loss(X, Y, X.sign()), 0.0),
    "triplet_margin_loss": (lambda: F.triplet_margin_loss(X, Y, Y.flip(0)), 0.9201364),
    "ctc_loss": (
        lambda: F.ctc_loss(SCORES.log_softmax(-1), torch.tensor([[1, 2], [3, 3]]), (5, 5), (2, 2)),
        1.921396,
    ),
}


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_values(name):
    call, want = RECORDED[name]
    out = call()
    assert out.shape == () and out.dtype is torch.float32
    assert abs(out.item() - want) <= 4e-6 * max(1, abs(want))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("options", [{}, {"ignore_index": 1}, {"ignore_index": -1}])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_cross_entropy_is_nll_of_log_softmax(reduction, options, weighted, scale):
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.normal(0, scale, (50, 7)), requires_grad=True)
    targets = rng.integers(0, 7, 50)
    if options.get("ignore_index") == -1:
        targets[::3] = -1
    t = torch.from_numpy(targets)
    w = torch.tensor(rng.uniform(0.5, 2, 7)) if weighted else None
    fused = F.cross_entropy(x, t, w, reduction=reduction, **options)
    apart = F.nll_loss(F.log_softmax(x, 1), t, w, reduction=reduction, **options)
    np.testing.assert_allclose(fused.detach().numpy(), apart.detach().numpy(), 1e-10, 1e-10)
    g = torch.tensor(rng.normal(size=fused.shape))
    (a,), (b,) = torch.autograd.grad(fused, x, g, create_graph=True), torch.autograd.grad(apart, x, g)
    (c,) = torch.autograd.grad(fused, x, g)
    np.testing.assert_allclose(a.detach().numpy(), b.numpy(), 1e-9, 1e-12)
    np.testing.assert_allclose(c.numpy(), b.numpy(), 1e-9, 1e-12)


def test_cross_entropy_with_nothing_to_count():
    x = torch.ones(3, 4, requires_grad=True)
    ignored = torch.tensor([-100, -100, -100])
    assert torch.isnan(F.cross_entropy(x, ignored))
    assert F.cross_entropy(x, ignored, reduction="sum").item() == 0
    F.cross_entropy(x, ignored).backward()
    assert x.grad.abs().sum().item() == 0


def test_small_losses_keep_their_digits():
    for top in (4.0, 9.0, 14.0):
        got = F.cross_entropy(torch.tensor([[top, 0.0, 1.0]]), torch.tensor([0])).item()
        assert abs(got - np.log1p((1 + np.e) * np.exp(-top))) < 1.5e-7


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("n", [5, 9000, 100_001])
def test_mse_kernels_equal_their_formulas(reduction, n):
    rng = np.random.default_rng(n)
    a, b = rng.normal(size=(2, n)).astype(np.float32)
    d = (a - b).astype(np.float64) ** 2
    want = d if reduction == "none" else getattr(d, reduction)()
    np.testing.assert_allclose(kernels.mse_loss(a, b, reduction), want, 2e-5)
    g = np.float32(0.7) if reduction != "none" else a
    fused = kernels.mse_loss_backward(g, a, b, reduction)
    assert fused.dtype == np.float32
    np.testing.assert_allclose(fused, FORMULAS["mse_loss_backward"](CPU_KERNELS, g, a, b, reduction), 1e-5)


def spelled(path, blank):
    """The labels of an alignment: repeats merged, blanks dropped."""
    return tuple(p for i, p in enumerate(path) if p != blank and (i == 0 or path[i - 1] != p))


@pytest.mark.parametrize("target", [(1,), (1, 2), (2, 2), (), (1, 2, 1)])
@pytest.mark.parametrize("blank", [0, 3])
def test_ctc_against_all_alignments(target, blank):
    if blank in target:
        return
    scores = np.random.default_rng(len(target)).normal(size=(4, 1, 4))
    log_probs = torch.tensor(scores).log_softmax(-1)
    p = np.exp(log_probs.numpy()[:, 0])
    total = sum(
        np.prod([p[t, c] for t, c in enumerate(path)])
        for path in itertools.product(range(4), repeat=4)
        if spelled(path, blank) == target
    )
    labels = torch.tensor([list(target)], dtype=torch.int64).reshape(1, len(target))
    got = F.ctc_loss(log_probs, labels, (4,), (len(target),), blank=blank, reduction="none")
    assert abs(got.item() + np.log(total)) < 1e-10


def test_ctc_gradient():
    scores = torch.tensor(np.random.default_rng(0).normal(size=(5, 2, 3)), requires_grad=True)
    labels = torch.tensor([[1, 1], [2, 1]])
    assert torch.autograd.gradcheck(lambda x: F.ctc_loss(x.log_softmax(-1), labels, (5, 4), (2, 1)), scores)
    assert torch.autograd.gradgradcheck(lambda x: F.ctc_loss(x.log_softmax(-1), labels, (5, 4), (2, 1)), scores)


def test_impossible_targets():
    scores = torch.zeros(2, 1, 3, requires_grad=True)
    labels = torch.tensor([[1, 1]])
    assert F.ctc_loss(scores.log_softmax(-1), labels, (2,), (2,)).item() == float("inf")
    loss = F.ctc_loss(scores.log_softmax(-1), labels, (2,), (2,), zero_infinity=True)
    loss.backward()
    assert loss.item() == 0 and scores.grad.abs().sum().item() == 0


def test_warnings():
    with pytest.warns(UserWarning, match="same size"):
        F.mse_loss(X, X[0])
    with pytest.warns(UserWarning, match="reduction='sum'"):
        F.l1_loss(X, Y, size_average=False)
    with pytest.warns(UserWarning, match="batchmean"):
        F.kl_div(X, Y)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: F.cross_entropy(X, torch.tensor([0, 1, 4])), IndexError),
        (lambda: F.cross_entropy(X, torch.tensor([0, -1, 1])), IndexError),
        (lambda: F.cross_entropy(X, torch.tensor([0, 1])), ValueError),
        (lambda: F.cross_entropy(X, torch.tensor([0.0, 1, 2])), RuntimeError),
        (lambda: F.cross_entropy(X, T, torch.ones(3)), RuntimeError),
        (lambda: F.cross_entropy(X, T, label_smoothing=2.0), RuntimeError),
        (lambda: F.nll_loss(X, T.int()), RuntimeError),
        (lambda: F.mse_loss(X, Y, reduction="all"), ValueError),
        (lambda: F.mse_loss(X, torch.ones(5)), RuntimeError),
        (lambda: F.binary_cross_entropy(X, Y), RuntimeError),
        (lambda: F.binary_cross_entropy(Y, Y[0]), ValueError),
        (lambda: F.binary_cross_entropy_with_logits(X, Y[0]), ValueError),
        (lambda: F.huber_loss(X, Y, delta=0), RuntimeError),
        (lambda: F.gaussian_nll_loss(X, Y, -Y), ValueError),
        (lambda: F.multi_margin_loss(X, T, p=3), ValueError),
        (lambda: F.triplet_margin_loss(X, X, X, margin=-1), ValueError),
        (lambda: F.ctc_loss(SCORES, torch.tensor([[1, 2], [3, 3]]), (5, 9), (2, 2)), RuntimeError),
    ],
)
def test_refused(call, error):
    with pytest.raises(error):
        call()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("options", [{}, {"ignore_index": 1}])
def test_cross_entropy_compiled_on_what_comes_later(reduction, options):
    """A plan is made on usual targets; later ones may not count, lie outside, or cost too much."""

    def step(x, t):
        loss = F.cross_entropy(x, t, reduction=reduction, **options)
        loss.backward()
        return loss

    compiled = torch.compile(step)
    generator = np.random.default_rng(3)
    usual = [generator.integers(2, 4, 6) for _ in range(5)]
    for at, target in enumerate([*usual, np.array([2, -100, 1, 0, 3, -100]), np.array([0, 1, 2, 3, 0, 1]), usual[0]]):
        scores = generator.normal(size=(6, 4)).astype(np.float32) * (60 if at == 3 else 1)
        own, theirs = (torch.tensor(scores, requires_grad=True) for _ in range(2))
        if at == 5 and options:
            continue  # -100 is a mistake there
        got, want = compiled(own, torch.tensor(target)), step(theirs, torch.tensor(target))
        assert got.item() == want.item()
        np.testing.assert_array_equal(own.grad.numpy(), theirs.grad.numpy())
    with pytest.raises(IndexError, match="out of bounds"):
        compiled(own, torch.tensor([0, 1, 2, 3, 4, 0]))
