"""GPT-2 124M (Radford et al. 2019): 12 layers, 12 heads, width 768, 1,024 tokens; AdamW, autocast to bfloat16."""

import itertools

import torch
from torch import nn
from torch.nn import functional as F

from bench.gpu.workloads import Work


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        batch, length, width = x.size()
        shape = (batch, length, self.heads, width // self.heads)
        q, k, v = (t.view(shape).transpose(1, 2) for t in self.qkv(x).split(width, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.proj(y.transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln_1, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        x = x + self.attention(self.ln_1(x))
        return x + self.down(F.gelu(self.up(self.ln_2(x)), approximate="tanh"))


class GPT2(nn.Module):
    def __init__(self, vocabulary, layers, heads, width, length):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(layers)])
        self.ln_f = nn.LayerNorm(width)
        self.register_buffer("places", torch.arange(length), persistent=False)
        self.apply(self._init)

    def _init(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)

    def forward(self, tokens, targets):
        x = self.tokens(tokens) + self.positions(self.places[: tokens.size(1)])
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.ln_f(x), self.tokens.weight)
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.reshape(-1))


def make(wrap, device, tiny):
    torch.manual_seed(0)
    # the vocabulary is padded to a multiple of 128, as everybody does
    vocabulary, layers, heads, width, length, batch = (50304, 12, 12, 768, 1024, 16)
    if tiny:
        vocabulary, layers, heads, width, length, batch = (128, 2, 2, 32, 16, 2)
    model = GPT2(vocabulary, layers, heads, width, length).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1)
    text = [torch.randint(0, vocabulary, (batch, length + 1)) for _ in range(4)]
    batches = itertools.cycle([(t[:, :-1].contiguous().to(device), t[:, 1:].contiguous().to(device)) for t in text])

    def train(tokens, targets):
        optimizer.zero_grad()
        with torch.autocast(device_type=device, dtype=torch.bfloat16):
            loss = model(tokens, targets)
        loss.backward()
        optimizer.step()
        return loss

    train = wrap(train)
    # forward 2 and backward 4 operations per weight and token, and the two products of attention
    weights = sum(p.numel() for p in model.parameters()) - model.positions.weight.numel()
    per_token = 6 * weights + 12 * layers * width * length
    return Work(lambda: train(*next(batches)), batch * length, "tokens", per_token * batch * length, "bfloat16")
