"""Runs that are interrupted and go on: bit for bit what they would have been."""

import random
import signal

import numpy as np
import pytest

import flambeau as torch
from flambeau import checkpoint, nn, optim
from flambeau.errors import CheckpointError
from flambeau.utils.data import DataLoader, DistributedSampler, IterableDataset, Sampler, TensorDataset
from reliability import runs


class Noisy(torch.utils.data.Dataset):
    """Samples with random augmentation, from all the streams that programs use."""

    def __init__(self, n=23, own=False):
        self.x = torch.arange(float(n))
        self.rng = np.random.default_rng(5) if own else None

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        extra = self.rng.random() if self.rng else 0.0
        noise = torch.rand(()).item() + random.random() + extra
        if torch.utils.data.get_worker_info() is None:
            noise += np.random.rand()
        return torch.stack([self.x[i], torch.tensor(noise, dtype=torch.float32)])


class Counting(Sampler):
    """A sampler that counts its epochs and shuffles by Python's random."""

    def __init__(self, n):
        self.n, self.epoch_count = n, 0

    def __iter__(self):
        self.epoch_count += 1
        order = list(range(self.n))
        random.Random(self.epoch_count).shuffle(order)
        return iter(order)

    def __len__(self):
        return self.n


class Stream(IterableDataset):
    def __iter__(self):
        for i in range(17):
            yield torch.tensor([float(i), torch.rand(()).item()])


LOADERS = {
    "plain": lambda: DataLoader(Noisy(), batch_size=4),
    "shuffled": lambda: DataLoader(Noisy(), batch_size=4, shuffle=True),
    "workers": lambda: DataLoader(Noisy(), batch_size=4, shuffle=True, num_workers=2),
    "generator": lambda: DataLoader(Noisy(), batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(3)),
    "own random numbers": lambda: DataLoader(Noisy(own=True), batch_size=4, shuffle=True),
    "own sampler": lambda: DataLoader(Noisy(), batch_size=4, sampler=Counting(23)),
    "distributed": lambda: DataLoader(Noisy(), batch_size=2, sampler=DistributedSampler(Noisy(), 2, 1)),
    "drawn with replacement": lambda: DataLoader(
        Noisy(), batch_size=4, sampler=torch.utils.data.RandomSampler(Noisy(), replacement=True, num_samples=40)
    ),
    "stream": lambda: DataLoader(Stream(), batch_size=4),
    "single samples": lambda: DataLoader(Noisy(9), batch_size=None, shuffle=True),
}


class Run:
    """A small training run: dropout, batch norm, momentum, a schedule per step and one per epoch."""

    def __init__(self, make_loader, seed):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        self.loader = make_loader()
        self.model = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 1))
        self.optimizer = optim.AdamW(self.model.parameters(), lr=0.02)
        self.scheduler = optim.lr_scheduler.OneCycleLR(self.optimizer, 0.05, total_steps=60)
        self.ema = optim.swa_utils.AveragedModel(self.model)
        self.epoch = self.step = 0
        self.losses = []

    def parts(self):
        return dict(model=self.model, optimizer=self.optimizer, scheduler=self.scheduler, loader=self.loader)

    def go(self, epochs=3, stop=None, path=None):
        while self.epoch < epochs:
            if hasattr(self.loader.sampler, "set_epoch"):
                self.loader.sampler.set_epoch(self.epoch)
            for batch in self.loader:
                batch = batch.reshape(-1, 2)
                self.model.train(len(batch) > 1)
                loss = (self.model(batch) - batch[:, :1] / 23).pow(2).mean()
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self.scheduler.step()
                self.ema.update_parameters(self.model)
                self.losses.append(loss.item())
                self.step += 1
                if self.step == stop:
                    checkpoint.save(path, **self.parts(), ema=self.ema, epoch=self.epoch, step=self.step)
                    return self
            self.epoch += 1
        return self

    def back(self, path):
        found = checkpoint.restore(path, **self.parts(), ema=self.ema)
        self.epoch, self.step = found["epoch"], found["step"]
        return self


@pytest.mark.parametrize("kind", LOADERS)
def test_an_interrupted_run_goes_on_bit_for_bit(kind, tmp_path):
    path = tmp_path / "run.pt"
    whole = Run(LOADERS[kind], 1).go()
    per_epoch = len(whole.losses) // 3
    for stop in {1, per_epoch // 2, per_epoch, per_epoch + 2, 3 * per_epoch - 1}:
        first = Run(LOADERS[kind], 1).go(stop=stop, path=path)
        rest = Run(LOADERS[kind], 2).back(path).go()
        assert first.losses + rest.losses == whole.losses, (stop, per_epoch)
        for a, b in zip(whole.model.state_dict().values(), rest.model.state_dict().values()):
            assert torch.equal(a, b)
        for a, b in zip(whole.ema.state_dict().values(), rest.ema.state_dict().values()):
            assert torch.equal(a, b)


def test_saved_twice_and_between_epochs(tmp_path):
    path = tmp_path / "run.pt"
    make = LOADERS["generator"]
    whole = Run(make, 1).go(epochs=4)
    first = Run(make, 1).go(epochs=2)
    checkpoint.save(path, **first.parts(), ema=first.ema, epoch=first.epoch, step=first.step)
    second = Run(make, 5).back(path)
    checkpoint.save(path, **second.parts(), ema=second.ema, epoch=second.epoch, step=second.step)  # before any batch
    third = Run(make, 6).back(path).go(epochs=4, stop=15, path=path)
    waiting = Run(make, 7).back(path)
    checkpoint.save(path, **waiting.parts(), ema=waiting.ema, epoch=waiting.epoch, step=waiting.step)  # mid-epoch
    rest = Run(make, 8).back(path).go(epochs=4)
    assert first.losses + third.losses + rest.losses == whole.losses


def test_an_epoch_that_was_left_is_over(tmp_path):
    loader = DataLoader(TensorDataset(torch.arange(10)), batch_size=2, shuffle=True)
    for _ in loader:
        break
    checkpoint.save(tmp_path / "a.pt", loader=loader)
    expected = [b.tolist() for (b,) in loader]
    checkpoint.restore(tmp_path / "a.pt", loader=loader)
    assert [b.tolist() for (b,) in loader] == expected and len(expected) == 5


def test_many_parts(tmp_path):
    path = tmp_path / "gan.pt"
    nets = {"d": nn.Linear(2, 1), "g": nn.Linear(1, 2)}
    optimizers = [optim.SGD(net.parameters(), 0.1, momentum=0.9) for net in nets.values()]
    for optimizer, net in zip(optimizers, nets.values()):
        net(torch.ones(1, net.in_features)).sum().backward()
        optimizer.step()
    checkpoint.save(path, model=nets, optimizer=optimizers, note="x", history=[1.0, {"a": torch.ones(2)}])
    others = {"d": nn.Linear(2, 1), "g": nn.Linear(1, 2)}
    theirs = [optim.SGD(net.parameters(), 0.3) for net in others.values()]
    extra = checkpoint.restore(path, model=others, optimizer=theirs)
    assert extra["note"] == "x" and extra["history"][1]["a"].tolist() == [1, 1]
    assert all(torch.equal(a.weight, b.weight) for a, b in zip(nets.values(), others.values()))
    assert theirs[1].param_groups[0]["lr"] == 0.1 and len(theirs[0].state) == 2
    assert torch.load(path)["model"]["g"]["weight"].tolist() == nets["g"].weight.tolist()
    with pytest.raises(ValueError, match="other names"):
        checkpoint.restore(path, model={"d": others["d"]})


def test_a_restore_that_fails_changes_nothing(tmp_path):
    path = tmp_path / "run.pt"
    model = nn.Linear(2, 2)
    optimizer = optim.Adam(model.parameters())
    scheduler = optim.lr_scheduler.StepLR(optimizer, 3)
    checkpoint.save(path, model=model, optimizer=optimizer, scheduler=scheduler, scale=nn.Linear(1, 1))
    other, wide = nn.Linear(2, 2), nn.Linear(3, 3)
    mine = optim.Adam(other.parameters(), lr=0.5)
    its = optim.lr_scheduler.StepLR(mine, 7)
    torch.manual_seed(0)
    before = [p.tolist() for p in other.parameters()], torch.get_rng_state().tolist()

    for wrong in (
        dict(model=wide, optimizer=mine, scheduler=its),
        dict(model=other, optimizer=optim.Adam([*other.parameters(), torch.ones(1)]), scheduler=its),
        dict(model=other, optimizer=mine, scale=wide),
        dict(model=[other, wide]),
        dict(model=other, nonsense=wide),
        dict(model=other, loader=DataLoader([1])),
    ):
        with pytest.raises((RuntimeError, ValueError, KeyError)):
            checkpoint.restore(path, **wrong)
        assert before == ([p.tolist() for p in other.parameters()], torch.get_rng_state().tolist())
        assert mine.param_groups[0]["lr"] == 0.5 and its.step_size == 7


def test_what_restore_could_not_read_is_not_saved(tmp_path):
    path = tmp_path / "run.pt"

    class Own:
        pass

    for value, word in ((np.ones(2), "numpy"), (np.float64(1.0), "float"), (Own(), "Own"), (lambda: 1, "lambda")):
        with pytest.raises((TypeError, AttributeError, Exception), match=word):
            checkpoint.save(path, thing=value)
        assert not path.exists()
    with pytest.raises(TypeError, match="state_dict"):
        checkpoint.save(path, model=3)
    torch.save({"a": 1}, path)
    with pytest.raises(CheckpointError, match="checkpoint.save"):
        checkpoint.restore(path)


def test_verify(tmp_path):
    path = tmp_path / "run.pt"
    checkpoint.save(path, model=nn.Linear(20, 20))
    checkpoint.verify(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError):
        checkpoint.verify(path)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_killed_and_resumed():
    """Shuffled loading by two workers, dropout, a schedule: killed at random steps, the losses are the same."""
    found = runs.interrupted(count=1, seed=None)
    assert found["kills"] and not found["wrong"]
