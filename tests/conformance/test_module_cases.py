"""The promises of modules and containers are PyTorch's."""

import pytest

from tests import container_cases, hook_cases, module_cases, normal_cases

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    "check",
    [*module_cases.CASES, *hook_cases.CASES, *container_cases.CASES, *normal_cases.CASES],
    ids=lambda f: f.__name__,
)
def test_case(check):
    check(torch)
