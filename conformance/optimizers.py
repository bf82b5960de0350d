"""The steps by which one entry of `optim_db` is compared: every setting through some steps, and what is refused."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

import flambeau

from .compare import Differs, same, same_error
from .operators import SEED, Nothing, Step, seed
from .translate import Missing, value

CHECKS = ("optimizers", "errors")
STEPS = 8


def steps(entry: Any) -> Iterator[Step]:
    """All steps of an entry."""
    for i, setting in enumerate(entry.optim_inputs_func(device="cpu")):
        for dtype in ("float64", "float32"):
            yield "optimizers", f"{dtype} {setting.desc} {i}", lambda s=setting, d=dtype: same_steps(entry, s, d)
    for i, bad in enumerate(entry.optim_error_inputs_func(device="cpu", dtype=torch.float32)):
        yield "errors", str(i), lambda b=bad: refused(entry, b)


def same_steps(entry: Any, setting: Any, dtype: str) -> None:
    """Parameters and the optimizer's state after some steps on the same gradients, and its repr."""
    rng = np.random.default_rng(SEED)
    start = [rng.standard_normal(shape) for shape in ((4, 3), (3, 5))]
    grads = [[rng.standard_normal(a.shape) for a in start] for _ in range(STEPS)]
    results = []
    for lib in (torch, flambeau):
        cls = getattr(lib.optim, entry.optim_cls.__name__, None)
        if cls is None:
            raise Missing(entry.optim_cls.__name__)
        kwargs = copy.deepcopy(setting.kwargs) if lib is torch else value(setting.kwargs)
        kind = getattr(lib, dtype)
        params = [lib.nn.Parameter(lib.tensor(a, dtype=kind)) for a in start]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made = cls(params, **kwargs)
                _run(lib, entry, made, params, grads)
        except Exception as error:
            if lib is torch:
                raise Nothing(str(error)) from None
            raise
        results.append((params, made))
    (theirs, a), (ours, b) = results
    same(theirs, ours, "parameters", 10)
    if repr(b) != repr(a):
        raise Differs(f"repr: {b!r}, PyTorch's {a!r}")
    same_state(a.state_dict(), b.state_dict(), dtype)


def same_state(theirs: Any, ours: Any, dtype: str) -> None:
    """The two state dicts hold the same under the same names; in single precision a line search's numbers are noise."""
    if list(theirs["state"]) != list(ours["state"]):
        raise Differs("state_dict: for other parameters")
    for index, state in theirs["state"].items():
        if list(state) != list(ours["state"][index]):
            raise Differs(f"state: {list(ours['state'][index])}, PyTorch's {list(state)}")
        if dtype == "float64":
            same(state, ours["state"][index], f"state of parameter {index}", 10)
    for x, y in zip(theirs["param_groups"], ours["param_groups"], strict=True):
        if list(x) != list(y):
            raise Differs(f"param_groups: {list(y)}, PyTorch's {list(x)}")


def _run(lib: Any, entry: Any, made: Any, params: list[Any], grads: list[Any]) -> None:
    def closure() -> Any:
        made.zero_grad()
        with lib.enable_grad():
            loss = sum((p * p).sum() + (p**4).sum() * 0.1 for p in params)
            loss.backward()
        return loss

    seed()
    for given in grads:
        if entry.step_requires_closure:
            made.step(closure)
            continue
        for p, g in zip(params, given, strict=True):
            p.grad = lib.tensor(g, dtype=p.dtype)
        with lib.no_grad():
            made.step()


def refused(entry: Any, bad: Any) -> None:
    """Settings that PyTorch refuses, or warns of, by the class of exception or warning."""
    setting = bad.optimizer_error_input
    ours = getattr(flambeau.optim, entry.optim_cls.__name__)
    raised = []
    for cls, params, kwargs in (
        (entry.optim_cls, setting.params, setting.kwargs),
        (ours, alike(setting.params), value(setting.kwargs)),
    ):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", bad.error_type if issubclass(bad.error_type, Warning) else Warning)
                cls(params if params is not None else _one(cls), **kwargs)
        except Exception as error:
            raised.append(error)
        else:
            raised.append(None)
    if raised[0] is None:
        raise Nothing
    same_error(raised[0], raised[1])


def _one(cls: Any) -> list[Any]:
    lib = torch if cls.__module__.startswith("torch") else flambeau
    return [lib.nn.Parameter(lib.ones(2))]


def alike(params: Any) -> Any:
    """Parameters or groups in which equal places hold one object, as in PyTorch's."""
    seen: dict[int, Any] = {}

    def one(x: Any) -> Any:
        if isinstance(x, torch.Tensor):
            if id(x) not in seen:
                seen[id(x)] = value(x)
            return seen[id(x)]
        if isinstance(x, dict):
            return {k: one(v) for k, v in x.items()}
        return type(x)(one(v) for v in x) if isinstance(x, (list, tuple)) else x

    return one(params)
