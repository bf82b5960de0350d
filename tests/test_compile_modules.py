"""Every module compiled against eager: results, gradients of inputs and parameters, state afterwards, both modes."""

import gc
import warnings

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.compiled.step import Compiled
from flambeau.errors import CaptureError
from tests.layer_table import ABSTRACT, LAYERS

CALLS = 4
#: What a plan can't be made of, and why.
REFUSED = {
    "AdaptiveLogSoftmaxWithLoss": "how many targets fall into each cluster depends on their values",
    "LSTM packed": "the sizes of the batches are read to lay out the sequences",
}


@pytest.fixture(scope="module", autouse=True)
def few_objects():
    """A capture looks through all live tensors: those of other tests need not be looked at again and again."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def test_every_module_has_a_row():
    missing = set(nn.modules.__all__) - {row.name for row in LAYERS} - ABSTRACT
    assert not missing


def tensors(x):
    """The tensors in a nesting of tuples, lists and dicts."""
    if isinstance(x, torch.Tensor):
        return [x]
    if isinstance(x, dict):
        x = list(x.values())
    return [t for v in x for t in tensors(v)] if isinstance(x, (list, tuple)) else []


def differentiable(x):
    return [t for t in tensors(x) if t.is_floating_point()]


def with_grad(x):
    """The same operands, each floating-point one a leaf that needs a gradient."""
    if isinstance(x, torch.Tensor):
        return x.detach().clone().requires_grad_(x.is_floating_point())
    if hasattr(x, "_fields"):
        return type(x)(*map(with_grad, x))
    return type(x)(map(with_grad, x)) if isinstance(x, (list, tuple)) else x


def leaves_first(module, operands):
    """In-place modules can't write into leaves: they get something computed."""
    if getattr(module, "inplace", False):
        return [t * 1 if isinstance(t, torch.Tensor) and t.requires_grad else t for t in operands]
    return operands


def weighed(results):
    """A sum of all results in which each element counts for itself."""
    total = None
    for t in results:
        if t.requires_grad:
            part = (t * torch.linspace(0.5, 1.5, t.numel()).reshape(t.shape)).sum()
            total = part if total is None else total + part
    return total


def run(row, training, compiled, whole):
    """Numbers of a few calls, eager or compiled: the forward alone, or forward and backward in one step."""
    torch.manual_seed(0)
    module = row.make(torch)
    if any(isinstance(p, nn.parameter.UninitializedTensorMixin) for p in module.parameters()) or "Lazy" in row.name:
        module(*row.inputs(torch, 99))
    module.train(training)
    forward = torch.compile(module) if compiled and not whole else module

    def step(*operands):
        module.zero_grad()
        results = tensors(module(*leaves_first(module, operands)))
        total = weighed(results)
        if total is not None:
            total.backward()
        return [t.detach() for t in results]

    made = Compiled(step) if compiled and whole else step
    told = []
    for i in range(CALLS):
        operands = with_grad(list(row.inputs(torch, i)))
        torch.manual_seed(100 + i)
        if whole:
            results = made(*operands)
        else:
            module.zero_grad()
            results = tensors(forward(*leaves_first(module, operands)))
            total = weighed(results)
            if total is not None:
                total.backward()
        told.append([t.detach().clone() for t in results])
        told.append([None if t.grad is None else t.grad.clone() for t in tensors(operands)])
        told.append([None if p.grad is None else p.grad.to_dense().clone() for p in module.parameters()])
        told.append([torch.rand(1)])  # the generator stands where it would
    told.append([v.clone() for v in module.state_dict().values() if isinstance(v, torch.Tensor)])
    if compiled:
        plans = (made if whole else forward._compiled).plans
        assert sum(map(len, plans.values())) == 1
    return told


@pytest.mark.slow
@pytest.mark.parametrize("whole", [False, True], ids=["forward", "step"])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("row", LAYERS, ids=lambda row: row.title)
def test_module(row, training, whole):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want = run(row, training, False, whole)
        if row.title in REFUSED:
            with pytest.raises(CaptureError):
                run(row, training, True, whole)
            return
        have = run(row, training, True, whole)
    for w, h in zip(want, have, strict=True):
        torch.testing.assert_close(h, w, rtol=2e-5, atol=1e-6, equal_nan=True)
