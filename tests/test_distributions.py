"""Distributions by what must hold whatever the oracle says: densities integrate and are the derivatives of `cdf`,
moments are those of the samples, gradients are those of finite differences, copies keep what they copy."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau as torch
from flambeau.distributions import constraints, kl_divergence, transform_to
from tests.distribution_cases import CASES, IDS, LABELS, make

D = torch.distributions
pytestmark = pytest.mark.filterwarnings("ignore")

NUMBERS = (
    "Beta Cauchy Chi2 ContinuousBernoulli Exponential FisherSnedecor Gamma GeneralizedPareto Gumbel HalfCauchy "
    "HalfNormal InverseGamma Kumaraswamy Laplace LogNormal Normal Pareto StudentT Uniform VonMises Weibull "
    "RelaxedBernoulli"
).split()
WITH_CDF = [n for n in NUMBERS if n not in ("Beta", "FisherSnedecor", "StudentT", "VonMises", "RelaxedBernoulli")]
SMOOTH = ("Cauchy", "Gumbel", "Laplace", "Normal", "LogNormal")
WITHOUT_MOMENTS = {"Cauchy", "FisherSnedecor", "HalfCauchy", "StudentT", "RelaxedBernoulli", "VonMises"}
RECORDED = {
    "gamma": [1.5175409317016602, 0.43860897421836853],
    "dirichlet": [0.09412254393100739, 0.15728725492954254, 0.7485901713371277],
    "normal": [1.066699743270874, -0.8566746115684509],
    "categorical": [1, 1, 1, 1, 2, 2],
}


@pytest.mark.parametrize("name", WITH_CDF)
def test_density_is_the_derivative_of_cdf(name):
    torch.manual_seed(0)
    d, _ = make(torch, name, 0)
    x = d.sample((20,))
    step = 1e-5 * (x - d.icdf(torch.tensor(0.5, dtype=x.dtype))).abs().clamp(max=0.1) if name in SMOOTH else None
    if step is not None:
        slope = (d.cdf(x + step) - d.cdf(x - step)) / (2 * step)
        np.testing.assert_allclose(d.log_prob(x).exp().numpy(), slope.numpy(), rtol=2e-4, atol=1e-7)
    y = x.clone().requires_grad_()
    (of_tape,) = torch.autograd.grad(d.cdf(y).sum(), y)
    np.testing.assert_allclose(of_tape.numpy(), d.log_prob(x).exp().numpy(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", [n for n in WITH_CDF if n not in ("Chi2", "Gamma", "InverseGamma")])
def test_icdf_inverts_cdf(name):
    torch.manual_seed(0)
    d, _ = make(torch, name, 0)
    x = d.sample((20,))
    np.testing.assert_allclose(d.icdf(d.cdf(x)).numpy(), x.numpy(), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("name", "index"), LABELS, ids=IDS)
def test_samples_lie_in_the_support_and_have_its_moments(name, index):
    torch.manual_seed(0)
    d, _ = make(torch, name, index)
    x = d.sample((400,))
    assert tuple(x.shape) == (400, *d.batch_shape, *d.event_shape) and not x.requires_grad
    assert d.support.check(x).all()
    assert torch.isfinite(d.log_prob(x)).all()
    if name in WITHOUT_MOMENTS or name in ("Categorical", "LKJCholesky", "LogisticNormal", "RelaxedOneHotCategorical"):
        return
    error = (d.variance / 400).sqrt().clamp(min=1e-12)
    assert ((x.mean(0) - d.mean).abs() < 6 * error).all()


@pytest.mark.parametrize("name", ["Normal", "Gamma", "Beta", "Dirichlet", "Laplace", "Gumbel", "Poisson", "Binomial"])
def test_entropy_and_divergence_are_means_over_samples(name):
    torch.manual_seed(0)
    p, _ = make(torch, name, 0)
    x = p.sample((4000,))
    surprise = -p.log_prob(x)
    error = 5 * surprise.std(0) / 4000**0.5
    if name != "Poisson":
        assert ((surprise.mean(0) - p.entropy()).abs() < error).all()
    kwargs = {k: torch.tensor(v) * 1.2 if isinstance(v, np.ndarray) else v for k, v in CASES[name][0].items()}
    if name == "Binomial":
        kwargs["probs"] = kwargs["probs"] / 1.5
    q = getattr(D, name)(**kwargs)
    ratio = p.log_prob(x) - q.log_prob(x)
    assert ((ratio.mean(0) - kl_divergence(p, q)).abs() < 5 * ratio.std(0) / 4000**0.5 + 1e-9).all()
    assert (kl_divergence(p, p).abs() < 1e-9).all()


def test_discrete_probabilities_sum_to_one():
    for name in ("Bernoulli", "Binomial", "Categorical", "OneHotCategorical"):
        for index in range(2):
            d, _ = make(torch, name, index)
            values = d.enumerate_support()
            assert d.support.check(values).all()
            np.testing.assert_allclose(d.log_prob(values).exp().sum(0).numpy(), 1, rtol=1e-9)


def slope_of_quantile(cdf, pdf, at, x, step=1e-5):
    """How a sample moves with a parameter, its distribution function held: by central differences."""
    return -(cdf(at + step, x) - cdf(at - step, x)) / (2 * step) / pdf(at, x)


def test_gamma_samples_move_with_their_shape():
    a = np.repeat([0.3, 0.9, 2.0, 6.0, 9.0, 50.0], 40)
    torch.manual_seed(0)
    shape = torch.tensor(a, requires_grad=True)
    x = torch._standard_gamma(shape)
    x.sum().backward()
    density = lambda a, x: np.exp((a - 1) * np.log(x) - x - torch.lgamma(torch.tensor(a)).numpy())
    below = lambda a, x: torch.igamma(torch.tensor(a), torch.tensor(x)).numpy()
    wanted = slope_of_quantile(below, density, a, x.detach().numpy())
    np.testing.assert_allclose(shape.grad.numpy(), wanted, rtol=3e-3)


def test_beta_samples_move_with_their_parameters():
    theirs = pytest.importorskip("scipy.special")
    a = np.repeat([0.3, 0.9, 2.0, 8.0, 20.0, 7.0], 40)
    b = np.tile([0.5, 1.5, 4.0, 9.0, 30.0, 0.7], 40)
    torch.manual_seed(0)
    first, second = (torch.tensor(v, requires_grad=True) for v in (a, b))
    x = D.Beta(first, second).rsample()
    x.sum().backward()
    x = x.detach().numpy()

    def pdf(a, b, x):
        return np.exp((a - 1) * np.log(x) + (b - 1) * np.log1p(-x) - theirs.betaln(a, b))

    by_a = slope_of_quantile(lambda a, x: theirs.betainc(a, b, x), lambda a, x: pdf(a, b, x), a, x)
    by_b = slope_of_quantile(lambda b, x: theirs.betainc(a, b, x), lambda b, x: pdf(a, b, x), b, x)
    inside = (x > 1e-6) & (x < 1 - 1e-6)
    np.testing.assert_allclose(first.grad.numpy()[inside], by_a[inside], rtol=5e-3, atol=1e-6)
    np.testing.assert_allclose(second.grad.numpy()[inside], by_b[inside], rtol=5e-3, atol=1e-6)


def test_dirichlet_gradients_keep_the_sum():
    torch.manual_seed(1)
    a = torch.tensor([0.5, 2.0, 7.0], dtype=torch.float64, requires_grad=True)
    x = D.Dirichlet(a).rsample((5,))
    np.testing.assert_allclose(x.sum(-1).detach().numpy(), 1)
    (g,) = torch.autograd.grad(x.sum(), a)
    np.testing.assert_allclose(g.numpy(), 0, atol=1e-12)


def test_the_same_seed_gives_recorded_numbers():
    """Recorded from PyTorch 2.13."""
    torch.manual_seed(0)
    assert D.Gamma(2.0, 3.0).sample((2,)).tolist() == RECORDED["gamma"]
    assert D.Dirichlet(torch.tensor([0.5, 1.0, 2.0])).sample().tolist() == RECORDED["dirichlet"]
    assert D.Normal(0.0, 1.0).sample((2,)).tolist() == RECORDED["normal"]
    assert D.Categorical(torch.tensor([1.0, 2.0, 3.0])).sample((6,)).tolist() == RECORDED["categorical"]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-8, 8), min_size=1, max_size=6), st.sampled_from(["simplex", "positive", "unit_interval"]))
def test_transforms_reach_their_constraint_and_come_back(values, name):
    constraint = getattr(constraints, name)
    x = torch.tensor(values, dtype=torch.float64)
    y = transform_to(constraint)(x)
    assert constraint.check(y).all()
    bijection = D.biject_to(constraint)
    z = bijection(x)
    assert constraint.check(z).all()
    back = bijection.inv(z)
    np.testing.assert_allclose(back.numpy(), x.numpy(), rtol=1e-3, atol=1e-3)


def test_jacobians_are_those_of_the_tape():
    torch.manual_seed(0)
    for transform, n in ((D.StickBreakingTransform(), 3), (D.CorrCholeskyTransform(), 3), (D.ExpTransform(), 3)):
        x = torch.randn(n, dtype=torch.float64)
        y = transform(x)
        jacobian = torch.autograd.functional.jacobian(lambda x, t=transform: t(x).reshape(-1), x)
        if isinstance(transform, D.StickBreakingTransform):
            jacobian = jacobian[:-1]
        elif isinstance(transform, D.CorrCholeskyTransform):
            jacobian = jacobian.reshape(3, 3, 3)[[1, 2, 2], [0, 0, 1]]
        wanted = torch.linalg.slogdet(jacobian).logabsdet
        got = transform.log_abs_det_jacobian(x, y)
        got = got.sum()
        np.testing.assert_allclose(got.item(), wanted.item(), rtol=1e-8)


def test_a_program_s_own_distribution():
    class Dice(D.Distribution):
        arg_constraints = {"sides": constraints.positive_integer}

        def __init__(self, sides, validate_args=None):
            self.sides = sides
            super().__init__(sides.shape, validate_args=validate_args)

        def sample(self, sample_shape=()):
            return (torch.rand(self._extended_shape(sample_shape)) * self.sides).floor()

    d = Dice(torch.tensor([6.0, 20.0]))
    assert repr(d) == "Dice(sides: torch.Size([2]))"
    assert d.sample((3,)).shape == (3, 2)
    with pytest.raises(NotImplementedError):
        d.expand((2, 2))
    with pytest.raises(NotImplementedError):
        d.rsample()
    with pytest.raises(ValueError, match="sides"):
        Dice(torch.tensor([0.5]))

    class Shifted(D.Normal):
        def __init__(self, loc):
            super().__init__(loc + 1, 1.0)

    with pytest.raises(NotImplementedError, match="expand"):
        Shifted(torch.zeros(2)).expand((3, 2))

    class Named(D.Normal):
        pass

    assert isinstance(Named(torch.zeros(2), 1.0).expand((3, 2)), Named)
    assert kl_divergence(Named(0.0, 1.0), D.Normal(0.0, 1.0)) == 0

    @D.register_kl(Dice, D.Normal)
    def _(p, q):
        return p.sides

    assert kl_divergence(d, D.Normal(0.0, 1.0)) is d.sides
    with pytest.raises(TypeError):
        D.register_kl(3, D.Normal)


def test_copies_and_pickles():
    for name in CASES:
        d, _ = make(torch, name, 0)
        for other in (copy.deepcopy(d), pickle.loads(pickle.dumps(d))):
            assert type(other) is type(d)
            torch.manual_seed(0)
            first = d.sample()
            torch.manual_seed(0)
            np.testing.assert_array_equal(other.sample().numpy(), first.numpy())


def test_ambiguous_divergences_are_told():
    class A(D.Normal):
        pass

    class B(D.Normal):
        pass

    D.register_kl(A, D.Normal)(lambda p, q: "left")
    D.register_kl(D.Normal, B)(lambda p, q: "right")
    with pytest.warns(RuntimeWarning, match="ambiguous"):
        assert kl_divergence(A(0.0, 1.0), B(0.0, 1.0)) == "left"


def test_gradients_are_kept_through_lazy_parameters():
    logits = torch.zeros(3, requires_grad=True)
    d = D.Categorical(logits=logits)
    with torch.no_grad():
        probs = d.probs
    assert probs.requires_grad
    D.Bernoulli(logits=logits).probs.sum().backward()
    assert logits.grad is not None
