"""Gradients at the edges: operands made of 0, -0, 1, -1, infinities, NaN, subnormal numbers and equal numbers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.testing._internal.opinfo.core import BinaryUfuncInfo, SampleInput, UnaryUfuncInfo

from . import scope

TINY = 5e-324
FINITE = (0.0, 1.0, -1.0, -0.0, 0.0, 0.5, 1.0, -0.5, TINY, -TINY, 2.0, 0.25, 1e-310, -2.0, 3.0, -0.0)
EVERY = (0.0, -0.0, 1.0, -1.0, float("inf"), -float("inf"), float("nan"), TINY, -TINY, 1e-310, 0.5, -0.5, 2.0, -3.0)
#: Operators whose results at such operands are noise, or whose gradient goes to any of equal elements.
NOISE = set(
    "svd svd_lowrank pca_lowrank qr lu lu_solve lu_unpack cholesky cholesky_inverse cholesky_solve inverse pinverse "
    "logdet ormqr matrix_exp stft istft nn.functional.ctc_loss nn.functional.grid_sample grid_sampler_2d "
    "grid_sampler_3d triangular_solve msort".split()
)


def samples(entry: Any, draw: Callable[[], list[Any]]) -> Iterator[tuple[str, Any]]:
    """Named samples of an entry that are made of such numbers; `draw` gives its ordinary ones, which need gradients."""
    if entry.name in scope.TIES or entry.name in NOISE or entry.name.startswith(("linalg.", "fft.")):
        return
    if isinstance(entry, UnaryUfuncInfo):
        yield "all", SampleInput(_line(EVERY))
        yield "none", SampleInput(_line(()))
    elif isinstance(entry, BinaryUfuncInfo):
        pairs = list(itertools.product(EVERY, EVERY))
        left, right = _line([a for a, _ in pairs]), _line([b for _, b in pairs])
        yield "all pairs", SampleInput(left, args=(right,))
        yield "none", SampleInput(_line(()), args=(_line(()),))
    else:
        for i, sample in scope.thin(draw(), 4):
            yield f"finite {i}", _filled(sample, FINITE)
            yield f"any {i}", _filled(sample, EVERY)


def _line(numbers: Any) -> torch.Tensor:
    return torch.tensor(list(numbers), dtype=torch.float64, requires_grad=True)


def _filled(sample: Any, numbers: tuple[float, ...]) -> Any:
    """The sample, whose operands that need gradients consist of these numbers, over and over."""
    shift = itertools.count(0, 5)

    def fill(t: Any) -> Any:
        if not isinstance(t, torch.Tensor) or not t.requires_grad or t.dtype != torch.float64:
            return t
        start = next(shift)
        line = [numbers[(start + i) % len(numbers)] for i in range(t.numel())]
        return torch.tensor(line, dtype=torch.float64).reshape(t.shape).requires_grad_()

    return sample.transform(fill)
