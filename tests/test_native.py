"""Machine code against NumPy: every length around the vectors', both vector widths, both types, threads."""

import ctypes
import gc
import itertools
import math
import os
import struct
import subprocess
import sys
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flambeau.engines.native import machine, threads
from flambeau.engines.native.calls import Kernel
from flambeau.engines.native.gathering import add_rows
from flambeau.engines.native.gemm import COLUMNS, ROWS, Word, gemm_code
from flambeau.engines.native.products import packed, packed_product_table, product
from flambeau.engines.native.records import run_loops, shared_out
from flambeau.engines.native.rows import RowKernel
from flambeau.engines.native.symbols import native_chain
from tests.native_calls import WIDTHS, run

pytestmark = pytest.mark.skipif(machine.LEVEL == machine.NONE, reason="no native kernels on this machine")

LENGTHS = [*range(1, 20), 31, 32, 33, 63, 64, 65, 100, 257]


def types(double):
    return np.float64 if double else np.float32


FUNCTIONS = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "sqrt": np.sqrt,
    "abs": np.abs,
    "neg": np.negative,
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "round": np.rint,
}


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("wide", WIDTHS)
@pytest.mark.parametrize("name", [*FUNCTIONS, "erf"])
def test_functions_are_accurate_everywhere(name, wide, double):
    if name == "erf" and double:
        pytest.skip("the error function is there for float32 only")
    dtype = types(double)
    tiny = np.finfo(dtype).tiny
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, tiny, tiny / 8, -tiny, 88.5, -87.5, -103.0, 709.0, -745.0, 1.0, -1.0]
    x = np.concatenate([np.linspace(-120, 120, 4001), np.linspace(-2, 2, 4001), special]).astype(dtype)
    if name == "sigmoid":  # by 1 / (1 + exp(-x)), as PyTorch has it: zero where that exponential is infinite
        x = x[~(x < -87)]
    out = np.full(x.size + 3, 7, dtype)
    k = RowKernel(name, double)
    k.store("out", getattr(k, name)(k.load("x")))
    run(k, wide, 1, x.size, {"x": (x, 0, 0), "out": (out, 0, 0)})
    if name == "erf":
        reference = np.vectorize(math.erf, otypes=[np.float64])
    else:
        reference = FUNCTIONS[name]
    with np.errstate(all="ignore"):
        want = reference(x.astype(np.float64 if name == "erf" else np.longdouble))
        near = want.astype(dtype)
        # a result that rounds to infinity or zero may do so a hair earlier
        error = np.abs(out[:-3].astype(np.longdouble) - want) / np.spacing(np.maximum(np.abs(near), tiny))
    same = (out[:-3] == near) | (np.isnan(out[:-3]) & np.isnan(near))
    assert np.nanmax(np.where(same, 0, error)) < 4
    assert (out[-3:] == 7).all()


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("wide", WIDTHS)
def test_rows_of_every_length(wide, double):
    dtype = types(double)
    k = RowKernel("softmax", double)
    x = k.load("x")
    e = k.keep("out", k.exp(x - k.max(x)))
    total = k.sum(e)
    k.store_row("total", total)
    k.store_row("least", k.min(x))
    k.store("out", e / total)
    rng = np.random.default_rng(0)
    for n in LENGTHS:
        a = rng.standard_normal((5, n)).astype(dtype)
        out, total, least = np.zeros_like(a), np.zeros(5, dtype), np.zeros(5, dtype)
        step = n * a.itemsize
        operands = {"x": (a, step, 0), "out": (out, step, 0), "total": (total, a.itemsize, 0)}
        operands["least"] = (least, a.itemsize, 0)
        run(k, wide, 5, n, operands)
        e = np.exp(a.astype(np.float64) - a.max(1, keepdims=True))
        np.testing.assert_allclose(out, e / e.sum(1, keepdims=True), rtol=1e-5)
        np.testing.assert_allclose(total, e.sum(1), rtol=1e-5)
        np.testing.assert_array_equal(least, a.min(1))


@pytest.mark.parametrize("wide", WIDTHS)
def test_three_levels_and_more_operands_than_registers(wide):
    k = RowKernel("many")
    total = k.load_row("c") * k.number("scale")
    for i in range(14):
        total = k.fma(k.load(f"x{i}"), float(i), total)
    k.store("out", total)
    n, c, length = 3, 5, 37
    rng = np.random.default_rng(1)
    xs = [rng.standard_normal((n, c, length)).astype(np.float32) for _ in range(14)]
    per = rng.standard_normal(c).astype(np.float32)
    out = np.zeros((n, c, length), np.float32)
    operands = {f"x{i}": (x, length * 4, c * length * 4) for i, x in enumerate(xs)}
    operands |= {"c": (per, 4, 0), "out": (out, length * 4, c * length * 4)}
    run(k, wide, 4, length, operands, (2.0,), inner=c)
    run(k, wide, n * c, length, operands, (2.0,), inner=c, start=4)
    want = 2 * per[:, None] + sum(x * i for i, x in enumerate(xs))
    np.testing.assert_allclose(out, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("wide", WIDTHS)
def test_more_values_than_registers(wide):
    k = RowKernel("pressure")
    x = k.load("x")
    values = [x * float(i) + 1.0 for i in range(60)]
    masks = [k.compare("gt", v, 3.0) for v in values[:5]]
    total = values[0]
    for v in values[1:]:
        total = k.fma(total, 0.5, v)
    for v, m in zip(values, itertools.cycle(masks)):
        total = total + k.select(m, v, -v)
    k.store("out", total)
    a = np.linspace(-3, 3, 101).astype(np.float32)
    out = np.zeros_like(a)
    run(k, wide, 1, a.size, {"x": (a, 0, 0), "out": (out, 0, 0)})
    v = [a.astype(np.float64) * i + 1 for i in range(60)]
    want = v[0]
    for w in v[1:]:
        want = want * 0.5 + w
    for i, w in enumerate(v):
        want = want + np.where(v[i % 5] > 3, w, -w)
    np.testing.assert_allclose(out, want, rtol=1e-4, atol=1e-3)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 70), st.integers(1, 120), st.integers(1, 450), st.booleans(), st.booleans(), st.booleans(),
    st.sampled_from([(), (2,), (2, 3)]), st.sampled_from(["new", "bias", "add"]),
)  # fmt: skip
def test_products(m, n, k, across, along, double, lead, how):
    dtype = types(double)
    rng = np.random.default_rng(m * n + k)

    def matrix(rows, columns, turned):
        shape = (*lead, columns, rows) if turned else (*lead, rows, columns)
        a = rng.standard_normal(shape).astype(dtype)
        return a.swapaxes(-1, -2) if turned else a

    a, b = matrix(m, k, across), matrix(k, n, along)
    bias = rng.standard_normal(n).astype(dtype)
    want = a.astype(np.float64) @ b.astype(np.float64)
    if how == "add":
        start = rng.standard_normal((*lead, m, n)).astype(dtype)
        have, want = product(a, b, start.copy(), add=True), want + start
    else:
        have = product(a, b, bias=bias if how == "bias" else None)
        want = want + bias if how == "bias" else want
    np.testing.assert_allclose(have, want, rtol=1e-9 if double else 1e-4, atol=1e-9 if double else 2e-3)


@pytest.mark.parametrize("wide", WIDTHS)
def test_products_of_both_widths(wide):
    rng = np.random.default_rng(2)
    for m, n, k, b_lies in [(9, 50, 17, ROWS), (13, 31, 400, COLUMNS), (1, 1, 1, ROWS), (8, 48, 9, COLUMNS)]:
        a, b = rng.standard_normal((m, k)).astype(np.float32), rng.standard_normal((k, n)).astype(np.float32)
        stored = b if b_lies == ROWS else np.ascontiguousarray(b.T)
        lanes, height, out = (16 if wide else 8), (8 if wide else 4), np.zeros((m, n), np.float32)
        panels = -(-n // (3 * lanes))
        left = n - (panels - 1) * 3 * lanes
        code = gemm_code(wide, False, True, b_lies, m % height, -(-left // lanes), left % lanes != 0)
        call = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_int64, ctypes.c_int64)(machine.install(code))
        places = a.ctypes.data, stored.ctypes.data, out.ctypes.data, 0
        rows = -(-m // height) * height
        steps = k * 4, stored.strides[0], n * 4
        table = struct.pack("<21q", *places, m, n, k, *steps, 1, rows, panels, *[0] * 4, 1, 0, 0, 0)
        call(table, 0, panels)
        np.testing.assert_allclose(out, a @ b, rtol=1e-4, atol=1e-3)


def test_loops_step_their_tables():
    rng = np.random.default_rng(3)
    steps, n = 5, 20
    x, w = rng.standard_normal((steps, 4, n)).astype(np.float32), rng.standard_normal((n, n)).astype(np.float32)
    out = np.zeros((steps, 4, n), np.float32)
    b = packed(w)
    place, table, tasks = packed_product_table(4, n, (x.ctypes.data, n * 4), b, (out.ctypes.data, n * 4), False)
    growth = [4 * n * 4, 0, 4 * n * 4] + [0] * (Word.COUNT - 3)
    run_loops(steps, [[(place, table, 0, tasks, growth)]], False)
    np.testing.assert_allclose(out, x @ w, rtol=1e-4, atol=1e-4)


def test_rows_are_added_where_their_numbers_say():
    rng = np.random.default_rng(4)
    rows = rng.integers(0, 64, (2000, 70)).astype(np.float32)
    index = rng.integers(0, 9, 2000)
    want = np.zeros((9, 70), np.float32)
    np.add.at(want, index, rows)
    np.testing.assert_array_equal(add_rows(rows, index, 9), want)
    assert add_rows(rows[:0], index[:0], 3).shape == (3, 70)


def test_a_chain_that_is_not_known_is_left_to_numpy():
    a = np.linspace(0, 1, 50).astype(np.float32)
    assert not native_chain(lambda a, out: np.sin(a, out=out), (a, np.empty_like(a)), 0)
    assert not native_chain(lambda a, out: np.exp(a, out=out), (a[::2], np.empty_like(a[::2])), 0)


def test_many_threads_give_what_one_gives():
    k = Kernel(lambda k: k.store("out", k.tanh(k.load("x")) * 3.0), "tanh")
    x = np.linspace(-4, 4, 300_000).astype(np.float32)
    before = threads.count()
    results = []
    for count in (1, 2, 5):
        threads.set_workers(count)
        for _ in range(50):
            out = np.zeros_like(x)
            k.flat([x, out])
        results.append(out)
    threads.set_workers(before)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
    np.testing.assert_allclose(results[0], np.tanh(x) * 3, rtol=2e-6)


def test_every_task_is_done_once():
    """Shares of all sizes, empty ones too, whoever comes late; and fewer threads after more."""
    made = Kernel(lambda k: k.store("x", k.load("x") + 1.0), "count").of(np.dtype(np.float32))
    rng = np.random.default_rng(0)
    before = threads.count()
    for count in (2, 8, 3):
        threads.set_workers(count)
        for _ in range(150):
            rows, width, piece = (int(rng.integers(1, most)) for most in (60, 40, 9))
            x = np.zeros((rows, width), np.float32)
            table, _ = made.ready(rows, width, [x.ctypes.data, width * 4, 0], [], 0, 0)
            threads.spread(made.place, made.call, table, rows, piece)
            assert (x == 1).all()
    threads.set_workers(before)


def test_updates_are_shared_out_evenly_and_by_place():
    """Each thread has its part of every large array; small ones fill up; every record is there once."""
    before = threads.count()
    threads.set_workers(2)
    large, small = struct.pack("<q", 2048) + b"large", struct.pack("<q", 100) + b"small"
    records = [(1, large, 0, 8), (1, large, 8, 12), (1, large, 12, 20), (1, large, 20, 25), (1, small, 0, 1)]
    order = shared_out(records)
    threads.set_workers(before)
    assert sorted(n for n in order if n >= 0) == [0, 1, 2, 3, 4]
    assert len(order) % 2 == 0 and order[:2] == [0, 1]
    assert set(order[: len(order) // 2]) >= {0, 1} and set(order[len(order) // 2 :]) >= {2, 3}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_has_threads_of_its_own():
    code = (
        "import os, numpy as np, flambeau as torch\n"
        "torch.set_num_threads(2)\n"
        "x = torch.rand(500, 500); want = (x @ x).sum()\n"
        "pid = os.fork()\n"
        "same = torch.equal((x @ x).sum(), want)\n"
        "os._exit(0 if same else 1) if pid == 0 else None\n"
        "assert os.waitpid(pid, 0)[1] == 0 and same\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("setting, level", [("0", machine.NONE), ("avx2", machine.AVX2)])
def test_the_environment_chooses(setting, level):
    code = (
        "from flambeau.engines.native import machine; import flambeau as torch\n"
        f"assert machine.LEVEL == {level}\n"
        "x = torch.linspace(-3, 3, 1000).reshape(20, 50)\n"
        "y = torch.softmax(torch.nn.functional.gelu(x), 1) @ x.T\n"
        "want = torch.softmax(torch.nn.functional.gelu(x.double()), 1) @ x.double().T\n"
        "torch.testing.assert_close(y, want.float())\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env={**os.environ, "FLAMBEAU_NATIVE": setting})


def test_code_outlives_the_interpreter(monkeypatch):
    """A worker that gets its core only when the process ends still finds its code: nothing holds it that can go."""
    made = []

    def keep(code, make=machine.Code):
        made.append(weakref.ref(made_now := make(code)))
        return made_now

    monkeypatch.setattr(machine, "Code", keep)
    machine.install(b"\xc3")
    gc.collect()
    assert made[0]() is not None
    assert not gc.get_referrers(made[0]())
