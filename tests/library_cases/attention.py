"""`flex_attention`."""

import importlib


def case_flexible_attention(torch, see):
    flex = importlib.import_module(f"{torch.__name__}.nn.attention.flex_attention")
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 4, 40, 8) for _ in range(3))
    bias = torch.randn(4)

    def note(x):
        see([round(float(x.double().sum()), 3), round(float(x.double().abs().max()), 4), list(x.shape)])

    note(flex.flex_attention(q, k, v))
    note(flex.flex_attention(q, k, v, score_mod=lambda s, b, h, i, j: s + bias[h] * (i - j)))
    note(flex.flex_attention(q, k, v, score_mod=lambda s, b, h, i, j: torch.where(i >= j, s, -float("inf"))))
    note(flex.flex_attention(q, k[:, :2], v[:, :2], enable_gqa=True, scale=0.3))
    document = torch.arange(40) // 12

    def packed(b, h, i, j):
        return (i >= j) & (document[i] == document[j])

    mask = flex.create_block_mask(packed, None, None, 40, 40, device="cpu", BLOCK_SIZE=16)
    see(list(mask.shape), round(mask.sparsity(), 4), mask.to_dense().tolist(), mask.kv_num_blocks.tolist())
    see(mask.kv_indices.tolist(), mask.full_kv_num_blocks.tolist(), mask.full_kv_indices.tolist())
    see(flex.create_mask(packed, None, None, 40, 40, device="cpu").sum().item())
    both = flex.and_masks(packed, lambda b, h, i, j: i - j < 5)
    see(flex.create_mask(both, 2, 3, 40, 40, device="cpu").sum().item())
    either = flex.or_masks(packed, lambda b, h, i, j: j == 0)
    see(flex.create_mask(either, None, None, 40, 40, device="cpu").sum().item())
    see.error(lambda: flex.flex_attention(q, k[:, :2], v[:, :2]))
    see.error(lambda: flex.flex_attention(q[0], k[0], v[0]))


def case_masks_by_blocks(torch, see):
    flex = importlib.import_module(f"{torch.__name__}.nn.attention.flex_attention")
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 2, 256, 8) for _ in range(3))
    causal = flex.create_block_mask(lambda b, h, i, j: i >= j, None, None, 256, 256, device="cpu")
    out = flex.flex_attention(q, k, v, block_mask=causal)
    usual = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    see(torch.allclose(out, usual, atol=1e-5))
    blind = flex.create_block_mask(lambda b, h, i, j: i > 100, None, None, 256, 256, device="cpu")
    out = flex.flex_attention(q, k, v, block_mask=blind)
    see(out[:, :, :101].abs().max().item(), round(out.double().sum().item(), 3))
