"""The programs: each `make(wrap, device, tiny)` returns a `Work`. They know `torch` only, whoever that is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

NAMES = ["gpt2", "resnet50", "resnet50_tf32", "tutorial"]
TITLES = {
    "gpt2": "GPT-2 124M, 1,024 tokens, bfloat16",
    "resnet50": "ResNet-50, 256 images, bfloat16",
    "resnet50_tf32": "ResNet-50, 256 images, TF32",
    "tutorial": "the tutorial's layer, float32",
}


@dataclass
class Work:
    """A training step, how much it gets through, and the floating-point operations that it takes (None: too few)."""

    step: Callable[[], Any]
    units: int
    unit: str
    operations: float | None
    precision: str
