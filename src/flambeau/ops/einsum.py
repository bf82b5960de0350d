"""Sums of products in Einstein's notation, as permutations and matrix products."""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Sequence
from typing import Any

from flambeau.autograd.graph import show_as
from flambeau.autograd.runtime import NS
from flambeau.ops import reduce, shape
from flambeau.ops.arithmetic import mul
from flambeau.ops.products import bmm, mm

__all__ = ["einsum"]

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


#: Whether the package opt_einsum finds the order (None: if it is installed), and how: `torch.backends.opt_einsum`.
SETTINGS: dict[str, Any] = {"enabled": None, "strategy": "auto"}


def installed() -> bool:
    """Whether the package opt_einsum is there."""
    import importlib.util

    return importlib.util.find_spec("opt_einsum") is not None


def einsum(*args: Any) -> Any:
    """The sum of products that `equation` names: a label per dimension, repeated labels multiplied, left-out ones
    summed.

    `einsum("ij,jk->ik", a, b)`, or with lists of numbers for labels: `einsum(a, [0, 1], b, [1, 2], [0, 2])`. A label
    twice in one operand takes its diagonal; `...` stands for any dimensions, which broadcast. Without `->` the labels
    that occur once are kept, in alphabetical order.

    >>> import flambeau as torch
    >>> torch.einsum("ij,j->i", torch.ones(2, 3), torch.arange(3.0))
    tensor([3., 3.])
    """
    tensor = NS["Tensor"]
    if not args:
        raise RuntimeError("einsum(): at least one operand is needed")
    if isinstance(args[0], str):
        operands = list(args[1]) if len(args) == 2 and isinstance(args[1], (list, tuple)) else list(args[1:])
        inputs, output = _parse(args[0], len(operands))
    else:
        operands, inputs, output = _sublists(args)
    if not operands:
        raise RuntimeError("einsum(): at least one operand is needed")
    for i, t in enumerate(operands):
        if not isinstance(t, tensor):
            raise TypeError(f"einsum(): operand {i} must be a Tensor, got {type(t).__name__}")
    named, kept = _label(inputs, output, operands)
    return _contract(operands, named, kept)


def _parse(equation: str, count: int) -> tuple[list[list[Any]], list[Any] | None]:
    """The labels of each operand and of the result (None if not given); Ellipsis for `...`."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    if "-" in left or ">" in left:
        raise RuntimeError(f"einsum(): '-' and '>' may only stand in an arrow '->', got {equation!r}")
    terms = left.split(",")
    if len(terms) != count:
        what = "fewer" if count < len(terms) else "more"
        raise RuntimeError(f"einsum(): {what} operands came than {equation!r} describes: {count}")
    return [_labels(term, equation) for term in terms], _labels(right, equation) if arrow else None


def _labels(term: str, equation: str) -> list[Any]:
    before, dots, after = term.partition("...")
    for c in before + after:
        if c not in _LETTERS:
            raise RuntimeError(f"einsum(): {c!r} in {equation!r} is no letter; dimensions are named by a-z and A-Z")
    return [*before, *([Ellipsis] if dots else []), *after]


def _sublists(args: Sequence[Any]) -> tuple[list[Any], list[list[Any]], list[Any] | None]:
    """Operands and labels of the form `a, [0, 1], b, [1, 2], [0, 2]`."""
    operands = list(args[0 : len(args) - len(args) % 2 : 2])
    lists = [list(x) for x in args[1::2]] + ([list(args[-1])] if len(args) % 2 else [])
    for labels in lists:
        for i in labels:
            if i is not Ellipsis and not (isinstance(i, int) and 0 <= i < 52):
                raise RuntimeError(f"einsum(): a dimension as a number must lie from 0 to 51, got {i!r}")
    spelled = [[i if i is Ellipsis else _LETTERS[i] for i in labels] for labels in lists]
    return operands, spelled[: len(operands)], spelled[-1] if len(args) % 2 else None


def _label(inputs: list[list[Any]], output: list[Any] | None, operands: list[Any]) -> tuple[list[list[Any]], list[Any]]:
    """The labels with each `...` spelled out as (n,): the n-th dimension it stands for, counted from the last."""
    named, longest = [], 0
    for i, (labels, t) in enumerate(zip(inputs, operands, strict=True)):
        extra = t._a.ndim - (len(labels) - labels.count(Ellipsis))
        if extra < 0 or (extra and Ellipsis not in labels):
            raise RuntimeError(
                f"einsum(): operand {i} has {t._a.ndim} dimensions, the equation names "
                f"{len(labels) - labels.count(Ellipsis)} of them"
                + ("" if Ellipsis in labels else " and has no '...' for the rest")
            )
        longest = max(longest, extra if Ellipsis in labels else 0)
        named.append([x for label in labels for x in (_dots(extra) if label is Ellipsis else [label])])
    if output is None:
        flat = [label for labels in named for label in labels if isinstance(label, str)]
        return named, [*_dots(longest), *sorted(label for label in set(flat) if flat.count(label) == 1)]
    kept = [x for label in output for x in (_dots(longest) if label is Ellipsis else [label])]
    everything = {label for labels in named for label in labels}
    for label in kept:
        if kept.count(label) > 1:
            raise RuntimeError(f"einsum(): the output names dimension {label} twice")
        if label not in everything:
            raise RuntimeError(f"einsum(): the output names dimension {label}, which no operand has")
    return named, kept


def _dots(count: int) -> list[Any]:
    return [(n,) for n in range(count, 0, -1)]


def _contract(operands: list[Any], named: list[list[Any]], kept: list[Any]) -> Any:
    terms = [_diagonals(t, labels, i) for i, (t, labels) in enumerate(zip(operands, named, strict=True))]
    sizes = _sizes(terms)
    terms = [_without_ones(t, labels, sizes) for t, labels in terms]
    for i, j in _order(terms, kept, sizes) if len(terms) > 1 else ():
        b, a = terms.pop(j), terms.pop(i)
        needed = set(kept).union(*(labels for _, labels in terms)) if terms else set(kept)
        terms.append(_pair(*a, *b, needed))
    t, labels = _summed(*terms[0], set(kept))
    return _ordered(t, labels, kept)


def _diagonals(t: Any, labels: list[Any], i: int) -> tuple[Any, list[Any]]:
    """The operand with each label once: repeated ones take the diagonal."""
    labels = list(labels)
    for label in [x for x in dict.fromkeys(labels) if labels.count(x) > 1]:
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            a, b = t._a.shape[first], t._a.shape[second]
            if a != b:
                raise RuntimeError(
                    f"einsum(): operand {i} names dimension {label} twice, with lengths {a} and {b}; they must be equal"
                )
            t = shape.diagonal(t, 0, first, second)
            labels = [x for d, x in enumerate(labels) if d not in (first, second)] + [label]
    return t, labels


def _sizes(terms: list[tuple[Any, list[Any]]]) -> dict[Any, int]:
    sizes: dict[Any, int] = {}
    for i, (t, labels) in enumerate(terms):
        for label, n in zip(labels, t._a.shape, strict=True):
            known = sizes.setdefault(label, n)
            if known == 1:
                sizes[label] = n
            elif n not in (1, known):
                raise RuntimeError(
                    f"einsum(): dimension {label!r} has length {n} in operand {i}, but {known} in one before it"
                )
    return sizes


def _without_ones(t: Any, labels: list[Any], sizes: dict[Any, int]) -> tuple[Any, list[Any]]:
    """The operand without dimensions of length 1 that are longer elsewhere."""
    drop = tuple(d for d, label in enumerate(labels) if t._a.shape[d] == 1 and sizes[label] != 1)
    if not drop:
        return t, labels
    return shape.squeeze_op(t, drop), [x for d, x in enumerate(labels) if d not in drop]


def _order(terms: list[tuple[Any, list[Any]]], kept: list[Any], sizes: dict[Any, int]) -> list[tuple[int, int]]:
    """Which two terms to multiply next, step by step; a product goes to the end of what is left.

    The package opt_einsum decides where it is installed and `torch.backends.opt_einsum` has it enabled.
    """
    if len(terms) == 2:
        return [(0, 1)]
    numbers = {label: i for i, label in enumerate(sizes)}
    labels = tuple(tuple(numbers[x] for x in labels) for _, labels in terms)
    wanted, lengths = tuple(numbers[x] for x in kept), tuple(sizes.values())
    if SETTINGS["enabled"] is None:
        SETTINGS["enabled"] = installed()
    if SETTINGS["enabled"]:
        return _asked(labels, wanted, lengths, SETTINGS["strategy"])
    return _best(labels, wanted, lengths) if len(terms) <= 6 else _greedy(labels, wanted, lengths)


@functools.lru_cache(256)
def _asked(labels: tuple, wanted: tuple, lengths: tuple, strategy: str) -> list[tuple[int, int]]:
    """opt_einsum's order."""
    package = importlib.import_module("opt_einsum")
    inputs, output = (["".join(map(package.get_symbol, term)) for term in part] for part in (labels, (wanted,)))
    shapes = [tuple(lengths[i] for i in term) for term in labels]
    equation = f"{','.join(inputs)}->{output[0]}"
    path, _ = package.contract_path(equation, *shapes, optimize=strategy, shapes=True)
    steps: list[tuple[int, int]] = []
    count = len(labels)
    for step in path:
        picked = sorted(step)
        while len(picked) > 1:  # it may join more than two at once, and names single terms to be summed
            j, i = picked.pop(), picked.pop()
            steps.append((i, j))
            count -= 1
            picked = [*picked, count - 1] if picked else []
    return steps


@functools.lru_cache(256)
def _best(labels: tuple, wanted: tuple, lengths: tuple) -> list[tuple[int, int]]:
    """The order with the fewest multiplications, by trying all ways to split every subset of the terms in two."""
    n = len(labels)
    everything = (1 << n) - 1

    def left(subset: int) -> frozenset[int]:
        """The labels of a subset's product."""
        inside = {x for i in range(n) if subset >> i & 1 for x in labels[i]}
        outside = {x for i in range(n) if not subset >> i & 1 for x in labels[i]} | set(wanted)
        return frozenset(inside & outside)

    shown = {subset: left(subset) for subset in range(1, everything + 1)}
    best: dict[int, tuple[float, int]] = {1 << i: (0, 0) for i in range(n)}
    for subset in sorted(range(1, everything + 1), key=lambda s: s.bit_count()):
        if subset in best:
            continue
        part = (subset - 1) & subset
        while part:
            rest = subset ^ part
            if part < rest:
                cost = best[part][0] + best[rest][0] + _product(shown[part] | shown[rest], lengths)
                if subset not in best or cost < best[subset][0]:
                    best[subset] = (cost, part)
            part = (part - 1) & subset
    return _steps(everything, best, n)


def _steps(everything: int, best: dict[int, tuple[float, int]], n: int) -> list[tuple[int, int]]:
    """The splits of subsets as positions in the list of what is left."""
    order: list[tuple[int, int]] = []
    stack = [everything]
    while stack:
        subset = stack.pop()
        part = best[subset][1]
        if part:
            order.append((part, subset ^ part))
            stack += [part, subset ^ part]
    present = [1 << i for i in range(n)]
    steps = []
    for a, b in reversed(order):
        i, j = sorted((present.index(a), present.index(b)))
        steps.append((i, j))
        present = [s for s in present if s not in (a, b)] + [a | b]
    return steps


@functools.lru_cache(256)
def _greedy(labels: tuple, wanted: tuple, lengths: tuple) -> list[tuple[int, int]]:
    """At each step the pair whose product is smallest, less what it replaces."""
    terms = [frozenset(term) for term in labels]
    steps = []
    while len(terms) > 1:
        best: tuple[Any, int, int] | None = None
        for i in range(len(terms)):
            for j in range(i + 1, len(terms)):
                others = set(wanted).union(*(t for k, t in enumerate(terms) if k not in (i, j)))
                size = _product((terms[i] | terms[j]) & others, lengths)
                cost = size - _product(terms[i], lengths) - _product(terms[j], lengths)
                if best is None or cost < best[0]:
                    best = (cost, i, j)
        assert best is not None
        _, i, j = best
        others = set(wanted).union(*(t for k, t in enumerate(terms) if k not in (i, j)))
        joined = frozenset((terms[i] | terms[j]) & others)
        terms = [t for k, t in enumerate(terms) if k not in (i, j)] + [joined]
        steps.append((i, j))
    return steps


def _product(labels: Any, lengths: tuple) -> int:
    return math.prod(lengths[i] for i in labels)


def _summed(t: Any, labels: list[Any], needed: set[Any]) -> tuple[Any, list[Any]]:
    gone = tuple(d for d, label in enumerate(labels) if label not in needed)
    if gone:
        t, labels = reduce.sum(t, gone), [x for x in labels if x in needed]
    return t, labels


def _ordered(t: Any, labels: list[Any], wanted: list[Any]) -> Any:
    """The dimensions in the order of `wanted`; labels that are missing become dimensions of length 1."""
    present = [x for x in wanted if x in labels]
    if present != labels:
        t = shape.permute(t, tuple(labels.index(x) for x in present))
    if len(present) != len(wanted):
        t = shape.reshape(t, tuple(t._a.shape[present.index(x)] if x in present else 1 for x in wanted))
    return t


def _pair(a: Any, la: list[Any], b: Any, lb: list[Any], needed: set[Any]) -> tuple[Any, list[Any]]:
    """The product of two operands, summed over what nobody needs any more."""
    a, la = _summed(a, la, needed | set(lb))
    b, lb = _summed(b, lb, needed | set(la))
    inner = [x for x in la if x in lb and x not in needed]
    batch = [x for x in la if x in lb and x in needed]
    left, right = [x for x in la if x not in lb], [x for x in lb if x not in la]
    labels = batch + left + right
    if not inner:
        return mul(_ordered(a, la, labels), _ordered(b, lb, labels)), labels
    size_a, size_b = dict(zip(la, a._a.shape, strict=True)), dict(zip(lb, b._a.shape, strict=True))
    n_batch, n_left, n_inner = (_count(size_a, part) for part in (batch, left, inner))
    n_right = _count(size_b, right)
    lead = (n_batch,) if batch else ()
    first = _matrices(a, la, batch, left, inner, (*lead, n_left, n_inner))
    second = _matrices(b, lb, batch, inner, right, (*lead, n_inner, n_right))
    product = (bmm if batch else mm)(first, second)
    return show_as(_folded(product, tuple((size_a | size_b)[x] for x in labels)), "ViewBackward0"), labels


def _matrices(
    t: Any, have: list[Any], batch: list[Any], rows: list[Any], columns: list[Any], full: tuple[int, ...]
) -> Any:
    """The operand as matrices; one that lies in memory the other way round as a transposed view."""
    if have == batch + columns + rows:
        return shape.transpose(_folded(t, (*full[:-2], full[-1], full[-2])), -2, -1)
    return _folded(_ordered(t, have, batch + rows + columns), full)


def _count(sizes: dict[Any, int], labels: list[Any]) -> int:
    n = 1
    for label in labels:
        n *= sizes[label]
    return n


def _folded(t: Any, full: tuple[int, ...]) -> Any:
    return t if t._a.shape == full else shape.reshape(t, full)
