"""Native copies against NumPy's: orders of strides, types, threads; in compiled steps; and what is left to NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau as torch
from flambeau.compiled import straight as straightening
from flambeau.compiled import variant
from flambeau.compiled.capture import Entry
from flambeau.compiled.copies import native_copy
from flambeau.compiled.memory import Block, Memory
from flambeau.compiled.straight import straight
from flambeau.engines.native import copies, copying, machine, threads
from flambeau.engines.native.calls import address
from flambeau.engines.numpy import embedding as kernels
from flambeau.engines.numpy import layout

pytestmark = pytest.mark.skipif(machine.LEVEL == machine.NONE, reason="no native kernels on this machine")

WIDTHS = [False] + [True] * (machine.LEVEL == machine.AVX512)
TYPES = ["f4", "f8", "i8", "i4", "?", "i2", "c8", "c16", "M8[s]"]


@pytest.fixture
def every_size(monkeypatch):
    """Copies of any size are native."""
    monkeypatch.setattr(copies, "_QUICK", -1)
    copies.plan_copy.cache_clear()
    yield
    copies.plan_copy.cache_clear()


@pytest.fixture(params=[1, 2])
def with_threads(request, monkeypatch):
    monkeypatch.setattr(copies, "_ALONE", 64)
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def numbers(shape, dtype, seed=0):
    raw = np.random.default_rng(seed).integers(0, 2 if np.dtype(dtype).kind == "b" else 1 << 14, shape)
    return raw.astype(dtype)


def copied(to, source, piece=None):
    """Whether there is a native copy; it is made, with so many rows for a thread."""
    plan = copies.plan_copy(to.shape, to.strides, source.strides, source.itemsize)
    if plan is None:
        return False
    table = plan.table(address(source), address(to))
    threads.run(plan.place, plan.call, table, plan.rows, piece or plan.piece)
    return True


sizes = st.sampled_from([1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33])


@st.composite
def pairs(draw):
    """A source and a result of one shape, each in an order, with gaps and directions of its own."""
    shape = draw(st.lists(sizes, min_size=0, max_size=6).filter(lambda s: np.prod(s, dtype=int) <= 20000))
    dtype = draw(st.sampled_from(TYPES))

    def array(fill):
        order = draw(st.permutations(range(len(shape))))
        more = draw(st.lists(st.integers(0, 2), min_size=len(shape), max_size=len(shape)))
        whole = fill([shape[i] + more[i] for i in order], dtype)
        view = whole.transpose(np.argsort(order)) if shape else whole
        key = [slice(0, n) if draw(st.booleans()) else slice(n - 1, None, -1) for n in shape]
        return whole, view[tuple(key)]

    _, source = array(numbers)
    if draw(st.booleans()) and shape:
        axis = draw(st.integers(0, len(shape) - 1))
        source = np.broadcast_to(source.take([0], axis), shape)
    whole, to = array(np.zeros)
    return np.asarray(source), whole, to[...] if shape else whole


@settings(max_examples=400, deadline=None)
@given(pairs(), st.sampled_from([None, 1, 3]))
def test_copies_are_numpys(pair, piece):
    source, whole, to = pair
    wanted = whole.copy()
    place = np.lib.stride_tricks.as_strided(
        wanted.reshape(-1)[(address(to) - address(whole)) // whole.itemsize :], to.shape, to.strides
    )
    place[...] = source
    if copied(to, source, piece):
        np.testing.assert_array_equal(whole, wanted)  # what lies between the elements is as it was, too
    else:
        to[...] = source
        np.testing.assert_array_equal(to, source)


@pytest.mark.parametrize("wide", WIDTHS)
@pytest.mark.parametrize("double", [False, True])
def test_both_widths(wide, double, monkeypatch):
    monkeypatch.setattr(copies, "WIDE", wide)
    copies._function.cache_clear()
    copies.plan_copy.cache_clear()
    item = 8 if double else 4
    for n in (8, 9, 16, 31, 40):
        for m in (8, 13, 16, 33):
            source = numbers((n, m), f"f{item}")
            to = np.zeros((m, n), source.dtype)
            assert copied(to, source.T)
            np.testing.assert_array_equal(to, source.T)
    for length in (*range(4, 70), 127, 128, 129, 300):
        source, to = numbers((5, 3, length), "u1").swapaxes(0, 1), np.zeros((3, 5, length), "u1")
        assert copied(to, source)
        np.testing.assert_array_equal(to, source)
    copies._function.cache_clear()
    copies.plan_copy.cache_clear()


def test_what_is_numpys_work():
    assert not copied(np.zeros((8, 8), "f4")[:, ::2], numbers((8, 4), "f4"))  # no dimension of the result is contiguous
    assert not copied(np.zeros((8, 3, 64), "f4"), np.broadcast_to(numbers((1, 3, 1), "f4"), (8, 3, 64)))
    assert not copied(np.zeros((16, 16), "i2"), numbers((16, 16), "i2").T)
    assert not copied(np.zeros((0, 4), "f4"), numbers((0, 4), "f4"))
    assert not copied(np.zeros((), "f4"), numbers((), "f4"))
    many = numbers((3, 4, 3, 4, 3, 4, 8), "f4")[:2, :3, :2, :3, :2, :3]
    assert not copied(np.zeros(many.shape, "f4"), many)


@pytest.mark.usefixtures("every_size", "with_threads")
@pytest.mark.parametrize("dtype", TYPES)
def test_arrays_are_made_contiguous(dtype):
    base = numbers((24, 9, 40), dtype)
    for a in (base.T, base.transpose(1, 0, 2), base[::-1], base[:, ::-2, 1:], base[:, :, ::2], base[:0].T, base[0, 0]):
        for kernel in (layout.contiguous_copy, layout.contiguous):
            made = kernel(a)
            assert made.flags.c_contiguous
            np.testing.assert_array_equal(made, a)
        assert not np.shares_memory(layout.contiguous_copy(a), a)
    words = np.array([["a", 1], [None, 2]], object)
    assert (layout.contiguous_copy(words.T) == words.T).all()


@pytest.mark.usefixtures("every_size")
@settings(max_examples=80, deadline=None)
@given(st.data())
def test_shapes_are_views_where_numpys_are(data):
    shape = data.draw(st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=5))
    a = numbers(shape, "f4").transpose(data.draw(st.permutations(range(len(shape)))))
    a = a[tuple(slice(None, None, data.draw(st.sampled_from([1, 1, 1, 2, -1]))) for _ in shape)]
    left, new = a.size, []
    while left > 1:
        new.append(data.draw(st.sampled_from([n for n in range(1, left + 1) if left % n == 0])))
        left //= new[-1]
    if data.draw(st.booleans()) and new:
        new[data.draw(st.integers(0, len(new) - 1))] = -1
    found, wanted = layout.reshape(a, tuple(new)), a.reshape(new)
    np.testing.assert_array_equal(found, wanted)
    assert found.shape == wanted.shape and np.shares_memory(found, a) == np.shares_memory(wanted, a)


def test_a_shape_that_does_not_fit_is_numpys_error(every_size):
    with pytest.raises(ValueError, match="cannot reshape"):
        layout.reshape(numbers((4, 6), "f4").T, (5, 5))


# --- in compiled steps ----------------------------------------------------------------------------------------------


def entry(function, args, kwargs, made=(), wrote=()):
    memory = Memory()
    placed = Entry("call", function, memory.place(args), memory.place(kwargs))
    placed.made, placed.wrote = memory.place(list(made)), memory.place(list(wrote))
    return placed, memory


def test_writes_into_parts_of_the_same_memory_are_numpys():
    a = numbers((64, 64), "f4")
    placed, _ = entry(np.ndarray.__setitem__, (a, (slice(0, 32),), a[16:48]), {}, wrote=[a])
    assert native_copy(placed) == []
    placed, _ = entry(np.ndarray.__setitem__, (a, (slice(0, 32),), a[32:]), {}, wrote=[a])
    assert len(native_copy(placed)) == 1


@pytest.mark.parametrize("key", [np.array([1, 2]), [0, 1], True, (slice(2), [0, 1]), (1, np.array([True] * 64))])
def test_keys_that_are_no_views_are_numpys(key):
    a, b = numbers((64, 64), "f4"), numbers((64, 64), "f4")
    placed, _ = entry(np.ndarray.__setitem__, (a, key, b), {}, wrote=[a])
    assert native_copy(placed) == []


def same(step, *given, times=6):
    """A step gives the same, compiled, as it does eagerly, for arguments that change."""
    compiled = torch.compile(step)
    for i in range(times):
        arguments = [t + i if t.dtype != torch.bool else t ^ (i % 2 == 0) for t in given]
        wanted, found = step(*arguments), compiled(*arguments)
        for w, f in zip(wanted, found, strict=True):
            assert w.dtype == f.dtype and w.shape == f.shape
            np.testing.assert_array_equal(w.numpy(), f.numpy())
    return compiled


@pytest.mark.usefixtures("with_threads")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.int32, torch.bool])
def test_replays_copy_what_the_step_copies(dtype):
    def step(x, y):
        z = torch.zeros(64, 9, 24, dtype=dtype)
        z[:, 0] = y.T[:, :24]
        z[1:40, 1:, 2] = y[:39, :8]
        z[5] = y[0, :24]
        z[..., 3] = y[3, 0]
        z[-1, ::2] = y[:5, :24]
        z[None, 2:, 4, 5] = y[1, 2:]
        x = x.transpose(0, 2)
        return x.contiguous(), x.reshape(-1, 9), x.reshape(40, -1), x.transpose(1, 2).clone(), z, x.flip(1).clone()

    same(step, torch.arange(9 * 24 * 40).reshape(9, 24, 40).to(dtype), torch.arange(64 * 64).reshape(64, 64).to(dtype))


def test_a_replay_reads_arguments_where_they_lie():
    def step(x):
        return x.T.contiguous(), x[1:].T.reshape(-1)

    compiled = same(step, torch.arange(600.0).reshape(20, 30))
    whole = torch.arange(1200.0).reshape(40, 30)
    for part in (whole[:20], whole[10:30], whole[20:]):
        np.testing.assert_array_equal(compiled(part)[0].numpy(), part.T.numpy())


def test_strips_and_runs_have_a_size():
    assert (copying.strip_of(4), copying.strip_of(8)) == (16, 8)
    assert [copying.run_kind(n, True) for n in (3, 4, 8, 17, 40, 64, 99)] == [0, 4, 8, 16, 32, 64, 64]
    assert copying.run_kind(99, False) == 32


# --- rows by number -------------------------------------------------------------------------------------------------


@pytest.fixture
def every_pick(monkeypatch):
    """Rows are picked natively, however few."""
    monkeypatch.setattr(copies, "_QUICK", -1)
    monkeypatch.setattr(copies, "_QUICK_PICK", -1)


@pytest.mark.usefixtures("every_pick", "with_threads")
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("features", [(), (1,), (2,), (3,), (7,), (16,), (5, 7), (64,), (130,)])
def test_rows_are_picked_by_number(dtype, features):
    table = numbers((13, *features), dtype)
    index = np.random.default_rng(1).integers(0, 13, (6, 9, 4))
    for i in (index, index[:, ::2], index.T, index[::-1, 1:], index[0, 0], index[0, 0, 0, None], index[:0],
              np.broadcast_to(index[:1], (6, 9, 4)), index.astype(np.int32)):  # fmt: skip
        found = kernels.embedding(table, i)
        np.testing.assert_array_equal(found, table[i])
        assert found.flags.c_contiguous and found.dtype == table.dtype
    np.testing.assert_array_equal(kernels.embedding(table[::2], index % 7), table[::2][index % 7])


@pytest.mark.usefixtures("every_pick", "with_threads")
def test_numbers_without_a_row_are_numpys_to_judge():
    table, index = numbers((13, 8), "f4"), np.arange(12).reshape(3, 4)
    index[1, 2] = -1
    np.testing.assert_array_equal(kernels.embedding(table, index), table[index])
    for bad in (13, -14, 1 << 40, -(1 << 62)):
        index[2, 3] = bad
        with pytest.raises(IndexError, match="out of bounds for axis 0 with size 13"):
            kernels.embedding(table, index)


@pytest.mark.usefixtures("every_pick")
def test_the_step_from_an_only_row_says_nothing_of_its_length():
    whole, index = numbers((5, 64), "f4"), np.zeros(2000, np.int64)
    for table in (whole[::5], whole[::-5], np.lib.stride_tricks.as_strided(whole, (1, 64), (4, 4))):
        assert table.flags.c_contiguous and table.strides[0] != 256
        assert not copies.can_pick(table, index)
        assert copies.pick_of(table, index, np.empty((2000, 64), "f4")) is None
    for table in (whole[:, :0], whole.reshape(5, 8, 8)[:, :, 8:]):  # nor that from a row without elements
        assert not copies.can_pick(table, index)
        assert copies.pick_of(table, index, table.take(index, 0)) is None
    assert copies.can_pick(whole[:1], index)


@pytest.mark.usefixtures("every_pick", "with_threads")
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_a_step_looks_rows_up_wherever_they_are(dtype):
    torch.manual_seed(0)
    models = [torch.nn.Embedding(20, 12, padding_idx=3) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.1) for m in models]

    def step(model, optimizer, x):
        optimizer.zero_grad()
        out = model(x)
        loss = (out * out).sum() + model(x.T)[0].sum()
        loss.backward()
        optimizer.step()
        return out, loss

    compiled = torch.compile(step)
    for i in range(8):
        x = torch.randint(0, 20, (16, 33), dtype=dtype)[:, :-1]
        if i == 5:
            before = [m.weight.clone() for m in models]
            x[3, 4] = [20, -1][i % 2]
            for call, m, o in ((step, models[0], optimizers[0]), (compiled, models[1], optimizers[1])):
                with pytest.raises(IndexError, match="out of range: found -1 to 19, the table has 20"):
                    call(m, o, x)
            assert all(torch.equal(m.weight, w) for m, w in zip(models, before, strict=True))
            continue
        for wanted, found in zip(step(models[0], optimizers[0], x), compiled(models[1], optimizers[1], x), strict=True):
            assert torch.equal(wanted, found)
        assert torch.equal(models[0].weight, models[1].weight)


def test_an_index_out_of_range_is_named():
    table = torch.zeros(5, 3)
    for index, found in (([0, 5], "0 to 5"), ([-1, 4], "-1 to 4"), ([1 << 40], f"{1 << 40} to {1 << 40}")):
        with pytest.raises(IndexError, match=rf"index out of range: found {found}, the table has 5 rows"):
            torch.nn.functional.embedding(torch.tensor(index), table)
    with pytest.raises(IndexError, match="found -2 to 4"):
        torch.nn.functional.embedding(torch.tensor([4, -2], dtype=torch.int32), table)
    with pytest.raises(RuntimeError, match="expected indices of type int64 or int32"):
        torch.nn.functional.embedding(torch.tensor([1], dtype=torch.int16), table)
    assert torch.nn.functional.embedding(torch.zeros(0, 2, dtype=torch.int64), table).shape == (0, 2, 3)


@pytest.mark.usefixtures("with_threads")
@pytest.mark.parametrize("features", [1, 8, 70, 200])
def test_gradients_of_rows_are_added_where_they_lie(features):
    g = np.random.default_rng(2).integers(0, 64, (30, 12, features)).astype(np.float32)
    index = np.random.default_rng(3).integers(0, 9, (30, 12))
    want = np.zeros((9, features), np.float32)
    np.add.at(want, index, g)
    for other in (g, g.swapaxes(0, 1).copy().swapaxes(0, 1), g[::-1].copy()[::-1], np.asfortranarray(g)):
        np.testing.assert_array_equal(kernels.embedding_backward(other, index, 9), want)
    wide = np.broadcast_to(g[:, :1], g.shape)
    want[...] = 0
    np.add.at(want, index, wide)
    np.testing.assert_array_equal(kernels.embedding_backward(wide, index, 9), want)


# --- copies that are left out ---------------------------------------------------------------------------------------


@pytest.fixture
def left_out(monkeypatch):
    """Of each pass over a step's calls, how many copies it has left out; a None in it: none shall be."""
    counts = []

    def counted(entries, memory, live):
        if None in counts:
            return entries
        result = straight(entries, memory, live)
        counts.append(len(entries) - len(result))
        return result

    monkeypatch.setattr(variant, "straight", counted)
    return counts


def trained(layer, wide, use, left_out, steps=5):
    """Trains a model twice, with all copies and without some; it must be the same to the last bit."""
    torch.manual_seed(3)
    models = [torch.nn.ModuleList([torch.nn.Embedding(11, 32), layer(32, wide, batch_first=True)]) for _ in range(2)]
    models.append(torch.nn.Linear(wide, 50))
    models[1].load_state_dict(models[0].state_dict())
    heads = [models.pop(), torch.nn.Linear(wide, 50)]
    heads[1].load_state_dict(heads[0].state_dict())
    optimizers = [torch.optim.SGD([*m.parameters(), *h.parameters()], 0.1) for m, h in zip(models, heads, strict=True)]

    def step(model, head, optimizer, x):
        optimizer.zero_grad()
        out, loss = use(model[0](x), model[1], head)
        loss.backward()
        optimizer.step()
        return out, loss

    compiled = [torch.compile(lambda *args: step(*args)) for _ in range(2)]
    for _ in range(steps):
        x = torch.randint(0, 11, (16, 40))
        left_out.append(None)
        wanted = compiled[0](models[0], heads[0], optimizers[0], x)
        left_out.pop()
        found = compiled[1](models[1], heads[1], optimizers[1], x)
        for w, f in zip(wanted, found, strict=True):
            assert torch.equal(w, f)
    for w, f in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(w, f)
    return sum(left_out)


@pytest.mark.usefixtures("every_pick", "with_threads")
@pytest.mark.parametrize("wide", [64, 97])
@pytest.mark.parametrize(("layer", "expected"), [(torch.nn.LSTM, 2), (torch.nn.GRU, 2), (torch.nn.RNN, 1)])
def test_layers_write_in_the_order_of_who_reads(layer, expected, wide, left_out):
    def use(rows, rnn, head):
        out = head(rnn(rows)[0])
        return out, (out * out).mean()

    assert trained(layer, wide, use, left_out) == expected


@pytest.mark.usefixtures("every_pick", "with_threads")
def test_copies_of_what_others_read_too_are_made(left_out):
    def shown(rows, rnn, head):
        states = rnn(rows)[0]
        return states, head(states).sum()

    assert trained(torch.nn.LSTM, 64, shown, left_out) == 1

    def read(rows, rnn, head):
        states = rnn(rows)[0]
        out = head(states) + states[:, :, :1] * rows[:, :, :1]
        return out, (out * out).mean()

    left_out.clear()
    assert trained(torch.nn.LSTM, 64, read, left_out) == 0


def move_of(shape, order, item=4):
    """A move of a block of this shape to one in which the dimensions lie in another order."""
    size = int(np.prod(shape)) * item
    blocks = [Block(np.empty(size, np.uint8), 0, size, 1 << 20), Block(np.empty(size, np.uint8), 0, size, 1 << 24)]
    here = np.empty(shape, f"i{item}").strides
    there = np.empty([shape[i] for i in order], f"i{item}").strides
    steps = [there[order.index(i)] for i in range(len(shape))]
    return straightening._Move(*blocks, blocks[1].virtual, list(zip(shape, here, steps, strict=True)))


def test_rows_step_as_they_lie_in_the_other_order():
    move = move_of((5, 6, 8), (1, 0, 2))  # (0, 1, 2) has steps of 192, 32, 4 here; of 32, 160, 4 there
    steps = straightening._steps
    assert steps(0, (32, 0, 192), (0, 6, 6, 5), 32, move) == [0, 160, 0, 32]
    assert steps(64, (32, 0, 192), (0, 3, 3, 5), 32, move) == [320, 160, 0, 32]
    assert steps(4 * 192, (32, 0, -192), (0, 6, 6, 5), 32, move) == [128, 160, 0, -32]
    assert steps(0, (32, 192, 0), (0, 30, 6, 1), 32, move) == [0, 160, 32, 0]
    assert steps(8, (4, 0, 0), (0, 6, 6, 1), 4, move) == [8, 4, 0, 0]
    assert steps(0, (32, 0, 0), (0, 30, 30, 1), 32, move) is None  # on from one dimension to the next
    assert steps(0, (32, 0, 192), (0, 6, 6, 6), 32, move) is None  # beyond the end
    assert steps(4, (32, 0, 192), (0, 6, 6, 5), 32, move) is None  # a run from one row into the next
    assert steps(0, (64, 0, 0), (0, 3, 3, 1), 64, move) is None
    assert steps(0, (64, 0, 0), (0, 3, 3, 1), 32, move) == [0, 320, 0, 0]
