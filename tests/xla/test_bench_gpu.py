"""The accelerator's bench, tried on the CPU with small models: the whole path, but for the figures."""

import subprocess
import sys

import pytest

from bench.gpu import report
from bench.gpu.peaks import peak
from tests.programs import ROOT


def run(*args, env=None):
    return subprocess.run(
        [sys.executable, "-m", "bench.gpu", *args], cwd=ROOT, capture_output=True, text=True, env=env
    )  # fmt: skip


@pytest.mark.slow
def test_the_whole_path_on_the_cpu(tmp_path):
    page = tmp_path / "page.md"
    done = run(
        "--tiny", "--device", "cpu", "--windows", "2", "--seconds", "0.05", "--sides", "flambeau-compiled",
        "--page", str(page), "--flambeau-python", sys.executable,
    )  # fmt: skip
    assert not done.returncode, done.stdout + done.stderr
    text = page.read_text()
    assert "Device: cpu" in text and all(title in text for title in report.TITLES.values())
    assert "failed" not in text


def test_it_refuses_where_there_is_no_gpu():
    done = run(env={"PATH": ""})
    assert done.returncode and "needs an NVIDIA GPU" in done.stderr and not done.stdout


def test_peaks_and_shares():
    assert peak("NVIDIA H100 80GB HBM3", "bfloat16") == 989.4e12 and peak("NVIDIA H100 PCIe", "tf32") == 378e12
    assert peak("NVIDIA L4", "bfloat16") == 121e12 and peak("NVIDIA L40S", "bfloat16") == 362e12
    assert peak("NVIDIA H200", "bfloat16") == 989.4e12 and peak("cpu", "bfloat16") is None
    found = {
        "device": "NVIDIA A100-SXM4-80GB",
        "precision": "bfloat16",
        "operations": 1e12,
        "times": [0.01, 0.02, 0.01],
    }
    assert abs(report.share(found) - 1e14 / 311.9e12) < 1e-9
