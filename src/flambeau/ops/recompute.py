"""Gradients by recomputation: how fused ops serve `create_graph`.

A kernel that runs a whole layer at once has a hand-written backward on arrays. When that backward must itself be
differentiable, the layer is computed again by small recorded operations, and the tape differentiates those.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flambeau.autograd.api import grad
from flambeau.autograd.runtime import NS, enable_grad


def gradients(
    formula: Callable[..., Any], inputs: Sequence[Any], grads: Sequence[Any], needs: Sequence[bool]
) -> tuple[Any, ...]:
    """Recorded gradients of `formula(*inputs)` for the inputs that `needs` names; None for the others.

    `inputs` are tensors or None; `grads` are those of the formula's outputs, None where an output was not used.
    """
    with enable_grad():
        # each input under a new name: one tensor may stand in several places
        fresh = [None if t is None else NS["OPS"].reshape(t, t.shape) for t in inputs]
        if NS["LEVELS"]:
            fresh = NS["AS_POINTS"](fresh, needs)
        outputs = formula(*fresh)
        used = [(o, g) for o, g in zip(outputs, grads, strict=True) if g is not None and o.requires_grad]
        wanted = [t for t, need in zip(fresh, needs, strict=True) if need and t is not None]
        if not used or not wanted:
            return (None,) * len(inputs)
        found = grad([o for o, _ in used], wanted, [g for _, g in used], create_graph=True, allow_unused=True)
    left = iter(found)
    return tuple(next(left) if need and t is not None else None for t, need in zip(fresh, needs, strict=True))
