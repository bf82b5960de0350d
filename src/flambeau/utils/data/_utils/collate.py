"""How samples become a batch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.ops.dispatch import wrap
from flambeau.ops.joining import stack
from flambeau.tensor.creation import as_tensor, tensor
from flambeau.tensor.tensor import Tensor

__all__ = ["collate", "default_collate", "default_collate_fn_map", "default_convert"]

_TEXT_OR_OBJECTS = "SUO"


def default_convert(data: Any) -> Any:
    """Replace the NumPy arrays and scalars in a sample by tensors, also within containers; leave all else.

    This is what a `DataLoader` does to samples that it does not batch.

    >>> import numpy as np
    >>> import flambeau as torch
    >>> torch.utils.data.default_convert({"x": np.array([1, 2]), "name": "a"})
    {'x': tensor([1, 2]), 'name': 'a'}
    """
    if isinstance(data, (Tensor, str, bytes)):
        return data
    if isinstance(data, (np.ndarray, np.generic)):
        return data if data.dtype.kind in _TEXT_OR_OBJECTS and isinstance(data, np.ndarray) else as_tensor(data)
    if isinstance(data, Mapping):
        return _like_mapping(data, {key: default_convert(data[key]) for key in data})
    if isinstance(data, tuple):
        parts = [default_convert(d) for d in data]
        return type(data)(*parts) if hasattr(data, "_fields") else parts
    if isinstance(data, Sequence):
        return _like_sequence(data, [default_convert(d) for d in data])
    return data


def _like_mapping(model: Mapping, items: dict) -> Any:
    """The items in a mapping of the model's kind; in a dict where that kind can't be made so."""
    try:
        if not isinstance(model, MutableMapping):
            return type(model)(items)  # type: ignore[call-arg]
        result = copy.copy(model)  # it may carry more than its items, such as a default
        result.update(items)
        return result
    except TypeError:
        return items


def _like_sequence(model: Sequence, parts: list) -> Any:
    """The parts in a sequence of the model's kind; in a list where that kind can't be made so."""
    try:
        if not isinstance(model, MutableSequence):
            return type(model)(parts)  # type: ignore[call-arg]
        result = copy.copy(model)
        for i, part in enumerate(parts):
            result[i] = part
        return result
    except TypeError:
        return parts


def collate(batch: Any, *, collate_fn_map: dict[Any, Callable] | None = None) -> Any:
    """Turn a list of samples into one sample of batches.

    `collate_fn_map` says for a type, or a tuple of types, by which function of the list (and of the map, as keyword
    `collate_fn_map`) elements of it are put together; the exact type counts first, then the first that fits.
    Mappings, sequences and named tuples are taken apart, and their parts collated; a plain tuple gives a list.

    Raises:
        RuntimeError: if sequences in the batch differ in length.
        TypeError: for elements of a type that is none of these.
    """
    elem = batch[0]
    kind = type(elem)
    if collate_fn_map is not None:
        found = collate_fn_map.get(kind)
        if found is None:
            found = next((f for types, f in collate_fn_map.items() if isinstance(elem, types)), None)
        if found is not None:
            return found(batch, collate_fn_map=collate_fn_map)
    if isinstance(elem, Mapping):
        return _like_mapping(
            elem, {key: collate([d[key] for d in batch], collate_fn_map=collate_fn_map) for key in elem}
        )
    if isinstance(elem, tuple) and hasattr(elem, "_fields"):
        return kind(*(collate(column, collate_fn_map=collate_fn_map) for column in zip(*batch, strict=False)))
    if isinstance(elem, Sequence):
        lengths = {len(sample) for sample in batch}
        if len(lengths) != 1:
            raise RuntimeError(
                f"the sequences of a batch must be equally long, got lengths {sorted(lengths)}; "
                "pad them, or give the DataLoader a collate_fn of its own"
            )
        parts = [collate(column, collate_fn_map=collate_fn_map) for column in zip(*batch, strict=True)]
        return parts if isinstance(elem, tuple) else _like_sequence(elem, parts)
    raise TypeError(
        f"default_collate: a batch can hold tensors, NumPy arrays, numbers, text, dicts and lists, but got a "
        f"{kind.__module__}.{kind.__qualname__}; give the DataLoader a collate_fn of its own"
    )


def collate_tensor_fn(batch: Any, *, collate_fn_map: Any = None) -> Any:
    """Stack tensors along a new first dimension."""
    if all(type(t) is Tensor and t._node is None for t in batch):
        joined = _join([t._a for t in batch])
        if joined is not None:
            return wrap(joined)
    return stack(batch, 0)


def _join(arrays: list[np.ndarray]) -> np.ndarray | None:
    """The arrays along a new first dimension, several times as fast as `stack`; None unless they are all alike."""
    shape, dtype = arrays[0].shape, arrays[0].dtype
    if not shape or any(a.shape != shape or a.dtype != dtype for a in arrays):
        return None
    return np.concatenate(arrays).reshape(len(arrays), *shape)


def collate_numpy_array_fn(batch: Any, *, collate_fn_map: Any = None) -> Any:
    """Stack NumPy arrays, as tensors."""
    if batch[0].dtype.kind in _TEXT_OR_OBJECTS:
        raise TypeError(
            f"default_collate: a batch can't hold NumPy arrays of {batch[0].dtype}; convert them to numbers, or "
            "give the DataLoader a collate_fn of its own"
        )
    if collate_fn_map is not None and collate_fn_map.get(Tensor) is collate_tensor_fn:
        joined = _join(batch)
        if joined is not None:
            return as_tensor(joined)
    return collate([as_tensor(b) for b in batch], collate_fn_map=collate_fn_map)


def collate_numpy_scalar_fn(batch: Any, *, collate_fn_map: Any = None) -> Any:
    """Put NumPy numbers into one tensor of their dtype."""
    return as_tensor(np.asarray(batch))


def collate_float_fn(batch: Any, *, collate_fn_map: Any = None) -> Any:
    """Put Python floats into one float64 tensor."""
    return tensor(batch, dtype=dtypes.float64)


def collate_int_fn(batch: Any, *, collate_fn_map: Any = None) -> Any:
    """Put Python ints or bools into one tensor."""
    return tensor(batch)


def collate_str_fn(batch: Any, *, collate_fn_map: Any = None) -> Any:
    """Leave text as it is."""
    return batch


default_collate_fn_map: dict[Any, Callable] = {
    Tensor: collate_tensor_fn,
    np.ndarray: collate_numpy_array_fn,
    (np.bool_, np.number, np.object_): collate_numpy_scalar_fn,
    float: collate_float_fn,
    int: collate_int_fn,
    str: collate_str_fn,
    bytes: collate_str_fn,
}


def default_collate(batch: Any) -> Any:
    """Turn a list of samples into one sample of batches; what a `DataLoader` does by default.

    Tensors and NumPy arrays are stacked, numbers become tensors (floats float64, ints int64), text stays a list, and
    containers are kept: a list of dicts becomes a dict of batches. `default_collate_fn_map` can be added to.

    Raises:
        RuntimeError: if tensors differ in shape, or sequences in length.
        TypeError: for elements of any other type.

    >>> import flambeau as torch
    >>> torch.utils.data.default_collate([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}])
    {'a': tensor([1, 2]), 'b': ['x', 'y']}
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)
