"""Masked tensors, and what `is_conj` and `is_neg` say."""

import copy
import pickle

import pytest

import flambeau as torch
from flambeau.masked import MaskedTensor, as_masked_tensor, is_masked_tensor, masked_tensor

DATA = torch.arange(6.0).view(2, 3)
MASK = torch.tensor([[True, False, True], [False, True, True]])


def test_printing():
    text = "MaskedTensor(\n  [\n    [  0.0000,       --,   2.0000],\n    [      --,   4.0000,   5.0000]\n  ]\n)"
    assert repr(masked_tensor(DATA, MASK)) == text
    assert repr(masked_tensor(torch.tensor([1, 22, 3]), torch.tensor([True, True, False]))) == (
        "MaskedTensor(\n  [1, 22,       --]\n)"
    )
    assert repr(masked_tensor(DATA, MASK).sum()) == "MaskedTensor( 11.0000, True)"
    assert repr(masked_tensor(torch.tensor(1.0), torch.tensor(False))) == "MaskedTensor(--, False)"


def test_functions():
    m = masked_tensor(DATA, MASK)
    assert is_masked_tensor(m) and isinstance(m, torch.Tensor) and m.shape == (2, 3)
    for function in (torch.sin, lambda t: t * 2, lambda t: t + t, lambda t: -t, lambda t: t > 1):
        found = function(m)
        assert torch.equal(found.get_data(), function(DATA)) and torch.equal(found.get_mask(), MASK)
    assert m.mean(1).get_data().tolist() == [1.0, 4.5] and m.amax(0).get_data().tolist() == [0.0, 4.0, 5.0]
    assert torch.equal(m.to_tensor(9.0), torch.tensor([[0.0, 9, 2], [9, 4, 5]]))
    assert masked_tensor(DATA, torch.zeros(2, 3).bool()).sum(1).get_mask().any().item() is False
    for again in (copy.deepcopy(m), pickle.loads(pickle.dumps(m)), MaskedTensor(DATA, MASK)):
        assert torch.equal(again.to_tensor(0.0), m.to_tensor(0.0))


def test_gradients():
    data = torch.tensor([1.0, float("nan"), 3.0], requires_grad=True)
    as_masked_tensor(data, torch.tensor([True, False, True])).sum().backward()
    assert data.grad.tolist() == [1, 0, 1]
    x = torch.tensor([-10.0, 50.0])
    a = masked_tensor(x, x < 0, requires_grad=True)
    b = masked_tensor(torch.ones(2), x > 0, requires_grad=True)
    chosen = torch.where(x < 0, torch.exp(a), b)
    chosen.sum().backward()
    assert chosen.get_mask().all() and b.grad.to_tensor(0.0).tolist() == [0, 1]


def test_what_does_not_fit():
    with pytest.raises(ValueError, match="masks"):
        masked_tensor(DATA, MASK) + masked_tensor(DATA, ~MASK)
    with pytest.raises(TypeError, match="bools"):
        masked_tensor(DATA, MASK.float())
    with pytest.raises(ValueError, match="fit"):
        masked_tensor(DATA, MASK[0])
    with pytest.raises(TypeError, match="to_tensor"):
        torch.matmul(masked_tensor(DATA, MASK), DATA.t())


def test_conjugates_say_that_they_are_lazy():
    c = torch.tensor([1 + 2j, 3 - 1j])
    d = c.conj()
    assert d.is_conj() and not c.is_conj() and not d.conj().is_conj() and not (d * 1).is_conj()
    assert not d.resolve_conj().is_conj() and torch.equal(d.resolve_conj(), d)
    assert d.imag.is_neg() and not d.imag.resolve_neg().is_neg() and not c.imag.is_neg()
    assert c.view(1, 2).mH.is_conj() and c.view(1, 2).adjoint().is_conj() and not torch.ones(2).conj().is_conj()
