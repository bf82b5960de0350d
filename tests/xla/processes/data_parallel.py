"""What `DistributedDataParallel` promises, checked in every process. Prints `fine` per process."""

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DistributedSampler

dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()


class Two(nn.Module):
    """Two layers, of which one can be left out."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.norm = nn.Linear(3, 3), nn.Linear(3, 3), nn.BatchNorm1d(3)

    def forward(self, x, both=True):
        x = self.norm(self.a(x))
        return self.b(x) if both else x


def same_everywhere(tensors):
    for t in tensors:
        seen = [torch.empty_like(t) for _ in range(size)]
        dist.all_gather(seen, t.detach())
        assert all(torch.equal(s, seen[0]) for s in seen), seen


def inputs():
    torch.manual_seed(7 + rank)
    return torch.randn(4, 3)


def averaged(model, find, both=True, **kwargs):
    """Gradients through the wrapper, and the mean of the processes' own."""
    ddp = DistributedDataParallel(model, find_unused_parameters=find, **kwargs)
    same_everywhere([*model.parameters(), *model.buffers()])
    ddp(inputs(), both).square().sum().backward()
    same_everywhere([p.grad for p in model.parameters() if p.grad is not None])
    return ddp


torch.manual_seed(rank)  # they start apart
model = Two()
ddp = averaged(model, False)
got = [p.grad.clone() for p in model.parameters()]
with ddp.no_sync():
    model.zero_grad()
    ddp(inputs()).square().sum().backward()
own = [p.grad.clone() for p in model.parameters()]
for mine, mean in zip(own, got, strict=True):
    dist.all_reduce(mine, dist.ReduceOp.AVG)
    torch.testing.assert_close(mine, mean)
ddp(inputs()).square().sum().backward()  # accumulates on what no_sync left, and averages the sum
for p, mean in zip(model.parameters(), got, strict=True):
    torch.testing.assert_close(p.grad, 2 * mean)

model.zero_grad(set_to_none=True)
averaged(model, True, both=rank == 0)  # b takes part on rank 0 only: the others count as zero
assert model.b.weight.grad is not None
model.zero_grad(set_to_none=True)
averaged(model, True, both=False)
assert model.b.weight.grad is None and model.a.weight.grad is not None

model.zero_grad(set_to_none=True)
ddp = DistributedDataParallel(model)
ddp(inputs(), False).sum().backward()
try:
    ddp(inputs())
except RuntimeError as error:
    assert "b.weight" in str(error) and "find_unused_parameters" in str(error)
else:
    raise AssertionError("an average that was never finished")

for hook, tolerance in ((default_hooks.allreduce_hook, 1e-6), (default_hooks.bf16_compress_hook, 0.05)):
    model.zero_grad(set_to_none=True)
    ddp = DistributedDataParallel(model, bucket_cap_mb=1e-5)
    ddp.register_comm_hook(None, hook)
    ddp(inputs()).square().sum().backward()
    for p, mean in zip(model.parameters(), got, strict=True):
        torch.testing.assert_close(p.grad, mean, rtol=tolerance, atol=tolerance)
ddp.reducer.hook = None

model = nn.Linear(1, 1)
ddp = DistributedDataParallel(model)
with ddp.join():
    for _ in range(rank + 1):  # each has another number of batches
        ddp(torch.ones(1, 1)).sum().backward()
dist.barrier()

dataset = list(range(4 * size + 1))
sampler = DistributedSampler(dataset, seed=3)
sampler.set_epoch(1)
parts = [None] * size
dist.all_gather_object(parts, list(sampler))
assert {len(p) for p in parts} == {5} and {i for p in parts for i in p} == set(dataset)

try:
    DistributedDataParallel(nn.Linear(rank + 1, 1))
except RuntimeError as error:
    assert "other parameters than rank 0" in str(error)
else:
    raise AssertionError("different modules")
dist.destroy_process_group()
print("fine")
