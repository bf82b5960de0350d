"""Whole programs of the kinds that people write print what they print under PyTorch (`tests/programs/expected`)."""

import pytest

from tests import programs


@pytest.fixture(scope="module")
def printed():
    names = [n for n in programs.PROGRAMS if n != "torchvision_folder" or programs.pillow_is_there()]
    return programs.outputs(names)


@pytest.mark.parametrize("name", programs.PROGRAMS)
def test_prints_what_it_prints_under_pytorch(name, printed):
    if name == "torchvision_folder":
        pytest.importorskip("PIL")
    difference = programs.unlike(printed[name], programs.expected(name))
    assert difference is None, difference


def test_the_comparison_sees_differences():
    unlike = programs.unlike
    assert unlike("loss 0.1234 at 3", "loss 0.1235 at 3") is None and unlike("a 12345.6", "a 12345.9") is None
    assert unlike("loss 0.1234", "loss 0.1237") and unlike("epoch 3", "epoch 4") and unlike("a\nb", "a")
    assert unlike("loss 0.1", "lass 0.1") and unlike("1 2", "1")
    assert unlike("0.0012", "0.0014") and unlike("1e-7", "2e-7")
