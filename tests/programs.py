"""Running whole PyTorch programs, under flambeau or PyTorch, each in a process of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TUTORIAL = ROOT / "tests" / "tutorial"
EXPECTED = TUTORIAL / "expected"
NAMES = sorted(path.stem for path in TUTORIAL.glob("*.py"))
ADDRESS = re.compile(r"0x[0-9a-f]+")

SEEDED = """\
import runpy, sys, torch
sys.argv = sys.argv[1:]
sys.path[0] = {folder!r}
import torch._jit_internal
for name in ("weak_module", "weak_script_method"):  # PyTorch has dropped these since the tutorial was written
    if not hasattr(torch._jit_internal, name):
        setattr(torch._jit_internal, name, lambda decorated: decorated)
torch.manual_seed(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def environment():
    """This checkout first on the path, and output that does not depend on the terminal.

    ``torch.Tensor(2, 3)`` is uninitialised in PyTorch and zero in flambeau: 255 tells glibc to hand out zeroed memory,
    so that PyTorch prints the same every time, and the same as flambeau.
    """
    path = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, "COLUMNS": "100", "PYTHONIOENCODING": "utf-8", "MALLOC_PERTURB_": "255"}


def execute(command, **options):
    """Run a command and return the finished process, its output captured as text."""
    return subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, encoding="utf-8", timeout=300,
        env=environment(), **options,
    )  # fmt: skip


def flambeau(*arguments, **options):
    """``python -m flambeau ARGUMENTS``."""
    return execute([sys.executable, "-m", "flambeau", *arguments], **options)


def seeded_output(program, folder, side="flambeau"):
    """What ``program`` prints when a ``torch.manual_seed(0)`` precedes it; its file stays as it is."""
    starter = Path(folder) / "seeded.py"
    starter.write_text(SEEDED.format(folder=str(Path(program).parent)), encoding="utf-8")
    done = flambeau("run", starter, program) if side == "flambeau" else execute([sys.executable, starter, program])
    assert done.returncode == 0, done.stderr
    return ADDRESS.sub("0x", done.stdout)
