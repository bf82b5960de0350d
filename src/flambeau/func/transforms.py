"""Derivatives as functions of functions: `grad`, `vjp`, `jvp`, `linearize`, `jacrev`, `jacfwd`, `hessian`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.autograd.api import grad as tape_gradients
from flambeau.autograd.graph import Node
from flambeau.autograd.runtime import LEAF, NS, enable_grad, set_grad_enabled, thread
from flambeau.func.dual import Dual, dual, parts, zeros_of
from flambeau.func.levels import Layered, Level, alias, has_history, highest, lift, top_wrapping
from flambeau.func.vmap import vmap
from flambeau.pytree import TreeSpec, tree_flatten, tree_map_only, tree_unflatten
from flambeau.tensor.tensor import Tensor

# --- points to differentiate at --------------------------------------------------------------------------------------


def point(t: Any) -> Any:
    """`t` as a place to differentiate at: a leaf of its own, or one more step on the tape where `t` has a history."""
    if t._a.dtype.kind not in "fcV":
        raise RuntimeError(
            f"only floating-point and complex tensors can be differentiated with respect to, got {t.dtype}"
        )
    top = top_wrapping()
    if top is not None:
        t = lift(t, top)
    if t._node is not None:
        return NS["OPS"].index_alias(t, (Ellipsis,))
    fresh = alias(t)
    fresh._node = LEAF
    return fresh


def as_points(tensors: list[Any], needs: Any) -> list[Any]:
    """Tensors of which those that `needs` names can be differentiated with respect to, all at one level."""
    top = highest([t for t in tensors if t is not None])
    found = []
    for t, need in zip(tensors, needs, strict=True):
        if t is None or not need or t._node is not None:
            found.append(t)
            continue
        fresh = alias(t if top is None else lift(t, top))
        fresh._node = LEAF
        found.append(fresh)
    return found


NS["AS_POINTS"] = as_points


def _foreign(roots: list[Any], points: list[Any]) -> bool:
    """Whether the graph of `roots` holds anything but `points` and what was computed from them."""
    mine = {id(p) for p in points}
    stack = [r if r._node is LEAF else r._node for r in roots if r._node is not None]
    seen = set()
    while stack:
        edge = stack.pop()
        if edge is None or id(edge) in seen:
            continue
        seen.add(id(edge))
        if not isinstance(edge, Node):
            if id(edge) not in mine:
                return True
            continue
        stack.extend(edge.edges)
    return False


def _cut(tree: Any, points: list[Any], keep: bool) -> Any:
    """The tensors of `tree` without what was recorded for this transform alone."""

    def outside(t: Any) -> Any:
        if t._node is None or (keep and _foreign([t], points)):
            return t
        return alias(t)

    return tree_map_only(Tensor, outside, tree)


def _gradients(
    roots: list[Any], points: list[Any], seeds: list[Any], keep: bool, retain: bool, own: list[Any] | None = None
) -> list[Any]:
    """Gradients of `roots` at `points`, zeros where nothing depends on one; recorded if an outer transform needs it."""
    pairs = [(r, s) for r, s in zip(roots, seeds, strict=True) if r._node is not None]
    found: Any = [None] * len(points)
    if pairs:
        mine = [r for r, _ in pairs]
        create = keep and (
            _foreign(mine, points + (own or []))
            or any(has_history(part) for pair in pairs for t in pair if isinstance(t, Layered) for part in t.insides())
        )
        with set_grad_enabled(create):
            found = tape_gradients(
                mine, points, [s for _, s in pairs], create_graph=create, retain_graph=retain or create,
                allow_unused=True,
            )  # fmt: skip
    results = [zeros_of(p) if g is None else g for p, g in zip(points, found, strict=True)]
    return [_real_dtype(g, p) for g, p in zip(results, points, strict=True)]


def _real_dtype(g: Any, p: Any) -> Any:
    return g if g._a.dtype == p._a.dtype else NS["OPS"].to_numpy_dtype(g, p._a.dtype)


# --- grad ------------------------------------------------------------------------------------------------------------


def _chosen(args: tuple, argnums: Any, name: str) -> tuple[tuple[int, ...], Any]:
    """The positions to differentiate, and the arguments there (a single one for an int)."""
    if isinstance(argnums, bool) or not isinstance(argnums, (int, tuple)):
        raise RuntimeError(f"{name}: argnums must be an int or a tuple of ints, got {type(argnums).__name__}")
    wanted = argnums if isinstance(argnums, tuple) else (argnums,)
    if not wanted:
        raise RuntimeError(f"{name}: argnums is empty")
    places = []
    for i in wanted:
        if not isinstance(i, int):
            raise RuntimeError(f"{name}: argnums must be an int or a tuple of ints, got {argnums!r}")
        if not -len(args) <= i < len(args):
            raise RuntimeError(f"{name}: argnum {i} is out of range, there are {len(args)} positional inputs")
        places.append(i % len(args))
    if len(set(places)) != len(places):
        raise RuntimeError(f"{name}: argnums must be different ones, got {argnums}")
    chosen = tuple(args[i] for i in places)
    return tuple(places), chosen if isinstance(argnums, tuple) else chosen[0]


def _replaced(args: tuple, places: tuple[int, ...], values: Any, single: bool) -> tuple:
    full = list(args)
    for i, value in zip(places, (values,) if single else values, strict=True):
        full[i] = value
    return tuple(full)


def _tensors_of(tree: Any, name: str) -> tuple[list[Any], TreeSpec]:
    leaves, spec = tree_flatten(tree)
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise (RuntimeError if name.startswith("j") else ValueError)(
                f"{name}: the inputs to differentiate must be Tensors, or containers of Tensors; got "
                f"{type(leaf).__name__}"
            )
    return leaves, spec


def _with_aux(output: Any, has_aux: bool, name: str) -> tuple[Any, Any]:
    if not has_aux:
        return output, None
    if not (isinstance(output, tuple) and len(output) == 2):
        raise RuntimeError(
            f"{name}: with has_aux=True the function must return a tuple (output, aux), got {type(output).__name__}"
        )
    return output


def grad_and_value(func: Callable, argnums: Any = 0, has_aux: bool = False) -> Callable:
    """A function that returns the gradient of `func` and its value: (grad, value), with `has_aux` (grad, (value, aux)).

    See `grad`.
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        name = "grad_and_value(f)(*args)"
        keep = thread.grad
        with Level("grad"), enable_grad():
            places, chosen = _chosen(args, argnums, name)
            leaves, spec = _tensors_of(chosen, name)
            points = [point(t) for t in leaves]
            full = _replaced(args, places, tree_unflatten(points, spec), isinstance(argnums, int))
            value, aux = _with_aux(func(*full, **kwargs), has_aux, name)
            if not isinstance(value, Tensor):
                raise RuntimeError(f"{name}: the function must return a Tensor, got {type(value).__name__}")
            if value.dim() != 0:
                raise RuntimeError(
                    f"{name}: the function must return a scalar tensor, got one of {value.dim()} dimensions; vjp and "
                    "jacrev are for functions of other results"
                )
            found = _gradients([value], points, [_one(value)], keep, False)
        value, aux = _cut((value, aux), points, keep)
        result = tree_unflatten(found, spec)
        return (result, (value, aux)) if has_aux else (result, value)

    return wrapper


def _one(value: Any) -> Any:
    if value._a.dtype.kind == "c":
        raise RuntimeError("grad: the function must return a real number, got a complex one; take its .real or .abs()")
    return NS["WRAP"](np.ones((), value._a.dtype))


def grad(func: Callable, argnums: Any = 0, has_aux: bool = False) -> Callable:
    """A function that returns the gradient of `func`, which must return a single number.

    `argnums`: which argument, or tuple of arguments, to differentiate; each may be a container of tensors, and the
    gradient has its structure. With `has_aux`, `func` returns (output, aux) and the result is (gradient, aux). Nests to
    any depth. Inside `func`, `no_grad` is respected, around the call it is not.

    >>> import flambeau as torch
    >>> torch.func.grad(torch.func.grad(torch.sin))(torch.tensor(0.0))
    tensor(-0.)
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        result, value = both(*args, **kwargs)
        return (result, value[1]) if has_aux else result

    return wrapper


# --- products with vectors -------------------------------------------------------------------------------------------


def _outputs_of(output: Any, name: str) -> tuple[list[Any], TreeSpec]:
    leaves, spec = tree_flatten(output)
    if not leaves:
        raise RuntimeError(f"{name}: the function must return a Tensor or a container of Tensors, got {output!r}")
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise RuntimeError(
                f"{name}: the function must return Tensors, or containers of Tensors; got {type(leaf).__name__}"
            )
    return leaves, spec


def vjp(func: Callable, *primals: Any, has_aux: bool = False) -> Any:
    """`(func(*primals), vjp_fn)`: `vjp_fn(cotangents)` is the product of cotangents with the Jacobian, a tuple of one
    gradient per primal (or the gradient, for a single one). With `has_aux` the third result is what `func` returned
    beside its output.

    >>> import flambeau as torch
    >>> out, back = torch.func.vjp(torch.square, torch.tensor([1.0, 3.0]))
    >>> back(torch.ones(2))
    (tensor([2., 6.]),)
    """
    name = "vjp(f, *primals)"
    keep = thread.grad
    with Level("grad"), enable_grad():
        leaves, spec = _tensors_of(primals, name)
        points = [point(t) for t in leaves]
        output, aux = _with_aux(func(*tree_unflatten(points, spec)), has_aux, name)
        roots, out_spec = _outputs_of(output, name)

    def vjp_fn(*cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        given = cotangents[0] if len(cotangents) == 1 else cotangents
        seeds, given_spec = tree_flatten(given)
        if given_spec != out_spec:
            raise RuntimeError(
                f"vjp_fn: the cotangents must have the structure of the output, {out_spec}, got {given_spec}"
            )
        for root, seed in zip(roots, seeds, strict=True):
            if not isinstance(seed, Tensor):
                raise RuntimeError(f"vjp_fn: cotangents must be Tensors, got {type(seed).__name__}")
            if root._a.shape != seed._a.shape:
                raise RuntimeError(
                    f"vjp_fn: a cotangent of shape {list(seed._a.shape)} came for an output of shape "
                    f"{list(root._a.shape)}; they must be equal"
                )
        recording = thread.grad if create_graph is None else create_graph
        foreign = recording and any(s._node is not None for s in seeds)
        if foreign:
            with enable_grad():
                found = _recorded(roots, points, seeds)
        else:
            found = _gradients(roots, points, seeds, recording, retain_graph)
        return tree_unflatten(found, spec)

    shown = tree_unflatten([_cut(r, points, keep) for r in roots], out_spec)
    return (shown, vjp_fn, _cut(aux, points, keep)) if has_aux else (shown, vjp_fn)


def _recorded(roots: list[Any], points: list[Any], seeds: list[Any]) -> list[Any]:
    """Gradients that stay on the tape as functions of the seeds."""
    pairs = [(r, s) for r, s in zip(roots, seeds, strict=True) if r._node is not None]
    found: Any = [None] * len(points)
    if pairs:
        found = tape_gradients(
            [r for r, _ in pairs], points, [s for _, s in pairs], create_graph=True, allow_unused=True
        )
    return [zeros_of(p) if g is None else g for p, g in zip(points, found, strict=True)]


def _checked_tangents(primals: Any, tangents: Any, name: str) -> tuple[list[Any], list[Any], TreeSpec]:
    if not isinstance(primals, tuple) or not isinstance(tangents, tuple):
        what = primals if not isinstance(primals, tuple) else tangents
        raise RuntimeError(f"{name}: primals and tangents must be tuples of Tensors, got {type(what).__name__}")
    if not primals:
        raise RuntimeError(f"{name}: at least one primal is needed")
    values, spec = _tensors_of(primals, name)
    moves, moves_spec = _tensors_of(tangents, name)
    if spec != moves_spec:
        raise RuntimeError(f"{name}: tangents must have the structure of the primals, {spec}, got {moves_spec}")
    moves = [checked_tangent(p, t, name) for p, t in zip(values, moves, strict=True)]
    return values, moves, spec


def checked_tangent(primal: Any, tangent: Any, name: str) -> Any:
    """The tangent in its value's dtype; RuntimeError where it has another shape."""
    if primal._a.shape != tangent._a.shape:
        raise RuntimeError(
            f"{name}: a tangent of shape {list(tangent._a.shape)} came for a value of shape {list(primal._a.shape)}; "
            "they must be equal"
        )
    return tangent if tangent._a.dtype == primal._a.dtype else NS["OPS"].to_numpy_dtype(tangent, primal._a.dtype)


def jvp(func: Callable, primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False) -> Any:
    """`(func(*primals), product of its Jacobian with the tangents)`, in one pass forward.

    `primals` and `tangents` are tuples of the same structure. With `strict`, an output that does not depend on the
    inputs is a RuntimeError instead of a product of zeros. With `has_aux` the third result is what `func` returned
    beside its output.

    >>> import flambeau as torch
    >>> torch.func.jvp(torch.sin, (torch.tensor(0.0),), (torch.tensor(2.0),))
    (tensor(0.), tensor(2.))
    """
    name = "jvp(f, primals, tangents)"
    values, moves, spec = _checked_tangents(primals, tangents, name)
    with Level("jvp") as level:
        inside = [dual(level, p, t) for p, t in zip(values, moves, strict=True)]
        output, aux = _with_aux(func(*tree_unflatten(inside, spec)), has_aux, name)
        leaves, out_spec = _outputs_of(output, name)
        results = []
        for leaf in leaves:
            p, t = parts(leaf, level)
            if strict and t is None:
                raise RuntimeError(f"{name}: strict=True, and an output does not depend on the inputs")
            results.append((p, t))
        aux = tree_map_only(Tensor, lambda t: parts(t, level)[0], aux)
    shown = tree_unflatten([p for p, _ in results], out_spec)
    moved = tree_unflatten([zeros_of(p) if t is None else t for p, t in results], out_spec)
    return (shown, moved, aux) if has_aux else (shown, moved)


def linearize(func: Callable, *primals: Any) -> tuple[Any, Callable]:
    """`(func(*primals), jvp_fn)`: `jvp_fn(*tangents)` is the product of the Jacobian there with tangents.

    `func` runs once; each product then costs one pass over what was recorded.

    >>> import flambeau as torch
    >>> value, forward = torch.func.linearize(torch.square, torch.tensor([1.0, 3.0]))
    >>> forward(torch.ones(2))
    tensor([2., 6.])
    """
    name = "linearize(f, *primals)"
    values, spec = _tensors_of(primals, name)
    keep = thread.grad
    with Level("grad"), enable_grad():
        points = [point(t) for t in values]
        roots, out_spec = _outputs_of(func(*tree_unflatten(points, spec)), name)
        dummies = [point(alias(zeros_of(t))) for t in roots]
        rows = _recorded(roots, points, dummies)

    def jvp_fn(*tangents: Any) -> Any:
        moves, moves_spec = tree_flatten(tangents)
        if moves_spec != spec:
            raise RuntimeError(f"{name}: tangents must have the structure of the primals, {spec}, got {moves_spec}")
        moves = [checked_tangent(p, t, name) for p, t in zip(values, moves, strict=True)]
        found = _gradients(rows, dummies, moves, thread.grad, True, points)
        return tree_unflatten(found, out_spec)

    return tree_unflatten([_cut(r, points, keep) for r in roots], out_spec), jvp_fn


# --- whole Jacobians -------------------------------------------------------------------------------------------------


def basis(tensors: list[Any]) -> list[Any]:
    """For each tensor, unit vectors for all numbers of all tensors: (total, *shape) arrays."""
    total = sum(t._a.size for t in tensors)
    found, start = [], 0
    for t in tensors:
        rows = np.zeros((total, t._a.size), t._a.dtype)
        rows[np.arange(start, start + t._a.size), np.arange(t._a.size)] = 1
        start += t._a.size
        found.append(NS["WRAP"](rows.reshape(total, *t._a.shape)))
    return found


def sections(table: Any, tensors: list[Any]) -> list[Any]:
    """Rows of a table, one per number of all tensors, as one part per tensor."""
    parts_, start = [], 0
    for t in tensors:
        parts_.append(NS["OPS"].slice(table, 0, start, start + t._a.size))
        start += t._a.size
    return parts_


def jacrev(
    func: Callable,
    argnums: Any = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Callable:
    """A function that returns the Jacobian of `func`, of the shape (*output, *input), by passes backward.

    `argnums`: an int, or a tuple for a tuple of Jacobians. Outputs and inputs may be containers: the result has the
    output's structure, with the input's inside. `chunk_size` limits how many rows are computed at once.

    >>> import flambeau as torch
    >>> torch.func.jacrev(torch.square)(torch.tensor([1.0, 3.0]))
    tensor([[2., 0.],
            [0., 6.]])
    """
    if not (chunk_size is None or chunk_size > 0):
        raise ValueError(f"jacrev: chunk_size must be a positive number or None, got {chunk_size}")

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        name = "jacrev(f)(*args)"
        places, chosen = _chosen(args, argnums, name)

        def of_chosen(*values: Any) -> Any:
            return func(*_replaced(args, places, values, False), **kwargs)

        inputs = chosen if isinstance(argnums, tuple) else (chosen,)
        found = vjp(of_chosen, *inputs, has_aux=has_aux)
        output, back = found[0], found[1]
        outputs, out_spec = tree_flatten(output)
        in_leaves, in_spec = tree_flatten(inputs)
        rows = vmap(lambda seeds: back(tree_unflatten(seeds, out_spec)), chunk_size=chunk_size)(basis(outputs))
        tables = [sections(row, outputs) for row in tree_flatten(rows)[0]]
        result = []
        for j, out in enumerate(outputs):
            per_input = [
                NS["OPS"].reshape(table[j], (*out._a.shape, *t._a.shape))
                for table, t in zip(tables, in_leaves, strict=True)
            ]
            tree = tree_unflatten(per_input, in_spec)
            result.append(tree if isinstance(argnums, tuple) else tree[0])
        jacobian = tree_unflatten(result, out_spec)
        return (jacobian, found[2]) if has_aux else jacobian

    return wrapper


def jacfwd(func: Callable, argnums: Any = 0, has_aux: bool = False, *, randomness: str = "error") -> Callable:
    """A function that returns the Jacobian of `func`, by passes forward: quicker than `jacrev` where there are more
    outputs than inputs.

    >>> import flambeau as torch
    >>> torch.func.jacfwd(torch.square)(torch.tensor([1.0, 3.0]))
    tensor([[2., 0.],
            [0., 6.]])
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        name = "jacfwd(f)(*args)"
        places, chosen = _chosen(args, argnums, name)
        inputs = chosen if isinstance(argnums, tuple) else (chosen,)
        in_leaves, in_spec = _tensors_of(inputs, name)
        kept: dict[str, Any] = {}

        def of_chosen(*values: Any) -> Any:
            return func(*_replaced(args, places, values, False), **kwargs)

        def push(tangents: Any) -> Any:
            found = jvp(of_chosen, inputs, tree_unflatten(tangents, in_spec), has_aux=has_aux)
            kept["aux"] = found[2] if has_aux else None
            return found[1]

        columns = vmap(push, randomness=randomness)(basis(in_leaves))
        tables, out_spec = tree_flatten(columns)
        result = []
        for table in tables:
            shape = table._a.shape[1:]
            per_input = []
            for part, t in zip(sections(table, in_leaves), in_leaves, strict=True):
                moved = NS["OPS"].permute(part, (*range(1, len(shape) + 1), 0))
                per_input.append(NS["OPS"].reshape(moved, (*shape, *t._a.shape)))
            tree = tree_unflatten(per_input, in_spec)
            result.append(tree if isinstance(argnums, tuple) else tree[0])
        jacobian = tree_unflatten(result, out_spec)
        return (jacobian, _one_of(kept["aux"])) if has_aux else jacobian

    return wrapper


def _one_of(aux: Any) -> Any:
    """What a function returned beside its output, out of the batch of basis vectors, on which it does not depend."""

    def single(t: Any) -> Any:
        while t._level is not None and not t._level.alive:
            inner = t.inside()
            t = NS["OPS"].select(inner, 0, 0) if not isinstance(t, Dual) and t._batched else inner
        return t

    return tree_map_only(Tensor, single, aux)


def hessian(func: Callable, argnums: Any = 0) -> Callable:
    """A function that returns the Hessian of `func`, forward over reverse: `jacfwd(jacrev(func))`.

    >>> import flambeau as torch
    >>> torch.func.hessian(lambda x: (x ** 3).sum())(torch.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    return jacfwd(jacrev(func, argnums), argnums)


def functionalize(func: Callable, *, remove: str = "mutations") -> Callable:
    """`func` itself: transforms work with writes in place as they are, so nothing has to be taken out for them.

    The arguments that `func` writes to are written, as they are with PyTorch's `functionalize`.
    """
    if remove not in ("mutations", "mutations_and_views"):
        raise RuntimeError(f"functionalize: remove must be 'mutations' or 'mutations_and_views', got {remove!r}")

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return wrapper


__all__ = ["functionalize", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize", "vjp"]
