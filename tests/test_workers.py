"""Worker processes of a DataLoader: shared memory, errors, deaths, ends, and everything around them."""

import gc
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import flambeau as torch
from flambeau.engines import shared
from flambeau.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, get_worker_info
from tests.programs import environment

METHODS = ["fork", "spawn", "forkserver"]


class Pids(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, i):
        info = get_worker_info()
        return torch.full((600,), float(i)), np.full(400, i), os.getpid(), info.id, info.num_workers, info.seed


def misbehave(what):
    if what == "exit":
        sys.exit(3)
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "hang":
        time.sleep(60)
    if what == "pickle":
        return lambda: None
    raise {"value": ValueError, "key": KeyError, "odd": Odd}[what]("on purpose", *([1] if what == "odd" else []))


class Odd(Exception):
    def __init__(self, first, second):
        super().__init__(first, second)


class Bad(Dataset):
    def __init__(self, what):
        self.what = what

    def __len__(self):
        return 4

    def __getitem__(self, i):
        return misbehave(self.what) if i == 2 else i


class Stream(IterableDataset):
    def __init__(self, sizes):
        self.sizes = sizes

    def __iter__(self):
        info = get_worker_info()
        return iter(range(100 * info.id, 100 * info.id + self.sizes[info.id]))


@pytest.mark.parametrize("method", METHODS)
def test_batches_come_from_processes_through_shared_memory(method):
    loader = DataLoader(Pids(), batch_size=2, num_workers=2, multiprocessing_context=method)
    torch.manual_seed(1)
    seen = list(loader)
    assert [x[:, 0].tolist() for x, *_ in seen] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert [a[:, 399].tolist() for _, a, *_ in seen] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    pids = {pid for _, _, p, *_ in seen for pid in p.tolist()}
    assert len(pids) == 2 and os.getpid() not in pids
    assert [w.tolist()[0] for _, _, _, w, _, _ in seen] == [0, 1, 0, 1]
    seeds = [s.tolist()[0] for *_, s in seen]
    assert seeds[1] == seeds[0] + 1 and seeds[2] == seeds[0]
    assert seen[0][0].is_shared() and seen[0][1].is_shared() and not torch.zeros(3).is_shared()
    seen[0][0].add_(1)  # what came is the program's own, to be written to
    assert seen[0][0][0, 0] == 1 and seen[1][0][0, 0] == 2


def test_batches_outlive_their_loader_and_use_no_descriptors():
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    kept = [x for (x,) in DataLoader(TensorDataset(torch.arange(4000.0).reshape(40, 100)), 4, num_workers=2)]
    gc.collect()
    assert torch.equal(torch.cat(kept), torch.arange(4000.0).reshape(40, 100))
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + 2


@pytest.mark.parametrize(
    ("what", "error", "text"),
    [
        ("value", ValueError, r"Caught ValueError in DataLoader worker process 0.\nOriginal Traceback"),
        ("key", KeyError, r"in DataLoader worker process 0(.|\n)*in misbehave\n(.|\n)*on purpose"),
        ("odd", RuntimeError, "Caught Odd in DataLoader worker process 0"),
        ("pickle", Exception, "(?i)pickle"),
        ("exit", RuntimeError, r"DataLoader worker \(pid \d+\) exited unexpectedly with exit code 3"),
        ("kill", RuntimeError, r"DataLoader worker \(pid \d+\) is killed by signal: Killed"),
    ],
)
def test_what_goes_wrong_in_a_worker_is_told(what, error, text):
    batches = iter(DataLoader(Bad(what), batch_size=None, num_workers=2, multiprocessing_context="fork"))
    assert [next(batches), next(batches)] == [0, 1]
    with pytest.raises(error, match=text):
        next(batches)
    if what in ("exit", "kill"):
        with pytest.raises(RuntimeError, match="DataLoader worker"):  # still dead
            next(batches)
    else:
        assert next(batches) == 3
        with pytest.raises(StopIteration):
            next(batches)
    assert not any(process.is_alive() for process in batches._workers)


def test_a_worker_killed_from_outside_is_reported():
    batches = iter(DataLoader(range(100), num_workers=2, persistent_workers=True))
    next(batches)
    os.kill(batches._workers[1].pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match=rf"DataLoader worker \(pid {batches._workers[1].pid}\)"):
        list(batches)
    assert not any(process.is_alive() for process in batches._workers)


def test_timeout():
    start = time.monotonic()
    batches = iter(DataLoader(Bad("hang"), batch_size=None, num_workers=1, timeout=0.5))
    assert [next(batches), next(batches)] == [0, 1]
    with pytest.raises(RuntimeError, match=r"DataLoader timed out after 0\.5 seconds"):
        next(batches)
    batches._crew[0].process.kill()
    assert time.monotonic() - start < 20


def test_leaving_early_ends_the_workers():
    batches = iter(DataLoader(Pids(), num_workers=2))
    next(batches)
    processes = batches._workers
    del batches
    gc.collect()
    assert not any(process.is_alive() for process in processes)


def test_streams_of_unequal_length():
    for persistent in (False, True):
        loader = DataLoader(Stream([5, 2]), batch_size=2, num_workers=2, persistent_workers=persistent)
        for _ in range(2):
            assert [b.tolist() for b in loader] == [[0, 1], [100, 101], [2, 3], [4]]


class Counting(Dataset):
    calls = 0

    def __len__(self):
        return 4

    def __getitem__(self, i):
        self.calls += 1
        return self.calls, os.getpid()


def test_persistent_workers_stay():
    loader = DataLoader(Counting(), batch_size=None, num_workers=2, persistent_workers=True)
    first, second = list(loader), list(loader)
    assert [c for c, _ in first] == [1, 1, 2, 2] and [c for c, _ in second] == [3, 3, 4, 4]
    assert {p for _, p in first} == {p for _, p in second}
    it = iter(loader)
    next(it)  # an epoch that is left early does not reach into the next
    assert len(list(loader)) == 4


class Slow(Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, i):
        time.sleep(0.8 if i == 0 else 0)
        return i


def test_out_of_order():
    assert list(DataLoader(Slow(), batch_size=None, num_workers=2)) == list(range(6))
    seen = list(DataLoader(Slow(), batch_size=None, num_workers=2, in_order=False))
    assert sorted(seen) == list(range(6)) and seen[0] == 1


class Timed(Dataset):
    def __len__(self):
        return 12

    def __getitem__(self, i):
        return i, time.monotonic()


def test_loading_overlaps_with_the_program():
    batches = iter(DataLoader(Timed(), batch_size=None, num_workers=2, prefetch_factor=3))
    assert next(batches)[0] == 0
    time.sleep(0.5)
    asked = time.monotonic()
    later = [next(batches) for _ in range(11)]
    assert [i for i, _ in later] == list(range(1, 12))
    assert later[0][1] < asked < later[10][1]  # made while the program did other things, but not all of them


def test_a_worker_forked_while_threads_are_at_work():
    from flambeau.engines.numpy import parallel

    a = torch.randn(300, 300)
    parallel.set_num_threads(2)
    (a @ a).exp()
    parallel.run_tasks(lambda i: None, [(i,) for i in range(8)])  # the pool exists, and BLAS has had its threads

    class Products(Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, i):
            parallel.set_num_threads(2)  # ours again, in a process that has none of the parent's threads
            return (torch.randn(300, 300) @ a).exp().shape[0]

    loader = DataLoader(Products(), batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=60)
    assert list(loader) == [300] * 4


def test_large_index_lists_and_prefetch_do_not_block():
    data = TensorDataset(torch.arange(200_000))
    sampler = [list(range(i, 200_000, 100)) for i in range(100)]
    loader = DataLoader(data, batch_sampler=sampler, num_workers=2, prefetch_factor=50)
    assert sum(int(x.sum()) for (x,) in loader) == 199_999 * 100_000


class Text(Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, i):
        return {"text": "x" * 5000, "nested": (i, [torch.zeros(0), None]), "bf": torch.ones(900, dtype=torch.bfloat16)}


def test_other_things_than_arrays():
    got = list(DataLoader(Text(), batch_size=None, num_workers=1))
    assert got[2]["text"] == "x" * 5000 and got[2]["nested"][0] == 2 and got[2]["nested"][1][1] is None
    assert got[0]["bf"].dtype is torch.bfloat16 and got[0]["bf"].sum() == 900
    images = torch.randn(8, 3, 16, 16).to(memory_format=torch.channels_last)
    loader = DataLoader(images, 8, num_workers=1, collate_fn=lambda _: images, multiprocessing_context="fork")
    (batch,) = loader
    assert batch.stride() == images.stride() and torch.equal(batch, images)


def test_what_can_not_be_started():
    with pytest.warns(UserWarning, match="picklable"), pytest.raises((AttributeError, TypeError, Exception)):
        list(DataLoader(range(3), num_workers=1, collate_fn=lambda x: x, multiprocessing_context="spawn"))
    with pytest.raises(ValueError, match="multiprocessing_context"):
        DataLoader(range(3), num_workers=1, multiprocessing_context="thread")


PROGRAM = """
import os, sys, time, torch
from torch.utils.data import DataLoader, Dataset
class D(Dataset):
    def __len__(self): return 1000
    def __getitem__(self, i):
        time.sleep(0.02)
        return torch.full((5000,), float(i))
if __name__ == "__main__":
    it = iter(DataLoader(D(), num_workers=2, multiprocessing_context=sys.argv[1]))
    next(it)
    print(*[p.pid for p in it._workers], flush=True)
    for batch in it:
        pass
"""


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks processes up in /proc")
@pytest.mark.parametrize(("method", "how"), [("fork", "INT"), ("fork", "KILL"), ("spawn", "INT"), ("spawn", "KILL")])
def test_ctrl_c_and_kill_end_all_and_leave_nothing(tmp_path, method, how):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    shm = set(os.listdir("/dev/shm"))
    command = [sys.executable, "-m", "flambeau", "run", str(program), method]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
                          start_new_session=True) as running:  # fmt: skip
        workers = [int(pid) for pid in running.stdout.readline().split()]
        assert len(workers) == 2 and all(alive(pid) for pid in workers)
        if how == "INT":
            os.killpg(running.pid, signal.SIGINT)
        else:
            os.kill(running.pid, signal.SIGKILL)
        assert running.wait(30) in (130, -signal.SIGINT, -signal.SIGKILL)
        deadline = time.monotonic() + 20
        while any(alive(pid) for pid in workers) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(alive(pid) for pid in workers)
        errors = running.stderr.read()
    assert "KeyboardInterrupt" in errors if how == "INT" else errors == ""
    # a process that Python is still starting when the signal comes says so by itself
    assert errors.count("Traceback") <= (1 if method == "fork" else 3), errors
    assert set(os.listdir("/dev/shm")) == shm


def test_memory_of_batches_is_given_back():
    for (x,) in DataLoader(TensorDataset(torch.zeros(64, 10_000)), batch_size=8, num_workers=1):
        block = shared.block_of(x._a)
        assert block.size >= 320_000 and block.fd is None
    import weakref

    gone = weakref.ref(block)
    del x, block
    gc.collect()
    assert gone() is None
