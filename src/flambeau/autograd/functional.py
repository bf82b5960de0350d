"""Whole derivatives of functions: Jacobians, Hessians, and their products with vectors.

Products with a Jacobian from the right are made of two passes: the product from the left is linear in its vector, so
its own derivative with respect to that vector is the product from the right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.autograd.api import grad
from flambeau.autograd.runtime import NS, enable_grad

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]


def _tuple(value: Any, what: str, of: str) -> tuple[bool, tuple[Any, ...]]:
    """Whether it was a tuple, and the tensors; a TypeError for anything else."""
    many = isinstance(value, tuple)
    items = value if many else (value,)
    for i, item in enumerate(items):
        if not isinstance(item, NS["Tensor"]):
            at = f" at position {i}" if many else ""
            raise TypeError(f"the {what} of {of} must be a Tensor or a tuple of Tensors, got {type(item).__name__}{at}")
    return many, tuple(items)


def _fresh(inputs: tuple, create_graph: bool) -> tuple[Any, ...]:
    """The inputs as points to differentiate at: joined to the caller's graph under `create_graph`, else apart from
    it.
    """
    if create_graph:
        return tuple(t.view_as(t) if t.requires_grad else t.detach().requires_grad_() for t in inputs)
    return tuple(t.detach().requires_grad_() for t in inputs)


def _check_connected(outputs: tuple, strict: bool, what: str) -> None:
    if strict:
        for i, out in enumerate(outputs):
            if not out.requires_grad:
                raise RuntimeError(
                    f"output {i} of {what} does not depend on the inputs, which strict=True does not allow"
                )


def _gradients(
    outputs: tuple, inputs: tuple, vectors: Any, create: bool, strict: bool, what: str, retain: Any = None
) -> Any:
    """`grad` that gives zeros where nothing depends on an input."""
    pairs = [(o, v) for o, v in zip(outputs, vectors, strict=True) if o.requires_grad]
    found: Any = (None,) * len(inputs)
    if pairs:
        roots, seeds = zip(*pairs, strict=True)
        found = grad(roots, inputs, seeds, retain_graph=retain, create_graph=create, allow_unused=True)
    results = []
    for i, (g, t) in enumerate(zip(found, inputs, strict=True)):
        if g is None and strict:
            raise RuntimeError(f"{what}: the outputs do not depend on input {i}, which strict=True does not allow")
        results.append(NS["OPS"].zeros_like(t.detach()) if g is None else g)
    return tuple(results)


def _vectors(v: Any, like: tuple, what: str, of: str) -> tuple[Any, ...]:
    """The vectors of a product: given ones that fit, or 1 for a single number."""
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise RuntimeError(f"{of}: v may be left out only where the {what} is a single number; give one per {what}")
        return (NS["OPS"].ones_like(like[0].detach()),)
    _, items = _tuple(v, "vector v", of)
    if len(items) != len(like):
        raise RuntimeError(f"{of}: v has {len(items)} tensors, expected {len(like)}, one per {what}")
    for i, (a, b) in enumerate(zip(items, like, strict=True)):
        if a.shape != b.shape:
            raise RuntimeError(f"{of}: v has the shape {list(a.shape)} at position {i}, expected {list(b.shape)}")
    return items


def _given_back(values: tuple, many: bool, create_graph: bool) -> Any:
    results = values if create_graph else tuple(t.detach() for t in values)
    return results if many else results[0]


def vjp(
    func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """`func(*inputs)`, and the product of `v` with the Jacobian: one backward pass.

    >>> import flambeau as torch
    >>> torch.autograd.functional.vjp(lambda x: x ** 2, torch.tensor([1., 3.]), torch.tensor([1., 1.]))
    (tensor([1., 9.]), tensor([2., 6.]))
    """
    with enable_grad():
        many, items = _tuple(inputs, "inputs", "vjp")
        points = _fresh(items, create_graph)
        out_many, outputs = _tuple(func(*points), "outputs", "the function given to vjp")
        _check_connected(outputs, strict, "vjp")
        seeds = _vectors(v, outputs, "output", "vjp")
        product = _gradients(outputs, points, seeds, create_graph, strict, "vjp")
    return _given_back(outputs, out_many, create_graph), _given_back(product, many, create_graph)


def jvp(
    func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """`func(*inputs)`, and the product of the Jacobian with `v`: two backward passes.

    >>> import flambeau as torch
    >>> torch.autograd.functional.jvp(lambda x: x ** 2, torch.tensor([1., 3.]), torch.tensor([1., 2.]))
    (tensor([1., 9.]), tensor([ 2., 12.]))
    """
    with enable_grad():
        _, items = _tuple(inputs, "inputs", "jvp")
        points = _fresh(items, create_graph)
        vectors = _vectors(v, points, "input", "jvp")
        out_many, outputs = _tuple(func(*points), "outputs", "the function given to jvp")
        _check_connected(outputs, strict, "jvp")
        dummies = tuple(NS["OPS"].zeros_like(o.detach()).requires_grad_() for o in outputs)
        left = _gradients(outputs, points, dummies, True, strict, "jvp")
        product = _gradients(left, dummies, vectors, create_graph, False, "jvp")
    return _given_back(outputs, out_many, create_graph), _given_back(product, out_many, create_graph)


def _scalar(outputs: tuple, many: bool, of: str) -> Any:
    if many or outputs[0].numel() != 1:
        raise RuntimeError(
            f"the function given to {of} must return a single number, got {[list(o.shape) for o in outputs]}"
        )
    return outputs[0]


def _first(func: Callable, inputs: Any, create_graph: bool, strict: bool, of: str) -> tuple:
    """The points, the function's value there, and its recorded gradients."""
    many, items = _tuple(inputs, "inputs", of)
    points = _fresh(items, create_graph)
    out_many, outputs = _tuple(func(*points), "outputs", f"the function given to {of}")
    value = _scalar(outputs, out_many, of)
    _check_connected((value,), strict, of)
    first = _gradients((value.reshape(()) if value.dim() else value,), points, (None,), True, strict, of)
    _check_connected(first, strict, f"the gradient taken by {of}")
    return many, points, value, first


def vhp(
    func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """`func(*inputs)`, a single number, and the product of `v` with its Hessian."""
    with enable_grad():
        many, points, value, first = _first(func, inputs, create_graph, strict, "vhp")
        vectors = _vectors(v, points, "input", "vhp")
        product = _gradients(first, points, vectors, create_graph, strict, "vhp")
    return _given_back((value,), False, create_graph), _given_back(product, many, create_graph)


def hvp(
    func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """`func(*inputs)`, a single number, and the product of its Hessian with `v`; `vhp` does the same in fewer
    passes.
    """
    with enable_grad():
        many, points, value, _ = _first(func, inputs, create_graph, strict, "hvp")
        vectors = _vectors(v, points, "input", "hvp")
        seed = NS["OPS"].ones_like(value.detach()).requires_grad_()
        left = _gradients((value,), points, (seed,), True, strict, "hvp")
        dummies = tuple(NS["OPS"].zeros_like(t.detach()).requires_grad_() for t in points)
        double = _gradients(left, points, dummies, True, strict, "hvp")
        product = _gradients(double, dummies, vectors, create_graph, False, "hvp")
    return _given_back((value,), False, create_graph), _given_back(product, many, create_graph)


def _rows(out: Any, points: tuple, create_graph: bool, strict: bool) -> list[Any]:
    """The Jacobian of one output with respect to each input: one backward pass per element."""
    ops = NS["OPS"]
    columns: list[list[Any]] = [[] for _ in points]
    flat = out.reshape(-1)
    for j in range(flat.numel()):
        found = _gradients((flat[j],), points, (None,), create_graph, strict, "jacobian", retain=True)
        for column, g in zip(columns, found, strict=True):
            if strict and create_graph and not g.requires_grad:
                raise RuntimeError(
                    "jacobian: it does not depend on the inputs, which strict=True does not allow with create_graph"
                )
            column.append(g)
    shape = tuple(out.shape)
    return [
        ops.reshape(ops.stack_op(column, 0), shape + tuple(t.shape))
        if column
        else ops.zeros_like(t.detach()).new_zeros(shape + tuple(t.shape))
        for column, t in zip(columns, points, strict=True)
    ]


def _all_rows(outputs: tuple, points: tuple, create_graph: bool) -> list[Any]:
    """The Jacobian of each output with respect to each input, by one backward pass for all elements at once."""
    from flambeau.func.transforms import basis, sections
    from flambeau.func.vmap import vmap

    def row(seeds: list[Any]) -> tuple:
        return _gradients(outputs, points, tuple(seeds), create_graph, False, "jacobian", retain=True)

    tables = [sections(t, list(outputs)) for t in vmap(row)(basis(list(outputs)))]
    ops = NS["OPS"]
    return [
        tuple(ops.reshape(table[j], (*out.shape, *t.shape)) for table, t in zip(tables, points, strict=True))
        for j, out in enumerate(outputs)
    ]


def _forward_jacobian(func: Callable, inputs: Any, create_graph: bool, vectorize: bool) -> Any:
    """The Jacobian by one pass forward for all elements of the inputs at once."""
    if create_graph:
        raise NotImplementedError(
            "jacobian: forward mode does not go with create_graph=True; use reverse mode for that"
        )
    if not vectorize:
        raise NotImplementedError("jacobian: forward mode needs vectorize=True, here and in hessian")
    from flambeau.func.transforms import jacfwd

    many, items = _tuple(inputs, "inputs", "jacobian")
    kept: dict[str, Any] = {}

    def checked(*points: Any) -> Any:
        kept["many"], outputs = _tuple(func(*points), "outputs", "the function given to jacobian")
        return outputs

    table = jacfwd(checked, argnums=tuple(range(len(items))))(*items)
    rows = [_given_back(row, many, False) for row in table]
    return tuple(rows) if kept["many"] else rows[0]


def jacobian(
    func: Callable, inputs: Any, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:  # fmt: skip
    """All first derivatives of `func` at `inputs`: of the shape (*output, *input), in tuples where there are several.

    >>> import flambeau as torch
    >>> torch.autograd.functional.jacobian(lambda x: x ** 2, torch.tensor([1., 3.]))
    tensor([[2., 0.],
            [0., 6.]])
    """
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(f"strategy is 'reverse-mode' or 'forward-mode', got {strategy!r}")
    if strict and (vectorize or strategy == "forward-mode"):
        what = 'strategy="forward-mode"' if strategy == "forward-mode" else "vectorize=True"
        raise RuntimeError(f"jacobian: strict=True goes neither with vectorize nor with forward mode, got {what}")
    if strategy == "forward-mode":
        return _forward_jacobian(func, inputs, create_graph, vectorize)
    with enable_grad():
        many, items = _tuple(inputs, "inputs", "jacobian")
        points = _fresh(items, create_graph)
        out_many, outputs = _tuple(func(*points), "outputs", "the function given to jacobian")
        _check_connected(outputs, strict, "jacobian")
        if vectorize:
            rows = _all_rows(outputs, points, create_graph)
            table = [_given_back(row, many, create_graph) for row in rows]
            return tuple(table) if out_many else table[0]
        table = [_given_back(tuple(_rows(out, points, create_graph, strict)), many, create_graph) for out in outputs]
    return tuple(table) if out_many else table[0]


def hessian(
    func: Callable, inputs: Any, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:  # fmt: skip
    """All second derivatives of `func`, which returns a single number, at `inputs`.

    >>> import flambeau as torch
    >>> torch.autograd.functional.hessian(lambda x: (x ** 3).sum(), torch.tensor([1., 2.]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    many, items = _tuple(inputs, "inputs", "hessian")

    def first(*points: Any) -> tuple[Any, ...]:
        out_many, outputs = _tuple(func(*points), "outputs", "the function given to hessian")
        value = _scalar(outputs, out_many, "hessian")
        _check_connected((value,), strict, "hessian")
        return _gradients((value,), points, (None,), True, strict, "hessian")

    if outer_jacobian_strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            f"outer_jacobian_strategy is 'reverse-mode' or 'forward-mode', got {outer_jacobian_strategy!r}"
        )
    if outer_jacobian_strategy == "forward-mode":
        from flambeau.func.transforms import jacrev

        places = tuple(range(len(items)))

        def first(*points: Any) -> tuple[Any, ...]:  # noqa: F811
            def value(*at: Any) -> Any:
                out_many, outputs = _tuple(func(*at), "outputs", "the function given to hessian")
                return _scalar(outputs, out_many, "hessian").reshape(())

            return jacrev(value, places)(*points)

    table = jacobian(
        first,
        items,
        create_graph=create_graph,
        strict=strict,
        vectorize=vectorize,
        strategy=outer_jacobian_strategy,
    )
    return table if many else table[0][0]
