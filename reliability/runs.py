"""Training runs that are killed (-9) at random steps and go on from their checkpoints: the losses are the same."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from reliability.damage import ROOT, environment

#: Dropout, batch norm, a schedule, a shuffled loader with two workers whose samples are augmented at random.
PROGRAM = """
import os, sys, time
import flambeau as torch
from flambeau import checkpoint, nn, optim
from flambeau.utils.data import DataLoader, Dataset


class Squares(Dataset):
    def __len__(self):
        return 60

    def __getitem__(self, i):
        x = torch.tensor([i / 30.0 - 1.0]) + 0.01 * torch.randn(1)
        return x, x * x


def main(path, log, every="1", epochs=3):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 1))
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, 45)
    loader = DataLoader(Squares(), batch_size=4, shuffle=True, num_workers=2)
    parts = dict(model=model, optimizer=optimizer, scheduler=scheduler, loader=loader)
    epoch = step = 0
    if os.path.exists(path):
        extra = checkpoint.restore(path, **parts)
        epoch, step = extra["epoch"], extra["step"]
    while epoch < epochs:
        for x, y in loader:
            loss = (model(x) - y).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            step += 1
            with open(log, "a") as file:
                print(step, repr(loss.item()), file=file)
            time.sleep(0.01)  # so that whoever kills can keep up
            if step % int(every) == 0:
                checkpoint.save(path, **parts, epoch=epoch, step=step)
        epoch += 1


if __name__ == "__main__":
    main(*sys.argv[1:])
"""
STEPS = 45


def losses(log: Path) -> dict[int, set[str]]:
    """The losses that were printed for each step; one that was computed again after a kill is there twice."""
    found: dict[int, set[str]] = {}
    for line in log.read_text().splitlines():
        step, loss = line.split()
        found.setdefault(int(step), set()).add(loss)
    return found


def train(program: Path, name: str, kills: tuple[int, ...] = (), every: int = 1) -> tuple[dict[int, set[str]], int]:
    """Train to the end, killed when the log reaches each of the given numbers of lines; the losses and the kills."""
    path, log = program.parent / f"{name}.pt", program.parent / f"{name}.log"
    command = [sys.executable, str(program), str(path), str(log), str(every)]
    killed = 0
    for kill in (*kills, None):
        process = subprocess.Popen(command, env=environment(), cwd=ROOT, start_new_session=True)
        if kill is None:
            if process.wait(timeout=300):
                raise RuntimeError(f"the run failed with {process.returncode}")
            continue
        while process.poll() is None and (not log.exists() or log.read_text().count("\n") < kill):
            time.sleep(0.002)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        if process.wait() not in (0, -signal.SIGKILL):
            raise RuntimeError(f"the run failed with {process.returncode}")
    return losses(log), killed


def interrupted(count: int = 10, seed: int | None = 0) -> dict[str, Any]:
    """Runs that are killed three times each, at random steps, with checkpoints after every 1 to 4 steps."""
    rng = random.Random(seed)
    wrong: list[str] = []
    kills = 0
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "train.py"
        program.write_text(PROGRAM)
        expected, _ = train(program, "whole")
        if sorted(expected) != list(range(1, STEPS + 1)):
            wrong.append(f"the run that nobody killed has steps {sorted(expected)}")
        for i in range(count):
            moments = tuple(sorted(rng.sample(range(2, STEPS - 4), 3)))
            found, killed = train(program, f"killed{i}", moments, rng.randint(1, 4))
            kills += killed
            if found != expected:
                steps = [step for step in expected if found.get(step) != expected[step]]
                wrong.append(f"killed at {moments}: other losses at steps {steps[:10]}")
    return {"runs": count, "kills": kills, "steps": STEPS, "wrong": wrong}
