"""The driver of the databases itself: what it calls equal, how it translates, and that nothing stops it."""

import json
import signal
import time

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")

import flambeau  # noqa: E402
from conformance import compare, edges, operators, pool, report, scope, translate  # noqa: E402


def test_values_dtypes_and_shapes_must_agree():
    a = torch.tensor([1.0, float("nan"), float("inf")])
    compare.same(a, flambeau.tensor([1.0, float("nan"), float("inf")]), "x")
    for wrong in ([1.01, float("nan"), float("inf")], [1.0, 0.0, float("inf")], [1.0, float("nan"), -float("inf")]):
        with pytest.raises(compare.Differs):
            compare.same(a, flambeau.tensor(wrong), "x")
    with pytest.raises(compare.Differs, match="float64"):
        compare.same(a, flambeau.tensor([1.0, float("nan"), float("inf")], dtype=flambeau.float64), "x")
    with pytest.raises(compare.Differs, match="shape"):
        compare.same(a, flambeau.tensor([[1.0, float("nan"), float("inf")]]), "x")
    with pytest.raises(compare.Differs):
        compare.same((a, 3), (flambeau.tensor([1.0, float("nan"), float("inf")]), 3.0), "x")


def test_a_wider_result_decides_between_rounded_ones():
    exact = torch.tensor([100.0, 1.0], dtype=torch.float64)
    theirs, near = torch.tensor([101.0, 1.0]), flambeau.tensor([100.0, 1.0])
    assert compare.as_exact([theirs], [near], lambda: [exact])
    assert not compare.as_exact([theirs], [flambeau.tensor([103.0, 1.0])], lambda: [exact])


def test_functions_of_the_databases_run_on_flambeau():
    scale = 3

    def theirs(x, *, power=torch.tensor(2.0)):
        def inner(y):
            return torch.nn.functional.relu(y) ** power * scale

        return inner(x).to(torch.float64), torch.linalg.norm(x)

    ours = translate.rebuilt(theirs)
    a, b = ours(flambeau.tensor([-1.0, 2.0]))
    assert isinstance(a, flambeau.Tensor) and a.tolist() == [0.0, 12.0] and a.dtype is flambeau.float64
    assert abs(b.item() - 5**0.5) < 1e-6
    with pytest.raises(translate.Missing):
        translate.function(torch.sparse.mm)


def test_strides_and_memory_come_along():
    base = torch.arange(24.0).reshape(4, 6)
    for t in (base.t(), base[1:, ::2], base.expand(2, 4, 6), base[2:3, 1]):
        ours = translate.value(t)
        assert ours.stride() == t.stride() and ours.storage_offset() == t.storage_offset()
        assert ours.tolist() == t.tolist()
        assert translate.fresh(t).stride() == t.stride()


def test_steps_are_judged(monkeypatch):
    def raises(error):
        def run():
            raise error

        return run

    assert pool.judge(lambda: None) == (True, "")
    assert pool.judge(raises(operators.Nothing()))[0] is None
    assert pool.judge(raises(compare.Differs("2, not 1"))) == (False, "2, not 1")
    assert pool.judge(raises(ZeroDivisionError("x")))[0] is False
    monkeypatch.setattr(pool, "STEP_LIMIT", 0.2)
    before = signal.signal(signal.SIGPROF, pool._stop)
    try:
        passed, why = pool.judge(lambda: [None for _ in iter(int, 1)])  # goes on for ever
    finally:
        signal.signal(signal.SIGPROF, before)
    assert passed is False and "seconds" in why


def test_a_step_that_kills_its_worker_is_one_difference():
    class Process:
        exitcode = -11

        def join(self):
            pass

    class Pipe:
        def recv(self):
            raise EOFError

    worker = object.__new__(pool._Worker)
    worker.process, worker.pipe, worker.heard = Process(), Pipe(), time.monotonic()
    told = pool._hear(worker)
    assert "exit code -11" in told
    name = "positive"
    told_steps = []
    clean = pool.run_entry("ops", name, {}, None, told_steps.append)
    hurt = pool.run_entry("ops", name, {told_steps[0]: told}, None, lambda step: None)
    check = told_steps[0].split(":")[0]
    assert hurt["checks"][check] == [clean["checks"][check][0] - 1, clean["checks"][check][1]]
    assert hurt["differs"][0][2] == told


def test_worse_than_the_committed_result(tmp_path, monkeypatch):
    file = tmp_path / "conformance.json"
    file.write_text(json.dumps({"entries": {"ops": {"add": {"values": [9, 10]}, "mul": {"values": [5, 5]}}}}))
    monkeypatch.setattr(report, "DATA", file)

    def results(add, mul):
        return {
            ("ops", "add"): {"checks": {"values": add}, "differs": []},
            ("ops", "mul"): {"checks": {"values": mul}, "differs": []},
        }

    assert report.worse(results([9, 10], [5, 5])) == {}
    assert report.worse(results([12, 12], [6, 6])) == {}
    assert report.worse(results([8, 9], [5, 5])) == {}  # one that PyTorch answers otherwise elsewhere
    assert len(report.worse(results([8, 10], [5, 5]))) == 1
    assert len(report.worse(results([9, 10], [4, 4]))) == 1  # a sample is gone
    assert len(report.worse({})) == 2


def test_the_scope_is_most_of_the_database():
    inside, outside = scope.operators(), scope.out_of_scope()
    assert len(inside) > 660 and sum(map(len, outside.values())) < 40
    assert not any(name.startswith(("_", "torch.ops")) and not name.startswith("__") for name in inside)
    names = {label for name in ("exp", "atan2") for label, _ in edges.samples(inside[name], lambda dtype: [])}
    assert {label.split()[0] for label in names} == {"float64", "float32"} and len(names) > 8


def test_ties_may_be_named_in_another_order():
    class Sample:
        input = torch.tensor([1, 1, 2])
        args, kwargs = (), {}

    theirs = (torch.tensor([1, 1, 2]), torch.tensor([0, 1, 2]))
    swapped = (flambeau.tensor([1, 1, 2]), flambeau.tensor([1, 0, 2]))
    operators.same_among_equals("sort", Sample, list(theirs), list(swapped))
    for places in ([0, 0, 2], [0, 2, 1]):
        with pytest.raises(compare.Differs):
            wrong = [swapped[0], flambeau.tensor(places)]
            operators.same_among_equals("sort", Sample, list(theirs), wrong)
