"""The recorded results of `tests/fx_cases` are what PyTorch answers now."""

import pytest

import flambeau
from tests import sides

torch = pytest.importorskip("torch")
CASES = sides.collect("tests.fx_cases")


@pytest.mark.parametrize("name", CASES)
def test_side_by_side(name):
    theirs = sides.run(CASES[name], torch)
    assert sides.equal(sides.recorded("fx")[name], theirs) is None
    found = sides.equal(sides.run(CASES[name], flambeau), theirs)
    assert found is None, found
