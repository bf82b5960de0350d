"""Mixed precision: `autocast` lets matrix products compute in bfloat16 or float16, `GradScaler` keeps small gradients.

On the CPU both are real. Programs written for GPUs use them with ``'cuda'``, absent here: they are then switched off,
with a warning, as PyTorch does.
"""

from flambeau.amp.autocast_mode import autocast, custom_bwd, custom_fwd, is_autocast_available
from flambeau.amp.grad_scaler import GradScaler

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]
