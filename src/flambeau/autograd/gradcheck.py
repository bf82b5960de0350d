"""Checks of derivatives against finite differences, at order one and two."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.autograd.api import grad
from flambeau.autograd.runtime import NS, no_grad
from flambeau.engines.arrays import host


class GradcheckError(RuntimeError):
    """A derivative that disagrees with finite differences."""


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _differentiable(outputs: Any) -> list[Any]:
    return [
        o for o in _as_tuple(outputs) if isinstance(o, NS["Tensor"]) and o._a.dtype.kind in "fc" and o.requires_grad
    ]


def _parts(array: np.ndarray) -> np.ndarray:
    """The real numbers of an array, real and imaginary parts side by side."""
    flat = np.ascontiguousarray(host(array)).reshape(-1)
    return np.stack([flat.real, flat.imag], -1).reshape(-1) if flat.dtype.kind == "c" else flat


def _numerical(func: Callable, inputs: Sequence[Any], which: Any, eps: float, count: int) -> list[np.ndarray]:
    """For one input, the Jacobian of each output: rows are the input's real numbers."""
    array = which._a
    units = [eps, eps * 1j] if array.dtype.kind == "c" else [eps]
    columns: list[list[np.ndarray]] = [[] for _ in range(count)]
    for place in np.ndindex(array.shape):
        for unit in units:
            old = host(array)[place].copy()
            array[place] = old + unit
            high = [_parts(o._a).copy() for o in _float_outputs(func(*inputs))]
            array[place] = old - unit
            low = [_parts(o._a).copy() for o in _float_outputs(func(*inputs))]
            array[place] = old
            for j, (a, b) in enumerate(zip(high, low, strict=True)):
                if j < count:
                    columns[j].append((a - b) / (2 * eps))
    return [np.array(c) if c else np.zeros((0, 0)) for c in columns]


def _float_outputs(outputs: Any) -> list[Any]:
    return [o for o in _as_tuple(outputs) if isinstance(o, NS["Tensor"]) and o._a.dtype.kind in "fc"]


def _analytical(output: Any, inputs: list[Any]) -> list[np.ndarray]:
    """For one output, its Jacobian with respect to each input: rows are the input's real numbers."""
    rows: list[list[np.ndarray]] = [[] for _ in inputs]
    units = [1, 1j] if output._a.dtype.kind == "c" else [1]
    for place in np.ndindex(output._a.shape):
        for unit in units:
            seed = np.zeros_like(output._a)
            seed[place] = unit
            grads = grad(output, inputs, NS["WRAP"](seed), retain_graph=True, allow_unused=True)
            for i, (g, t) in enumerate(zip(grads, inputs, strict=True)):
                if g is not None and g._a.shape != t._a.shape:
                    raise GradcheckError(
                        f"the gradient of input {i} has the shape {list(g._a.shape)}, expected {list(t._a.shape)}"
                    )
                rows[i].append(_parts(np.zeros_like(t._a) if g is None else g._a))
    return [np.array(r).T if r else np.zeros((0, 0)) for r in rows]


def _fail(message: str, raise_exception: bool) -> bool:
    if raise_exception:
        raise GradcheckError(message)
    return False


def _checked_inputs(args: tuple) -> list[Any]:
    """The inputs that require gradients; a ValueError if none does, a warning if one is not precise enough."""
    wanted = [t for t in args if isinstance(t, NS["Tensor"]) and t.requires_grad]
    if not wanted:
        raise ValueError(
            "gradcheck(): no input requires gradients; call requires_grad_() on those that are to be checked"
        )
    for i, t in enumerate(wanted):
        if t._a.dtype not in (np.float64, np.complex128):
            warnings.warn(
                f"gradcheck(): input {i} is {t.dtype}; finite differences need float64 or complex128 to be "
                "precise enough",
                stacklevel=3,
            )
    return wanted


def gradcheck(
    func: Callable,
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Compares the gradients of `func` with central finite differences, for each input that requires grad.

    Returns True, or raises GradcheckError (a RuntimeError) that says which output and input disagree, and how; with
    `raise_exception=False` it returns False instead. `atol` and `rtol` are those of `allclose`. `check_forward_ad`
    checks forward mode too, `check_batched_grad` and `check_batched_forward_grad` either mode under vmap.
    """
    args = _as_tuple(inputs)
    wanted = _checked_inputs(args)
    if check_batched_forward_grad and not check_forward_ad:
        raise ValueError("gradcheck(): check_batched_forward_grad=True needs check_forward_ad=True")
    if not (check_forward_ad or check_backward_ad):
        raise ValueError("gradcheck(): there is nothing to check: one of forward and backward mode must be")
    outputs = func(*args)
    if not _differentiable(outputs):
        return _unconnected(func, args, wanted, eps, atol, raise_exception)
    floats = _float_outputs(outputs)
    numerical = [_numerical(func, args, t, eps, len(floats)) for t in wanted]
    if check_forward_ad and not _check_forward(func, args, wanted, numerical, atol, rtol, raise_exception):
        return False
    if check_batched_forward_grad and not _check_batched_forward(func, args, wanted, raise_exception):
        return False
    if not check_backward_ad:
        return True
    if check_batched_grad and not _check_batched(func, args, wanted, raise_exception):
        return False
    return _check_backward(floats, wanted, numerical, atol, rtol, nondet_tol, raise_exception)


def _check_backward(
    floats: list[Any],
    wanted: list[Any],
    numerical: list,
    atol: float,
    rtol: float,
    nondet_tol: float,
    raise_exception: bool,
) -> bool:
    """Gradients against finite differences, and against those of a second backward."""
    for j, out in enumerate(floats):
        analytical = (
            _analytical(out, wanted)
            if out.requires_grad
            else [np.zeros_like(numerical[i][j]) for i in range(len(wanted))]
        )
        again = _analytical(out, wanted) if out.requires_grad else analytical
        for i in range(len(wanted)):
            a, n = analytical[i], numerical[i][j]
            if a.size != n.size or (
                a.size and not np.allclose(a, n.reshape(a.shape), rtol=rtol, atol=atol, equal_nan=True)
            ):
                return _fail(
                    f"gradcheck(): output {j} by input {i}: backward and finite differences disagree\nfinite "
                    f"differences: {n}\nbackward: {a}\n(a row per element of the input, a column per element of "
                    "the output)",
                    raise_exception,
                )
            if a.size and not np.allclose(a, again[i], rtol=0, atol=nondet_tol, equal_nan=True):
                return _fail(
                    f"gradcheck(): input {i}: two backwards of the same outputs and gradients gave different values",
                    raise_exception,
                )
    return True


def _check_forward(
    func: Callable, args: tuple, wanted: list[Any], numerical: list, atol: float, rtol: float, raise_exception: bool
) -> bool:
    """Derivatives forward, one input at a time, against finite differences."""
    for i, t in enumerate(wanted):
        columns = [_forward_column(func, args, t, tangent) for tangent in _units(t)]
        for j, n in enumerate(numerical[i]):
            a = np.array([column[j] for column in columns]) if columns else n
            if a.size != n.size or (
                a.size and not np.allclose(a, n.reshape(a.shape), rtol=rtol, atol=atol, equal_nan=True)
            ):
                return _fail(
                    f"gradcheck(): output {j} by input {i}: forward mode and finite differences disagree\nfinite "
                    f"differences: {n}\nforward mode: {a}\n(a row per element of the input, a column per element of "
                    "the output)",
                    raise_exception,
                )
    return True


def _units(t: Any) -> list[Any]:
    """Unit tangents for all real numbers of a tensor."""
    found = []
    for place in np.ndindex(t._a.shape):
        for unit in [1, 1j] if t._a.dtype.kind == "c" else [1]:
            values = np.zeros_like(t._a)
            values[place] = unit
            found.append(NS["WRAP"](values))
    return found


def _forward_column(func: Callable, args: tuple, t: Any, tangent: Any) -> list[np.ndarray]:
    """How all outputs move when `t` moves by `tangent`."""
    from flambeau.autograd import forward_ad

    with forward_ad.dual_level():
        moved = [forward_ad.make_dual(a, tangent) if a is t else a for a in args]
        pairs = [forward_ad.unpack_dual(o) for o in _float_outputs(func(*moved))]
        return [_parts(np.zeros_like(o._a) if d is None else d._a) for o, d in pairs]


def _check_batched(func: Callable, args: tuple, wanted: list[Any], raise_exception: bool) -> bool:
    """A batch of gradients against each of them."""
    from flambeau.func.vmap import vmap

    for out in _differentiable(func(*args)):
        seeds = NS["WRAP"](np.stack([_drawn(out) for _ in range(2)]))

        def back(seed: Any, out: Any = out) -> tuple:
            found = grad(out, wanted, seed, retain_graph=True, allow_unused=True)
            return tuple(NS["OPS"].zeros_like(t) if g is None else g for g, t in zip(found, wanted, strict=True))

        if not _same_batch(vmap(back)(seeds), [back(seed) for seed in seeds]):
            return _fail("gradcheck(): vmap over the gradients gives others than one call for each", raise_exception)
    return True


def _check_batched_forward(func: Callable, args: tuple, wanted: list[Any], raise_exception: bool) -> bool:
    """A batch of derivatives forward against each of them."""
    from flambeau.func.transforms import jvp
    from flambeau.func.vmap import vmap

    for t in wanted:
        tangents = NS["WRAP"](np.stack([_drawn(t) for _ in range(2)]))

        def push(tangent: Any, t: Any = t) -> tuple:
            def moved(x: Any) -> tuple:
                return tuple(_float_outputs(func(*(x if a is t else a for a in args))))

            return jvp(moved, (t.detach(),), (tangent,))[1]

        if not _same_batch(vmap(push)(tangents), [push(tangent) for tangent in tangents]):
            return _fail("gradcheck(): vmap over forward mode gives others than one call for each", raise_exception)
    return True


def _drawn(like: Any) -> np.ndarray:
    """Normal numbers, drawn as PyTorch draws them: what a program draws next depends on it."""
    with no_grad():
        return NS["OPS"].zeros_like(like.detach()).normal_()._a


def _uniform(like: Any) -> Any:
    """Numbers from -1 to 1 in the shape and dtype of a tensor, drawn likewise."""
    with no_grad():
        made = NS["OPS"].zeros_like(like.detach())
        (NS["OPS"].view_as_real(made) if made._a.dtype.kind == "c" else made).uniform_(-1, 1)
    return made


def _same_batch(together: tuple, apart: list[tuple]) -> bool:
    return all(
        np.allclose(t._a, np.stack([row[i]._a for row in apart]), rtol=1e-6, atol=1e-8, equal_nan=True)
        for i, t in enumerate(together)
    )


def _unconnected(
    func: Callable, args: tuple, wanted: list[Any], eps: float, atol: float, raise_exception: bool
) -> bool:
    """No output is recorded: right only if none depends on the inputs."""
    floats = _float_outputs(func(*args))
    if not floats:
        return True
    for i, t in enumerate(wanted):
        for j, n in enumerate(_numerical(func, args, t, eps, len(floats))):
            if n.size and not np.allclose(n, 0, atol=atol):
                return _fail(
                    f"gradcheck(): output {j} changes with input {i}, but does not require gradients: something "
                    "on the way was not recorded",
                    raise_exception,
                )
    return True


def gradgradcheck(
    func: Callable,
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """`gradcheck` of the gradients themselves: second derivatives against finite differences of the first.

    `grad_outputs` are the gradients to start from; random ones if not given.
    """
    args = _as_tuple(inputs)
    tensor = NS["Tensor"]
    outputs = _differentiable(func(*args))
    if grad_outputs is None:
        grads = tuple(_uniform(o).requires_grad_() for o in outputs)
    else:
        grads = _as_tuple(grad_outputs)
    n = len(args)
    wanted = [i for i, t in enumerate(args) if isinstance(t, tensor) and t.requires_grad]

    def first(*values: Any) -> tuple:
        roots = _differentiable(func(*values[:n]))
        got = grad(roots, [values[i] for i in wanted], values[n:], create_graph=True, allow_unused=True)
        return tuple(g for g in got if g is not None)

    return gradcheck(
        first,
        (*args, *grads),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
    )
