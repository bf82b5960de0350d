"""A vision transformer with patches, a class token and learned positions; masked patches restored by a second one."""

import torch
from torch import einsum, nn

torch.manual_seed(21)


def pair(t):
    return t if isinstance(t, tuple) else (t, t)


class PreNorm(nn.Module):
    def __init__(self, dim, fn):
        super().__init__()
        self.norm, self.fn = nn.LayerNorm(dim), fn

    def forward(self, x, **kwargs):
        return self.fn(self.norm(x), **kwargs)


class FeedForward(nn.Sequential):
    def __init__(self, dim, hidden, dropout=0.0):
        super().__init__(
            nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim), nn.Dropout(dropout)
        )


class Attention(nn.Module):
    def __init__(self, dim, heads=2, dim_head=8, dropout=0.0):
        super().__init__()
        self.heads, self.scale = heads, dim_head**-0.5
        self.attend, self.dropout = nn.Softmax(dim=-1), nn.Dropout(dropout)
        self.to_qkv = nn.Linear(dim, heads * dim_head * 3, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * dim_head, dim), nn.Dropout(dropout))

    def forward(self, x):
        b, n, _ = x.shape
        q, k, v = (t.reshape(b, n, self.heads, -1).transpose(1, 2) for t in self.to_qkv(x).chunk(3, dim=-1))
        attn = self.dropout(self.attend(einsum("b h i d, b h j d -> b h i j", q, k) * self.scale))
        return self.to_out(einsum("b h i j, b h j d -> b h i d", attn, v).transpose(1, 2).reshape(b, n, -1))


class Transformer(nn.Module):
    def __init__(self, dim, depth, dropout=0.0):
        super().__init__()
        self.layers = nn.ModuleList([])
        for _ in range(depth):
            self.layers.append(nn.ModuleList([PreNorm(dim, Attention(dim, dropout=dropout)),
                                              PreNorm(dim, FeedForward(dim, 2 * dim, dropout))]))  # fmt: skip

    def forward(self, x):
        for attn, ff in self.layers:
            x = attn(x) + x
            x = ff(x) + x
        return x


class ViT(nn.Module):
    def __init__(self, *, image_size, patch_size, num_classes, dim, depth, pool="cls", channels=3, dropout=0.1):
        super().__init__()
        self.patch, self.pool = pair(patch_size), pool
        count = (pair(image_size)[0] // self.patch[0]) * (pair(image_size)[1] // self.patch[1])
        self.to_patch_embedding = nn.Linear(channels * self.patch[0] * self.patch[1], dim)
        self.pos_embedding = nn.Parameter(torch.randn(1, count + 1, dim))
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim))
        self.dropout, self.transformer = nn.Dropout(dropout), Transformer(dim, depth, dropout)
        self.mlp_head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, num_classes))

    def patches(self, img):
        b, c, h, w = img.shape
        p, q = self.patch
        return img.reshape(b, c, h // p, p, w // q, q).permute(0, 2, 4, 3, 5, 1).reshape(b, -1, p * q * c)

    def forward(self, img):
        x = self.to_patch_embedding(self.patches(img))
        x = torch.cat((self.cls_token.expand(len(x), -1, -1), x), dim=1)
        x = self.transformer(self.dropout(x + self.pos_embedding[:, : x.shape[1]]))
        return self.mlp_head(x.mean(dim=1) if self.pool == "mean" else x[:, 0])


labels = torch.arange(24) % 3
images = torch.randn(3, 3, 12, 12)[labels] + torch.randn(24, 3, 12, 12)
for pool in ("cls", "mean"):
    v = ViT(image_size=12, patch_size=(4, 3), num_classes=3, dim=16, depth=2, pool=pool)
    optimizer = torch.optim.AdamW(v.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=8)
    for step in range(8):
        loss = nn.functional.cross_entropy(v(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 2 == 0:
            print(f"{pool} step {step} loss {loss.item():.4f} lr {schedule.get_last_lr()[0]:.6f}")
    v.eval()
    print(v(images).argmax(1).eq(labels).sum().item(), "of 24")

layer = nn.TransformerEncoderLayer(16, 2, 24, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
decoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
mask_token, to_pixels = nn.Parameter(torch.zeros(16)), nn.Linear(16, 36)
optimizer = torch.optim.Adam([mask_token, *decoder.parameters(), *to_pixels.parameters()], lr=2e-3)
patches = v.patches(images)
for step in range(4):
    hidden = torch.rand(24, patches.shape[1]).argsort(dim=-1)[:, :6]
    rows = torch.arange(24)[:, None]
    tokens = v.to_patch_embedding(patches).detach().clone()
    tokens[rows, hidden] = mask_token.to(tokens.dtype)
    guess = to_pixels(decoder(tokens)[rows, hidden])
    loss = nn.functional.mse_loss(guess, patches[rows, hidden])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"masked step {step} loss {loss.item():.4f} token {mask_token.norm().item():.4f}")
