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


def subclass(T):
    class Tagged(T.Tensor):
        pass

    return T.ones(2).as_subclass(Tagged)


TENSORS = {
    "plain": lambda T: T.tensor([[1.0, -2.5], [3.25, 4.0]]),
    "list": lambda T: [T.tensor(1), T.tensor([1.5])],
    "leaf": lambda T: T.ones(3, requires_grad=True),
    "recorded": lambda T: T.ones(3, requires_grad=True) * 2,
    "long suffixes": lambda T: (T.ones(30, dtype=T.float64, requires_grad=True) * 2).sigmoid(),
    "parameter": lambda T: T.nn.Parameter(T.ones(2, 2)),
    "frozen parameter": lambda T: T.nn.Parameter(T.ones(2), requires_grad=False),
    "parameter dict": lambda T: dict(T.nn.Linear(2, 2, bias=False).state_dict()),
    "subclass": subclass,
    "bfloat16": lambda T: T.tensor([1.0, 0.1], dtype=T.bfloat16),
    "view": lambda T: T.arange(12).reshape(3, 4).t()[1:, ::2],
    "expanded": lambda T: T.tensor([[1.0], [2.0]]).expand(2, 3),
    "complex": lambda T: T.tensor([1 + 2j, -0.5j], requires_grad=True) * 2,
    "empty": lambda T: T.empty(0, 2, dtype=T.int32),
    "scalar grad": lambda T: T.tensor(2.0, requires_grad=True) ** 2,
    "formatted": lambda T: f"{T.tensor(3.14159):.2f} {T.tensor(7):>5d} {T.tensor(True)} {T.ones(2)}",
    "formatted grad": lambda T: f"{T.tensor(3.14159, requires_grad=True):8.3e}",
    "formatted parameter": lambda T: f"{T.nn.Parameter(T.tensor(1.0))}",
    "size": lambda T: (T.ones(2, 3).shape, T.Size([])),
    "types": lambda T: (T.float32, T.device("cpu"), T.device("cuda:1"), str(T.device("cpu"))),
    "summary": lambda T: T.arange(3000).reshape(30, 100),
    "results": lambda T: T.tensor([[1.0, 3.0], [4.0, 2.0]]).max(0),
    "inside no_grad": lambda T: T.no_grad()(lambda: T.ones(1, requires_grad=True) * 2)(),
    "written in place": lambda T: T.ones(2, requires_grad=True).clone().mul_(3)[0:1].add_(1),
    "default dtype": lambda T: T.ones(2, dtype=T.float64).to(T.float32),
    "meshed": lambda T: T.meshgrid(T.arange(2), T.arange(2), indexing="ij"),
    "module": lambda T: T.nn.Sequential(T.nn.Linear(2, 3), T.nn.ReLU()),
}


@pytest.mark.parametrize("case", TENSORS)
def test_tensors_print_alike(case):
    import flambeau

    texts = []
    for T in (torch, flambeau):
        T.manual_seed(0)
        texts.append(repr(TENSORS[case](T)) + "\n" + str(TENSORS[case](T)))
    assert texts[0] == texts[1]


def test_a_vector_does_not_take_a_format():
    import flambeau

    for T in (torch, flambeau):
        with pytest.raises(TypeError):
            format(T.ones(2), ".2f")
        with pytest.raises(TypeError):
            format(T.nn.Parameter(T.ones(())), ".2f")


if __name__ == "__main__":
    rng = np.random.default_rng(2026)
    rows = [dict(case, text=oracle(case)) for case in (cases.random_case(rng, largest=30) for _ in range(320))]
    cases.RECORDED.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
