"""Attention in blocks against the formula, and embeddings: what the op table cannot ask."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau as torch
from flambeau.engines.native import attention as native
from flambeau.nn import functional as F


def formula(q, k, v, mask=None, causal=False, scale=None):
    scores = q @ np.swapaxes(k, -1, -2) * (scale or 1 / math.sqrt(q.shape[-1]))
    if causal:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -np.inf)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    with np.errstate(invalid="ignore"):
        p = np.exp(scores - scores.max(-1, keepdims=True))
        p = np.nan_to_num(p / p.sum(-1, keepdims=True))
    return p @ v


@pytest.mark.parametrize("rows, columns", [(7, 7), (64, 64), (300, 500), (500, 300), (600, 600)])
@pytest.mark.parametrize("how", ["plain", "causal", "bool", "float", "large"])
def test_formula(rows, columns, how):
    rng = np.random.default_rng(rows)
    q, k, v = (rng.standard_normal((2, 3, n, 8)) for n in (rows, columns, columns))
    mask = None
    if how == "bool":
        mask = rng.random((2, 1, rows, columns)) < 0.6
        mask[:, :, 1] = False
    elif how == "float":
        mask = rng.standard_normal((rows, columns))
    elif how == "large":
        q, k = q * 40, k * 40
    options = {"is_causal": True} if how == "causal" else {}
    found = F.scaled_dot_product_attention(
        *(torch.tensor(a) for a in (q, k, v)), attn_mask=None if mask is None else torch.tensor(mask), **options
    )
    np.testing.assert_allclose(found.numpy(), formula(q, k, v, mask, how == "causal"), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("rows, columns", [(64, 64), (260, 300), (600, 600)])
def test_gradients_of_blocks(rows, columns, causal):
    """Backward makes probabilities anew block by block; by ordinary operations it is the same."""
    rng = np.random.default_rng(columns)
    arrays = [rng.standard_normal((2, 2, n, 6)) for n in (rows, columns, columns)]
    noise = torch.tensor(rng.standard_normal((2, 2, rows, 6)))
    grads = []
    for fused in (True, False):
        q, k, v = (torch.tensor(a, requires_grad=True) for a in arrays)
        if fused:
            out = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        else:
            scores = q @ k.transpose(-1, -2) / math.sqrt(6)
            if causal:
                scores = scores.masked_fill(torch.tensor(~np.tri(rows, columns, dtype=bool)), -math.inf)
            out = scores.softmax(-1) @ v
        (out * noise).sum().backward()
        grads.append([t.grad.numpy() for t in (q, k, v)])
    for a, b in zip(*grads):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-11)


def test_result_is_laid_out_for_joining_heads():
    out = F.scaled_dot_product_attention(*(torch.randn(2, 3, 5, 4) for _ in range(3)))
    assert out.transpose(1, 2).is_contiguous()


def test_mask_gets_a_gradient():
    mask = torch.zeros(3, 3, requires_grad=True)
    q, k, v = (torch.randn(2, 3, 4) for _ in range(3))
    F.scaled_dot_product_attention(q, k, v, attn_mask=mask).square().sum().backward()
    assert mask.grad.shape == (3, 3) and mask.grad.abs().sum().item() > 0


def test_dropout_of_attention():
    q, k = torch.zeros(4, 50, 8), torch.zeros(4, 60, 8)
    torch.manual_seed(0)
    out = F.scaled_dot_product_attention(q, k, torch.ones(4, 60, 1), dropout_p=0.5)
    assert 0.9 < out.mean().item() < 1.1 and out.std().item() > 0


BAD = {
    "widths": lambda: F.scaled_dot_product_attention(torch.ones(2, 3), torch.ones(2, 4), torch.ones(2, 3)),
    "dtypes": lambda: F.scaled_dot_product_attention(torch.ones(2, 3), torch.ones(2, 3).double(), torch.ones(2, 3)),
    "dimensions": lambda: F.scaled_dot_product_attention(torch.ones(3), torch.ones(2, 3), torch.ones(2, 3)),
    "both masks": lambda: F.scaled_dot_product_attention(
        *[torch.ones(2, 3)] * 3, attn_mask=torch.ones(2, 2).bool(), is_causal=True
    ),
    "mask dtype": lambda: F.scaled_dot_product_attention(*[torch.ones(2, 3)] * 3, attn_mask=torch.ones(2, 2).long()),
}


@pytest.mark.parametrize("name", BAD)
def test_attention_errors(name):
    with pytest.raises(RuntimeError):
        BAD[name]()


# --- embeddings -----------------------------------------------------------------------------------------------------


def rows_gradient(index, **options):
    table = torch.ones(5, 2, requires_grad=True)
    F.embedding(torch.tensor(index), table, **options).sum().backward()
    return table.grad[:, 0].tolist()


def test_gradient_of_rows():
    assert rows_gradient([1, 1, 3]) == [0, 2, 0, 1, 0]
    assert rows_gradient([1, 1, 3], padding_idx=1) == [0, 0, 0, 1, 0]
    assert rows_gradient([1, 1, 3], padding_idx=-2) == [0, 2, 0, 0, 0]
    assert rows_gradient([1, 1, 3], scale_grad_by_freq=True) == [0, 1, 0, 1, 0]


@pytest.mark.parametrize("rows, count", [(40, 30), (5000, 3000)])
def test_gradient_by_product_and_by_sorting(rows, count):
    rng = np.random.default_rng(0)
    index, g = rng.integers(0, rows, count), rng.standard_normal((count, 3))
    table = torch.zeros(rows, 3, dtype=torch.float64, requires_grad=True)
    (F.embedding(torch.tensor(index), table) * torch.tensor(g)).sum().backward()
    want = np.zeros((rows, 3))
    np.add.at(want, index, g)
    np.testing.assert_allclose(table.grad.numpy(), want, atol=1e-12)


def test_renormalisation_is_in_place():
    table = torch.tensor([[3.0, 4.0], [0.3, 0.4], [30.0, 40.0]])
    version = table._version
    out = F.embedding(torch.tensor([0, 1]), table, max_norm=1.0)
    np.testing.assert_allclose(out.numpy(), [[0.6, 0.8], [0.3, 0.4]], rtol=1e-6)
    assert table[2].tolist() == [30.0, 40.0] and table._version > version


def test_bags():
    table = torch.tensor([[1.0], [2.0], [4.0]])
    flat, starts = torch.tensor([0, 1, 2, 2]), torch.tensor([0, 3, 3])
    for mode, want in (("sum", [7, 0, 4]), ("mean", [7 / 3, 0, 4]), ("max", [4, 0, 4])):
        found = F.embedding_bag(flat, table, starts, mode=mode)
        np.testing.assert_allclose(found.flatten().numpy(), want, rtol=1e-6)
    weighed = F.embedding_bag(flat, table, starts, mode="sum", per_sample_weights=torch.tensor([1.0, 0.5, 2.0, 1.0]))
    assert weighed.flatten().tolist() == [10.0, 0.0, 4.0]
    assert F.embedding_bag(flat, table, starts, mode="mean", padding_idx=2).flatten().tolist() == [1.5, 0.0, 0.0]


TABLE = torch.ones(3, 2)
BAD_TABLES = {
    "index": (IndexError, lambda: F.embedding(torch.tensor([3]), TABLE)),
    "negative": (IndexError, lambda: F.embedding(torch.tensor([-1]), TABLE)),
    "floats": (RuntimeError, lambda: F.embedding(torch.ones(1), TABLE)),
    "padding": (AssertionError, lambda: F.embedding(torch.tensor([1]), TABLE, padding_idx=7)),
    "bag mode": (ValueError, lambda: F.embedding_bag(torch.tensor([[1]]), TABLE, mode="median")),
    "bag offsets": (ValueError, lambda: F.embedding_bag(torch.tensor([1]), TABLE)),
    "bag both": (ValueError, lambda: F.embedding_bag(torch.tensor([[1]]), TABLE, torch.tensor([0]))),
    "bag weights": (
        NotImplementedError,
        lambda: F.embedding_bag(torch.tensor([[1]]), TABLE, per_sample_weights=torch.ones(1, 1)),
    ),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_embedding_errors(name):
    error, call = BAD_TABLES[name]
    with pytest.raises(error):
        call()


def test_an_infinite_gradient_stays_in_its_row():
    table = torch.zeros(3, 2, requires_grad=True)
    gradient = torch.tensor([[1.0, 2.0], [float("inf"), float("nan")], [3.0, 4.0]])
    torch.nn.functional.embedding(torch.tensor([0, 1, 0]), table).backward(gradient)
    assert table.grad[0].tolist() == [4.0, 6.0]
    assert table.grad[2].tolist() == [0.0, 0.0]
    assert table.grad[1, 0].item() == float("inf")
    assert table.grad[1, 1].isnan().item()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_keys_that_no_query_sees_get_zeros(dtype):
    """Causal attention of fewer queries than keys: the gradients of the later keys and values are exactly zero."""
    q, k, v = (torch.randn(2, 2, n, 8, dtype=getattr(torch, dtype)).requires_grad_() for n in (3, 6, 6))
    for _ in range(3):  # memory that was used before
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        _, gk, gv = torch.autograd.grad(out, [q, k, v], torch.ones_like(out))
        assert not gk[:, :, 3:].any() and not gv[:, :, 3:].any()
        assert gk[:, :, :3].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(
    st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 150), st.integers(1, 150), st.integers(1, 20)),
    st.integers(1, 20),
    st.booleans(),
    st.sampled_from([None, (0, 0, 0, 0), (1, 1, 1, 1), (1, 0, 1, 1), (0, 1, 0, 1), (1, 1, 1, 0)]),
    st.sampled_from([0.3, -0.7, 0.0]),
    st.integers(0, 2**31),
)
@settings(max_examples=25, deadline=None)
def test_native_attention_is_the_formula(dtype, sizes, width, causal, masked, scale, seed):
    batch, heads, rows, columns, features = sizes
    rng = np.random.default_rng(seed)

    def draw(*shape):  # heads side by side, as models have them
        return rng.standard_normal((shape[0], shape[2], shape[1], shape[3])).astype(dtype).swapaxes(1, 2)

    q, keys = draw(batch, heads, rows, features), draw(batch, heads, columns, features)
    values, g = draw(batch, heads, columns, width), draw(batch, heads, rows, width)
    mask = None
    if masked is not None:
        full = (batch, heads, rows, columns)
        mask = rng.standard_normal([n if own else 1 for n, own in zip(full, masked, strict=True)]).astype(dtype)
        mask[rng.random(mask.shape) < 0.2] = -np.inf
    scores = q @ keys.swapaxes(2, 3) * scale
    if mask is not None:
        scores = scores + mask
    if causal:
        scores = np.where(np.tri(rows, columns, dtype=bool), scores, -np.inf)
    e = np.exp(scores - np.where(np.isinf(m := scores.max(3, keepdims=True)), 0, m))
    total = e.sum(3, keepdims=True)
    p = e / np.where(total == 0, np.inf, total)
    out = np.empty_like(g)
    if not native.fits(q, keys, values):
        pytest.skip("no native kernels here")
    rest = native.attend(q, keys, values, mask, causal, scale, out)
    close = dict(rtol=2e-4, atol=2e-5) if dtype == np.float32 else dict(rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(out, p @ values, **close)
    grads = tuple(np.full_like(a, np.nan) for a in (q, keys, values))
    native.attend_backward(g, q, keys, values, out, rest, mask, causal, scale, grads)
    d = g @ values.swapaxes(2, 3)
    slope = p * (d - (d * p).sum(3, keepdims=True)) * scale
    expected = slope @ keys, slope.swapaxes(2, 3) @ q, p.swapaxes(2, 3) @ g
    for mine, right in zip(grads, expected, strict=True):
        np.testing.assert_allclose(mine, right, **close)


@pytest.mark.parametrize("cut", ["split", "chunk", "narrow", "turned"])
def test_gradients_of_one_projection_need_no_joining(cut):
    """Queries, keys and values of one product: their gradients are made side by side, and are the same as apart."""
    torch.manual_seed(3)
    batch, length, heads, width = 3, 20, 4, 32
    x = torch.randn(batch, length, 3 * width, requires_grad=True)

    def parts():
        if cut == "split":
            return x.split(width, dim=2)
        if cut == "chunk":
            return x.chunk(3, dim=2)
        if cut == "narrow":
            return tuple(x.narrow(2, i * width, width) for i in range(3))
        return x.split(width, dim=2)[::-1]

    def step():
        q, k, v = (t.view(batch, length, heads, -1).transpose(1, 2) for t in parts())
        (F.scaled_dot_product_attention(q, k, v, is_causal=True).square().sum() + (k * 2).sum()).backward()

    def plain():
        q, k, v = (t.contiguous().view(batch, length, heads, -1).transpose(1, 2) for t in parts())
        (F.scaled_dot_product_attention(q, k, v, is_causal=True).square().sum() + (k * 2).sum()).backward()

    plain()
    expected = x.grad
    x.grad = None
    step()
    torch.testing.assert_close(x.grad, expected)


def test_a_compiled_step_sees_infinities_that_come_later():
    """With three dimensions PyTorch multiplies by all weights: an infinity shows, however well hidden."""

    def step(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    compiled = torch.compile(step)
    q, k, v = (torch.randn(4, 64, 32) for _ in range(3))
    for hidden in (0.0, 0.0, 0.0, 0.0, float("inf"), 1.0):
        v[0, 63, 1] = hidden
        np.testing.assert_array_equal(compiled(q, k, v).numpy(), step(q, k, v).numpy())
