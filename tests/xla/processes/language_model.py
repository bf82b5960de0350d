"""The bench's small GPT, trained by one process or by several in the way that is named. Rank 0 prints the losses.

The model's file, the way ("alone", "ddp", ...), the device, and how many steps. A step is on 12 sequences in all.
"""

import importlib.util
import os
import sys

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel


def workload(path):
    spec = importlib.util.spec_from_file_location("gpt", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(path, way, device, steps):
    rank, size = 0, 1
    if "RANK" in os.environ:
        dist.init_process_group("gloo")
        rank, size = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(rank)  # what the others make is replaced by what rank 0 has
    model = workload(path).GPT(4, 4, 128, 64).to(device)
    if way == "ddp":
        model = DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.99))
    torch.manual_seed(5)
    text = [torch.randint(0, 65, (12, 65)) for _ in range(8)]
    for i in range(steps):
        part = text[i % 8].to(device).chunk(size)[rank]
        with torch.device(device):
            loss = model(part[:, :-1], part[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        shown = loss.detach().clone()
        if size > 1:
            dist.all_reduce(shown, dist.ReduceOp.AVG)
        if rank == 0:
            print(f"{shown.item():.6f}", flush=True)


main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
