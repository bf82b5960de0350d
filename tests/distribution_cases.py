"""Distributions to build in either library: parameters as arrays, so that gradients can be asked for."""

import numpy as np


def positive(*shape, seed=0, low=0.4, high=3.0):
    """Numbers well above 0."""
    return np.random.default_rng(seed).uniform(low, high, shape)


def real(*shape, seed=0):
    """Normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape)


def unit(*shape, seed=0):
    """Numbers in (0, 1)."""
    return np.random.default_rng(seed).uniform(0.1, 0.9, shape)


def spd(*shape, seed=0):
    """Positive definite matrices."""
    a = real(*shape, seed=seed)
    return a @ np.swapaxes(a, -1, -2) + 2 * np.eye(shape[-1])


def tril(*shape, seed=0):
    """Cholesky factors."""
    return np.linalg.cholesky(spd(*shape, seed=seed))


# name of the class: lists of keyword arguments; arrays become tensors
CASES = {
    "Bernoulli": [{"probs": unit(3)}, {"logits": real(2, 3)}, {"probs": 0.3}, {"probs": np.array([0.0, 0.5, 1.0])}],
    "Beta": [
        {"concentration1": positive(3), "concentration0": positive(3, seed=1)},
        {"concentration1": positive(2, 1), "concentration0": positive(3, seed=1)},
        {"concentration1": 1.5, "concentration0": 2.5},
        {"concentration1": positive(4, low=5, high=60), "concentration0": positive(4, seed=1, low=5, high=60)},
    ],
    "Binomial": [
        {"total_count": 6, "probs": unit(3)},
        {"total_count": 40, "logits": real(2)},
        {"total_count": np.array([3.0, 30.0, 100.0]), "probs": unit(3)},
    ],
    "Categorical": [{"probs": positive(4)}, {"logits": real(2, 3)}, {"probs": positive(2, 3, 5)}],
    "Cauchy": [{"loc": real(3), "scale": positive(3)}, {"loc": 0.5, "scale": 2.0}],
    "Chi2": [{"df": positive(3)}, {"df": positive(2, 2, low=1, high=20)}],
    "ContinuousBernoulli": [{"probs": unit(4)}, {"logits": real(2, 3)}, {"probs": np.array([0.5, 0.4995, 0.2])}],
    "Dirichlet": [{"concentration": positive(4)}, {"concentration": positive(2, 3, low=0.1, high=30)}],
    "Exponential": [{"rate": positive(3)}, {"rate": 1.5}],
    "FisherSnedecor": [{"df1": positive(3), "df2": positive(3, seed=1, low=1, high=9)}],
    "Gamma": [
        {"concentration": positive(3), "rate": positive(3, seed=1)},
        {"concentration": positive(2, 20, low=0.05, high=40), "rate": 1.5},
        {"concentration": 2.0, "rate": 3.0},
    ],
    "GeneralizedPareto": [
        {"loc": real(3), "scale": positive(3), "concentration": np.array([-0.4, 0.0, 0.3])},
        {"loc": 0.0, "scale": 1.0, "concentration": 0.1},
    ],
    "Geometric": [{"probs": unit(3)}, {"logits": real(2)}, {"probs": 0.25}],
    "Gumbel": [{"loc": real(3), "scale": positive(3)}, {"loc": 0.5, "scale": 2.0}],
    "HalfCauchy": [{"scale": positive(3)}, {"scale": 1.5}],
    "HalfNormal": [{"scale": positive(3)}, {"scale": 1.5}],
    "InverseGamma": [{"concentration": positive(3, low=2.2, high=5), "rate": positive(3, seed=1)}],
    "Kumaraswamy": [{"concentration1": positive(3, low=1.1), "concentration0": positive(3, seed=1, low=1.1)}],
    "LKJCholesky": [{"dim": 3, "concentration": positive(2)}, {"dim": 2, "concentration": 0.5}],
    "Laplace": [{"loc": real(3), "scale": positive(3)}, {"loc": 0.5, "scale": 2.0}],
    "LogNormal": [{"loc": real(3), "scale": positive(3)}, {"loc": 0.5, "scale": 0.7}],
    "LogisticNormal": [{"loc": real(3), "scale": positive(3)}, {"loc": real(2, 3), "scale": positive(2, 3)}],
    "LowRankMultivariateNormal": [
        {"loc": real(4), "cov_factor": real(4, 2, seed=1), "cov_diag": positive(4)},
        {"loc": real(3, 4), "cov_factor": real(4, 2, seed=1), "cov_diag": positive(4)},
    ],
    "Multinomial": [{"total_count": 5, "probs": positive(3)}, {"total_count": 12, "logits": real(2, 3)}],
    "MultivariateNormal": [
        {"loc": real(3), "covariance_matrix": spd(3, 3)},
        {"loc": real(2, 3), "precision_matrix": spd(3, 3)},
        {"loc": real(3), "scale_tril": tril(2, 3, 3)},
        {"loc": real(4, 2, 3), "scale_tril": tril(2, 3, 3)},
    ],
    "NegativeBinomial": [{"total_count": 4, "probs": unit(3)}, {"total_count": positive(3), "logits": real(3)}],
    "Normal": [
        {"loc": real(3), "scale": positive(3)},
        {"loc": real(4, 1), "scale": positive(5)},
        {"loc": 0.5, "scale": 2.0},
    ],
    "OneHotCategorical": [{"probs": positive(4)}, {"logits": real(2, 3)}],
    "OneHotCategoricalStraightThrough": [{"probs": positive(4)}, {"logits": real(2, 3)}],
    "Pareto": [{"scale": positive(3), "alpha": positive(3, seed=1, low=2.2, high=4)}, {"scale": 1.0, "alpha": 3.0}],
    "Poisson": [{"rate": positive(3)}, {"rate": positive(4, low=8, high=60)}, {"rate": 3.0}],
    "RelaxedBernoulli": [
        {"temperature": np.array(0.7), "probs": unit(3)},
        {"temperature": np.array([2.0]), "logits": real(3)},
    ],
    "RelaxedOneHotCategorical": [
        {"temperature": np.array(0.7), "probs": positive(4)},
        {"temperature": np.array(1.5), "logits": real(2, 3)},
    ],
    "StudentT": [
        {"df": np.array([0.8, 1.5, 4.0]), "loc": real(3), "scale": positive(3)},
        {"df": 3.0},
    ],
    "Uniform": [{"low": real(3), "high": real(3) + positive(3)}, {"low": -1.0, "high": 2.0}],
    "VonMises": [{"loc": real(3), "concentration": positive(3)}, {"loc": 0.0, "concentration": 9.0}],
    "Weibull": [{"scale": positive(3), "concentration": positive(3, seed=1)}, {"scale": 1.0, "concentration": 1.5}],
    "Wishart": [
        {"df": 5.0, "covariance_matrix": spd(3, 3)},
        {"df": np.array([4.0, 7.5]), "scale_tril": tril(3, 3)},
        {"df": np.array(6.0), "precision_matrix": spd(3, 3)},
    ],
}

LABELS = [(name, i) for name, kinds in CASES.items() for i in range(len(kinds))]
IDS = [f"{name}-{i}" for name, i in LABELS]


def make(lib, name, index, dtype="float64", grad=False):
    """The distribution, and its parameters that are floating-point tensors."""
    kwargs, tensors = {}, []
    for key, value in CASES[name][index].items():
        if isinstance(value, np.ndarray):
            value = lib.tensor(value, dtype=getattr(lib, dtype), requires_grad=grad)
            tensors.append(value)
            if key == "scale_tril":
                value = value.tril()  # what stands above the diagonal is nobody's concern
        kwargs[key] = value
    return getattr(lib.distributions, name)(**kwargs), tensors
