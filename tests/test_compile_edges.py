"""Compiled against eager where numbers are special: zeros of both signs, infinities, NaN, subnormals, ties, nothing."""

import copy
import gc
import itertools
import warnings

import numpy as np
import pytest

import flambeau as torch
from flambeau.compiled.step import Compiled
from flambeau.errors import CaptureError
from tests.op_rows.tools import convert, flat, operands, replaced
from tests.op_table import ROWS
from tests.test_compile import BY_VALUE, REFUSED

TINY = 5e-324
EDGES = (0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, TINY, -TINY, 1e-310, 0.5, -0.5, 2.0, -3.0)
#: What LAPACK and the like make of such numbers is noise, in eager as well.
NOISE = (
    "linalg.", "fft.", "svd", "qr", "lu", "cholesky", "inverse", "pinverse", "logdet", "geqrf", "ormqr",
    "triangular_solve", "nn.functional.ctc_loss",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def few_objects():
    """A capture looks through all live tensors: those of other tests need not be looked at again and again."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def filled(array, start):
    """The operand made of edge numbers, over and over from the given one on."""
    line = [EDGES[(start + i) % len(EDGES)] for i in range(array.size)]
    values = np.array(line).reshape(array.shape)
    return (
        values.astype(array.dtype)
        if array.dtype.kind != "c"
        else values + 1j * np.roll(values.ravel(), 3).reshape(array.shape)
    )


def settings(row):
    """Samples of a row with lists of operands: as they are in shape, and all pairs of edge numbers where that works."""
    for sample in itertools.islice(row.calls(), 3):
        given = operands(sample)
        if not given:
            continue
        yield sample, [filled(a, 5 * i) for i, a in enumerate(given)]
        if len(given) <= 2 and all(a.dtype.kind == "f" for a in given):
            pairs = np.array(list(itertools.product(EDGES, EDGES)))
            yield sample, [np.ascontiguousarray(pairs[:, i]) for i in range(len(given))]


def differentiated(row, samples):
    """One step over all samples: results, and the gradients of their sums by the operands."""
    function = row.function(torch)

    def step(*tensors):
        source = iter([t.detach().requires_grad_() for t in tensors])
        told = []
        for sample in samples:
            mine = list(itertools.islice(source, len(operands(sample))))
            parts = iter(mine)
            results = flat(function(*replaced(sample.args, parts, torch), **replaced(sample.kwargs, parts, torch)))
            results = [t for t in results if isinstance(t, torch.Tensor)]
            grown = [t for t in results if t.requires_grad]
            if grown and row.orders:
                torch.autograd.backward(grown, [torch.ones_like(t) for t in grown])
            told += [t.detach() for t in results] + [torch.zeros(()) if t.grad is None else t.grad for t in mine]
        return told

    return step


def works(row, sample, arrays):
    """Whether eager takes such operands at all."""
    try:
        differentiated(row, [sample])(*[convert(a, torch) for a in arrays])
    except (RuntimeError, ValueError, IndexError, TypeError, NotImplementedError):
        return False
    return True


def same(have, want):
    """Alike bit by bit where a number is special, to the last few digits elsewhere."""
    have, want = have.detach().numpy(), want.detach().numpy()
    assert have.shape == want.shape and have.dtype == want.dtype
    for h, w in ((have.real, want.real), (have.imag, want.imag)) if have.dtype.kind == "c" else ((have, want),):
        np.testing.assert_array_equal(np.isnan(h), np.isnan(w))
        np.testing.assert_allclose(h, w, rtol=1e-12, atol=0)
        if h.dtype.kind == "f":
            numbers = ~np.isnan(w)
            np.testing.assert_array_equal(np.signbit(h[numbers]), np.signbit(w[numbers]))


@pytest.mark.parametrize(
    "row", [r for r in ROWS if r.name not in REFUSED and not r.name.startswith(NOISE)], ids=lambda row: row.name
)
def test_edges(row):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        cases = [(sample, arrays) for sample, arrays in settings(row) if works(row, sample, arrays)]
        if not cases:
            return
        step = differentiated(row, [sample for sample, _ in cases])
        given = [convert(a, torch) for _, arrays in cases for a in arrays]
        other = [convert(np.roll(a.ravel(), 1).reshape(a.shape), torch) for _, arrays in cases for a in arrays]
        compiled = Compiled(step)
        try:
            for operands_ in (given, given, other):
                compiled(*operands_)
        except CaptureError:
            assert row.name in BY_VALUE
            return
        for operands_ in (given, other):
            torch.manual_seed(0)
            want = step(*operands_)
            torch.manual_seed(0)
            have = compiled(*operands_)
            for h, w in zip(have, want, strict=True):
                same(h, w)


def test_the_number_of_threads_may_change_between_captures():
    """Native calls are then cut differently, which is no other step."""
    model = torch.nn.Sequential(torch.nn.Linear(256, 256), torch.nn.ReLU(), torch.nn.Linear(256, 8))
    models = [model, copy.deepcopy(model)]

    def made(model):
        optimizer = torch.optim.SGD(model.parameters(), 0.1)

        def step(x):
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
            return loss.detach()

        return step

    compiled, eager, before = Compiled(made(models[0])), made(models[1]), torch.get_num_threads()
    try:
        for count in (1, 2, 3, 3, 3, 1, 2):
            torch.set_num_threads(count)
            x = torch.randn(128, 256)
            np.testing.assert_allclose(compiled(x).numpy(), eager(x).numpy(), rtol=1e-5)
    finally:
        torch.set_num_threads(before)
    assert any(compiled.plans.values())
