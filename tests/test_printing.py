"""Printing: the recorded cases of PyTorch, and what the options do."""

import numpy as np
import pytest

from flambeau.tensor import printing
from tests import printing_cases as cases


@pytest.fixture(autouse=True)
def default_options():
    with printing.printoptions(profile="default"):
        yield


def show(array, **given):
    return printing.format_tensor(array, dtype=given.pop("dtype", f"torch.{array.dtype}"), **given)


def test_recorded_cases():
    rows = cases.recorded()
    assert len(rows) > 300
    for case in rows:
        printing.set_printoptions(profile="default")
        printing.set_printoptions(**case["options"])
        text = show(
            cases.build(case),
            dtype="torch." + case["dtype"],
            default_dtype="torch." + case["default"],
            requires_grad=bool(case["grad"]),
            grad_fn=case["grad"] if case["grad"] == "CloneBackward0" else None,
        )
        assert text == case["text"], case


def test_whole_floats_keep_their_point():
    assert show(np.array([1.0, -20.0, np.nan], np.float32)) == "tensor([  1., -20.,  nan])"


def test_a_wide_range_gets_exponents():
    assert show(np.array([1e-5, 1.0], np.float32)) == "tensor([1.0000e-05, 1.0000e+00])"


def test_empty_tensors_tell_their_size_and_dtype():
    assert show(np.zeros((0,), np.float32)) == "tensor([])"
    assert show(np.zeros((2, 0), np.int64)) == "tensor([], size=(2, 0), dtype=torch.int64)"


def test_suffixes_move_to_a_new_line_at_the_line_width():
    array = np.zeros(11, np.float64)
    expected = (
        "tensor([0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0.], dtype=torch.float64,\n       grad_fn=<MulBackward0>)"
    )
    assert show(array, grad_fn="MulBackward0") == expected


def test_a_tensor_without_storage():
    text = printing.format_tensor(None, dtype="torch.float32", shape=(2, 3), device="meta")
    assert text == "tensor(..., device='meta', size=(2, 3))"


def test_a_summary_looks_at_the_shown_elements_only():
    array = np.zeros(5000, np.float32)
    array[2500] = 123456.0
    assert show(array) == "tensor([0., 0., 0.,  ..., 0., 0., 0.])"


def test_options_return_to_what_they_were():
    printing.set_printoptions(precision=2, sci_mode=True)
    with printing.printoptions(precision=7):
        assert printing.get_printoptions()["precision"] == 7
        assert printing.get_printoptions()["sci_mode"] is None
    assert printing.get_printoptions()["precision"] == 2
    assert printing.get_printoptions()["sci_mode"] is True
