"""What losses share: their `reduction`, the two flags that said it before, and checks of sizes."""

from __future__ import annotations

import warnings
from typing import Any

from flambeau.errors import describe

REDUCTIONS = ("none", "mean", "sum")


def reduction_of(reduction: str, size_average: bool | None = None, reduce: bool | None = None, also: str = "") -> str:
    """The reduction, from its name or (with a warning) from the outdated flags. ValueError for an unknown name."""
    if size_average is not None or reduce is not None:
        if reduce is False:
            reduction = "none"
        else:
            reduction = "sum" if size_average is False else "mean"
        warnings.warn(
            f"size_average and reduce are outdated; reduction='{reduction}' says the same", UserWarning, stacklevel=3
        )
    if reduction not in REDUCTIONS and reduction != also:
        raise ValueError(f"reduction must be 'none', 'mean' or 'sum', got {reduction!r}")
    return reduction


def reduced(k: Any, terms: Any, reduction: str) -> Any:
    """The terms of a loss, or their mean or sum."""
    if reduction == "none":
        return terms
    return k.mean(terms) if reduction == "mean" else k.sum(terms)


def share(k: Any, g: Any, reduction: str, terms: Any) -> Any:
    """The gradient that reaches each term; one number for all where they were reduced."""
    if reduction != "mean":
        return g
    n = 1
    for s in terms.shape:
        n *= s
    return k.div(g, n) if n else g


def reduce_tensor(terms: Any, reduction: str) -> Any:
    """`reduced` for tensors."""
    if reduction == "none":
        return terms
    return terms.mean() if reduction == "mean" else terms.sum()


def warn_broadcast(input: Any, target: Any) -> None:
    """PyTorch's warning for a target of another size, which is broadcast: nearly always a mistake."""
    if target._a.shape != input._a.shape:
        warnings.warn(
            f"The target has size {list(target._a.shape)}, the input {list(input._a.shape)}: they are broadcast, "
            "which is most likely not what you want. Give them the same size",
            UserWarning,
            stacklevel=3,
        )


def refuse_weight_grad(name: str, weight: Any) -> None:
    """RuntimeError for weights that ask for a gradient that this loss does not have."""
    if weight is not None and weight.requires_grad:
        raise RuntimeError(
            f"{name}(): not differentiable with respect to weight {describe(weight)}; pass weight.detach()"
        )


def floating(name: str, a: Any) -> None:
    """NotImplementedError for integers and bools."""
    if a.dtype.kind not in "fc":
        raise NotImplementedError(
            f"{name}(): expected floating-point operands, got {describe(a)}; convert it with .to(torch.float32)"
        )


def weighted(terms: Any, weight: Any, reduction: str, input: Any) -> Any:
    """Terms times `weight`, reduced; the mean is over the sum of the weights. ValueError if sizes differ."""
    if weight._a.shape != input._a.shape:
        raise ValueError(f"expected weight of input's size {list(input.shape)}, got {describe(weight)}")
    terms = terms * weight
    return terms.sum() / weight.sum() if reduction == "mean" else reduce_tensor(terms, reduction)
