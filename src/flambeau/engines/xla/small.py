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
from jax.extend.core import Primitive
from jax.interpreters import mlir

from flambeau.engines.xla.runtime import jax, wide

__all__ = ["at_once", "is_small"]

#: Arithmetic that takes about as long as waking a thread does: measured on nets of one and two layers.
_LITTLE = 16_000
#: What XLA writes into one kernel: no calls of libraries, no loops whose length nobody knows.
_PLAIN = frozenset(
    """abs add add_any and argmax argmin broadcast_in_dim ceil clamp concatenate convert_element_type copy copy_p cos
    div dot_general dynamic_slice dynamic_update_slice eq erf exp exp2 expand_dims expm1 floor ge gt integer_pow iota
    is_finite jit le log log1p logistic lt max min mul ne neg not or pad pjit pow reduce_and reduce_max reduce_min
    reduce_or reduce_prod reduce_sum rem reshape rev round rsqrt select_n sign sin slice split sqrt square squeeze
    stop_gradient sub tan tanh transpose xor""".split()
)
#: One kernel for a whole function, in which products are loops, instead of one for each fusion.
_ONE_KERNEL = {"inlineable": "false", "xla_cpu_small_call": "true"}
_PRODUCTS_INSIDE = {"xla_cpu_experimental_ynn_fusion_type": ""}


def is_small(jaxpr: Any) -> bool:
    """Whether a program is little arithmetic, of kinds that go into one kernel."""
    left = float(_LITTLE)
    for eqn in _operations(jaxpr):
        if eqn.primitive.name not in _PLAIN:
            return False
        left -= _work(eqn)
        if left < 0:
            return False
    return True


def _operations(jaxpr: Any) -> Iterator[Any]:
    """The operations of a program, those of its functions among them."""
    for eqn in jaxpr.eqns:
        inner = eqn.params.get("jaxpr") if eqn.primitive.name in ("jit", "pjit") else None
        if inner is None:
            yield eqn
        else:
            yield from _operations(getattr(inner, "jaxpr", inner))


def _work(eqn: Any) -> int:
    """About how many operations on numbers one on arrays is."""
    sizes = [math.prod(v.aval.shape) for v in (*eqn.invars, *eqn.outvars)]
    if eqn.primitive.name != "dot_general":
        return max(sizes, default=0)
    (contracted, _), _ = eqn.params["dimension_numbers"]
    shape = eqn.invars[0].aval.shape
    return 2 * sizes[-1] * math.prod(shape[i] for i in contracted)


def at_once(step: Callable, values: Sequence[Any], **options: Any) -> Callable | None:
    """A small step compiled for values like these to one kernel that runs in the caller's thread; None where this JAX
    has no such thing, or not for this step.
    """

    if not values:
        return None

    def whole(*given: Any) -> Any:
        with set_xla_metadata(**_ONE_KERNEL):
            return jax.jit(step)(_here.bind(given[0]), *given[1:])

    try:
        compiled = jax.jit(whole, compiler_options=_PRODUCTS_INSIDE, **options).lower(*values).compile()
        executable = compiled._executable
        executable.unsafe_call.has_host_callbacks = False  # none that is ever called: see `_lower_here`
        call = executable.create_cpp_call(compiled._params)
    except (AttributeError, NotImplementedError, jax.errors.JaxRuntimeError):
        return None
    if call is None or all(isinstance(v, jax.Array) or v.dtype.itemsize < 8 for v in values):
        return call

    def with_wide_numbers(*given: Any) -> Any:
        with wide(True):
            return call(*given)

    return with_wide_numbers


def _lower_here(ctx: Any, value: Any) -> Any:
    """Nothing but a callback that is not called: a program that might call Python is run in the caller's thread."""
    ctx.module_context.add_host_callback(lambda *given: given)
    return [value]


_here = Primitive("flambeau_here")
_here.def_abstract_eval(lambda aval: aval)
mlir.register_lowering(_here, _lower_here)
