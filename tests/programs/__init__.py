"""Running whole PyTorch programs, under flambeau or PyTorch, each in a process of its own."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
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


# --- the programs of this folder --------------------------------------------------------------------------------------

HERE = Path(__file__).resolve().parent
PROGRAMS = sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_"))
NUMBER = re.compile(r"-?\d+\.?\d*(?:e[-+]?\d+)?")


def sections(text):
    """What each program printed, by its name."""
    parts = re.split(r"^=== (\w+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def outputs(names, side="flambeau"):
    """What programs print, run one after another in one process."""
    runner = HERE / "_run.py"
    done = flambeau("run", runner, *names) if side == "flambeau" else execute([sys.executable, runner, *names])
    assert done.returncode == 0, done.stderr
    return sections(done.stdout)


def expected(name):
    """What a program printed under PyTorch."""
    return (HERE / "expected" / f"{name}.txt").read_text(encoding="utf-8")


def record(names):
    """Keeps what programs print under PyTorch now."""
    (HERE / "expected").mkdir(exist_ok=True)
    for name, text in outputs(names, "PyTorch").items():
        assert "Traceback" not in text, text
        (HERE / "expected" / f"{name}.txt").write_text(text, encoding="utf-8")


def unlike(ours, theirs):
    """The first line in which two outputs differ: words must be equal, numbers in 4 significant digits or in the digits
    printed, but for the last. None if there is no such line.
    """
    mine, wanted = ours.splitlines(), theirs.splitlines()
    for number, (a, b) in enumerate(zip(mine, wanted), 1):
        left, right = NUMBER.findall(a), NUMBER.findall(b)
        same = NUMBER.sub("#", a).split() == NUMBER.sub("#", b).split() and len(left) == len(right)
        if not same or not all(_close(x, y) for x, y in zip(left, right)):
            return f"line {number}:\n  {a}\nagainst PyTorch's\n  {b}"
    return None if len(mine) == len(wanted) else f"{len(mine)} lines against PyTorch's {len(wanted)}"


def _close(x, y):
    if x == y:
        return True
    digits = min(len(v.partition("e")[0].partition(".")[2]) for v in (x, y))
    last = 10.0**-digits if digits and "e" not in x + y else 0.0
    return abs(float(x) - float(y)) <= max(last * 1.01, 5e-4 * max(abs(float(x)), abs(float(y))))


def pillow_is_there():
    """Whether Pillow is installed, without which the images of folders differ from torchvision's in the last digit."""
    return importlib.util.find_spec("PIL") is not None
