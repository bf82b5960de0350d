"""Programs of XLA's: ways of calling compiled functions, and what they leave behind."""

import pytest

from flambeau.errors import CaptureError
from tests.compile_calls import CALLS, Place, found_by, same, x
from tests.xla.test_compile import by_xla


@pytest.mark.parametrize("program", CALLS)
def test_calls_give_what_they_give_uncompiled(program):
    same(found_by(program), found_by(program, by_xla), 1e-4)


def test_results_that_can_not_be_made_anew_are_refused():
    def held(x):
        place = Place()
        place.x = x * 2
        return place

    with pytest.raises(CaptureError, match="can't return a Place"):
        by_xla(held)(x(0))


def test_memory_that_numpy_would_share_is_refused():
    with pytest.raises(CaptureError, match="NumPy"):
        by_xla(lambda x: x * float(x.numpy()[0]))(x(0))
