"""Averaging gradients over processes while backward is still running: what `DistributedDataParallel` stands on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from flambeau import distributed
from flambeau.autograd.runtime import LEAF, no_grad
from flambeau.ops.dispatch import wrap
from flambeau.pytree import tree_leaves

__all__ = ["GradBucket", "Reducer", "broadcast_all", "tensors_in"]

_FIRST = 1 << 20  # the bucket that is ready first is small, so that sending begins early


class GradBucket:
    """Gradients that are sent together, as one flat tensor; what a communication hook is given."""

    def __init__(self, index: int, params: list, last: bool) -> None:
        self._index, self._params, self._last = index, params, last
        self._buffer: Any = None

    def index(self) -> int:
        """Its number; 0 is sent first."""
        return self._index

    def is_last(self) -> bool:
        """Whether it is sent last."""
        return self._last

    def buffer(self) -> Any:
        """The gradients, flat."""
        return self._buffer

    def set_buffer(self, tensor: Any) -> None:
        """Replaces the gradients."""
        self._buffer = tensor

    def parameters(self) -> list:
        """Whose gradients they are."""
        return self._params

    def gradients(self) -> list:
        """The gradients in their shapes: views of the flat tensor."""
        return [part.view(p.shape) for p, part in self._parts(self._buffer)]

    def _parts(self, flat: Any) -> Iterator[tuple[Any, Any]]:
        at = 0
        for p in self._params:
            yield p, flat[at : at + p.numel()]
            at += p.numel()


def _gathered(params: list) -> Any:
    """The gradients of parameters, flat; zeros for those that have none."""
    parts = [(np.zeros_like(p._a) if p._grad is None else p._grad._a).reshape(-1) for p in params]
    return wrap(np.concatenate(parts))


def broadcast_all(tensors: Sequence[Any], group: Any) -> None:
    """Gives all processes the first one's values, a flat tensor per dtype and device."""
    kinds: dict[Any, list] = {}
    for t in tensors:
        kinds.setdefault((t.dtype, t.device), []).append(t)
    for same in kinds.values():
        flat = wrap(np.concatenate([t._a.reshape(-1) for t in same]))
        distributed.broadcast(flat, group=group, group_src=0)
        at = 0
        with no_grad():
            for t in same:
                t.copy_(flat[at : at + t.numel()].view(t.shape))
                at += t.numel()


def tensors_in(value: Any) -> list:
    """The tensors among the results of a module, in whatever they are packed."""
    found = []
    for leaf in tree_leaves(value):
        if hasattr(leaf, "_node"):
            found.append(leaf)
        elif hasattr(leaf, "__dict__"):
            found += [v for v in vars(leaf).values() if hasattr(v, "_node")]
    return found


def _reached(results: Any) -> set[int]:
    """The leaves that a backward pass from these results will come to, by id."""
    seen: set[int] = set()
    leaves: set[int] = set()
    waiting = []
    for t in tensors_in(results):
        if t._node is LEAF:
            leaves.add(id(t))
        elif t._node is not None:
            waiting.append(t._node)
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        for edge in node.edges:
            if edge is None:
                continue
            if hasattr(edge, "edges"):
                waiting.append(edge)
            else:
                leaves.add(id(edge))
    return leaves


class Reducer:
    """Sends gradients in buckets, each as soon as backward has made all of it, in one order in all processes."""

    def __init__(self, params: list, names: dict[int, str], group: Any, capacity: int, find_unused: bool) -> None:
        self.group, self.find_unused = group, find_unused
        self.names = names
        self.hook: Callable | None = None
        self.state: Any = None
        self.buckets = self._fill(params, capacity)
        self.home = {id(p): i for i, bucket in enumerate(self.buckets) for p in bucket.parameters()}
        self.armed = False
        self.scale = 1.0
        self.missing: list[set[int]] = []
        self.works: list[Any] = []
        self.used: set[int] = set()
        self.handles = [p.register_post_accumulate_grad_hook(self._ready) for p in params]

    @staticmethod
    def _fill(params: list, capacity: int) -> list[GradBucket]:
        """Parameters in the reverse of their order, which is about that of their gradients."""
        lists: list[list] = []
        open_: dict[Any, tuple[list, int, int]] = {}
        for p in reversed(params):
            kind = (p.dtype, p.device)
            members, size, limit = open_.get(kind) or ([], 0, min(capacity, _FIRST))
            members.append(p)
            size += p.numel() * p.element_size()
            if size >= limit:
                lists.append(members)
                members, size, limit = [], 0, capacity
            open_[kind] = (members, size, limit)
        lists += [members for members, _, _ in open_.values() if members]
        return [GradBucket(i, members, i == len(lists) - 1) for i, members in enumerate(lists)]

    def begin(self, results: Any) -> None:
        """The next backward pass, from `results`, is to be averaged."""
        self.missing = [{id(p) for p in bucket.parameters()} for bucket in self.buckets]
        self.works = []
        self.armed = True
        self.used = set()
        if self.find_unused:
            reached = _reached(results)
            unused = [i for i in self.home if i not in reached]
            self.used = set(self.home) - set(unused)
            for i in unused:
                self._mark(i)

    def check_finished(self) -> None:
        """RuntimeError if the backward pass before left gradients out."""
        if self.armed and any(self.missing) and (self.works or self._begun()):
            missing = [self.names[i] for waiting in self.missing for i in waiting]
            self.armed = False
            raise RuntimeError(
                "Expected to have finished reduction in the prior iteration before starting a new one: in rank "
                f"{distributed.get_rank()} the parameters {', '.join(sorted(missing)[:8])} got no gradient. If some "
                "parameters do not take part in every loss, pass find_unused_parameters=True to "
                "DistributedDataParallel, and see that all of forward's results take part in the loss"
            )

    def _begun(self) -> bool:
        return any(len(m) < len(b.parameters()) for m, b in zip(self.missing, self.buckets, strict=True))

    def _ready(self, param: Any) -> None:
        if self.armed:
            self._mark(id(param))

    def _mark(self, which: int) -> None:
        self.missing[self.home[which]].discard(which)
        while len(self.works) < len(self.buckets) and not self.missing[len(self.works)]:
            self.works.append(self._send(self.buckets[len(self.works)]))
        if len(self.works) == len(self.buckets):
            self._finish()

    def shadow(self) -> None:
        """Takes part in an average that the other processes make, with zeros."""
        for bucket in self.buckets:
            with no_grad():
                bucket.set_buffer(wrap(np.zeros_like(_gathered(bucket.parameters())._a)))
                work = self._sent(bucket)
                work.wait()
        if self.find_unused:
            self.used = set()
            self._unused_everywhere()

    def _send(self, bucket: GradBucket) -> Any:
        with no_grad():
            bucket.set_buffer(_gathered(bucket.parameters()))
            return self._sent(bucket)

    def _sent(self, bucket: GradBucket) -> Any:
        if self.hook is not None:
            return self.hook(self.state, bucket)
        how = distributed.ReduceOp.AVG
        return distributed.all_reduce(bucket.buffer(), how, group=self.group, async_op=True)

    def _finish(self) -> None:
        self.armed = False
        everywhere_unused = self._unused_everywhere() if self.find_unused else set()
        with no_grad():
            for bucket, work in zip(self.buckets, self.works, strict=True):
                result = work.wait()
                value = bucket.buffer() if result is True else result
                if self.hook is not None:
                    value = work.value()
                    value = value[0] if isinstance(value, (list, tuple)) else value
                if self.scale != 1.0:
                    value = value * self.scale
                for p, part in bucket._parts(value):
                    if id(p) in everywhere_unused:
                        continue
                    if p._grad is None:
                        p.grad = part.view(p.shape).clone()
                    else:
                        p._grad.copy_(part.view(p.shape))
                bucket.set_buffer(None)
        self.works = []

    def _unused_everywhere(self) -> set[int]:
        order = list(self.home)
        flags = wrap(np.array([i in self.used for i in order], np.int32))
        distributed.all_reduce(flags, distributed.ReduceOp.MAX, group=self.group)
        return {i for i, used in zip(order, flags.tolist(), strict=True) if not used}
