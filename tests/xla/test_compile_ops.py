"""Every op of the table, compiled by XLA with its backward: values and gradients are those of eager XLA."""

import gc
import warnings

import numpy as np
import pytest

import flambeau as torch
from flambeau.errors import CaptureError
from tests.op_rows.tools import convert, flat, operands, replaced
from tests.op_table import ROWS
from tests.xla.test_op_table import there

XLA = torch.device("xla")
#: Their shapes depend on values: no program can be made of them.
BY_VALUE = {
    "argwhere", "bincount", "getitem mask", "masked_select", "nn.functional.one_hot", "nonzero", "unique",
    "unique_consecutive",
    "setitem mask",  # the gradient of what was written picks by the mask
}  # fmt: skip
#: Rows that show how bad operands are refused.
REFUSED = {"einsum refused", "linalg.cholesky refused"}


@pytest.fixture(scope="module", autouse=True)
def few_objects():
    """A trace looks through all live tensors: those of other tests need not be looked at again and again."""
    torch.ones(1, device=XLA)
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def host(t):
    t = t.detach().cpu()
    return (t.float() if t.dtype in (torch.bfloat16, torch.float16) else t).numpy()


@pytest.mark.parametrize("row", [r for r in ROWS if r.name not in REFUSED], ids=lambda row: row.name)
def test_every_op(row):
    function = row.function(torch)
    sample = next(iter(row.calls()))
    given = [there(convert(a, torch)) for a in operands(sample)]

    def step(*tensors):
        with XLA:
            tensors = [t.detach().requires_grad_() if row.orders else t.detach() for t in tensors]
            source = iter(tensors)
            args, kwargs = there(replaced(sample.args, source, torch)), there(replaced(sample.kwargs, source, torch))
            results = flat(function(*args, **kwargs))
            grown = [t for t in results if t.requires_grad and t.is_floating_point()]
            if grown and row.orders:
                sum((t * t).sum() for t in grown).backward()
            return [t.detach() for t in results], [torch.zeros(()) if t.grad is None else t.grad for t in tensors]

    compiled = torch.compile(step, backend="xla")

    def run(f):
        torch.manual_seed(0)
        found = f(*given)
        return found[0] + found[1]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want = run(step)
        try:
            run(compiled)
        except CaptureError:
            assert row.name in BY_VALUE
            return
        assert row.name not in BY_VALUE
        have = run(compiled)
    assert sum(map(len, compiled.trusted.values())) == 1
    for w, h in zip(want, have, strict=True):
        assert w.dtype is h.dtype and w.shape == h.shape and w.device == h.device
        np.testing.assert_allclose(host(h), host(w), rtol=1e-6, atol=1e-8)
