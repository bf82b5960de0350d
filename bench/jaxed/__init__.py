"""The workloads once more in plain JAX and optax: same shapes, type and optimizer, the whole step under `jax.jit`.

``make()`` returns a step, as in `bench.workloads`. Images are in the order that JAX programs use, channels last.
"""

from __future__ import annotations

import functools
import itertools

import jax
import optax


def trainer(params, loss, optimizer, batches, kept=None):
    """A step that trains on the next batch. `loss(params, *batch)`; with `kept`, `loss(params, kept, *batch)` returns
    what is kept for the next step, too."""
    state = optimizer.init(params)
    batches = itertools.cycle(batches)

    @functools.partial(jax.jit, donate_argnums=(0, 1, 2))
    def train(params, state, kept, *batch):
        if kept is None:
            value, grads = jax.value_and_grad(loss)(params, *batch)
        else:
            (value, kept), grads = jax.value_and_grad(loss, has_aux=True)(params, kept, *batch)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, kept, value

    def step():
        nonlocal params, state, kept
        params, state, kept, value = train(params, state, kept, *next(batches))
        return value

    return step


def keys(seed=0):
    """Fresh keys, one after the other."""
    key = jax.random.key(seed)
    while True:
        key, fresh = jax.random.split(key)
        yield fresh


def dense(key, inputs, outputs):
    """Weight and bias as PyTorch starts them."""
    bound = inputs**-0.5
    a, b = jax.random.split(key)
    return {
        "w": jax.random.uniform(a, (inputs, outputs), minval=-bound, maxval=bound),
        "b": jax.random.uniform(b, (outputs,), minval=-bound, maxval=bound),
    }


def apply(layer, x):
    """A dense layer's product."""
    return x @ layer["w"] + layer["b"]


def cross_entropy(logits, targets):
    """The mean over all targets."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()
