"""Whole programs print the same under flambeau and under the PyTorch that is installed."""

import importlib.util

import pytest

from tests import programs

NAMES = [n for n in programs.PROGRAMS if n != "torchvision_folder" or importlib.util.find_spec("torchvision")]


@pytest.fixture(scope="module")
def both():
    return programs.outputs(NAMES), programs.outputs(NAMES, "PyTorch")


@pytest.mark.parametrize("name", NAMES)
def test_prints_the_same(name, both):
    ours, theirs = both
    difference = programs.unlike(ours[name], theirs[name])
    assert difference is None, difference
