"""Passes in a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.fx.graph_module import GraphModule
from flambeau.fx.passes.infra.pass_base import PassResult

__all__ = ["PassManager", "pass_result_wrapper"]


def pass_result_wrapper(fn: Callable) -> Callable:
    """A function that changes a module in place as a pass: it then counts as changed."""

    def wrapped(gm: GraphModule) -> PassResult:
        result = fn(gm)
        if isinstance(result, PassResult):
            return result
        return PassResult(result if isinstance(result, GraphModule) else gm, True)

    wrapped.__name__ = getattr(fn, "__name__", type(fn).__name__)
    return wrapped


class PassManager:
    """Runs passes one after another, `steps` times or until none changes anything.

    Args:
        passes: callables that take a graph module and give a `PassResult`.
        steps: how often at most.
        run_checks_after_each_pass: whether `check` is called after every pass.
    """

    def __init__(
        self,
        passes: list[Callable] | None = None,
        constraints: list[Callable] | None = None,
        steps: int | None = None,
        run_checks_after_each_pass: bool = False,
        suppress_check_failures: bool = False,
    ) -> None:
        self.passes = list(passes or [])
        self.constraints = list(constraints or [])
        self.steps = steps or 1
        self.run_checks_after_each_pass = run_checks_after_each_pass
        self.checks: Callable = lambda module: None

    def add_pass(self, _pass: Callable) -> None:
        """One more pass at the end."""
        self.passes.append(_pass)

    def add_checks(self, check: Callable) -> None:
        """The function that checks a module; it raises if something is wrong."""
        self.checks = check

    def check(self, module: Any) -> None:
        """Checks a module."""
        self.checks(module)

    def __call__(self, module: Any) -> PassResult:
        overall = False
        for _ in range(self.steps):
            modified = False
            for step in self.passes:
                result = step(module)
                if not isinstance(result, PassResult):
                    raise TypeError(f"a pass must return a PassResult, {step} gave {type(result).__name__}")
                module, modified = result.graph_module, modified or result.modified
                if isinstance(module, GraphModule):
                    module.recompile()
                if self.run_checks_after_each_pass:
                    self.check(module)
            overall = overall or modified
            if not modified:
                break
        return PassResult(module, overall)
