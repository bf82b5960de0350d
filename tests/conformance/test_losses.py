"""The first 50 training losses of the bench's programs equal PyTorch's to 4 significant digits, from the same seed."""

import pytest

pytest.importorskip("torch")

from bench.race import losses

STEPS = 50


@pytest.mark.parametrize("workload", ["tutorial", "mlp", "cnn", "lstm", "gpt"])
def test_first_losses(workload):
    both = losses(workload, STEPS)
    assert len(both["flambeau"]) == STEPS
    shown = {side: [f"{value:.4g}" for value in values] for side, values in both.items()}
    for step, (t, f) in enumerate(zip(both["torch"], both["flambeau"])):
        # half a unit of the fourth digit; what lies on the edge between two roundings may print differently
        assert f == pytest.approx(t, rel=5e-5), (step, shown["torch"][step], shown["flambeau"][step])
