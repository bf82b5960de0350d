"""Compiled steps against eager ones: every op of the table, whole training steps, what is refused, what is guarded."""

import gc
import itertools
import warnings

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from flambeau.compiled.step import Compiled
from flambeau.errors import CaptureError
from flambeau.nn import functional as F
from tests.compile_cases import HOWS, name_of, train
from tests.op_rows.tools import convert, flat, operands, replaced
from tests.op_table import ROWS

#: What a plan can't be made of, and why.
BY_VALUE = {
    **dict.fromkeys(
        ("argwhere", "nonzero", "masked_select", "getitem mask", "unique", "unique_consecutive"),
        "how many elements the result has depends on values",
    ),
}
# Rows that show how bad operands are refused.
REFUSED = {"einsum refused", "linalg.cholesky refused"}


def plans(compiled):
    return sum(map(len, compiled.plans.values()))


def arrays(results):
    return [np.array(t.detach().numpy()) for t in results]


@pytest.fixture(scope="module", autouse=True)
def few_objects():
    """A capture looks through all live tensors: those of other tests need not be looked at again and again."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def all_samples(row):
    """All calls of a row as one step: results, and the gradients of their squares by the operands."""
    function = row.function(torch)
    samples = row.calls()
    counts = [len(operands(sample)) for sample in samples]

    def step(*tensors):
        told, at = [], 0
        for sample, count in zip(samples, counts, strict=True):
            mine = [t.detach().requires_grad_() for t in tensors[at : at + count]]
            at += count
            source = iter(mine)
            results = flat(function(*replaced(sample.args, source, torch), **replaced(sample.kwargs, source, torch)))
            results = [t for t in results if isinstance(t, torch.Tensor)]
            grown = [t for t in results if t.requires_grad]
            if grown and row.orders:
                sum((t * t).sum().abs() for t in grown).backward()
            told += [t.detach() for t in results] + [torch.zeros(()) if t.grad is None else t.grad for t in mine]
        return told

    return step, [convert(a, torch) for sample in samples for a in operands(sample)]


@pytest.mark.slow
@pytest.mark.parametrize("row", [r for r in ROWS if r.name not in REFUSED], ids=lambda row: row.name)
def test_every_op(row):
    step, given = all_samples(row)
    compiled = Compiled(step)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if row.name in BY_VALUE:
            with pytest.raises(CaptureError):
                for _ in range(3):
                    compiled(*given)
            return
        compiled(*given)
        compiled(*given)
        compiled(*[t * (1 - 2**-12) for t in given])
        want, have = step(*given), compiled(*given)
    assert plans(compiled)
    for w, h in zip(arrays(want), arrays(have), strict=True):
        assert w.dtype == h.dtype and w.shape == h.shape
        np.testing.assert_allclose(h, w, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("how", HOWS, ids=name_of)
def test_training(how):
    def compile(f):
        return torch.compile(f) if isinstance(f, nn.Module) else Compiled(f)

    want, have = train(**how), train(compile, **how)
    np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-6)
    assert sum(plans(c) for c in train.compiled) >= 1



@pytest.mark.parametrize(
    "read",
    [
        lambda t: t.sum().item(),
        lambda t: bool(t.sum() > 0),
        lambda t: float(t.mean()),
        lambda t: print(t),
        lambda t: t.tolist(),
        lambda t: t[t > 0],
        lambda t: torch.nonzero(t),
        lambda t: torch.unique(t),
        lambda t: torch.bincount(t.abs().long()),
        lambda t: F.one_hot(t.abs().long()),
        lambda t: torch.repeat_interleave(t, t.abs().long()),
    ],
)
def test_reading_values_is_refused_with_the_line(read, capsys):
    @torch.compile
    def step(x):
        y = x * 2
        read(y)
        return y

    x = torch.arange(-2.0, 3.0)
    step(x)
    with pytest.raises(CaptureError, match="test_compile.py, line"):
        step(x)


def test_fallback_runs_eagerly_and_warns_once():
    @torch.compile(fallback=True)
    def step(x):
        return x * x.sum().item()

    x = torch.ones(3)
    step(x)
    with pytest.warns(UserWarning, match="eagerly"):
        assert step(x).tolist() == [3.0] * 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert step(x).tolist() == [3.0] * 3


def test_results_are_new_and_arguments_stay():
    @torch.compile
    def step(x):
        return x + 1, x.view(-1)[:2] * 2

    x = torch.ones(2, 2)
    first = [step(x) for _ in range(5)]
    x += 1
    last = step(x)
    assert first[-1][0].tolist() == [[2, 2], [2, 2]] and last[0].tolist() == [[3, 3], [3, 3]]
    assert last[1].tolist() == [4, 4] and plans(step) == 1


def test_writes_and_views_are_real():
    state = torch.zeros(4)

    @torch.compile
    def step(x):
        view = state[1:3]
        view.add_(x)
        state[0] = view.sum()
        return state * 2

    want = torch.zeros(4)
    for i in range(7):
        x = torch.full((2,), float(i))
        have = step(x)
        want[1:3] += x
        want[0] = want[1:3].sum()
        assert torch.equal(state, want) and torch.equal(have, want * 2)
    assert plans(step) == 1


def test_arguments_are_left_as_eager_leaves_them():
    def step(x, w, h):
        x.mul_(2)
        h.relu_()
        loss = (w * x).sum() + (h * h).sum()
        loss.backward()
        return w, x, loss

    compiled = Compiled(step)
    told = []
    for run in (step, compiled):
        numbers = []
        w = torch.tensor([1.0, -2.0], requires_grad=True)
        for i in range(7):
            if i == 5:
                w.grad = None
            x, leaf = torch.full((2,), i + 1.0), torch.tensor([-1.0, i], requires_grad=True)
            same, x2, loss = run(x, w, leaf * 3)
            assert same is w and x2 is x and loss.requires_grad
            with pytest.raises(RuntimeError):
                loss.backward()
            numbers += [x.tolist(), w.grad.tolist(), leaf.grad.tolist(), loss.item()]
        told.append(numbers)
    assert told[0] == told[1] and plans(compiled) >= 1


def test_writes_into_arguments_go_on_the_tape():
    @torch.compile
    def relu_(x):
        return x.mul_(3).relu_()

    for i in range(6):
        leaf = torch.tensor([-1.0, 2.0], requires_grad=True)
        x = leaf * (i + 1)
        y = relu_(x)
        assert y is x and y.tolist() == [0.0, 6.0 * (i + 1)]
        y.sum().backward()
        assert leaf.grad.tolist() == [0.0, 3.0 * (i + 1)]


def test_one_tensor_given_twice_is_one_tensor():
    @torch.compile
    def step(a, b):
        a.add_(1)
        return (a * b).sum(), torch.tensor(float(a is b))

    for x in [torch.full((2,), float(i)) for i in range(5)]:
        want = 2 * (x + 1).square()[0]
        total, same = step(x, x)
        assert total == want and same == 1
    assert step(torch.ones(2), torch.ones(2))[1] == 0 and plans(step) == 1


def test_parameters_that_are_returned_are_the_parameters():
    layer = nn.Linear(2, 1)
    step = torch.compile(lambda x: (layer(x), layer.weight))
    for _ in range(5):
        y, weight = step(torch.ones(1, 2))
        assert weight is layer.weight and weight.requires_grad
        y.sum().backward()


def test_python_values_are_guarded():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = 2.0

        def forward(self, x):
            return x * self.factor

    scale = Scale()
    compiled = torch.compile(scale)
    x = torch.ones(3)
    for _ in range(5):
        assert compiled(x).tolist() == [2.0] * 3
    scale.factor = 5.0
    for _ in range(5):
        assert compiled(x).tolist() == [5.0] * 3
    scale.factor = 2.0
    assert compiled(x).tolist() == [2.0] * 3
    assert "factor: 2.0 became 5.0" in torch.compile.explain(compiled)


def test_another_shape_is_another_plan_and_is_told():
    @torch.compile
    def step(x):
        return torch.tanh(x) * 2

    for n in (3, 5):
        for _ in range(4):
            x = torch.rand(n)
            torch.testing.assert_close(step(x), torch.tanh(x) * 2)
    text = torch.compile.explain(step)
    assert plans(step) == 2 and "float32[3] became float32[5]" in text and "memory" in text


def test_several_calls_before_their_backward():
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    compiled = torch.compile(layer)
    for _ in range(6):
        a, b = torch.rand(4, 3), torch.rand(4, 3)
        layer.zero_grad()
        (compiled(a).sum() + compiled(b).square().sum()).backward()
        have = layer.weight.grad.clone()
        layer.zero_grad()
        (layer(a).sum() + layer(b).square().sum()).backward()
        torch.testing.assert_close(have, layer.weight.grad)


def test_gradients_of_arguments():
    @torch.compile
    def f(x, w):
        return torch.tanh(x @ w), x.sum()

    for _ in range(5):
        x, w = torch.rand(3, 4, requires_grad=True), torch.rand(4, 2, requires_grad=True)
        y, total = f(x * 2, w)
        (y.sum() + total).backward()
        x2, w2 = x.detach().requires_grad_(), w.detach().requires_grad_()
        (torch.tanh(x2 * 2 @ w2).sum() + (x2 * 2).sum()).backward()
        torch.testing.assert_close(x.grad, x2.grad)
        torch.testing.assert_close(w.grad, w2.grad)
    with pytest.raises(RuntimeError, match="create_graph"):
        torch.autograd.grad(y.sum(), w, create_graph=True)


def test_random_numbers_are_those_of_eager():
    def step(x):
        return F.dropout(x, 0.5) + torch.randn(4) + torch.rand(4).mul(torch.randint(0, 9, (4,)))

    compiled = Compiled(step)
    x = torch.ones(4)
    torch.manual_seed(3)
    want = [step(x) for _ in range(8)]
    torch.manual_seed(3)
    have = [compiled(x) for _ in range(8)]
    assert plans(compiled) == 1
    for w, h in zip(want, have):
        assert torch.equal(w, h)


def test_bad_values_are_still_refused():
    table = nn.Embedding(4, 2)
    compiled = torch.compile(lambda i, y: F.cross_entropy(table(i), y))
    good = torch.tensor([0, 3]), torch.tensor([1, 0])
    for _ in range(4):
        compiled(*good)
    with pytest.raises(IndexError):
        compiled(torch.tensor([0, 4]), good[1])
    with pytest.raises(IndexError):
        compiled(good[0], torch.tensor([0, 2]))
    assert torch.isfinite(compiled(*good))


def test_a_step_that_differs_from_call_to_call_is_refused():
    turn = itertools.cycle((True, False)).__next__  # of which nothing can be seen

    @torch.compile
    def step(x):
        return x * 2 if turn() else torch.tanh(x)

    x = torch.ones(2)
    step(x)
    step(x)
    with pytest.raises(CaptureError, match="same each time"):
        step(x)


def test_values_computed_unseen_are_noticed():
    @torch.compile
    def step(x):
        return x * torch.from_numpy(np.array(x.detach()))

    step(torch.rand(3))
    with pytest.raises(CaptureError):
        for _ in range(3):
            step(torch.rand(3))


def test_numpy_and_tensors_are_ordinary_after_a_capture():
    x = torch.ones(3)
    step = torch.compile(lambda a: a + x)
    for _ in range(4):
        step(x)
    assert type(x._a) is np.ndarray and type(x.numpy()) is np.ndarray
    step = None
    assert all(type(t._a) is np.ndarray for t in gc.get_objects() if isinstance(t, torch.Tensor))


def test_accepted_options():
    def f(x):
        return x + 1

    assert torch.compile(f, disable=True) is f and torch.compile(f, backend="eager") is f
    assert torch.compile(f, fullgraph=True, dynamic=True, mode="max-autotune")(torch.ones(1)).item() == 2
    with pytest.raises(RuntimeError):
        torch.compile(f, mode="default", options={})
    with pytest.raises(TypeError):
        torch.compile(3)
    assert torch.compiler.disable(f) is f and torch.compile(f) is f
    module = torch.compile(nn.Linear(2, 1))
    assert list(module.state_dict()) == ["_orig_mod.weight", "_orig_mod.bias"] and module.in_features == 2
