"""Whole training runs on disk: `save` a run in the midst of an epoch, `restore` it, and it goes on bit for bit.

A checkpoint holds the states of model, optimizer, scheduler and loader, the random streams of the process, and whatever
else a program needs to go on. It is a file of `flambeau.save`: written in one step or not at all, with checksums, read
without running anything, and open to PyTorch's `torch.load`, which finds the state dicts under their names.

    parts = dict(model=model, optimizer=optimizer, scheduler=scheduler, loader=loader)
    epoch = checkpoint.restore("run.pt", **parts)["epoch"] if os.path.exists("run.pt") else 0
    while epoch < epochs:
        for step, (x, y) in enumerate(loader):
            ...
            if step % 100 == 0:
                checkpoint.save("run.pt", **parts, epoch=epoch)
        epoch += 1
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from typing import Any

from flambeau.errors import CheckpointError
from flambeau.nn.modules.module import Module
from flambeau.serialization import load
from flambeau.serialization import save as _write
from flambeau.utils.data.resume import global_streams, loader_state, resume, set_global_streams

__all__ = ["CheckpointError", "restore", "save", "verify"]

_VERSION = 1
_PARTS = ("model", "optimizer", "scheduler")


def save(
    path: str | os.PathLike,
    *,
    model: Any = None,
    optimizer: Any = None,
    scheduler: Any = None,
    loader: Any = None,
    rng: bool = True,
    **extra: Any,
) -> None:
    """Save a training run to `path`, in one step or not at all.

    Args:
        path: where to; a checkpoint that was there stays until the new one is whole and on disk.
        model, optimizer, scheduler: what has a `state_dict`, or a list, tuple or dict of such.
        loader: a `DataLoader`, or a list, tuple or dict of them; in the midst of an epoch, that place is saved.
        rng: save the random streams: flambeau's, Python's `random` and NumPy's.
        extra: anything else, by name. What has a `state_dict` (a `GradScaler`, an averaged model) is saved as that, and
            `restore` is given it again; numbers, text, tensors and containers of these come back from `restore`.

    Raises:
        SaveError: if the file can't be written.
        TypeError: if something holds values that `restore` could not read, such as objects of a program's own classes.

    >>> import flambeau as torch, tempfile, os
    >>> from flambeau import checkpoint
    >>> model = torch.nn.Linear(2, 1)
    >>> path = os.path.join(tempfile.mkdtemp(), "run.pt")
    >>> checkpoint.save(path, model=model, step=3)
    >>> checkpoint.restore(path, model=torch.nn.Linear(2, 1))
    {'step': 3}
    """
    contents: dict[str, Any] = {"flambeau_checkpoint": _VERSION}
    for name, part in zip(_PARTS, (model, optimizer, scheduler), strict=True):
        if part is not None:
            contents[name] = _each(name, part, _state_of)
    if loader is not None:
        contents["loader"] = _each("loader", loader, lambda name, one: loader_state(one))
    if rng:
        contents["rng"] = global_streams()
    stateful = {name: value for name, value in extra.items() if _has_state(value)}
    contents["objects"] = {name: value.state_dict() for name, value in stateful.items()}
    contents["extra"] = {name: value for name, value in extra.items() if name not in stateful}
    _check_readable(contents)
    _write(contents, path)


def restore(
    path: str | os.PathLike,
    *,
    model: Any = None,
    optimizer: Any = None,
    scheduler: Any = None,
    loader: Any = None,
    rng: bool = True,
    map_location: Any = None,
    **objects: Any,
) -> dict[str, Any]:
    """Put a training run where `save` found it, and return its extra values by name.

    The parts are made as they were for the saved run, and given in the same form; a part of the file that is not asked
    for is left alone. If the run was in the midst of an epoch, the next pass over `loader` goes on with the batch that
    comes next: it begins the epoch anew and drops the batches that were used, so that random numbers which a dataset
    draws, in workers or here, are the same as well. (Workers that `persistent_workers` keeps from epoch to epoch start
    afresh; their random numbers do not go on.)

    If anything does not fit, nothing is changed.

    Args:
        path: a file of `save`.
        model, optimizer, scheduler, loader: what to give its saved state.
        rng: put the random streams back, if they were saved.
        map_location: as for `load`.
        objects: those of `extra` that have a state, by their names.

    Raises:
        CheckpointError: if the file is damaged, or not one of `save`.
        KeyError: for a part that the file does not have.
        RuntimeError, ValueError: if a part does not fit its saved state.
    """
    contents = load(path, map_location, weights_only=True)
    if not isinstance(contents, dict) or contents.get("flambeau_checkpoint") != _VERSION:
        raise CheckpointError("this is no file of checkpoint.save: read it with flambeau.load")
    saved = {name: contents[name] for name in _PARTS if name in contents}
    saved.update(contents["objects"])
    wanted = {**objects, "scheduler": scheduler, "optimizer": optimizer, "model": model}  # the model last: see _Undo
    steps: list[tuple[Any, Any]] = []
    for name, part in wanted.items():
        if part is not None:
            _pair(name, part, _saved(saved, name), lambda one, state: steps.append((one, state)))
    loaders: list[tuple[Any, Any]] = []
    if loader is not None:
        _pair("loader", loader, _saved(contents, "loader"), lambda one, state: loaders.append((one, state)))
    undo: list[Callable[[], None]] = []
    try:
        for at, (one, state) in enumerate(steps):
            undo.append(_undo(one, last=at == len(steps) - 1 and not loaders))
            one.load_state_dict(state)
        for one, state in loaders:
            resume(one, state)
        if rng and "rng" in contents:
            set_global_streams(contents["rng"])
    except BaseException:
        for step in reversed(undo):
            step()
        raise
    return contents["extra"]


def verify(path: str | os.PathLike) -> None:
    """Compare a file of `save`, or of PyTorch's, with its checksums, without loading it.

    Raises CheckpointError if it is damaged.
    """
    from flambeau.serialization.loading import check

    check(path)


# --- parts -----------------------------------------------------------------------------------------------------------


def _has_state(value: Any) -> bool:
    return callable(getattr(value, "state_dict", None)) and callable(getattr(value, "load_state_dict", None))


def _state_of(name: str, one: Any) -> Any:
    if not _has_state(one):
        raise TypeError(
            f"checkpoint.save: {name} needs state_dict() and load_state_dict(), which a {type(one).__name__} lacks"
        )
    return one.state_dict()


def _each(name: str, part: Any, state: Callable[[str, Any], Any]) -> Any:
    """The state of a part, or of each in a list, tuple or dict of parts."""
    if type(part) in (list, tuple):
        return [state(f"{name}[{i}]", one) for i, one in enumerate(part)]
    if type(part) is dict:
        return {key: state(f"{name}[{key!r}]", one) for key, one in part.items()}
    return state(name, part)


def _saved(saved: dict[str, Any], name: str) -> Any:
    if name not in saved:
        raise KeyError(f"the checkpoint has no {name!r}; it has {', '.join(sorted(saved)) or 'nothing of the kind'}")
    return saved[name]


def _pair(name: str, part: Any, state: Any, use: Callable[[Any, Any], None]) -> None:
    """Give `use` each thing with its saved state."""
    keyed = type(part) is dict
    if not keyed and type(part) not in (list, tuple):
        use(part, state)
        return
    expected = dict if keyed else list
    same = type(state) is expected and (set(state) == set(part) if keyed else len(state) == len(part))
    if not same:
        raise ValueError(f"{name}: the run was saved with another number of these, or under other names")
    for key in part if keyed else range(len(part)):
        use(part[key], state[key])


def _undo(one: Any, last: bool) -> Callable[[], None]:
    """What puts `one` back as it is now. The last to be loaded needs none: a load that fails changes nothing."""
    if last:
        return lambda: None
    before = one.state_dict()
    if isinstance(one, Module):
        before = {key: value.detach().clone() if hasattr(value, "detach") else value for key, value in before.items()}
    elif not hasattr(one, "param_groups"):  # an optimizer takes new tensors for its state and leaves the old alone
        before = copy.deepcopy(before)
    return lambda: one.load_state_dict(before)


def _check_readable(contents: dict[str, Any]) -> None:
    from flambeau.serialization.saving import refused

    parts = {**contents, **contents["objects"], **contents["extra"]}
    for name, part in parts.items():
        if name in ("objects", "extra"):
            continue
        names = refused(part)
        if names:
            raise TypeError(
                f"checkpoint.save: {name} holds {', '.join(sorted(names))}, which restore would refuse to read. Give "
                "plain values: float(x) for a NumPy number, torch.from_numpy(x) for an array, vars(x) for settings; or "
                "allow the class with flambeau.serialization.add_safe_globals"
            )
