"""Bad input is refused with PyTorch's exception class, with a message, and changes nothing."""

import pytest

import flambeau as torch
from tests import bad_input

ROWS = list(bad_input.rows())


def test_the_table_is_large():
    assert len(ROWS) >= 150


@pytest.mark.parametrize(("group", "expected", "call"), ROWS, ids=[f"{g}: {c}"[:90] for g, _, c in ROWS])
def test_refused(group, expected, call):
    classes, message, changed = bad_input.attempt(torch, group, call)
    assert expected in classes, f"expected {expected}, got {classes[:1] or 'no error'}: {message}"
    assert len(message) > 3 or expected in ("KeyError", "StopIteration"), "the message says nothing"
    if bad_input.single(call):
        assert not changed, f"changed {changed}"
