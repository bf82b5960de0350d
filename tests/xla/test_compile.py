"""Steps compiled by XLA against eager ones: training in all its variety, what is refused, what is guarded."""

import numpy as np
import pytest

import flambeau as torch
from tests.compile_cases import HOWS, name_of, train


def by_xla(f):
    return torch.compile(f, backend="xla")


def programs(compiled):
    """How many programs a compiled function has and trusts."""
    return sum(map(len, compiled.trusted.values()))


@pytest.mark.parametrize("device", ["xla", "cpu"])
@pytest.mark.parametrize("how", HOWS, ids=name_of)
def test_training(how, device):
    want, have = train(**how), train(by_xla, device, **how)
    np.testing.assert_allclose(have, want, rtol=2e-5, atol=2e-6)
    assert sum(map(programs, train.compiled)) >= 1
