"""Versions, views and in-place writes.

A base knows its live views weakly. A write stamps the written tensor, its base and all live aliases with the clock;
a node that saved one of them earlier finds the stamp younger than itself. When a write is recorded, the base gets a
`CopySlices` node ("the old value outside, the written one inside"), and every live view a new node that reads from it.
"""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from flambeau.autograd.graph import Node
from flambeau.autograd.runtime import LEAF, NS, thread, tick
from flambeau.engines.arrays import FOREIGN, like, place_of, window


class Shared:
    """What tensors with one memory have in common: the number of writes, and who they are (weakly)."""

    __slots__ = ("limit", "refs", "writes")

    def __init__(self, first: Any) -> None:
        self.refs = [weakref.ref(first)]
        self.writes = first._writes
        self.limit = 16
        first._shared = self

    def add(self, tensor: Any) -> None:
        """Lets `tensor` in."""
        tensor._shared = self
        if len(self.refs) >= self.limit:
            self.prune()
        self.refs.append(weakref.ref(tensor))

    def prune(self) -> None:
        """Forgets those that are gone."""
        self.refs[:] = [ref for ref in self.refs if ref() is not None]
        self.limit = 2 * len(self.refs) + 16

    def live(self) -> list[Any]:
        """Those that still exist."""
        return [t for ref in self.refs if (t := ref()) is not None]


def live_views(base: Any) -> list[Any]:
    """The live views of `base`."""
    shared = base._shared
    return [] if shared is None else [t for t in shared.live() if t._base is base]


def make_view(view: Any, source: Any) -> None:
    """Declares `view` a view of `source`: one memory, one version."""
    root = source._base
    view._base = source if root is None else root
    view._stamp = source._stamp
    if not thread.grad:
        view._no_grad_view = True
    if source._inference:
        view._inference = True
    if source._multi_view:
        view._multi_view = True
    shared = source._shared
    if shared is None:
        shared = Shared(source)
    view._shared = shared
    refs = shared.refs
    if len(refs) >= shared.limit:
        shared.prune()
    refs.append(weakref.ref(view))


def view_if_shared(view: Any, source: Any, result: np.ndarray, array: np.ndarray) -> None:
    """`make_view` where the kernel returned memory of its operand's and not a copy."""
    if shows_memory_of(result, array):
        make_view(view, source)


def shows_memory_of(result: np.ndarray, array: np.ndarray) -> bool:
    """Whether `result` is `array` or a view of its memory and not a copy."""
    base = result.base
    if result is array or (base is not None and (base is array or base is array.base)):
        return True
    # while a step is captured, arrays are views of views
    return NS["CAPTURE"] is not None and owner(result) is owner(array)


def owner(a: np.ndarray) -> np.ndarray:
    """The array that owns the memory."""
    while isinstance(a.base, np.ndarray):
        a = a.base
    return a


NS["VIEW"] = view_if_shared


INFERENCE_STAMP = 1 << 62


def mark_inference(tensor: Any) -> Any:
    """`tensor`, as one made in inference mode: a node that saves it finds it younger than itself, always."""
    tensor._inference = True
    tensor._stamp = INFERENCE_STAMP
    return tensor


def make_alias(alias: Any, source: Any) -> None:
    """Declares that `alias` shares memory and version with `source` without being its view (detach)."""
    alias._stamp = source._stamp
    alias._cell = source._cell  # `source` and its history may go while what it saved is still watched
    shared = source._shared
    if shared is None:
        shared = Shared(source)
    shared.add(alias)


def bump(tensor: Any) -> None:
    """Notes that `tensor`'s memory was written: its version and that of everything sharing the memory."""
    if tensor._inference:
        return
    now = tick()
    shared = tensor._shared
    if shared is None:
        tensor._writes += 1
        tensor._stamp = now
        if tensor._cell is not None:
            tensor._cell[0] = now
        return
    shared.writes += 1
    gone = False
    for ref in shared.refs:
        t = ref()
        if t is None:
            gone = True
            continue
        t._stamp = now
        if t._cell is not None:
            t._cell[0] = now
    if gone:
        shared.prune()


def version(tensor: Any) -> int:
    """How often the memory of `tensor` was written in place."""
    shared = tensor._shared
    return tensor._writes if shared is None else shared.writes


def check_writable(tensor: Any, op: str, recorded: bool, overlap: bool = False) -> None:
    """Refuses a write in place that autograd can't follow; `recorded`: whether grad mode is on.

    Elements that share one place in memory are refused too, unless `overlap` says that this does no harm.
    """
    array = tensor._a
    if 0 in array.strides and not overlap and _repeats(array):
        raise RuntimeError(
            f"{op}: several elements of the tensor to write share one place in memory (expand made it); clone() "
            "it first"
        )
    if not array.flags.writeable:
        _unlock(array, op)
    if tensor._inference and not thread.inference:
        raise RuntimeError(
            f"{op}: an inference tensor can be written in place inside inference_mode only; outside, clone() it first"
        )
    if recorded:
        check_recordable(tensor, op)


def check_recordable(tensor: Any, op: str) -> None:
    """Refuses a write in place that the tape can't follow, where grad mode is on."""
    if not thread.grad:
        return
    node = tensor._node
    base = tensor._base
    if node is LEAF and base is None:
        raise RuntimeError(
            f"{op}: a leaf Variable that requires grad can't be written by a recorded in-place operation. Write "
            "under torch.no_grad(), or use the out-of-place form"
        )
    if base is not None and tensor._no_grad_view and base._node is not None:
        raise RuntimeError(
            f"{op}: the view was made under no_grad, so a recorded in-place operation can't tell its base. Make "
            "the view and write into it either both inside the no_grad block or both outside"
        )
    if base is not None and node is not None and (base._node is LEAF or base._node is None):
        raise RuntimeError(
            f"{op}: the tensor is a view of a leaf Variable that requires grad, which no recorded in-place operation "
            "can write. Write under torch.no_grad(), or clone() the leaf first"
        )
    if base is not None and node is not None and tensor._multi_view:
        raise RuntimeError(
            f"{op}: the tensor is one of several views that a single call made (as unbind, split and chunk do); "
            "such a view can't be written while it is recorded: clone() it first"
        )


def _repeats(array: np.ndarray) -> bool:
    """Whether some element stands for several."""
    return array.size > 0 and any(step == 0 and n > 1 for step, n in zip(array.strides, array.shape, strict=True))


def _unlock(array: np.ndarray, op: str) -> None:
    """Lets an array be written that NumPy has locked since it comes from broadcasting."""
    try:
        array.flags.writeable = True
    except ValueError:
        raise RuntimeError(f"{op}: the tensor shows memory that is marked as read-only; clone() it first") from None


def refuse_partial_overlap(tensor: Any, other: Any, op: str) -> None:
    """Refuses to write `tensor` from an operand whose memory overlaps with its own, but is not the same elements."""
    a, b = place_of(tensor._a), place_of(other._a)
    if not (a.size and b.size and _dense(a) and _dense(b)):
        return
    first, second = _address(a), _address(b)
    if first == second and a.nbytes == b.nbytes:
        if a.ndim == b.ndim and _long(a) == _long(b):
            return
    elif first >= second + b.nbytes or second >= first + a.nbytes:
        return
    raise RuntimeError(
        f"{op}: some elements of the operand and of the tensor to write share memory, but are not the same ones; "
        "clone() the operand first"
    )


def _long(array: np.ndarray) -> list[tuple[int, int]]:
    """Lengths and steps of the dimensions that have more than one place."""
    return [pair for pair in zip(array.shape, array.strides, strict=True) if pair[0] > 1]


def _dense(array: np.ndarray) -> bool:
    """Whether the elements fill a stretch of memory, each once."""
    reach = array.itemsize
    for step, n in sorted(zip(array.strides, array.shape, strict=True)):
        if n > 1:
            if step != reach:
                return False
            reach *= n
    return True


def written(tensor: Any, node: Any) -> None:
    """After a write into `tensor`, recorded as `node` (None: not recorded): versions and graphs of all views."""
    bump(tensor)
    if node is None and not thread.grad:  # a write that autograd does not see leaves every history as it is
        return
    base = tensor._base
    if base is None:
        if node is None and tensor._node is None:
            return
        if tensor._node is not LEAF or node is not None:
            _set_node(tensor, node)
        root = tensor
    else:
        if node is None and base._node is None:
            return
        _set_node(base, CopySlices(base, tensor, node))
        root = base
    for view in live_views(root):
        _set_node(view, AsStridedBackward0(root, view) if root._node is not None else None)


def _set_node(tensor: Any, node: Any) -> None:
    """Gives `tensor` a new history; `retain_grad` stays with the tensor, its hooks with the value it had."""
    old = tensor._node
    tensor._node = node
    if isinstance(old, Node) and node is not None and old.retains is not None:
        mine = {i: ref for i, ref in old.retains.items() if ref() is tensor}
        if mine:
            old.retains = None
            node.retains = {0: next(iter(mine.values()))}


class Region:
    """Where a view lies in its base, apart from what either holds: the same place on any array of the base's shape."""

    __slots__ = ("base_shape", "index", "offset", "order", "shape", "steps")

    def __init__(self, base: np.ndarray, view: np.ndarray) -> None:
        base, view = place_of(base), place_of(view)
        self.base_shape = base.shape
        self.shape = view.shape
        size = base.itemsize
        self.offset = (_address(view) - _address(base)) // size if view.size else 0
        self.steps = tuple(stride // size for stride in view.strides)
        self.order: tuple[int, ...] | None = None
        self.index: np.ndarray | None = None
        if not base.flags.c_contiguous:
            order = tuple(int(i) for i in np.argsort([-s for s in base.strides], kind="stable"))
            if base.transpose(order).flags.c_contiguous:
                self.order = order
            else:
                self.index = self._flat_index(base)
        if self.index is None and 0 not in self.shape:
            reach = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.steps, strict=True))
            if self.offset < 0 or reach >= base.size:  # the view shows memory around the base too
                self.order, self.index = None, self._flat_index(base)

    def _flat_index(self, base: np.ndarray) -> np.ndarray:
        """For each element of the view, the number of the base's element that it shows, one past the last for none."""
        places = _places(base.shape, tuple(s // base.itemsize for s in base.strides)).ravel()
        wanted = self.offset + _places(self.shape, self.steps)
        order = np.argsort(places, kind="stable")
        found = np.append(order, base.size)[np.searchsorted(places[order], wanted)]
        known = np.append(places, np.iinfo(np.int64).min)[found]
        return np.where(known == wanted, found, base.size)

    def _dense(self, array: Any) -> Any:
        return array if self.order is None else array.transpose(self.order)

    def _window(self, dense: Any) -> Any:
        if not dense.size or 0 in self.shape:
            return like(dense, np.empty(self.shape, dense.dtype))
        return window(dense, self.shape, self.offset, self.steps)

    def take(self, array: np.ndarray) -> np.ndarray:
        """A copy of the region's elements of `array`, which has the base's shape."""
        if self.index is not None:
            line = like(array, np.zeros(array.size + 1, array.dtype))  # the last one is for what the base does not hold
            line[:-1] = array.reshape(-1)
            return line[self.index]
        dense = self._dense(array)
        return self._window(dense if dense.flags.c_contiguous else dense.copy()).copy()

    def put(self, values: np.ndarray) -> np.ndarray:
        """Zeros of the base's shape with `values` added into the region (elements shown several times get the sum)."""
        result = like(values, np.zeros(self.base_shape, values.dtype))
        if self.index is not None:
            line = like(values, np.zeros(result.size + 1, values.dtype))  # the last one takes what the base has not
            np.add.at(line, self.index, values)
            return line[:-1].reshape(self.base_shape)
        if self.order is not None:
            turned = like(values, np.zeros([self.base_shape[i] for i in self.order], values.dtype))
            result = turned.transpose(np.argsort(self.order))
        dense = self._dense(result)
        if self.overlaps:
            np.add.at(dense.reshape(-1), self.offset + _places(self.shape, self.steps), values)
        elif values.size:
            self._window(dense)[...] = values
        return result

    def clear(self, array: np.ndarray) -> np.ndarray:
        """A copy of `array`, which has the base's shape, with zeros in the region."""
        if self.index is not None:
            line = like(array, np.zeros(array.size + 1, array.dtype))
            line[:-1] = array.reshape(-1)
            line[self.index] = 0
            return line[:-1].reshape(array.shape)
        dense = self._dense(array)
        dense = dense.copy() if dense.__class__ in FOREIGN else np.array(dense, order="C")  # also of a single number
        if dense.size and 0 not in self.shape:
            self._window(dense)[...] = 0
        return dense if self.order is None else dense.transpose(np.argsort(self.order))

    @property
    def overlaps(self) -> bool:
        """Whether some element of the base is shown more than once."""
        reach = 0
        for step, n in sorted(zip(self.steps, self.shape, strict=True)):
            if n > 1:
                if step <= reach:
                    return True
                reach += step * (n - 1)
        return False


def _places(shape: tuple[int, ...], steps: tuple[int, ...]) -> np.ndarray:
    places = np.zeros(shape, dtype=np.int64)
    for axis, (n, step) in enumerate(zip(shape, steps, strict=True)):
        along = [1] * len(shape)
        along[axis] = n
        places += (np.arange(n) * step).reshape(along)
    return places


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


class CopySlices(Node):
    """The history of a base after a recorded write into one of its views."""

    def __init__(self, base: Any, view: Any, written_by: Any) -> None:
        self.edges = (base._node, written_by)
        self.region = Region(base._a, view._a)
        self.seq = tick()

    def run(self, g: np.ndarray) -> tuple[Any, ...]:
        rest, inside = self.edges
        return (
            self.region.clear(g) if rest is not None else None,
            self.region.take(g) if inside is not None else None,
        )

    def run_recorded(self, g: Any) -> tuple[Any, ...]:
        ops = NS["OPS"]
        inside = ops.region_take(g, self.region)
        return ops.sub(g, ops.region_put(inside, self.region)), inside


class AsStridedBackward0(Node):
    """The history of a view after its base was written: it reads its region of the base."""

    def __init__(self, base: Any, view: Any) -> None:
        self.edges = (base if base._node is LEAF else base._node,)
        self.region = Region(base._a, view._a)
        self.seq = tick()

    def run(self, g: np.ndarray) -> tuple[Any, ...]:
        return (self.region.put(g),)

    def run_recorded(self, g: Any) -> tuple[Any, ...]:
        return (NS["OPS"].region_put(g, self.region),)
