"""Operators of a program's own and modes, against what PyTorch does."""

import pytest

import flambeau as torch
from tests import sides

CASES = sides.collect("tests.library_cases")
RECORDED = sides.recorded("library")


@pytest.mark.parametrize("name", CASES)
def test_as_pytorch(name):
    found = sides.equal(sides.run(CASES[name], torch), RECORDED[name])
    assert found is None, found


def test_operators_have_their_name_in_errors():
    @torch.library.custom_op("named::opaque", mutates_args=())
    def opaque(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    x = torch.ones(1, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"named\.opaque.*register_autograd"):
        opaque(x).backward()
    with pytest.raises(AttributeError, match="'named'.*'nothing'"):
        torch.ops.named.nothing  # noqa: B018
    with pytest.raises(RuntimeError, match="mine::scale"):
        torch.library.define("bare", "(Tensor x) -> Tensor")


def test_a_mode_that_is_left_by_an_error_leaves_nothing_behind():
    before = torch.ones

    class Mode(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            raise KeyError("here")

    with pytest.raises(KeyError), Mode():
        torch.zeros(1)
    assert torch.ones is before
    assert torch.zeros(1).tolist() == [0.0]
    functions = torch.overrides.get_overridable_functions()
    assert torch.relu in functions[torch] and torch.ones not in functions[torch]
    assert torch.overrides.get_testing_overrides()[torch.relu]() == -1


def test_selective_names_still_work():
    assert torch.ops.aten.mm.default is torch.ops.aten.mm.default
    assert str(torch.ops.aten.mm.default) == "aten.mm.default"
