"""``torch._dynamo.eval_frame``: where programs look for the class of compiled modules."""

from __future__ import annotations

from flambeau.compiled.module import OptimizedModule

__all__ = ["OptimizedModule"]
