"""Saving and loading: PyTorch's file format, written in one step or not at all, read without running anything."""

from flambeau.serialization.loading import get_unsafe_globals_in_checkpoint, load
from flambeau.serialization.names import add_safe_globals, clear_safe_globals, get_safe_globals, safe_globals
from flambeau.serialization.saving import save

__all__ = [
    "add_safe_globals",
    "clear_safe_globals",
    "get_safe_globals",
    "get_unsafe_globals_in_checkpoint",
    "load",
    "safe_globals",
    "save",
]
