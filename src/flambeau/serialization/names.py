"""What PyTorch's names in a pickle stand for here, and under which of its names things of flambeau's are written."""

from __future__ import annotations

import functools
import importlib
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau import devices, dtypes
from flambeau.errors import CheckpointError
from flambeau.nn.parameter import Parameter
from flambeau.serialization.allow import PUBLIC, user
from flambeau.serialization.options import StorageType
from flambeau.tensor.creation import from_numpy
from flambeau.tensor.size import Size
from flambeau.tensor.storage import TypedStorage
from flambeau.tensor.tensor import Tensor

__all__ = ["Storage", "StorageType", "allowed", "callables", "known", "resolve", "storage_name", "user_classes"]

_STORAGES = {
    "DoubleStorage": dtypes.float64, "FloatStorage": dtypes.float32, "HalfStorage": dtypes.float16,
    "BFloat16Storage": dtypes.bfloat16, "LongStorage": dtypes.int64, "IntStorage": dtypes.int32,
    "ShortStorage": dtypes.int16, "CharStorage": dtypes.int8, "ByteStorage": dtypes.uint8, "BoolStorage": dtypes.bool_,
    "ComplexFloatStorage": dtypes.complex64, "ComplexDoubleStorage": dtypes.complex128,
}  # fmt: skip
_STORAGE_OF = {dtype: name for name, dtype in _STORAGES.items()}


class Storage(TypedStorage):
    """Memory that tensors of a file lie in, and what `map_location` functions are given.

    `swapped` says that its numbers are still in the other byte order, `place` to which device its tensors go.
    """

    def __init__(self, data: np.ndarray, dtype: dtypes.dtype | None, swapped: bool = False) -> None:
        self.dtype = dtypes.uint8 if dtype is None else dtype
        self.bytes = data
        self._memory = data.view(self.dtype.numpy)
        self.swapped = swapped
        self.place = devices.CPU

    def unswap(self, itemsize: int, is_complex: bool) -> None:
        """Turn numbers of the given size into this machine's byte order."""
        parts = self.bytes.reshape(-1, itemsize // (2 if is_complex else 1))
        parts[:] = parts[:, ::-1].copy()
        self.swapped = False

    def cpu(self) -> Storage:
        """Itself: that is where it lies."""
        return self

    def cuda(self, device: Any = None, non_blocking: bool = False) -> Storage:
        """Have its tensors go to a GPU. An error if there is none."""
        self.place = devices.require("cuda" if device is None else devices.device(device))
        return self


def storage_name(dtype: dtypes.dtype) -> str | None:
    """The name of PyTorch's storage class for a dtype; None where it has none and storages are untyped."""
    return _STORAGE_OF.get(dtype)


# --- rebuilding tensors ----------------------------------------------------------------------------------------------


def _rebuild(storage: Any, dtype: Any, offset: Any, size: Any, stride: Any, requires_grad: Any) -> Tensor:
    """A tensor that lies in `storage`, which may hold others too; everything is checked against its bounds."""
    if not isinstance(storage, Storage) or not isinstance(dtype, dtypes.dtype):
        raise CheckpointError("the file is damaged: a tensor is not made from a storage and a dtype")
    if not isinstance(size, tuple) or not isinstance(stride, tuple) or len(size) != len(stride) or len(size) > 64:
        raise CheckpointError("the file is damaged: a tensor's size and stride do not fit each other")
    if any(type(n) is not int or not 0 <= n < 2**63 for n in (offset, *size, *stride)):
        raise CheckpointError("the file is damaged: a tensor's offset, size or stride is no sound number")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if 0 in size:
        array = np.empty(size, dtype.numpy)
    elif (last + 1) * dtype.itemsize > storage.bytes.size:
        raise CheckpointError(
            f"the file is damaged: a tensor of size {size}, stride {stride} and offset {offset} does not fit its "
            f"storage of {storage.bytes.size} bytes"
        )
    else:
        if storage.swapped:
            storage.unswap(dtype.itemsize, dtype.is_complex)
        steps = tuple(step * dtype.itemsize for step in stride)
        array = np.ndarray(size, dtype.numpy, storage.bytes, offset * dtype.itemsize, steps)
    if requires_grad and not (dtype.is_floating_point or dtype.is_complex):
        raise CheckpointError(f"the file is damaged: a tensor of {dtype} is said to require a gradient")
    tensor = from_numpy(array)
    if storage.place.type != "cpu":
        tensor = tensor.to(storage.place)
    return tensor.requires_grad_() if requires_grad else tensor


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any) -> Tensor:
    return _rebuild(storage, getattr(storage, "dtype", None), offset, size, stride, False)


def _rebuild_tensor_v2(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any,
    backward_hooks: Any = None,
    metadata: Any = None,
) -> Tensor:
    return _rebuild(storage, getattr(storage, "dtype", None), offset, size, stride, requires_grad)


def _rebuild_tensor_v3(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any,
    backward_hooks: Any,
    dtype: Any,
    metadata: Any = None,
) -> Tensor:
    return _rebuild(storage, dtype, offset, size, stride, requires_grad)


def _rebuild_parameter(data: Any, requires_grad: Any, backward_hooks: Any = None) -> Parameter:
    if not isinstance(data, Tensor) or (requires_grad and not (data.is_floating_point() or data.is_complex())):
        raise CheckpointError("the file is damaged: a parameter is not made of a tensor of floats")
    return Parameter(data, bool(requires_grad))


def _rebuild_parameter_with_state(data: Any, requires_grad: Any, backward_hooks: Any, state: Any) -> Parameter:
    return _with_state(_rebuild_parameter(data, requires_grad), state)


def _rebuild_from_type_v2(function: Callable, new_type: type, args: tuple, state: Any) -> Any:
    if function not in _REBUILD.values():
        raise CheckpointError("the file is damaged: a tensor is rebuilt by something that does not rebuild tensors")
    tensor = function(*args)
    if type(tensor) is not new_type:
        tensor = tensor.as_subclass(new_type)
    return _with_state(tensor, state)


def _with_state(tensor: Any, state: Any) -> Any:
    """Give a tensor back the attributes that a program had set on it, never those that it is made of."""
    attributes = state[0] if isinstance(state, tuple) else state
    for name, value in (attributes or {}).items():
        if type(name) is str and name[:1] != "_" and not hasattr(type(tensor), name):
            setattr(tensor, name, value)
    return tensor


_REBUILD: dict[str, Callable] = {
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor_v2,
    "torch._utils._rebuild_tensor_v3": _rebuild_tensor_v3,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": _rebuild_parameter_with_state,
}


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How protocol 2 writes bytes: as text to be encoded."""
    if encoding not in ("latin1", "latin-1", "utf-8", "ascii"):
        raise CheckpointError(f"the pickle encodes text as {encoding!r}; bytes are written as 'latin1'")
    return text.encode(encoding)


def _bytearray(data: Any = b"", encoding: str | None = None) -> bytearray:
    if type(data) is str and encoding is not None:
        data = _encode(data, encoding)
    if type(data) is not bytes:
        raise CheckpointError("the pickle is damaged: a bytearray is made from bytes")
    return bytearray(data)


def _device(*args: Any) -> devices.device:
    try:
        return devices.device(*args)
    except RuntimeError as error:
        raise CheckpointError(f"the pickle names a device that is none: {str(error)[:80]}") from error


# --- the closed list -------------------------------------------------------------------------------------------------


@functools.cache
def known() -> dict[str, Any]:
    """What every file may name: containers, sizes, devices, dtypes, storages, and the ways to make tensors."""
    table: dict[str, Any] = {
        "collections.OrderedDict": OrderedDict,
        "collections.Counter": Counter,
        "builtins.set": set,
        "builtins.frozenset": frozenset,
        "builtins.complex": complex,
        "builtins.bytearray": _bytearray,
        "_codecs.encode": _encode,
        "torch.Size": Size,
        "torch.device": _device,
        "torch.Tensor": Tensor,
        "torch._tensor.Tensor": Tensor,
        "torch.nn.Parameter": Parameter,
        "torch.nn.parameter.Parameter": Parameter,
        "torch._tensor._rebuild_from_type_v2": _rebuild_from_type_v2,
        **_REBUILD,
    }
    table.update((f"torch.{d.name}", d) for d in dtypes.dtype._by_numpy.values())
    for name, dtype in _STORAGES.items():
        table[f"torch.{name}"] = table[f"torch.cuda.{name}"] = StorageType(name, dtype)
    table["torch.storage.UntypedStorage"] = table["torch.UntypedStorage"] = StorageType("UntypedStorage", None)
    return table


def allowed(name: str) -> Any:
    """What a name may stand for under `weights_only=True`; None if it is refused."""
    found = known().get(name)
    return user.get(name) if found is None else found


def callables() -> set[int]:
    """The ids of what a pickle may call: tensors are rebuilt from storages, never made."""
    things = [thing for thing in known().values() if not isinstance(thing, (dtypes.dtype, StorageType))]
    things = [thing for thing in things if thing is not Tensor and thing is not Parameter]
    return {id(thing) for thing in (*things, *user.values())}


def user_classes() -> tuple[type, ...]:
    """The classes that the user allowed."""
    return tuple(thing for thing in user.values() if isinstance(thing, type))


# --- names of classes and functions -----------------------------------------------------------------------------------


def resolve(module: str, name: str) -> Any:
    """What stands here for a class or function of PyTorch's; for `weights_only=False` only.

    Raises:
        AttributeError: if flambeau has nothing of that name.
    """
    found = known().get(f"{module}.{name}")
    if found is not None:
        return found
    homes = ["flambeau" + module.removeprefix("torch"), *PUBLIC]
    for home in homes:
        try:
            thing: Any = importlib.import_module(home)
            for part in name.split("."):
                thing = getattr(thing, part)
            return thing
        except (ImportError, AttributeError):
            continue
    raise AttributeError(f"the file needs {module}.{name}, which flambeau does not have")
