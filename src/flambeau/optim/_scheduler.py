"""`LRScheduler`, the base of all learning-rate schedules, and those that take a function of the epoch."""

from __future__ import annotations

import types
import warnings
import weakref
from collections.abc import Callable
from functools import wraps
from typing import Any

from flambeau.optim.optimizer import Optimizer
from flambeau.tensor.tensor import Tensor

_EPOCH_WARNING = (
    "passing an epoch to scheduler.step() is deprecated: call step() without it. If you need the closed form of the "
    "schedule, please say so in an issue."
)


def check_optimizer(optimizer: Any) -> None:
    """Raises TypeError for anything but an optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")


def set_option(group: dict[str, Any], name: str, value: Any) -> None:
    """Set an option of a parameter group; one held in a tensor is filled."""
    if isinstance(group[name], Tensor):
        group[name].fill_(value.item() if isinstance(value, Tensor) else value)
    else:
        group[name] = value


def options(optimizer: Optimizer, name: str) -> list[Any]:
    """An option of all groups, tensors copied."""
    return [g[name].clone() if isinstance(g[name], Tensor) else g[name] for g in optimizer.param_groups]


def per_group(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """An argument given once or as a list, as a list with an entry per group; ValueError for a wrong length."""
    n = len(optimizer.param_groups)
    if isinstance(value, (list, tuple)):
        if len(value) != n:
            raise ValueError(f"{name}: one value per parameter group is needed, {n}, got {len(value)}")
        return list(value)
    return [value] * n


def watch_steps(optimizer: Any) -> None:
    """Have the optimizer remember that `step` was called, for the warning about the order of the two steps."""
    if hasattr(optimizer.step, "_wrapped_by_lr_sched"):
        return
    function = optimizer.step.__func__
    reference = weakref.ref(optimizer)

    @wraps(function)
    def step(*args: Any, **kwargs: Any) -> Any:
        owner = reference()
        owner._opt_called = True  # type: ignore[union-attr]
        return function(owner, *args, **kwargs)

    step._wrapped_by_lr_sched = True  # type: ignore[attr-defined]
    optimizer.step = step


class LRScheduler:
    """Base class of learning-rate schedules.

    `step()` is called once per epoch (or batch), after the optimizer's. A subclass defines `get_lr()`, the rates of all
    groups at `self.last_epoch`. With `last_epoch=-1` a schedule starts from the optimizer's rates, which are kept in
    each group as `initial_lr`; resuming with another value needs those.
    """

    _get_lr_called_within_step = False
    _is_initial = False

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                lr = group["lr"]
                group.setdefault("initial_lr", lr.clone() if isinstance(lr, Tensor) else lr)
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param_groups[{i}] has no 'initial_lr', which a schedule resumed at {last_epoch=} needs: "
                    "load the optimizer's state first, or start with last_epoch=-1"
                )
        self.base_lrs = options(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        watch_steps(optimizer)
        self._initial_step()

    def _initial_step(self) -> None:
        """The step that sets the first rates."""
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def state_dict(self) -> dict[str, Any]:
        """Everything that the schedule remembers, the optimizer excepted."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict()` returned."""
        self.__dict__.update(state_dict)

    def get_last_lr(self) -> list[Any]:
        """The rates that the last step set, one per parameter group."""
        return self._last_lr

    def get_lr(self) -> list[Any]:
        """The rates at `self.last_epoch`, one per group; for subclasses to define, and for `step` to call."""
        raise NotImplementedError(f"{type(self).__name__} defines no get_lr()")

    def _called_by_step(self) -> None:
        if not self._get_lr_called_within_step:
            warnings.warn(
                "get_lr() is for step() to call: get_last_lr() gives the last rates", UserWarning, stacklevel=3
            )

    def step(self, epoch: int | None = None) -> None:
        """Set the rates of the next epoch. `epoch` jumps to another one and is deprecated."""
        if self._step_count == 1:
            if not hasattr(self.optimizer.step, "_wrapped_by_lr_sched"):
                warnings.warn(
                    "optimizer.step() was replaced after the schedule was made; see to it that it is called before "
                    "lr_scheduler.step()",
                    UserWarning,
                    stacklevel=2,
                )
            elif not getattr(self.optimizer, "_opt_called", False):
                warnings.warn(
                    "lr_scheduler.step() was called before optimizer.step(), which skips the schedule's first value: "
                    "call optimizer.step() first",
                    UserWarning,
                    stacklevel=2,
                )
        self._step_count += 1
        if epoch is not None:
            warnings.warn(_EPOCH_WARNING, UserWarning, stacklevel=2)
        self._update_lr(epoch)

    def _update_lr(self, epoch: int | None = None) -> None:
        self._get_lr_called_within_step = True
        try:
            if epoch is None:
                self.last_epoch += 1
                values = self.get_lr()
            else:
                self.last_epoch = epoch
                closed = getattr(self, "_get_closed_form_lr", None)
                values = closed() if closed is not None else self.get_lr()
        finally:
            self._get_lr_called_within_step = False
        for group, lr in zip(self.optimizer.param_groups, values, strict=True):
            set_option(group, "lr", lr)
        self._last_lr = options(self.optimizer, "lr")


class RuleScheduler(LRScheduler):
    """A schedule with one rule for every group: `next_lr(lr, base)`, from its present and initial rate."""

    def next_lr(self, lr: Any, base: Any) -> Any:
        """The rate at `self.last_epoch`."""
        raise NotImplementedError(f"{type(self).__name__} must define next_lr(lr, base), the rate of the next step")

    def get_lr(self) -> list[Any]:
        self._called_by_step()
        lrs = options(self.optimizer, "lr")
        return [self.next_lr(lr, base) for lr, base in zip(lrs, self.base_lrs, strict=True)]


class _FunctionScheduler(LRScheduler):
    """A schedule given by a function of the epoch, or one for each group."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Any, last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        if isinstance(lr_lambda, (list, tuple)):
            if len(lr_lambda) != len(optimizer.param_groups):
                raise ValueError(
                    f"expected {len(optimizer.param_groups)} functions, one per group, got {len(lr_lambda)}"
                )
            self.lr_lambdas: list[Callable[[int], float]] = list(lr_lambda)
        else:
            self.lr_lambdas = [lr_lambda] * len(optimizer.param_groups)
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """As for any schedule; functions are left out, of callable objects what they hold is saved."""
        state = {key: value for key, value in self.__dict__.items() if key not in ("optimizer", "lr_lambdas")}
        state["lr_lambdas"] = [
            None if isinstance(f, types.FunctionType) else f.__dict__.copy() for f in self.lr_lambdas
        ]
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict()` returned; functions stay as they are."""
        saved = state_dict["lr_lambdas"]
        self.__dict__.update({key: value for key, value in state_dict.items() if key != "lr_lambdas"})
        for function, held in zip(self.lr_lambdas, saved, strict=False):
            if held is not None:
                function.__dict__.update(held)


class LambdaLR(_FunctionScheduler):
    """The initial rate times `lr_lambda(epoch)`; a list gives each group its own function.

    >>> import flambeau as torch
    >>> opt = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    >>> schedule = torch.optim.lr_scheduler.LambdaLR(opt, lambda epoch: 0.5**epoch)
    >>> for _ in range(3): opt.step(); schedule.step()
    >>> schedule.get_last_lr()
    [0.125]
    """

    def get_lr(self) -> list[Any]:
        self._called_by_step()
        return [base * f(self.last_epoch) for f, base in zip(self.lr_lambdas, self.base_lrs, strict=True)]


class MultiplicativeLR(_FunctionScheduler):
    """The rate is multiplied by `lr_lambda(epoch)` at each step after the first."""

    def get_lr(self) -> list[Any]:
        self._called_by_step()
        lrs = options(self.optimizer, "lr")
        if self._is_initial:
            return lrs
        return [lr * f(self.last_epoch) for lr, f in zip(lrs, self.lr_lambdas, strict=True)]
