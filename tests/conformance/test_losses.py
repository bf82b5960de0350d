"""The first 50 training losses of the bench's programs equal PyTorch's to 4 significant digits, from the same seed; so
do those of the compiled steps.
"""

import pytest

pytest.importorskip("torch")

from bench.race import losses

STEPS = 50


@pytest.mark.parametrize("workload", ["tutorial", "mlp", "cnn", "lstm", "gpt"])
def test_first_losses(workload):
    every = losses(workload, STEPS)
    assert all(len(values) == STEPS for values in every.values())
    for side in ("flambeau", "flambeau-compiled"):
        for step, (t, f) in enumerate(zip(every["torch"], every[side])):
            # half a unit of the fourth digit; what lies on the edge between two roundings may print differently
            assert f == pytest.approx(t, rel=5e-5), (side, step, f"{t:.4g}", f"{f:.4g}")
