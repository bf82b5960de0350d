"""Printing against the live oracle: recorded cases are still what PyTorch prints, and random ones agree.

`python -m tests.conformance.test_printing` records the cases anew.
"""

import json

import numpy as np
import pytest

from flambeau.tensor import printing
from tests import printing_cases as cases

torch = pytest.importorskip("torch")


def to_torch(array, dtype):
    array = array.copy()
    if dtype in cases.SMALL_FLOATS:
        return torch.from_numpy(array.view(cases.SMALL_FLOATS[dtype])).view(getattr(torch, dtype))
    return torch.from_numpy(array)


def oracle(case):
    """What PyTorch prints for a case."""
    tensor = to_torch(cases.build(case), case["dtype"])
    torch.set_printoptions(profile="default")
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(getattr(torch, case["default"]))
        torch.set_printoptions(**case["options"])
        if case["grad"]:
            tensor.requires_grad_()
        return repr(tensor.clone() if case["grad"] == "CloneBackward0" else tensor)
    finally:
        torch.set_default_dtype(before)
        torch.set_printoptions(profile="default")


def ours(case):
    """What flambeau prints for it."""
    with printing.printoptions(profile="default"):
        printing.set_printoptions(**case["options"])
        return printing.format_tensor(
            cases.build(case),
            dtype="torch." + case["dtype"],
            default_dtype="torch." + case["default"],
            requires_grad=bool(case["grad"]),
            grad_fn=case["grad"] if case["grad"] == "CloneBackward0" else None,
        )


@pytest.mark.parametrize("seed", range(6))
def test_random_tensors_print_alike(seed):
    rng = np.random.default_rng(seed)
    for _ in range(250):
        case = cases.random_case(rng)
        assert ours(case) == oracle(case), case


def test_recorded_text_is_the_oracles():
    for case in cases.recorded():
        assert oracle(case) == case["text"], case


def test_options_have_the_oracles_names_and_values():
    for arguments in (
        {},
        {"profile": "short"},
        {"profile": "full"},
        {"precision": 2, "sci_mode": True},
        {"linewidth": 7},
    ):
        torch.set_printoptions(**arguments)
        with printing.printoptions(profile="default"):
            printing.set_printoptions(**arguments)
            assert printing.get_printoptions() == torch._tensor_str.get_printoptions()
        torch.set_printoptions(profile="default")


def test_large_tensors_print_alike():
    rng = np.random.default_rng(0)
    for shape in [(2000,), (300, 400), (20, 30, 40), (1001, 1), (1, 1001), (7, 1, 200), (4, 3, 2, 100)]:
        array = rng.standard_normal(shape).astype(np.float32)
        assert printing.format_tensor(array, dtype="torch.float32") == repr(torch.from_numpy(array))


if __name__ == "__main__":
    rng = np.random.default_rng(2026)
    rows = [dict(case, text=oracle(case)) for case in (cases.random_case(rng, largest=30) for _ in range(320))]
    cases.RECORDED.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
