"""Quick versions of what `make reliability` measures, and proof that the measuring would notice."""

import io
import json
import os
import subprocess
import sys

import pytest

import flambeau as torch
from reliability import damage, disk, hostile, mutations, originals, report, threads

posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and signals")


def sound(name, result):
    problems = report.problems(name, result)
    assert not problems, problems[:5]
    return result


@posix
def test_damaged_files():
    result = sound("damaged", damage.run(200))
    assert result["files"] == 200 and set(result["table"]) == set(damage.PLAN)
    assert result["grown"] < 100 << 20


@posix
def test_traps():
    result = sound(
        "hostile", damage.summary(damage.load_all([("trap", name, 0) for name in hostile.traps()], hostile=True))
    )
    assert set(result["table"]["trap"]) == {"refused"} and result["grown"] < 300 << 20


def test_hostile_pickles_are_refused():
    for name, program in hostile.programs().items():
        with pytest.raises(torch.serialization.CheckpointError):
            torch.load(io.BytesIO(hostile.archive(program)))
            pytest.fail(name)


@posix
def test_the_watch_sees_what_is_executed(tmp_path):
    """The same files, loaded with trust: now everything runs, and every kind of it is seen."""
    code = """
import io, json, sys
import flambeau as torch
from reliability import damage, hostile
torch.load(io.BytesIO(hostile.archive(b"\\x80\\x02N.")), weights_only=False)
watch = damage.Watch()
seen = {}
for name in ("os.putenv", "os.remove", "builtins.compile", "subprocess.Popen", "importlib.import_module", "os.system",
             "builtins.open", "shutil.rmtree", "socket.create_connection"):
    watch.seen.clear()
    watch.on = True
    try:
        torch.load(io.BytesIO(hostile.archive(hostile.programs()[name + " called"])), weights_only=False)
    except BaseException:
        pass
    watch.on = False
    seen[name] = bool(watch.seen)
print(json.dumps(seen))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=damage.environment(), cwd=tmp_path, capture_output=True, text=True
    )
    seen = json.loads(done.stdout.splitlines()[-1])
    assert all(seen.values()), seen


def test_the_fingerprint_sees_every_difference():
    state = {"a": torch.arange(4.0), "b": [1, {2}], "c": torch.nn.Parameter(torch.ones(1))}
    base = originals.fingerprint(state)
    for change in (
        {"a": torch.arange(4.0) + 1e-7}, {"a": torch.arange(4.0).double()}, {"a": torch.arange(4.0).reshape(2, 2)},
        {"b": [1, {3}]}, {"b": (1, {2})}, {"c": torch.ones(1)}, {"c": torch.nn.Parameter(torch.ones(1), False)},
        {"d": 0},
    ):  # fmt: skip
        assert originals.fingerprint({**state, **change}) != base
    x = torch.arange(4.0)
    assert originals.fingerprint([x, x[1:]]) != originals.fingerprint([x, x[1:].clone()])


def test_every_kind_of_damage_does_damage(tmp_path):
    import random

    files = originals.originals(tmp_path)
    for mutation in {*mutations.BYTES, *mutations.STRUCTURE, mutations.change_pickle, mutations.forge_pickle}:
        rng = random.Random(1)
        assert any(mutation(files["flambeau.pt"], rng) != files["flambeau.pt"] for _ in range(5)), mutation


@posix
def test_killed_writers():
    result = sound("kills", disk.kills(12))
    assert result["kills"] == 12 and result["saves"] >= 12


@posix
def test_full_disks():
    sound("limits", disk.size_limits(2))
    assert disk.faults(12)["tries"] == 15
    sound("faults", disk.faults(12))


@posix
@pytest.mark.slow
def test_a_small_disk():
    sound("small_disk", disk.small_disk())


@posix
def test_readers_and_writers():
    assert sound("readers", disk.readers(20, 3))["reads"] > 0
    assert sound("writers", disk.writers(2, 8))["saves"] == 16


def test_threads():
    assert sound("threads", threads.run(4))["passes"] == 8 * 4 * 4
