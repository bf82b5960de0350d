"""The tutorial's programs print the same under flambeau and under the installed PyTorch."""

import re

import numpy as np
import pytest

from tests.programs import NAMES, TUTORIAL, seeded_output

torch = pytest.importorskip("torch")

NUMBER = re.compile(r"-?\d+\.\d*(?:e[+-]?\d+)?")


def rounds_roots():
    """Whether PyTorch rounds square roots correctly: its maths library does so on some processors only."""
    x = np.float32([1e-8, 2, 3, 0.7, 1e-3])
    return bool((torch.from_numpy(x).sqrt().numpy() == np.sqrt(x)).all())


@pytest.mark.parametrize("name", NAMES)
def test_prints_what_pytorch_prints(name, tmp_path):
    program = TUTORIAL / f"{name}.py"
    ours, theirs = seeded_output(program, tmp_path), seeded_output(program, tmp_path, side="torch")
    if ours != theirs and not rounds_roots():
        assert NUMBER.sub("#", ours) == NUMBER.sub("#", theirs)
        pairs = zip(NUMBER.findall(ours), NUMBER.findall(theirs), strict=True)
        assert all(float(a) == pytest.approx(float(b), rel=1e-6) for a, b in pairs)
    else:
        assert ours == theirs
