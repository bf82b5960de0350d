"""Tensors in shared memory, tensors sent between processes, and processes below one that serves flambeau as torch."""

import os
import pickle
import subprocess
import sys
import time
from multiprocessing.reduction import ForkingPickler

import pytest

import flambeau as torch
import flambeau.multiprocessing as mp
from tests.programs import ROOT, environment, flambeau


def test_sharing_moves_all_who_show_the_memory():
    t = torch.arange(6.0).reshape(2, 3)
    view, alias = t[1], t.detach()
    assert t.share_memory_() is t and t.is_shared() and view.is_shared() and alias.is_shared()
    view += 10
    assert t.tolist() == alias.tolist() == [[0, 1, 2], [13, 14, 15]] and t.untyped_storage().is_shared()
    empty = torch.zeros(0, 3).share_memory_()
    assert empty.is_shared() and empty.shape == (0, 3)
    model = torch.nn.BatchNorm1d(3).share_memory()
    assert all(p.is_shared() for p in [*model.parameters(), *model.buffers()])
    model(torch.randn(4, 3)).sum().backward()
    odd = torch.arange(3).to(torch.bfloat16).share_memory_()
    assert odd.storage().tolist() == [0, 1, 2] and odd.t().storage().dtype is torch.bfloat16


def test_what_is_sent_is_shared_and_comes_back_as_itself():
    t = torch.arange(12.0).reshape(3, 4)
    sent = ForkingPickler.dumps([t, t[1], t.t()])
    a, b, c = ForkingPickler.loads(sent)
    assert t.is_shared() and len(sent) < 2000
    b.zero_()
    assert t[1].tolist() == a[1].tolist() == [0] * 4 and c.stride() == (1, 4) and torch.equal(c, t.t())
    p = ForkingPickler.loads(ForkingPickler.dumps(torch.nn.Parameter(t.clone())))
    assert isinstance(p, torch.nn.Parameter) and p.requires_grad and p.is_shared()
    with pytest.raises(RuntimeError, match="detach"):
        ForkingPickler.dumps(p * 2)


def test_ordinary_pickles_keep_the_order_in_memory():
    t = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    again = pickle.loads(pickle.dumps(t))
    assert again.stride() == t.stride() and torch.equal(again, t) and not again.is_shared()
    assert pickle.loads(pickle.dumps(t[0, :, ::2])).tolist() == t[0, :, ::2].tolist()


def train(rank, model, queue):
    with torch.no_grad():
        model.weight[rank] = rank + 1.0
    queue.put((rank, model.weight.detach()[rank].clone()))
    time.sleep(0.5)  # whoever sends must live until it has arrived


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_share_a_model(method):
    context = mp.get_context(method)
    model, queue = torch.nn.Linear(2, 2).share_memory(), context.SimpleQueue()
    processes = [context.Process(target=train, args=(rank, model, queue)) for rank in range(2)]
    for process in processes:
        process.start()
    got = dict(queue.get() for _ in range(2))
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    assert model.weight.tolist() == [[1, 1], [2, 2]] and got[1].tolist() == [2, 2]


def fail(rank, how):
    if rank == 1:
        if how == "raise":
            raise ValueError("on purpose")
        os._exit(3) if how == "exit" else os.kill(os.getpid(), 9)
    time.sleep(0 if how == "fine" else 30)


def test_spawn_tells_which_process_failed():
    start = time.monotonic()
    for how, error, text in [
        ("raise", mp.ProcessRaisedException, "Process 1 terminated(.|\n)*ValueError: on purpose"),
        ("exit", mp.ProcessExitedException, "process 1 terminated with exit code 3"),
        ("kill", mp.ProcessExitedException, "process 1 terminated with signal SIGKILL"),
    ]:
        with pytest.raises(error, match=text) as caught:
            mp.start_processes(fail, (how,), nprocs=2, start_method="fork")
        assert caught.value.error_index == 1
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    started = mp.start_processes(pow, (2,), nprocs=2, join=False, start_method="fork")
    assert len(started.pids()) == 2
    while not started.join(10):
        pass
    assert time.monotonic() - start < 25


def test_names_of_pythons_own():
    assert mp.Queue and mp.Pool and mp.set_start_method and mp.get_context("spawn").Process
    assert mp.get_sharing_strategy() in mp.get_all_sharing_strategies()
    with pytest.raises(AssertionError, match="file_system"):
        mp.set_sharing_strategy("pigeon")


CHILDREN = """
import os, subprocess, sys, torch
import multiprocessing, torch.multiprocessing as mp
def double(t):
    return t * 2
def fill(rank, t):
    t[rank] = rank
if __name__ == "__main__":
    run = lambda *command: subprocess.run(command, capture_output=True, text=True).stdout.strip()
    served = "import sys, torch.nn; print('flambeau' in sys.modules, torch.nn.Linear, torch.zeros(1))"
    print(run(sys.executable, "-c", served))
    for method in ("spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(pool.map(double, [torch.ones(1), torch.zeros(2)]))
    t = torch.zeros(2)
    mp.spawn(fill, (t,), nprocs=2)
    print(t, "flambeau" in os.environ.get("PYTHONPATH", ""), any("_startup" in path for path in sys.path))
    from concurrent.futures import ProcessPoolExecutor
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        print(list(pool.map(double, [torch.ones(3)])))
"""


def test_processes_that_a_program_starts_are_served_too(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(CHILDREN)
    expected = (
        "True <class 'torch.nn.modules.linear.Linear'> tensor([0.])\n[tensor([2.]), tensor([0., 0.])]\n"
        "[tensor([2.]), tensor([0., 0.])]\ntensor([0., 1.]) True False\n[tensor([2., 2., 2.])]\n"
    )
    done = flambeau("run", script)
    assert done.stdout == expected, done.stderr
    # without flambeau run: whoever imports flambeau first
    script.write_text("import flambeau\n" + CHILDREN)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=200,
                          env={**environment(), "FLAMBEAU_AS_TORCH": "1"})  # fmt: skip
    assert done.stdout == expected, done.stderr


def test_a_sitecustomize_of_ones_own_still_runs(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.mine = True")
    startup = ROOT / "src" / "flambeau" / "_startup"
    path = os.pathsep.join([str(startup), str(tmp_path), str(ROOT / "src")])
    for served in ("1", "0"):
        env = {**os.environ, "PYTHONPATH": path, "FLAMBEAU_AS_TORCH": served}
        code = "import sys; print(sys.mine, 'flambeau' in sys.modules, any('_startup' in p for p in sys.path))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
        assert done.stdout == "True False False\n", done.stderr


def test_pytest_and_its_plugins_run(tmp_path):
    test = "import sys, torch\ndef test_it():\n    assert 'flambeau' in sys.modules and torch.ones(1)\n"
    (tmp_path / "test_it.py").write_text(test)
    done = flambeau("run", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    pytest.importorskip("xdist")
    done = flambeau("run", "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "test_it.py", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
