"""A chain of 2,000 operations on 64 numbers, forward and backward."""

import jax
import jax.numpy as jnp

from bench.jaxed import keys


def make():
    key = keys()
    x, w, b = jax.random.normal(next(key), (64,)), *(jax.random.uniform(next(key), (64,)) for _ in range(2))

    def loss(x, w, b):
        y = x
        for _ in range(500):
            y = y * w
            y = y + b
            y = jnp.tanh(y)
            y = y * 0.5
        return y.sum()

    train = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))
    return lambda: train(x, w, b)[0]
