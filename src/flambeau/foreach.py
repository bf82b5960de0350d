"""``torch._foreach_*``: one operation on every tensor of a list, as optimizers and averages of others call it.

An operation is the tensors' own method of that name, so all that holds of it (dtypes, gradients, devices) holds here.
Where PyTorch takes a second list, a number for all, a list of numbers or a tensor for all, so does this; names that end
in an underscore write into the tensors of the first list and return that list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from flambeau.tensor.tensor import Tensor

_UNARY = (
    "abs acos asin atan ceil cos cosh erf erfc exp expm1 floor frac lgamma log log10 log1p log2 neg reciprocal round "
    "rsqrt sigmoid sign sin sinh sqrt tan tanh trunc"
).split()
#: Operations with a second operand: the method of tensors, and the names that PyTorch has for the operand.
_BINARY = {
    "add": "add", "sub": "sub", "mul": "mul", "div": "div", "pow": "pow", "clamp_max": "clamp_max",
    "clamp_min": "clamp_min", "maximum": "clamp_min", "minimum": "clamp_max",
}  # fmt: skip
_OTHER = ("other", "scalar", "scalars", "exponent")
_WEIGHT = ("weight", "weights")
_FACTOR = ("value", "scalars")


def _listed(tensors: Any, name: str) -> Any:
    if not isinstance(tensors, (list, tuple)) or not all(isinstance(tensor, Tensor) for tensor in tensors):
        raise TypeError(f"{name}(): expected a list or tuple of Tensors, got {type(tensors).__name__}")
    if not tensors:
        raise RuntimeError("Tensor list must have at least one tensor.")
    return tensors


def _rows(name: str, tensors: Any, *operands: Any) -> Iterator[tuple[Any, ...]]:
    """Each tensor with its operands: a list gives one to each, anything else goes to all."""
    count = len(_listed(tensors, name))
    for operand in operands:
        if isinstance(operand, (list, tuple)) and len(operand) != count:
            raise RuntimeError(f"{name}(): expected one entry per tensor, got {count} tensors and {len(operand)}")
    columns = [operand if isinstance(operand, (list, tuple)) else [operand] * count for operand in operands]
    return zip(tensors, *columns, strict=True)


def _one_of(name: str, given: Any, options: dict[str, Any], keys: tuple[str, ...], default: Any = None) -> Any:
    """An operand, by place or by any of the names that its overloads have for it."""
    for key in keys:
        if key in options:
            given = options.pop(key)
    if options:
        raise TypeError(f"{name}() got an unexpected keyword argument '{next(iter(options))}'")
    if given is None and default is None:
        raise TypeError(f"{name}() is missing its operand '{keys[0]}'")
    return default if given is None else given


def _unary(name: str, work: Callable) -> Callable:
    return lambda self: [work(tensor) for tensor in _listed(self, name)]


def _binary(name: str, work: Callable) -> Callable:
    def each(self: Any, other: Any = None, *, alpha: Any = 1, **options: Any) -> list[Any]:
        other = _one_of(name, other, options, _OTHER)
        if isinstance(self, (int, float, complex)) and name == "_foreach_pow":  # one base, a list of exponents
            return [self**exponent for exponent in _listed(other, name)]
        scaled = {} if alpha == 1 else {"alpha": alpha}
        return [work(tensor, operand, **scaled) for tensor, operand in _rows(name, self, other)]

    return each


def _lerp(name: str, work: Callable) -> Callable:
    def each(self: Any, tensors1: Any, weight: Any = None, **options: Any) -> list[Any]:
        weight = _one_of(name, weight, options, _WEIGHT)
        return [work(*row) for row in _rows(name, self, _listed(tensors1, name), weight)]

    return each


def _ternary(name: str, work: Callable) -> Callable:
    def each(self: Any, tensor1: Any, tensor2: Any, value: Any = None, **options: Any) -> list[Any]:
        value = _one_of(name, value, options, _FACTOR, default=1)
        factors = value.tolist() if isinstance(value, Tensor) and value.ndim else value
        rows = _rows(name, self, _listed(tensor1, name), _listed(tensor2, name), factors)
        return [work(tensor, a, b, value=factor) for tensor, a, b, factor in rows]

    return each


def _define(name: str, method: str, family: Callable) -> None:
    """The function that returns new tensors, and the one that writes into the first list."""
    fresh = family(f"_foreach_{name}", getattr(Tensor, method))
    write = family(f"_foreach_{name}_", getattr(Tensor, method + "_"))

    def returned(self: Any, *operands: Any, **options: Any) -> tuple[Any, ...]:
        return tuple(fresh(self, *operands, **options))

    def written(self: Any, *operands: Any, **options: Any) -> Any:
        write(self, *operands, **options)
        return self

    returned.__doc__ = f"`{name}` of every tensor of a list, as a tuple of new tensors."
    written.__doc__ = f"`{name}` of every tensor of a list, written into it."
    for function, end in ((returned, ""), (written, "_")):
        function.__name__ = function.__qualname__ = f"_foreach_{name}{end}"
        globals()[function.__name__] = function


for _name in _UNARY:
    _define(_name, _name, _unary)
for _name, _method in _BINARY.items():
    _define(_name, _method, _binary)
_define("lerp", "lerp", _lerp)
_define("addcmul", "addcmul", _ternary)
_define("addcdiv", "addcdiv", _ternary)


def _foreach_zero_(self: Any) -> Any:
    """Fills every tensor of a list with 0."""
    for tensor in _listed(self, "_foreach_zero_"):
        tensor.zero_()
    return self


def _foreach_copy_(self: Any, src: Any, non_blocking: bool = False) -> Any:
    """Copies every tensor of the second list into its partner in the first."""
    for tensor, source in _rows("_foreach_copy_", self, _listed(src, "_foreach_copy_")):
        tensor.copy_(source, non_blocking)
    return self


def _foreach_clone(self: Any, *, memory_format: Any = None) -> tuple[Any, ...]:
    """A copy of every tensor of a list."""
    chosen = {} if memory_format is None else {"memory_format": memory_format}
    return tuple([tensor.clone(**chosen) for tensor in _listed(self, "_foreach_clone")])


def _foreach_norm(self: Any, ord: Any = 2, dtype: Any = None) -> tuple[Any, ...]:  # noqa: A002 - PyTorch's name
    """The vector norm of every tensor of a list, over all its elements."""
    from flambeau.linalg import vector_norm

    return tuple([vector_norm(tensor, ord, dtype=dtype) for tensor in _listed(self, "_foreach_norm")])


def _foreach_powsum(self: Any, ord: Any = 2, dtype: Any = None) -> tuple[Any, ...]:  # noqa: A002 - PyTorch's name
    """For every tensor of a list, the sum of its elements' magnitudes to the power `ord`."""
    return tuple([tensor.abs().pow(ord).sum(dtype=dtype) for tensor in _listed(self, "_foreach_powsum")])


def _foreach_max(self: Any) -> tuple[Any, ...]:
    """The largest element of every tensor of a list."""
    return tuple([tensor.max() for tensor in _listed(self, "_foreach_max")])


def _foreach_mm(self: Any, mat2: Any) -> tuple[Any, ...]:
    """The matrix product of every tensor of the first list with its partner in the second."""
    return tuple([tensor.mm(other) for tensor, other in _rows("_foreach_mm", self, _listed(mat2, "_foreach_mm"))])
