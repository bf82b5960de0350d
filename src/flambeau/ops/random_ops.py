"""Random tensors: PyTorch's functions, equal to PyTorch's for the same seed.

The methods that fill in place are in `fillers`.
"""

# ruff: noqa: F821  (Tensor in a signature marks an operand)
# mypy: disable-error-code="name-defined"

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import dtypes, random
from flambeau.autograd.graph import show_as
from flambeau.autograd.runtime import NS
from flambeau.engines.arrays import place_of
from flambeau.engines.numpy import draws
from flambeau.errors import describe, need_tensor
from flambeau.ops import memory_formats
from flambeau.ops.core import op
from flambeau.ops.dims import given_size
from flambeau.ops.dispatch import checks_values, give, wrap
from flambeau.ops.fillers import (
    arranged,
    check_normal,
    check_probabilities,
    drawing,
    generator_of,
    integer_draw,
    memory_order,
    real_parts,
)
from flambeau.ops.whole import recorded_whole

__all__ = [
    "Generator",
    "bernoulli",
    "binomial",
    "default_generator",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "multinomial",
    "normal",
    "poisson",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
    "seed",
    "set_rng_state",
]

Generator = random.Generator
default_generator = random.default_generator
manual_seed = random.manual_seed
seed = random.seed
initial_seed = random.initial_seed
get_rng_state = random.get_rng_state
set_rng_state = random.set_rng_state
random._Hooks.to_tensor = staticmethod(wrap)


# --- arguments ----------------------------------------------------------------------------------------------------


def _continuous(name: str, dtype: Any, out: Any, default: Any = None) -> np.dtype:
    """The NumPy type of a factory of floating-point or complex numbers."""
    found = out.dtype if out is not None and dtype is None else dtypes.chosen(dtype, default)
    if found.kind not in "fc" or found.itemsize == 1:
        raise NotImplementedError(f"{name}() is not implemented for {found}; choose a floating-point or complex dtype")
    return found.numpy


def _uniform_array(shape: tuple[int, ...], storage: np.dtype, source: random.Generator) -> np.ndarray:
    if storage.kind == "c":
        out = np.empty(shape, storage)
        real_parts(out)[...] = _uniform_array((*shape, 2), real_parts(out).dtype, source)
        return out
    return draws.uniform(source, _count(shape), storage).reshape(shape)


def _normal_array(
    shape: tuple[int, ...], storage: np.dtype, source: Any, mean: float = 0.0, std: float = 1.0
) -> np.ndarray:
    if storage.kind == "c":
        out = np.empty(shape, storage)
        real_parts(out)[...] = _normal_array((*shape, 2), real_parts(out).dtype, source, mean, std / 2**0.5)
        return out
    return draws.normal(source, _count(shape), storage, mean, std).reshape(shape)


def _count(shape: tuple[int, ...]) -> int:
    n = 1
    for length in shape:
        n *= length
    return n


# --- factories ----------------------------------------------------------------------------------------------------


@recorded_whole
@drawing
def rand(
    *sizes: Any,
    size: Any = None,
    generator: Any = None,
    out: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    names: Any = None,
) -> Any:
    """A tensor of numbers uniform in [0, 1).

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.rand(2)
    tensor([0.4963, 0.7682])
    """
    shape, storage = given_size("rand", sizes, size), _continuous("rand", dtype, out)
    return give("rand", _uniform_array(shape, storage, generator_of(generator)), out, device, requires_grad)


@recorded_whole
@drawing
def randn(
    *sizes: Any,
    size: Any = None,
    generator: Any = None,
    out: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    names: Any = None,
) -> Any:
    """A tensor of standard normal numbers; complex ones have variance 1 over both parts."""
    shape, storage = given_size("randn", sizes, size), _continuous("randn", dtype, out)
    return give("randn", _normal_array(shape, storage, generator_of(generator)), out, device, requires_grad)


@recorded_whole
@drawing
def randint(
    *bounds: Any,
    low: Any = None,
    high: Any = None,
    size: Any = None,
    generator: Any = None,
    out: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Any:
    """`randint(low=0, high, size)`: a tensor of integers uniform in [low, high), int64 unless `dtype` says otherwise.

    RuntimeError where low >= high or the dtype can't hold them.
    """
    low, high, size = _randint_arguments("randint", bounds, low, high, size)
    shape = given_size("randint", (size,))
    storage = (out.dtype if out is not None and dtype is None else dtypes.chosen(dtype, dtypes.int64)).numpy
    draw = integer_draw(storage, low, high, generator_of(generator))
    array = draw(np.empty(_count(shape), storage)).reshape(shape)
    return give("randint", array, out, device, requires_grad)


def _randint_arguments(name: str, given: tuple, low: Any, high: Any, size: Any) -> tuple[Any, Any, Any]:
    """Sort out `(high, size)` and `(low, high, size)`, any of them by name."""
    rest = list(given)
    if rest and size is None and isinstance(rest[-1], (tuple, list)):
        size = rest.pop()
    if rest and high is None:
        high = rest.pop()
    if rest and low is None:
        low = rest.pop()
    if rest or high is None or size is None:
        raise TypeError(
            f"{name}() takes (high, size) or (low, high, size), but got {tuple(type(v).__name__ for v in given)}"
        )
    for label, value in (("low", low), ("high", high)):
        if value is not None and (isinstance(value, float) or not hasattr(value, "__index__")):
            raise TypeError(f"{name}(): {label} must be an int, got {type(value).__name__}")
    return 0 if low is None else low.__index__(), high.__index__(), size


@recorded_whole
@drawing
def randperm(
    n: int,
    *,
    generator: Any = None,
    out: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Any:
    """The integers below `n` in random order.

    RuntimeError for a negative `n`, and one whose numbers the dtype can't hold.
    """
    if isinstance(n, float) or not hasattr(n, "__index__"):
        raise TypeError(f"randperm(): n must be an int, got {type(n).__name__}")
    n = n.__index__()
    if n < 0:
        raise RuntimeError(f"randperm(): n must not be negative, got {n}")
    found = out.dtype if out is not None and dtype is None else dtypes.chosen(dtype, dtypes.int64)
    if found.kind not in "uif":
        raise NotImplementedError(f"randperm() is not implemented for {found}")
    largest = 2 ** draws.DIGITS[found.name] if found.kind == "f" else int(np.iinfo(found.numpy).max)
    if n > largest + 1:
        raise RuntimeError(
            f"randperm(): {found} holds integers up to {largest}, so n can be at most {largest + 1}, got {n}"
        )
    array = draws.permutation(generator_of(generator), n).astype(found.numpy, copy=False)
    return give("randperm", array, out, device, requires_grad)


def _like(name: str, input: Any, dtype: Any, memory_format: Any) -> tuple[np.ndarray, dtypes.dtype]:
    """The array whose shape and layout a `*_like` function follows, and the dtype to make."""
    need_tensor(name, input)
    array = place_of(input._a)
    if memory_format is not None and getattr(memory_format, "name", "") != "preserve_format":
        array = memory_formats.room(array.shape, np.bool_, memory_formats.order_of(memory_format, array.ndim, name))
    return array, dtypes.chosen(dtype, input.dtype)


@recorded_whole
@drawing
def rand_like(
    input: Any,
    *,
    generator: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    memory_format: Any = None,
) -> Any:
    """Uniform numbers in [0, 1) in the shape, dtype and memory layout of `input`."""
    like, found = _like("rand_like", input, dtype, memory_format)
    storage = _continuous("rand_like", found, None)
    order = _order(like)
    array = _uniform_array(tuple(like.shape[i] for i in order), storage, generator_of(generator)).transpose(
        np.argsort(order)
    )
    return give("rand_like", array, None, device or input.device, requires_grad)


@recorded_whole
@drawing
def randn_like(
    input: Any,
    *,
    generator: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    memory_format: Any = None,
) -> Any:
    """Standard normal numbers in the shape, dtype and memory layout of `input`."""
    like, found = _like("randn_like", input, dtype, memory_format)
    storage, source = _continuous("randn_like", found, None), generator_of(generator)
    order = _order(like)
    if order == tuple(range(like.ndim)) or storage.kind == "c":
        array = _normal_array(like.shape, storage, source)
    else:  # PyTorch draws by blocks of 16 into contiguous memory only
        array = arranged(draws.normal(source, like.size, storage, blocks=False), like)
    return give("randn_like", array, None, device or input.device, requires_grad)


def _order(like: np.ndarray) -> tuple[int, ...]:
    return tuple(range(like.ndim)) if like.flags.c_contiguous else memory_order(like)


@recorded_whole
@drawing
def randint_like(
    input: Any,
    *bounds: Any,
    low: Any = None,
    high: Any = None,
    generator: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    memory_format: Any = None,
) -> Any:
    """`randint_like(input, low=0, high)`: integers in [low, high) in the shape, dtype and memory layout of `input`."""
    like, found = _like("randint_like", input, dtype, memory_format)
    low, high, _ = _randint_arguments("randint_like", bounds, low, high, ())
    draw = integer_draw(found.numpy, low, high, generator_of(generator))
    array = arranged(draw(np.empty(like.size, found.numpy)), like)
    return give("randint_like", array, None, device or input.device, requires_grad)


# --- distributions whose parameters are tensors ---------------------------------------------------------------------


@op(name="bernoulli", any_dtype=True, upcast=False)
def _bernoulli(k, input: Tensor, p, generator):
    """A draw of 0 or 1 per element; independent of the input as far as gradients go."""
    each = input.reshape(-1)
    flat = draws.bernoulli_each(generator, each) if p is None else draws.bernoulli(generator, each.size, p)
    return flat.astype(input.dtype).reshape(input.shape)


@_bernoulli.derivative("input")
def _(k, g):
    return k.zeros_like(g)


@drawing
def bernoulli(input: Any, p: Any = None, *, generator: Any = None, out: Any = None) -> Any:
    """For each probability in `input`, 1 with that probability, else 0, in the same dtype.

    With a number `p`, every element has that one probability. RuntimeError for a probability outside [0, 1].

    >>> import flambeau as torch
    >>> torch.bernoulli(torch.tensor([0.0, 1.0]))
    tensor([0., 1.])
    """
    need_tensor("bernoulli", input)
    if p is None:
        check_probabilities("bernoulli", input._a)
    elif not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli(): p must lie between 0 and 1, got {p}")
    return _bernoulli(input, None if p is None else float(p), generator_of(generator), out=out)


@op(name="poisson", any_dtype=True, upcast=False)
def _poisson(k, input: Tensor, generator):
    """A Poisson number per rate."""
    return draws.poisson(generator, input.reshape(-1)).astype(input.dtype).reshape(input.shape)


@_poisson.derivative("input")
def _(k, g):
    return k.zeros_like(g)


@checks_values
def _not_negative(what: str, values: np.ndarray) -> None:
    if not np.all(values >= 0):
        raise RuntimeError(f"{what} must not be negative")


@checks_values
def _check_weights(rows: np.ndarray) -> None:
    if not np.all(np.isfinite(rows) & (rows >= 0)):
        raise RuntimeError("multinomial(): the weights contain inf, nan or a negative number")
    if not np.all(np.any(rows > 0, axis=1)):
        raise RuntimeError("multinomial(): the weights of a row are all 0")


@drawing
def poisson(input: Any, generator: Any = None) -> Any:
    """A Poisson number for each rate in `input`, in the same dtype. RuntimeError for a negative rate."""
    need_tensor("poisson", input)
    _continuous("poisson", input.dtype, None)
    _not_negative("poisson(): rates", input._a)
    return _poisson(input, generator_of(generator))


@op(name="binomial", any_dtype=True, upcast=False)
def _binomial(k, count: Tensor, prob: Tensor, generator):
    """A binomial number per count and probability."""
    n, p = np.broadcast_arrays(count, prob)
    return draws.binomial(generator, n.reshape(-1), p.reshape(-1)).astype(count.dtype).reshape(n.shape)


@_binomial.derivative("count", "prob")
def _(k, g, count_shape, prob_shape):
    zero = k.mul(g, 0.0)
    return k.sum_to_shape(zero, count_shape), k.sum_to_shape(zero, prob_shape)


@drawing
def binomial(count: Any, prob: Any, generator: Any = None) -> Any:
    """How many of `count` trials succeed with probability `prob`, element by element.

    Both of one floating-point dtype.
    """
    need_tensor("binomial", count, "count")
    need_tensor("binomial", prob, "prob")
    if count.dtype is not prob.dtype:
        raise RuntimeError(f"binomial(): expected one dtype, but got {describe(count)} and {describe(prob)}")
    _continuous("binomial", count.dtype, None)
    return _binomial(count, prob, generator_of(generator))


@drawing
def multinomial(
    input: Any, num_samples: int, replacement: bool = False, *, generator: Any = None, out: Any = None
) -> Any:
    """`num_samples` indices drawn with the weights in each row of `input` (1- or 2-dim, floating point), as int64.

    The weights need not sum to 1. RuntimeError for negative, infinite or all-zero weights, and for more samples than
    there are categories without replacement.

    >>> import flambeau as torch
    >>> torch.multinomial(torch.tensor([0.0, 1.0, 0.0]), 3, replacement=True)
    tensor([1, 1, 1])
    """
    need_tensor("multinomial", input)
    weights = input._a
    if not 0 < weights.ndim <= 2:
        raise RuntimeError(f"multinomial(): the weights must have 1 or 2 dimensions, but are {describe(input)}")
    if not input.is_floating_point():
        raise RuntimeError(f"multinomial(): weights must be floating-point, got {input.dtype}")
    if out is not None and out._a.dtype != np.int64:
        raise RuntimeError(f"multinomial(): out must be int64, the dtype of indices, got {out.dtype}")
    if num_samples <= 0:
        raise RuntimeError(f"multinomial(): num_samples must be positive, got {num_samples}")
    if not replacement and num_samples > weights.shape[-1]:
        raise RuntimeError(
            f"multinomial(): {num_samples} different samples can't come from {weights.shape[-1]} categories; pass "
            "replacement=True or ask for fewer"
        )
    if weights.shape[-1] > 2**24:
        raise RuntimeError(f"multinomial(): at most 2**24 categories, got {weights.shape[-1]}")
    rows = weights.reshape(-1, weights.shape[-1])
    if rows.size:
        _check_weights(rows)
        found = draws.multinomial(generator_of(generator), rows, num_samples, replacement)
    else:
        found = np.empty((rows.shape[0], num_samples), np.int64)
    return give("multinomial", found[0] if weights.ndim == 1 else found, out, None, False)


@op(name="normal", any_dtype=True, upcast=False, grad_name="NormalBackward3")
def _normal(k, mean: Tensor, std: Tensor, sample):
    """mean + std * sample; the parameters get no gradient, as the draw is not reparametrised."""
    return sample


@_normal.derivative("mean", "std")
def _(k, g, mean_shape, std_shape, needs):
    zero = k.mul(g, 0.0)
    return (
        k.sum_to_shape(zero, mean_shape) if needs[0] else None,
        k.sum_to_shape(zero, std_shape) if needs[1] else None,
    )


@recorded_whole
@drawing
def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Any = None,
    out: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Any:
    """Normal numbers. `mean` and `std` are tensors (broadcast together) or numbers; if both are numbers, `size` is
    needed.

    RuntimeError for a negative standard deviation.

    >>> import flambeau as torch
    >>> torch.normal(torch.tensor([1.0, 2.0]), 0.0)
    tensor([1., 2.])
    """
    tensor_class = NS["Tensor"]
    source = generator_of(generator)
    if not isinstance(mean, tensor_class) and not isinstance(std, tensor_class):
        if size is None:
            raise TypeError("normal() with two numbers needs a size, as in normal(0.0, 1.0, (2, 3))")
        check_normal(std)
        shape, storage = given_size("normal", (size,)), _continuous("normal", dtype, out)
        return give(
            "normal", _normal_array(shape, storage, source, float(mean), float(std)), out, device, requires_grad
        )
    if size is not None:
        raise TypeError("normal() takes a size only if mean and std are both numbers")
    tensors = [t for t in (mean, std) if isinstance(t, tensor_class)]
    values = _normal_of_tensors(mean, std, source, tensors[0]._a.dtype)
    if out is not None:
        NS["WRITE_OUT"]("normal", out, wrap(values))
        return out
    sides = [t if isinstance(t, tensor_class) else wrap(np.zeros((), values.dtype)) for t in (mean, std)]
    kind = 1 if not isinstance(std, tensor_class) else 3 if isinstance(mean, tensor_class) else 2
    return show_as(_normal(*sides, values), f"NormalBackward{kind}")


def _normal_of_tensors(mean: Any, std: Any, source: random.Generator, storage: np.dtype) -> np.ndarray:
    tensor_class = NS["Tensor"]
    if isinstance(std, tensor_class):
        if std._a.dtype.kind == "c":
            raise RuntimeError("normal(): std must be real")
        _not_negative("normal(): std", std._a)
    else:
        check_normal(std)
    shapes = [t._a.shape for t in (mean, std) if isinstance(t, tensor_class)]
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        raise RuntimeError(
            f"normal(): mean {describe(mean)} and std {describe(std)} can't be broadcast together"
        ) from None
    if storage.kind not in "fcV":
        raise NotImplementedError(
            f"normal() is not implemented for {dtypes.of_numpy(storage)}; use a floating-point dtype"
        )
    low = storage in dtypes.UPCAST
    if not isinstance(std, tensor_class):
        values = _normal_array(shape, storage, source, 0.0, float(std))
    else:
        values = _normal_array(shape, storage, source)
        values = (
            (values.astype(np.float32) * std._a.astype(np.float32)).astype(storage)
            if low
            else values * std._a.astype(storage)
        )
    offset = mean._a if isinstance(mean, tensor_class) else np.asarray(mean)
    if low:
        return (values.astype(np.float32) + offset.astype(np.float32)).astype(storage)
    return values + offset.astype(storage)
