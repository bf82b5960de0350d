"""`vmap`: a function of one example as a function of a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.autograd.runtime import NS
from flambeau.func.batched import batched, open_up
from flambeau.func.dual import Dual
from flambeau.func.levels import Level, below, hidden, highest, level_of, running
from flambeau.pytree import TreeSpec, broadcast_to_and_flatten, tree_flatten, tree_map_only, tree_unflatten
from flambeau.tensor.tensor import Tensor

#: Operations carry the batch along by rules that this loads.
from flambeau.func import rules_index, rules_layers, rules_shape  # noqa: F401, E402  isort: skip


def _name(func: Callable) -> str:
    return getattr(func, "__name__", None) or repr(func)


def vmap(
    func: Callable, in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *, chunk_size: int | None = None
) -> Callable:
    """`func`, written for one example, as a function of a batch of them.

    `in_dims`: which dimension of each argument is the batch: an int for all, or a structure like the arguments' with
    ints, and None for what is the same for all examples. `out_dims` likewise for the results. Inside, tensors have no
    batch dimension; each operation runs once for the whole batch. `randomness`: whether random operations are an
    'error', give the 'same' numbers to all examples, or 'different' ones. `chunk_size` limits how many examples run at
    once.

    RuntimeError where `func` looks at values (`.item()`, `if x > 0`) or writes a batch into a tensor without one;
    ValueError where `in_dims` or `out_dims` do not fit.

    >>> import flambeau as torch
    >>> torch.vmap(torch.dot)(torch.ones(2, 3), torch.arange(6.0).reshape(2, 3))
    tensor([ 3., 12.])
    """
    if randomness not in ("error", "same", "different"):
        raise RuntimeError(f"vmap: randomness must be 'error', 'same' or 'different', got {randomness!r}")
    if not (chunk_size is None or chunk_size > 0):
        raise ValueError(f"vmap: chunk_size must be a positive number or None, got {chunk_size}")

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        size, dims, leaves, spec = _inputs(func, in_dims, args)
        if chunk_size is None or size <= chunk_size:
            return _run(func, size, dims, leaves, spec, out_dims, randomness, kwargs)
        return _in_chunks(func, size, dims, leaves, spec, out_dims, randomness, kwargs, chunk_size)

    return wrapped


def _inputs(func: Callable, in_dims: Any, args: tuple) -> tuple[int, list[Any], list[Any], TreeSpec]:
    """The size of the batch, and for each leaf of the arguments its batch dimension and value."""
    call = f"vmap({_name(func)}, in_dims={in_dims}, ...)(<inputs>)"
    if not isinstance(in_dims, (int, tuple)) or isinstance(in_dims, bool):
        raise ValueError(
            f"{call}: in_dims must be an int, or a tuple with the structure of the inputs, got {type(in_dims).__name__}"
        )
    if not args:
        raise ValueError(f"{call}: there are no inputs to take a batch from; vmap needs at least one")
    leaves, spec = tree_flatten(args)
    dims = broadcast_to_and_flatten(in_dims, spec)
    if dims is None:
        raise ValueError(
            f"{call}: in_dims does not have the structure of the inputs, which is "
            f"{tree_unflatten(['*'] * len(leaves), spec)}"
        )
    wrapped: list[Any] = []
    for leaf, dim in zip(leaves, dims, strict=True):
        if dim is None:
            wrapped.append(None)
            continue
        if not isinstance(dim, int):
            raise ValueError(f"{call}: in_dims must hold ints and None, got {dim!r}")
        if not isinstance(leaf, Tensor):
            raise ValueError(
                f"{call}: in_dim {dim} is given for an input of type {type(leaf).__name__}; only Tensors have a batch "
                "dimension, everything else needs None there"
            )
        if not -leaf.dim() <= dim < leaf.dim():
            raise ValueError(f"{call}: in_dim {dim} is given for an input of only {leaf.dim()} dimensions")
        wrapped.append(dim % leaf.dim())
    sizes = [leaf.shape[dim] for leaf, dim in zip(leaves, wrapped, strict=True) if dim is not None]
    if not sizes:
        raise ValueError(f"{call}: at least one input needs an in_dim that is not None")
    if any(n != sizes[0] for n in sizes):
        raise ValueError(f"{call}: all inputs need the same size in their batch dimension, got {sizes}")
    return sizes[0], wrapped, leaves, spec


def _run(
    func: Callable, size: int, dims: list, leaves: list, spec: TreeSpec, out_dims: Any, randomness: str, kwargs: dict
) -> Any:  # fmt: skip
    with Level("vmap", size, randomness) as level:
        inside = [
            leaf if dim is None else batched(level, leaf if dim == 0 else NS["OPS"].permute(leaf, _first(leaf, dim)))
            for leaf, dim in zip(leaves, dims, strict=True)
        ]
        result = func(*tree_unflatten(inside, spec), **kwargs)
        return _outputs(func, result, out_dims, level)


def _first(t: Any, dim: int) -> tuple[int, ...]:
    """The order of dimensions that puts `dim` in front."""
    return (dim, *(i for i in range(t._a.ndim) if i != dim))


def _outputs(func: Callable, result: Any, out_dims: Any, level: Level) -> Any:
    """The results with their batch dimensions where `out_dims` wants them."""
    call = f"vmap({_name(func)}, ..., out_dims={out_dims})"
    leaves, spec = tree_flatten(result)
    dims = _out_dims(call, out_dims, spec, leaves)
    with hidden():
        found = [_outside(call, leaf, dim, level) for leaf, dim in zip(leaves, dims, strict=True)]
    return tree_unflatten(found, spec)


def _out_dims(call: str, out_dims: Any, spec: TreeSpec, leaves: list) -> list[Any]:
    if isinstance(out_dims, tuple) and spec.is_leaf() and len(out_dims) == 1:
        out_dims = out_dims[0]
    dims = broadcast_to_and_flatten(out_dims, spec)
    if dims is None or not all(d is None or (isinstance(d, int) and not isinstance(d, bool)) for d in dims):
        raise ValueError(
            f"{call}: out_dims must be an int, None, or have the structure of the results, which is "
            f"{tree_unflatten(['*'] * len(leaves), spec)}"
        )
    return dims


def _outside(call: str, leaf: Any, dim: Any, level: Level) -> Any:
    if not isinstance(leaf, Tensor):
        if dim is None:
            return leaf
        raise ValueError(f"{call}: the function must return Tensors only, got {type(leaf).__name__}")
    inner, is_batched = open_up(leaf, level)
    if dim is None:
        if is_batched:
            raise ValueError(f"{call}: a result that depends on the batch has the out_dim None")
        return inner
    if not is_batched:
        inner = NS["OPS"].expand_op(inner, (level.size, *inner._a.shape))
    rank = inner._a.ndim
    if not -rank <= dim < rank:
        raise IndexError(
            f"{call}: dimension out of range: out_dim {dim} is asked for, the result has {rank} dimensions, which are "
            f"named from {-rank} to {rank - 1}"
        )
    dim %= rank
    if dim == 0:
        return inner
    return NS["OPS"].permute(inner, (*range(1, dim + 1), 0, *range(dim + 1, rank)))


def _in_chunks(
    func: Callable, size: int, dims: list, leaves: list, spec: TreeSpec, out_dims: Any, randomness: str, kwargs: dict,
    chunk_size: int,
) -> Any:  # fmt: skip
    """The batch in pieces, each a call of its own, and the results joined."""
    parts: list[list[Any]] = []
    joined: Any = None
    ops = NS["OPS"]
    for start in range(0, size, chunk_size):
        stop = min(start + chunk_size, size)
        piece = [
            leaf if dim is None else ops.slice(leaf, dim, start, stop) for leaf, dim in zip(leaves, dims, strict=True)
        ]
        result = _run(func, stop - start, dims, piece, spec, out_dims, randomness, kwargs)
        flat, joined = tree_flatten(result)
        parts.append(flat)
    places = _out_dims(_name(func), out_dims, joined, parts[0])
    whole = [
        column[0] if dim is None else ops.cat_op(list(column), dim)
        for column, dim in zip(zip(*parts, strict=True), places, strict=True)
    ]
    return tree_unflatten(whole, joined)


def draw(function: Callable, args: tuple, kwargs: dict) -> Any:
    """A function that draws random numbers, under the `randomness` of the innermost vmap."""
    level = next((lv for lv in reversed(running()) if lv.kind == "vmap"), None)
    args, kwargs = tree_map_only(Dual, lambda t: _without_tangents(t, level), (args, kwargs))
    if level is None:
        return function(*args, **kwargs)
    name = function.__name__.lstrip("_")
    if level.randomness == "error":
        raise RuntimeError(
            f"vmap: {name}() draws random numbers, which randomness='error' refuses; pass randomness='same' or "
            "'different' to vmap, or draw outside of it"
        )
    with below(level):
        if name.endswith("_") and args and isinstance(args[0], Tensor):
            return _filled(name, function, args, kwargs, level)
        if level.randomness == "same":
            return _same(name, function, args, kwargs, level)
        return _different(name, function, args, kwargs, level)


def _without_tangents(t: Any, level: Level | None) -> Any:
    """The value of a dual that lies above `level`: numbers that are drawn have no tangents."""
    while isinstance(t, Dual) and (level is None or level_of(t) > level.number):
        t = t._primal
    return t


def _filled(name: str, function: Callable, args: tuple, kwargs: dict, level: Level) -> Any:
    """A method that fills its tensor with random numbers."""
    self, *rest = args
    inner, is_batched = open_up(self, level)
    if level.randomness == "different":
        if not is_batched:
            raise RuntimeError(
                f"vmap: {name}() is to draw different numbers for each example, but its tensor has no batch dimension"
            )
        function(inner, *(open_up(t, level)[0] if isinstance(t, Tensor) else t for t in rest), **kwargs)
    elif is_batched:
        one = NS["WRAP"](np.empty(self._a.shape, self._a.dtype))
        inner.copy_(function(one, *rest, **kwargs))
    else:
        function(inner, *rest, **kwargs)
    return self


def _same(name: str, function: Callable, args: tuple, kwargs: dict, level: Level) -> Any:
    leaves, spec = tree_flatten((args, kwargs))
    if any(isinstance(t, Tensor) and t._level is level and t._batched for t in leaves):
        return _different(name, function, args, kwargs, level, rewind=True)
    inside = [open_up(t, level)[0] if isinstance(t, Tensor) else t for t in leaves]
    args, kwargs = tree_unflatten(inside, spec)
    return function(*args, **kwargs)


def _different(
    name: str, function: Callable, args: tuple, kwargs: dict, level: Level, rewind: bool = False
) -> Any:  # fmt: skip
    """One call per example, stacked; with `rewind` all from one state of the generator."""
    from flambeau.ops.fillers import generator_of

    leaves, spec = tree_flatten((args, kwargs))
    generator = generator_of(kwargs.get("generator"))
    state = generator.get_state() if rewind else None
    rows = []
    for i in range(level.size):
        picked = []
        for t in leaves:
            inner, is_batched = open_up(t, level) if isinstance(t, Tensor) else (t, False)
            picked.append(NS["OPS"].select(inner, 0, i) if is_batched else inner)
        if rewind:
            generator.set_state(state)
        own, named = tree_unflatten(picked, spec)
        rows.append(function(*own, **named))
    if not rows:
        raise RuntimeError(f"vmap: {name}() can't draw for a batch of size 0")
    flat = [tree_flatten(row) for row in rows]
    columns = zip(*(f for f, _ in flat), strict=True)
    stacked = [
        batched(level, NS["OPS"].stack_op(list(column), 0)) if isinstance(column[0], Tensor) else column[0]
        for column in columns
    ]
    return tree_unflatten(stacked, flat[0][1])


def by_example(function: Callable, args: tuple, kwargs: dict) -> Any:
    """A function that looks at values, and has no derivative: once per example of each batch."""
    args, kwargs = tree_map_only(Dual, lambda t: _without_tangents(t, None), (args, kwargs))
    leaves, spec = tree_flatten((args, kwargs))
    top = highest([t for t in leaves if isinstance(t, Tensor)])
    if top is None:
        return function(*args, **kwargs)
    name = function.__name__
    if not any(isinstance(t, Tensor) and open_up(t, top)[1] for t in leaves):
        inside = [open_up(t, top)[0] if isinstance(t, Tensor) else t for t in leaves]
        args, kwargs = tree_unflatten(inside, spec)
        return by_example(function, args, kwargs)
    with below(top):
        return _different(name, functools.partial(by_example, function), (args, kwargs), {}, top)


NS["DRAW"] = draw
NS["BY_EXAMPLE"] = by_example
