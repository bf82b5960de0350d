"""A character LSTM: the input's products for all steps at once, then a scan."""

import jax
import jax.numpy as jnp
import optax
from jax import lax

from bench.jaxed import apply, cross_entropy, dense, keys, trainer

VOCABULARY, LENGTH, BATCH = 65, 64, 16


def make(hidden=128, width=64):
    key = keys()
    params = {
        "embedding": jax.random.normal(next(key), (VOCABULARY, width)),
        "input": dense(next(key), width, 4 * hidden),
        "state": dense(next(key), hidden, 4 * hidden),
        "head": dense(next(key), hidden, VOCABULARY),
    }
    text = [jax.random.randint(next(key), (BATCH, LENGTH + 1), 0, VOCABULARY) for _ in range(8)]

    def loss(params, x, y):
        products = apply(params["input"], params["embedding"][x.T])

        def cell(carry, product):
            h, c = carry
            i, f, g, o = jnp.split(product + apply(params["state"], h), 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        start = jnp.zeros((x.shape[0], hidden))
        _, states = lax.scan(cell, (start, start), products)
        return cross_entropy(apply(params["head"], states), y.T)

    return trainer(params, loss, optax.adam(2e-3), [(t[:, :-1], t[:, 1:]) for t in text])
