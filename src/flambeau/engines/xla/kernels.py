"""The engine's kernels by name, and how ops and their rules run on them.

A name is this engine's own kernel (`own`), else a formula over other kernels where ops have one, else the kernel of
NumPy's engine over this array namespace (`shared`).
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

from flambeau.engines.arrays import Engine
from flambeau.engines.kernels import FORMULAS, Kernels
from flambeau.engines.xla import shared
from flambeau.engines.xla.calls import call, direct, lifted, on_host
from flambeau.engines.xla.functions import lowered_args
from flambeau.engines.xla.runtime import NeedsHost, tracing
from flambeau.engines.xla.updates import run_update

#: Modules of this engine whose public functions, on JAX's values, are kernels.
_OWN = (
    "products", "activation", "softmax", "norm", "loss", "conv", "recurrent", "attention", "embedding", "special",
    "triangles", "maxima",
)  # fmt: skip
#: Modules of this engine whose public functions, on its arrays, are kernels.
_ON_ARRAYS = ("layout", "sorting", "pooling")
#: Modules of NumPy's engine that serve this one as they are, and kernels in others.
_SHARED = (
    "elementwise", "reduce", "layout", "index", "scatter", "special", "sorting", "linalg", "fourier", "image", "pool",
    "adaptive", "lapack", "polynomials",
)  # fmt: skip
_SINGLE = {"ctc_alpha": "loss", "ctc_backward": "loss"}


def _in(module: Any, name: str) -> Any:
    kernel = getattr(module, name, None)
    listed = getattr(module, "__all__", None)
    return None if kernel is None or (listed is not None and name not in listed) else kernel


def own(name: str) -> Callable | None:
    """This engine's own kernel as a function of its arrays."""
    for module in _OWN:
        kernel = _in(importlib.import_module(f"flambeau.engines.xla.{module}"), name)
        if kernel is not None:
            return functools.partial(_on_values, kernel)
    for module in _ON_ARRAYS:
        kernel = _in(importlib.import_module(f"flambeau.engines.xla.{module}"), name)
        if kernel is not None:
            return kernel
    return None


def _on_values(kernel: Callable, *args: Any, **kwargs: Any) -> Any:
    return lifted(kernel(*lowered_args(args), **lowered_args(kwargs)), tracing.device)


def common(name: str) -> Callable | None:
    """The kernel of NumPy's engine over this engine's array namespace."""
    if name in _SINGLE:
        return _in(shared.instance(_SINGLE[name]), name)
    for module in _SHARED:
        kernel = _in(shared.instance(module), name)
        if kernel is not None and callable(kernel):
            return functools.partial(_by_host, name, module, kernel) if _is_hosted(name, module) else kernel
    return None


#: Modules whose kernels are LAPACK's, or go by regions: they run on the host, with their errors, where that is the same
#: memory; `linalg` on accelerators and in compiled steps is XLA's own.
_HOSTED = ("special", "linalg", "lapack", "polynomials")


#: What stands among them and is a formula.
_PLAIN = frozenset(("entr", "heaviside", "logit", "sinc", "spherical_bessel_j0"))


def _is_hosted(name: str, module: str) -> bool:
    return module in _HOSTED and name not in _PLAIN


def _by_host(name: str, module: str, kernel: Callable, *args: Any, **kwargs: Any) -> Any:
    if tracing.device.type not in ("xla", "cpu") and module == "linalg":
        return kernel(*args, **kwargs)
    if tracing.depth and not tracing.whole:
        raise NeedsHost(name)
    plain = getattr(importlib.import_module(f"flambeau.engines.numpy.{module}"), name)
    return on_host(name, plain, args, kwargs)


class ViewKernels(Kernels):
    """Kernels as they are, not compiled: for ops that make views, and inside other programs."""

    def find(self, name: str) -> Any:
        return own(name) or (None if name in _COMPOSED() else common(name))


@functools.cache
def _COMPOSED() -> frozenset[str]:
    """Composites: formulas that only engines with a quicker way replace, and XLA has none."""
    ops = importlib.import_module("flambeau.ops.declare").REGISTRY
    return frozenset(name for name in FORMULAS if name not in ops and name not in _PREFERRED)


#: Composites whose kernel in NumPy's engine serves better than the formula.
_PREFERRED = frozenset(("ctc_backward", "to_dtype", "logcumsumexp_backward", "prod_backward"))


class XlaKernels(Kernels):
    """Kernels, each compiled by itself."""

    def find(self, name: str) -> Any:
        raw = VIEW_KERNELS.find(name)
        return None if raw is None else functools.partial(_compiled, name, raw)


def _compiled(name: str, raw: Callable, *args: Any, **kwargs: Any) -> Any:
    return call(("kernel", name), raw, args, kwargs)


VIEW_KERNELS = ViewKernels()
KERNELS = XlaKernels()

#: Ops that are nothing but a move of arrays, or keep what is no value: they run step by step from the start.
_STEPWISE = frozenset(("region_take", "region_put", "alias", "to_device"))


class XlaEngine(Engine):
    """Runs ops' bodies and rules as compiled programs."""

    kernels = KERNELS

    def run_op(self, op: Any, arrays: list[Any]) -> Any:
        if op.view:
            return direct(_body, (op, VIEW_KERNELS, *arrays), {})
        if op.name in _STEPWISE:
            return direct(_body, (op, KERNELS, *arrays), {})
        return call(("op", op.name), functools.partial(_op_body, op), tuple(arrays))

    def run_update(self, kinds: Any, update: Callable, arrays: tuple, hyper: tuple) -> None:
        run_update(kinds, update, arrays, hyper)

    def run_rule(self, op: Any, rule: Any, values: list[Any]) -> Any:
        name = ("rule", op.name, op.rules.index(rule))
        if op.name in _STEPWISE:
            return direct(rule.function, (KERNELS, *values), {})
        return call(name, functools.partial(_rule_body, rule.function), tuple(values))


def _body(op: Any, kernels: Any, *arrays: Any) -> Any:
    return op.run(kernels, arrays)


def _op_body(op: Any, *arrays: Any) -> Any:
    return op.run(VIEW_KERNELS if tracing.depth else KERNELS, arrays)


def _rule_body(rule: Callable, *values: Any) -> Any:
    return rule(VIEW_KERNELS if tracing.depth else KERNELS, *values)
