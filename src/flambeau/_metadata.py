"""What is said to packages that ask ``importlib.metadata`` for the distributions ``torch`` and ``torchvision``."""

from __future__ import annotations

from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

from .version import __version__

__all__ = ["Described"]


class Described(Distribution):
    """A distribution that consists of a name and a version."""

    def __init__(self, name: str) -> None:
        self._name = name

    def read_text(self, filename: str) -> str | None:
        """The text of its METADATA; there are no other files."""
        if filename != "METADATA":
            return None
        return f"Metadata-Version: 2.1\nName: {self._name}\nVersion: {__version__}\n"

    def locate_file(self, path: Any) -> Any:
        """Where a file of it would be."""
        return Path(__file__).parent / path
