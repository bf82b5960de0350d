"""Random programs of views, writes in place and arithmetic see the same under both libraries, step by step."""

import warnings

import pytest

import flambeau
from tests import view_programs as programs
from tests.sides import equal

torch = pytest.importorskip("torch")

# What PyTorch forbids since it can't tell the gradient, flambeau may allow: it knows all views of a base
FORBIDDEN = ("in no_grad mode", "multiple views", "single memory location", "leaf Variable")


def attempt(call):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return call(), None
    except Exception as error:
        return None, error


def compare_step(step, ours, theirs):
    """Runs one step on both sides. Returns whether the program goes on."""
    mine, my_error = attempt(lambda: programs.run_step(flambeau, ours, step))
    other, error = attempt(lambda: programs.run_step(torch, theirs, step))
    if error is not None:
        if any(words in str(error) for words in FORBIDDEN) and my_error is None:
            return False
        assert type(my_error) is type(error), f"{step}: {my_error!r} against {error!r}"
        return step[0] != "write" or "leaf Variable" in str(error)
    assert my_error is None, f"{step}: {my_error!r} where PyTorch raises nothing"
    if step[0] != "write":
        ours.append(mine)
        theirs.append(other)
    wanted, error = attempt(lambda: programs.state(torch, theirs))
    if error is not None:
        return False  # a view that PyTorch forbids to look at
    found = equal(programs.state(flambeau, ours), wanted)
    assert not found, f"after {step}: {found}"
    return True


def compare_gradients(seed, ours, theirs):
    """Goes backward on both sides."""
    mine, my_error = attempt(lambda: programs.finish(flambeau, ours))
    other, error = attempt(lambda: programs.finish(torch, theirs))
    assert type(my_error) is type(error), f"program {seed}, backward: {my_error!r} against {error!r}"
    if error is None:
        found = equal(mine, other)
        assert not found, f"program {seed}, gradients: {found}"


@pytest.mark.parametrize("block", range(10))
def test_random_programs(block):
    for seed in range(block * 40, block * 40 + 40):
        ours, theirs = [], []
        for drawn in programs.program(seed, 12):
            step = drawn if drawn[0] == "leaf" else programs.choose(drawn, theirs)
            if not compare_step(step, ours, theirs):
                break
        else:
            compare_gradients(seed, ours, theirs)
