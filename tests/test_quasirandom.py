"""Sobol sequences: PyTorch's points, by recorded values and by what the sequence is for."""

import pytest

import flambeau as torch
from flambeau.quasirandom import SobolEngine


def test_points():
    engine = SobolEngine(3)
    first = torch.tensor([[0.0, 0, 0], [0.5, 0.5, 0.5], [0.75, 0.25, 0.25], [0.25, 0.75, 0.75]])
    assert torch.equal(engine.draw(4), first)
    assert torch.equal(engine.fast_forward(2).draw(), torch.tensor([[0.625, 0.125, 0.875]]))
    assert torch.equal(engine.reset().draw(4), first) and engine.num_generated == 4
    parts = torch.cat([engine.reset().draw(n) for n in (1,)] + [engine.draw(n) for n in (2, 5, 1)])
    assert torch.equal(parts, SobolEngine(3).draw(9))


def test_scrambled():
    engine = SobolEngine(3, scramble=True, seed=7)
    recorded = [[0.1995, 0.1709, 0.7494], [0.6922, 0.7115, 0.4898], [0.8505, 0.2963, 0.7880]]
    torch.testing.assert_close(engine.draw(3), torch.tensor(recorded), atol=5e-5, rtol=0)
    assert repr(engine) == "SobolEngine(dimension=3, scramble=True, seed=7)"


@pytest.mark.parametrize("scramble", [False, True])
def test_each_coordinate_falls_once_into_each_of_as_many_intervals(scramble):
    points = SobolEngine(300, scramble=scramble, seed=1).draw_base2(7)
    assert torch.equal((points * 128).long().sort(0).values, torch.arange(128).unsqueeze(1).expand(128, 300))


def test_what_is_refused():
    for dimension in (0, 21202):
        with pytest.raises(ValueError, match="21201"):
            SobolEngine(dimension)
    engine = SobolEngine(2)
    engine.draw(3)
    with pytest.raises(ValueError, match="power of 2"):
        engine.draw_base2(2)
