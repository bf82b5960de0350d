"""The bench's small GPT over a mesh of this process's devices, its step compiled by XLA. Prints the losses.

The model's file, the way ("fsdp", "tensor"), how many steps and devices. A step is on 16 sequences.
"""

import importlib.util
import sys

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

path, way, steps, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
spec = importlib.util.spec_from_file_location("gpt", path)
gpt = importlib.util.module_from_spec(spec)
spec.loader.exec_module(gpt)

torch.manual_seed(0)
model = gpt.GPT(4, 4, 128, 64).to("xla")
mesh = init_device_mesh("xla", (count,))
if way == "fsdp":
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
else:
    parallelize_module(model, mesh, {"blocks.*.mlp.0": ColwiseParallel(), "blocks.*.mlp.2": RowwiseParallel()})
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.99))
before = [p._a.value.sharding for p in model.parameters()]
torch.manual_seed(5)
text = [torch.randint(0, 65, (16, 65)) for _ in range(8)]


def train(x, y):
    with torch.device("xla"):
        loss = model(x, y)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss


step = torch.compile(train, backend="xla")
for i in range(steps):
    pair = text[i % 8].to("xla")
    x, y = pair[:, :-1].contiguous(), pair[:, 1:].contiguous()
    if way == "fsdp":
        x, y = distribute_tensor(x, mesh, [Shard(0)]), distribute_tensor(y, mesh, [Shard(0)])
    print(f"{step(x, y).item():.6f}", flush=True)
laid = [p._a.value.sharding for p in model.parameters() if p._a.value.sharding.num_devices == count]
assert laid and (way != "fsdp" or [p._a.value.sharding for p in model.parameters()] == before)
