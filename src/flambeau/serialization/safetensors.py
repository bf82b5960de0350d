"""Weights in the safetensors format, under the names of `safetensors.torch`.

A file is the length of its header in 8 bytes, the header in JSON (dtype, shape and place of each tensor), and the
numbers, one tensor after another. It can hold nothing that runs. Files that are written here carry a checksum for each
tensor among the header's free metadata, under `flambeau.crc32`; other programs read past them.

>>> import flambeau as torch, os, tempfile
>>> from flambeau.serialization.safetensors import load_file, save_file
>>> path = os.path.join(tempfile.mkdtemp(), "weights.safetensors")
>>> save_file({"weight": torch.ones(2)}, path)
>>> load_file(path)
{'weight': tensor([1., 1.])}
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.errors import CheckpointError
from flambeau.serialization.atomic import atomic_file
from flambeau.tensor.creation import from_numpy
from flambeau.tensor.tensor import Tensor

__all__ = ["load", "load_file", "load_model", "metadata", "save", "save_file", "save_model"]

_NAMES = {
    "BOOL": dtypes.bool_, "U8": dtypes.uint8, "I8": dtypes.int8, "F8_E5M2": dtypes.float8_e5m2,
    "F8_E4M3": dtypes.float8_e4m3fn, "F8_E8M0": dtypes.float8_e8m0fnu, "F8_E4M3FNUZ": dtypes.float8_e4m3fnuz,
    "F8_E5M2FNUZ": dtypes.float8_e5m2fnuz, "I16": dtypes.int16,
    "U16": dtypes.uint16, "F16": dtypes.float16, "BF16": dtypes.bfloat16, "I32": dtypes.int32, "U32": dtypes.uint32,
    "F32": dtypes.float32, "C64": dtypes.complex64, "F64": dtypes.float64, "I64": dtypes.int64, "U64": dtypes.uint64,
}  # fmt: skip
_NAME_OF = {dtype: name for name, dtype in _NAMES.items()}
#: Where among the metadata the checksums of the tensors stand, and that of the rest of the header.
_CHECKSUMS, _SEAL = "flambeau.crc32", "flambeau.header"
#: The longest header that the format allows.
_LONGEST = 100_000_000


# --- writing ---------------------------------------------------------------------------------------------------------


def _pieces(tensors: Any, metadata: Any, checksums: bool) -> list[Any]:
    """The header, and the bytes of each tensor."""
    if not isinstance(tensors, Mapping):
        raise ValueError(f"expected a dict of names to tensors, got {type(tensors).__name__}")
    seen: dict[int, str] = {}
    arrays = {}
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor) or not isinstance(name, str):
            raise ValueError(f"expected names with tensors: the value of {name!r} is a {type(tensor).__name__}")
        if tensor.dtype not in _NAME_OF:
            raise ValueError(f"the format has no place for {tensor.dtype}, the dtype of {name!r}")
        array = np.asarray(tensor.detach()._a)
        where = array.__array_interface__["data"][0] if array.size else 0
        if where and where in seen:
            raise RuntimeError(
                f"{seen[where]!r} and {name!r} share memory, which the format can't tell: save one of the two, or use "
                "save_model, which leaves the other out"
            )
        if not array.flags.c_contiguous:
            raise ValueError(f"{name!r} is not contiguous: save {name}.contiguous()")
        seen[where] = name
        arrays[name] = array
    # the widest types first, so that each tensor lies at a multiple of its size; then by name
    order = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    blocks = [arrays[name].reshape(-1).view(np.uint8) for name in order]
    free = {str(key): str(value) for key, value in (metadata or {}).items()}
    if checksums:
        free[_CHECKSUMS] = json.dumps({n: f"{zlib.crc32(b.data):08x}" for n, b in zip(order, blocks, strict=True)})
    entries: dict[str, Any] = {}
    at = 0
    for name, block in zip(order, blocks, strict=True):
        tensor = tensors[name]
        entries[name] = {"dtype": _NAME_OF[tensor.dtype], "shape": list(tensor.shape),
                        "data_offsets": [at, at + block.size]}  # fmt: skip
        at += block.size
    if checksums:
        free[_SEAL] = _seal(entries, free)
    header = {"__metadata__": free, **entries} if free else entries
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return [len(text).to_bytes(8, "little") + text, *blocks]


def _seal(entries: dict[str, Any], free: dict[str, Any]) -> str:
    """A checksum of a header, but for itself."""
    rest = {key: value for key, value in free.items() if key != _SEAL}
    return f"{zlib.crc32(json.dumps([entries, rest], sort_keys=True).encode()):08x}"


def save(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None, checksums: bool = True) -> bytes:
    """What `save_file` would write, as bytes."""
    return b"".join(bytes(piece) for piece in _pieces(tensors, metadata, checksums))


def save_file(
    tensors: Mapping[str, Tensor],
    filename: str | os.PathLike,
    metadata: Mapping[str, str] | None = None,
    checksums: bool = True,
) -> None:
    """Write tensors by name to a file, which appears whole or not at all.

    Args:
        tensors: contiguous tensors that do not share memory.
        filename: where to.
        metadata: text by name, to be kept with them; other libraries want `{"format": "pt"}`.
        checksums: add a checksum for each tensor to the metadata.

    Raises:
        ValueError: for what is no dict of contiguous tensors.
        RuntimeError: for tensors that share memory; SaveError, which is one, if the file can't be written.
    """
    pieces = _pieces(tensors, metadata, checksums)
    with atomic_file(filename) as file:
        for piece in pieces:
            file.write(piece)


# --- reading ---------------------------------------------------------------------------------------------------------


def _header(data: memoryview) -> tuple[dict[str, Any], dict[str, Any], memoryview]:
    """The tensors' entries, the metadata, and the bytes behind the header; CheckpointError if it is not sound."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(_LONGEST, len(data) - 8):
        raise CheckpointError("the file is no safetensors file, or was cut short", "header")
    try:
        header = json.loads(bytes(data[8 : 8 + length]).decode(), object_pairs_hook=_once)
        free = header.pop("__metadata__", {})
        if not isinstance(free, dict):
            raise ValueError("the metadata is no dict")
    except (ValueError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"the header can't be read: {str(error)[:200]}", "header") from error
    body = data[8 + length :]
    at = 0
    for name, entry in sorted(header.items(), key=_begin):
        shape, (begin, end) = entry["shape"], entry["data_offsets"]
        size = _NAMES[entry["dtype"]].itemsize
        for n in shape:
            size *= n
        if begin != at or end - begin != size:
            raise CheckpointError("its shape, dtype and place in the file do not fit each other", name)
        at = end
    if at != len(body):
        raise CheckpointError(f"{at} bytes of numbers were expected, the file has {len(body)}", "header")
    return header, free, body


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _begin(item: tuple[str, Any]) -> tuple[int, int]:
    name, entry = item
    sound = isinstance(entry, dict) and entry.keys() == {"dtype", "shape", "data_offsets"} and entry["dtype"] in _NAMES
    if sound:
        shape, place = entry["shape"], entry["data_offsets"]
        sound = isinstance(shape, list) and len(shape) <= 64 and isinstance(place, list) and len(place) == 2
        sound = sound and all(type(n) is int and 0 <= n < 2**63 for n in (*shape, *place))
    if not sound:
        raise CheckpointError("its entry in the header is not sound", name)
    return tuple(entry["data_offsets"])


def _checksums(header: dict[str, Any], free: dict[str, Any]) -> dict[str, int]:
    """The tensors' checksums, none if whoever wrote the file left none; CheckpointError if the header was changed."""
    if _CHECKSUMS not in free and _SEAL not in free:
        return {}
    try:
        numbers = {str(name): int(crc, 16) for name, crc in json.loads(free[_CHECKSUMS]).items()}
        sound = free[_SEAL] == _seal(header, free) and numbers.keys() == header.keys()
    except (ValueError, LookupError, AttributeError, TypeError):
        sound = False
    if not sound:
        raise CheckpointError("it does not match its checksum; the file is damaged", "header")
    return numbers


def _tensors(data: Any, device: Any) -> dict[str, Tensor]:
    header, free, body = _header(memoryview(data).cast("B"))
    numbers = _checksums(header, free)
    found = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        block = np.frombuffer(body[begin:end], np.uint8).copy()
        if name in numbers and zlib.crc32(block.data) != numbers[name]:
            raise CheckpointError("it does not match its checksum; the file is damaged", name)
        dtype = _NAMES[entry["dtype"]]
        if dtype is dtypes.bool_ and block.size and block.max() > 1:
            raise CheckpointError("a bool is neither 0 nor 1; the file is damaged", name)
        tensor = from_numpy(block.view(dtype.numpy).reshape(entry["shape"]))
        found[name] = tensor if str(device) == "cpu" else tensor.to(device)
    return found


def load(data: bytes) -> dict[str, Tensor]:
    """The tensors in the bytes of a safetensors file; CheckpointError if it is damaged."""
    return _tensors(data, "cpu")


def load_file(filename: str | os.PathLike, device: Any = "cpu") -> dict[str, Tensor]:
    """The tensors in a safetensors file, by name.

    CheckpointError, naming the tensor, if the file is damaged: its header is always checked, its numbers if whoever
    wrote it left checksums, as `save_file` does.
    """
    with open(filename, "rb") as file:
        return _tensors(file.read(), device)


def metadata(filename: str | os.PathLike) -> dict[str, str]:
    """The text that a safetensors file keeps beside its tensors."""
    with open(filename, "rb") as file:
        return dict(_header(memoryview(file.read()))[1])


# --- modules ---------------------------------------------------------------------------------------------------------


def save_model(
    model: Any, filename: str | os.PathLike, metadata: dict[str, str] | None = None, force_contiguous: bool = True
) -> None:
    """Write a module's state. Of names that share one tensor, all but the first are left out and noted as metadata."""
    kept: dict[Any, str] = {}
    state, notes = {}, dict(metadata or {})
    for name, tensor in sorted(model.state_dict().items()):
        array = tensor._a
        place = (array.__array_interface__["data"][0], array.shape, array.strides)
        if array.size and place in kept:
            notes[name] = kept[place]
            continue
        kept[place] = name
        state[name] = tensor.contiguous() if force_contiguous else tensor
    save_file(state, filename, notes)


def load_model(
    model: Any, filename: str | os.PathLike, strict: bool = True, device: Any = "cpu"
) -> tuple[list[str], list[str]]:
    """Load what `save_model` wrote into a module. Returns missing and unexpected names.

    RuntimeError, under `strict`, if there are any.
    """
    state = load_file(filename, device)
    notes = metadata(filename)
    for name in model.state_dict():
        if name not in state and notes.get(name) in state:
            state[name] = state[notes[name]]
    return tuple(model.load_state_dict(state, strict=strict))
