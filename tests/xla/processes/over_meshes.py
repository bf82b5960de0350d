"""Tensors over meshes: layouts, blocks, derivatives, modules. In one process of eight devices, or in several of one."""

import os
import sys

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_module, distribute_tensor
from torch.distributed.tensor import randn as randn_over
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    PrepareModuleInput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)  # fmt: skip

DEVICE, COUNT = sys.argv[1], int(sys.argv[2])
rank, size = 0, 1
if "RANK" in os.environ:
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()


def raises(error, words, call):
    try:
        call()
    except error as found:
        assert words in str(found), found
    else:
        raise AssertionError(f"{words}: nothing was raised")


def check_meshes():
    mesh = init_device_mesh(DEVICE, (2, COUNT // 2), mesh_dim_names=("data", "tensor"))
    assert mesh.shape == (2, COUNT // 2) and mesh.size() == COUNT and mesh.size("tensor") == COUNT // 2
    assert mesh.mesh.tolist() == np.arange(COUNT).reshape(2, -1).tolist() and mesh.ndim == 2
    place = divmod(rank * COUNT // size, COUNT // 2)
    assert mesh.get_coordinate() == list(place) and mesh.get_local_rank("tensor") == place[1]
    assert mesh["tensor"].size() == COUNT // 2 and mesh["data"].mesh_dim_names == ("data",)
    assert mesh.get_group("data").size() == (2 if size > 1 else 1)
    raises(KeyError, "'other'", lambda: mesh["other"])
    raises(RuntimeError, "there are", lambda: init_device_mesh(DEVICE, (COUNT + 1,)))
    return mesh


def check_layouts(mesh):
    whole = torch.arange(8.0 * COUNT).reshape(2 * COUNT, 4).to(DEVICE)
    t = distribute_tensor(whole, mesh, [Shard(0), Replicate()])
    assert isinstance(t, DTensor) and not isinstance(whole, DTensor) and not hasattr(whole, "placements")
    assert t.placements == (Shard(0), Replicate()) and t.device_mesh == mesh and t.shape == whole.shape
    assert torch.equal(t.full_tensor(), whole) and t.full_tensor().device.type == DEVICE
    half = whole.chunk(2)[mesh.get_local_rank("data")] if size > 1 else whole
    assert torch.equal(t.to_local(), half) or (size == 1 and torch.equal(t.to_local().cpu(), whole.cpu()))
    turned = t.redistribute(mesh, [Replicate(), Shard(0)])
    assert turned.placements == (Replicate(), Shard(0)) and torch.equal(turned.full_tensor(), whole)
    assert torch.equal((t * 2 + turned).full_tensor(), whole * 3)
    assert torch.equal((t @ t.t()).full_tensor(), whole @ whole.t())
    assert t.sum().item() == whole.sum().item()
    t[1] = 5.0
    t.mul_(2)
    assert t.placements == (Shard(0), Replicate()) and t.full_tensor()[1].tolist() == [10.0] * 4
    assert DTensor.from_local(t.to_local(), mesh, t.placements).shape == t.shape
    if size > 1:
        mine = torch.full((2,), float(rank)).to(DEVICE)
        summed = DTensor.from_local(mine, mesh, [Partial(), Partial()])
        assert summed.full_tensor().tolist() == [size * (size - 1) / 2] * 2
    uneven = distribute_tensor(torch.arange(5), mesh["tensor"], [Shard(0)])
    assert uneven.placements == (Shard(0),) and uneven.full_tensor().tolist() == [0, 1, 2, 3, 4]
    drawn = randn_over(4, COUNT, device_mesh=mesh, placements=[Shard(0), Replicate()])
    assert drawn.shape == (4, COUNT) and drawn.full_tensor().std().item() > 0.3
    raises(RuntimeError, "Partial", lambda: distribute_tensor(whole, mesh, [Partial(), Replicate()]))
    raises(ValueError, "placements", lambda: distribute_tensor(whole, mesh, [Shard(0)]))


def check_derivatives(mesh):
    torch.manual_seed(0)
    a, b = torch.randn(4, COUNT).to(DEVICE).requires_grad_(), torch.randn(COUNT, 4).to(DEVICE).requires_grad_()
    (a @ b).square().sum().backward()
    x, y = a.detach().clone().requires_grad_(), b.detach().clone().requires_grad_()
    p = distribute_tensor(x, mesh, [Replicate(), Shard(1)])
    q = distribute_tensor(y, mesh, [Replicate(), Shard(0)]).redistribute(mesh, [Shard(0), Replicate()])
    (p @ q).full_tensor().square().sum().backward()
    assert x.grad.device.type == DEVICE
    torch.testing.assert_close(x.grad, a.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(y.grad, b.grad, rtol=1e-4, atol=1e-4)


class Two(nn.Module):
    """A small net with a residual and a norm."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.norm = nn.Linear(4, 2 * COUNT), nn.Linear(2 * COUNT, 4), nn.LayerNorm(4)

    def forward(self, x):
        return self.norm(x + self.second(torch.tanh(self.first(x))))


def net():
    torch.manual_seed(3)
    return Two().to(DEVICE), torch.randn(2 * COUNT, 6, 4).to(DEVICE)


def gradients(module):
    return {n: (p.grad.full_tensor() if isinstance(p.grad, DTensor) else p.grad) for n, p in module.named_parameters()}


def check_tensor_parallel(mesh):
    plain, x = net()
    plain(x).square().mean().backward()
    plans = {
        "layers": {"first": ColwiseParallel(), "second": RowwiseParallel()},
        "kept over the mesh": {
            "first": ColwiseParallel(use_local_output=False), "second": RowwiseParallel(output_layouts=Replicate()),
        },
        "prepared": {
            "first": PrepareModuleInput(input_layouts=Replicate(), desired_input_layouts=Shard(1)),
        },
    }  # fmt: skip
    for plan in plans.values():
        module, _ = net()
        parallelize_module(module, mesh["tensor"], plan)
        result = module(x)
        result = result.full_tensor() if isinstance(result, DTensor) else result
        torch.testing.assert_close(result, plain(x), rtol=1e-4, atol=1e-5)
        result.square().mean().backward()
        for name, grad in gradients(module).items():
            want = dict(plain.named_parameters())[name].grad
            torch.testing.assert_close(grad.to(DEVICE), want, rtol=1e-3, atol=1e-5)
    module, _ = net()
    parallelize_module(module, mesh["tensor"], {"first": ColwiseParallel(), "second": RowwiseParallel()})
    assert isinstance(module.first.weight, DTensor) and module.second.weight.placements[-1] == Shard(1)
    norm = parallelize_module(nn.LayerNorm(4).to(DEVICE), mesh["tensor"], SequenceParallel())
    assert isinstance(norm(x), DTensor) and norm(x).placements[-1] == Shard(1)
    raises(ValueError, "one dimension", lambda: parallelize_module(module, mesh, ColwiseParallel()))
    everywhere = distribute_module(net()[0], mesh)
    assert all(isinstance(p, DTensor) for p in everywhere.parameters())


def check_fully_sharded(mesh):
    plain, x = net()
    plain(x).square().mean().backward()
    flat = init_device_mesh(DEVICE, (COUNT,), mesh_dim_names=("all",))
    module, _ = net()
    fully_shard(module.first, mesh=flat)
    fully_shard(module, mesh=flat)
    assert isinstance(module, FSDPModule) and isinstance(module, Two) and type(module).__name__ == "FSDPTwo"
    assert module.first.weight.placements == (Shard(0),)
    raises(AssertionError, "already", lambda: fully_shard(module, mesh=flat))
    part = x.chunk(size)[rank]
    module.set_requires_gradient_sync(False)
    module(part).square().mean().backward()
    module.set_requires_gradient_sync(True)
    module(part).square().mean().backward()
    for name, grad in gradients(module).items():
        want = 2 * dict(plain.named_parameters())[name].grad
        torch.testing.assert_close(grad.to(DEVICE), want, rtol=1e-3, atol=1e-5)
        assert isinstance(dict(module.named_parameters())[name].grad, DTensor)
    module.unshard()
    module.reshard()
    low, _ = net()
    fully_shard(low, mesh=flat, mp_policy=MixedPrecisionPolicy(torch.bfloat16, torch.float32, torch.float32))
    result = low(part)
    assert result.dtype is torch.float32 and low.first.weight.dtype is torch.float32
    result.square().mean().backward()
    assert low.first.weight.grad.dtype is torch.float32


mesh = check_meshes()
for check in (check_layouts, check_derivatives, check_tensor_parallel, check_fully_sharded):
    check(mesh)
if size > 1:
    dist.destroy_process_group()
print("fine")
