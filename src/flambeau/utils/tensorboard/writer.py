"""The writers, under the name of their module in PyTorch."""

from __future__ import annotations

from flambeau.utils.tensorboard import FileWriter, SummaryWriter

__all__ = ["FileWriter", "SummaryWriter"]
