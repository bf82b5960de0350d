"""What normalised, parametrized and stateless calls promise, as functions that hold for both libraries."""

import copy
import importlib

import pytest

CASES = []


def case(function):
    CASES.append(function)
    return function


def part(torch, name):
    return importlib.import_module(torch.__name__ + "." + name)


@case
def weight_norm(torch):
    utils = torch.nn.utils
    m = torch.nn.Linear(3, 2)
    x = torch.ones(1, 3)
    y = m(x)
    assert utils.weight_norm(m) is m
    assert sorted(n for n, _ in m.named_parameters()) == ["bias", "weight_g", "weight_v"] and m.weight_g.shape == (2, 1)
    assert torch.allclose(m(x), y)
    m(x).sum().backward()
    assert m.weight_g.grad.shape == (2, 1) and m.weight_v.grad.shape == (2, 3)
    with pytest.raises(RuntimeError):
        utils.weight_norm(m)
    utils.remove_weight_norm(m)
    assert sorted(m.state_dict()) == ["bias", "weight"] and torch.allclose(m(x), y)
    with pytest.raises(ValueError):
        utils.remove_weight_norm(m)
    whole = utils.weight_norm(torch.nn.Conv1d(2, 3, 2), dim=None)
    assert whole.weight_g.dim() == 0


@case
def spectral_norm(torch):
    utils = torch.nn.utils
    torch.manual_seed(0)
    m = utils.spectral_norm(torch.nn.Linear(4, 3))
    assert sorted(m.state_dict()) == ["bias", "weight_orig", "weight_u", "weight_v"]
    for _ in range(30):
        m(torch.ones(1, 4))
    m.eval()
    m(torch.ones(1, 4))
    assert abs(float(torch.linalg.matrix_norm(m.weight.detach(), 2)) - 1) < 1e-4
    m(torch.ones(1, 4)).sum().backward()
    assert m.weight_orig.grad is not None
    utils.remove_spectral_norm(m)
    assert sorted(m.state_dict()) == ["bias", "weight"]
    conv = utils.spectral_norm(torch.nn.ConvTranspose2d(2, 3, 2))
    assert conv.weight_u.shape == (3,)
    with pytest.raises(ValueError):
        utils.remove_spectral_norm(m)
    with pytest.raises(ValueError):
        utils.spectral_norm(torch.nn.Linear(1, 1), n_power_iterations=0)


@case
def parametrizations(torch):
    nn, parametrize = torch.nn, part(torch, "nn.utils.parametrize")

    class Symmetric(nn.Module):
        def forward(self, x):
            return x.triu() + x.triu(1).transpose(-1, -2)

        def right_inverse(self, x):
            return x.triu()

    class Double(nn.Module):
        def forward(self, x):
            return 2 * x

    m = nn.Linear(3, 3)
    weight = m.weight
    assert parametrize.register_parametrization(m, "weight", Symmetric()) is m
    assert parametrize.is_parametrized(m) and parametrize.is_parametrized(m, "weight")
    assert not parametrize.is_parametrized(m, "bias")
    assert type(m).__name__ == "ParametrizedLinear" and isinstance(m, nn.Linear)
    assert parametrize.type_before_parametrizations(m) is nn.Linear
    assert torch.equal(m.weight, m.weight.t()) and m.parametrizations.weight.original is weight
    assert sorted(m.state_dict()) == ["bias", "parametrizations.weight.original"]
    m.weight = torch.ones(3, 3)
    assert torch.equal(weight.detach(), torch.ones(3, 3).triu()) and torch.equal(m.weight, torch.ones(3, 3))
    parametrize.register_parametrization(m, "weight", Double())
    assert torch.equal(m.weight, torch.full((3, 3), 2.0))
    with parametrize.cached():
        assert m.weight is m.weight
    assert m.weight is not m.weight
    m(torch.ones(1, 3)).sum().backward()
    assert weight.grad is not None
    twin = copy.deepcopy(m)
    assert torch.equal(twin.weight, m.weight) and twin.parametrizations.weight.original is not weight
    parametrize.remove_parametrizations(m, "weight")
    assert type(m) is nn.Linear and torch.equal(m.weight, torch.full((3, 3), 2.0)) and m.weight is weight
    assert sorted(m.state_dict()) == ["bias", "weight"]

    class Bad(nn.Module):
        def forward(self, x):
            return x[0]

    with pytest.raises(ValueError):
        parametrize.register_parametrization(m, "weight", Bad())
    with pytest.raises(ValueError):
        parametrize.register_parametrization(m, "nope", Double())
    with pytest.raises(ValueError):
        parametrize.remove_parametrizations(m, "weight")


@case
def ready_made_parametrizations(torch):
    ready = part(torch, "nn.utils.parametrizations")
    m = torch.nn.Linear(3, 2)
    y = m(torch.ones(1, 3))
    ready.weight_norm(m)
    names = ["bias", "parametrizations.weight.original0", "parametrizations.weight.original1"]
    assert sorted(m.state_dict()) == names and torch.allclose(m(torch.ones(1, 3)), y)
    m.weight = torch.ones(2, 3)
    assert torch.allclose(m.weight, torch.ones(2, 3))
    s = ready.spectral_norm(torch.nn.Linear(4, 3))
    assert "parametrizations.weight.0._u" in s.state_dict()
    s.eval()
    assert abs(float(torch.linalg.matrix_norm(s.weight.detach(), 2)) - 1) < 0.2


@case
def functional_calls(torch):
    functional_call = (
        part(torch, "nn.utils.stateless").functional_call if torch.__name__ != "torch" else torch.func.functional_call
    )
    m = torch.nn.Linear(2, 2)
    x = torch.ones(1, 2)
    weight = torch.zeros(2, 2, requires_grad=True)
    y = functional_call(m, {"weight": weight}, (x,))
    assert torch.equal(y, m.bias.unsqueeze(0))
    y.sum().backward()
    assert weight.grad is not None and m.weight.grad is None and isinstance(m.weight, torch.nn.Parameter)
    with pytest.raises(RuntimeError):
        functional_call(m, {"weight": weight}, (x,), strict=True)
    tied = torch.nn.Sequential(m, m)
    assert torch.equal(functional_call(tied, {"0.weight": weight, "0.bias": torch.zeros(2)}, x), torch.zeros(1, 2))


@case
def data_parallel_without_gpus_is_the_module(torch):
    m = torch.nn.Linear(2, 2)
    wrapped = torch.nn.DataParallel(m)
    assert list(wrapped.state_dict()) == ["module.weight", "module.bias"]
    assert torch.equal(wrapped(torch.ones(1, 2)), m(torch.ones(1, 2)))


@case
def gradients_of_convolutions(torch):
    grad = part(torch, "nn.grad")
    x, w = torch.randn(2, 4, 5, 5, requires_grad=True), torch.randn(6, 2, 3, 3, requires_grad=True)
    y = torch.nn.functional.conv2d(x, w, None, 2, 1, 1, 2)
    g = torch.randn(*y.shape)
    y.backward(g)
    assert torch.allclose(grad.conv2d_input(x.shape, w, g, 2, 1, 1, 2), x.grad, atol=1e-5)
    assert torch.allclose(grad.conv2d_weight(x, w.shape, g, 2, 1, 1, 2), w.grad, atol=1e-4)
