"""`backward` and `grad`: checks of what a program asks for, then one pass of the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.autograd.engine import run_backward
from flambeau.autograd.graph import GradientEdge, Node, edge_of
from flambeau.autograd.runtime import NS
from flambeau.engines.arrays import copied


def _tuple(value: Any) -> tuple[Any, ...]:
    if isinstance(value, (NS["Tensor"], GradientEdge)):
        return (value,)
    return tuple(value)


def _as_tensors(roots: tuple, given: Any, create: bool) -> bool:
    """Whether the pass runs on Tensors: if it is recorded, or if batches and duals (`flambeau.func`) are among them."""
    if create or not NS["LEVELS"]:
        return create
    seeds = () if given is None else (given,) if isinstance(given, NS["Tensor"]) else given
    return any(getattr(t, "_level", None) is not None for t in (*roots, *seeds))


def _root_gradients(roots: tuple, given: Any, create: bool) -> list[Any]:
    tensor = NS["Tensor"]
    if given is None:
        grads: tuple = (None,) * len(roots)
    else:
        grads = (given,) if isinstance(given, tensor) else tuple(given) if isinstance(given, Sequence) else (given,)
    if len(grads) != len(roots):
        raise RuntimeError(f"got {len(roots)} tensors and {len(grads)} gradients")
    results = []
    for root, g in zip(roots, grads, strict=True):
        if isinstance(root, GradientEdge):
            if not isinstance(g, tensor):
                raise RuntimeError("a GradientEdge as output needs its gradient given: it knows no shape")
            value = g if create else g._a
            n = root.node.outputs
            results.append([value if i == root.output_nr else None for i in range(n)] if n > 1 else value)
            continue
        if root._node is None:
            raise RuntimeError(
                "element 0 of tensors does not require grad: nothing on the way to it was recorded. Some input needs "
                "requires_grad=True, and no_grad or detach() must not stand in between"
            )
        if g is None:
            if root._a.size != 1:
                raise RuntimeError(
                    "backward(): a scalar needs no starting gradient, but this output has the shape "
                    f"{list(root._a.shape)}: reduce it (loss.sum(), loss.mean()) or pass gradient= of that shape"
                )
            if root._a.dtype.kind == "c":
                raise RuntimeError(
                    f"backward(): only a real scalar needs no starting gradient, but this output is {root.dtype}: "
                    "pass gradient="
                )
            g = NS["WRAP"](np.ones_like(root._a))
        elif not isinstance(g, tensor):
            raise TypeError(f"backward(): a starting gradient must be a Tensor or None, got {type(g).__name__}")
        elif g._a.shape != root._a.shape:
            raise RuntimeError(
                f"backward(): a starting gradient of shape {list(g._a.shape)} came for an output of shape "
                f"{list(root._a.shape)}; they must be equal"
            )
        elif (g._a.dtype.kind == "c") != (root._a.dtype.kind == "c"):
            raise RuntimeError(
                f"backward(): a starting gradient of dtype {g.dtype} came for an output of dtype {root.dtype}; "
                "with complex numbers they must be equal"
            )
        results.append(g if create else g._a)
    return results


def _all_recorded(wanted: Any) -> None:
    """Refuses tensors that are no part of a graph: nothing can be differentiated with respect to them."""
    for t in wanted:
        if not isinstance(t, GradientEdge) and t._node is None:
            raise RuntimeError(
                f"an input of shape {list(t._a.shape)} does not require grad; call requires_grad_() before it is used"
            )


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    """Accumulates the gradients of `tensors` into the leaves of their graph, or into `inputs` only.

    RuntimeError where nothing requires grad, where a root of several elements has no gradient given, or where the graph
    was freed by an earlier pass.
    """
    if grad_variables is not None and grad_tensors is None:
        grad_tensors = grad_variables
    roots = _tuple(tensors)
    wanted = None
    if inputs is not None:
        wanted = list(_tuple(inputs))
        if not wanted:
            raise RuntimeError("backward(): inputs is empty; leave it out to fill .grad of every leaf")
        _all_recorded(wanted)
    tensors = _as_tensors(roots, grad_tensors, create_graph)
    grads = _root_gradients(roots, grad_tensors, tensors)
    retain = create_graph if retain_graph is None else retain_graph
    edges = None if wanted is None else [edge_of(t) for t in wanted]
    captured = run_backward([edge_of(t) for t in roots], grads, retain, tensors, edges, True, create_graph)
    for t, g in zip(wanted or (), captured, strict=False):
        if not isinstance(t, GradientEdge) and isinstance(t._node, Node) and g is not None:
            g = g if tensors else NS["WRAP"](copied(g))
            t._grad = g if t._grad is None else NS["OPS"].add(t._grad, g)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """The gradients of `outputs` with respect to `inputs`, without touching any `grad`.

    An input that the outputs do not depend on is a RuntimeError, None with `allow_unused`, or zeros with
    `materialize_grads`.

    >>> import flambeau as torch
    >>> x = torch.tensor(3.0, requires_grad=True)
    >>> (g,) = torch.autograd.grad(x ** 2, x, create_graph=True)
    >>> torch.autograd.grad(g, x)
    (tensor(2.),)
    """
    if materialize_grads:
        if allow_unused is False:
            raise ValueError(
                "grad(): materialize_grads=True turns missing gradients into zeros, so allow_unused can't be "
                "False: leave it out"
            )
        allow_unused = True
    roots = _tuple(outputs)
    wanted = _tuple(inputs)
    if not wanted:
        raise RuntimeError("grad(): inputs is empty: name the tensors whose gradients are wanted")
    if is_grads_batched:
        return _batched(roots, wanted, grad_outputs, retain_graph, create_graph, allow_unused)
    _all_recorded(wanted)
    tensors = _as_tensors(roots, grad_outputs, create_graph)
    grads = _root_gradients(roots, grad_outputs, tensors)
    retain = create_graph if retain_graph is None else retain_graph
    distinct = list({id(edge): edge for edge in map(edge_of, wanted)}.values())
    captured = run_backward([edge_of(t) for t in roots], grads, retain, tensors, distinct, False, create_graph)
    by_edge = {id(edge): g for edge, g in zip(distinct, captured, strict=True)}
    results = []
    for t in wanted:
        g = by_edge[id(edge_of(t))]
        if isinstance(g, list):
            g = g[t.output_nr]
        if g is None:
            if not allow_unused:
                raise RuntimeError(
                    "grad(): one of the inputs was not used to compute the outputs; with allow_unused=True its "
                    "gradient is None"
                )
            g = NS["WRAP"](np.zeros_like(t._a)) if materialize_grads else None
            results.append(g)
        else:
            results.append(g if tensors else NS["WRAP"](g))
    return tuple(results)


def _batched(roots: tuple, wanted: tuple, grad_outputs: Any, retain: Any, create: bool, allow_unused: Any) -> tuple:
    """One pass per entry of the gradients' first dimension, stacked."""
    given = _tuple(grad_outputs)
    rows = []
    n = given[0]._a.shape[0]
    for i in range(n):
        keep = True if i < n - 1 else retain
        rows.append(grad(roots, wanted, tuple(g[i] for g in given), keep, create, allow_unused=allow_unused))
    stack = NS["OPS"].stack_op
    return tuple(None if column[0] is None else stack(list(column), 0) for column in zip(*rows, strict=True))
