"""Running combinations of slices, with any associative function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.ops.joining import cat, stack
from flambeau.pytree import tree_flatten, tree_unflatten
from flambeau.tensor.tensor import Tensor

__all__ = ["associative_scan"]


def associative_scan(
    combine_fn: Callable, xs: Any, dim: int, reverse: bool = False, combine_mode: str = "pointwise"
) -> Any:
    """Slice `i` of the result is slices 0 to `i` of `xs` along `dim`, combined; from the end on if `reverse`.

    `combine_fn(a, b)` takes and returns trees shaped as `xs`, works on many slices at once, element by element, and is
    associative. It is called about twice per doubling of the length, not once per slice. Gradients flow.

    Raises:
        ValueError: for an unknown `combine_mode`, no tensors, or tensors that differ in their length along `dim`.
    """
    if combine_mode not in ("pointwise", "generic"):
        raise ValueError(f"Combine_mode must either 'pointwise' or 'generic', but got {combine_mode}")
    leaves, spec = tree_flatten(xs)
    if not leaves or not all(isinstance(leaf, Tensor) for leaf in leaves):
        raise ValueError("associative_scan: expected a tree of at least one tensor")
    if len({leaf.shape[dim] for leaf in leaves}) > 1:
        raise ValueError(f"associative_scan: all tensors need the same length along dimension {dim}")
    given = [leaf.movedim(dim, 0) for leaf in leaves]
    if reverse:
        given = [leaf.flip(0) for leaf in given]

    def combine(a: list[Any], b: list[Any]) -> list[Any]:
        return tree_flatten(combine_fn(tree_unflatten(_back(a, dim), spec), tree_unflatten(_back(b, dim), spec)))[0]

    def paired(a: list[Any], b: list[Any]) -> list[Any]:
        return [leaf.movedim(dim, 0) for leaf in combine(a, b)]

    result = _scan(paired, given)
    if reverse:
        result = [leaf.flip(0) for leaf in result]
    return tree_unflatten(_back(result, dim), spec)


def _back(leaves: list[Any], dim: int) -> list[Any]:
    return [leaf.movedim(0, dim) for leaf in leaves]


def _scan(combine: Callable, given: list[Any]) -> list[Any]:
    """Pairs are combined and scanned in turn; what stands at even places is filled in from the odd ones."""
    count = given[0].shape[0]
    if count < 2:
        return given
    pairs = combine([leaf[: count - 1 : 2] for leaf in given], [leaf[1::2] for leaf in given])
    odd = _scan(combine, pairs)
    if count == 2:
        return [cat([leaf[:1], done]) for leaf, done in zip(given, odd, strict=True)]
    before = [leaf[: (count - 1) // 2] for leaf in odd]
    filled = combine(before, [leaf[2::2] for leaf in given])
    even = [cat([leaf[:1], more]) for leaf, more in zip(given, filled, strict=True)]
    return [_interleaved(a, b) for a, b in zip(even, odd, strict=True)]


def _interleaved(even: Any, odd: Any) -> Any:
    """Rows of one and of the other in turn; `even` may have one more."""
    both = stack([even[: odd.shape[0]], odd], 1).flatten(0, 1)
    return both if even.shape[0] == odd.shape[0] else cat([both, even[odd.shape[0] :]])
