"""`GradScaler`: losses scaled so that gradients in float16 do not vanish."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable
from enum import Enum
from typing import Any

from flambeau.autograd.runtime import NS, no_grad
from flambeau.cuda import is_available
from flambeau.dtypes import float16, float32, int32
from flambeau.errors import CaptureError
from flambeau.ops.compare import where
from flambeau.tensor.creation import full
from flambeau.tensor.tensor import Tensor

__all__ = ["GradScaler", "OptState"]

_START = "call scaler.scale(loss) first in this iteration"


class OptState(Enum):
    """How far an optimizer is since the last `update`."""

    READY = 0
    UNSCALED = 1
    STEPPED = 2


def _fresh() -> dict[str, Any]:
    return {"stage": OptState.READY, "found_inf_per_device": {}}


class GradScaler:
    """Scales losses, takes the scale off gradients, skips steps whose gradients are not finite, and adapts the scale.

    The scale grows by `growth_factor` after `growth_interval` good steps in a row and shrinks by `backoff_factor` after
    a bad one. For ``'cuda'`` where there is none it warns and is disabled: everything passes through.

    A step compiled by XLA may hold all of an iteration, `scale` to `update`: whether gradients are finite is then found
    out within the program.

    Raises:
        AssertionError: factors on the wrong side of 1, or calls in the wrong order.

    >>> import flambeau as torch
    >>> w = torch.nn.Parameter(torch.ones(1))
    >>> optimizer = torch.optim.SGD([w], lr=0.5)
    >>> scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    >>> scaler.scale((w * 2).sum()).backward()
    >>> scaler.step(optimizer); scaler.update()
    >>> w.detach()
    tensor([0.])
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._device = device
        self._enabled = enabled
        if device == "cuda" and enabled and not is_available():
            warnings.warn("GradScaler: 'cuda' is not available, so it is disabled", UserWarning, stacklevel=2)
            self._enabled = False
        if not self._enabled:
            return
        if not growth_factor > 1.0:
            raise AssertionError(f"growth_factor must exceed 1, got {growth_factor}")
        if not backoff_factor < 1.0:
            raise AssertionError(f"backoff_factor must be below 1, got {backoff_factor}")
        self._init_scale = init_scale
        self._scale: Any = None
        self._growth_factor, self._backoff_factor = growth_factor, backoff_factor
        self._growth_interval = growth_interval
        self._init_growth_tracker = 0
        self._growth_tracker: Any = None
        self._per_optimizer_states: dict[int, dict[str, Any]] = defaultdict(_fresh)

    def _begun(self, name: str) -> tuple[Any, Any]:
        if self._scale is None or self._growth_tracker is None:
            raise AssertionError(f"GradScaler.{name}() before any loss was scaled: {_START}")
        return self._scale, self._growth_tracker

    def _begin(self, device: Any) -> Any:
        if self._scale is None:
            self._scale = full((), self._init_scale, dtype=float32, device=device)
            self._growth_tracker = full((), self._init_growth_tracker, dtype=int32, device=device)
        return self._scale if self._scale.device == device else self._scale.to(device)

    # --- a step --------------------------------------------------------------------------------------------------

    def scale(self, outputs: Any) -> Any:
        """A tensor, or tensors in a structure of iterables, times the scale. ValueError for anything else."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._begin(outputs.device)
        if isinstance(outputs, Iterable):
            scaled = map(self.scale, outputs)
            return type(outputs)(scaled) if isinstance(outputs, (list, tuple)) else scaled  # type: ignore[call-arg]
        raise ValueError(f"GradScaler.scale() takes a Tensor or an iterable of them, got {type(outputs).__name__}")

    @no_grad()
    def _unscale_grads_(self, optimizer: Any, inv_scale: Any, found_inf: Any, allow_fp16: bool) -> dict[str, Any]:
        """Multiply the optimizer's gradients by `inv_scale` and note in `found_inf` whether one is not finite."""
        grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if not allow_fp16 and any(g.dtype is float16 for g in grads):
            raise ValueError("gradients in float16 can't be unscaled: keep the parameters in float32 and use autocast")
        for g in grads:
            found_inf.masked_fill_(g.isfinite().all().logical_not_().to(found_inf.device), 1.0)
            g.mul_(inv_scale.to(g.device))
        return {self._device: found_inf} if grads else {}

    def unscale_(self, optimizer: Any) -> None:
        """Take the scale off the gradients of `optimizer`, for instance before clipping them; at most once per step.

        RuntimeError for a second time, or after `step`; ValueError for gradients in float16.
        """
        if not self._enabled:
            return
        scale, _ = self._begun("unscale_")
        own = self._per_optimizer_states[id(optimizer)]
        if own["stage"] is OptState.UNSCALED:
            raise RuntimeError("unscale_() was already called on this optimizer since the last update()")
        if own["stage"] is OptState.STEPPED:
            raise RuntimeError("unscale_() comes before step(), not after it")
        inverse = scale.double().reciprocal().float()
        found = full((), 0.0, dtype=float32, device=scale.device)
        own["found_inf_per_device"] = self._unscale_grads_(optimizer, inverse, found, False)
        own["stage"] = OptState.UNSCALED

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """`optimizer.step(*args, **kwargs)` on unscaled gradients; skipped, with None returned, if one is not finite.

        RuntimeError for a second step before `update`, and for closures.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("GradScaler.step() takes no closure: it could not unscale the gradients that one makes")
        self._begun("step")
        own = self._per_optimizer_states[id(optimizer)]
        if own["stage"] is OptState.STEPPED:
            raise RuntimeError("step() was already called since the last update()")
        if own["stage"] is OptState.READY:
            self.unscale_(optimizer)
        if not own["found_inf_per_device"]:
            raise AssertionError("no gradients were checked for this optimizer: it has none")
        result = self._maybe_opt_step(optimizer, own, *args, **kwargs)
        own["stage"] = OptState.STEPPED
        return result

    def _maybe_opt_step(self, optimizer: Any, optimizer_state: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        found = list(optimizer_state["found_inf_per_device"].values())
        skipping = getattr(NS["CAPTURE"], "skipping", None)
        if skipping is not None:  # the choice is the program's
            with skipping(found, optimizer, self._check_begun_anew):
                return optimizer.step(*args, **kwargs)
        if any(f.item() for f in found):
            return None
        return optimizer.step(*args, **kwargs)

    def _check_begun_anew(self) -> None:
        """At the end of a step that is compiled."""
        if self._per_optimizer_states:
            raise CaptureError(
                "a compiled step with scaler.step(optimizer) ends with scaler.update(), which goes on from what that "
                "step has found: call update() in the compiled function too"
            )

    def update(self, new_scale: Any = None) -> None:
        """Adapt the scale to what the steps since the last update met, or set it to `new_scale`."""
        if not self._enabled:
            return
        scale, tracker = self._begun("update")
        if new_scale is not None:
            self._set_scale(new_scale)
        else:
            found = [f for own in self._per_optimizer_states.values() for f in own["found_inf_per_device"].values()]
            if not found:
                raise AssertionError("GradScaler.update() before any step: no gradients were checked")
            self._adapt(scale, tracker, found)
        self._per_optimizer_states = defaultdict(_fresh)

    def _set_scale(self, new_scale: Any) -> None:
        if isinstance(new_scale, float):
            self._scale.fill_(new_scale)
            return
        fits = isinstance(new_scale, Tensor) and new_scale.device.type == self._device and new_scale.numel() == 1
        if not fits or new_scale.requires_grad:
            raise AssertionError("new_scale must be a float, or a tensor with one element that requires no gradient")
        self._scale.copy_(new_scale.reshape(()))

    @no_grad()
    def _adapt(self, scale: Any, tracker: Any, found: list[Any]) -> None:
        bad = sum(f.to(scale.device) for f in found) > 0
        good = tracker + 1
        due = good == self._growth_interval
        grown = scale * self._growth_factor
        kept = where(due & grown.isfinite(), grown, scale)
        scale.copy_(where(bad, scale * self._backoff_factor, kept))
        tracker.copy_(good.masked_fill_(due | bad, 0))

    # --- settings ------------------------------------------------------------------------------------------------

    def _get_scale_async(self) -> Any:
        return self._scale

    def get_scale(self) -> float:
        """The scale in use; 1 if disabled."""
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else self._scale.item()

    def get_growth_factor(self) -> float:
        """What the scale grows by."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set what the scale grows by."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """What the scale shrinks by."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set what the scale shrinks by."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """How many good steps in a row let the scale grow."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set how many good steps in a row let the scale grow."""
        self._growth_interval = new_interval

    def _get_growth_tracker(self) -> int:
        if not self._enabled:
            return 0
        return self._init_growth_tracker if self._growth_tracker is None else int(self._growth_tracker.item())

    def is_enabled(self) -> bool:
        """Whether losses are scaled."""
        return self._enabled

    # --- saving --------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The scale, the settings and the count of good steps; empty if disabled. Save it after `update`."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._get_growth_tracker(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a `state_dict`. RuntimeError for an empty one; a disabled scaler takes any."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError("the state is empty: it seems to come from a disabled GradScaler")
        self._init_scale, self._init_growth_tracker = state_dict["scale"], state_dict["_growth_tracker"]
        self._growth_factor, self._backoff_factor = state_dict["growth_factor"], state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        if self._scale is not None:
            self._scale.fill_(self._init_scale)
            self._growth_tracker.fill_(self._init_growth_tracker)

    def __getstate__(self) -> dict[str, Any]:
        kept = self.__dict__.copy()
        if self._enabled:
            if self._per_optimizer_states:
                raise AssertionError("a GradScaler can be pickled between update() and the next step, not amid one")
            kept.update(_init_scale=self.get_scale(), _init_growth_tracker=self._get_growth_tracker())
            kept.update(_scale=None, _growth_tracker=None)
        return kept

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def _check_inf_per_device(self, optimizer: Any) -> dict[str, Any]:
        self._begun("_check_inf_per_device")
        scale = self._scale
        one, found = (full((), value, dtype=float32, device=scale.device) for value in (1.0, 0.0))
        own = self._per_optimizer_states[id(optimizer)]
        own["found_inf_per_device"] = self._unscale_grads_(optimizer, one, found, True)
        return own["found_inf_per_device"]

    def _found_inf_per_device(self, optimizer: Any) -> dict[str, Any]:
        return self._per_optimizer_states[id(optimizer)]["found_inf_per_device"]
