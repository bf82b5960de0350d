"""Programs so small that a thread of their own costs more than they do: one kernel, run where it is called.

XLA's CPU hands a program to another thread, unless it is tiny, and makes a task of each of its fusions. For a step of a
few thousand operations on numbers both take longer than the arithmetic, and how long depends on what else the machine
does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend.core import Literal, Primitive
from jax.interpreters import mlir

from flambeau.engines.xla.runtime import jax, jnp, lax, wide

__all__ = ["at_once", "in_wide", "is_small"]

#: The JAX that this was tried with: what it leans on is not public, and other ones compile small steps like any.
_TRIED = (0, 10)
#: Arithmetic that takes about as long as waking a thread does: measured on nets of one and two layers.
_LITTLE = 16_000
#: What goes into one kernel: no calls of libraries, no loops whose length nobody knows.
_PLAIN = frozenset(
    """abs add add_any and broadcast_in_dim ceil concatenate convert_element_type copy copy_p cos div dot_general eq erf
    exp exp2 expm1 floor ge gt integer_pow iota is_finite le log log1p logistic lt max min mul ne neg not or pad
    pow reduce_max reduce_min reduce_sum reshape round rsqrt select_n sign sin slice sqrt square squeeze sub
    tan tanh transpose""".split()
)
_FUNCTIONS = ("jit", "pjit")
_TYPES = frozenset(("bool", "int32", "int64", "uint32", "float32", "float64"))
#: One kernel for a whole function, in which products are loops, instead of one for each fusion.
_ONE_KERNEL = {"inlineable": "false", "xla_cpu_small_call": "true"}
_PRODUCTS_INSIDE = {"xla_cpu_experimental_ynn_fusion_type": ""}


def is_small(jaxpr: Any) -> bool:
    """Whether a program is little arithmetic, of kinds that go into one kernel."""
    left = _LITTLE
    if jax.__version_info__[:2] != _TRIED or not jaxpr.invars or not all(_fits(v.aval) for v in jaxpr.invars):
        return False
    for eqn in _operations(jaxpr):
        if eqn.primitive.name not in _PLAIN or not all(_fits(v.aval) for v in (*eqn.invars, *eqn.outvars)):
            return False
        left -= _work(eqn)
        if left < 0:
            return False
    return True


def _fits(aval: Any) -> bool:
    """Whether arrays like this are for such kernels."""
    return str(aval.dtype) in _TYPES and 0 not in aval.shape


def _operations(jaxpr: Any) -> Iterator[Any]:
    """The operations of a program, those of its functions among them."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name in _FUNCTIONS:
            yield from _operations(eqn.params["jaxpr"].jaxpr)
        else:
            yield eqn


def _work(eqn: Any) -> int:
    """About how many operations on numbers one on arrays is."""
    sizes = [math.prod(v.aval.shape) for v in (*eqn.invars, *eqn.outvars)]
    if eqn.primitive.name != "dot_general":
        return max(sizes, default=0)
    (contracted, _), (batched, _) = eqn.params["dimension_numbers"]
    shape = eqn.invars[0].aval.shape
    return _LITTLE + 1 if batched else 2 * sizes[-1] * math.prod(shape[i] for i in contracted)


def at_once(step: Callable, values: Sequence[Any], **options: Any) -> Callable | None:
    """A small step compiled for values like these to one kernel that runs in the caller's thread; None where this JAX
    has no such thing, or not for this step.
    """

    def kernel(*given: Any) -> Any:
        # XLA's emitter gives up, and the process with it, on an input that a kernel does not use
        return *step(*given), sum(jnp.ravel(x)[0].astype(jnp.float32) for x in given)

    traced = jax.make_jaxpr(kernel)(*values)

    def whole(*given: Any) -> Any:
        with set_xla_metadata(**_ONE_KERNEL):
            results = jax.jit(lambda *inputs: _inlined(traced, inputs))(_here.bind(given[0]), *given[1:])
        return lax.optimization_barrier(results)[:-1]  # the last one is kept, though nobody wants it

    try:
        lowered = jax.jit(whole, compiler_options=_PRODUCTS_INSIDE, **options).lower(*values)
        if lowered.as_text(dialect="hlo").count(" call(") != 1:  # functions within the kernel
            return None
        compiled = lowered.compile()
        executable = compiled._executable
        executable.unsafe_call.has_host_callbacks = False  # none that is ever called: see `_lower_here`
        call = executable.create_cpp_call(compiled._params)
    except (AttributeError, NotImplementedError, jax.errors.JaxRuntimeError):
        return None
    if call is None or all(isinstance(v, jax.Array) or v.dtype.itemsize < 8 for v in values):
        return call
    return in_wide(call)


def in_wide(call: Callable) -> Callable:
    """The same call for numbers of NumPy's that may have 64 bits."""

    def with_wide_numbers(*given: Any) -> Any:
        with wide(True):
            return call(*given)

    return with_wide_numbers


def _inlined(closed: Any, given: Sequence[Any]) -> list[Any]:
    """The results of a program, with the operations of its functions in their place."""
    known = dict(zip((*closed.jaxpr.constvars, *closed.jaxpr.invars), (*closed.consts, *given)))

    def value(v: Any) -> Any:
        return v.val if isinstance(v, Literal) else known[v]

    for eqn in closed.jaxpr.eqns:
        inputs = [value(v) for v in eqn.invars]
        if eqn.primitive.name in _FUNCTIONS:
            results = _inlined(eqn.params["jaxpr"], inputs)
        else:
            results = eqn.primitive.bind(*inputs, **eqn.params)
        known.update(zip(eqn.outvars, results if isinstance(results, (list, tuple)) else [results]))
    return [value(v) for v in closed.jaxpr.outvars]


def _lower_here(ctx: Any, value: Any) -> Any:
    """Nothing but a callback that is not called: a program that might call Python is run in the caller's thread."""
    ctx.module_context.add_host_callback(lambda *given: given)
    return [value]


_here = Primitive("flambeau_here")
_here.def_abstract_eval(lambda aval: aval)
mlir.register_lowering(_here, _lower_here)
