"""``torch.distributed.algorithms.join``: processes with unequal numbers of inputs train together.

A process that is done goes on answering the collectives of those that are not, by the hooks of what was joined.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import Any

from flambeau.distributed.collectives import all_reduce
from flambeau.distributed.groups import get_rank
from flambeau.tensor.creation import ones, zeros

__all__ = ["Join", "JoinHook", "Joinable"]

_ENDS = "and throw_on_early_termination=True ends all; leave it out to go on with those that have"


class JoinHook:
    """What a process does that has no inputs left."""

    def main_hook(self) -> None:
        """Called once per iteration of those that still have inputs: the collectives of one iteration."""

    def post_hook(self, is_last_joiner: bool) -> None:
        """Called once when all are done; `is_last_joiner` tells whether this process was among the last."""


class _JoinConfig:
    """Whether a `Join` is active, and what it was told."""

    def __init__(self, enable: bool = False, throw: bool = False, first: bool = False) -> None:
        self.enable = enable
        self.throw_on_early_termination = throw
        self.is_first_joinable = first


class Joinable(ABC):
    """A base class for what holds collectives in each iteration and calls `Join.notify_join_context(self)` before
    them."""

    @abstractmethod
    def __init__(self) -> None:
        super().__init__()
        self._join_config = _JoinConfig()

    @abstractmethod
    def join_hook(self, **kwargs: Any) -> JoinHook:
        """The hook that answers this object's collectives."""

    @property
    @abstractmethod
    def join_device(self) -> Any:
        """The device of the numbers that `Join` exchanges."""

    @property
    @abstractmethod
    def join_process_group(self) -> Any:
        """The group whose processes work together."""


class Join:
    """A context for a training loop whose processes may end after different numbers of iterations.

    Args:
        joinables: what has collectives in each iteration, in their order.
        enable: False makes it do nothing.
        throw_on_early_termination: all processes raise RuntimeError as soon as one has no inputs left.
        kwargs: go to every `join_hook`.
    """

    def __init__(self, joinables: list[Joinable], enable: bool = True, throw_on_early_termination: bool = False,
                 **kwargs: Any) -> None:  # fmt: skip
        if not joinables:
            raise ValueError("The join context manager requires at least one joinable")
        self._joinables = joinables
        self._enable = enable
        self._throw = throw_on_early_termination
        self._hooks = [joinable.join_hook(**kwargs) for joinable in joinables]
        groups = {id(joinable.join_process_group): joinable.join_process_group for joinable in joinables}
        if len(groups) > 1:
            raise ValueError("Using the join context manager with multiple process groups is not supported")
        self._group = joinables[0].join_process_group
        self._device = joinables[0].join_device
        self._rank = get_rank(self._group)

    def __enter__(self) -> None:
        for joinable in self._joinables:
            joinable._join_config = _JoinConfig(self._enable, self._throw, joinable is self._joinables[0])

    def __exit__(self, kind: Any, value: Any, traceback: Any) -> Any:
        for joinable in self._joinables:
            joinable._join_config = _JoinConfig()
        if not self._enable or kind:
            return None
        last, waited = True, 0
        while self._still_training():
            if self._throw:
                all_reduce(ones(1, device=self._device), group=self._group)
                raise RuntimeError(f"Join: rank {self._rank} has no inputs left, {_ENDS}")
            last, waited = False, waited + 1
            if waited == 1000:
                warnings.warn(f"rank {self._rank} has answered the others' collectives for 1000 iterations")
            self._answer_one()
        for hook in self._hooks:
            hook.post_hook(last)
        return None

    def _still_training(self) -> bool:
        """How many processes have inputs: those that have add 1 in `notify_join_context`."""
        count = zeros(1, device=self._device)
        all_reduce(count, group=self._group)
        return count.item() > 0

    def _answer_one(self) -> None:
        for hook in self._hooks:
            hook.main_hook()

    @staticmethod
    def notify_join_context(joinable: Joinable) -> Any:
        """Tells processes that are done that this one begins an iteration; called before its collectives.

        Raises:
            RuntimeError: if a process is done and `throw_on_early_termination` was asked for.
        """
        config = joinable._join_config
        if not config.enable or not config.is_first_joinable:
            return None
        work = all_reduce(ones(1, device=joinable.join_device), group=joinable.join_process_group, async_op=True)
        if config.throw_on_early_termination:
            gone = zeros(1, device=joinable.join_device)
            all_reduce(gone, group=joinable.join_process_group)
            if gone.item() > 0:
                raise RuntimeError(f"Join: another process has no inputs left, {_ENDS}")
        return work
