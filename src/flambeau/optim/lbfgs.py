"""L-BFGS, with a line search that finds points meeting the strong Wolfe conditions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from flambeau.autograd.runtime import NS, enable_grad
from flambeau.autograd.views import bump
from flambeau.errors import CaptureError
from flambeau.optim.optimizer import Optimizer, ParamsT, check_lr, number, tensor_of
from flambeau.tensor.tensor import Tensor

__all__ = ["LBFGS"]

#: What the next step goes on from, in the order in which PyTorch keeps it.
_KEPT = ("d", "t", "old_dirs", "old_stps", "ro", "H_diag", "prev_flat_grad", "prev_loss")

_ARMIJO, _CURVATURE = 1e-4, 0.9  # the constants of the Wolfe conditions


class _Point(NamedTuple):
    """Where along the direction, the loss there, its gradient, and its slope along the direction."""

    t: float
    f: float
    g: np.ndarray
    slope: float


def _cubic_minimum(a: _Point, b: _Point, low: float | None = None, high: float | None = None) -> float:
    """The minimum, within bounds, of the cubic through two points with their slopes."""
    if low is None or high is None:
        low, high = min(a.t, b.t), max(a.t, b.t)
    d1 = a.slope + b.slope - 3 * (a.f - b.f) / (a.t - b.t)
    square = d1**2 - a.slope * b.slope
    if square < 0:
        return (low + high) / 2.0
    d2 = math.sqrt(square)
    left, right = (a, b) if a.t <= b.t else (b, a)
    t = right.t - (right.t - left.t) * ((right.slope + d2 - d1) / (right.slope - left.slope + 2 * d2))
    return min(max(t, low), high)


class _WolfeSearch:
    """A line search along one direction; `evaluate(t)` gives loss and gradient there."""

    def __init__(self, evaluate: Callable, direction: np.ndarray, start: _Point, tolerance: float, most: int) -> None:
        self.evaluate, self.direction, self.start = evaluate, direction, start
        self.tolerance, self.most = tolerance, most
        self.evaluations = self.rounds = 0

    def at(self, t: float) -> _Point:
        f, g = self.evaluate(t)
        self.evaluations += 1
        return _Point(t, f, g, float(g @ self.direction))

    def falls_enough(self, p: _Point) -> bool:
        return p.f <= self.start.f + _ARMIJO * p.t * self.start.slope

    def is_flat_enough(self, p: _Point) -> bool:
        return abs(p.slope) <= -_CURVATURE * self.start.slope

    def run(self, t: float) -> _Point:
        """The point found, from the first guess `t`."""
        bracket, done = self.bracket(t)
        return bracket[0] if done else self.zoom(bracket)

    def bracket(self, t: float) -> tuple[list[_Point], bool]:
        """Two points with a good one between them, or a good one and True."""
        previous, point = self.start, self.at(t)
        while self.rounds < self.most:
            if not self.falls_enough(point) or (self.rounds > 1 and point.f >= previous.f):
                return [previous, point], False
            if self.is_flat_enough(point):
                return [point], True
            if point.slope >= 0:
                return [previous, point], False
            t = _cubic_minimum(previous, point, point.t + 0.01 * (point.t - previous.t), point.t * 10)
            previous, point = point, self.at(t)
            self.rounds += 1
        return [self.start, point], False

    def zoom(self, bracket: list[_Point]) -> _Point:
        """Narrows a bracket down; the better of its ends if no point meets the conditions."""
        better, worse = sorted(bracket, key=lambda p: p.f)
        first, second = bracket
        size = float(np.abs(self.direction).max())
        too_close = False
        while self.rounds < self.most and abs(second.t - first.t) * size >= self.tolerance:
            t = _cubic_minimum(first, second)
            low, high = min(first.t, second.t), max(first.t, second.t)
            margin = 0.1 * (high - low)
            if min(high - t, t - low) < margin:
                if too_close or t >= high or t <= low:
                    t = high - margin if abs(t - high) < abs(t - low) else low + margin
                    too_close = False
                else:
                    too_close = True
            else:
                too_close = False
            point = self.at(t)
            self.rounds += 1
            if not self.falls_enough(point) or point.f >= better.f:
                first, second = (point, second) if worse is first else (first, point)
                better, worse = (first, second) if first.f <= second.f else (second, first)
                continue
            if self.is_flat_enough(point):
                return point
            replaced = better
            if point.slope * (worse.t - better.t) >= 0:
                first, second = (first, replaced) if worse is second else (replaced, second)
                worse = replaced
                first, second = (point, second) if second is worse else (first, point)
            else:
                first, second = (point, second) if first is replaced else (first, point)
            better = point
        return better


class LBFGS(Optimizer):
    """Quasi-Newton descent from the last `history_size` steps and changes of the gradient, for small smooth problems.

    `step(closure)` makes up to `max_iter` iterations and calls `closure`, which computes loss and gradients, up to
    `max_eval` times (by default 1.25 `max_iter`). It ends when no gradient is above `tolerance_grad`, or steps and loss
    change by less than `tolerance_change`. `line_search_fn`: None steps by `lr`, "strong_wolfe" searches. Liu and
    Nocedal, "On the limited memory BFGS method for large scale optimization" (1989). All parameters are one group.

    ValueError for more groups or a bad `lr`, RuntimeError for an unknown line search.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_lr(lr)
        defaults = dict(
            lr=lr,
            max_iter=max_iter,
            max_eval=max_eval if max_eval is not None else max_iter * 5 // 4,
            tolerance_grad=tolerance_grad,
            tolerance_change=tolerance_change,
            history_size=history_size,
            line_search_fn=line_search_fn,
        )
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError(f"LBFGS has one group for all parameters, got {len(self.param_groups)}")

    # --- all parameters as one vector ----------------------------------------------------------------------------

    def _params(self) -> list[Any]:
        return self.param_groups[0]["params"]

    def _gradient(self) -> np.ndarray:
        parts = [p._a.dtype.type(0) * p._a if p._grad is None else p._grad._a for p in self._params()]
        return np.concatenate([_reals(a).reshape(-1) for a in parts])

    def _move(self, t: float, direction: np.ndarray) -> None:
        """Add `t * direction` to the parameters."""
        at = 0
        for p in self._params():
            a = p._a
            count = a.size * (2 if a.dtype.kind == "c" else 1)
            change = direction[at : at + count].astype(a.real.dtype) * t
            a += change.view(a.dtype).reshape(a.shape) if a.dtype.kind == "c" else change.reshape(a.shape)
            bump(p)
            at += count

    def _evaluate_at(
        self, closure: Callable, start: list[np.ndarray], t: float, d: np.ndarray
    ) -> tuple[float, np.ndarray]:
        self._move(t, d)
        loss = float(closure())
        gradient = self._gradient()
        self._put_back(start)
        return loss, gradient

    def _put_back(self, values: list[np.ndarray]) -> None:
        for p, value in zip(self._params(), values, strict=True):
            p._a[...] = value
            bump(p)

    # --- steps ---------------------------------------------------------------------------------------------------

    def step(self, closure: Callable) -> Any:  # type: ignore[override]
        """Iterate; `closure` clears the gradients, computes the loss, calls `backward()` and returns the loss.

        CaptureError within a compiled step: how often the closure runs depends on values.
        """
        if NS["CAPTURE"] is not None:
            NS["CAPTURE"].refuse(
                CaptureError(
                    "LBFGS can't be a part of a compiled step: how often it evaluates the closure depends on values. "
                    "Compile the closure, which does the work (closure = torch.compile(closure)), and call "
                    "optimizer.step(closure) outside"
                )
            )

        def evaluate() -> Any:
            with enable_grad():
                return closure()

        group = self.param_groups[0]
        lr, small = group["lr"], group["tolerance_change"]
        if isinstance(lr, Tensor):
            lr = lr.detach().reshape(())  # kept as the step of the next call, as a tensor
        state = self.state[self._params()[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first_loss = evaluate()
        loss, evaluations = float(first_loss), 1
        state["func_evals"] += 1
        g = self._gradient()
        if np.abs(g).max() <= group["tolerance_grad"]:
            return first_loss
        memory = {name: state.get(name) for name in _KEPT}
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            d = self._direction(state, memory, g, group["history_size"])
            memory["prev_flat_grad"], memory["prev_loss"] = tensor_of(g.copy()), loss
            before = loss
            t: Any = lr
            if state["n_iter"] == 1:
                total = float(np.abs(g).sum())
                t = (_kept(1.0 / total, g) if total > 1 else 1.0) * lr
            slope = float(g @ d)
            memory["d"], memory["t"] = tensor_of(d), t
            if slope > -small:
                break
            last = iteration == group["max_iter"]
            here = _Point(0.0, loss, g, slope)
            loss, g, t, used = self._advance(evaluate, here, d, t, last, group["max_eval"] - evaluations)
            memory["t"] = t
            evaluations += used
            state["func_evals"] += used
            if evaluations >= group["max_eval"] or np.abs(g).max() <= group["tolerance_grad"]:
                break
            if np.abs(d * number(t)).max() <= small or abs(loss - before) < small:
                break
        state.update(memory)
        return first_loss

    def _advance(
        self, evaluate: Callable, here: _Point, d: np.ndarray, t: Any, last: bool, most: int
    ) -> tuple[float, np.ndarray, Any, int]:
        """Move along `d`; returns the new loss, gradient, step and how often the loss was computed."""
        group = self.param_groups[0]
        if group["line_search_fn"] is None:
            self._move(number(t), d)
            if last:
                return here.f, here.g, t, 0
            return float(evaluate()), self._gradient(), t, 1
        if group["line_search_fn"] != "strong_wolfe":
            raise RuntimeError(f"LBFGS: line_search_fn is None or 'strong_wolfe', got {group['line_search_fn']!r}")
        start = [p._a.copy() for p in self._params()]
        search = _WolfeSearch(lambda t: self._evaluate_at(evaluate, start, t, d), d, here, 1e-9, most)
        found = search.run(number(t))
        self._move(found.t, d)
        return found.f, found.g, t if found.t == number(t) else _kept(found.t, d), search.evaluations

    def _direction(self, state: dict[str, Any], memory: dict[str, Any], g: np.ndarray, history: int) -> np.ndarray:
        """The quasi-Newton direction at gradient `g`, from what the last step taught."""
        if state["n_iter"] == 1:
            memory.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return -g
        ys, steps, ro = memory["old_dirs"], memory["old_stps"], memory["ro"]
        y, s = g - memory["prev_flat_grad"]._a, memory["d"]._a * number(memory["t"])
        product = float(y @ s)
        if product > 1e-10:
            if len(ys) == history:
                for kept in (ys, steps, ro):
                    kept.pop(0)
            ys.append(tensor_of(y))
            steps.append(tensor_of(s))
            ro.append(_kept(1.0 / product, g))
            memory["H_diag"] = _kept(product / float(y @ y), g)
        weights = state.setdefault("al", [None] * history)
        q = -g
        for i in reversed(range(len(ys))):
            weight = float(steps[i]._a @ q) * number(ro[i])
            weights[i] = _kept(weight, g)
            q -= weight * ys[i]._a
        q *= number(memory["H_diag"])
        for i in range(len(ys)):
            q += (number(weights[i]) - float(ys[i]._a @ q) * number(ro[i])) * steps[i]._a
        return q


def _kept(value: float, like: np.ndarray) -> Any:
    """A number as it is kept in the state: a 0-dim tensor of the gradients' dtype."""
    return tensor_of(np.array(value, like.dtype))


def _reals(a: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(a).reshape(-1).view(a.real.dtype) if a.dtype.kind == "c" else a
