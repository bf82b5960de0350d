"""`torch.cuda.streams`: orders of work on CUDA devices, by the names that `torch.cuda` has too."""

from flambeau.cuda import (
    Event,
    Stream,
)

__all__ = [
    "Event",
    "Stream",
]
