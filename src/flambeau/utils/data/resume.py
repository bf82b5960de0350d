"""Going on in the midst of an epoch: what a `DataLoader` must remember so that the batches still to come are the same.

A sampler is a running generator and workers are processes: neither can be saved. But all that an epoch does follows
from where the random streams stand when it begins. So that is noted at each beginning, and to go on, the streams are
put back there, the epoch is begun anew, and the batches that were used already are read and dropped. That repeats what
the dataset drew from its own random numbers, too, in whatever process it drew them.
"""

from __future__ import annotations

import random
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.random import Generator, default_generator, get_rng_state, set_rng_state
from flambeau.tensor.creation import from_numpy
from flambeau.tensor.tensor import Tensor

__all__ = ["begin", "global_streams", "loader_state", "resume", "set_global_streams"]

#: The pass over each loader that began last, and those that a loader is to go on with.
_running: weakref.WeakKeyDictionary[Any, weakref.ref] = weakref.WeakKeyDictionary()
_pending: weakref.WeakKeyDictionary[Any, dict[str, Any]] = weakref.WeakKeyDictionary()


# --- random streams --------------------------------------------------------------------------------------------------


def _pack(value: Any) -> Any:
    """NumPy's arrays and numbers, also inside containers, as tensors and Python's numbers, which any file can hold."""
    if isinstance(value, np.ndarray):
        return from_numpy(value.copy())
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {key: _pack(item) for key, item in value.items()}
    return tuple(_pack(item) for item in value) if isinstance(value, tuple) else value


def _unpack(value: Any) -> Any:
    """The reverse: tensors become arrays again."""
    if isinstance(value, Tensor):
        return value.numpy()
    if isinstance(value, dict):
        return {key: _unpack(item) for key, item in value.items()}
    return tuple(_unpack(item) for item in value) if isinstance(value, tuple) else value


def global_streams() -> dict[str, Any]:
    """Where the random streams of this process stand: flambeau's, Python's and, if anything uses it, NumPy's."""
    found = {"torch": get_rng_state(), "python": random.getstate()}
    if "numpy.random" in sys.modules:
        found["numpy"] = _pack(np.random.get_state())
    return found


def set_global_streams(state: dict[str, Any]) -> None:
    """Put the random streams of this process where `global_streams` found them."""
    set_rng_state(state["torch"])
    random.setstate(state["python"])
    if "numpy" in state:
        np.random.set_state(_unpack(state["numpy"]))


def _stream(value: Any) -> Any:
    """The state of a random stream, or a count; None for anything else."""
    if isinstance(value, Generator):
        return ("torch", value.get_state())
    if isinstance(value, random.Random):
        return ("python", value.getstate())
    if "numpy.random" in sys.modules:
        if isinstance(value, np.random.Generator):
            return ("numpy", _pack(value.bit_generator.state))
        if isinstance(value, np.random.RandomState):
            return ("numpy", _pack(value.get_state(legacy=False)))
    return ("count", value) if type(value) is int else None


def _set_stream(holder: Any, name: str, kind: str, state: Any) -> None:
    value = getattr(holder, name, None)
    if kind == "count":
        if value != state:
            setattr(holder, name, state)
    elif kind == "torch" and isinstance(value, Generator):
        value.set_state(state)
    elif kind == "python" and isinstance(value, random.Random):
        value.setstate(state)
    elif kind == "numpy" and isinstance(value, np.random.Generator):
        value.bit_generator.state = _unpack(state)
    elif kind == "numpy" and isinstance(value, np.random.RandomState):
        value.set_state(_unpack(state))
    else:
        raise ValueError(
            f"can't go on in the saved epoch: {type(holder).__name__}.{name} was a random stream ({kind}) and now is "
            f"a {type(value).__name__}; make the loader as it was made for the interrupted run"
        )


def _holders(loader: Any) -> dict[str, Any]:
    """What may hold random streams or counts of epochs of its own: the loader, its samplers and its dataset."""
    found = {"loader": loader}
    for name in ("sampler", "batch_sampler"):
        inner = getattr(loader, name, None)
        while inner is not None and hasattr(inner, "__dict__") and len(found) < 10:
            found[name] = inner
            inner, name = vars(inner).get("sampler"), name + ".sampler"
    dataset = getattr(loader, "dataset", None)
    if hasattr(dataset, "__dict__"):
        found["dataset"] = dataset
    return found


def _snapshot(loader: Any) -> dict[str, dict[str, Any]]:
    """The random streams that belong to a loader, and the counts of samplers, such as their epoch."""
    found = {}
    for place, holder in _holders(loader).items():
        counts = "sampler" in place and type(holder).__module__.split(".")[0] not in ("flambeau", "torch")
        states = {name: _stream(value) for name, value in vars(holder).items()}
        found[place] = {
            name: state
            for name, state in states.items()
            if state is not None and (state[0] != "count" or counts or name == "epoch")
        }
    return found


def _put_back(loader: Any, snapshot: dict[str, dict[str, Any]]) -> None:
    holders = _holders(loader)
    for place, states in snapshot.items():
        if place not in holders:
            raise ValueError(
                f"can't go on in the saved epoch: this loader has no {place}; make it as it was made for the "
                "interrupted run"
            )
        for name, (kind, state) in states.items():
            _set_stream(holders[place], name, kind, state)


# --- epochs ----------------------------------------------------------------------------------------------------------


def _note(loader: Any) -> Callable[[], dict[str, Any]]:
    """Note where all streams stand. It costs little; only who saves the epoch's place has it packed for a file."""
    held = _snapshot(loader)
    mark, numbers, seed = default_generator.mark(), random.getstate(), default_generator.initial_seed()
    old = np.random.get_state() if "numpy.random" in sys.modules else None

    def pack() -> dict[str, Any]:
        stream = Generator().manual_seed(seed)
        stream.rewind(mark)
        streams = {"torch": stream.get_state(), "python": numbers}
        if old is not None:
            streams["numpy"] = _pack(old)
        return {"streams": streams, "held": held}

    return pack


def begin(loader: Any) -> Any:
    """Begin a pass over a loader's batches, or go on with the one that `resume` told."""
    state = _pending.pop(loader, None)
    if state is None:
        note = _note(loader)
        iterator = loader._begin_pass()
    else:
        iterator = _go_on(loader, state["start"], state["batches"])
        note = lambda: state["start"]
    iterator._start = note
    _running[loader] = weakref.ref(iterator)
    return iterator


def _go_on(loader: Any, start: dict[str, Any], batches: int) -> Any:
    now = global_streams()
    try:
        set_global_streams(start["streams"])
        _put_back(loader, start["held"])
        iterator = loader._begin_pass()
        for done in range(batches):
            try:
                next(iterator)
            except StopIteration:
                raise RuntimeError(
                    f"can't go on in the saved epoch: {batches} of its batches had been used, but the loader ends "
                    f"after {done}. Is the dataset the same?"
                ) from None
    finally:
        set_global_streams(now)
    return iterator


def loader_state(loader: Any) -> dict[str, Any]:
    """Where a loader stands, of values that any file can hold: between two epochs, or after some batches of one."""
    pending = _pending.get(loader)
    if pending is not None:
        return pending
    running = _running.get(loader)
    iterator = running() if running is not None else None
    if iterator is None or iterator._finished:
        return {"batches": None, "held": _snapshot(loader)}
    return {"batches": iterator._num_yielded, "start": iterator._start()}


def resume(loader: Any, state: dict[str, Any]) -> None:
    """Have the next pass over `loader` go on where `loader_state` found it; ValueError if it is another loader."""
    _running.pop(loader, None)
    _pending.pop(loader, None)
    if state["batches"] is None:
        _put_back(loader, state["held"])
        return
    holders = _holders(loader)
    for place in state["start"]["held"]:
        if place not in holders:
            raise ValueError(f"the loader of the saved run had a {place}, which this one lacks; make it as it was")
    _pending[loader] = state
