"""The tutorial's programs print the same under flambeau and under the installed PyTorch."""

import pytest

from tests.programs import NAMES, TUTORIAL, seeded_output

pytest.importorskip("torch")


@pytest.mark.parametrize("name", NAMES)
def test_prints_what_pytorch_prints(name, tmp_path):
    program = TUTORIAL / f"{name}.py"
    assert seeded_output(program, tmp_path) == seeded_output(program, tmp_path, side="torch")
