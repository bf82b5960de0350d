"""`torch.distributed` as a group of one, `torch.accelerator`, and what `torch.utils.tensorboard` writes."""

import json
import struct

import pytest

import flambeau as torch
from flambeau import distributed as dist
from flambeau.utils.tensorboard import SummaryWriter, records


@pytest.fixture
def joined(monkeypatch):
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    dist.init_process_group("gloo")
    yield
    dist.destroy_process_group()


def test_before_a_group_is_joined(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    assert dist.is_available() and not dist.is_initialized() and dist.is_gloo_available()
    for call in (dist.get_rank, dist.get_world_size, dist.get_backend, dist.barrier, dist.new_group):
        with pytest.raises(ValueError, match="init_process_group"):
            call()
    with pytest.raises(ValueError, match="RANK"):
        dist.init_process_group("gloo")
    with pytest.raises(ValueError, match="MASTER_ADDR"):
        dist.init_process_group("gloo", rank=0, world_size=2)
    for wrong in (dict(rank=2, world_size=2), dict(rank=-1, world_size=1, init_method="tcp://127.0.0.1:1")):
        with pytest.raises(ValueError, match="rank"):
            dist.init_process_group("gloo", **wrong)
    with pytest.raises(RuntimeError, match="'nccl'"):
        dist.init_process_group("nccl", rank=0, world_size=1)
    with pytest.raises(ValueError, match="init_process_group"):
        torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="init_process_group"):
        torch.utils.data.DistributedSampler([1, 2])
    assert not dist.is_initialized()


def test_a_group_of_one(joined):
    assert (dist.get_rank(), dist.get_world_size(), dist.get_backend()) == (0, 1, "gloo")
    assert dist.is_initialized() and dist.get_process_group_ranks(dist.group.WORLD) == [0]
    with pytest.raises(ValueError, match="joined already"):
        dist.init_process_group("gloo")
    t, places, whole = torch.arange(3.0), [torch.zeros(3)], torch.zeros(1, 3)
    assert dist.all_reduce(t, dist.ReduceOp.AVG) is None and t.tolist() == [0, 1, 2]
    assert dist.all_reduce(t, async_op=True).wait()
    dist.all_gather(places, t)
    dist.all_gather_into_tensor(whole, t)
    assert places[0].tolist() == whole[0].tolist() == [0, 1, 2]
    dist.scatter(places[0], [t * 2], src=0)
    dist.reduce_scatter(t, [t + 1])
    assert places[0].tolist() == [0, 2, 4] and t.tolist() == [1, 2, 3]
    original, objects = {"a": [1]}, [None]
    dist.all_gather_object(objects, original)
    assert objects[0] == original and objects[0] is not original
    with pytest.raises(RuntimeError, match="rank 1"):
        dist.broadcast(t, 1)
    with pytest.raises(ValueError, match="no other process"):
        dist.send(t, 1)
    assert dist.new_group([0]).size() == 1 and str(dist.ReduceOp.SUM) == "RedOpType.SUM"
    sampler = torch.utils.data.DistributedSampler(range(4), shuffle=False)
    assert list(sampler) == [0, 1, 2, 3]


def test_data_parallel_over_one_process(joined):
    torch.manual_seed(0)
    plain = torch.nn.Linear(2, 2)
    wrapped = torch.nn.parallel.DistributedDataParallel(plain, find_unused_parameters=True)
    assert list(wrapped.state_dict()) == ["module.weight", "module.bias"] and wrapped.module is plain
    assert str(wrapped).startswith("DistributedDataParallel(\n  (module)")
    with wrapped.no_sync():
        wrapped(torch.ones(1, 2)).sum().backward()
        assert not wrapped.require_backward_grad_sync
    assert wrapped.require_backward_grad_sync and plain.weight.grad.tolist() == [[1, 1], [1, 1]]
    with pytest.raises(RuntimeError, match="requires a gradient"):
        torch.nn.parallel.DistributedDataParallel(torch.nn.ReLU())
    with pytest.raises(ValueError, match="device_ids"):
        torch.nn.parallel.DistributedDataParallel(plain, device_ids=[1])


def test_there_is_no_accelerator():
    accelerator = torch.accelerator
    assert not accelerator.is_available() and accelerator.device_count() == 0
    assert accelerator.current_accelerator() is None
    with accelerator.device_index(None):
        pass
    for name in ("synchronize", "current_device_index", "memory_allocated", "empty_cache"):
        with pytest.raises(RuntimeError, match="no accelerator"):
            getattr(accelerator, name)()


def read(path):
    """The records of an event file, their checksums verified."""
    data, found = path.read_bytes(), []
    while data:
        (length,), (check,) = struct.unpack("<Q", data[:8]), struct.unpack("<I", data[8:12])
        assert records.checksum(data[:8]) == check
        body, (check,) = data[12 : 12 + length], struct.unpack("<I", data[12 + length : 16 + length])
        assert records.checksum(body) == check
        found.append(body)
        data = data[16 + length :]
    return found


def test_checksums_are_masked_crc_32c():
    plain = (records.checksum(b"123456789") - 0xA282EAD8) & 0xFFFFFFFF
    assert (plain << 15 | plain >> 17) & 0xFFFFFFFF == 0xE3069283  # the check value that defines CRC-32C


def test_event_files(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        writer.add_scalar("loss", torch.tensor(0.5), 3, walltime=1.0)
        writer.add_scalars("two", {"a": 1, "b": 2}, 0)
        writer.add_histogram("h", torch.randn(100), 1)
        writer.add_histogram("few", torch.arange(10.0), bins="auto", max_bins=2)
        writer.add_image("one", torch.rand(3, 5, 6))
        writer.add_images("many", torch.rand(9, 1, 5, 6), 2)
        writer.add_text("note", "**bold**", 0)
        writer.add_hparams({"lr": 0.1}, {"accuracy": 0.5}, run_name="try")
        with pytest.warns(UserWarning, match="no graphs"):
            writer.add_graph(torch.nn.Linear(1, 1))
        with pytest.raises(ValueError, match="one value"):
            writer.add_histogram("none", torch.empty(0))
        with pytest.raises(AssertionError, match="one number"):
            writer.add_scalar("vector", torch.ones(2))
    (main,) = tmp_path.glob("events.out.tfevents.*")
    events = read(main)
    assert len(events) == 7 and b"brain.Event:2" in events[0]
    moment, step = struct.pack("<d", 1.0), bytes([0x10, 3])
    value = bytes([0x0A, 4]) + b"loss" + bytes([0x15]) + struct.pack("<f", 0.5)
    summary = b"\x2a" + bytes([len(value) + 2]) + b"\x0a" + bytes([len(value)]) + value
    assert events[1] == b"\x09" + moment + step + summary
    assert b"\x89PNG" in events[4] and b"**bold**" in events[6]
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == ["try", "two_a", "two_b"]
    assert any(b"| lr | 0.1 |" in event for event in read(next((tmp_path / "try").iterdir())))


def test_profiles_are_written_as_traces(tmp_path):
    with torch.profiler.profile() as profile, torch.profiler.record_function("block"):
        torch.ones(2) + 1
    profile.export_chrome_trace(str(tmp_path / "trace.json"))
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"][0]["name"] == "block"
