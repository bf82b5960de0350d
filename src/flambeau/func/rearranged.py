"""`rearrange`: dimensions named by a pattern, as einops writes them."""

from __future__ import annotations

import math
from typing import Any

from flambeau.autograd.runtime import NS
from flambeau.tensor.tensor import Tensor

__all__ = ["rearrange"]


BARE = "... by itself"


def _side(text: str, pattern: str) -> list[list[str]]:
    """One side of a pattern: a list of names per dimension; an ellipsis stands by itself."""
    groups: list[list[str]] = []
    inside = False
    for token in text.replace("(", " ( ").replace(")", " ) ").replace("...", " ... ").split():
        if token in "()":
            if inside == (token == "("):
                raise ValueError(f"rearrange(): brackets don't match in {pattern!r}")
            inside = token == "("
            if inside:
                groups.append([])
        elif token != "..." and token != "1" and not token.isidentifier():
            raise ValueError(f"rearrange(): {token!r} in {pattern!r} is no name of a dimension")
        elif inside:
            groups[-1].append(token)
        else:
            groups.append([token if token != "..." else BARE])
    if inside:
        raise ValueError(f"rearrange(): brackets don't match in {pattern!r}")
    names = [name for group in groups for name in group if name != "1"]
    if len(set(names)) != len(names):
        raise ValueError(f"rearrange(): a name stands twice on one side of {pattern!r}")
    return [[name for name in group if name != "1"] for group in groups]


def _lengths(shape: tuple[int, ...], groups: list[list[str]], known: dict[str, int], pattern: str) -> dict[str, int]:
    """The length of every named dimension."""
    lengths: dict[str, int] = {}
    for n, group in zip(shape, groups, strict=True):
        unknown = [name for name in group if name not in known]
        given = math.prod(known[name] for name in group if name in known)
        if len(unknown) > 1 or n % max(given, 1) or (not unknown and given != n):
            raise ValueError(f"rearrange(): a dimension of length {n} can't be split as {group} says in {pattern!r}")
        lengths |= {name: known[name] for name in group if name in known}
        if unknown:
            lengths[unknown[0]] = n // max(given, 1)
    return lengths


def rearrange(tensor: Any, pattern: str, **axes_lengths: int) -> Any:
    """Dimensions in another order, split and joined: `"b (h w) c -> b c h w"` with `h=2` splits the second.

    Names stand for dimensions, brackets join several, `1` is a dimension of length 1, `...` stands for all that are not
    named. `tensor` may be a list of tensors, which are stacked. ValueError for a pattern that does not fit.

    >>> import flambeau as torch
    >>> torch.func.rearrange(torch.zeros(2, 6, 3), "b (h w) c -> b c h w", h=2).shape
    torch.Size([2, 3, 2, 3])
    """
    if not isinstance(tensor, Tensor):
        tensor = NS["OPS"].stack_op(list(tensor), 0)
    left_text, arrow, right_text = pattern.partition("->")
    if not arrow:
        raise ValueError(f"rearrange(): a pattern has the form 'left -> right', got {pattern!r}")
    left, right = _side(left_text, pattern), _side(right_text, pattern)
    shape = tuple(tensor.shape)
    if [BARE] in left:
        at = left.index([BARE])
        extra = [f"...{i}" for i in range(len(shape) - len(left) + 1)]
        left[at : at + 1] = [[name] for name in extra]
        spread = [[[x] for x in extra] if group == [BARE] else [group] for group in right]
        right = [[y for x in g for y in (extra if x == "..." else [x])] for part in spread for g in part]
    if len(left) != len(shape):
        raise ValueError(f"rearrange(): {pattern!r} names {len(left)} dimensions, the tensor has {len(shape)}")
    before, after = [x for g in left for x in g], [x for g in right for x in g]
    if set(before) != set(after) or set(axes_lengths) - set(before):
        raise ValueError(
            f"rearrange(): both sides of {pattern!r} must hold the same names, and those of the lengths given"
        )
    lengths = _lengths(shape, left, dict(axes_lengths), pattern)
    split = tensor.reshape(tuple(lengths[x] for x in before))
    moved = split.permute(tuple(before.index(x) for x in after))
    return moved.reshape(tuple(math.prod(lengths[x] for x in group) for group in right))
