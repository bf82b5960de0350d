"""Native calls one after the other without Python between them; and the quotients of optimizers."""

import math
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flambeau.engines.native import machine, threads
from flambeau.engines.native.calls import Kernel
from flambeau.engines.native.records import prepared, recorded
from flambeau.engines.native.rows import RowKernel
from flambeau.optim.adam import adam_update
from flambeau.optim.fused import Batch
from tests.native_calls import WIDTHS, run

pytestmark = pytest.mark.skipif(machine.LEVEL == machine.NONE, reason="no native kernels on this machine")

ONCE_MORE = Kernel(lambda k: k.store("x", k.load("x") * 2.0 + 1.0), "once_more")


@pytest.fixture(params=[1, 2, 5])
def count(request):
    before = threads.count()
    threads.set_workers(request.param)
    yield request.param
    threads.set_workers(before)


def calls_on(x, rng):
    """`x = 2 x + 1`, ten times over, cut in any way: each call sees what the one before has done."""
    made = ONCE_MORE.of(x.dtype)
    rows, width = x.shape
    table, _ = made.ready(rows, width, [x.ctypes.data, x.strides[0], 0], [], 0, 0)
    return [(made.place, table, rows, int(rng.integers(1, rows + 3))) for _ in range(10)]


def test_calls_follow_each_other(count):
    rng = np.random.default_rng(count)
    for _ in range(60):
        x = np.zeros((int(rng.integers(1, 40)), int(rng.integers(1, 50))), np.float32)
        step, _ = prepared(calls_on(x, rng))
        step()
        assert (x == 2**10 - 1).all()
        step()
        assert (x == 2**20 - 1).all()


def test_calls_by_one_thread_alone_need_no_pool(count):
    x = np.zeros((7, 9))
    made = ONCE_MORE.of(x.dtype)
    table, _ = made.ready(7, 9, [x.ctypes.data, x.strides[0], 0], [], 0, 0)
    prepared([(made.place, table, 7, 7)] * 5)[0]()
    assert (x == 31).all()


def test_records_are_calls_like_others(count):
    x, y = np.zeros((8, 40), np.float32), np.ones((8, 40), np.float32)
    made = ONCE_MORE.of(x.dtype)
    records = []
    for a in (x, y):
        table, _ = made.ready(8, 40, [a.ctypes.data, a.strides[0], 0], [], 0, 0)
        records += [(made.place, table, start, start + 2) for start in range(0, 8, 2)]
    call, tables = recorded(records, shared=True)
    step, _ = prepared([call, call])
    step()
    assert (x == 3).all() and (y == 7).all() and tables


def test_calls_of_two_threads_do_not_meet(count):
    """Whoever finds the workers taken does without."""
    made = [np.zeros((30, 64), np.float32) for _ in range(4)]
    steps = [prepared(calls_on(x, np.random.default_rng(i)))[0] for i, x in enumerate(made)]
    callers = [threading.Thread(target=lambda s=s: [s() for _ in range(2)]) for s in steps]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert all((x == 2**20 - 1).all() for x in made)


def test_a_table_may_be_given_other_addresses():
    x, y = np.zeros((4, 8), np.float32), np.zeros((4, 8), np.float32)
    made = ONCE_MORE.of(x.dtype)
    table, _ = made.ready(4, 8, [x.ctypes.data, x.strides[0], 0], [], 0, 0)
    step, words = prepared([(made.place, table, 4, 1)])
    step()
    words[words == x.ctypes.data] = y.ctypes.data
    step()
    assert (x == 1).all() and (y == 1).all()


# --- quotients --------------------------------------------------------------------------------------------------------


def over(roots, by, wide, double):
    """`sqrt(v) / by` as `root_over` has it, and the roots themselves."""
    k = RowKernel("over", double)
    root = k.sqrt(k.load("v"))
    k.store("out", k.root_over(root, k.number("by")))
    out = np.empty_like(roots)
    run(k, wide, 1, roots.size, {"v": (roots, 0, 0), "out": (out, 0, 0)}, [by])
    return out


def check_quotients(v, by, wide, double):
    by = v.dtype.type(by)
    with np.errstate(all="ignore"):
        want = np.sqrt(v) / by
    np.testing.assert_array_equal(over(v, float(by), wide, double), want)


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("wide", WIDTHS)
def test_quotients_of_roots_are_rounded_as_division_rounds(wide, double):
    """On many roots for many numbers: all exponents, and mantissas where quotients are close to the middle."""
    kind = np.float64 if double else np.float32
    rng = np.random.default_rng(0)
    info = np.finfo(kind)
    v = np.exp2(rng.uniform(info.minexp, info.maxexp, 20_000)).astype(kind)
    edges = [0.0, -0.0, np.inf, np.nan, info.max, info.tiny, info.smallest_subnormal, 1.0, 4.0, np.nextafter(1, 0)]
    v = np.concatenate([v, np.array(edges, kind), np.square(1 + np.arange(300) * info.eps, dtype=kind)])
    steps = [(1 - 0.999**t) ** 0.5 for t in (1, 2, 3, 10, 100, 1000, 10_000, 100_000)]
    nearly_one = [1.0, 1 - info.epsneg, 1 - 2 * info.epsneg, 0.5, 0.5 + info.epsneg / 2, 2.0**-20]
    for by in [*steps, *nearly_one, *rng.uniform(2.0**-20, 1.0, 300)]:
        check_quotients(v, by, wide, double)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.floats(0, width=32), min_size=1, max_size=40), st.floats(2.0**-20, 1.0, width=32))
def test_any_quotient_of_a_root(values, by):
    check_quotients(np.array(values, np.float32), by, WIDTHS[-1], False)


@pytest.mark.parametrize("beta2", [0.999, 0.0, 1 - 2.0**-50])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 5, 2048, 2049, 5000])
def test_adam_by_kernel_and_by_numpy(n, dtype, beta2, count):
    """Wherever arrays begin in memory, and where the quotient's number is out of `root_over`'s range."""
    rng = np.random.default_rng(n)
    for beyond in ((0, 0, 0, 0), (1, 1, 1, 3), (3, 1, 2, 5)):
        arrays = []
        for skip in beyond:
            memory = np.abs(rng.standard_normal(n + 40)).astype(dtype)
            start = (-memory.ctypes.data % 64) // memory.itemsize + skip
            arrays.append(memory[start : start + n])
        numpy_s = [a.copy() for a in arrays]
        batch = Batch()
        assert batch.add(adam_update, (*arrays, None), (1e-2, 0.9, beta2, 1e-8, 0.0, False, False, 3))
        batch.run()
        p, g, m, v = numpy_s
        m += (g - m) * dtype(0.1)
        v *= dtype(beta2)
        v += g * g * dtype(1 - beta2)
        with np.errstate(all="ignore"):
            p -= dtype(1e-2 / (1 - 0.9**3)) * m / (np.sqrt(v) / dtype(math.sqrt(1 - beta2**3)) + dtype(1e-8))
        for mine, want in zip(arrays, numpy_s, strict=True):
            np.testing.assert_allclose(mine, want, rtol=1e-5 if dtype is np.float32 else 1e-12, atol=1e-7)
