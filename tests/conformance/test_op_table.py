"""Every row of the op table under PyTorch and under flambeau: values, dtypes, shapes, gradients, variants, refusals."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402
from tests.op_rows.tools import convert, flat, operands, replaced  # noqa: E402
from tests.op_table import ROWS  # noqa: E402

NAMES = {
    "d": ["float64"],
    "f": ["float32"],
    "h": ["bfloat16", "float16"],
    "l": ["int64"],
    "b": ["bool"],
    "c": ["complex128"],
}
DEVICES = (torch.device, flambeau.device)


def plain(t):
    """A tensor's values as a wide NumPy array."""
    t = t.detach()
    wide = "complex128" if t.is_complex() else "float64" if t.is_floating_point() else "int64"
    lib = torch if isinstance(t, torch.Tensor) else flambeau
    return np.asarray(t.to(getattr(lib, wide)).resolve_conj().clone().numpy())


def tolerances(row, dtype):
    """Relative and absolute tolerance in a dtype."""
    rtol = {"float64": row.rtol, "complex128": row.rtol, "float32": max(2e-5, row.rtol * 1e4)}
    rtol |= {"complex64": rtol["float32"], "bfloat16": 2e-2, "float16": 2e-3}
    r = rtol.get(dtype, 0.0)
    return r, r / 10 if dtype in ("bfloat16", "float16") else r


def same(row, ours, theirs, what):
    """Two values agree; tensors also in dtype and shape."""
    if not isinstance(theirs, torch.Tensor):
        assert type(ours).__name__ == type(theirs).__name__ and (ours == theirs or isinstance(theirs, DEVICES)), what
        return
    assert isinstance(ours, flambeau.Tensor), f"{what}: a {type(ours).__name__}"
    name = str(theirs.dtype).removeprefix("torch.")
    assert str(ours.dtype).removeprefix("torch.") == name, f"{what}: dtype {ours.dtype}, PyTorch's is {theirs.dtype}"
    assert tuple(ours.shape) == tuple(theirs.shape), f"{what}: shape {ours.shape}, PyTorch's is {theirs.shape}"
    if not row.places and not (theirs.is_floating_point() or theirs.is_complex()):
        return
    rtol, atol = tolerances(row, name)
    np.testing.assert_allclose(plain(ours), plain(theirs), rtol, atol, err_msg=what)


def build(sample, lib, dtype, grad):
    """The arguments of a call, and the operands that derivatives are taken of."""
    leaves = [convert(a, lib, dtype) for a in operands(sample)]
    if grad:
        for t in leaves:
            t.requires_grad_()
    source = iter(leaves)
    args = replaced(sample.args, source, lib, dtype)
    return args, replaced(sample.kwargs, source, lib, dtype), leaves


def outcome(function, args, kwargs):
    """The result, or the exception."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return function(*args, **kwargs)
        except Exception as error:
            return error


def both(row, sample, dtype, grad, variant=None):
    """The outcomes under PyTorch and under flambeau, with the operands; None where PyTorch has no such variant."""
    found = []
    for lib in (torch, flambeau):
        args, kwargs, leaves = build(sample, lib, dtype, grad)
        function = variant(lib, args, kwargs) if variant else row.function(lib)
        found.append((outcome(function, args, kwargs), leaves))
    return found


def compare(row, found, what):
    """Two outcomes agree: the same class of exception, or the same values. Whether there are values."""
    (theirs, _), (ours, _) = found
    if isinstance(theirs, NotImplementedError):
        return False  # PyTorch lacks this dtype; flambeau may have it
    if isinstance(theirs, Exception):
        assert type(ours).__name__.lstrip("_") == type(theirs).__name__.lstrip("_"), (
            f"{what}: {ours!r}, but PyTorch refuses with {theirs!r}"
        )
        return False
    if isinstance(ours, Exception):
        raise AssertionError(f"{what}: {ours!r}, but PyTorch accepts it") from ours
    a, b = flat(ours), flat(theirs)
    assert len(a) == len(b), f"{what}: {len(a)} results, PyTorch has {len(b)}"
    for i, (x, y) in enumerate(zip(a, b, strict=True)):
        same(row, x, y, f"{what}, result {i}")
    if isinstance(theirs, tuple) and hasattr(theirs, "_fields" if hasattr(theirs, "_fields") else "n_fields"):
        assert type(ours).__name__ == type(theirs).__name__.rsplit(".", 1)[-1], f"{what}: a {type(ours).__name__}"
    return True


def gradients(row, found, what, names=True):
    """First derivatives against a random gradient of every result."""
    rng = np.random.default_rng(7)
    lists = []
    noise = None
    for (result, leaves), lib in zip(found, (torch, flambeau), strict=True):
        outs = [t for t in flat(result) if isinstance(t, lib.Tensor) and t.requires_grad]
        if noise is None:
            noise = [np.asarray(rng.uniform(-1, 1, tuple(t.shape))) for t in outs]
            nodes = [t.grad_fn.name() if t.grad_fn is not None else "" for t in outs]
        else:
            assert len(outs) == len(noise), f"{what}: {len(outs)} results require grad, PyTorch has {len(noise)}"
            mine = [t.grad_fn.name() if t.grad_fn is not None else "" for t in outs]
            assert mine == nodes or not (names and row.grad_fn), f"{what}: the node is {mine}, PyTorch's {nodes}"
        if not outs:
            return
        gs = [lib.from_numpy(n).to(t.dtype) for n, t in zip(noise, outs, strict=True)]
        found_grads = outcome(lib.autograd.grad, (outs, leaves, gs), {"allow_unused": True})
        if isinstance(found_grads, Exception):
            if lib is torch:
                return  # PyTorch's own rule fails (a source larger than its index, say)
            raise AssertionError(f"{what}: backward failed") from found_grads
        lists.append(found_grads)
    for i, (theirs, ours) in enumerate(zip(*lists, strict=True)):
        if theirs is None or ours is None:
            present = ours if theirs is None else theirs
            assert present is None or not np.any(plain(present)), f"{what}: gradient {i} is {ours}, PyTorch's {theirs}"
            continue
        same(row, ours, theirs, f"{what}, gradient {i}")


CASES = [(row, dtype) for row in ROWS for letter in row.dtypes for dtype in NAMES[letter]]


@pytest.mark.parametrize(("row", "dtype"), CASES, ids=[f"{r.name}-{d}" for r, d in CASES])
def test_values_and_gradients(row, dtype):
    grad = dtype in ("float64", "float32", "complex128") and row.orders > 0
    worked = 0
    for i, sample in enumerate(row.calls()):
        what = f"{row.name} in {dtype}, sample {i}"
        found = both(row, sample, dtype, grad)
        if compare(row, found, what):
            worked += 1
            if grad:
                gradients(row, found, what)
    assert worked or dtype != "float64", "PyTorch refused every sample"


def _method(name):
    def variant(lib, args, kwargs):
        return lambda first, *rest, **named: getattr(first, name)(*rest, **named)

    return variant


METHODS = [r for r in ROWS if r.method and r.do is None and "." not in r.name and hasattr(torch.Tensor, r.name)]


@pytest.mark.parametrize("row", METHODS, ids=lambda row: row.name)
def test_methods(row):
    for i, sample in enumerate(row.calls()):
        if sample.args and isinstance(sample.args[0], np.ndarray):
            compare(row, both(row, sample, "float32", False, _method(row.name)), f"Tensor.{row.name}, sample {i}")


WRITING = [r for r in METHODS if hasattr(torch.Tensor, r.name + "_")]


@pytest.mark.parametrize("row", WRITING, ids=lambda row: row.name)
def test_in_place(row):
    for i, sample in enumerate(row.calls()):
        if not (sample.args and isinstance(sample.args[0], np.ndarray)):
            continue
        found = both(row, sample, "float32", False, _method(row.name + "_"))
        compare(row, found, f"Tensor.{row.name}_, sample {i}")
        if found[0][1] and found[1][1]:
            same(row, found[1][1][0], found[0][1][0], f"Tensor.{row.name}_, what was written, sample {i}")


def _in_place_of_a_copy(name):
    """The method on a copy of the first operand, so that operands that require grad can be used."""

    def variant(lib, args, kwargs):
        def run(first, *rest, **named):
            copy = first.clone()
            return getattr(copy, name)(*rest, **named)

        return run

    return variant


@pytest.mark.parametrize("row", [r for r in WRITING if r.orders], ids=lambda row: row.name)
def test_gradients_in_place(row):
    for i, sample in enumerate(row.calls()):
        if not (sample.args and isinstance(sample.args[0], np.ndarray)):
            continue
        what = f"Tensor.{row.name}_, sample {i}"
        found = both(row, sample, "float64", True, _in_place_of_a_copy(row.name + "_"))
        if compare(row, found, what):
            gradients(row, found, what, False)


PLAIN = [r for r in ROWS if r.do is None]


@pytest.mark.parametrize("row", PLAIN, ids=lambda row: row.name)
def test_out(row):
    """`out=`, where PyTorch has it: the same tensors come back, written."""
    sample = next(iter(row.calls()))
    found = []
    for lib in (torch, flambeau):
        args, kwargs, _ = build(sample, lib, "float32", False)
        function = row.function(lib)
        expected = outcome(function, args, kwargs)
        if isinstance(expected, Exception) or not all(isinstance(t, lib.Tensor) for t in flat(expected)):
            return
        outs = tuple(lib.zeros(tuple(t.shape), dtype=t.dtype) for t in flat(expected))
        out = outs[0] if isinstance(expected, lib.Tensor) else outs
        result = outcome(function, args, {**kwargs, "out": out})
        if lib is torch and (isinstance(result, Exception) or result is None):
            return
        assert not isinstance(result, Exception), f"{row.name}(out=...): {result!r}"
        assert all(a is b for a, b in zip(flat(result), outs, strict=True)) or lib is torch, "another tensor came back"
        found.append(outs)
    for theirs, ours in zip(*found, strict=True):
        same(row, ours, theirs, f"{row.name}(out=...)")
