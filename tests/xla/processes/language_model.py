"""The bench's small GPT, trained by one process or by several in the way that is named. Rank 0 prints the losses.

The model's file, the way ("alone", "ddp", ...), the device, how many steps, how many devices; and, to save afterwards
or to go on from what was saved, "save" or "load" and a folder. A step is on 16 sequences in all.
"""

import importlib.util
import os
import sys

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel


def workload(path):
    spec = importlib.util.spec_from_file_location("gpt", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PLAN = {
    "blocks.*.attention.qkv": ColwiseParallel(output_layouts=Replicate()),
    "blocks.*.attention.proj": RowwiseParallel(input_layouts=Replicate()),
    "blocks.*.mlp.0": ColwiseParallel(),
    "blocks.*.mlp.2": RowwiseParallel(),
}


def spread(model, way, device, count):
    """The model, spread over all devices in the way that is named; and of how many parts of the data this is one."""
    if way == "ddp":
        return DistributedDataParallel(model), count
    if way == "fsdp":
        mesh = init_device_mesh(device, (count,))
        for block in model.blocks:
            fully_shard(block, mesh=mesh)
        return fully_shard(model, mesh=mesh), count
    if way == "hybrid":
        mesh = init_device_mesh(device, (2, count // 2), mesh_dim_names=("replicate", "shard"))
        return fully_shard(model, mesh=mesh), count
    if way == "wrapper":
        blocks = ModuleWrapPolicy({type(model.blocks[0])})
        return FullyShardedDataParallel(model, auto_wrap_policy=blocks, use_orig_params=True), count
    if way == "tensor":
        return parallelize_module(model, init_device_mesh(device, (count,)), PLAN), 1
    if way == "both":
        mesh = init_device_mesh(device, (2, count // 2), mesh_dim_names=("data", "tensor"))
        parallelize_module(model, mesh["tensor"], PLAN)
        for block in model.blocks:
            fully_shard(block, mesh=mesh["data"])
        return fully_shard(model, mesh=mesh["data"]), 2
    return model, 1


def load(model, optimizer, folder):
    """Goes on from a checkpoint; the step that is next."""
    weights, moments = get_state_dict(model, optimizer)
    state = {"model": weights, "optimizer": moments, "step": 0}
    dcp.load(state, checkpoint_id=folder)
    set_state_dict(model, optimizer, model_state_dict=weights, optim_state_dict=moments)
    return state["step"]


def save(model, optimizer, folder, step):
    weights, moments = get_state_dict(model, optimizer)
    dcp.save({"model": weights, "optimizer": moments, "step": step}, checkpoint_id=folder)


def main(path, way, device, steps, count, action="", folder=""):
    rank, size = 0, 1
    if "RANK" in os.environ:
        dist.init_process_group("gloo")
        rank, size = dist.get_rank(), dist.get_world_size()
    # what the others make is replaced by what rank 0 has; tensor parallel programs have to begin alike
    torch.manual_seed(0 if way in ("tensor", "both") else rank)
    model = workload(path).GPT(4, 4, 128, 64).to(device)
    model, parts = spread(model, way, device, count)
    laid = sum(isinstance(p, DTensor) for p in model.parameters())
    assert (laid > 0) == (way not in ("alone", "ddp")), laid
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.99))
    parts = parts if size > 1 else 1
    mine = rank * parts // size
    torch.manual_seed(5)
    text = [torch.randint(0, 65, (16, 65)) for _ in range(8)]
    first = load(model, optimizer, folder) if action == "load" else 0
    for i in range(first, first + steps):
        part = text[i % 8].to(device).chunk(parts)[mine]
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
    if action == "save":
        save(model, optimizer, folder, first + steps)


main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]), *sys.argv[6:])
