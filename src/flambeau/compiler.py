"""``torch.compile`` and ``torch.compiler``: whole steps, captured once and replayed without the program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.autograd.runtime import NS

__all__ = [
    "allow_in_graph", "assume_constant_result", "compile", "cudagraph_mark_step_begin", "disable", "explain",
    "is_compiling", "is_dynamo_compiling", "is_exporting", "list_backends", "reset", "set_stance",
]  # fmt: skip

_EAGER = ("eager", "aot_eager", "aot_eager_decomp_partition")


class _Compile:
    """Compile a step: a function, a method or a module.

    What it does is captured while it runs - forward, backward, the optimizer's step and its ``zero_grad``, whatever of
    these it holds - and from the fourth call of a kind on it is replayed: the same kernels on the same memory, with
    elementwise ones fused, and no Python program between them. A compiled module or function whose results go on to
    a loss has its backward compiled, too.

    A plan holds for one form of arguments (shapes, dtypes, what requires grad) and one state of the Python values that
    the step's code names (variables, attributes, items, hooks, children of its modules); others get a plan of their
    own. Learning rates and other options of optimizers, step counts and random state are read anew at every call, and
    schedules of learning rates may be stepped within. Tensors that the step puts where tensors were (a running mean,
    a hidden state) are put there at every call.

    A step that reads a tensor's value on the host (``.item()``, ``if tensor``, ``print``), whose shapes depend on
    values, or that changes other Python values (counts, appends to a list, draws NumPy's random numbers) can't be
    captured: that is a ``CaptureError`` which names the line. With ``fallback=True`` such a step runs eagerly instead,
    with one warning; so it does by default where flambeau serves as ``torch`` (PyTorch's own ``torch.compile`` runs
    such programs, too), unless ``fullgraph=True`` asks for all or nothing.

    ``backend="xla"`` makes one program of XLA's of the step (`pip install 'flambeau[xla]'`), forward, backward and
    optimizer, traced once; it is the default for tensors on JAX's devices (``xla``, ``cuda``, ``tpu``). Tensors on the
    CPU may be compiled so too, and stay where they are. On accelerators dropout draws within the program, by keys that
    the generator gives; elsewhere random numbers are those of the uncompiled step.

    ``dynamic``, ``mode``, ``options`` and other backends are accepted; with a backend named ``eager`` or ``aot_eager``,
    or ``disable=True``, nothing is compiled. Without ``model`` it is a decorator.

    Raises:
        RuntimeError: both ``mode`` and ``options`` are given.
        TypeError: ``model`` can't be called.
        CaptureError: at a call of the compiled step, see above.

    >>> import flambeau as torch
    >>> layer = torch.nn.Linear(3, 1)
    >>> optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    >>> @torch.compile
    ... def step(x, y):
    ...     optimizer.zero_grad()
    ...     loss = (layer(x) - y).square().mean()
    ...     loss.backward()
    ...     optimizer.step()
    ...     return loss
    >>> x, y = torch.ones(4, 3), torch.zeros(4, 1)
    >>> losses = [step(x, y).item() for _ in range(6)]
    >>> losses[5] < losses[0]
    True
    """

    def __call__(
        self,
        model: Callable | None = None,
        *,
        fullgraph: bool = False,
        dynamic: bool | None = None,
        backend: str | Callable = "inductor",
        mode: str | None = None,
        options: dict[str, Any] | None = None,
        disable: bool = False,
        fallback: bool | None = None,
    ) -> Any:
        if mode is not None and options is not None:
            raise RuntimeError(f"compile() takes either mode or options, got mode={mode!r} and options={options!r}")
        given: dict[str, Any] = dict(fullgraph=fullgraph, dynamic=dynamic, backend=backend, mode=mode)
        given |= dict(options=options, disable=disable, fallback=fallback)
        if model is None:
            return lambda function: self(function, **given)
        if not callable(model):
            raise TypeError(f"compile() takes a function or a module, got {type(model).__name__}")
        if disable or backend in _EAGER:
            return model
        from flambeau.compiled.front import compiled_by
        from flambeau.compiled.step import Compiled
        from flambeau.nn.modules.module import Module

        if isinstance(model, Compiled) or getattr(model, "_flambeau_compile_off", False):
            return model
        if fallback is None:
            from flambeau.run import serves_as_torch

            fallback = serves_as_torch() and not fullgraph
        if isinstance(model, Module):
            from flambeau.compiled.module import OptimizedModule

            return OptimizedModule(model, fallback, backend)
        return compiled_by(backend, model, fallback)

    def explain(self, step: Any) -> str:
        """The plans of a compiled step as a table: kernels, fused groups, memory, and why there is more than one.

        Prints it and returns it. TypeError for what was not compiled.
        """
        compiled = getattr(step, "_compiled", step)
        if not hasattr(compiled, "explain"):
            raise TypeError(f"explain() takes what compile() returned, got {type(step).__name__}")
        text = compiled.explain()
        print(text)
        return text


compile = NS["COMPILE"] = _Compile()
explain = compile.explain


def disable(fn: Callable | None = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """Keep a function out of compilation: `compile` returns it as it is. Without ``fn`` it is a decorator."""
    if fn is None:
        return disable
    try:
        fn._flambeau_compile_off = True  # type: ignore[attr-defined]
    except AttributeError:
        pass
    return fn


def is_compiling() -> bool:
    """Whether a step is being captured right now."""

    return NS["CAPTURE"] is not None


def is_dynamo_compiling() -> bool:
    """Whether a step is being captured right now."""
    return is_compiling()


def is_exporting() -> bool:
    """Whether a program is being exported right now: no."""
    return False


def allow_in_graph(fn: Callable) -> Callable:
    """Returns the function as it is."""
    return fn


assume_constant_result = allow_in_graph


def cudagraph_mark_step_begin() -> None:
    """The beginning of a step: nothing to do."""


def list_backends(exclude_tags: Any = ()) -> list[str]:
    """The backends that ``compile`` chooses among. Other names are accepted and mean the first."""
    return ["inductor", "xla"]


class set_stance:
    """Accepted, as a call, a context or a decorator: what runs compiled gives the same in any stance."""

    def __init__(
        self, stance: str = "default", *, skip_guard_eval_unsafe: bool = False, force_backend: Any = None
    ) -> None:
        if stance not in ("default", "force_eager", "eager_on_recompile", "fail_on_recompile", "eager_then_compile"):
            raise RuntimeError(f"there is no stance '{stance}'")

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        return None

    def __call__(self, fn: Callable) -> Callable:
        return fn


def reset() -> None:
    """Nothing to forget: plans belong to the steps they were made for."""
