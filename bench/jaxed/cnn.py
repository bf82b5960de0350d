"""A small convolutional network."""

import jax
import jax.numpy as jnp
import optax
from jax import lax

from bench.jaxed import apply, cross_entropy, dense, keys, trainer


def conv(layer, x, stride=1):
    """A convolution with weights (height, width, in, out), padded to keep the size, plus the bias if there is one."""
    side = layer["w"].shape[0] // 2
    pads = [(side, side)] * 2
    y = lax.conv_general_dilated(x, layer["w"], (stride, stride), pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return y + layer["b"] if "b" in layer else y


def conv_layer(key, inputs, outputs, side, bias=True):
    """Weights as PyTorch starts them."""
    bound = (inputs * side * side) ** -0.5
    layer = {"w": jax.random.uniform(key, (side, side, inputs, outputs), minval=-bound, maxval=bound)}
    return {**layer, "b": jnp.zeros(outputs)} if bias else layer


def pool(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def make():
    key = keys()
    params = {
        "conv1": conv_layer(next(key), 1, 16, 3),
        "conv2": conv_layer(next(key), 16, 32, 3),
        "fc": dense(next(key), 32 * 7 * 7, 10),
    }
    batches = [
        (jax.random.normal(next(key), (32, 28, 28, 1)), jax.random.randint(next(key), (32,), 0, 10)) for _ in range(8)
    ]

    def loss(params, x, y):
        x = pool(jax.nn.relu(conv(params["conv1"], x)))
        x = pool(jax.nn.relu(conv(params["conv2"], x)))
        return cross_entropy(apply(params["fc"], x.reshape(len(x), -1)), y)

    return trainer(params, loss, optax.sgd(0.01, momentum=0.9), batches)
