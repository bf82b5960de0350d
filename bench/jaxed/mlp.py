"""A multilayer perceptron, 784-128-64-10."""

import jax
import optax

from bench.jaxed import apply, cross_entropy, dense, keys, trainer


def make(widths=(784, 128, 64, 10), batch=64):
    key = keys()
    params = [dense(next(key), a, b) for a, b in zip(widths, widths[1:])]
    batches = [
        (jax.random.uniform(next(key), (batch, widths[0])), jax.random.randint(next(key), (batch,), 0, widths[-1]))
        for _ in range(8)
    ]

    def loss(params, x, y):
        for layer in params[:-1]:
            x = jax.nn.relu(apply(layer, x))
        return cross_entropy(apply(params[-1], x), y)

    return trainer(params, loss, optax.adam(1e-3), batches)
