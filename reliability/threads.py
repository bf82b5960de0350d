"""Eight threads at once: each has its own grad mode, and gets the numbers that one thread alone gets."""

from __future__ import annotations

import sys
import threading
from typing import Any

import flambeau as torch
from flambeau import nn


class Convolutional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, groups=8),
            nn.ConvTranspose2d(8, 4, 2), nn.GELU(), nn.AvgPool2d(2), nn.Flatten(), nn.LazyLinear(5),
        )  # fmt: skip
        self.body(torch.zeros(1, 3, 16, 16))

    def forward(self, x: Any) -> Any:
        return self.body(x)


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 32)
        self.layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, activation="gelu")
        self.head = nn.Linear(32, 50)

    def forward(self, x: Any) -> Any:
        return self.head(self.layer(self.table(x))).log_softmax(-1)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 12, num_layers=2, batch_first=True)
        self.head = nn.Linear(12, 2)

    def forward(self, x: Any) -> Any:
        return self.head(self.lstm(x)[0][:, -1])


def cases() -> list[tuple[nn.Module, list[Any]]]:
    """Models with the inputs that threads feed them."""
    torch.manual_seed(0)
    return [
        (Convolutional(), [torch.randn(4, 3, 16, 16) for _ in range(8)]),
        (Attending().train(), [torch.randint(0, 50, (3, 20)) for _ in range(8)]),
        (Recurrent(), [torch.randn(5, 9, 6) for _ in range(8)]),
        (nn.Sequential(nn.Linear(300, 300), nn.Tanh(), nn.Linear(300, 300)), [torch.randn(400, 300) for _ in range(8)]),
    ]


def _grads(model: nn.Module, x: Any) -> list[bytes]:
    found = torch.autograd.grad(model(x).square().sum(), list(model.parameters()))
    return [g.numpy().tobytes() for g in found]


class _Worker(threading.Thread):
    """One thread with one way of using the grad mode, over and over."""

    def __init__(self, number: int, rounds: int, work: list, start: threading.Barrier) -> None:
        super().__init__()
        self.number, self.rounds, self.work, self.barrier = number, rounds, work, start
        self.wrong: list[str] = []
        self.passes = 0

    def run(self) -> None:
        try:
            self.barrier.wait()
            if not torch.is_grad_enabled():
                self.wrong.append("a thread began without recording")
            for turn in range(self.rounds):
                for model, inputs, outputs, grads in self.work:
                    self._one(turn, model, inputs[self.number], outputs[self.number], grads[self.number])
        except BaseException as error:  # a thread's error must reach the figures
            self.wrong.append(f"thread {self.number}: {type(error).__name__}: {error}")

    def _one(self, turn: int, model: nn.Module, x: Any, expected: bytes, grads: list[bytes]) -> None:
        way = (self.number + turn) % 4
        mode = (torch.enable_grad, torch.no_grad, torch.inference_mode, lambda: torch.set_grad_enabled(False))[way]
        with mode():
            if torch.is_grad_enabled() is not (way == 0) or torch.is_inference_mode_enabled() is not (way == 2):
                self.wrong.append("another thread's grad mode was seen")
            out = model(x)
            inner = out.sum()
        if out.requires_grad is not (way == 0) or inner.requires_grad is not (way == 0):
            self.wrong.append(f"a result was recorded wrongly under {mode}")
        if out.is_inference() is not (way == 2):
            self.wrong.append("a result was marked wrongly for inference")
        if out.detach().numpy().tobytes() != expected:
            self.wrong.append(f"{type(model).__name__} gave other numbers than alone")
        if way == 0 and _grads(model, x) != grads:
            self.wrong.append(f"{type(model).__name__} gave other gradients than alone")
        if not torch.is_grad_enabled():
            self.wrong.append("the mode did not end with its block")
        self.passes += 1


def first_calls(threads: int = 8) -> list[str]:
    """What goes wrong when the very first calls of operations, which generate their code, come from many threads."""
    torch.manual_seed(0)
    models = [Attending(), Recurrent(), nn.Sequential(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3).eval(), nn.SELU())]
    inputs = [torch.randint(0, 50, (3, 20)), torch.randn(5, 9, 6), torch.randn(4, 2, 9)]
    start, found = threading.Barrier(threads), []

    def go() -> None:
        start.wait()
        try:
            found.append([_grads(model, x) for model, x in zip(models, inputs, strict=True)])
        except BaseException as error:
            found.append(f"{type(error).__name__}: {error}")

    workers = [threading.Thread(target=go) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    alone = [_grads(model, x) for model, x in zip(models, inputs, strict=True)]
    return [str(one)[:200] for one in found if one != alone]


def run(rounds: int = 25, threads: int = 8) -> dict[str, Any]:
    """Forward passes and gradients in `threads` threads; how many there were, and what was wrong."""
    cold = first_calls(threads)
    work = []
    for model, inputs in cases():
        with torch.no_grad():
            outputs = [model(x).numpy().tobytes() for x in inputs]
        work.append((model, inputs, outputs, [_grads(model, x) for x in inputs]))
    start = threading.Barrier(threads)
    workers = [_Worker(number % 8, rounds, work, start) for number in range(threads)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # threads change places as often as can be
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        sys.setswitchinterval(before)
    return {
        "threads": threads,
        "passes": sum(worker.passes for worker in workers),
        "wrong": cold + [problem for worker in workers for problem in worker.wrong],
    }
