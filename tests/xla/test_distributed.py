"""Several processes over loopback: collectives, data parallel training, and what happens when one of them fails."""

import re
import sys
import time

import numpy as np
import pytest

from tests.programs import ROOT
from tests.xla.processes import HERE, alone, finish, free_port, start, torchrun

GPT = ROOT / "bench" / "workloads" / "gpt.py"


def losses(done):
    assert done.returncode == 0, done.stdout + done.stderr
    return np.array([float(line) for line in done.stdout.split()])


@pytest.fixture(scope="module")
def reference():
    """The losses of one process on one device."""
    return losses(alone("language_model", GPT, "alone", "cpu", 30, 1))


@pytest.mark.parametrize(("count", "device"), [(2, "cpu"), (4, "cpu"), (2, "xla")])
def test_collectives(count, device):
    done = torchrun(count, "collectives", device)
    assert done.returncode == 0 and done.stdout.count("fine") == count, done.stdout + done.stderr


@pytest.mark.parametrize("count", [2, 3])
def test_data_parallel(count):
    done = torchrun(count, "data_parallel")
    assert done.returncode == 0 and done.stdout.count("fine") == count, done.stdout + done.stderr


@pytest.mark.parametrize("count", [2, 4])
def test_data_parallel_training(count, reference):
    done = torchrun(count, "language_model", GPT, "ddp", "cpu", 30, count, timeout=400)
    np.testing.assert_allclose(losses(done), reference, 5e-4)


@pytest.mark.parametrize(("how", "who", "ending"), [
    ("killed", 1, "killed by SIGKILL"), ("killed", 0, "killed by SIGKILL"), ("raises", 1, "exit code 1"),
    ("exits", 1, "exit code 3"),
])  # fmt: skip
def test_a_process_that_fails_ends_the_others(how, who, ending):
    done = torchrun(3, "failing", how, who)
    (began,) = re.findall(r"fails at ([\d.]+)", done.stdout)
    assert time.time() - float(began) < 60
    assert done.returncode == 1
    assert f"rank {who} failed: {ending}" in done.stderr
    assert ("its own mistake" in done.stderr.partition("flambeau torchrun:")[2]) == (how == "raises")
    if how == "killed":
        assert f"rank {who}: its process has ended" in done.stderr.partition("flambeau torchrun:")[0]


def separately(count, *arguments, **variables):
    """The same processes, each started on its own."""
    port = str(free_port())
    command = [sys.executable, "-m", "flambeau", "run", HERE / "failing.py", *arguments]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(count), **variables}
    return [start(command, RANK=str(r), **common) for r in range(count)]


def test_without_a_launcher_too():
    processes = separately(2, "killed", 1)
    first, second = (finish(p, 90) for p in processes)
    assert first.returncode == 1 and second.returncode == -9
    assert re.search(r"DistBackendError: all_reduce: rank 1: its process has ended; this is rank 0", first.stderr)


def test_a_process_that_hangs_is_missed():
    processes = separately(2, "frozen", 1, FLAMBEAU_HEARTBEAT_SECONDS="8")
    try:
        done = finish(processes[0], 90)
        assert done.returncode != 0 and "heartbeats" in done.stderr
    finally:
        processes[1].kill()
        processes[1].communicate()


def test_nobody_else_comes():
    program = (
        "import datetime, torch.distributed as dist\n"
        "try: dist.init_process_group('gloo', timeout=datetime.timedelta(seconds=3))\n"
        "except RuntimeError as error: print(error)\n"
    )
    command = [sys.executable, "-c", "import flambeau; flambeau.install_as_torch()\n" + program]
    process = start(command, MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free_port()), RANK="0", WORLD_SIZE="2")
    done = finish(process, 90)
    said = done.stdout + done.stderr  # JAX's own ending leaves only a last word
    assert done.returncode in (0, 1) and "rank 0 waited 3 s" in said and "for 2 processes" in said, said


def test_launcher_options():
    done = torchrun(2, "launched", "--flag", "value", XLA_FLAGS="")
    assert done.returncode == 0
    assert sorted(done.stdout.split("\n")[:2]) == ["0 0 2 2 --flag value", "1 1 2 2 --flag value"]


@pytest.mark.parametrize(("count", "device"), [(2, "cpu"), (3, "cpu"), (2, "xla")])
def test_graphs_norms_optimizers_joins_and_stores(count, device):
    done = torchrun(count, "together", device, free_port())
    assert done.returncode == 0 and done.stdout.count("fine") == count, done.stdout + done.stderr
