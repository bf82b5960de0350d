"""Objects into PyTorch's file format, which PyTorch can read."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import struct
import sys
import types
from collections import OrderedDict
from typing import Any, BinaryIO, ClassVar, cast

import numpy as np

from flambeau import dtypes
from flambeau.nn.parameter import Parameter
from flambeau.serialization import names
from flambeau.serialization.allow import torch_name
from flambeau.serialization.archive import ArchiveWriter
from flambeau.serialization.atomic import atomic_file
from flambeau.serialization.options import Options
from flambeau.serialization.unpickler import global_names
from flambeau.tensor.size import Size
from flambeau.tensor.storage import TypedStorage, UntypedStorage
from flambeau.tensor.tensor import Tensor

__all__ = ["LEGACY_MAGIC", "LEGACY_PROTOCOL", "refused", "write"]

#: Numbers at the start of files from before the zip format.
LEGACY_MAGIC, LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


def write(obj: Any, f: Any, pickle_module: Any, pickle_protocol: int, new_format: bool, byteorder: bool) -> None:
    """Do what `save` tells."""
    if pickle_module is not pickle and getattr(pickle_module, "__name__", "") != "pickle":
        raise ValueError(f"save writes with Python's pickle only; got pickle_module={pickle_module!r}, leave it out")
    put = _write_zip if new_format else _write_legacy
    if isinstance(f, (str, os.PathLike)):
        stem = os.path.splitext(os.path.basename(os.fspath(f)))[0] or "archive"
        with atomic_file(f) as file:
            put(obj, file, pickle_protocol, stem, byteorder)
        return
    if not hasattr(f, "write"):
        raise AttributeError(
            f"save: expected f to be a path or an object with a 'write' method, got {type(f).__name__}"
        )
    put(obj, f, pickle_protocol, "archive", byteorder)


def refused(obj: Any) -> set[str]:
    """The names that a file of `obj` would hold and `load` would refuse by default."""
    pickled = io.BytesIO()
    _Pickler(pickled, 2).dump(obj)
    return {name for name in global_names(pickled.getvalue()) if names.allowed(name) is None}


class _Global:
    """Stands for a name of PyTorch's in what is pickled: PyTorch itself need not be there."""

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name

    def __call__(self) -> None:
        """Never called; `pickle` only asks that what rebuilds an object looks callable."""


_REBUILD_V2 = _Global("torch._utils", "_rebuild_tensor_v2")
_REBUILD_V3 = _Global("torch._utils", "_rebuild_tensor_v3")
_REBUILD_PARAMETER = _Global("torch._utils", "_rebuild_parameter")
_REBUILD_WITH_STATE = _Global("torch._utils", "_rebuild_parameter_with_state")
_REBUILD_FROM_TYPE = _Global("torch._tensor", "_rebuild_from_type_v2")
_UNTYPED = _Global("torch.storage", "UntypedStorage")
_TYPED: dict[str, _Global] = {}


class _Block:
    """Memory to be saved once: a flat uint8 array, and the dtype of the tensors in it."""

    def __init__(self, key: str, data: np.ndarray, dtype: dtypes.dtype, place: str) -> None:
        self.key = key
        self.data = data
        self.dtype = dtype
        self.place = place

    def persistent_id(self, legacy: bool) -> tuple:
        name = names.storage_name(self.dtype)
        if name is None:
            kind, count = _UNTYPED, self.data.size
        else:
            kind = _TYPED.setdefault(name, _Global("torch", name))
            count = self.data.size // self.dtype.itemsize
        saved = ("storage", kind, self.key, self.place, count)
        return (*saved, None) if legacy else saved


def _address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def _memory_of(array: np.ndarray) -> tuple[np.ndarray, int]:
    """The array that owns the memory which `array` looks into, flat as bytes, and the offset of `array` in it.

    Where its memory has gaps or does not divide into elements, it is a copy of `array` alone.
    """
    root = array
    while isinstance(root.base, np.ndarray):
        root = root.base
    order = sorted(range(root.ndim), key=lambda axis: -root.strides[axis])
    dense = root.transpose(order)
    size = array.itemsize
    if dense.flags.c_contiguous and not root.nbytes % size and all(s >= 0 and not s % size for s in array.strides):
        offset = _address(array) - _address(root)
        if not offset % size and 0 <= offset <= root.nbytes:
            return dense.reshape(-1).view(np.uint8), offset
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8), -1


class _Pickler(pickle._Pickler):  # type: ignore[name-defined, misc]
    """Pickles under PyTorch's names and leaves the tensors' memory out, in `blocks`.

    Python's own pickler in C imports every name it writes; that is why this one is built on the one in Python.
    """

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def __init__(self, file: BinaryIO, protocol: int, legacy: bool = False) -> None:
        super().__init__(file, protocol)
        self.blocks: dict[Any, _Block] = {}
        self._legacy = legacy

    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, UntypedStorage):
            memory = obj._memory
            dtype = obj.dtype if isinstance(obj, TypedStorage) else dtypes.uint8
            obj = self._block((_address(memory), memory.nbytes), memory.view(np.uint8), dtype, str(obj.device))
        return obj.persistent_id(self._legacy) if type(obj) is _Block else None

    def _block(self, key: Any, memory: np.ndarray, dtype: dtypes.dtype, place: str) -> _Block:
        """The block of some memory, which all that look into it share."""
        block = self.blocks.get(key)
        if block is None:
            block = self.blocks[key] = _Block(str(len(self.blocks)), memory, dtype, place)
        elif block.dtype is not dtype and memory.size:
            raise RuntimeError(
                f"can't save tensors of types {block.dtype} and {dtype} that look into the same memory: one of them "
                "would lose it. Save one of the two, or a clone()"
            )
        return block

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Tensor):
            return self._reduce_tensor(obj)
        if type(obj) is Size:
            return Size, (tuple(obj),)
        return NotImplemented

    def save_global(self, obj: Any, name: str | None = None) -> None:
        """Write the name of a class, a function or a dtype."""
        if isinstance(obj, _Global):
            self._write_name(obj, obj.module, obj.name)
        elif isinstance(obj, dtypes.dtype):
            self._write_name(obj, "torch", obj.name)
        elif str(getattr(obj, "__module__", "")).split(".")[0] == "flambeau":
            self._write_name(obj, *torch_name(obj))
        else:
            super().save_global(obj, name)

    dispatch[_Global] = save_global
    dispatch[dtypes.dtype] = save_global
    dispatch[types.FunctionType] = save_global

    def _write_name(self, obj: Any, module: str, name: str) -> None:
        if self.proto >= 4:
            self.save(module)
            self.save(name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
        self.memoize(obj)

    def _reduce_tensor(self, tensor: Tensor) -> tuple:
        state = {
            k: v for k, v in getattr(tensor, "__dict__", {}).items() if not hasattr(type(tensor), k) and k[0] != "_"
        }
        if isinstance(tensor, Parameter) and type(tensor) is Parameter:
            args: tuple = (tensor.data, tensor.requires_grad, OrderedDict())
            return (_REBUILD_WITH_STATE, (*args, state)) if state else (_REBUILD_PARAMETER, args)
        rebuild, args = self._reduce_plain(tensor)
        if type(tensor) is not Tensor or state:
            return _REBUILD_FROM_TYPE, (rebuild, type(tensor), args, state)
        return rebuild, args

    def _reduce_plain(self, tensor: Tensor) -> tuple[_Global, tuple]:
        array, dtype = np.asarray(tensor._a), tensor.dtype
        memory, offset = _memory_of(array)
        if offset < 0:
            key: Any = ("copy", len(self.blocks))
            strides, offset = np.ascontiguousarray(array).strides, 0
        else:
            key, strides = (_address(memory), memory.size), array.strides
        block = self._block(key, memory, dtype, str(tensor.device))
        size = array.itemsize
        if array.flags.c_contiguous:
            strides = _row_major(array.shape, size)
        args: tuple = (
            block,
            offset // size,
            tuple(array.shape),
            tuple(s // size for s in strides),
            tensor.requires_grad,
            OrderedDict(),
        )
        return (_REBUILD_V2, args) if names.storage_name(dtype) else (_REBUILD_V3, (*args, dtype))


def _row_major(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    strides, step = [], itemsize
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))


def _write_zip(obj: Any, file: Any, protocol: int, stem: str, byteorder: bool) -> None:
    pickled = io.BytesIO()
    pickler = _Pickler(pickled, protocol)
    pickler.dump(obj)
    digest = hashlib.sha1(pickled.getvalue(), usedforsecurity=False)
    archive = ArchiveWriter(file, stem)
    archive.write("data.pkl", pickled.getvalue())
    archive.write(".format_version", b"1")
    archive.write(".storage_alignment", b"64")
    if byteorder:
        archive.write("byteorder", sys.byteorder.encode())
    for block in pickler.blocks.values():
        archive.write(f"data/{block.key}", bytes(block.data.size) if Options.skipping else block.data)
    archive.write("version", b"3\n")
    archive.write(".data/serialization_id", str(int(digest.hexdigest(), 16))[:40].zfill(40).encode())
    archive.close()


def _write_legacy(obj: Any, file: Any, protocol: int, stem: str, byteorder: bool) -> None:
    """The format before the zip archive: pickles one after another, then the storages in order."""
    pickled = io.BytesIO()
    pickler = _Pickler(pickled, protocol, legacy=True)
    pickler.dump(obj)
    sizes = {"short": 2, "int": 4, "long": 4}
    info = {"protocol_version": LEGACY_PROTOCOL, "little_endian": sys.byteorder == "little", "type_sizes": sizes}
    for header in (LEGACY_MAGIC, LEGACY_PROTOCOL, info):
        pickle.dump(header, file, protocol)
    file.write(pickled.getvalue())
    blocks = list(pickler.blocks.values())
    pickle.dump([block.key for block in blocks], file, protocol)
    for block in blocks:
        itemsize = block.dtype.itemsize if names.storage_name(block.dtype) else 1
        file.write(struct.pack("<q", block.data.size // itemsize))
        file.write(cast(Any, block.data.data))
