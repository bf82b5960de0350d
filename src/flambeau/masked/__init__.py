"""``torch.masked``: reductions and normalizations of the elements that a mask shows.

A mask is True where an element counts, and broadcasts to the input. What is masked out takes the value that changes
nothing: 0 in a sum, 1 in a product, -inf in a maximum. So a slice without any element gives that value.
"""

from __future__ import annotations

import math
from typing import Any

from flambeau import dtypes
from flambeau.autograd.runtime import NS
from flambeau.masked._tensors import MaskedTensor, as_masked_tensor, is_masked_tensor, masked_tensor
from flambeau.ops import arithmetic, compare, elementwise, joining, matrices, norms, reduce, shape, sorting
from flambeau.ops import softmax as softmaxes
from flambeau.ops.dims import wrap_dim

__all__ = [
    "MaskedTensor",
    "amax",
    "amin",
    "argmax",
    "argmin",
    "as_masked_tensor",
    "cumprod",
    "cumsum",
    "is_masked_tensor",
    "log_softmax",
    "logaddexp",
    "logsumexp",
    "masked_tensor",
    "mean",
    "median",
    "norm",
    "normalize",
    "prod",
    "softmax",
    "softmin",
    "std",
    "sum",
    "var",
]


def _dims(input: Any, dim: Any) -> tuple[int, ...]:
    """The dimensions, all of them for None, counted from 0; each may be named once."""
    n = input.ndim
    if dim is None:
        return tuple(range(n))
    named = (dim,) if isinstance(dim, int) else tuple(dim)
    found = tuple(sorted(wrap_dim(d, max(n, 1)) for d in named))
    if len(set(found)) != len(found):
        raise RuntimeError(f"masked: a dimension appears twice in {named}")
    return found if n else ()


def _mask(input: Any, mask: Any) -> Any:
    """The mask as bools in the input's shape; None where there is none."""
    if mask is None:
        return None
    if mask.ndim > input.ndim:
        raise IndexError(f"masked: a mask of {mask.ndim} dimensions does not fit an input of {input.ndim}")
    if tuple(mask.shape) != tuple(input.shape):
        mask = joining.broadcast_to(mask, tuple(input.shape))
    return mask if mask._a.dtype == bool else compare.ne(mask, 0)


def _filled(input: Any, mask: Any, value: Any) -> Any:
    """The input with `value` where the mask hides it."""
    mask = _mask(input, mask)
    if mask is None:
        return input
    filling = NS["WRAP"](NS["K"].full_like(input._a, value).ravel()[:1].reshape(())) if input._a.size else input
    return compare.where(mask, input, filling)


def _limits(dtype: Any) -> tuple[Any, Any]:
    """What is below and above all other values of a dtype."""
    if dtype.is_floating_point:
        return -math.inf, math.inf
    if dtype is dtypes.bool_:
        return False, True
    found = dtypes.iinfo(dtype)
    return found.min, found.max


def _as(input: Any, dtype: Any) -> Any:
    return input if dtype is None or input.dtype is dtype else input.to(dtype)


def _summed_type(input: Any, dtype: Any) -> Any:
    """Sums and products of integers are int64."""
    if dtype is not None:
        return dtype
    return input.dtype if input.dtype.is_floating_point or input.dtype.is_complex else dtypes.int64


def _float_type(name: str, input: Any, dtype: Any, refusal: Any = ValueError) -> Any:
    found = input.dtype if dtype is None else dtype
    if not (found.is_floating_point or found.is_complex):
        raise refusal(f"{name}(): the result needs a floating-point or complex dtype, got {found}: pass dtype=")
    return found


def sum(input: Any, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Any = None) -> Any:
    """The sum of the elements that the mask shows.

    >>> import flambeau as torch
    >>> torch.masked.sum(torch.tensor([1.0, 2.0, 4.0]), mask=torch.tensor([True, False, True]))
    tensor(5.)
    """
    dtype = _summed_type(input, dtype)
    return reduce.sum(_as(_filled(input, mask, 0), dtype), _dims(input, dim), bool(keepdim), dtype=dtype)


def prod(input: Any, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Any = None) -> Any:
    """The product of the elements that the mask shows."""
    result = _as(_filled(input, mask, 1), _summed_type(input, dtype))
    for d in reversed(_dims(input, dim)):
        result = reduce.prod(result, d, bool(keepdim))
    return result


def cumsum(input: Any, dim: int, *, dtype: Any = None, mask: Any = None) -> Any:
    """Running sums along `dim`; what is hidden adds nothing."""
    return reduce.cumsum(_as(_filled(input, mask, 0), dtype or input.dtype), dim, dtype=dtype or input.dtype)


def cumprod(input: Any, dim: int, *, dtype: Any = None, mask: Any = None) -> Any:
    """Running products along `dim`; what is hidden changes nothing."""
    return reduce.cumprod(_as(_filled(input, mask, 1), dtype or input.dtype), dim, dtype=dtype or input.dtype)


def amax(input: Any, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Any = None) -> Any:
    """The largest of the elements that the mask shows."""
    result = _filled(input, mask, _limits(input.dtype)[0])
    return _as(reduce.amax(result, _dims(input, dim), bool(keepdim)), dtype)


def amin(input: Any, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Any = None) -> Any:
    """The smallest of the elements that the mask shows."""
    result = _filled(input, mask, _limits(input.dtype)[1])
    return _as(reduce.amin(result, _dims(input, dim), bool(keepdim)), dtype)


def _ordered(name: str, input: Any) -> None:
    if input.dtype.is_complex or input.dtype == dtypes.bool_:
        raise RuntimeError(f"{name}(): {input.dtype} is not ordered here")


def argmax(input: Any, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Any = None) -> Any:
    """The place of the largest element that the mask shows (None: of all), in the input's dtype."""
    _ordered("argmax", input)
    return sorting.argmax(_filled(input, mask, _limits(input.dtype)[0]), dim, bool(keepdim)).to(dtype or input.dtype)


def argmin(input: Any, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Any = None) -> Any:
    """The place of the smallest element that the mask shows (None: of all), in the input's dtype."""
    _ordered("argmin", input)
    return sorting.argmin(_filled(input, mask, _limits(input.dtype)[1]), dim, bool(keepdim)).to(dtype or input.dtype)


def _count(input: Any, dim: Any, keepdim: bool, mask: Any, dtype: Any) -> Any:
    """How many elements the mask shows in each slice."""
    mask = _mask(input, mask)
    ones = NS["OPS"].ones_like(input.detach()) if mask is None else mask
    return reduce.sum(_as(ones, dtype), _dims(input, dim), bool(keepdim))


def mean(input: Any, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Any = None) -> Any:
    """The mean of the elements that the mask shows; NaN where it shows none."""
    dtype = _float_type("mean", input, dtype)
    total = sum(input, dim, keepdim=keepdim, dtype=dtype, mask=mask)
    return arithmetic.divide(total, _count(input, dim, keepdim, mask, dtype))


def median(input: Any, dim: Any = -1, *, keepdim: bool = False, dtype: Any = None, mask: Any = None) -> Any:
    """The median of the elements that the mask shows, the lower one of two; a ValueError for integers of which a slice
    has none.
    """
    d = _dims(input, dim)[0] if input.ndim else 0
    given = input if input.dtype.is_floating_point else input.to(dtypes.float32)
    values = sorting.nanmedian(_filled(given, mask, math.nan), d, bool(keepdim)).values
    if input.dtype.is_floating_point:
        return _as(values, dtype)
    if bool(compare.isnan(values).any()):
        raise ValueError("median(): a slice without any element has no median among integers: pass a float tensor")
    return _as(values, input.dtype if dtype is None else dtype)


def norm(
    input: Any, ord: Any = 2.0, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Any = None
) -> Any:
    """The vector norm of order `ord` of the elements that the mask shows."""
    dtype = _float_type("norm", input, dtype, RuntimeError)
    hidden = math.inf if ord == -math.inf else 0
    filled = _as(_filled(_as(input, dtype), mask, hidden), dtype)
    return norms.vector_norm(filled, ord, _dims(input, dim), bool(keepdim), dtype=dtype)


def _spread(
    input: Any, dim: Any, unbiased: Any, correction: Any, keepdim: bool, dtype: Any, mask: Any, root: bool
) -> Any:
    dtype = input.dtype if dtype is None else dtype
    if not (dtype.is_floating_point or dtype.is_complex):
        dtype = dtypes.float32
    if unbiased is not None and correction is not None:
        raise RuntimeError("masked: give either unbiased or correction, not both")
    less = (1 if unbiased is None else int(unbiased)) if correction is None else correction
    given = _as(input, dtype)
    count = _count(input, dim, True, mask, dtype)
    middle = arithmetic.divide(sum(given, dim, keepdim=True, mask=mask), count)
    off = arithmetic.sub(given, middle)
    squares = _filled(arithmetic.mul(off, matrices.conj(off)), mask, 0)
    total = reduce.sum(squares, _dims(input, dim), bool(keepdim))
    if not keepdim:
        count = shape.reshape(count, tuple(total.shape))
    rest = arithmetic.sub(count, less)
    if not dtype.is_complex:
        rest = arithmetic.maximum(rest, NS["OPS"].zeros_like(count))
    result = arithmetic.divide(total, rest)
    return elementwise.sqrt(result) if root else result


def var(
    input: Any,
    dim: Any = None,
    unbiased: Any = None,
    *,
    correction: Any = None,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Any = None,
) -> Any:
    """The variance of the elements that the mask shows."""
    return _spread(input, dim, unbiased, correction, keepdim, dtype, mask, False)


def std(
    input: Any,
    dim: Any = None,
    unbiased: Any = None,
    *,
    correction: Any = None,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Any = None,
) -> Any:
    """The standard deviation of the elements that the mask shows."""
    return _spread(input, dim, unbiased, correction, keepdim, dtype, mask, True)


def softmax(input: Any, dim: int, *, dtype: Any = None, mask: Any = None) -> Any:
    """`softmax` of the elements that the mask shows; 0 elsewhere."""
    given = _as(input, _float_type("softmax", input, dtype))
    return softmaxes.softmax(_filled(given, mask, -math.inf), dim)


def log_softmax(input: Any, dim: int, *, dtype: Any = None, mask: Any = None) -> Any:
    """`log_softmax` of the elements that the mask shows; -inf elsewhere."""
    given = _as(input, _float_type("log_softmax", input, dtype))
    return softmaxes.log_softmax(_filled(given, mask, -math.inf), dim)


def softmin(input: Any, dim: int, *, dtype: Any = None, mask: Any = None) -> Any:
    """`softmin` of the elements that the mask shows; 0 elsewhere."""
    given = _as(input, _float_type("softmin", input, dtype))
    return softmaxes.softmax(elementwise.neg(_filled(given, mask, math.inf)), dim)


def normalize(input: Any, ord: Any, dim: int, *, eps: float = 1e-12, dtype: Any = None, mask: Any = None) -> Any:
    """The elements that the mask shows over their norm of order `ord` (at least `eps`); 0 elsewhere."""
    given = _as(input, _float_type("normalize", input, dtype, RuntimeError))
    size = norm(given, ord, dim, keepdim=True, mask=mask)
    least = arithmetic.maximum(size, NS["OPS"].full_like(size.detach(), eps))
    return arithmetic.divide(_filled(given, mask, 0), least)


def logaddexp(input: Any, other: Any, *, dtype: Any = None, input_mask: Any = None, other_mask: Any = None) -> Any:
    """log(exp(input) + exp(other)), where what is hidden adds nothing."""
    kind = _float_type("logaddexp", input, dtype)
    one = _filled(_as(input, kind), input_mask, -math.inf)
    return arithmetic.logaddexp(one, _filled(_as(other, kind), other_mask, -math.inf))


def logsumexp(input: Any, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Any = None) -> Any:
    """The logarithm of the sum of exponentials of the elements that the mask shows."""
    given = _as(input, dtype)
    hidden = -math.inf if given.dtype.is_complex else _limits(given.dtype)[0]
    return _as(softmaxes.logsumexp(_filled(given, mask, hidden), _dims(input, dim), bool(keepdim)), given.dtype)
