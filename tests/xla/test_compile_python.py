"""Steps compiled by XLA and the Python around them: values that they read, values that they change."""

import numpy as np
import pytest

import flambeau as torch
from flambeau.errors import CaptureError
from tests.compile_python import CHANGED, EFFECTS, SCHEDULED, averaged, given, losses_of, scheduled_losses
from tests.xla.test_compile import by_xla

#: What nothing is known about before the same was seen twice.
SURE = [name for name in EFFECTS if name != "a number nobody sees"]


@pytest.mark.parametrize("name", CHANGED)
def test_what_a_step_reads_may_change(name):
    expected = losses_of(CHANGED[name], "xla")
    np.testing.assert_allclose(losses_of(CHANGED[name], "xla", by_xla), expected, rtol=1e-4)


@pytest.mark.parametrize("name", EFFECTS)
def test_what_replays_would_not_do_is_refused(name):
    build, match = EFFECTS[name]
    step = by_xla(build("xla"))
    with pytest.raises(CaptureError, match=match):
        for i in range(7):
            step(*given(i, "xla"))


@pytest.mark.parametrize("name", [n for n in SURE if "random" not in n and n != "an iterator"])
def test_with_fallback_each_step_runs_once(name):
    def losses(compile):
        torch.manual_seed(0)
        step = compile(EFFECTS[name][0]("xla"))
        return [step(*given(i, "xla")).item() for i in range(6)]

    expected = losses(lambda step: step)
    with pytest.warns(UserWarning, match="eagerly"):
        found = losses(lambda step: torch.compile(step, backend="xla", fallback=True))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
@pytest.mark.parametrize("name", ["StepLR", "OneCycleLR", "SequentialLR", "ChainedScheduler"])
def test_schedules_within_the_step(name, optimizer):
    expected = scheduled_losses(SCHEDULED[name], optimizer, "xla")
    np.testing.assert_allclose(scheduled_losses(SCHEDULED[name], optimizer, "xla", by_xla), expected, rtol=1e-4)


@pytest.mark.parametrize("kind", ["mean", "ema", "ema, one by one"])
def test_averaged_models_within_the_step(kind):
    for a, b in zip(averaged(kind, "xla", by_xla), averaged(kind, "xla"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
