"""``flambeau run``: unmodified programs, served names, exit codes, tracebacks."""

import subprocess
import sys

import pytest

from tests.programs import ROOT, environment, flambeau


@pytest.fixture
def script(tmp_path):
    """Writes a program and returns its path."""

    def write(text, name="program.py"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), cwd=ROOT)


def test_every_module_of_torch_is_the_one_of_flambeau(script):
    done = flambeau(
        "run",
        script("""
import importlib, pickle, sys
import torch, torch.nn as nn, torch.nn.functional as F, torch.utils.data
import torch.backends.cudnn as cudnn
from torch.nn.modules.linear import Linear
from torch import Tensor, optim
from torch.autograd import Variable, Function
from torch.optim.lr_scheduler import StepLR
import flambeau
assert torch is flambeau and nn is flambeau.nn and F is flambeau.nn.functional and optim is flambeau.optim
assert Linear is flambeau.nn.Linear and importlib.import_module("torch.nn.init") is flambeau.nn.init
assert sys.modules["torch.nn.modules.linear"] is sys.modules["flambeau.nn.modules.linear"]
assert torch.nn.__spec__.name == "flambeau.nn"
flambeau.install_as_torch()
assert torch is sys.modules["torch"]
print(Linear, pickle.loads(pickle.dumps(nn.ReLU())))
"""),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "<class 'torch.nn.modules.linear.Linear'> ReLU()\n"


def test_the_program_sees_what_python_would_show_it(script, tmp_path):
    text = """
import sys, torch, neighbour
print(__name__, sys.argv, sys.path[0], neighbour.answer, __file__, __spec__, __package__)
print(sys.modules["__main__"].__dict__ is globals())
class Local: pass
import pickle
print(type(pickle.loads(pickle.dumps(Local()))) is Local)
"""
    (tmp_path / "neighbour.py").write_text("import torch\nanswer = torch.tensor(41) + 1\n")
    done = flambeau("run", script(text), "--lr", "0.1")
    path = tmp_path / "program.py"
    shown = f"__main__ {[str(path), '--lr', '0.1']} {tmp_path} tensor(42) {path} None None\nTrue\nTrue\n"
    assert done.stdout == shown, done.stderr


def test_modules_run_too(script, tmp_path):
    script("import sys, torch\nprint(__name__, __package__, sys.argv[1:], torch.ones(1).item())", "prog.py")
    done = flambeau("run", "-m", "prog", "x", cwd=tmp_path)
    assert done.stdout == "__main__  ['x'] 1.0\n", done.stderr
    package = tmp_path / "pack"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text("from . import part\nprint(__package__, part.torch.__name__)")
    (package / "part.py").write_text("import torch")
    done = flambeau("run", "-m", "pack", cwd=tmp_path)
    assert done.stdout == "pack torch\n", done.stderr  # the name by which packages look it up


@pytest.mark.parametrize(
    ("text", "code"),
    [("", 0), ("import sys; sys.exit(7)", 7), ("raise SystemExit('bye')", 1), ("1 / 0", 1), ("x = (", 1)],
)
def test_exit_codes(script, text, code):
    assert flambeau("run", script(text)).returncode == code


def test_tracebacks_hold_the_users_frames_only(script):
    path = script("import torch\n\ndef inner():\n    return torch.nn.Lineer(2, 3)\n\ninner()\n")
    done = flambeau("run", path)
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip().startswith("File")]
    assert lines == [f'File "{path}", line 6, in <module>', f'File "{path}", line 4, in inner']
    assert done.stderr.splitlines()[-1].startswith("AttributeError: 'torch.nn.Lineer' is not in flambeau yet.")
    assert "torch.nn.Linear" in done.stderr.splitlines()[-1]


def test_a_failing_import_points_at_the_users_line(script):
    path = script("import torch\nfrom torch.nn import Convv2d\n")
    done = flambeau("run", path)
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip().startswith("File")]
    assert lines == [f'File "{path}", line 2, in <module>']
    assert "ImportError: 'torch.nn.Convv2d' is not in flambeau yet. The closest names there are: " in done.stderr


@pytest.mark.parametrize(
    ("statement", "error", "near"),
    [
        ("torch.zero", "AttributeError", "torch.zeros"),
        ("torch.nn.relu", "AttributeError", "torch.nn.functional.relu"),
        ("torch.nn.functional.lineer", "AttributeError", "torch.nn.functional.linear"),
        ("torch.optim.Adm", "AttributeError", "torch.optim.Adam"),
        ("from torch import oness", "ImportError", "torch.ones"),
        ("from torch.nn import Linea", "ImportError", "torch.nn.Linear"),
        ("import torch.nn.functionl", "ModuleNotFoundError", "torch.nn.functional"),
        ("from torch.optim.lr_schedulr import StepLR", "ModuleNotFoundError", "torch.optim.lr_scheduler"),
        ("import torch.ao", "ModuleNotFoundError", ""),
    ],
)
def test_missing_names_say_so(script, statement, error, near):
    done = flambeau("run", script(f"import torch\n{statement}\n"))
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"{error}: '")
    assert "is not in flambeau yet" in last
    assert near in last


def test_missing_methods_of_tensors_say_so_too(script):
    done = flambeau("run", script("import torch\ntorch.ones(2).summ()\n"))
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("'torch.Tensor.summ' is not in flambeau yet. The closest names there are: torch.Tensor.sum")


def test_asking_for_a_missing_name_politely(script):
    done = flambeau(
        "run",
        script("""
import torch
print(hasattr(torch, "no_such_thing"), getattr(torch, "no_such_thing", 5))
try:
    from torch import no_such_thing
except ImportError:
    print("absent")
"""),
    )
    assert done.stdout == "False 5\nabsent\n", done.stderr


def test_refuses_when_pytorch_is_there_already():
    done = python("""
import sys, types
sys.modules["torch"] = types.ModuleType("torch")
import flambeau
try:
    flambeau.install_as_torch()
except RuntimeError as error:
    print("already imported" in str(error))
print(sys.modules["torch"] is flambeau)
""")
    assert done.stdout == "True\nFalse\n", done.stderr


def test_nothing_is_served_unless_asked_for():
    done = python("import sys, flambeau; print('torch' in sys.modules, flambeau.nn.Linear.__module__)")
    assert done.stdout == "False flambeau.nn.modules.linear\n", done.stderr


def test_the_environment_can_ask_for_it():
    done = subprocess.run(
        [sys.executable, "-c", "import flambeau, torch; print(torch is flambeau)"],
        capture_output=True, text=True, env={**environment(), "FLAMBEAU_AS_TORCH": "1"},
    )  # fmt: skip
    assert done.stdout == "True\n", done.stderr


def test_the_command_line_explains_itself(tmp_path):
    assert flambeau("--version").stdout.startswith("flambeau 0.")
    assert "flambeau run SCRIPT" in flambeau("--help").stdout
    assert flambeau("run", tmp_path / "absent.py").returncode == 2
    assert "can't open file" in flambeau("run", tmp_path / "absent.py").stderr
    assert flambeau("run").returncode == 2
    assert flambeau("fly").returncode == 2
    assert "No module named" in flambeau("run", "-m", "no_such_module_anywhere").stderr


def test_the_first_operations_cost_no_guesses_about_names(script):
    text = """
import torch, flambeau.missing
flambeau.missing.closest = lambda name, *_: print("guesses for", name) or []
x = torch.randn(3, 3, requires_grad=True)
torch.nn.functional.cross_entropy(torch.nn.Linear(3, 3)(x) @ x, torch.tensor([0, 1, 2])).backward()
print(x.grad.shape)
"""
    assert flambeau("run", script(text)).stdout == "torch.Size([3, 3])\n"
