"""A GPT of 6 layers."""

from bench.jaxed.gpt import build


def make():
    return build(layers=6, heads=6, width=384, length=256, batch=8)
