"""`parallelize_module`: a plan of styles, applied by submodules' names."""

from __future__ import annotations

import fnmatch
import warnings
from typing import Any

from flambeau.distributed.device_mesh import DeviceMesh, init_device_mesh
from flambeau.distributed.tensor.parallel.style import ParallelStyle

__all__ = ["parallelize_module"]


def parallelize_module(module: Any, device_mesh: DeviceMesh | None = None, parallelize_plan: Any = None, *,
                       src_data_rank: int | None = 0) -> Any:  # fmt: skip
    """Lays a module over a mesh of one dimension, in place; returns the module.

    Args:
        parallelize_plan: a style for the module, or a dict of names of submodules (`"blocks.*.mlp.0"`: * and ? stand
            for any part of one name) to their styles.
        src_data_rank: the process whose parameters count; None: all have the same.

    >>> from flambeau.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4))
    >>> plan = {"0": ColwiseParallel(), "2": RowwiseParallel()}
    >>> parallelize_module(net, torch.distributed.init_device_mesh("cpu", (1,)), plan)(torch.ones(2, 4)).shape
    torch.Size([2, 4])

    Raises:
        ValueError: the mesh has several dimensions.
        TypeError: the plan is neither a style nor a dict of them.
    """
    mesh = device_mesh if device_mesh is not None else init_device_mesh("cpu", (1,))
    if mesh.ndim != 1:
        raise ValueError(f"parallelize_module: a mesh of one dimension is needed; pick one of {mesh}, as mesh['tp']")
    if parallelize_plan is None:
        warnings.warn("parallelize_module: no plan was given, and nothing is done", stacklevel=2)
        return module
    if isinstance(parallelize_plan, ParallelStyle):
        parallelize_plan.src_data_rank = src_data_rank
        return parallelize_plan._apply(module, mesh)
    if not isinstance(parallelize_plan, dict):
        raise TypeError(
            f"parallelize_module: a style or a dict of them is needed, got {type(parallelize_plan).__name__}"
        )
    for pattern, style in parallelize_plan.items():
        found = _matching(module, pattern.split("."))
        if not found:
            warnings.warn(f"parallelize_module: no submodule is called {pattern!r}", stacklevel=2)
        for part in found:
            parallelize_module(part, mesh, style, src_data_rank=src_data_rank)
    return module


def _matching(module: Any, names: list[str]) -> list[Any]:
    if not names or names == [""]:
        return [module]
    first, rest = names[0], names[1:]
    return [m for name, child in module.named_children() if fnmatch.fnmatchcase(name, first)
            for m in _matching(child, rest)]  # fmt: skip
