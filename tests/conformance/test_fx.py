"""The recorded results of `tests/fx_cases` and `tests/library_cases` are what PyTorch answers now."""

import pytest

import flambeau
from tests import sides

torch = pytest.importorskip("torch")
CASES = {
    (kind, name): case for kind in ("fx", "library") for name, case in sides.collect(f"tests.{kind}_cases").items()
}


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_side_by_side(kind, name):
    theirs = sides.run(CASES[kind, name], torch)
    assert sides.equal(sides.recorded(kind)[name], theirs) is None
    found = sides.equal(sides.run(CASES[kind, name], flambeau), theirs)
    assert found is None, found
