"""The whole op table under forward mode and `vmap`: forward equals reverse, a batch equals its examples."""

import contextlib
import warnings
import zlib

import numpy as np
import pytest

import flambeau
from flambeau.func import grad, jvp, vjp, vmap
from tests.op_rows.tools import D, Fixed, convert, flat, operands, replaced
from tests.op_table import ROWS

# What a batch can't do, since results would differ in size from example to example, or a choice is made by values.
NOT_BATCHED = (
    "linalg.cholesky refused", "nn.functional.ctc_loss", "unique", "unique_consecutive", "nonzero", "argwhere",
    "bincount", "masked_select", "nn.functional.embedding_bag max", "repeat_interleave", "nn.functional.one_hot",
    "index_put",
)  # fmt: skip
# as_strided counts from the start of the memory, which is the batch's; det of a singular matrix has no recorded rule.
APART = ("as_strided", "as_strided_copy", "linalg.det singular")


def floats(result):
    """The floating-point tensors of a result."""
    return tuple(
        t for t in flat(result) if isinstance(t, flambeau.Tensor) and (t.is_floating_point() or t.is_complex())
    )


def like(t, rng):
    """Random numbers in the shape and dtype of a tensor."""
    values = rng.standard_normal(t.shape)
    if t.is_complex():
        values = values + 1j * rng.standard_normal(t.shape)
    return flambeau.from_numpy(np.asarray(values, dtype=t.numpy().dtype))


def inner(left, right):
    """The real inner product of two lists of tensors."""
    return sum(float(np.sum(np.conj(a.numpy()) * b.numpy()).real) for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize("row", [row for row in ROWS if row.orders], ids=lambda row: row.name)
def test_forward_mode_is_the_transpose_of_reverse_mode(row):
    rng = np.random.default_rng(zlib.crc32(row.name.encode()))
    tried = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for sample in row.calls():
            inputs = tuple(convert(a, flambeau) for a in operands(sample))
            if not inputs or any(t.numel() == 0 for t in inputs):
                continue
            function = row.function(flambeau)

            def run(*tensors, function=function, sample=sample):
                source = iter(tensors)
                args = replaced(sample.args, source, flambeau)
                return floats(function(*args, **replaced(sample.kwargs, source, flambeau)))

            if not run(*inputs):
                continue
            tangents = tuple(like(t, rng) for t in inputs)
            flambeau.manual_seed(0)
            out, moved = jvp(run, inputs, tangents)
            flambeau.manual_seed(0)
            again, back = vjp(run, *inputs)
            cotangents = tuple(like(t, rng) for t in again)
            for o, a, m in zip(out, again, moved, strict=True):
                assert o.shape == a.shape == m.shape and o.dtype is a.dtype is m.dtype
                assert np.allclose(o.numpy(), a.numpy(), equal_nan=True)
            got, want = inner(cotangents, moved), inner(back(cotangents), tangents)
            assert np.isclose(got, want, rtol=1e-6, atol=1e-8) or (np.isnan(got) and np.isnan(want)), (got, want)
            tried += 1
    assert tried or row.name == "empty operands"


class Leaf(int):
    """The number of an operand, in its place in a sample."""


def walked(value, function):
    """A sample with `function(array, floating)` for its arrays."""
    if isinstance(value, Fixed):
        return function(value.array)
    if isinstance(value, np.ndarray):
        return function(value)
    if type(value) in (list, tuple):
        return type(value)(walked(v, function) for v in value)
    if isinstance(value, dict):
        return {k: walked(v, function) for k, v in value.items()}
    return convert(value, flambeau) if isinstance(value, D) else value


def put(value, tensors):
    """A sample with tensors in the places of their numbers."""
    if isinstance(value, Leaf):
        return tensors[value]
    if type(value) in (list, tuple):
        return type(value)(put(v, tensors) for v in value)
    if isinstance(value, dict):
        return {k: put(v, tensors) for k, v in value.items()}
    return value


def batch_of(array, mode, first):
    """A batch of three made of one operand, or None where the mode leaves it alone."""
    floating = array.dtype.kind in "fc"
    if floating and (mode != "first" or first):
        return np.stack([array, array * 0.97, array * 1.01])
    if mode != "integers" or floating:
        return None
    if array.dtype == bool or array.ndim == 0:
        return np.stack([array] * 3)
    return np.stack([array, np.ascontiguousarray(array[::-1]), array])


def batches(row):
    """(function of tensors, the tensors, their batch dimensions) for the samples of a row, in three ways each."""
    function = row.function(flambeau)
    for sample in row.calls():
        for mode in ("all", "first", "integers"):
            tensors, dims = [], []

            def collect(array, mode=mode, tensors=tensors, dims=dims):
                stacked = batch_of(array, mode, 0 not in dims)
                tensors.append(flambeau.from_numpy(np.array(array if stacked is None else stacked)))
                dims.append(None if stacked is None else 0)
                return Leaf(len(dims) - 1)

            args, kwargs = walked(sample.args, collect), walked(sample.kwargs, collect)
            whole = any(t.numpy().dtype.kind in "iub" for t in tensors)
            if 0 not in dims or (mode == "integers" and not whole):
                continue

            def run(*values, args=args, kwargs=kwargs):
                return tuple(
                    t for t in flat(function(*put(args, values), **put(kwargs, values))) if hasattr(t, "numpy")
                )

            yield run, tensors, tuple(dims)


class Refused(Exception):
    """A function said that it can't be batched, which is no wrong answer."""


def check_batch(function, tensors, dims):
    """A batch against its examples; whether there was anything to compare."""
    try:
        rows = [function(*[t[i] if d == 0 else t for t, d in zip(tensors, dims, strict=True)]) for i in range(3)]
    except (RuntimeError, IndexError, ValueError):
        return False  # the changed operands are none for this function
    try:
        got = vmap(function, in_dims=dims)(*tensors)
    except RuntimeError as error:
        if not str(error).startswith("vmap: "):
            raise
        raise Refused from error
    for j, found in enumerate(got):
        want = np.stack([row[j].numpy() for row in rows])
        assert found.shape == want.shape and found.numpy().dtype == want.dtype
        assert np.allclose(found.numpy(), want, equal_nan=True, rtol=1e-7, atol=1e-9)
    return bool(got)


BATCHED = [row for row in ROWS if row.name not in NOT_BATCHED + APART]


@pytest.mark.parametrize("part", range(12))
def test_a_batch_is_its_examples(part):
    rows, refused = BATCHED[part::12], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for row in rows:
            try:
                for case in batches(row):
                    check_batch(*case)
            except Refused:
                refused.append(row.name)
            except Exception as error:
                raise AssertionError(f"{row.name} as a batch: {error}") from error
    assert len(refused) <= 0.1 * len(rows), refused


@pytest.mark.slow
@pytest.mark.parametrize("row", [row for row in BATCHED if row.orders], ids=lambda row: row.name)
def test_gradients_of_a_batch_are_its_examples(row):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for run, tensors, dims in batches(row):
            wanted = tuple(i for i, t in enumerate(tensors) if t.is_floating_point())

            def size(*values, run=run):
                return sum(((t * t).abs().sum() for t in floats(run(*values))), flambeau.zeros(()))

            if wanted:
                with contextlib.suppress(Refused):
                    check_batch(grad(size, argnums=wanted), tensors, dims)


@pytest.mark.parametrize("name", NOT_BATCHED)
def test_what_depends_on_values_is_refused(name):
    row = next(row for row in ROWS if row.name == name)
    refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in batches(row):
            try:
                check_batch(*case)
            except Refused:
                refused += 1
    assert refused
