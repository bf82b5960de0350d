"""Functions that draw, compiled against eager: the same numbers from the same generator, and the generator after."""

import pytest

import flambeau as torch
from flambeau.compiled.step import Compiled
from flambeau.nn import functional as F

CASES = {
    "dropout": lambda x: F.dropout(x, 0.4),
    "dropout1d": lambda x: F.dropout1d(x, 0.4),
    "alpha": lambda x: F.alpha_dropout(x, 0.4, True),
    "feature_alpha": lambda x: F.feature_alpha_dropout(x, 0.4, True),
    "gumbel": lambda x: F.gumbel_softmax(x, 0.7),
    "gumbel hard": lambda x: F.gumbel_softmax(x, 0.7, hard=True),
    "rrelu": lambda x: F.rrelu(x, training=True),
    "sdpa dropout": lambda x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.3),
    "sdpa causal": lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
    "sdpa masked": lambda x: F.scaled_dot_product_attention(x, x, x, attn_mask=torch.ones(5, 5).tril().bool()),
    "randn_like": lambda x: x * torch.randn_like(x),
    "rand": lambda x: x + torch.rand(6) * torch.randint(0, 5, (6,)),
    "randperm": lambda x: x[:, torch.randperm(5)],
    "bernoulli": lambda x: x * torch.bernoulli(torch.full((6,), 0.3)),
    "bernoulli_": lambda x: x * torch.empty(6).bernoulli_(0.3),
    "normal": lambda x: x + torch.normal(0.0, 1.0, (6,)),
    "normal of tensors": lambda x: x + torch.normal(x.detach(), 0.1),
    "multinomial": lambda x: x + torch.multinomial(torch.ones(6), 6),
    "exponential_": lambda x: x * torch.empty(6).exponential_(),
    "uniform_": lambda x: x * torch.empty(6).uniform_(-1, 1),
    "poisson": lambda x: x * torch.poisson(torch.full((6,), 2.0)),
    "fractional": lambda x: F.fractional_max_pool2d(x, 2, output_size=(3, 4)),
    "rsample": lambda x: torch.distributions.Normal(x, 1.0).rsample(),
    "categorical": lambda x: x + torch.distributions.Categorical(logits=x.detach()).sample().sum(),
    "trunc": lambda x: x + torch.nn.init.trunc_normal_(torch.empty(6)),
    "gamma": lambda x: x + torch.distributions.Gamma(torch.ones(6), 1.0).rsample(),
    "randint_like": lambda x: x + torch.randint_like(x, 9),
    "log_prob": lambda x: torch.distributions.Normal(x, x.exp()).log_prob(torch.zeros(6)),
    "vae": lambda x: torch.distributions.kl_divergence(
        torch.distributions.Normal(x, x.exp()), torch.distributions.Normal(torch.zeros(6), torch.ones(6))
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_random(name):
    f = CASES[name]

    def step(x):
        x = x.detach().requires_grad_()
        y = f(x)
        (y * torch.linspace(0, 1, y.numel()).reshape(y.shape)).sum().backward()
        return y.detach(), x.grad

    compiled = Compiled(step)
    told = []
    for run in (step, compiled):
        torch.manual_seed(0)
        data = [torch.randn(3, 5, 6) for _ in range(6)]
        told.append([t for x in data for t in run(x)] + [torch.rand(1)])
    torch.testing.assert_close(told[1], told[0])
    assert sum(map(len, compiled.plans.values())) == 1


def test_parameters_are_still_checked():
    compiled = Compiled(lambda x: torch.distributions.Normal(torch.zeros(3), x).rsample())
    for _ in range(4):
        compiled(torch.ones(3))
    with pytest.raises(ValueError, match="scale"):
        compiled(-torch.ones(3))
