"""Devices: moving, making, mixing, the numbers that a seed gives, and what is not copied."""

import copy
import pickle

import jax
import numpy as np
import pytest

import flambeau as torch
from flambeau.engines.xla.runtime import devices_of

XLA = torch.device("xla")


def test_to_and_back():
    x = torch.arange(6.0).reshape(2, 3)
    y = x.to("xla")
    assert str(y.device) == "xla:0" and y.is_xla and not y.is_cpu and not y.is_cuda and y.get_device() == 0
    assert y.to("xla:0") is y and x.to("cpu") is x and x.cpu() is x
    assert y.cpu().tolist() == x.tolist() and y.cpu().device.type == "cpu"
    y.add_(1)
    assert x[0, 0] == 0 and y[0, 0].item() == 1
    x.mul_(2)
    assert y[0, 1].item() == 2
    assert y.to(torch.float64).dtype is torch.float64 and y.to("cpu", torch.int64).dtype is torch.int64
    assert y.to(x).device.type == "cpu" and x.to(y).device == y.device
    assert "device='xla:0'" in repr(y)


def test_gradients_cross_devices():
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    loss = (w.to(XLA) ** 2).sum().cpu() * 3
    loss.backward()
    assert w.grad.device.type == "cpu" and w.grad.tolist() == [6.0, 12.0]


def test_strides_survive_a_move():
    x = torch.arange(6.0).reshape(2, 3).t()
    y = x.to(XLA)
    assert y.stride() == x.stride() and not y.is_contiguous() and y.tolist() == x.tolist()
    assert y.contiguous().stride() == (2, 1)


def test_factories_and_contexts():
    for make in (torch.zeros, torch.ones, torch.empty, torch.rand, torch.randn):
        assert make(2, device="xla").device == torch.device("xla", 0)
    with XLA:
        a = torch.arange(3)
        assert a.device.type == "xla" and torch.full((2,), 1.5).device.type == "xla"
        assert torch.zeros(1, device="cpu").device.type == "cpu"
    assert torch.zeros(1).device.type == "cpu"
    torch.set_default_device("xla")
    try:
        assert torch.get_default_device().type == "xla" and torch.tensor([1.0]).device.type == "xla"
    finally:
        torch.set_default_device(None)
    assert torch.zeros_like(a).device == a.device and a.new_ones(2).device == a.device
    assert torch.as_tensor([1], device=XLA).device.type == "xla"


def test_operands_on_two_devices_are_refused():
    x, y = torch.ones(2, 2), torch.ones(2, 2, device=XLA)
    for call in (lambda: x + y, lambda: y @ x, lambda: torch.cat([x, y]), lambda: torch.nn.functional.linear(y, x)):
        with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
            call()
    assert (y * torch.tensor(2.0)).tolist() == [[2.0, 2.0], [2.0, 2.0]]  # no dimensions: as good as a number


def test_to_numpy_only_from_the_cpu():
    y = torch.ones(2, device=XLA)
    with pytest.raises(TypeError, match=r"Use Tensor.cpu\(\)"):
        y.numpy()
    assert y.cpu().numpy().tolist() == [1.0, 1.0] and y.numpy(force=True).tolist() == [1.0, 1.0]


def test_jax_reads_without_a_copy():
    y = torch.arange(4.0, device=XLA)
    theirs = jax.dlpack.from_dlpack(y)
    assert theirs.tolist() == y.tolist()
    assert theirs.unsafe_buffer_pointer() == y._a.value.unsafe_buffer_pointer()


def test_the_global_configuration_of_jax_stays_as_it_is():
    assert torch.ones(2, dtype=torch.float64, device=XLA).exp().dtype is torch.float64
    assert (torch.arange(3, device=XLA) * 2**40).tolist() == [0, 2**40, 2**41]
    assert jax.numpy.ones(2).dtype == np.float32 and not jax.config.jax_enable_x64


def test_a_seed_gives_the_same_numbers_on_every_device():
    def draws(device):
        torch.manual_seed(3)
        x = torch.randn(5, device=device)
        net = torch.nn.Linear(3, 2, device=device)
        return [
            x, torch.rand(3, device=device), torch.randint(0, 9, (4,), device=device), torch.randperm(6, device=device),
            net.weight, torch.nn.functional.dropout(torch.ones(8, device=device), 0.5), x.clone().normal_(),
            torch.empty(3, 2, device=device).t().uniform_(), torch.bernoulli(torch.full((4,), 0.5, device=device)),
        ]  # fmt: skip

    for a, b in zip(draws("xla"), draws("cpu"), strict=True):
        assert a.device.type == "xla" and a.tolist() == b.tolist()


def test_copies_and_pickles():
    y = torch.arange(4.0, device=XLA).requires_grad_()
    z = copy.deepcopy(y)
    with torch.no_grad():
        z[0] = 9
    assert y[0].item() == 0 and z.device == y.device and z.requires_grad
    back = pickle.loads(pickle.dumps(y))
    assert back.device == y.device and back.tolist() == y.tolist() and back.requires_grad


def test_modules_move_whole():
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    weight = net[0].weight
    assert net.to("xla") is net and net[0].weight is weight
    assert {t.device.type for t in (*net.parameters(), *net.buffers())} == {"xla"}
    state = net.state_dict()
    other = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    other.load_state_dict(state)
    assert other[0].weight.device.type == "cpu" and other[0].weight.tolist() == net[0].weight.tolist()
    assert next(net.cpu().parameters()).device.type == "cpu"


def test_errors_name_what_is_wrong():
    with pytest.raises(IndexError):
        torch.ones(3, device=XLA)[torch.tensor([3], device=XLA)]
    with pytest.raises(IndexError):
        torch.nn.functional.embedding(torch.tensor([5], device=XLA), torch.ones(3, 2, device=XLA))
    with pytest.raises(RuntimeError):
        torch.ones(2, 3, device=XLA) @ torch.ones(2, 3, device=XLA)
    with pytest.raises(RuntimeError, match="leaf"):
        torch.ones(2, device=XLA, requires_grad=True).add_(1)
    with pytest.raises(torch.linalg.LinAlgError):
        torch.linalg.inv(torch.zeros(2, 2, device=XLA))
    with pytest.raises((NotImplementedError, AssertionError), match="there are"):
        torch.ones(1, device="xla:99")


@pytest.mark.skipif(bool(devices_of("cuda")), reason="there is a GPU")
def test_an_absent_gpu():
    assert not torch.cuda.is_available() and torch.cuda.device_count() == 0
    with pytest.raises((RuntimeError, AssertionError), match="cuda"):
        torch.ones(2).cuda()


def test_questions_that_programs_ask_of_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "_KIND", "xla")  # the same functions over XLA's CPU
    assert torch.cuda.is_available() and torch.cuda.device_count() >= 1 and torch.cuda.current_device() == 0
    torch.cuda.synchronize()
    torch.cuda.manual_seed_all(0)
    assert isinstance(torch.cuda.get_device_name(), str) and torch.cuda.memory_allocated() >= 0
    with torch.cuda.device(0), torch.cuda.stream(torch.cuda.Stream()):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        end.record()
    assert start.elapsed_time(end) >= 0
    assert torch.cuda.get_device_properties(0).name == torch.cuda.get_device_name(0)
