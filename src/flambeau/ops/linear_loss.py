"""Cross entropy of a linear map's scores, in one call."""

from __future__ import annotations

import math
from typing import Any

from flambeau.ops.loss_class import cross_entropy
from flambeau.ops.products import linear


def linear_cross_entropy(
    input: Any,
    linear_weight: Any,
    target: Any,
    *,
    linear_bias: Any = None,
    weight: Any = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
) -> Any:
    """`cross_entropy(linear(input, linear_weight, linear_bias), target)`.

    Input (N, in_features) or (in_features), linear_weight (C, in_features) or (C, d1, ..., in_features), target as
    `cross_entropy` takes it. `ignore_index` None is -100 for class targets. `options` say how PyTorch splits the work
    up; here they change nothing. Errors as `linear` and `cross_entropy`.
    """
    if linear_weight.ndim < 2:
        raise RuntimeError(
            f"linear_cross_entropy(): linear_weight needs at least 2 dimensions, got {linear_weight.ndim}"
        )
    classes, *inner, features = linear_weight.shape
    if inner and input.ndim != 2:
        raise RuntimeError(
            f"linear_cross_entropy(): scores of several dimensions, from a weight {tuple(linear_weight.shape)}, need a "
            f"batch (N, {features}), got {tuple(input.shape)}"
        )
    if target.ndim and input.ndim == 2 and target.shape[0] != input.shape[0]:
        raise ValueError(
            f"linear_cross_entropy(): a target for each of {input.shape[0]} rows is needed, got {tuple(target.shape)}"
        )
    if not inner:
        scores = linear(input, linear_weight, linear_bias)
    else:
        bias = None if linear_bias is None else linear_bias.reshape(-1)
        flat = linear(input, linear_weight.reshape(classes * math.prod(inner), features), bias)
        scores = flat.reshape(*input.shape[:-1], classes, *inner)
    return cross_entropy(
        scores,
        target,
        weight=weight,
        ignore_index=-100 if ignore_index is None else ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )
