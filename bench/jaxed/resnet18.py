"""ResNet-18 for images of 32x32, with batch norm's running statistics kept from step to step."""

import jax
import jax.numpy as jnp
import optax

from bench.jaxed import apply, cross_entropy, dense, keys, trainer
from bench.jaxed.cnn import conv, conv_layer


def _norm(channels):
    return {"w": jnp.ones(channels), "b": jnp.zeros(channels)}


def _statistics(channels):
    return {"mean": jnp.zeros(channels), "var": jnp.ones(channels)}


def _normalised(layer, kept, x):
    mean = x.mean((0, 1, 2))
    var = ((x - mean) ** 2).mean((0, 1, 2))
    count = x.size // x.shape[-1]
    new = {
        "mean": 0.9 * kept["mean"] + 0.1 * mean,
        "var": 0.9 * kept["var"] + 0.1 * var * (count / (count - 1)),
    }
    return (x - mean) * jax.lax.rsqrt(var + 1e-5) * layer["w"] + layer["b"], new


def _plan():
    inputs = 64
    for outputs, stride in [(64, 1), (128, 2), (256, 2), (512, 2)]:
        yield inputs, outputs, stride
        yield outputs, outputs, 1
        inputs = outputs


def make():
    key = keys()
    params = {
        "stem": conv_layer(next(key), 3, 64, 3, False),
        "bn": _norm(64),
        "fc": dense(next(key), 512, 10),
        "blocks": [],
    }
    kept = {"bn": _statistics(64), "blocks": []}
    for inputs, outputs, stride in _plan():
        block = {
            "conv1": conv_layer(next(key), inputs, outputs, 3, False),
            "bn1": _norm(outputs),
            "conv2": conv_layer(next(key), outputs, outputs, 3, False),
            "bn2": _norm(outputs),
        }
        statistics = {"bn1": _statistics(outputs), "bn2": _statistics(outputs)}
        if stride != 1 or inputs != outputs:
            block |= {"short": conv_layer(next(key), inputs, outputs, 1, False), "bn3": _norm(outputs)}
            statistics["bn3"] = _statistics(outputs)
        params["blocks"].append(block)
        kept["blocks"].append(statistics)
    batches = [
        (jax.random.normal(next(key), (32, 32, 32, 3)), jax.random.randint(next(key), (32,), 0, 10)) for _ in range(4)
    ]

    def loss(params, kept, x, y):
        new = {"blocks": []}
        x, new["bn"] = _normalised(params["bn"], kept["bn"], conv(params["stem"], x))
        x = jax.nn.relu(x)
        for block, before, (_, _, stride) in zip(params["blocks"], kept["blocks"], _plan()):
            after = {}
            h, after["bn1"] = _normalised(block["bn1"], before["bn1"], conv(block["conv1"], x, stride))
            h, after["bn2"] = _normalised(block["bn2"], before["bn2"], conv(block["conv2"], jax.nn.relu(h)))
            if "short" in block:
                x, after["bn3"] = _normalised(block["bn3"], before["bn3"], conv(block["short"], x, stride))
            x = jax.nn.relu(h + x)
            new["blocks"].append(after)
        return cross_entropy(apply(params["fc"], x.mean((1, 2))), y), new

    optimizer = optax.chain(optax.add_decayed_weights(5e-4), optax.sgd(1e-4, momentum=0.9))
    return trainer(params, loss, optimizer, batches, kept)
