"""The table of bad calls says what the installed PyTorch raises, and flambeau changes no more than PyTorch does."""

import pytest

import flambeau
from tests import bad_input

torch = pytest.importorskip("torch")
ROWS = list(bad_input.rows())


@pytest.mark.parametrize(("group", "expected", "call"), ROWS, ids=[f"{g}: {c}"[:90] for g, _, c in ROWS])
def test_same_class_and_no_harm(group, expected, call):
    theirs, _, their_changes = bad_input.attempt(torch, group, call)
    ours, message, our_changes = bad_input.attempt(flambeau, group, call)
    assert theirs[0] == expected, "the table is out of date"
    assert expected in ours, f"PyTorch raises {expected}; flambeau {ours[:1] or 'nothing'}: {message}"
    assert set(our_changes) <= set(their_changes), f"flambeau changed {our_changes}, PyTorch {their_changes}"
