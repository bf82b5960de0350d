"""Multi-head attention and the gradients of embeddings against PyTorch's."""

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")


def ours(value):
    if isinstance(value, torch.Tensor):
        return flambeau.tensor(value.detach().numpy()).requires_grad_(value.requires_grad)
    return value


def close(found, wanted):
    np.testing.assert_allclose(found.detach().numpy(), wanted.detach().numpy(), rtol=1e-9, atol=1e-11)


HIDE = torch.zeros(5, 7, dtype=torch.bool)
HIDE[1, 2:5] = HIDE[4, 0] = True
PADDING = torch.zeros(2, 7, dtype=torch.bool)
PADDING[0, 5:] = True
HEADS = {
    "cross": {},
    "self": {"same": True},
    "unbatched": {"batch": None},
    "no bias": {"bias": False},
    "masks": {"attn_mask": HIDE, "key_padding_mask": PADDING},
    "float mask": {"attn_mask": torch.linspace(-1, 1, 140, dtype=torch.float64).view(4, 5, 7), "kdim": 6},
    "appended": {"attn_mask": HIDE, "add_bias_kv": True, "add_zero_attn": True, "average_attn_weights": False},
    "dropout": {"dropout": 0.5},
    "causal": {"same": True, "is_causal": True, "attn_mask": torch.ones(5, 5, dtype=torch.bool).triu(1)},
}


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("name", HEADS)
def test_heads(name, need_weights):
    options = dict(HEADS[name])
    same, batch = options.pop("same", False), options.pop("batch", (2,)) or ()
    kdim = options.get("kdim", 8)
    made = {k: options.pop(k) for k in ("bias", "add_bias_kv", "add_zero_attn", "dropout", "kdim") if k in options}
    torch.manual_seed(1)
    layer = torch.nn.MultiheadAttention(8, 2, vdim=kdim if "kdim" in made else None, dtype=torch.float64, **made)
    mine = flambeau.nn.MultiheadAttention(8, 2, vdim=kdim if "kdim" in made else None, dtype=flambeau.float64, **made)
    mine.load_state_dict({k: ours(v) for k, v in layer.state_dict().items()})
    q = torch.randn(5, *batch, 8, dtype=torch.float64, requires_grad=True)
    k = q if same else torch.randn(7, *batch, kdim, dtype=torch.float64, requires_grad=True)
    my_q = ours(q)
    my_k = my_q if same else ours(k)
    torch.manual_seed(5)
    out, weights = layer(q, k, k, need_weights=need_weights, **options)
    flambeau.manual_seed(5)
    found, my_weights = mine(my_q, my_k, my_k, need_weights=need_weights, **{n: ours(v) for n, v in options.items()})
    close(found, out)
    assert (weights is None) == (my_weights is None)
    if weights is not None:
        close(my_weights, weights)
    noise = torch.randn_like(out)
    out.backward(noise)
    found.backward(ours(noise))
    close(my_q.grad, q.grad)
    close(my_k.grad, k.grad)
    for (n, p), (m, r) in zip(mine.named_parameters(), layer.named_parameters(), strict=True):
        assert n == m
        close(p.grad, r.grad)


TABLES = [{}, {"padding_idx": 2}, {"padding_idx": -1}, {"scale_grad_by_freq": True, "padding_idx": 0}]


@pytest.mark.parametrize("options", TABLES)
def test_embedding_gradients(options):
    index = torch.tensor([[1, 2, 2], [9, 0, 2]])
    table = torch.randn(10, 4, dtype=torch.float64, requires_grad=True)
    mine = ours(table)
    out = torch.nn.functional.embedding(index, table, **options)
    found = flambeau.nn.functional.embedding(ours(index), mine, **options)
    close(found, out)
    noise = torch.randn_like(out)
    close(flambeau.autograd.grad(found, mine, ours(noise))[0], torch.autograd.grad(out, table, noise)[0])


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("options", [{}, {"padding_idx": 2}, {"include_last_offset": True}])
def test_bag_gradients(mode, options):
    index, starts = torch.tensor([1, 2, 2, 9, 0, 2, 5]), torch.tensor([0, 3, 3, 5])
    table = torch.randn(10, 4, dtype=torch.float64, requires_grad=True)
    mine = ours(table)
    out = torch.nn.functional.embedding_bag(index, table, starts, mode=mode, **options)
    found = flambeau.nn.functional.embedding_bag(ours(index), mine, ours(starts), mode=mode, **options)
    close(found, out)
    noise = torch.randn_like(out)
    close(flambeau.autograd.grad(found, mine, ours(noise))[0], torch.autograd.grad(out, table, noise)[0])


def test_attention_dropout_draws_pytorchs_mask():
    q, k, v = (torch.randn(2, 3, 5, 4, dtype=torch.float64) for _ in range(3))
    torch.manual_seed(3)
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v, dropout_p=0.5)
    flambeau.manual_seed(3)
    close(flambeau.nn.functional.scaled_dot_product_attention(ours(q), ours(k), ours(v), dropout_p=0.5), out)
