"""`ZeroRedundancyOptimizer`: each process updates some of the parameters, and tells the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.autograd.runtime import enable_grad, no_grad
from flambeau.distributed.collectives import broadcast
from flambeau.distributed.groups import get_rank, get_world_size
from flambeau.distributed.objects import all_gather_object
from flambeau.ops.dispatch import wrap
from flambeau.optim.optimizer import Optimizer

__all__ = ["ZeroRedundancyOptimizer"]


class ZeroRedundancyOptimizer(Optimizer):
    """An optimizer of which each process keeps the state of its own part of the parameters only.

    Parts are made greedily, the largest parameters first, to be about equal in size. After each step every part is
    sent to all from the process that has updated it.

    Args:
        params: as of any optimizer, the same in all processes.
        optimizer_class: which optimizer.
        process_group: by default the group of all.
        parameters_as_bucket_view, overlap_with_ddp: accepted.
        defaults: the optimizer's own options.
    """

    def __init__(self, params: Any, optimizer_class: Any, process_group: Any = None,
                 parameters_as_bucket_view: bool = False, overlap_with_ddp: bool = False,
                 **defaults: Any) -> None:  # fmt: skip
        self.process_group = process_group
        self.rank, self.world_size = get_rank(process_group), get_world_size(process_group)
        self._class, self._options = optimizer_class, defaults
        self._saved: dict[str, Any] | None = None
        super().__init__(params, {})
        self._part()

    def _part(self) -> None:
        """Gives each parameter to a process, and makes the optimizer of this one's."""
        sizes = [0] * self.world_size
        everything = [p for group in self.param_groups for p in group["params"]]
        self._owner: dict[int, int] = {}
        for p in sorted(everything, key=lambda p: -p.numel()):
            owner = sizes.index(min(sizes))
            self._owner[id(p)] = owner
            sizes[owner] += p.numel()
        mine = [
            {**{k: v for k, v in g.items() if k != "params"}, "params": [p for p in g["params"] if self._mine(p)]}
            for g in self.param_groups
        ]
        self.optim = self._class(mine, **self._options)
        for group, own in zip(self.param_groups, self.optim.param_groups, strict=True):
            group.update({k: v for k, v in own.items() if k != "params"})
        self.state = self.optim.state

    def _mine(self, p: Any) -> bool:
        return self._owner[id(p)] == self.rank

    def step(self, closure: Callable | None = None, **kwargs: Any) -> Any:
        """Updates this process's parameters, and takes the others' from theirs."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group, own in zip(self.param_groups, self.optim.param_groups, strict=True):
            own.update({k: v for k, v in group.items() if k != "params"})  # what schedulers have changed
        self.optim.step(**kwargs)
        if self.world_size > 1:
            self._tell()
        return loss

    @no_grad()
    def _tell(self) -> None:
        for owner in range(self.world_size):
            kinds: dict[Any, list[Any]] = {}
            for group in self.param_groups:
                for p in group["params"]:
                    if self._owner[id(p)] == owner:
                        kinds.setdefault((p.dtype, p.device), []).append(p)
            for params in kinds.values():
                flat = wrap(np.concatenate([p._a.reshape(-1) for p in params]))
                broadcast(flat, group=self.process_group, group_src=owner)
                if owner != self.rank:
                    parts = flat.split([p.numel() for p in params])
                    for p, part in zip(params, parts, strict=True):
                        p.copy_(part.view(p.shape))

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds parameters, in all processes alike; they are parted anew."""
        super().add_param_group(param_group)
        if hasattr(self, "optim"):
            before = self.optim.state
            self._part()
            self.optim.state.update({p: before[p] for p in before if p in self.optim.state or self._mine(p)})

    def consolidate_state_dict(self, to: int = 0) -> None:
        """Brings the state of all processes together, so that process `to` can ask for `state_dict()`."""
        number = {id(p): i for i, p in enumerate(p for g in self.param_groups for p in g["params"])}
        own = {number[id(p)]: state for p, state in self.optim.state.items()}
        parts: list[Any] = [None] * self.world_size
        all_gather_object(parts, own, self.process_group)
        if self.rank == to:
            self._saved = {"state": {k: v for part in parts for k, v in sorted(part.items())}}

    def state_dict(self) -> dict[str, Any]:
        """The whole state, as the optimizer itself would give it. RuntimeError before `consolidate_state_dict`."""
        if self._saved is None:
            raise RuntimeError(
                "ZeroRedundancyOptimizer: each process has a part of the state; call consolidate_state_dict(to=rank) "
                "in all of them first, then state_dict() in that one"
            )
        state = dict(sorted(self._saved["state"].items()))
        return {"state": state, "param_groups": super().state_dict()["param_groups"]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a whole state, of which each process takes its part."""
        everything = [p for g in self.param_groups for p in g["params"]]
        mine = [i for i, p in enumerate(everything) if self._mine(p)]
        groups = []
        at = 0
        renamed = {old: new for new, old in enumerate(i for g in self._numbered(everything) for i in g)}
        for group, saved in zip(self.param_groups, state_dict["param_groups"], strict=True):
            count = len(group["params"])
            own = [renamed[i] for i in range(at, at + count) if i in renamed]
            groups.append({**{k: v for k, v in saved.items() if k != "params"}, "params": own})
            group.update({k: v for k, v in saved.items() if k != "params"})
            at += count
        state = {renamed[i]: state_dict["state"][i] for i in mine if i in state_dict["state"]}
        self.optim.load_state_dict({"state": state, "param_groups": groups})
        self.state = self.optim.state

    def _numbered(self, everything: list[Any]) -> list[list[int]]:
        """The numbers of this process's parameters, by group."""
        at, found = 0, []
        for group in self.param_groups:
            count = len(group["params"])
            found.append([i for i in range(at, at + count) if self._mine(everything[i])])
            at += count
        return found
