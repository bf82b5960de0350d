"""Graphs of programs: tracing, reading, rewriting, against what PyTorch does."""

import io
import subprocess
import sys

import pytest

import flambeau as torch
from tests import sides
from tests.programs import environment

CASES = sides.collect("tests.fx_cases")
RECORDED = sides.recorded("fx")


@pytest.mark.parametrize("name", CASES)
def test_as_pytorch(name):
    found = sides.equal(sides.run(CASES[name], torch), RECORDED[name])
    assert found is None, found


WRAPPED = """
import torch
import torch.fx

def mine(a, b):
    return a * b if a.sum() > 0 else a

torch.fx.wrap('mine')
torch.fx.wrap('len')

@torch.fx.wrap
def other(a):
    return a + 1

traced = torch.fx.symbolic_trace(lambda x: other(mine(x, len(x))))
print(traced.code, traced(torch.ones(3)))
try:
    (lambda: torch.fx.wrap('sum'))()
except NotImplementedError as error:
    print('refused')
print(type(torch.fx.Proxy), torch.fx.Proxy.__module__, torch.fx.GraphModule.__module__)
"""


def test_wrapped_functions_stay_calls(tmp_path):
    script = tmp_path / "wrapped.py"
    script.write_text(WRAPPED)
    command = [sys.executable, "-m", "flambeau", "run", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=60)
    assert done.returncode == 0, done.stderr
    assert 'torch.fx._symbolic_trace.wrap("__main___mine")' in done.stdout
    assert "len_1 = len(x)" in done.stdout and "__main___other(mine)" in done.stdout
    assert "tensor([4., 4., 4.])" in done.stdout and "refused" in done.stdout
    assert "torch.fx.proxy torch.fx.graph_module" in done.stdout


def test_a_folder_of_code(tmp_path):
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)).eval()
    traced = torch.fx.symbolic_trace(net)
    traced.to_folder(tmp_path / "written", "Written")
    program = "import torch, written; m = written.Written().eval(); print(m(torch.ones(1, 2)).tolist())"
    command = [sys.executable, "-m", "flambeau", "run"]
    script = tmp_path / "use.py"
    script.write_text(program)
    done = subprocess.run([*command, str(script)], capture_output=True, text=True, env=environment(), timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(net(torch.ones(1, 2)).tolist())


def test_saved_with_its_program(tmp_path):
    traced = torch.fx.symbolic_trace(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU()))
    buffer = io.BytesIO()
    torch.save(traced, buffer)
    buffer.seek(0)
    again = torch.load(buffer, weights_only=False)
    assert again.code == traced.code
    assert torch.equal(again(torch.ones(1, 2)), traced(torch.ones(1, 2)))


def test_tracing_leaves_nothing_behind():
    before = (torch.relu, torch.Tensor.relu, torch.nn.Module.__call__, torch.zeros)
    with pytest.raises(torch.fx.proxy.TraceError):
        torch.fx.symbolic_trace(lambda x: x if x else -x)
    assert before == (torch.relu, torch.Tensor.relu, torch.nn.Module.__call__, torch.zeros)
    assert "relu" not in vars(torch.Tensor) or torch.Tensor.relu is before[1]


def test_errors_show_the_line_of_generated_code():
    traced = torch.fx.symbolic_trace(lambda x: torch.relu(x) @ torch.ones(3))
    with pytest.raises(RuntimeError) as caught:
        traced(torch.ones(2))
    assert any("matmul = relu @" in note for note in caught.value.__notes__)
    with pytest.raises(RuntimeError) as caught:
        torch.fx.Interpreter(traced).run(torch.ones(2))
    assert any("While executing %matmul" in note for note in caught.value.__notes__)


def test_passes_in_a_row():
    from flambeau.fx.passes.infra.pass_base import PassBase, PassResult
    from flambeau.fx.passes.infra.pass_manager import PassManager

    class Tanh(PassBase):
        def call(self, gm):
            found = gm.graph.find_nodes(op="call_function", target=torch.relu)
            for node in found:
                node.target = torch.tanh
            return PassResult(gm, bool(found))

    traced = torch.fx.symbolic_trace(lambda x: torch.relu(x))
    result = PassManager([Tanh()], steps=3)(traced)
    assert result.modified and "torch.tanh" in traced.code
    assert not PassManager([Tanh()])(traced).modified
