"""Saving and loading: PyTorch's file format, written in one step or not at all, read without running anything.

What does the work is imported at the first call: programs that neither save nor load need none of it.
"""

from __future__ import annotations

import pickle
from typing import Any

from flambeau.errors import CheckpointError, SaveError
from flambeau.serialization.allow import add_safe_globals, clear_safe_globals, get_safe_globals, safe_globals
from flambeau.serialization.options import *
from flambeau.serialization.options import DEFAULT_PROTOCOL, MAP_LOCATION, MAP_PRIVATE, MAP_SHARED, FileLike

__all__ = [
    "CheckpointError",
    "SaveError",
    "add_safe_globals",
    "clear_safe_globals",
    "get_safe_globals",
    "get_unsafe_globals_in_checkpoint",
    "load",
    "safe_globals",
    "save",
]


def save(
    obj: Any,
    f: Any,
    pickle_module: Any = pickle,
    pickle_protocol: int = 2,
    _use_new_zipfile_serialization: bool = True,
    _disable_byteorder_record: bool = False,
) -> None:
    """Save a tensor, a state dict, or any object made of these and of Python's values, for `load` and for PyTorch.

    A path appears complete or not at all: the file is written beside it, synced to disk, and then takes its place, so a
    crash, a full disk or an object that can't be saved leaves an older file as it was. What a killed process leaves
    behind is removed by the next save into the folder. Every record has its checksum, and a list of all records tells
    one that is missing or exchanged. Tensors that share memory share it again after `load`; of a view the whole memory
    that it looks into is saved.

    Args:
        obj: what to save. Modules can be saved whole, but a state dict is better: it needs no code to load.
        f: a path, or an object with a `write` method.
        pickle_module: only Python's own `pickle` is possible.
        pickle_protocol: the version of the pickle format; PyTorch's `weights_only` loading wants 2.
        _use_new_zipfile_serialization: False writes the format from before PyTorch 1.6, which has no checksums.

    Raises:
        AttributeError: if `f` is neither path nor file.
        SaveError: if the file can't be written; it is a RuntimeError and an OSError.
        RuntimeError: if tensors of different dtypes share memory.
        pickle.PicklingError, TypeError, AttributeError: for an object that pickle can't take.

    >>> import io
    >>> import flambeau as torch
    >>> file = io.BytesIO()
    >>> torch.save({"weight": torch.ones(2), "epoch": 3}, file)
    >>> _ = file.seek(0)
    >>> torch.load(file)
    {'weight': tensor([1., 1.]), 'epoch': 3}
    """
    from flambeau.serialization.saving import write

    write(obj, f, pickle_module, pickle_protocol, _use_new_zipfile_serialization, not _disable_byteorder_record)


def load(
    f: Any,
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """Load what `save` here or in PyTorch has saved.

    A file is data: under `weights_only=True`, the default, it can hold tensors, parameters, containers, numbers, text,
    sizes, devices and dtypes, and loading it runs no code, whoever made it. `add_safe_globals` adds to this list.
    With `weights_only=False` it may hold any Python object, such as a whole module, and may run anything: only for
    files that you trust. Classes of PyTorch's become flambeau's of the same name.

    What is loaded is what was saved: a file that was damaged or cut short is an error that names the entry. Neither
    time nor memory goes beyond what the file's size accounts for.

    Args:
        f: a path, or a binary file with `read`, `readline`, `seek` and `tell`.
        map_location: where tensors go that were saved elsewhere: a device or its name, a dict from name to name, or a
            function of the storage and its location's name, which returns the storage, or None to leave it.
        pickle_module: whose `Unpickler` reads under `weights_only=False`.
        weights_only: see above. None means True, unless `pickle_module` is given. With
            `TORCH_FORCE_WEIGHTS_ONLY_LOAD=1` in the environment, False does not help.
        mmap: map the file rather than copy it into memory; checksums are still read over, unless
            `set_crc32_options(False)` says not to. Only for a path.
        pickle_load_args: `encoding` for strings that Python 2 pickled; further arguments go to `pickle_module`.

    Raises:
        CheckpointError: if the file is damaged, or names anything outside the list (the message tells what). It is a
            RuntimeError and a pickle.UnpicklingError, as PyTorch raises them, and an EOFError if the file is empty.
        RuntimeError: if its tensors lie on a device that is not here (see `map_location`).
        FileNotFoundError: if there is no file.
        ValueError: if `mmap` is asked for without a path.
    """
    from flambeau.serialization.loading import read

    return read(f, map_location, pickle_module, weights_only, mmap, pickle_load_args)


def get_unsafe_globals_in_checkpoint(f: Any) -> list[str]:
    """The names in a file that `load(f, weights_only=True)` would refuse; nothing of it is run.

    Raises:
        ValueError: if `f` is no archive of `save`.
    """
    from flambeau.serialization.loading import unsafe_globals

    return unsafe_globals(f)
