"""``torch._tensor_str``: where some programs look for the options of printing."""

from __future__ import annotations

from flambeau.tensor.printing import get_printoptions, printoptions, set_printoptions

__all__ = ["get_printoptions", "printoptions", "set_printoptions"]
