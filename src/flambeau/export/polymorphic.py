"""One JAX function for all sizes, from what a function is at some: its jaxprs, equation by equation.

Numbers in them that differ from size to size are polynomials of the sizes (see `extents`), and with JAX's symbolic
sizes in their place the equations are bound again. Loops and calls are gone into.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.engines.arrays import host
from flambeau.engines.xla.runtime import jnp, lax
from flambeau.export.extents import Extent, Real, Unknown, fitted, fitted_real
from flambeau.export.program import Made
from flambeau.export.sizes import Different, made_of

_INLINE = {
    "jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "core_call": "call_jaxpr", "remat2": "jaxpr",
    "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr", "custom_vjp_call_jaxpr": "fun_jaxpr",
    "checkpoint": "jaxpr",
}  # fmt: skip
Points = Sequence[dict[str, int]]


def joined(traced: Sequence[Any], points: Points, sizes: dict[str, Any], args: Sequence[Any]) -> list[Any]:
    """What the closed jaxprs, each for the sizes of one point, give for `args` of symbolic `sizes`.

    Different (a RuntimeError) where they do not fit together.
    """
    return _Join(points, sizes).closed(list(traced), list(args))


def made_at(constant: Any, sizes: dict[str, Any]) -> Any:
    """A program's constant for symbolic sizes."""
    return _Join([], sizes).made(constant) if isinstance(constant, Made) else jnp.asarray(host(constant._a))


class _Join:
    def __init__(self, points: Points, sizes: dict[str, Any]) -> None:
        self.points = points
        self.sizes = sizes

    # numbers

    def size(self, extent: Extent) -> Any:
        """An extent of the symbolic sizes."""
        scale = 1
        for c in extent.terms.values():
            scale = scale * c.denominator // np.gcd(scale, c.denominator)
        total: Any = 0
        for monomial, c in extent.terms.items():
            part: Any = int(c * scale)
            for name in monomial:
                part = part * self.sizes[name]
            total = total + part
        return total if scale == 1 else total // int(scale)

    def merged(self, seen: list[Any], what: str) -> Any:
        """A parameter of an equation."""
        first = seen[0]
        cls = first.__class__
        if cls in (tuple, list) and all(v.__class__ is cls and len(v) == len(first) for v in seen):
            return cls(self.merged(list(row), what) for row in zip(*seen, strict=True))
        if hasattr(first, "_fields") and isinstance(first, tuple):
            return cls(*(self.merged(list(row), what) for row in zip(*seen, strict=True)))
        if cls is int and all(v.__class__ is int for v in seen):
            found = fitted(seen, self.points)
            if isinstance(found, Unknown):
                raise Different(f"{what} has a number that is no polynomial of the sizes: {found}")
            return self.size(found) if isinstance(found, Extent) else found
        if all(v is first or _equal(v, first) for v in seen):
            return first
        raise Different(f"{what} differs from size to size: {first!r}, {seen[-1]!r}")

    def constant(self, seen: list[Any], what: str) -> Any:
        """A literal or constant array."""
        arrays = [np.asarray(v) for v in seen]
        first = arrays[0]
        if all(a.shape == first.shape and _equal_arrays(a, first) for a in arrays):
            return seen[0]
        if not first.ndim:
            return self.number(arrays, what)
        shape = tuple(fitted(n, self.points) for n in zip(*(a.shape for a in arrays), strict=True))
        made = None if any(isinstance(n, Unknown) for n in shape) else made_of(arrays, shape, self.points)
        if made is None:
            raise Different(f"{what} has a table that follows the sizes: keep the size that it follows fixed")
        return self.made(made)

    def number(self, arrays: list[np.ndarray], what: str) -> Any:
        """A number that follows the sizes, as a value."""
        values = [a.item() for a in arrays]
        found: Any = fitted(values, self.points) if all(type(v) is int for v in values) else None
        if isinstance(found, Extent):
            return jnp.asarray(self.size(found)).astype(arrays[0].dtype)
        narrow = arrays[0].dtype != np.float64
        real = fitted_real(values, self.points, 1e-6 if narrow else 1e-12) if found is None else None
        if real is None:
            raise Different(f"{what} has a number that follows the sizes in a way that is not known: {values}")
        return self.real(real).astype(arrays[0].dtype)

    def real(self, value: Real) -> Any:
        n = jnp.asarray(self.size(value.extent)).astype(np.float64)
        if "sqrt" in value.form:
            n = jnp.sqrt(n)
        if "1 /" in value.form:
            n = 1 / n
        return 1 + n if value.form.startswith("1 +") else n

    def made(self, made: Made) -> Any:
        shape = tuple(self.size(n) if isinstance(n, Extent) else n for n in made.shape)
        if made.kind == "full":
            return jnp.full(shape, made.numbers[0], made.dtype)
        if made.kind == "arange":
            start, step = (self.size(n) if isinstance(n, Extent) else n for n in made.numbers)
            return (lax.iota(np.int64, shape[0]) * step + start).astype(made.dtype)
        return jnp.eye(*shape, dtype=made.dtype)

    # equations

    def closed(self, traced: list[Any], args: list[Any]) -> list[Any]:
        """The results of closed jaxprs."""
        rows = zip(*(t.consts for t in traced), strict=True)
        consts = [self.constant(list(row), "a constant of the program") for row in rows]
        return self.open([t.jaxpr for t in traced], consts, args)

    def open(self, jaxprs: list[Any], consts: list[Any], args: list[Any]) -> list[Any]:
        """The results of jaxprs."""
        first = jaxprs[0]
        if any(len(j.eqns) != len(first.eqns) for j in jaxprs):
            raise Different("for other sizes the program has more equations: a loop in Python follows a size")
        env: dict[Any, Any] = dict(zip((*first.constvars, *first.invars), (*consts, *args), strict=True))

        def read(atoms: list[Any], what: str) -> Any:
            if hasattr(atoms[0], "val"):
                return self.constant([a.val for a in atoms], what)
            return env[atoms[0]]

        for eqns in zip(*(j.eqns for j in jaxprs), strict=True):
            eqn = eqns[0]
            if any(e.primitive is not eqn.primitive for e in eqns):
                raise Different(f"for other sizes {eqn.primitive} came out as {eqns[-1].primitive}")
            what = str(eqn.primitive)
            inputs = [read(list(row), what) for row in zip(*(e.invars for e in eqns), strict=True)]
            results = self.equation([e.params for e in eqns], eqn.primitive, inputs)
            for var, value in zip(eqn.outvars, results, strict=True):
                env[var] = value
        return [read(list(row), "a result") for row in zip(*(j.outvars for j in jaxprs), strict=True)]

    def equation(self, params: list[dict], primitive: Any, inputs: list[Any]) -> list[Any]:
        """One equation's results."""
        name = primitive.name
        if name in _INLINE:
            inner = [p[_INLINE[name]] for p in params]
            return self.closed(inner, inputs) if hasattr(inner[0], "consts") else self.open(inner, [], inputs)
        if name == "scan":
            return self.scan(params, inputs)
        if name == "while":
            return self.loop(params, inputs)
        if name == "cond":
            return self.branches(params, inputs)
        given = {k: self.merged([p[k] for p in params], name) for k in params[0]}
        if name in _SAFE:
            return _SAFE[name](inputs, given)
        found = primitive.bind(*inputs, **given)
        return list(found) if primitive.multiple_results else [found]

    def scan(self, params: list[dict], inputs: list[Any]) -> list[Any]:
        first = params[0]
        fixed, carried = first["num_consts"], first["num_carry"]
        bodies = [p["jaxpr"] for p in params]
        consts = inputs[:fixed]

        def body(carry: Any, xs: Any) -> Any:
            found = self.closed(bodies, [*consts, *carry, *xs])
            return found[:carried], found[carried:]

        length = None if len(inputs) > fixed + carried else self.merged([p["length"] for p in params], "scan")
        carry, rows = lax.scan(
            body, inputs[fixed : fixed + carried], inputs[fixed + carried :], length=length, reverse=first["reverse"]
        )
        return [*carry, *rows]

    def loop(self, params: list[dict], inputs: list[Any]) -> list[Any]:
        a, b = params[0]["cond_nconsts"], params[0]["body_nconsts"]
        conditions, bodies = [p["cond_jaxpr"] for p in params], [p["body_jaxpr"] for p in params]
        for_cond, for_body = inputs[:a], inputs[a : a + b]
        return list(
            lax.while_loop(
                lambda c: self.closed(conditions, [*for_cond, *c])[0],
                lambda c: self.closed(bodies, [*for_body, *c]),
                inputs[a + b :],
            )
        )

    def branches(self, params: list[dict], inputs: list[Any]) -> list[Any]:
        count = len(params[0]["branches"])
        ways = [lambda *xs, i=i: self.closed([p["branches"][i] for p in params], list(xs)) for i in range(count)]
        return list(lax.switch(inputs[0], ways, *inputs[1:]))


def _equal(a: Any, b: Any) -> bool:
    try:
        return bool(a == b)
    except Exception:
        return False


def _equal_arrays(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))


#: Equations that are made by a public function, which knows more of symbolic sizes than the primitive.
_SAFE = {
    "iota": lambda x, p: [lax.broadcasted_iota(p["dtype"], p["shape"], p["dimension"])],
    "broadcast_in_dim": lambda x, p: [lax.broadcast_in_dim(x[0], p["shape"], p["broadcast_dimensions"])],
    "reshape": lambda x, p: [lax.reshape(x[0], p["new_sizes"], p["dimensions"])],
}
