"""Autograd: what PyTorch saw in each case when it was recorded, and what has no equal there."""

import gc
import weakref

import pytest

import flambeau as torch
from tests import sides

CASES = sides.collect("tests.autograd_cases")
RECORDED = sides.recorded("autograd")


@pytest.mark.parametrize("name", CASES)
def test_case(name):
    found = sides.equal(sides.run(CASES[name], torch), RECORDED[name])
    assert not found, found


def test_a_chain_of_100_000_operations_goes_backward():
    x = torch.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(50_000):
        y = (y + 0.0) * 1.0
    y.backward()
    assert x.grad.item() == 1.0


def test_a_long_chain_is_freed_without_recursion():
    x = torch.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(200_000):
        y = y * 1.0
    last = weakref.ref(y)
    del y
    assert last() is None


def test_graphs_have_no_cycles():
    gc.collect()
    gc.disable()
    try:
        x = torch.ones(3, requires_grad=True)
        y = torch.nn.functional.softmax((x.exp() * x).view(3, 1), 0) * 3
        y.mul_(2)
        node, tensor = weakref.ref(y.grad_fn), weakref.ref(y)
        y.sum().backward()
        del y
        assert node() is None
        assert tensor() is None
    finally:
        gc.enable()


def test_backward_frees_what_it_saved():
    x = torch.ones(3, requires_grad=True)
    a = x * 2
    saved = weakref.ref(a)
    y = a.exp().mul(a).sum()
    del a
    assert saved() is not None
    y.backward()
    assert saved() is None


def test_a_failed_call_changes_nothing():
    x = torch.ones(3, requires_grad=True)
    y = x * x
    with pytest.raises(RuntimeError, match="scalar"):
        y.backward()
    with pytest.raises(RuntimeError, match="leaf"):
        x.add_(1)
    with pytest.raises(RuntimeError):
        y.add_(torch.ones(4))
    assert x.grad is None
    assert x.tolist() == [1.0, 1.0, 1.0]
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0, 2.0]


def test_anomaly_mode_names_the_cause_and_the_line():
    x = torch.tensor([4.0, 0.0], requires_grad=True)
    with pytest.raises(RuntimeError) as caught, pytest.warns(UserWarning, match="[Aa]nomaly"):
        with torch.autograd.detect_anomaly():
            (x.sqrt() * 0).sum().backward()  # the line
    text = str(caught.value)
    assert "SqrtBackward0" in text
    assert "the line" in text
    assert "eps" in text


def test_anomaly_mode_names_lines_of_a_program_in_a_folder_of_the_library_s_name(tmp_path):
    program = tmp_path / "flambeau" / "step.py"
    program.parent.mkdir()
    program.write_text("def lose(x):\n    return (x.sqrt() * 0).sum()  # its line\n")
    scope = {}
    exec(compile(program.read_text(), str(program), "exec"), scope)
    with pytest.raises(RuntimeError, match="its line"), pytest.warns(UserWarning, match="[Aa]nomaly"):
        with torch.autograd.detect_anomaly():
            scope["lose"](torch.tensor([4.0, 0.0], requires_grad=True)).backward()


def test_a_recorded_backward_sums_away_what_broadcasting_added_where_an_index_comes_first():
    condition = torch.tensor([[True, False], [False, True], [True, True]])
    a, b = torch.ones(3, 2, requires_grad=True), torch.ones(2, requires_grad=True)
    first = torch.autograd.grad((torch.where(condition, a, b) ** 2).sum(), [a, b], create_graph=True)
    assert [g.shape for g in first] == [(3, 2), (2,)]
    assert first[1].tolist() == [2.0, 2.0]
    assert torch.autograd.grad(first[1].sum(), b)[0].tolist() == [2.0, 2.0]
