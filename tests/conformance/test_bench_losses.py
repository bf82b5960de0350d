"""The bench's models train alike: their first 50 losses under PyTorch, flambeau and flambeau compiled."""

import numpy as np
import pytest

from bench import race


@pytest.mark.slow
@pytest.mark.parametrize("workload", ["tutorial", "mlp", "cnn", "lstm", "gpt"])
def test_losses(workload):
    theirs, *ours = race.losses(workload, 50).values()
    for losses in ours:
        np.testing.assert_allclose(losses, theirs, rtol=5e-5)
