"""torch.func against the live oracle: every case sees the same under both libraries, and what was recorded still holds.

`python -m tests.conformance.test_func` records the cases anew.
"""

import pytest

import flambeau
from tests import sides

torch = pytest.importorskip("torch")
CASES = sides.collect("tests.func_cases")


@pytest.mark.parametrize("name", CASES)
def test_case(name):
    theirs = sides.run(CASES[name], torch)
    found = sides.equal(sides.run(CASES[name], flambeau), theirs)
    assert not found, found
    assert not sides.equal(theirs, sides.recorded("func")[name]), "recorded otherwise: run this module to record"


if __name__ == "__main__":
    sides.record("func", CASES, torch)
