"""Tensors and modules over meshes: eight devices in one process, two and four processes of one; and checkpoints."""

import json

import numpy as np
import pytest

from tests.programs import ROOT
from tests.xla.processes import alone, torchrun

GPT = ROOT / "bench" / "workloads" / "gpt.py"
STEPS = 30


def losses(done):
    assert done.returncode == 0, done.stdout + done.stderr
    return np.array([float(line) for line in done.stdout.split()])


@pytest.fixture(scope="module")
def reference():
    """The losses of one process on one device."""
    return losses(alone("language_model", GPT, "alone", "cpu", STEPS, 1))


def test_eight_devices():
    done = alone("over_meshes", "xla", 8, devices=8, timeout=500)
    assert done.returncode == 0 and done.stdout.count("fine") == 1, done.stdout + done.stderr


@pytest.mark.parametrize(("count", "device"), [(2, "cpu"), (4, "xla")])
def test_several_processes(count, device):
    done = torchrun(count, "over_meshes", device, count, timeout=500)
    assert done.returncode == 0 and done.stdout.count("fine") == count, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("way", ["fsdp", "tensor", "both", "hybrid"])
def test_training_on_eight_devices(way, reference):
    done = alone("language_model", GPT, way, "xla", STEPS, 8, devices=8, timeout=900)
    np.testing.assert_allclose(losses(done), reference, 5e-4)


@pytest.mark.parametrize("way", ["fsdp", "tensor"])
def test_compiled_training_on_eight_devices(way, reference):
    done = alone("compiled", GPT, way, STEPS, 8, devices=8, timeout=900)
    np.testing.assert_allclose(losses(done), reference, 5e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "way", "device"), [
    (2, "fsdp", "cpu"), (4, "fsdp", "cpu"), (2, "tensor", "cpu"), (4, "tensor", "cpu"), (4, "both", "cpu"),
    (2, "wrapper", "cpu"), (2, "fsdp", "xla"), (2, "tensor", "xla"),
])  # fmt: skip
def test_training_in_processes(count, way, device, reference):
    done = torchrun(count, "language_model", GPT, way, device, STEPS, count, timeout=900)
    np.testing.assert_allclose(losses(done), reference, 5e-4)


def test_a_checkpoint_goes_on_elsewhere(tmp_path, reference):
    folder = tmp_path / "saved"
    first = losses(torchrun(4, "language_model", GPT, "both", "cpu", 5, 4, "save", folder, timeout=500))
    np.testing.assert_allclose(first, reference[:5], 5e-4)
    index = json.loads(json.loads((folder / "index.json").read_text())["index"])
    assert sum(f.suffix == ".safetensors" for f in folder.iterdir()) == 4
    assert len(index["tensors"]["model.blocks.0.mlp.0.weight"]["parts"]) == 4
    for done in (
        torchrun(2, "language_model", GPT, "fsdp", "cpu", 5, 2, "load", folder, timeout=500),
        alone("language_model", GPT, "alone", "cpu", 5, 1, "load", folder, timeout=500),
        alone("language_model", GPT, "tensor", "xla", 5, 8, "load", folder, devices=8, timeout=500),
    ):
        np.testing.assert_allclose(losses(done), reference[5:10], 5e-4)
