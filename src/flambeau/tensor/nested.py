"""Nested tensors: a batch of tensors whose shapes differ.

A nested tensor is a `Tensor` whose class keeps the parts as they are and runs a function on each of them, with its
dimensions counted from the second on. Everything is recorded part by part, so gradients reach what they were made of.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.ops import joining
from flambeau.tensor.creation import as_tensor, full
from flambeau.tensor.formats import jagged, strided
from flambeau.tensor.size import Size
from flambeau.tensor.sparse import Absent
from flambeau.tensor.tensor import Tensor

__all__ = ["NestedInt", "NestedTensor", "nest", "to_padded_tensor"]

_numbers = itertools.count(1)


class NestedInt:
    """The length of the dimension in which the parts differ, in a shape: `j1`."""

    def __init__(self) -> None:
        self.name = f"j{next(_numbers)}"

    def __repr__(self) -> str:
        return self.name


class NestedTensor(Tensor):
    """A batch of tensors of different shapes. `torch.nested.nested_tensor` makes one."""

    _parts: list[Tensor]
    _ragged: NestedInt
    _offsets: Tensor | None
    is_nested = True
    layout: Any = strided  # type: ignore[assignment]

    @classmethod
    def __torch_function__(cls, func: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", str(func)).removeprefix("functional_")
        handler = _HANDLERS.get(name)
        if handler is not None:
            return handler(*args, **(kwargs or {}))
        if name in _DIMENSIONS:
            args, kwargs = _without_batch(_DIMENSIONS[name], args, kwargs or {})
        elif name not in _EACH:
            raise NotImplementedError(
                f"{name}() of a nested tensor: take it apart with .unbind(), or .to_padded_tensor(0)"
            )
        return _part_by_part(func, args, kwargs or {})

    def like(self, parts: Sequence[Tensor]) -> NestedTensor:
        """A nested tensor of these parts, in the same layout; of the same ragged length if they have it."""
        out = nest(list(parts), self.layout)
        if [p.shape[:1] for p in parts] == [p.shape[:1] for p in self._parts]:
            out._ragged, out._offsets = self._ragged, self._offsets
        return out

    requires_grad = property(lambda self: any(p.requires_grad for p in self._parts))  # type: ignore[assignment]
    grad_fn = property(lambda self: next((p.grad_fn for p in self._parts), None))  # type: ignore[assignment]
    is_leaf = property(lambda self: all(p.is_leaf for p in self._parts))  # type: ignore[assignment]

    @property
    def grad(self) -> Any:  # type: ignore[override]
        """The gradients of the parts."""
        found = [p.grad for p in self._parts]
        return None if any(g is None for g in found) else self.like(found)

    def requires_grad_(self, requires_grad: bool = True) -> NestedTensor:
        """Whether gradients reach the parts."""
        for p in self._parts:
            p.requires_grad_(requires_grad)
        return self

    def unbind(self, dim: int = 0) -> tuple[Tensor, ...]:  # type: ignore[override]
        """The parts."""
        if dim != 0:
            raise RuntimeError(f"unbind(): a nested tensor comes apart along dimension 0 only, got {dim}")
        return tuple(self._parts)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int):
            return self._parts[index]
        raise NotImplementedError("a nested tensor is indexed by a number, which gives a part")

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Any:
        return iter(self._parts)

    def dim(self) -> int:
        """One more than the parts have."""
        return self._parts[0].dim() + 1 if self._parts else 1

    ndim = property(dim)  # type: ignore[assignment]
    ndimension = dim

    def numel(self) -> int:
        """The number of elements of all parts."""
        return sum(p.numel() for p in self._parts)

    def size(self, dim: int | None = None) -> Any:
        """The length of one dimension, if it is the same for all parts; of a jagged tensor the shape too."""
        if dim is None:
            return self.shape
        d = dim % self.dim()
        if d == 0:
            return len(self._parts)
        lengths = {p.shape[d - 1] for p in self._parts}
        if len(lengths) > 1:
            if self.layout is jagged:
                return self._ragged
            raise RuntimeError(f"size(): dimension {d} of this nested tensor is irregular and has no length")
        return lengths.pop()

    @property
    def shape(self) -> Any:
        """The lengths of the dimensions, of a jagged tensor; the one in which parts differ is a symbol."""
        if self.layout is not jagged:
            raise RuntimeError(
                "a nested tensor has no shape: ask .size(dim) for one dimension, or .unbind() for the parts"
            )
        first = self._parts[0].shape
        at = next((d for d in range(len(first)) if len({p.shape[d] for p in self._parts}) > 1), 0)
        return tuple.__new__(Size, (len(self._parts), *first[:at], self._ragged, *first[at + 1 :]))

    def values(self) -> Tensor:
        """The parts one after the other, along the dimension in which they differ."""
        at = next((d for d in range(self.dim() - 1) if len({p.shape[d] for p in self._parts}) > 1), 0)
        return joining.cat(self._parts, at)

    def offsets(self) -> Tensor:
        """Where each part begins in `values()`, and the end."""
        if self._offsets is None:
            at = next((d for d in range(self.dim() - 1) if len({p.shape[d] for p in self._parts}) > 1), 0)
            self._offsets = as_tensor(np.cumsum([0] + [p.shape[at] for p in self._parts]))
        return self._offsets

    def lengths(self) -> None:
        """None: parts fill what is between the offsets."""

    def to_padded_tensor(self, padding: float, output_size: Any = None) -> Tensor:
        """One ordinary tensor in which every part is filled up with `padding`; see `torch.nested.to_padded_tensor`."""
        return to_padded_tensor(self, padding, output_size)

    def to(self, *args: Any, **kwargs: Any) -> NestedTensor:
        """With parts of another dtype; see `Tensor.to`."""
        return self.like([p.to(*args, **kwargs) for p in self._parts])

    def contiguous(self, memory_format: Any = None) -> NestedTensor:
        """With parts in C order."""
        return self.like([p.contiguous() for p in self._parts])

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether all parts are in C order."""
        return all(p.is_contiguous() for p in self._parts)

    def detach(self) -> NestedTensor:
        """Without history."""
        return self.like([p.detach() for p in self._parts])

    data = property(detach)  # type: ignore[assignment]

    def clone(self, *args: Any, **kwargs: Any) -> NestedTensor:
        """A copy."""
        return self.like([p.clone() for p in self._parts])

    def __deepcopy__(self, memo: dict) -> NestedTensor:
        memo[id(self)] = copied = self.detach().clone()
        return copied.requires_grad_(self.requires_grad)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return nest, ([p.detach() for p in self._parts], self.layout)

    def numpy(self, *, force: bool = False) -> Any:
        """TypeError: parts differ in shape."""
        raise TypeError("a nested tensor has no array: take it apart with .unbind(), or .to_padded_tensor(0)")

    __array__ = numpy  # type: ignore[assignment]

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        if self.layout is jagged:
            grad = f", grad_fn=<{type(self.grad_fn).__name__}>" if self.grad_fn is not None else ""
            grad = ", requires_grad=True" if not grad and self.requires_grad else grad
            return f"NestedTensor(size={tuple(self.shape)}, offsets={self.offsets()}{grad}, contiguous=True)"
        texts = [repr(p.detach().requires_grad_(p.requires_grad)).replace("\n", "\n  ") for p in self._parts]
        tail = f", grad_fn=<{type(self.grad_fn).__name__}>" if self.grad_fn is not None else ""
        tail = ", requires_grad=True" if not tail and self.requires_grad else tail
        return "nested_tensor([\n  " + ",\n  ".join(texts) + "\n]" + tail + ")"

    def __str__(self) -> str:
        return repr(self)

    def __format__(self, format_spec: str) -> str:
        return format(repr(self), format_spec)


def nest(parts: list[Tensor], layout: Any = strided) -> NestedTensor:
    """A nested tensor of these parts. RuntimeError unless they have one number of dimensions and one dtype."""
    if len({p.dim() for p in parts}) > 1 or len({p.dtype for p in parts}) > 1:
        raise RuntimeError(
            "a nested tensor is made of tensors of one number of dimensions and one dtype, got "
            + ", ".join(f"{p.dtype}{list(p.shape)}" for p in parts[:8])
        )
    out = object.__new__(NestedTensor)
    out._parts, out.layout, out._ragged, out._offsets = parts, layout, NestedInt(), None
    kind = parts[0]._a.dtype if parts else dtypes.get_default_dtype().numpy
    out._a = Absent(kind, (len(parts),))  # type: ignore[assignment]
    return out


def to_padded_tensor(input: NestedTensor, padding: float, output_size: Any = None) -> Tensor:
    """One ordinary tensor of a nested one, every part filled up with `padding` at the ends of its dimensions.

    The size is that of the largest part in each dimension, or `output_size`. RuntimeError where that is too small.
    """
    parts = input.unbind()
    size = [max(p.shape[d] for p in parts) for d in range(input.dim() - 1)]
    wanted = size if output_size is None else [int(n) for n in tuple(output_size)[1:]]
    if any(n < m for n, m in zip(wanted, size, strict=True)):
        raise RuntimeError(f"to_padded_tensor(): a part needs {size}, more than the output_size allows: {wanted}")
    rows = []
    for p in parts:
        for d, n in enumerate(wanted):
            if p.shape[d] < n:
                rest = [n - p.shape[d] if k == d else s for k, s in enumerate(p.shape)]
                p = joining.cat([p, full(rest, padding, dtype=p.dtype)], d)
        rows.append(p)
    return joining.stack(rows)


# --- functions ---------------------------------------------------------------------------------------------------


def _part_by_part(func: Callable, args: tuple, kwargs: dict) -> Any:
    given = [a for a in (*args, *kwargs.values()) if isinstance(a, NestedTensor)]
    lead, count = given[0], len(given[0])
    if any(len(a) != count for a in given):
        raise RuntimeError(f"nested tensors of {[len(a) for a in given]} parts do not go together")

    def part(value: Any, i: int) -> Any:
        if isinstance(value, NestedTensor):
            return value._parts[i]
        batched = isinstance(value, Tensor) and value.dim() == lead.dim() and value.shape[0] == count
        return value[i] if batched and func.__name__ in _BINARY else value

    found = [func(*(part(a, i) for a in args), **{k: part(v, i) for k, v in kwargs.items()}) for i in range(count)]
    if isinstance(found[0], (tuple, list)):
        return tuple(lead.like(list(column)) for column in zip(*found, strict=True))
    return lead.like(found)


def _without_batch(places: tuple[int, ...], args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """Arguments that name dimensions, counted without the first."""
    n = args[0].dim() if args else kwargs["input"].dim()

    def moved(dim: Any) -> Any:
        if isinstance(dim, (tuple, list)):
            return tuple(moved(d) for d in dim)
        if dim is None or isinstance(dim, bool):
            raise NotImplementedError("over all elements of a nested tensor: use .values(), or .to_padded_tensor(0)")
        if dim % n == 0:
            raise NotImplementedError("along the batch of a nested tensor: take it apart with .unbind()")
        return dim % n - 1

    changed = list(args)
    for place in places:
        if place < len(changed):
            changed[place] = moved(changed[place])
    names = ("dim", "dim0", "dim1")
    return tuple(changed), {k: moved(v) if k in names else v for k, v in kwargs.items()}


def _sum(input: NestedTensor, dim: Any = None, keepdim: bool = False, **kwargs: Any) -> Any:
    if dim is None:
        return joining.cat([p.reshape(-1) for p in input._parts]).sum(**kwargs)
    args, _ = _without_batch((1,), (input, dim), {})
    return _part_by_part(lambda p, d: p.sum(d, keepdim, **kwargs), args, {})


def _unflatten(input: NestedTensor, dim: int, sizes: Any) -> NestedTensor:
    (_, d), _ = _without_batch((1,), (input, dim), {})
    return input.like([p.unflatten(d, sizes) for p in input._parts])


def _flatten(input: NestedTensor, start_dim: int = 0, end_dim: int = -1) -> NestedTensor:
    (_, first, last), _ = _without_batch((1, 2), (input, start_dim, end_dim), {})
    return input.like([p.flatten(first, last) for p in input._parts])


_BINARY = frozenset("add sub mul div true_divide maximum minimum pow_tensor eq ne lt le gt ge where scaled_add".split())
_EACH = _BINARY | frozenset(
    """abs neg negative sqrt rsqrt square exp log sin cos tan tanh sigmoid relu gelu silu elu leaky_relu hardtanh mish
    softplus relu6 hardswish hardsigmoid selu celu erf reciprocal sign floor ceil round clamp clamp_number pow
    pow_scalar scaled_sub linear layer_norm rms_norm dropout alpha_dropout matmul
    bmm embedding scaled_dot_product_attention
    masked_fill logical_not isnan isinf nan_to_num rsub floor_divide remainder log1p expm1 zeros_like ones_like
    empty_like rand_like randn_like multi_head_attention_forward normalize""".split()
)
_DIMENSIONS: dict[str, tuple[int, ...]] = {
    "softmax": (1,), "log_softmax": (1,), "mean": (1,), "amax": (1,), "amin": (1,), "argmax": (1,), "argmin": (1,),
    "transpose": (1, 2), "swapaxes": (1, 2), "unsqueeze": (1,), "squeeze": (1,), "chunk": (2,), "split": (2,),
    "cumsum": (1,), "select": (1,), "narrow": (1,), "var": (1,), "std": (1,), "norm": (2,), "logsumexp": (1,),
}  # fmt: skip
_HANDLERS: dict[str, Callable] = {"sum": _sum, "unflatten": _unflatten, "flatten": _flatten}

_SHIFTED = ("unflatten", "flatten", "unsqueeze", "squeeze", "transpose", "chunk", "split", "narrow", "select")


def _method(name: str) -> Callable:
    """A method of parts as one of nested tensors: those that are not ops do not ask classes by themselves."""

    @functools.wraps(getattr(Tensor, name))
    def method(self: NestedTensor, *args: Any, **kwargs: Any) -> Any:
        handler = _HANDLERS.get(name)
        if handler is not None:
            return handler(self, *args, **kwargs)
        passed, named = _without_batch(_DIMENSIONS[name], (self, *args), kwargs)

        def of_part(p: Any, *a: Any, **k: Any) -> Any:
            return getattr(p, name)(*a, **k)

        return _part_by_part(of_part, passed, named)

    return method


for _name in _SHIFTED:
    setattr(NestedTensor, _name, _method(_name))
