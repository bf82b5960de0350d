"""Handles of hooks, under the name by which programs import them."""

from flambeau.autograd.graph import RemovableHandle

__all__ = ["RemovableHandle"]
