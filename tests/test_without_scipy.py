"""scipy is no dependency: whatever there is runs where it can't be imported, and data sets that need it say so."""

import ast
import subprocess
import sys
from pathlib import Path

from tests.programs import environment

PROGRAM = """
import sys
sys.modules["scipy"] = None  # importing it fails as where it is not installed
import flambeau as torch

x = torch.linspace(0.1, 0.9, 5, dtype=torch.float64)
two = ("xlogy", "xlog1py", "zeta", "gammainc", "gammaincc")
for name in dir(torch.special):
    f = getattr(torch.special, name)
    if name.startswith("_") or "polynomial" in name or not callable(f) or "softmax" in name or name == "logsumexp":
        continue
    if name in two:
        g = lambda x: f(x.detach() + 1, x)
    elif name == "polygamma":
        g = lambda x: f(2, x)
    elif name in ("multigammaln", "mvlgamma"):
        g = lambda x: f(x + 3, 2)
    else:
        g = f
    assert torch.isfinite(g(x)).all(), name
    y = x.clone().requires_grad_()
    if g(y).requires_grad:  # derivatives call others
        g(y).sum().backward()
        assert torch.isfinite(y.grad).all(), name
a = torch.randn(2, 5, 5, dtype=torch.float64)
for kind in (torch.float32, torch.float64, torch.complex64, torch.complex128):
    b = a.to(kind)
    torch.linalg.lu(b), torch.geqrf(b), torch.matrix_exp(b), torch.linalg.ldl_factor(b @ b.mT), torch.linalg.inv(b)
torch.nn.functional.gelu(a), torch.erf(a), torch.lgamma(a)
torch.quasirandom.SobolEngine(3, scramble=True).draw(4)
d = torch.distributions
for family in (d.Gamma(x, x), d.Beta(x, x), d.Dirichlet(x), d.StudentT(x), d.Normal(x, x), d.Poisson(x)):
    family.log_prob(family.sample()), family.sample()
"""

DATA = """
import sys
sys.modules["scipy"] = None
import pathlib, tempfile
from flambeau.vision.datasets import SVHN

with tempfile.TemporaryDirectory() as folder:
    pathlib.Path(folder, "train_32x32.mat").write_bytes(b"")
    try:
        SVHN(folder)
    except ModuleNotFoundError as error:
        assert "pip install scipy" in str(error), error
    else:
        raise SystemExit("it was read")
"""


def run(program):
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment())
    assert out.returncode == 0, out.stderr


def test_everything_runs():
    run(PROGRAM)


def test_a_data_set_of_mat_files_says_what_to_install():
    run(DATA)


def test_nothing_else_imports_it():
    package = Path(__file__).parent.parent / "src" / "flambeau"
    found = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            if any(name.split(".")[0] == "scipy" for name in names):
                found.add(path.relative_to(package).as_posix())
    assert found == {"vision/datasets/stl.py"}
