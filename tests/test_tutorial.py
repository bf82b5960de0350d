"""The tutorial's programs print under ``flambeau run``, unchanged, what PyTorch 2.13 printed (``tutorial/expected``).

After adding a program: ``python tests/test_tutorial.py`` with PyTorch installed records what it prints.
"""

import sys
import tempfile

import pytest

if __name__ == "__main__":
    sys.path.insert(0, str(__import__("pathlib").Path(__file__).resolve().parent.parent))

from tests.programs import ADDRESS, EXPECTED, NAMES, ROOT, TUTORIAL, flambeau, seeded_output

EXAMPLES = ["custom_layer", "custom_function", "char_lstm"]


@pytest.mark.parametrize("name", NAMES)
def test_prints_what_pytorch_printed(name, tmp_path):
    printed = seeded_output(TUTORIAL / f"{name}.py", tmp_path)
    assert printed == (EXPECTED / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_runs_as_it_is(name):
    done = flambeau("run", TUTORIAL / f"{name}.py")
    assert done.returncode == 0, done.stderr
    seeded = "manual_seed(0)" in (TUTORIAL / f"{name}.py").read_text(encoding="utf-8")
    if seeded:
        assert ADDRESS.sub("0x", done.stdout) == (EXPECTED / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_run(name):
    done = flambeau("run", ROOT / "examples" / f"{name}.py", "40")
    assert done.returncode == 0, done.stderr
    if name != "custom_function":
        assert "step    40 of 40" in done.stdout
        assert "┤" in done.stdout, "the loss curve"
    else:
        assert "found: [2.0, -3.0, 1.0]" in done.stdout


def record():
    """Write what PyTorch prints for every program."""
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            text = seeded_output(TUTORIAL / f"{name}.py", folder, side="torch")
            (EXPECTED / f"{name}.txt").write_text(text, encoding="utf-8")
            print(f"{name}: {len(text.splitlines())} lines")


if __name__ == "__main__":
    record()
