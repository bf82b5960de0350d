"""A small GPT; AdamW with clipped gradients."""

import jax
import jax.numpy as jnp
import optax

from bench.jaxed import apply, cross_entropy, keys, trainer

VOCABULARY = 65


def _dense(key, inputs, outputs):
    return {"w": 0.02 * jax.random.normal(key, (inputs, outputs)), "b": jnp.zeros(outputs)}


def _norm(width):
    return {"w": jnp.ones(width), "b": jnp.zeros(width)}


def _normalised(layer, x):
    mean = x.mean(-1, keepdims=True)
    var = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(var + 1e-5) * layer["w"] + layer["b"]


def build(layers, heads, width, length, batch):
    key = keys()
    blocks = [
        {
            "ln_1": _norm(width),
            "qkv": _dense(next(key), width, 3 * width),
            "proj": _dense(next(key), width, width),
            "ln_2": _norm(width),
            "up": _dense(next(key), width, 4 * width),
            "down": _dense(next(key), 4 * width, width),
        }
        for _ in range(layers)
    ]
    params = {
        "tokens": 0.02 * jax.random.normal(next(key), (VOCABULARY, width)),
        "positions": 0.02 * jax.random.normal(next(key), (length, width)),
        "blocks": blocks,
        "ln_f": _norm(width),
    }
    text = [jax.random.randint(next(key), (batch, length + 1), 0, VOCABULARY) for _ in range(8)]

    def loss(params, x, y):
        n, t = x.shape
        h = params["tokens"][x] + params["positions"][:t]
        for block in params["blocks"]:
            parts = jnp.split(apply(block["qkv"], _normalised(block["ln_1"], h)), 3, axis=-1)
            q, k, v = (part.reshape(n, t, heads, width // heads) for part in parts)
            mixed = jax.nn.dot_product_attention(q, k, v, is_causal=True)
            h = h + apply(block["proj"], mixed.reshape(n, t, width))
            inner = jax.nn.gelu(apply(block["up"], _normalised(block["ln_2"], h)), approximate=False)
            h = h + apply(block["down"], inner)
        return cross_entropy(_normalised(params["ln_f"], h) @ params["tokens"].T, y)

    decayed = jax.tree.map(lambda p: p.ndim >= 2, params)
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(1e-3, b1=0.9, b2=0.99, weight_decay=0.1, mask=decayed)
    )
    return trainer(params, loss, optimizer, [(t[:, :-1], t[:, 1:]) for t in text])


def make():
    return build(layers=4, heads=4, width=128, length=64, batch=12)
