"""Noise turned into images by a small U-Net: schedules, predicted noise, a moving average of weights, two samplers."""

import copy
import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(17)


class SinusoidalPosEmb(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        half = self.dim // 2
        emb = torch.exp(torch.arange(half, device=x.device) * -(math.log(10000) / (half - 1)))
        emb = x[:, None] * emb[None, :]
        return torch.cat((emb.sin(), emb.cos()), dim=-1)


class ResnetBlock(nn.Module):
    def __init__(self, dim, dim_out, time_dim):
        super().__init__()
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(time_dim, dim_out * 2))
        self.block1, self.block2 = nn.Conv2d(dim, dim_out, 3, padding=1), nn.Conv2d(dim_out, dim_out, 3, padding=1)
        self.norm1, self.norm2 = nn.GroupNorm(4, dim_out), nn.GroupNorm(4, dim_out)
        self.res_conv = nn.Conv2d(dim, dim_out, 1) if dim != dim_out else nn.Identity()

    def forward(self, x, t):
        scale, shift = self.mlp(t)[:, :, None, None].chunk(2, dim=1)
        h = F.silu(self.norm1(self.block1(x)) * (scale + 1) + shift)
        return F.silu(self.norm2(self.block2(h))) + self.res_conv(x)


class LinearAttention(nn.Module):
    def __init__(self, dim, heads=2, dim_head=4):
        super().__init__()
        self.scale, self.heads = dim_head**-0.5, heads
        self.to_qkv = nn.Conv2d(dim, heads * dim_head * 3, 1, bias=False)
        self.to_out = nn.Conv2d(heads * dim_head, dim, 1)

    def forward(self, x):
        b, _, h, w = x.shape
        q, k, v = (t.reshape(b, self.heads, -1, h * w) for t in self.to_qkv(x).chunk(3, dim=1))
        q, k = q.softmax(dim=-2) * self.scale, k.softmax(dim=-1)
        context = torch.einsum("b h d n, b h e n -> b h d e", k, v)
        return self.to_out(torch.einsum("b h d e, b h d n -> b h e n", context, q).reshape(b, -1, h, w)) + x


class Unet(nn.Module):
    def __init__(self, dim=8):
        super().__init__()
        self.init_conv = nn.Conv2d(1, dim, 5, padding=2)
        self.time_mlp = nn.Sequential(SinusoidalPosEmb(dim), nn.Linear(dim, 16), nn.GELU(), nn.Linear(16, 16))
        block = partial(ResnetBlock, time_dim=16)
        self.down1, self.attn, self.shrink = block(dim, dim), LinearAttention(dim), nn.Conv2d(dim, 16, 4, 2, 1)
        self.mid = block(16, 16)
        self.grow = nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(16, dim, 3, padding=1))
        self.up1, self.final = block(2 * dim, dim), nn.Conv2d(dim, 1, 1)

    def forward(self, x, time):
        t = self.time_mlp(time)
        h = self.attn(self.down1(self.init_conv(x), t))
        x = self.grow(self.mid(self.shrink(h), t))
        return self.final(self.up1(torch.cat((x, h), dim=1), t))


def cosine_beta_schedule(timesteps, s=0.008):
    t = torch.linspace(0, timesteps, timesteps + 1, dtype=torch.float64) / timesteps
    alphas = torch.cos((t + s) / (1 + s) * math.pi * 0.5) ** 2
    alphas = alphas / alphas[0]
    return torch.clip(1 - (alphas[1:] / alphas[:-1]), 0, 0.999)


def extract(a, t, x_shape):
    return a.gather(-1, t).reshape(len(t), *((1,) * (len(x_shape) - 1)))


class Diffusion(nn.Module):
    def __init__(self, model, timesteps=12):
        super().__init__()
        self.model, self.steps = model, timesteps
        betas = cosine_beta_schedule(timesteps)
        cumulative = torch.cumprod(1.0 - betas, dim=0)
        before = F.pad(cumulative[:-1], (1, 0), value=1.0)
        keep = lambda name, val: self.register_buffer(name, val.to(torch.float32))  # noqa: E731
        keep("betas", betas)
        keep("cumulative", cumulative)
        keep("root", torch.sqrt(cumulative))
        keep("root_one_minus", torch.sqrt(1.0 - cumulative))
        keep("variance", betas * (1.0 - before) / (1.0 - cumulative))
        snr = cumulative / (1 - cumulative)
        keep("weight", snr.clone().clamp_(max=5) / snr)

    def forward(self, img):
        t = torch.randint(0, self.steps, (img.shape[0],)).long()
        noise = torch.randn_like(img)
        x = extract(self.root, t, img.shape) * img + extract(self.root_one_minus, t, img.shape) * noise
        loss = F.mse_loss(self.model(x, t), noise, reduction="none").flatten(1).mean(1)
        return (loss * extract(self.weight, t, loss.shape)).mean()

    @torch.inference_mode()
    def sample(self, shape, ddim=False):
        img = torch.randn(shape)
        for i in reversed(range(self.steps)):
            t = torch.full((shape[0],), i, dtype=torch.long)
            noise = self.model(img, t)
            start = ((img - self.root_one_minus[i] * noise) / self.root[i]).clamp_(-1.0, 1.0)
            if i == 0:
                return start
            a, before = self.cumulative[i], self.cumulative[i - 1]
            if ddim:
                img = start * before.sqrt() + (1 - before).sqrt() * noise
            else:
                mean = start * self.betas[i] * before.sqrt() / (1 - a)
                mean = mean + img * (1 - before) * (1 - self.betas[i]).sqrt() / (1 - a)
                img = mean + self.variance[i].sqrt() * torch.randn_like(img)
        return img


class EMA:
    def __init__(self, model, decay):
        self.model, self.decay = copy.deepcopy(model).requires_grad_(False), decay

    @torch.no_grad()
    def update(self, model):
        for ours, theirs in zip(self.model.parameters(), model.parameters()):
            ours.data.lerp_(theirs.data, 1.0 - self.decay)


grid = torch.linspace(-1, 1, 8)
images = torch.sin(3 * grid + torch.rand(32, 1, 1, 1) * 6) * torch.cos(3 * grid[:, None])
diffusion = Diffusion(Unet())
ema = EMA(diffusion, 0.9)
optimizer = torch.optim.Adam(diffusion.parameters(), lr=2e-3, betas=(0.9, 0.99))
for step in range(8):
    total = 0.0
    for part in images[torch.randperm(32)[:16]].chunk(2):
        loss = diffusion(part) / 2
        total += loss.item()
        loss.backward()
    torch.nn.utils.clip_grad_norm_(diffusion.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    ema.update(diffusion)
    if step % 2 == 0:
        print(f"step {step} loss {total:.4f}")
print(f"moving average {sum(p.abs().sum().item() for p in ema.model.parameters()):.3f}")
for ddim in (False, True):
    made = ema.model.sample((2, 1, 8, 8), ddim)
    print(f"sample {tuple(made.shape)} mean {made.mean().item():.4f} size {made.abs().mean().item():.4f}")
