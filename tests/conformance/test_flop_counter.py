"""`FlopCounterMode` counts what PyTorch's counts: of models, forward and backward, in all and module by module."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode as Theirs

import flambeau
from flambeau.utils.flop_counter import FlopCounterMode as Ours
from flambeau.utils.flop_counter import register_flop_formula


def mlp(lib):
    nn = lib.nn
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3, bias=False)), lib.ones(5, 6)


def convolutional(lib):
    nn = lib.nn
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(8 * 3 * 3, 4)), lib.ones(2, 3, 8, 8)


def transposed(lib):
    return lib.nn.Sequential(lib.nn.ConvTranspose1d(4, 6, 3, stride=2, bias=False), lib.nn.Tanh()), lib.ones(2, 4, 7)


def batched(lib):
    class Net(lib.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = lib.nn.Linear(4, 6)

        def forward(self, x):
            h = self.a(x)
            return lib.bmm(h, h.transpose(1, 2)) @ x

    return Net(), lib.ones(3, 5, 4)


@pytest.mark.parametrize("make", [mlp, convolutional, transposed, batched])
@pytest.mark.parametrize("needs", [False, True])
def test_totals_and_modules(make, needs):
    totals, modules = [], []
    for lib, counter in ((torch, Theirs), (flambeau, Ours)):
        model, x = make(lib)
        x.requires_grad_(needs)
        with counter(display=False) as mode:
            model(x).sum().backward()
        totals.append(mode.get_total_flops())
        modules.append({name: sum(counts.values()) for name, counts in mode.get_flop_counts().items() if counts})
    assert totals[0] == totals[1] > 0
    assert {k: v for k, v in modules[0].items() if v} == modules[1]


def test_names_of_operations():
    model, x = mlp(flambeau)
    with Ours(display=False) as mode:
        model(x)
    aten = flambeau.ops.aten
    assert mode.get_flop_counts()["Global"] == {aten.addmm: 2 * 5 * 6 * 8, aten.mm: 2 * 5 * 8 * 3}
    assert list(mode.get_flop_counts()) == ["Global", "Sequential", "Sequential.0", "Sequential.2"]


def test_formulas_of_a_program(capsys):
    aten = flambeau.ops.aten
    a, b = flambeau.ones(2, 3), flambeau.ones(3, 4)
    with Ours(custom_mapping={aten.mm: lambda a, b, *, out_shape: sum(out_shape)}) as mode:
        a @ b
    assert mode.get_total_flops() == 6 and "aten.mm" in capsys.readouterr().out
    with Ours(display=False) as mode:
        a @ b
    assert mode.get_total_flops() == 48
    assert callable(register_flop_formula([aten.bmm]))


def test_compiled_steps_are_counted_too():
    model, x = mlp(flambeau)
    compiled = flambeau.compile(model)
    for _ in range(4):
        compiled(x)
    with Ours(display=False) as mode:
        compiled(x)
    assert mode.get_total_flops() == 2 * 5 * 6 * 8 + 2 * 5 * 8 * 3
