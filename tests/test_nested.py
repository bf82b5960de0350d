"""Nested tensors: parts of different shapes, and the Transformer's encoder on them."""

import copy
import pickle

import pytest

import flambeau as torch
import flambeau.nn.functional as F
from flambeau import nn


@pytest.fixture
def parts():
    torch.manual_seed(0)
    return [torch.randn(2, 4), torch.randn(3, 4)]


def same(nested, parts):
    return nested.is_nested and all(torch.equal(a, b) for a, b in zip(nested.unbind(), parts, strict=True))


def test_made_and_taken_apart(parts):
    nt = torch.nested.nested_tensor(parts)
    assert same(nt, parts) and nt.size(0) == 2 and nt.size(2) == 4 and nt.dim() == 3 and nt.numel() == 20
    assert torch.equal(nt[1], parts[1]) and nt.layout is torch.strided and not torch.ones(2).is_nested
    assert nt.to_padded_tensor(-1.0, (2, 5, 4))[0, 2:].eq(-1).all() and nt.to_padded_tensor(0.0).shape == (2, 3, 4)
    assert same(pickle.loads(pickle.dumps(nt)), parts) and same(copy.deepcopy(nt), parts)
    assert repr(torch.nested.nested_tensor([[0, 1], [2]])) == "nested_tensor([\n  tensor([0, 1]),\n  tensor([2])\n])"
    mixed = [torch.ones(2), torch.ones(1, 1)]
    for wrong in (lambda: nt.size(1), lambda: nt.shape, lambda: torch.nested.nested_tensor(mixed)):
        with pytest.raises(RuntimeError):
            wrong()
    with pytest.raises(RuntimeError, match="output_size"):
        nt.to_padded_tensor(0.0, (2, 1, 4))


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_functions_go_to_each_part(parts, layout):
    nt = torch.nested.as_nested_tensor(parts, layout=layout)
    linear, norm = nn.Linear(4, 3), nn.LayerNorm(4)
    for function in (
        lambda t: t * 2 + t,
        torch.relu,
        F.gelu,
        linear,
        norm,
        lambda t: F.softmax(t, -1),
        lambda t: t.unflatten(-1, [2, 2]).flatten(-2),
        lambda t: t.mean(-1),
    ):
        assert same(function(nt), [function(p) for p in parts])
    assert same(nt.transpose(1, 2), [p.t() for p in parts])
    assert torch.allclose(nt.sum(), sum(p.sum() for p in parts))


def test_jagged(parts):
    nt = torch.nested.nested_tensor(parts, layout=torch.jagged)
    assert torch.equal(nt.values(), torch.cat(parts)) and nt.offsets().tolist() == [0, 2, 5]
    assert nt.shape[0] == 2 and nt.shape[2] == 4 and "j" in repr(nt.shape[1])
    values = torch.randn(6, 3, requires_grad=True)
    made = torch.nested.nested_tensor_from_jagged(values, torch.tensor([0, 1, 4, 6]))
    (made * made).values().sum().backward()
    assert torch.equal(values.grad, 2 * values.detach()) and [len(p) for p in made] == [1, 3, 2]
    heads = nt.unflatten(-1, [2, 2]).transpose(1, 2)
    attended = F.scaled_dot_product_attention(heads, heads, heads).transpose(1, 2).flatten(-2)
    assert attended.values().shape == (5, 4)
    rows = torch.nested.narrow(torch.arange(12.0).view(2, 6), 1, torch.tensor([0, 1]), torch.tensor([2, 3]))
    assert [r.tolist() for r in rows] == [[0, 1], [7, 8, 9]]


def test_encoder_leaves_padding_out_as_pytorch_does(parts):
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 2)
    x, hidden = torch.randn(2, 5, 4), torch.tensor([[0, 0, 0, 1, 1], [0, 0, 0, 0, 0]]).bool()
    encoder.eval()
    recorded = encoder(x, src_key_padding_mask=hidden)
    with torch.no_grad():
        packed = encoder(x, src_key_padding_mask=hidden)
        assert packed[hidden].eq(0).all() and not recorded[hidden].eq(0).any()
        torch.testing.assert_close(packed[~hidden], recorded[~hidden])
        from_left = encoder(x, src_key_padding_mask=hidden.flip(1))  # hides beginnings: nothing is left out
        assert not from_left[hidden.flip(1)].eq(0).any()
        nested = encoder(torch.nested.nested_tensor(parts))
        torch.testing.assert_close(nested[0], encoder(parts[0][None])[0])
    with pytest.warns(UserWarning, match="batch_first was not True"):
        nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2), 1)
