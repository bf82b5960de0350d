"""`torch.distributions` beside PyTorch's: every family with its samples from one seed, densities, moments, gradients,
constraints, transforms and divergences."""

import itertools
import warnings

import numpy as np
import pytest
import torch

import flambeau
from tests.conformance.sidebyside import plain, same
from tests.distribution_cases import CASES, IDS, LABELS, make, positive, real, spd, tril, unit

pytestmark = pytest.mark.filterwarnings("ignore")
LIBS = (flambeau, torch)
ASKED = ("mean", "mode", "variance", "stddev", "entropy", "perplexity")


def outcome(call):
    """What a call gives, or the class of the error that it raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return call()
    except Exception as error:
        return type(error)


def alike(ours, theirs, what, scale=1.0):
    """Two outcomes: both errors of one class, or equal tensors or values."""
    if theirs is RuntimeError and what.startswith("GeneralizedPareto"):
        return  # PyTorch's compares its concentration with a float32 zero, so it refuses float64
    if isinstance(theirs, type) or isinstance(ours, type):
        assert ours is theirs, f"{what}: {ours} against {theirs}"
    elif isinstance(theirs, torch.Tensor):
        same(ours, theirs, what, scale)
    else:
        assert ours == theirs, f"{what}: {ours} against {theirs}"


def both(call, what, scale=1.0):
    """`call(lib)` in both, with the generators at one seed."""
    for lib in LIBS:
        lib.manual_seed(11)
    results = [outcome(lambda lib=lib: call(lib)) for lib in LIBS]
    alike(*results, what, scale)
    return results


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("name", "index"), LABELS, ids=IDS)
def test_samples_and_answers(name, index, dtype):
    def distribution(lib):
        return make(lib, name, index, dtype)[0]

    mine, theirs = (distribution(lib) for lib in LIBS)
    assert repr(mine) == repr(theirs)
    assert repr(mine.support) == repr(theirs.support)
    assert (mine.has_rsample, mine.has_enumerate_support) == (theirs.has_rsample, theirs.has_enumerate_support)
    assert tuple(mine.batch_shape) == tuple(theirs.batch_shape)
    assert tuple(mine.event_shape) == tuple(theirs.event_shape)
    scale = 1.0 if dtype == "float64" else 10.0
    drawn = []
    for shape in ((), (2,), (3, 7)):
        results = both(lambda lib, s=shape: distribution(lib).sample(s), f"{name} sample {shape}", scale)
        drawn.append(results)
        both(lambda lib, s=shape: distribution(lib).rsample(s), f"{name} rsample {shape}", scale)
    for ask in ASKED:
        both(lambda lib, a=ask: _asked(distribution(lib), a), f"{name} {ask}", scale)
    for value in (plain(pair[1]) for pair in drawn):
        kind = str(drawn[0][1].dtype).removeprefix("torch.")
        for ask in ("log_prob", "cdf"):
            both(
                lambda lib, v=value, a=ask: getattr(distribution(lib), a)(lib.tensor(v, dtype=getattr(lib, kind))),
                f"{name} {ask}",
                scale,
            )
    both(lambda lib: distribution(lib).icdf(lib.tensor(0.3, dtype=getattr(lib, dtype))), f"{name} icdf", scale)
    for expand in (True, False):
        both(lambda lib, e=expand: distribution(lib).enumerate_support(e), f"{name} enumerate_support")


def _asked(distribution, name):
    value = getattr(distribution, name)
    return value() if callable(value) else value


@pytest.mark.parametrize(("name", "index"), LABELS, ids=IDS)
def test_expanded(name, index):
    def expanded(lib):
        d = make(lib, name, index)[0]
        return d.expand((2, *d.batch_shape))

    mine, theirs = (expanded(lib) for lib in LIBS)
    assert repr(mine) == repr(theirs)
    assert tuple(mine.batch_shape) == tuple(theirs.batch_shape)
    _, value = both(lambda lib: expanded(lib).sample((2,)), f"{name} sample")
    value = plain(value)
    kind = str(theirs.sample().dtype).removeprefix("torch.")
    both(lambda lib: expanded(lib).log_prob(lib.tensor(value, dtype=getattr(lib, kind))), f"{name} log_prob")
    both(lambda lib: expanded(lib).variance, f"{name} variance")


@pytest.mark.parametrize(("name", "index"), LABELS, ids=IDS)
def test_gradients(name, index):
    """Of log_prob, of entropy and of reparametrised samples, with respect to every parameter.

    PyTorch's Wishart samples can't be differentiated: it writes into a mask that it saved.
    """

    def gradients(lib, what):
        d, tensors = make(lib, name, index, grad=True)
        if what == "rsample":
            value = d.rsample((4,))
        elif what == "entropy":
            value = d.entropy()
        else:
            value = d.log_prob(lib.tensor(at, dtype=getattr(lib, kind)))
        weights = lib.linspace(0.5, 1.5, value.numel(), dtype=value.dtype).reshape(value.shape)
        return lib.cat([g.reshape(-1) for g in lib.autograd.grad((value * weights).sum(), tensors)])

    if not make(torch, name, index)[1]:
        return
    torch.manual_seed(3)
    d = make(torch, name, index)[0]
    sample = d.sample((4,))
    at, kind = plain(sample), str(sample.dtype).removeprefix("torch.")
    for what in ("log_prob", "entropy", *(["rsample"] if d.has_rsample and name != "Wishart" else [])):
        both(lambda lib, w=what: gradients(lib, w), f"{name} {what}", 100.0)


FAMILIES = """
    Bernoulli Beta Binomial Categorical Cauchy ContinuousBernoulli Dirichlet Exponential
    Gamma Geometric Gumbel HalfNormal Laplace LogNormal LowRankMultivariateNormal MultivariateNormal
    Normal OneHotCategorical Pareto Poisson Uniform Wishart StudentT Chi2
""".split()
INSIDE = {
    "Uniform": {"low": unit(3) * 0.5, "high": unit(3) * 0.5 + 0.4},
    "Pareto": {"scale": unit(3) * 0.1, "alpha": positive(3, low=2.5, high=4)},
}


def _first(lib, name, seed):
    """A distribution of the family; other parameters for another seed."""
    d = INSIDE.get(name) or CASES[name][0]
    kwargs = {}
    for key, value in d.items():
        if isinstance(value, np.ndarray):
            if seed and key not in ("covariance_matrix", "total_count"):
                value = value * 1.1 if value.min() > 1 else np.sqrt(value) if value.min() > 0 else value * 0.9
            value = lib.tensor(value)
        kwargs[key] = value
    return getattr(lib.distributions, name)(**kwargs)


@pytest.mark.parametrize("name", FAMILIES)
def test_divergences(name):
    for other in FAMILIES:
        both(
            lambda lib, o=other: lib.distributions.kl_divergence(_first(lib, name, 0), _first(lib, o, 1)),
            f"{name} {other}",
            10.0,
        )


UNIVARIATE = [
    ("Beta", 2.0, 3.0),
    ("Exponential", 1.5),
    ("Pareto", 0.5, 3.0),
    ("Uniform", 0.1, 0.6),
    ("Gamma", 2.0, 1.0),
]


def test_divergence_edges():
    b = [0.0, 0.5, 1.0]
    pairs = list(itertools.product(b, b))
    p, q = ([v[i] for v in pairs] for i in (0, 1))
    for family in ("Bernoulli",):
        both(
            lambda lib, f=family: lib.distributions.kl_divergence(
                getattr(lib.distributions, f)(lib.tensor(p)), getattr(lib.distributions, f)(lib.tensor(q))
            ),
            family,
        )
    for low, high in ((0.0, 1.0), (-1.0, 0.5), (0.2, 2.0)):
        for other in UNIVARIATE:
            for ours_first in (True, False):

                def call(lib, low=low, high=high, other=other, ours_first=ours_first):
                    a = lib.distributions.Uniform(lib.tensor([low]), lib.tensor([high]))
                    c = getattr(lib.distributions, other[0])(*(lib.tensor([v]) for v in other[1:]))
                    return lib.distributions.kl_divergence(*((a, c) if ours_first else (c, a)))

                both(call, f"Uniform({low}, {high}) {other}")


COMPOSED = {
    "independent": lambda lib, d: d.Independent(d.Normal(lib.tensor(real(4, 3)), lib.tensor(positive(3))), 1),
    "independent of vectors": lambda lib, d: d.Independent(
        d.MultivariateNormal(lib.tensor(real(4, 2, 3)), lib.tensor(spd(3, 3))), 2
    ),
    "mixture": lambda lib, d: d.MixtureSameFamily(
        d.Categorical(lib.tensor(positive(3))), d.Normal(lib.tensor(real(3)), lib.tensor(positive(3)))
    ),
    "mixture of vectors": lambda lib, d: d.MixtureSameFamily(
        d.Categorical(lib.tensor(positive(2, 3))),
        d.MultivariateNormal(lib.tensor(real(2, 3, 2)), scale_tril=lib.tensor(tril(2, 2))),
    ),
    "transformed": lambda lib, d: d.TransformedDistribution(
        d.Normal(lib.tensor(real(3)), lib.tensor(positive(3))),
        [d.ExpTransform(), d.AffineTransform(1.0, lib.tensor(2.0, dtype=lib.float64))],
    ),
    "transformed falling": lambda lib, d: d.TransformedDistribution(
        d.Uniform(lib.tensor(0.0, dtype=lib.float64), 1.0), [d.AffineTransform(1.0, -1.0), d.SigmoidTransform().inv]
    ),
    "transformed to vectors": lambda lib, d: d.TransformedDistribution(
        d.Normal(lib.tensor(real(2, 3)), lib.tensor(positive(3))), d.StickBreakingTransform()
    ),
    "transformed by a bigger transform": lambda lib, d: d.TransformedDistribution(
        d.Normal(lib.tensor(real(1)), lib.tensor(positive(1))),
        d.AffineTransform(lib.tensor(real(3)), lib.tensor(positive(3))),
    ),
    "transformed and reshaped": lambda lib, d: d.TransformedDistribution(
        d.Independent(d.Normal(lib.tensor(real(2, 6)), 1.0), 1), [d.ReshapeTransform((6,), (2, 3)), d.TanhTransform()]
    ),
    "correlations": lambda lib, d: d.TransformedDistribution(
        d.Normal(lib.tensor(real(2, 3)), lib.tensor(positive(3))), d.CorrCholeskyTransform()
    ),
}


@pytest.mark.parametrize("name", COMPOSED)
def test_composed(name):
    def made(lib):
        return COMPOSED[name](lib, lib.distributions)

    mine, theirs = (made(lib) for lib in LIBS)
    assert repr(mine) == repr(theirs)
    assert repr(mine.support) == repr(theirs.support)
    assert (tuple(mine.batch_shape), tuple(mine.event_shape)) == (tuple(theirs.batch_shape), tuple(theirs.event_shape))
    assert mine.has_rsample == theirs.has_rsample
    for ask in ASKED:
        both(lambda lib, a=ask: _asked(made(lib), a), ask)
    for again in (False, True):

        def used(lib, again=again):
            return made(lib).expand((2, *made(lib).batch_shape)) if again else made(lib)

        _, sample = both(lambda lib: used(lib).sample((3,)), "sample", 10.0)
        both(lambda lib: used(lib).rsample((3,)), "rsample", 10.0)
        value = plain(sample)
        both(lambda lib: used(lib).log_prob(lib.tensor(value)), "log_prob", 10.0)
        both(lambda lib: used(lib).cdf(lib.tensor(value)), "cdf", 10.0)


def constraint_table(lib):
    c = lib.distributions.constraints
    t = lib.tensor
    return {
        "boolean": (c.boolean, [t([0.0, 1.0, 2.0, 0.5])]),
        "one_hot": (c.one_hot, [t([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])]),
        "real": (c.real, [t([0.0, float("nan"), float("inf")])]),
        "positive": (c.positive, [t([0.0, 1.0, -1.0])]),
        "nonnegative": (c.nonnegative, [t([0.0, 1.0, -1.0])]),
        "positive_integer": (c.positive_integer, [t([0.0, 1.0, 1.5])]),
        "nonnegative_integer": (c.nonnegative_integer, [t([0.0, 1.0, 1.5, -1.0])]),
        "integer_interval": (c.integer_interval(-1, 2), [t([-2.0, -1.0, 0.5, 2.0, 3.0])]),
        "greater_than": (c.greater_than(1.5), [t([1.5, 2.0])]),
        "greater_than_eq": (c.greater_than_eq(1.5), [t([1.5, 1.0])]),
        "less_than": (c.less_than(1.5), [t([1.5, 1.0])]),
        "interval": (c.interval(-1.0, 1.0), [t([-1.0, 1.0, 1.5])]),
        "half_open_interval": (c.half_open_interval(-1.0, 1.0), [t([-1.0, 1.0, 0.5])]),
        "unit_interval": (c.unit_interval, [t([0.0, 1.0, -0.1])]),
        "multinomial": (c.multinomial(4), [t([[1.0, 2.0], [3.0, 2.0], [-1.0, 2.0]])]),
        "simplex": (c.simplex, [t([[0.2, 0.8], [0.2, 0.7], [1.2, -0.2]])]),
        "lower_triangular": (c.lower_triangular, [t(tril(2, 3, 3)), t(spd(2, 3, 3))]),
        "lower_cholesky": (c.lower_cholesky, [t(tril(2, 3, 3)), t(-tril(2, 3, 3))]),
        "corr_cholesky": (c.corr_cholesky, [t(tril(3, 3)), t(np.eye(3))]),
        "square": (c.square, [t(real(2, 3, 3)), t(real(2, 3))]),
        "symmetric": (c.symmetric, [t(spd(2, 3, 3)), t(real(3, 3)), t(real(2, 3))]),
        "positive_semidefinite": (c.positive_semidefinite, [t(spd(2, 3, 3)), t(-spd(3, 3)), t(real(3, 3))]),
        "positive_definite": (c.positive_definite, [t(spd(2, 3, 3)), t(-spd(3, 3)), t(real(3, 3))]),
        "real_vector": (c.real_vector, [t([[0.0, 1.0], [0.0, float("nan")]]), t(1.0)]),
        "independent": (c.independent(c.positive, 2), [t(positive(2, 3, 4)), t(real(2, 3, 4)), t(real(4))]),
        "mixture": (c.MixtureSameFamilyConstraint(c.positive), [t(positive(2, 3))]),
        "cat": (
            c.cat([c.positive, c.real, c.unit_interval], 0, [1, 2, 1]),
            [t([1.0, -1.0, 0.0, 0.5]), t([-1.0, 0.0, 0.0, 2.0])],
        ),
        "cat of vectors": (c.cat([c.simplex, c.real_vector], -2), [t([[0.4, 0.6], [1.0, 2.0]])]),
        "stack": (c.stack([c.positive, c.unit_interval], -1), [t([[1.0, 2.0], [0.5, 0.5]])]),
        "dependent": (c.dependent, [t(1.0)]),
    }


CONSTRAINTS = list(constraint_table(flambeau))


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraints(name):
    (mine, values), (theirs, others) = (constraint_table(lib)[name] for lib in LIBS)
    assert repr(mine) == repr(theirs)
    for attribute in ("is_discrete", "event_dim"):
        alike(*(outcome(lambda c=c, a=attribute: getattr(c, a)) for c in (mine, theirs)), attribute)
    for value, other in zip(values, others, strict=True):
        alike(outcome(lambda v=value: mine.check(v)), outcome(lambda v=other: theirs.check(v)), name)


@pytest.mark.parametrize("registry", ["biject_to", "transform_to"])
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraints_are_reached(name, registry):
    def transform(lib):
        return getattr(lib.distributions, registry)(constraint_table(lib)[name][0])

    mine, theirs = (outcome(lambda lib=lib: transform(lib)) for lib in LIBS)
    if isinstance(theirs, type):
        assert mine is theirs
        return
    assert repr(mine) == repr(theirs)
    for x in (real(4), real(2, 4), real(3, 4, 4), real(6), real(2, 2)):
        _, y = both(lambda lib, x=x: transform(lib)(lib.tensor(x)), name, 10.0)
        if isinstance(y, type):
            continue
        both(lambda lib, y=y: transform(lib).inv(lib.tensor(y.numpy())), name, 100.0)
        both(
            lambda lib, x=x: transform(lib).log_abs_det_jacobian(lib.tensor(x), transform(lib)(lib.tensor(x))),
            name,
            10.0,
        )
        both(lambda lib, x=x: tuple(transform(lib).forward_shape(lib.Size(x.shape))), name)
        both(lambda lib, y=y: tuple(transform(lib).inverse_shape(lib.Size(y.shape))), name)


TRANSFORMS = {
    "abs": lambda lib, d: d.AbsTransform(),
    "affine": lambda lib, d: d.AffineTransform(lib.tensor(real(3)), lib.tensor(positive(3)), event_dim=1),
    "affine of numbers": lambda lib, d: d.AffineTransform(0.5, -2.0),
    "cat": lambda lib, d: d.CatTransform([d.ExpTransform(), d.TanhTransform()], -1, [1, 2]),
    "compose": lambda lib, d: d.ComposeTransform(
        [d.AffineTransform(0.5, 2.0), d.ExpTransform(), d.PowerTransform(lib.tensor(2.0, dtype=lib.float64))]
    ),
    "compose across dimensions": lambda lib, d: d.ComposeTransform(
        [d.ExpTransform(), d.StickBreakingTransform(), d.ReshapeTransform((4,), (2, 2))]
    ),
    "corr cholesky": lambda lib, d: d.CorrCholeskyTransform(),
    "cdf": lambda lib, d: d.CumulativeDistributionTransform(d.Normal(lib.tensor(real(3)), 1.0)),
    "exp": lambda lib, d: d.ExpTransform(),
    "independent": lambda lib, d: d.IndependentTransform(d.ExpTransform(), 1),
    "inverse": lambda lib, d: d.TanhTransform().inv.inv,
    "reshape": lambda lib, d: d.ReshapeTransform((3,), (3, 1)),
    "sigmoid": lambda lib, d: d.SigmoidTransform(),
    "softmax": lambda lib, d: d.SoftmaxTransform(),
    "softplus": lambda lib, d: d.SoftplusTransform(),
    "stack": lambda lib, d: d.StackTransform([d.ExpTransform(), d.SigmoidTransform(), d.AffineTransform(0.0, 2.0)], -1),
    "stick breaking": lambda lib, d: d.StickBreakingTransform(),
    "tanh": lambda lib, d: d.TanhTransform(),
    "identity": lambda lib, d: d.identity_transform,
}


@pytest.mark.parametrize("cache", [0, 1])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(name, cache):
    def made(lib):
        return TRANSFORMS[name](lib, lib.distributions)

    mine, theirs = (made(lib) for lib in LIBS)
    assert repr(mine) == repr(theirs) and repr(mine.inv) == repr(theirs.inv)
    for attribute in ("bijective", "sign", "event_dim"):
        alike(*(outcome(lambda t=t, a=attribute: getattr(t, a)) for t in (mine, theirs)), attribute)
    for attribute in ("domain", "codomain"):
        assert repr(getattr(mine, attribute)) == repr(getattr(theirs, attribute))
    assert (mine == made(flambeau)) == (theirs == made(torch))
    assert (mine == flambeau.distributions.ExpTransform()) == (theirs == torch.distributions.ExpTransform())
    for x in (real(3), real(2, 3), real()):

        def through(lib, x=x):
            transform = made(lib).with_cache(cache)
            start = lib.tensor(x, requires_grad=True)
            y = transform(start)
            back = transform.inv(y)
            return start, y, back, transform

        both(lambda lib: through(lib)[1], name, 10.0)
        both(lambda lib: through(lib)[2], name, 100.0)
        both(lambda lib: (lambda s, y, b, t: t.log_abs_det_jacobian(s, y))(*through(lib)), name, 10.0)
        both(lambda lib: lib.autograd.grad(through(lib)[1].pow(2).sum(), through(lib)[0], allow_unused=True)[0], name)


ERRORS = {
    "negative scale": lambda lib, d: d.Normal(0.0, -1.0),
    "scale nan": lambda lib, d: d.Normal(lib.tensor([float("nan")]), 1.0),
    "no numbers": lambda lib, d: d.Normal("a", 1.0),
    "both parameters": lambda lib, d: d.Bernoulli(probs=0.5, logits=0.0),
    "no parameter": lambda lib, d: d.Categorical(),
    "probability": lambda lib, d: d.Bernoulli(1.5),
    "no dimension": lambda lib, d: d.Categorical(lib.tensor(1.0)),
    "no dirichlet": lambda lib, d: d.Dirichlet(lib.tensor(1.0)),
    "not broadcastable": lambda lib, d: d.Normal(lib.zeros(2), lib.ones(3)),
    "value outside": lambda lib, d: d.Exponential(1.0).log_prob(lib.tensor(-1.0)),
    "value's shape": lambda lib, d: d.Normal(lib.zeros(2), 1.0).log_prob(lib.zeros(3)),
    "event's shape": lambda lib, d: d.Dirichlet(lib.ones(3)).log_prob(lib.ones(4) / 4),
    "no tensor": lambda lib, d: d.Normal(0.0, 1.0).log_prob(1.0),
    "no rsample": lambda lib, d: d.Bernoulli(0.5).rsample(),
    "no cdf": lambda lib, d: d.Dirichlet(lib.ones(3)).cdf(lib.ones(3) / 3),
    "no divergence": lambda lib, d: d.kl_divergence(d.VonMises(0.0, 1.0), d.Normal(0.0, 1.0)),
    "two matrices": lambda lib, d: d.MultivariateNormal(lib.zeros(2), lib.eye(2), lib.eye(2)),
    "not definite": lambda lib, d: d.MultivariateNormal(lib.zeros(2), -lib.eye(2)),
    "independent of too many": lambda lib, d: d.Independent(d.Normal(lib.zeros(2), 1.0), 2),
    "mixture's sizes": lambda lib, d: d.MixtureSameFamily(d.Categorical(lib.ones(3)), d.Normal(lib.zeros(2), 1.0)),
    "mixture of none": lambda lib, d: d.MixtureSameFamily(d.Normal(0.0, 1.0), d.Normal(lib.zeros(2), 1.0)),
    "no transform": lambda lib, d: d.TransformedDistribution(d.Normal(0.0, 1.0), 3),
    "few dimensions": lambda lib, d: d.TransformedDistribution(d.Normal(0.0, 1.0), d.StickBreakingTransform()),
    "lkj dim": lambda lib, d: d.LKJCholesky(1),
    "uniform ends": lambda lib, d: d.Uniform(1.0, 0.0),
    "geometric 0": lambda lib, d: d.Geometric(0.0),
    "wishart df": lambda lib, d: d.Wishart(1.0, lib.eye(3)),
    "wishart matrices": lambda lib, d: d.Wishart(4.0),
    "counts": lambda lib, d: d.Multinomial(lib.tensor([3]), lib.ones(2)),
    "binomial's counts": lambda lib, d: d.Binomial(lib.tensor([2, 3]), lib.tensor([0.5, 0.5])).enumerate_support(),
    "cache": lambda lib, d: d.ExpTransform(cache_size=2),
    "registered class": lambda lib, d: d.biject_to.register(3, lambda c: c),
    "not registered": lambda lib, d: d.biject_to(d.constraints.lower_cholesky),
    "low rank rows": lambda lib, d: d.LowRankMultivariateNormal(lib.zeros(3), lib.ones(2, 1), lib.ones(3)),
    "half of negative": lambda lib, d: d.HalfNormal(1.0).log_prob(lib.tensor(-1.0)),
}


@pytest.mark.parametrize("name", ERRORS)
def test_refused(name):
    mine, theirs = (outcome(lambda lib=lib: ERRORS[name](lib, lib.distributions)) for lib in LIBS)
    assert isinstance(theirs, type) and mine is theirs


def test_refused_unless_validation_is_off():
    for lib in LIBS:
        d = lib.distributions
        assert d.Normal(0.0, -1.0, validate_args=False).scale == -1
        d.Distribution.set_default_validate_args(False)
        try:
            assert d.Bernoulli(1.5).probs == 1.5
        finally:
            d.Distribution.set_default_validate_args(True)
        with pytest.raises(ValueError):
            d.Distribution.set_default_validate_args("no")


def test_names():
    mine, theirs = flambeau.distributions, torch.distributions
    assert [n for n in theirs.__all__ if not hasattr(mine, n)] == []
    assert sorted(mine.__all__) == sorted(theirs.__all__)
    for module in ("constraints", "transforms", "utils", "kl", "distribution", "constraint_registry"):
        ours = __import__(f"flambeau.distributions.{module}", fromlist=["x"])
        others = __import__(f"torch.distributions.{module}", fromlist=["x"])
        assert [n for n in others.__all__ if not hasattr(ours, n)] == []
    for name in theirs.__all__:
        module = getattr(theirs, name).__class__.__module__ if not isinstance(getattr(theirs, name), type) else None
        home = getattr(theirs, name).__module__ if module is None else None
        if home:
            found = __import__(home.replace("torch", "flambeau", 1), fromlist=["x"])
            assert hasattr(found, name), f"{home}.{name}"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_implicit_gradients(dtype):
    """Of gamma and Dirichlet numbers, in all the regions of their approximations."""
    rng = np.random.default_rng(1)
    a, b = (np.exp(rng.uniform(-4, 6, 4000)) for _ in range(2))
    x = np.exp(rng.uniform(-9, 6, 4000))
    x[:2000] = a[:2000] * rng.uniform(0.8, 1.2, 2000)
    share = rng.uniform(0, 1, 4000)
    share[:2000] = np.clip(a / (a + b) * rng.uniform(0.95, 1.05, 4000), 1e-5, 1 - 1e-5)[:2000]
    for call, tolerance in (
        (lambda lib, t: lib._standard_gamma_grad(t(a), t(x)), (1e-12, 1e-6)),
        (lambda lib, t: lib._dirichlet_grad(t(share), t(a), t(a + b)), (1e-9, 2e-2)),
    ):
        mine, theirs = (call(lib, lambda v, lib=lib: lib.tensor(v, dtype=getattr(lib, dtype))).numpy() for lib in LIBS)
        np.testing.assert_allclose(mine, theirs, rtol=tolerance[dtype == "float32"])
