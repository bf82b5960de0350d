"""ONNX nodes for reductions, products of matrices, order and distances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.onnx.elementwise import Formula
from flambeau.onnx.graph import Graph, Operand, emits, is_fixed


def axes_of(dim: Any, rank: int) -> list[int] | None:
    """The dimensions that are reduced; None for all."""
    if dim is None or (isinstance(dim, (tuple, list)) and not dim) or not rank:
        return None
    dims = dim if isinstance(dim, (tuple, list)) else (dim,)
    return sorted({d % rank for d in dims})


@emits("sum", "nansum")
def _sum(g: Graph, x: Operand, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> str:
    return g.reduce("Sum", g.as_type(x, g.dtype), axes_of(dim, x.rank), keepdim)


@emits("mean")
def _mean(g: Graph, x: Operand, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> str:
    return g.reduce("Mean", g.as_type(x, g.dtype), axes_of(dim, x.rank), keepdim)


@emits("prod_all")
def _prod_all(g: Graph, x: Operand, dtype: Any = None) -> str:
    return g.reduce("Prod", g.as_type(x, g.dtype), None, False)


@emits("prod_dim")
def _prod_dim(g: Graph, x: Operand, dim: int, keepdim: bool = False, dtype: Any = None) -> str:
    return g.reduce("Prod", g.as_type(x, g.dtype), axes_of(dim, x.rank), keepdim)


def _extreme(kind: str) -> Any:
    def emit(g: Graph, x: Operand, dim: Any = None, keepdim: bool = False) -> str:
        wide = np.int32 if x.dtype == np.bool_ else x.dtype
        found = g.reduce(kind, g.as_type(x, wide), axes_of(dim, x.rank), keepdim)
        return g.cast(found, wide, x.dtype)

    return emit


emits("amax", "max_all")(_extreme("Max"))
emits("amin", "min_all")(_extreme("Min"))


def _truth(kind: str) -> Any:
    def emit(g: Graph, x: Operand, dim: Any = None, keepdim: bool = False) -> str:
        truth = g.cast(g.as_type(x, np.bool_), np.bool_, np.int32)
        found = g.cast(g.reduce(kind, truth, axes_of(dim, x.rank), keepdim), np.int32, np.bool_)
        return g.cast(found, np.bool_, g.dtype)

    return emit


emits("any")(_truth("Max"))
emits("all")(_truth("Min"))


def count_of(g: Graph, x: Operand, axes: Sequence[int] | None, dtype: Any) -> str:
    """How many elements are reduced, as a number of a dtype."""
    sizes = x.shape if axes is None else [x.shape[a] for a in axes]
    if all(is_fixed(n) for n in sizes):
        return g.number(math.prod(sizes), dtype)
    shape = g.node("Shape", x)
    picked = shape if axes is None else g.node("Gather", shape, g.ints(axes), axis=0)
    return g.cast(g.reduce("Prod", picked, None, False), np.int64, dtype)


def _variance(g: Graph, x: Operand, dim: Any, correction: Any, keepdim: bool) -> str:
    axes = axes_of(dim, x.rank)
    f = Formula(g, x.dtype)
    centred = f("Sub", x, g.reduce("Mean", x, axes, True))
    total = g.reduce("Sum", f("Mul", centred, centred), axes, keepdim)
    return f("Div", total, f("Sub", count_of(g, x, axes, x.dtype), float(correction)))


@emits("var_op")
def _var(g: Graph, x: Operand, dim: Any = None, correction: Any = 1, keepdim: bool = False) -> str:
    return _variance(g, x, dim, correction, keepdim)


@emits("std_op")
def _std(g: Graph, x: Operand, dim: Any = None, correction: Any = 1, keepdim: bool = False) -> str:
    return g.node("Sqrt", _variance(g, x, dim, correction, keepdim))


@emits("linalg_vector_norm")
def _norm(g: Graph, x: Operand, order: Any = 2, dim: Any = None, keepdim: bool = False, *_: Any) -> str:
    axes, f = axes_of(dim, x.rank), Formula(g, x.dtype)
    size = f("Abs", x)
    if order == math.inf:
        return g.reduce("Max", size, axes, keepdim)
    if order == -math.inf:
        return g.reduce("Min", size, axes, keepdim)
    if order == 0:
        return g.reduce("Sum", g.cast(f("Greater", size, 0.0), np.bool_, x.dtype), axes, keepdim)
    if order == 1:
        return g.reduce("Sum", size, axes, keepdim)
    if order == 2:
        return f("Sqrt", g.reduce("Sum", f("Mul", x, x), axes, keepdim))
    return f("Pow", g.reduce("Sum", f("Pow", size, float(order)), axes, keepdim), 1.0 / order)


@emits("logsumexp")
def _logsumexp(g: Graph, x: Operand, dim: Any, keepdim: bool = False) -> str:
    axes, f = axes_of(dim, x.rank), Formula(g, x.dtype)
    top = g.reduce("Max", x, axes, True)
    top = f("Where", f("IsInf", top), 0.0, top)
    total = f("Log", g.reduce("Sum", f("Exp", f("Sub", x, top)), axes, keepdim))
    if not keepdim and axes is not None:
        top = g.squeeze(top, *axes)
    elif not keepdim:
        top = g.reshape(top, ())
    return f("Add", total, top)


@emits("cumsum")
def _cumsum(g: Graph, x: Operand, dim: int, dtype: Any = None) -> Any:
    value = g.as_type(x, g.dtype)
    return g.node("CumSum", value, g.number(dim % x.rank, np.int64)) if x.rank else g.node("Identity", value)


# --- order ------------------------------------------------------------------------------------------------------------


def _arg(g: Graph, kind: str, x: Operand, dim: Any, keepdim: bool) -> str:
    wide = g.as_type(x, np.int32 if x.dtype == np.bool_ else x.dtype)
    if dim is None:
        found = g.node(kind, g.reshape(wide, (-1,)), axis=0, keepdims=0)
        return g.reshape(found, [1] * x.rank) if keepdim else found
    return g.node(kind, wide, axis=dim % max(x.rank, 1), keepdims=int(keepdim))


@emits("argmax")
def _argmax(g: Graph, x: Operand, dim: Any = None, keepdim: bool = False) -> str:
    return _arg(g, "ArgMax", x, dim, keepdim)


@emits("argmin")
def _argmin(g: Graph, x: Operand, dim: Any = None, keepdim: bool = False) -> str:
    return _arg(g, "ArgMin", x, dim, keepdim)


@emits("max_dim")
def _max_dim(g: Graph, x: Operand, dim: int, keepdim: bool = False) -> tuple[str, str]:
    return _extreme("Max")(g, x, dim, keepdim), _arg(g, "ArgMax", x, dim, keepdim)


@emits("min_dim")
def _min_dim(g: Graph, x: Operand, dim: int, keepdim: bool = False) -> tuple[str, str]:
    return _extreme("Min")(g, x, dim, keepdim), _arg(g, "ArgMin", x, dim, keepdim)


@emits("topk_op")
def _topk(g: Graph, x: Operand, k: Any, dim: int = -1, largest: bool = True, *_: Any) -> tuple[str, str]:
    return tuple(g.node("TopK", x, g.ints([k]), axis=dim, largest=int(largest), sorted=1, outputs=2))  # type: ignore[return-value]


@emits("sort_op")
def _sort(g: Graph, x: Operand, dim: int = -1, descending: bool = False, *_: Any) -> tuple[str, str]:
    axis = dim % max(x.rank, 1)
    count = g.slice(g.shape_of(x), 0, axis, axis + 1)
    return tuple(g.node("TopK", x, count, axis=axis, largest=int(descending), sorted=1, outputs=2))  # type: ignore[return-value]


# --- products ---------------------------------------------------------------------------------------------------------


@emits("mm", "bmm", "matmul")
def _matmul(g: Graph, x: Operand, y: Operand) -> str:
    return g.node("MatMul", x, y)


@emits("linear")
def _linear(g: Graph, x: Operand, weight: Operand, bias: Operand | None = None) -> str:
    if x.rank == 2 and weight.rank == 2:
        return g.node("Gemm", x, weight, bias, transB=1)
    turned = g.transpose(weight, [1, 0]) if weight.rank == 2 else weight
    product = g.node("MatMul", x, turned)
    return product if bias is None else g.node("Add", product, bias)


@emits("trilinear")
def _trilinear(g: Graph, x: Operand, weight: Operand, y: Operand) -> str:
    rows = g.node("MatMul", g.unsqueeze(g.unsqueeze(x, 1), 1), weight)
    product = g.node("MatMul", rows, g.unsqueeze(g.unsqueeze(y, 1), 3))
    return g.squeeze(g.squeeze(product, 3), 2)


@emits("cdist_euclidean")
def _cdist(g: Graph, x: Operand, y: Operand, *_: Any) -> str:
    apart = g.node("Sub", g.unsqueeze(x, x.rank - 1), g.unsqueeze(y, y.rank - 2))
    return g.node("Sqrt", g.reduce("Sum", g.node("Mul", apart, apart), [x.rank], False))


# --- losses -----------------------------------------------------------------------------------------------------------


def _reduced(g: Graph, x: Any, reduction: str) -> Any:
    return x if reduction == "none" else g.reduce({"mean": "Mean", "sum": "Sum"}[reduction], x, None, False)


@emits("mse_loss")
def _mse(g: Graph, x: Operand, target: Operand, reduction: str = "mean") -> Any:
    apart = g.node("Sub", x, target)
    return _reduced(g, g.node("Mul", apart, apart), reduction)


@emits("smooth_l1_loss")
def _smooth_l1(g: Graph, x: Operand, target: Operand, reduction: str = "mean", beta: float = 1.0) -> Any:
    f = Formula(g, x.dtype)
    apart = f("Abs", f("Sub", x, target))
    near = f("Div", f("Mul", f("Mul", apart, apart), 0.5), float(beta) or 1.0)
    found = f("Where", f("Less", apart, float(beta)), near, f("Sub", apart, 0.5 * beta))
    return _reduced(g, found, reduction)


@emits("cross_entropy_rows")
def _cross_entropy(
    g: Graph, x: Operand, target: Operand, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
) -> Any:
    return g.node("SoftmaxCrossEntropyLoss", x, target, weight, ignore_index=ignore_index, reduction=reduction)
