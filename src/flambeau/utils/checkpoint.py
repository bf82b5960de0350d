"""Activation checkpointing: what a part of a model computes is dropped, and computed again when backward needs it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from flambeau.autograd.api import backward
from flambeau.autograd.function import Function
from flambeau.autograd.graph import saved_tensors_hooks
from flambeau.autograd.runtime import enable_grad, no_grad
from flambeau.random import fork_rng, get_rng_state, set_rng_state
from flambeau.tensor.tensor import Tensor

__all__ = [
    "CheckpointError",
    "CheckpointFunction",
    "checkpoint",
    "checkpoint_sequential",
    "noop_context_fn",
    "set_checkpoint_early_stop",
]


class CheckpointError(RuntimeError):
    """A function computed something else the second time, so that its gradients would be wrong."""


class _Enough(Exception):
    """Ends a recomputation when all that backward asks for is there."""


_early_stop: bool | None = None


@contextlib.contextmanager
def set_checkpoint_early_stop(enable: bool) -> Iterator[None]:
    """Inside, whether a recomputation ends as soon as it has computed what backward needs."""
    global _early_stop
    before, _early_stop = _early_stop, enable
    try:
        yield
    finally:
        _early_stop = before


def noop_context_fn() -> tuple[Any, Any]:
    """Two contexts that do nothing: for the first run and for the second."""
    return contextlib.nullcontext(), contextlib.nullcontext()


def _tensors_detached(values: Iterable[Any]) -> tuple:
    return tuple(v.detach().requires_grad_(v.requires_grad) if isinstance(v, Tensor) else v for v in values)


class CheckpointFunction(Function):
    """The reentrant kind: one node, whose backward runs the function again and then a backward of its own."""

    @staticmethod
    def forward(ctx: Any, run_function: Callable, preserve_rng_state: bool, *args: Any) -> Any:
        """Run the function without recording it."""
        if not any(isinstance(a, Tensor) and a.requires_grad for a in args):
            warnings.warn(
                "checkpoint: none of the inputs requires grad, so with use_reentrant=True no gradient reaches what is "
                "inside; use_reentrant=False does without",
                stacklevel=2,
            )
        ctx.run_function = run_function
        ctx.rng = get_rng_state() if preserve_rng_state else None
        ctx.places = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        ctx.rest = [None if isinstance(a, Tensor) else a for a in args]
        ctx.save_for_backward(*(args[i] for i in ctx.places))
        with no_grad():
            return run_function(*args)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:  # type: ignore[override]
        """Run it again, recorded, and go through that backwards."""
        args = list(ctx.rest)
        for place, tensor in zip(ctx.places, ctx.saved_tensors, strict=True):
            args[place] = tensor
        inputs = _tensors_detached(args)
        with fork_rng(enabled=ctx.rng is not None):
            if ctx.rng is not None:
                set_rng_state(ctx.rng)
            with enable_grad():
                outputs = ctx.run_function(*inputs)
        if isinstance(outputs, Tensor):
            outputs = (outputs,)
        wanted = [
            (out, g) for out, g in zip(outputs, grads, strict=True) if isinstance(out, Tensor) and out.requires_grad
        ]
        if not wanted:
            raise RuntimeError("checkpoint: none of the outputs requires grad, so there is nothing to go back through")
        backward([out for out, _ in wanted], [g for _, g in wanted])
        return (None, None, *(i.grad if isinstance(i, Tensor) else None for i in inputs))


class _Frame:
    """One call: what it saved for backward, by number; computed again as a whole when the first of it is asked for."""

    def __init__(self, again: Callable[[], None], early_stop: bool, check: bool) -> None:
        self.again = again
        self.early_stop = early_stop
        self.check = check
        self.facts: list[tuple] = []  # shape and dtype of everything saved in forward
        self.found: list[Any] = []

    def pack(self, tensor: Tensor) -> int:
        """Forward: note that something was saved, and drop it."""
        self.facts.append((tuple(tensor.shape), tensor.dtype, tensor.device))
        return len(self.facts) - 1

    def repack(self, tensor: Tensor) -> Tensor:
        """Recomputation: keep what is saved, in the same order."""
        if len(self.found) < len(self.facts):
            self.found.append(tensor.detach())
            if self.early_stop and len(self.found) == len(self.facts):
                raise _Enough
        elif self.check:
            raise CheckpointError(
                f"checkpoint: forward saved {len(self.facts)} tensors for backward, its recomputation more. "
                "The function must do the same each time."
            )
        return tensor

    def unpack(self, number: int) -> Tensor:
        """Backward: the tensor of that number."""
        if not self.found:
            with contextlib.suppress(_Enough), saved_tensors_hooks(self.repack, lambda t: t), enable_grad():
                self.again()
            self._compare()
        tensor = self.found[number]
        if tensor is None:
            self.found = []  # asked for once more, by a second backward
            return self.unpack(number)
        self.found[number] = None
        if all(t is None for t in self.found):
            self.found = []
        return tensor

    def _compare(self) -> None:
        if len(self.found) < len(self.facts):
            raise CheckpointError(
                f"checkpoint: forward saved {len(self.facts)} tensors for backward, its recomputation "
                f"{len(self.found)}. The function must do the same each time."
            )
        if not self.check:
            return
        for number, (fact, tensor) in enumerate(zip(self.facts, self.found, strict=True)):
            now = (tuple(tensor.shape), tensor.dtype, tensor.device)
            if now != fact:
                raise CheckpointError(
                    f"checkpoint: saved tensor {number} had shape {fact[0]} and {fact[1]} in forward, but {now[0]} "
                    f"and {now[1]} when recomputed. The function must do the same each time; "
                    "determinism_check='none' turns this check off."
                )


def _without_reentrance(
    function: Callable, preserve: bool, context_fn: Callable, check: bool, early_stop: bool, args: tuple, kwargs: dict
) -> Any:
    first, second = context_fn()
    rng = get_rng_state() if preserve else None

    def again() -> None:
        with fork_rng(enabled=rng is not None):
            if rng is not None:
                set_rng_state(rng)
            with second:
                function(*args, **kwargs)

    frame = _Frame(again, early_stop if _early_stop is None else _early_stop, check)
    with saved_tensors_hooks(frame.pack, frame.unpack), first:
        return function(*args, **kwargs)


def checkpoint(
    function: Callable,
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], tuple[Any, Any]] = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    **kwargs: Any,
) -> Any:
    """``function(*args, **kwargs)``, whose intermediate results are not kept but computed again in backward.

    Random draws are the same both times, unless ``preserve_rng_state=False`` is among the keyword arguments.
    "Training deep nets with sublinear memory cost" (arXiv:1604.06174).

    Args:
        function: what to run; it must do the same each time.
        use_reentrant: True runs a backward within backward, which needs an input that requires grad, and knows no
            keyword arguments and no `autograd.grad`; False (recommended) has none of these limits. None warns, and
            is True.
        context_fn: gives two context managers, for the first run and for the second; not with `use_reentrant`.
        determinism_check: ``'none'`` leaves out comparing shapes and dtypes of both runs.
        debug: accepted, not with `use_reentrant`.
        early_stop: whether the second run may end when all that backward needs is there.

    Raises:
        ValueError: for arguments that do not go together.
        CheckpointError: in backward, if the second run differs from the first.

    >>> import flambeau as torch
    >>> x = torch.ones(2, requires_grad=True)
    >>> torch.utils.checkpoint.checkpoint(lambda x: x.exp().sin(), x, use_reentrant=False).sum().backward()
    >>> x.grad
    tensor([-2.4784, -2.4784])
    """
    if use_reentrant is None:
        warnings.warn(
            "checkpoint: pass use_reentrant explicitly; False is recommended, True is what is done without it",
            stacklevel=2,
        )
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if use_reentrant:
        if kwargs:
            raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs) + "; use_reentrant=False takes them")
        if context_fn is not noop_context_fn or debug:
            raise ValueError("checkpoint: context_fn and debug need use_reentrant=False")
        return CheckpointFunction.apply(function, preserve, *args)
    if determinism_check not in ("default", "none"):
        raise ValueError(f"determinism_check should be 'default' or 'none', got {determinism_check!r}")
    return _without_reentrance(function, preserve, context_fn, determinism_check == "default", early_stop, args, kwargs)


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """Functions (or the modules of a `Sequential`) one after another, checkpointed in `segments` parts; the last is
    not.

    ValueError for unknown keyword arguments.
    """
    if use_reentrant is None:
        warnings.warn(
            "checkpoint_sequential: pass use_reentrant explicitly; False is recommended, True is what is done without",
            stacklevel=2,
        )
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    steps = list(functions.children()) if hasattr(functions, "children") else list(functions)

    def part(start: int, stop: int) -> Callable:
        def run(value: Any) -> Any:
            for step in steps[start:stop]:
                value = step(value)
            return value

        return run

    length = len(steps) // segments
    start = 0
    for start in range(0, length * (segments - 1), length) if length else ():
        input = checkpoint(
            part(start, start + length), input, use_reentrant=use_reentrant, preserve_rng_state=preserve
        )
    return part(length * (segments - 1), len(steps))(input)
