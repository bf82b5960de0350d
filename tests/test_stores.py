"""`torch.distributed`'s stores, by threads and processes of one machine, without JAX."""

import datetime
import multiprocessing
import threading
import time

import pytest

from flambeau import distributed as dist
from flambeau.errors import DistNetworkError, DistStoreError

SOON = datetime.timedelta(milliseconds=300)


@pytest.fixture(params=["hash", "file", "tcp", "client", "prefix"])
def store(request, tmp_path):
    if request.param == "hash":
        yield dist.HashStore()
    elif request.param == "file":
        yield dist.FileStore(str(tmp_path / "store"), 1)
    elif request.param == "prefix":
        yield dist.PrefixStore("inner", dist.HashStore())
    else:
        host = dist.TCPStore("127.0.0.1", 0, is_master=True)
        yield dist.TCPStore("127.0.0.1", host.port) if request.param == "client" else host
        host.close()


def test_values(store):
    store.set("a", "text")
    store.set("b", b"\x00\xff")
    assert store.get("a") == b"text" and store.multi_get(["b", "a"]) == [b"\x00\xff", b"text"]
    assert store.check(["a", "b"]) and not store.check(["a", "c"])
    assert store.add("n", 3) == 3 and store.add("n", -1) == 2 and store.get("n") == b"2"
    store.append("a", " more")
    assert store.get("a") == b"text more"
    assert store.compare_set("a", "wrong", "new") == b"text more"
    assert store.compare_set("a", "text more", "new") == b"new" == store.get("a")
    assert store.compare_set("fresh", "", "made") == b"made" and store.compare_set("none", "x", "y") == b"x"
    assert set(store.list_keys()) >= {"a", "b", "n", "fresh"} and store.num_keys() == len(store.list_keys())
    assert store.delete_key("a") and not store.delete_key("a") and not store.check(["a"])
    store.multi_set(["c", "d"], ["1", "2"])
    assert store.multi_get(["c", "d"]) == [b"1", b"2"] and store.has_extended_api()
    with pytest.raises(TypeError):
        store.set("a", 1)


def test_waiting(store):
    with pytest.raises(DistStoreError, match="300 ms, keys: missing"):
        store.wait(["missing"], SOON)
    store.set_timeout(SOON)
    assert store.timeout == SOON
    with pytest.raises(DistStoreError, match="missing"):
        store.get("missing")
    store.set_timeout(datetime.timedelta(seconds=20))
    later = threading.Timer(0.2, lambda: store.set("late", "here"))
    later.start()
    assert store.get("late") == b"here"
    later.join()


def count(kind, where, times):
    store = dist.FileStore(where, 2) if kind == "file" else dist.TCPStore("127.0.0.1", where)
    for _ in range(times):
        store.add("n", 1)


@pytest.mark.parametrize("kind", ["file", "tcp"])
def test_processes_that_count_together(kind, tmp_path):
    own = dist.FileStore(str(tmp_path / "s")) if kind == "file" else dist.TCPStore("127.0.0.1", 0, is_master=True)
    where = own.path if kind == "file" else own.port
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=count, args=(kind, where, 50)) for _ in range(3)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert own.get("n") == b"150" and all(w.exitcode == 0 for w in workers)


def test_nobody_there():
    began = time.monotonic()
    with pytest.raises(DistNetworkError, match="no store answers at 127.0.0.1:1"):
        dist.TCPStore("127.0.0.1", 1, timeout=SOON)
    host = dist.TCPStore("127.0.0.1", 0, is_master=True)
    with pytest.raises(DistNetworkError, match="can't be used"):
        dist.TCPStore("127.0.0.1", host.port, is_master=True)
    with pytest.raises(DistStoreError, match="not all of 2"):
        dist.TCPStore("127.0.0.1", 0, 2, True, SOON)
    assert time.monotonic() - began < 10


def test_joining_by_a_store():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    assert dist.get_world_size() == 1
    dist.destroy_process_group()
    with pytest.raises(ValueError, match="rank and world_size"):
        dist.init_process_group("gloo", store=dist.HashStore())
