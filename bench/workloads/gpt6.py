"""A GPT of 6 layers, 6 heads, width 384, 256 tokens, batches of 8; otherwise as the small one."""

from bench.workloads.gpt import build


def make(wrap=lambda train: train):
    return build(wrap, layers=6, heads=6, width=384, length=256, batch=8)
