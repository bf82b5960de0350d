"""`DataParallel`: splits batches over GPUs; without any, it runs the module as it is."""

from __future__ import annotations

from typing import Any

from flambeau.nn.modules.module import Module

__all__ = ["DataParallel", "data_parallel"]


class DataParallel(Module):
    """Wraps `module` (its state is under 'module.'); with no GPU a call simply goes on to it.

    RuntimeError if `device_ids` names GPUs, since there are none.
    """

    def __init__(self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0) -> None:
        super().__init__()
        _no_gpus("DataParallel", device_ids)
        self.dim = dim
        self.module = module
        self.device_ids: list = []
        self.output_device = output_device

    def forward(self, *inputs, **kwargs):
        return self.module(*inputs, **kwargs)


def data_parallel(
    module: Module,
    inputs: Any,
    device_ids: Any = None,
    output_device: Any = None,
    dim: int = 0,
    module_kwargs: dict | None = None,
) -> Any:
    """Call `module` with `inputs` (a tensor or a tuple) as `DataParallel` would."""
    _no_gpus("data_parallel", device_ids)
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    return module(*inputs, **(module_kwargs or {}))


def _no_gpus(name: str, device_ids: Any) -> None:
    if device_ids:
        raise RuntimeError(f"{name}: expected no device_ids, since there are no GPUs here, got {device_ids}")
