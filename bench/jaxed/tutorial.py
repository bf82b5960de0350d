"""The tutorial's training step."""

import jax
import jax.numpy as jnp
import optax

from bench.jaxed import keys, trainer


def make():
    key = keys()
    params = {"w": jax.random.uniform(next(key), (5, 3)), "b": jax.random.uniform(next(key), (5,))}
    batch = jax.random.normal(next(key), (10, 5)), jax.random.normal(next(key), (10, 3))

    def loss(params, x, y):
        return jnp.sum((jnp.sqrt(x**2 + params["b"]) @ params["w"] - y) ** 2)

    return trainer(params, loss, optax.adam(1e-4), [batch])
