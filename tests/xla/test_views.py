"""Views, writes in place and versions on device `xla`: the random programs of `tests/view_programs.py`, which
`tests/conformance` runs against PyTorch, see the same on both engines, and so do the recorded cases of autograd.
"""

import warnings

import pytest

import flambeau
from tests import sides
from tests import view_programs as programs

XLA = flambeau.device("xla")


def attempt(call):
    """The result, or the class of the exception."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return call()
        except Exception as error:
            return type(error)


@pytest.mark.parametrize("block", range(4))
def test_random_programs(block):
    for seed in range(block * 4, block * 4 + 4):
        ours, theirs = [], []
        for step in programs.program(1000 + seed, 16):
            if step[0] == "random":
                step = programs.choose(step, theirs)
            wanted = attempt(lambda: programs.run_step(flambeau, theirs, step))
            with XLA:
                got = attempt(lambda: programs.run_step(flambeau, ours, step))
            if isinstance(wanted, type):
                assert got is wanted, f"program {seed}, {step}: {got} against {wanted}"
                if step[0] == "write":
                    break
                continue
            assert not isinstance(got, type), f"program {seed}, {step}: {got}"
            if step[0] != "write":
                ours.append(got)
                theirs.append(wanted)
            assert all(t.device.type == "xla" for t in ours)
            found = sides.equal(programs.state(flambeau, ours), programs.state(flambeau, theirs), tolerance=1e-12)
            assert not found, f"program {seed}, after {step}: {found}"
        with XLA:
            got = attempt(lambda: programs.finish(flambeau, ours))
        wanted = attempt(lambda: programs.finish(flambeau, theirs))
        found = got is not wanted if isinstance(wanted, type) else sides.equal(got, wanted, tolerance=1e-9)
        assert not found, f"program {seed}, gradients: {found}"


# cases that hand tensors to NumPy, which only those on the CPU can
ON_CPU = ("hooks.saved_tensors_hooks", "modes.contexts")
CASES = {name: case for name, case in sides.collect("tests.autograd_cases").items() if name not in ON_CPU}


def without_device(notes):
    """The notes, with tensors printed as they are on the CPU."""
    if isinstance(notes, str):
        return notes.replace(", device='xla:0'", "")
    if isinstance(notes, list):
        return [without_device(n) for n in notes]
    if isinstance(notes, dict):
        return {k: without_device(v) for k, v in notes.items()}
    return notes


@pytest.mark.parametrize("name", sorted(CASES))
def test_autograd_case(name):
    with XLA:
        got = sides.run(CASES[name], flambeau)
    found = sides.equal(without_device(got), sides.run(CASES[name], flambeau))
    assert not found, found
