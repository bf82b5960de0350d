"""The op table on device `xla`: values, first and second derivatives are NumPy's, to the dtype's tolerance."""

import warnings

import numpy as np
import pytest

import flambeau
from tests.op_rows.tools import Call, convert, flat, operands, replaced
from tests.op_table import ROWS

XLA = flambeau.device("xla")
MOST_ELEMENTS = 4000


def there(value):
    """The value with all tensors on the device."""
    if isinstance(value, flambeau.Tensor):
        return value.to(XLA)
    if type(value) in (list, tuple):
        return type(value)(there(v) for v in value)
    if isinstance(value, dict):
        return {k: there(v) for k, v in value.items()}
    return value


def run(row, sample: Call, dtype, move):
    """Results, gradients and second gradients of one sample as NumPy arrays, and the inputs' devices."""
    function = row.function(flambeau)
    inputs = [move(convert(a, flambeau, dtype)) for a in operands(sample)]
    if row.orders:
        inputs = [t.requires_grad_() for t in inputs]
    source = iter(inputs)
    args = move(replaced(sample.args, source, flambeau, dtype))
    kwargs = move(replaced(sample.kwargs, source, flambeau, dtype))
    try:
        returned = function(*args, **kwargs)
    except Exception as error:  # a row of what is refused: both sides must
        return type(error)
    results = [t for t in flat(returned) if isinstance(t, flambeau.Tensor)]
    found = [list(results)]
    recorded = [t for t in results if t.requires_grad]
    if row.orders and recorded and inputs:
        total = sum((t * t.conj()).real.sum() if t.is_complex() else (t * t).sum() for t in recorded)
        first = flambeau.autograd.grad(total, inputs, create_graph=row.orders > 1, allow_unused=True, retain_graph=True)
        found.append([t for t in first if t is not None])
        second = [t for t in first if t is not None and t.requires_grad]
        if row.orders > 1 and second:
            total = sum((t * t.conj()).real.sum() if t.is_complex() else (t * t).sum() for t in second)
            grads = flambeau.autograd.grad(total, inputs, allow_unused=True, retain_graph=True)
            found.append([t for t in grads if t is not None])
        plain = sum((t * t.conj()).real.sum() if t.is_complex() else (t * t).sum() for t in recorded)
        plain.backward()
        found.append([t.grad for t in inputs if t.grad is not None])
    return found


def compare(row, sample, dtype):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flambeau.manual_seed(7)
        wanted = run(row, sample, dtype, lambda value: value)
        flambeau.manual_seed(7)
        with XLA:  # what a row makes besides its operands is made there too
            got = run(row, sample, dtype, there)
    if isinstance(wanted, type):
        assert got is wanted
        return
    rtol = row.rtol if dtype == "float64" else max(2e-5, 1e4 * row.rtol)
    rtol = max(rtol, 1e-7) if dtype == "float64" else rtol * 5
    for order, (ours, theirs) in enumerate(zip(got, wanted, strict=True)):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype is b.dtype and a.shape == b.shape, f"order {order}: {a.dtype} {a.shape}, {b.dtype} {b.shape}"
            a, b = a.detach().cpu(), b.detach()
            if not a.is_floating_point() and not a.is_complex():
                assert np.array_equal(a.numpy(), b.numpy()), f"order {order}: {a} against {b}"
                continue
            a, b = (t.to(flambeau.complex128 if t.is_complex() else flambeau.float64).numpy() for t in (a, b))
            scale = np.abs(b[np.isfinite(b)]).max(initial=1.0) if b.size else 1.0
            np.testing.assert_allclose(a, b, rtol * 10**order, rtol * scale * 10**order, err_msg=f"order {order}")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_as_on_numpy(row):
    for i, sample in enumerate(row.calls()):
        if sum(np.size(a) for a in operands(sample)) > MOST_ELEMENTS:
            continue
        dtype = "float32" if "f" in row.dtypes and i == 0 else "float64"
        if "d" not in row.dtypes and "f" not in row.dtypes:
            dtype = None
        compare(row, sample, dtype)
