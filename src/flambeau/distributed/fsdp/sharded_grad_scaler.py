"""``torch.distributed.fsdp.sharded_grad_scaler``."""

from __future__ import annotations

from typing import Any

from flambeau.amp.grad_scaler import GradScaler

__all__ = ["ShardedGradScaler"]


class ShardedGradScaler(GradScaler):
    """A gradient scaler for modules whose parameters lie in parts: every process looks at its own part of the
    gradients, and all of them skip a step that one would skip.
    """

    def __init__(self, device: str = "cuda", init_scale: float = 2.0**16, backoff_factor: float = 0.5,
                 growth_factor: float = 2.0, growth_interval: int = 2000, enabled: bool = True,
                 process_group: Any = None) -> None:  # fmt: skip
        super().__init__(device, init_scale, growth_factor, backoff_factor, growth_interval, enabled)
        self.process_group = process_group

    def unscale_(self, optimizer: Any) -> None:
        """As `GradScaler.unscale_`; whether an infinity was found is then known to all processes of the group."""
        super().unscale_(optimizer)
        from flambeau.distributed import ReduceOp, all_reduce, get_world_size, is_initialized

        if not self._enabled or not is_initialized() or get_world_size(self.process_group) == 1:
            return
        for found in self._per_optimizer_states[id(optimizer)]["found_inf_per_device"].values():
            all_reduce(found, ReduceOp.MAX, self.process_group)
