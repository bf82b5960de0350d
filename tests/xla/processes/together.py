"""Collectives in the graph, normalisation over all processes, parted optimizers, `Join` and stores. Prints `fine`."""

import datetime
import os
import sys

import torch
import torch.distributed as dist
import torch.distributed.nn.functional as graph
from torch import nn
from torch.distributed.algorithms.join import Join
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.parallel import DistributedDataParallel

rank, size, device = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), sys.argv[1]
store = dist.TCPStore("127.0.0.1", int(sys.argv[2]), size, rank == 0, datetime.timedelta(seconds=60))
dist.init_process_group("gloo", store=dist.PrefixStore("group", store), rank=rank, world_size=size)
store.set(f"name/{rank}", f"process {rank}")
assert [store.get(f"name/{r}") for r in range(size)] == [f"process {r}".encode() for r in range(size)]
store.add("count", rank + 1)
dist.barrier()
assert store.get("count") == str(size * (size + 1) // 2).encode()


def of(r, *shape):
    """Numbers of process `r`, which all processes know."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(100 + r)).to(device)


def same(a, b):
    torch.testing.assert_close(a.detach().cpu(), b.detach().cpu(), rtol=1e-5, atol=1e-6)


def gradients(collective, alone):
    """Gradients through a collective, and those of the same function of all processes' tensors in one process.

    The loss is the sum of all processes'; each weighs results by numbers of its own.
    """
    mine = of(rank, 4, 3).requires_grad_()
    (collective(mine) * of(rank + 10, 4, 3)).sum().backward()
    everyone = [of(r, 4, 3).requires_grad_() for r in range(size)]
    loss = sum((alone(everyone, r) * of(r + 10, 4, 3)).sum() for r in range(size))
    (loss + 0 * sum(t.sum() for t in everyone)).backward()
    same(mine.grad, everyone[rank].grad)


def weighted(parts):
    return sum(p * (i + 1) for i, p in enumerate(parts))


gradients(graph.all_reduce, lambda ts, r: sum(ts))
gradients(lambda t: graph.broadcast(t, 1), lambda ts, r: ts[1])
gradients(lambda t: weighted(graph.all_gather(t)), lambda ts, r: weighted(ts))
gradients(lambda t: graph.reduce_scatter(t, [t * (i + 1) for i in range(size)]),
          lambda ts, r: sum(t * (r + 1) for t in ts))  # fmt: skip
gradients(lambda t: weighted(graph.all_to_all([t] * size, [t * (i + 2) for i in range(size)])),
          lambda ts, r: weighted([t * (r + 2) for t in ts]))  # fmt: skip
gradients(lambda t: graph.scatter([t * (i + 1) for i in range(size)], 0), lambda ts, r: ts[0] * (r + 1))
gradients(lambda t: weighted(graph.gather(t, 0)), lambda ts, r: weighted(ts) if r == 0 else ts[r] * 0)
gradients(lambda t: graph.reduce(t, 1) * (rank == 1), lambda ts, r: sum(ts) if r == 1 else ts[r] * 0)
x = of(0, 2 * size, 2).requires_grad_()
(graph.all_to_all_single(torch.empty_like(x), x) * (rank + 1)).sum().backward()
same(x.grad, torch.arange(1.0, size + 1).repeat_interleave(2)[:, None].expand(-1, 2))

# normalisation over batches of different sizes is that of the whole batch
sizes = [3 + r for r in range(size)]
torch.manual_seed(1)
norm, whole = (
    nn.SyncBatchNorm.convert_sync_batchnorm(nn.BatchNorm2d(2)).double().to(device),
    nn.BatchNorm2d(2).double().to(device),
)
with torch.no_grad():
    for layer in (norm, whole):
        layer.weight.copy_(torch.tensor([0.5, 2.0]))
        layer.bias.copy_(torch.tensor([1.0, -1.0]))
images = [of(r, sizes[r], 2, 3, 3).double() for r in range(size)]
for _ in range(2):
    mine, everyone = images[rank].clone().requires_grad_(), torch.cat(images).requires_grad_()
    for layer in (norm, whole):
        layer.zero_grad()
    result, wanted = norm(mine), whole(everyone)
    (result**3).sum().backward()
    (wanted**3).sum().backward()
    same(result, wanted.split(sizes)[rank])
    same(mine.grad, everyone.grad.split(sizes)[rank])
    for a, b in zip(norm.parameters(), whole.parameters()):
        dist.all_reduce(a.grad)
        same(a.grad, b.grad)
    same(norm.running_mean, whole.running_mean)
    same(norm.running_var, whole.running_var)
norm.eval(), whole.eval()
same(norm(images[rank]), whole(images[rank]))

# an optimizer in parts takes the steps of a whole one, and goes on from its state
torch.manual_seed(2)
nets = [nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).to(device) for _ in range(2)]
nets[1].load_state_dict(nets[0].state_dict())
parted = ZeroRedundancyOptimizer(nets[0].parameters(), torch.optim.Adam, lr=0.05)
plain = torch.optim.Adam(nets[1].parameters(), lr=0.05)
schedules = [torch.optim.lr_scheduler.StepLR(o, 2, 0.5) for o in (parted, plain)]


def train(steps):
    for i in range(steps):
        for net, optimizer, schedule in zip(nets, (parted, plain), schedules):
            optimizer.zero_grad()
            net(of(i, 4, 3)).square().sum().backward()
            optimizer.step()
            schedule.step()
    for a, b in zip(nets[0].parameters(), nets[1].parameters()):
        same(a, b)


train(5)
assert 0 < len(parted.optim.state) < 4
parted.consolidate_state_dict(to=0)
if rank == 0:
    kept, wanted = parted.state_dict(), plain.state_dict()
    assert list(kept["state"]) == list(wanted["state"]) == [0, 1, 2, 3]
    for a, b in zip(kept["state"].values(), wanted["state"].values()):
        same(a["exp_avg"], b["exp_avg"])
parted.load_state_dict(plain.state_dict())
train(2)

# processes with different numbers of batches
for by_all in (True, False):
    torch.manual_seed(3)
    net = nn.Linear(2, 1, bias=False).to(device)
    ddp = DistributedDataParallel(net)
    batches = 2 + rank
    with Join([ddp], divide_by_initial_world_size=by_all):
        for i in range(batches):
            net.zero_grad()
            ddp(of(i, 4, 2)).sum().backward()
            there = sum(i < 2 + r for r in range(size))
            same(net.weight.grad, of(i, 4, 2).sum(0, keepdim=True) * (there / size if by_all else 1.0))
try:
    with Join([ddp], throw_on_early_termination=True):
        for _ in range(2 + rank):
            ddp(of(0, 4, 2)).sum().backward()
    raise AssertionError("nobody was told")
except RuntimeError as error:
    assert "throw_on_early_termination" in str(error), error
print("fine", flush=True)
