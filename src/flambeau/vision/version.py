"""The version of torchvision whose names and numbers these are."""

from __future__ import annotations

__version__ = "0.29.1+cpu"
git_version = "Unknown"
cuda = None
