"""StableHLO by `jax.export`: a file that JAX loads and runs without flambeau, on any of its platforms.

A program runs on JAX's symbols, operation by operation, with the kernels of the XLA engine; writes in place are theirs.
Where sizes may vary, that happens at several sizes, and `polymorphic` makes one function of what came out.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.autograd.runtime import no_grad
from flambeau.devices import device
from flambeau.engines.arrays import host
from flambeau.engines.xla.array import fresh
from flambeau.engines.xla.runtime import jax, jnp, lax, tracing, wide
from flambeau.export.exported import ExportedProgram, export
from flambeau.export.polymorphic import joined, made_at
from flambeau.export.program import Fitting, Made, Program, Ref, is_tensor
from flambeau.export.sizes import points_for
from flambeau.ops.placing import bare

__all__ = ["StableHLO", "save_stablehlo", "to_stablehlo"]

_WHERE = device("xla", 0)
_NARROW = {np.dtype(np.int64): np.dtype(np.int32), np.dtype(np.uint64): np.dtype(np.uint32)}


class StableHLO:
    """A module as `jax.export` has it.

    Attributes:
        exported: the `jax.export.Exported`; `exported.mlir_module()` is the text.
        parameters: None if parameters and buffers are in the program, else a dictionary of NumPy arrays by name, which
            is the first argument of every call.
    """

    def __init__(self, exported: Any, parameters: dict[str, np.ndarray] | None) -> None:
        self.exported = exported
        self.parameters = parameters

    def serialize(self) -> bytes:
        """The bytes that `jax.export.deserialize` takes."""
        return bytes(self.exported.serialize())

    def save(self, f: Any) -> None:
        """Writes the bytes to a path or a file."""
        if hasattr(f, "write"):
            f.write(self.serialize())
            return
        with open(os.fspath(f), "wb") as file:
            file.write(self.serialize())

    def __call__(self, *inputs: Any) -> Any:
        """Runs it in JAX, on tensors or arrays; returns a tuple of JAX's arrays."""
        values = [np.asarray(host(t._a)) if is_tensor(t) else t for t in inputs]
        narrowed = [v.astype(_NARROW[v.dtype]) if getattr(v, "dtype", None) in _NARROW else v for v in values]
        first = [] if self.parameters is None else [self.parameters]
        with wide(any(getattr(v, "dtype", None) == np.float64 for v in narrowed)):
            return self.exported.call(*first, *narrowed)


def to_stablehlo(
    model: Any,
    args: tuple = (),
    kwargs: dict[str, Any] | None = None,
    *,
    dynamic_shapes: Any = None,
    parameters: str = "included",
    platforms: Sequence[str] | None = None,
) -> StableHLO:
    """A module, or what `export` gave, as StableHLO.

    The result's inputs are the tensors among the arguments, one after the other; its outputs those of what the module
    returns, as a tuple. 64-bit integers are 32-bit ones there, since JAX has no others unless asked; float64 stays,
    and needs `jax_enable_x64` where it is loaded.

    Args:
        model: a Module or an ExportedProgram; with the latter, `args` and `dynamic_shapes` are its own.
        args, kwargs: an example's arguments; the module runs as it is, so call `eval()` first.
        dynamic_shapes: sizes that may vary, as `export` takes them; `Dim`'s limits become constraints of JAX's.
        parameters: "included" puts parameters and buffers into the program, so that the file is all there is;
            "inputs" makes them its first argument, a dictionary of arrays by name.
        platforms: for which of JAX's platforms ("cpu", "cuda", "tpu"); by default for this machine's.

    ValueError for another word in `parameters`; RuntimeError for a module that no program can follow, or whose sizes
    JAX can't compare (`Dim(max=...)` then says how large they get).

    >>> import flambeau as torch  # doctest: +SKIP
    >>> batch = torch.export.Dim("batch")
    >>> model = torch.nn.Linear(3, 2)
    >>> torch.export.to_stablehlo(model, (torch.ones(4, 3),), dynamic_shapes=({0: batch},)).save("model.stablehlo")
    >>> # elsewhere: jax.export.deserialize(open("model.stablehlo", "rb").read()).call(x)
    """
    if parameters not in ("included", "inputs"):
        raise ValueError(f"parameters must be 'included' or 'inputs', got {parameters!r}")
    found = model if isinstance(model, ExportedProgram) else export(model, args, kwargs, dynamic_shapes=dynamic_shapes)
    program, limits = found.program, found.range_constraints
    state = {name: np.asarray(host(found._state[name]._a)) for name in program.state}
    names = {name for dims in program.dims for name in dims.values()}
    how = {} if platforms is None else {"platforms": tuple(platforms)}
    with wide(True):
        if names:
            function = _for_all_sizes(program, state, limits)
            scope = jax.export.SymbolicScope(_constraints(limits))
            symbols = {n: jax.export.symbolic_shape(n, scope=scope)[0] for n in sorted(names)}
            specs = _specs(program, symbols)
        else:
            inner = _at_sizes(program)
            made = _constants(program, {})

            def function(given: dict[str, Any], *inputs: Any) -> tuple[Any, ...]:
                return inner(given, {n: jnp.asarray(a) for n, a in made.items()}, *inputs)

            specs = _specs(program, {})
        if parameters == "inputs":
            first: dict[str, Any] = {n: jax.ShapeDtypeStruct(a.shape, a.dtype) for n, a in state.items()}
            exported = jax.export.export(jax.jit(function), **how)(first, *specs)
            return StableHLO(exported, state)
        fixed = {n: jnp.asarray(a) for n, a in state.items()}
        exported = jax.export.export(jax.jit(lambda *inputs: function(fixed, *inputs)), **how)(*specs)
    return StableHLO(exported, None)


def save_stablehlo(model: Any, f: Any, *args: Any, **kwargs: Any) -> None:
    """`to_stablehlo`, written to a path or file."""
    to_stablehlo(model, *args, **kwargs).save(f)


def _constraints(limits: dict[str, tuple[int, float]]) -> list[str]:
    said = []
    for name, (low, high) in limits.items():
        if low > 1:
            said.append(f"{name} >= {low}")
        if high != math.inf:
            said.append(f"{name} <= {int(high)}")
    return said


def _specs(program: Program, symbols: dict[str, Any]) -> list[Any]:
    """What the inputs are, for JAX."""
    specs = []
    for i, number in enumerate(program.inputs):
        value, dims = program.values[number], program.dims[i] if program.dims else {}
        shape = tuple(symbols[dims[d]] if d in dims and symbols else n for d, n in enumerate(value.shape))
        specs.append(jax.ShapeDtypeStruct(shape, _NARROW.get(value.dtype, value.dtype)))
    return specs


def _at_sizes(program: Program) -> Callable:
    """The program as a function of JAX's values: parameters and buffers by name, constants by number, the inputs."""
    wanted = [program.values[n].dtype for n in program.inputs]

    def function(state: dict[str, Any], constants: dict[int, Any], *inputs: Any) -> tuple[Any, ...]:
        before = tracing.device, tracing.whole
        tracing.depth += 1
        tracing.device, tracing.whole = _WHERE, True
        try:
            with wide(True), no_grad():
                here = copy.copy(program)
                here._plan = [(_LOWERED.get(call.op, run), call, frees) for run, call, frees in program.plan]
                here.constants = {n: _tensor(value) for n, value in constants.items()}
                tensors = [_tensor(v.astype(d)) for v, d in zip(inputs, wanted, strict=True)]
                held = {name: _tensor(value) for name, value in state.items()}
                leaves = here.run(tensors, held.__getitem__, lambda array: _tensor(jnp.asarray(array)))
                found = [leaf._a.value for leaf, o in zip(leaves, program.outputs, strict=True) if isinstance(o, Ref)]
                return tuple(v.astype(_NARROW.get(np.dtype(v.dtype), v.dtype)) for v in found)
        finally:
            tracing.depth -= 1
            tracing.device, tracing.whole = before

    return function


def _max_pool(args: tuple) -> Any:
    """Max pooling without the places of the maxima, which only gradients need."""
    x, kernel, stride, padding, dilation, size = args
    value, n = x._a.value, len(kernel)
    if isinstance(size, Fitting):
        size = size.of(value.shape, kernel, stride, padding, dilation)
    lengths = value.shape[value.ndim - n :]
    settings = zip(lengths, kernel, stride, padding, dilation, size, strict=True)
    pads = [(p, p + max((m - 1) * s + d * (k - 1) + 1 - have - 2 * p, 0)) for have, k, s, p, d, m in settings]
    lead = value.ndim - n
    lowest = -np.inf if value.dtype.kind not in "iu" else np.iinfo(value.dtype).min
    found = lax.reduce_window(
        value, np.array(lowest, value.dtype), lax.max, (1,) * lead + tuple(kernel), (1,) * lead + tuple(stride),
        [(0, 0)] * lead + pads, window_dilation=(1,) * lead + tuple(dilation),
    )  # fmt: skip
    return _tensor(found)


#: Operations that have a shorter way where there is no gradient.
_LOWERED: dict[str, Callable] = {"max_pool2d_op": _max_pool, "max_pool3d_op": _max_pool}


def _constants(program: Program, sizes: dict[str, int]) -> dict[int, np.ndarray]:
    """The constants as arrays, for these sizes."""
    return {n: c.array(sizes) if isinstance(c, Made) else np.asarray(host(c._a)) for n, c in program.constants.items()}


def _tensor(value: Any) -> Any:
    return bare(fresh(value, _WHERE))


def _traced(program: Program, function: Callable, state: Any, limits: dict) -> tuple[list[dict[str, int]], list[Any]]:
    """Sizes, and the function's jaxpr for each of them: above the example's, or else below."""
    failed: Exception | None = None
    for upwards in (True, False):
        points, found = points_for(program.example, limits, upwards), []
        try:
            for point in points:
                made = _constants(program, point)
                constants = {n: jax.ShapeDtypeStruct(a.shape, a.dtype) for n, a in made.items()}
                found.append(jax.make_jaxpr(function)(state, constants, *_specs(program, point)))
            return points, found
        except Exception as error:
            failed = failed or error
    assert failed is not None
    raise failed


def _for_all_sizes(program: Program, state: dict[str, np.ndarray], limits: dict) -> Callable:
    """The program as a function for symbolic sizes, from what it is at some."""
    function = _at_sizes(program)
    first = {n: jax.ShapeDtypeStruct(a.shape, a.dtype) for n, a in state.items()}
    points, traced = _traced(program, function, first, limits)
    places: dict[str, tuple[int, int]] = {}
    for i, dims in enumerate(program.dims):
        for d, name in dims.items():
            places.setdefault(name, (i, d))

    def run(given: dict[str, Any], *inputs: Any) -> tuple[Any, ...]:
        sizes = {name: inputs[i].shape[d] for name, (i, d) in places.items()}
        with wide(True):
            constants = [made_at(program.constants[n], sizes) for n in sorted(program.constants)]
            flat = [*jax.tree_util.tree_leaves(given), *constants, *inputs]
            return tuple(joined(traced, points, sizes, flat))

    return run
