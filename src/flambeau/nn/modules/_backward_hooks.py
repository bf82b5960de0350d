"""How full backward hooks of a module see all gradients of one call at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.autograd import Function
from flambeau.nn._core import Tensor, is_grad_enabled
from flambeau.nn.modules._hooks import _name


class BackwardHookFunction(Function):
    """The identity on all its arguments; its backward hands the gradients to `ctx.relay` and sends on what that
    returns.
    """

    @staticmethod
    def forward(ctx, relay, materialize, *tensors):
        ctx.relay = relay
        ctx.set_materialize_grads(materialize)
        ctx.mark_non_differentiable(*(t for t in tensors if not t.requires_grad))
        return tuple(t.view_as(t) for t in tensors)

    @staticmethod
    def backward(ctx, *grads):
        return (None, None, *ctx.relay(grads))


class BackwardHook:
    """Runs the full backward hooks of one call of a module.

    Inputs and outputs of the call are passed through an identity, so that its backward sees all their gradients at
    once: at the outputs before the module's own backward, at the inputs after it.
    """

    def __init__(self, module, user_hooks: list, user_pre_hooks: list) -> None:
        self.module = module
        self.user_hooks = user_hooks
        self.user_pre_hooks = user_pre_hooks
        self.grad_outputs: Any = None
        self.n_inputs = -1
        self.input_at: list[int] | None = None  # where the tensors that passed the identity sit among the inputs
        self.n_outputs = -1
        self.output_at: list[int] = []

    def _through(self, relay: Callable, materialize: bool, args: tuple) -> tuple[tuple, list[int] | None]:
        at = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        if not (at and is_grad_enabled() and any(args[i].requires_grad for i in at)):
            return args, None
        new = list(args)
        for i, t in zip(at, BackwardHookFunction.apply(relay, materialize, *(args[i] for i in at)), strict=True):
            new[i] = t
        return tuple(new), at

    def setup_input_hook(self, args: tuple) -> tuple:
        """Pass the positional arguments of the call through the identity."""
        self.n_inputs = len(args)

        def relay(grads: tuple) -> tuple:
            if self.grad_outputs is None:  # the outputs took no part in this backward
                return grads
            full: list = [None] * self.n_inputs
            for i, g in zip(self.input_at or (), grads, strict=True):
                full[i] = g
            result = self._run_hooks(tuple(full))
            self.grad_outputs = None
            return tuple(result[i] for i in self.input_at or ())

        args, self.input_at = self._through(relay, True, args)
        return args

    def setup_output_hook(self, result: Any) -> Any:
        """Pass the tensors of the call's result through the identity."""
        single = not isinstance(result, tuple)
        outputs = (result,) if single else result
        self.n_outputs = len(outputs)

        def relay(grads: tuple) -> tuple:
            full: list = [None] * self.n_outputs
            for i, g in zip(self.output_at, grads, strict=True):
                full[i] = g
            self.grad_outputs = self._run_pre_hooks(tuple(full))
            sent = tuple(self.grad_outputs[i] for i in self.output_at)
            if self.input_at is None:  # no input needs a gradient: nothing comes after this
                self._run_hooks((None,) * self.n_inputs)
                self.grad_outputs = None
            return sent

        outputs, at = self._through(relay, False, outputs)
        if at is not None:
            self.output_at = at
        return outputs[0] if single else outputs

    def _run_pre_hooks(self, grads: tuple) -> tuple:
        for hook in self.user_pre_hooks:
            grads = _replaced(hook(self.module, grads), grads, "grad_output", hook)
        return grads

    def _run_hooks(self, grads: tuple) -> tuple:
        for hook in self.user_hooks:
            result = hook(self.module, grads, self.grad_outputs)
            if self.input_at is None and result is not None:
                raise RuntimeError(
                    f"backward hook {_name(hook)} of {type(self.module).__name__} returned gradients of the inputs, "
                    "but no input of this call requires a gradient: return None"
                )
            grads = _replaced(result, grads, "grad_input", hook)
        return grads


def _replaced(result: Any, grads: tuple, what: str, hook: Callable) -> tuple:
    if result is None:
        return grads
    result = result if isinstance(result, tuple) else (result,)
    if len(result) != len(grads):
        raise RuntimeError(
            f"backward hook {_name(hook)} returned {len(result)} values for {what}: expected {len(grads)}"
        )
    return result
