"""Gradients at the edges: operands made of 0, -0, 1, -1, infinities, NaN, subnormal numbers and equal numbers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.testing._internal.opinfo.core import BinaryUfuncInfo, SampleInput, UnaryUfuncInfo

from . import edge_rows, scope

#: Numbers that edges are made of, in double precision and in single.
TINY = {torch.float64: (5e-324, 1e-310), torch.float32: (1e-45, 1e-40)}
#: Operators whose gradients at such operands are noise: the factors that they are made of are not unique there.
NOISE = set(
    "svd svd_lowrank pca_lowrank qr lu lu_solve lu_unpack cholesky cholesky_inverse cholesky_solve inverse pinverse "
    "logdet ormqr matrix_exp triangular_solve linalg.eig linalg.eigh linalg.eigvals linalg.eigvalsh linalg.svd "
    "linalg.svdvals linalg.qr linalg.lu linalg.lu_factor linalg.lu_factor_ex linalg.lu_solve linalg.inv linalg.inv_ex "
    "linalg.solve linalg.solve_ex linalg.solve_triangular linalg.pinv linalg.lstsq linalg.cholesky linalg.cholesky_ex "
    "linalg.cond linalg.householder_product linalg.tensorinv linalg.tensorsolve".split()
)
#: Operators that pick one of equal elements, and leave open which.
TIES = {*scope.TIES, "quantile", "nanquantile", "msort"}
#: Finite numbers only: operators that sum many products, so that an infinity or NaN is everywhere in the result, and
#: samplers, whose gradient at NaN places PyTorch reads from beyond its memory.
FINITE_ONLY = ("fft.", "stft", "istft", "grid_sampler", "nn.functional.grid_sample")


def finite(dtype: torch.dtype) -> tuple[float, ...]:
    """Numbers of which sums and products are defined, many of them equal."""
    tiny, small = TINY[dtype]
    return (0.0, 1.0, -1.0, -0.0, 0.0, 0.5, 1.0, -0.5, tiny, -tiny, 2.0, 0.25, small, -2.0, 3.0, -0.0)


def every(dtype: torch.dtype) -> tuple[float, ...]:
    """Those, infinities and NaN."""
    tiny, small = TINY[dtype]
    inf, nan = float("inf"), float("nan")
    return (0.0, -0.0, 1.0, -1.0, inf, -inf, nan, tiny, -tiny, small, 0.5, -0.5, 2.0, -3.0)


#: Where functions of one number bend or change their formula.
BENDS = (0.25, -0.25, 0.2, 1.5, 2.5, -1.5, 3.0, 6.0, -6.0, 7.75, 8.0, 20.0, -20.0, 30.0, 100.0, -100.0, 1e-9, 1e9, 1e30)


def samples(entry: Any, draw: Callable[[torch.dtype], list[Any]]) -> Iterator[tuple[str, Any]]:
    """Named samples of an entry that are made of such numbers; `draw` gives its ordinary ones, which need gradients."""
    for dtype in (torch.float64, torch.float32):
        if dtype in entry.supported_backward_dtypes("cpu"):
            name = str(dtype).removeprefix("torch.")
            for label, sample in _of_dtype(entry, draw, dtype):
                yield f"{name} {label}", sample


def _of_dtype(entry: Any, draw: Callable[[torch.dtype], list[Any]], dtype: torch.dtype) -> Iterator[tuple[str, Any]]:
    if isinstance(entry, UnaryUfuncInfo) or entry.name in edge_rows.POINTWISE:
        yield from _pointwise(draw(dtype), dtype)
    elif isinstance(entry, BinaryUfuncInfo):
        yield from _pairs(draw(dtype), dtype)
    elif entry.name not in NOISE and entry.name not in TIES:
        for i, sample in scope.thin(draw(dtype), 6):
            yield f"finite {i}", _filled(sample, finite(dtype), dtype)
            if not entry.name.startswith(FINITE_ONLY):
                yield f"any {i}", _filled(sample, every(dtype), dtype)
    yield from edge_rows.rows(entry, dtype, finite(dtype), every(dtype))


def _line(numbers: Any, dtype: torch.dtype) -> torch.Tensor:
    return torch.tensor(list(numbers), dtype=dtype, requires_grad=True)


def _pointwise(ordinary: list[Any], dtype: torch.dtype) -> Iterator[tuple[str, Any]]:
    """All numbers at once, with each set of options that the samples have; the numbers among them are edges too."""
    seen = set()
    for sample in ordinary:
        options = repr((sample.args, sample.kwargs))
        if "tensor(" in options or options in seen or len(seen) == 6:
            continue
        seen.add(options)
        own = [x for x in (*sample.args, *sample.kwargs.values()) if isinstance(x, float)]
        line = _line((*every(dtype), *BENDS, *own, *(-x for x in own)), dtype)
        yield f"all {options}", SampleInput(line, args=sample.args, kwargs=sample.kwargs)
    if not seen:
        yield "all", SampleInput(_line((*every(dtype), *BENDS), dtype))
    yield "none", SampleInput(_line((), dtype))


def _pairs(ordinary: list[Any], dtype: torch.dtype) -> Iterator[tuple[str, Any]]:
    """Every number with every number, as tensors and as a tensor with a Python number."""
    numbers = (*every(dtype), 3.0, -2.0, 0.25)
    pairs = list(itertools.product(numbers, numbers))
    left, right = [a for a, _ in pairs], [b for _, b in pairs]
    yield "pairs", SampleInput(_line(left, dtype), args=(_line(right, dtype),))
    yield "none", SampleInput(_line((), dtype), args=(_line((), dtype),))
    yield "0-d", SampleInput(_line(numbers, dtype), args=(_line(numbers, dtype)[0].detach().requires_grad_(),))
    for number in (*numbers, 0, 1, 2, 3, -1, -2, True):
        yield f"number {number}", SampleInput(_line(numbers, dtype), args=(number,))
    options = {repr(s.kwargs): s.kwargs for s in ordinary if s.kwargs and "tensor(" not in repr(s.kwargs)}
    for text, kwargs in list(options.items())[:4]:
        yield f"pairs {text}", SampleInput(_line(left, dtype), args=(_line(right, dtype),), kwargs=kwargs)


def _filled(sample: Any, numbers: tuple[float, ...], dtype: torch.dtype) -> Any:
    """The sample, whose operands that need gradients consist of these numbers, over and over."""
    shift = itertools.count(0, 5)

    def fill(t: Any) -> Any:
        if not isinstance(t, torch.Tensor) or not t.requires_grad or t.dtype != dtype:
            return t
        start = next(shift)
        line = np.resize(np.roll(np.array(numbers), -start), t.numel())
        return torch.tensor(line, dtype=dtype).reshape(t.shape).requires_grad_()

    return sample.transform(fill)
