"""Anomaly mode: which operation made the NaN, where it stands in the program, and what to write instead."""

from __future__ import annotations

import os
import traceback
import warnings
from typing import Any

import numpy as np

from flambeau.autograd.runtime import NS, watch

_ADVICE = {
    "Sqrt": "the derivative of sqrt is infinite at 0, and 0 * inf is NaN: write torch.sqrt(x + eps), eps such as 1e-8",
    "Rsqrt": "the derivative of rsqrt is infinite at 0: write torch.rsqrt(x + eps)",
    "Pow": "a power below 1 has an infinite derivative at 0, and none at a negative base: clamp the base above 0",
    "Log": "log has no derivative at 0 and below: write torch.log(x.clamp(min=eps)) or torch.log(x + eps)",
    "Div": "a division by 0 has no derivative: add a small eps to the denominator, or torch.where on both sides",
    "Reciprocal": "1 / 0 has no derivative: add a small eps to the denominator",
    "Norm": "the norm has no derivative at 0: add a small eps inside the root",
    "Acos": "acos has an infinite derivative at -1 and 1: clamp its input to the inside",
    "Asin": "asin has an infinite derivative at -1 and 1: clamp its input to the inside",
    "Std": "the standard deviation has no derivative where it is 0: add a small eps to the variance",
    "Where": "torch.where passes 0 * NaN from the branch not taken: make that branch's input safe before the operation",
    "Mul": "0 * inf is NaN: look for an infinite factor, or an infinite gradient that comes from further down",
    "Exp": "exp overflows above 88 in float32: subtract the maximum first, or use log_softmax or logsumexp",
}
_PACKAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")
_state: dict[str, Any] = {"on": False, "check_nan": True}


def advice(name: str) -> str:
    """What to do about a NaN from the backward of the named operation."""
    stem = name.split("Backward")[0]
    for key, text in _ADVICE.items():
        if stem.startswith(key) or key in stem:
            return text
    return "check this operation's inputs for values where it has no derivative"


def _trace() -> str:
    """The user's frames, innermost last."""
    frames = [
        f
        for f in traceback.extract_stack()
        if not f.filename.startswith((_PACKAGE, "<flambeau"))
    ]
    return "".join(traceback.format_list(frames[-6:]))


def _check(run: Any, node: Any, results: Any) -> None:
    """Looks at one node's gradients; `run`, the backward pass, remembers which node made the first infinity."""
    if not _state["check_nan"]:
        return
    for i, result in enumerate(results or ()):
        array = getattr(result, "_a", result)
        if array is None or array.dtype.kind not in "fc":
            continue
        if np.isnan(array).any():
            raise RuntimeError(_report(run.infinite, node, i))
        if run.infinite is None and np.isinf(array).any():
            run.infinite = node


def _report(infinite: Any, node: Any, i: int) -> str:
    lines = [f"{node.name()}: its {i}th gradient holds NaN."]
    if node.trace:
        lines.append(f"It was recorded in forward at:\n{node.trace.rstrip()}")
    blamed = node
    if infinite is not None and infinite is not node:
        blamed = infinite
        lines.append(f"Before that, '{infinite.name()}' had made an infinite gradient.")
        if infinite.trace:
            lines.append(f"It was recorded in forward at:\n{infinite.trace.rstrip()}")
    lines.append(f"What to do: {advice(blamed.name())}.")
    return "\n".join(lines)


def is_anomaly_enabled() -> bool:
    """Whether anomaly mode is on."""
    return _state["on"]


def is_anomaly_check_nan_enabled() -> bool:
    """Whether anomaly mode looks for NaN."""
    return _state["check_nan"]


def _set(on: bool, check_nan: bool) -> None:
    if on != _state["on"]:
        watch(on)
    _state.update(on=on, check_nan=check_nan)
    NS["ANOMALY"] = _check if on else None
    NS["TRACE"] = _trace if on else None


class detect_anomaly:
    """Inside, a backward that makes a NaN raises a RuntimeError.

    It names the operation, the line in forward and the remedy. Operations inside remember where they were called, which
    makes them slower.
    """

    def __init__(self, check_nan: bool = True) -> None:
        self.check_nan = check_nan
        warnings.warn(
            "anomaly mode is on: each operation remembers the line that called it, and every gradient is looked "
            "through for NaN. That takes time: turn it off once the fault is found",
            stacklevel=2,
        )

    def __enter__(self) -> None:
        self.previous = dict(_state)
        _set(True, self.check_nan)

    def __exit__(self, *exc: object) -> None:
        _set(self.previous["on"], self.previous["check_nan"])


class set_detect_anomaly:
    """Turns anomaly mode on or off, at once or for a `with` block."""

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self.previous = dict(_state)
        _set(mode, check_nan)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        _set(self.previous["on"], self.previous["check_nan"])
