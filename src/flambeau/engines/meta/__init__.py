"""The device `meta`: tensors that have shape, dtype and strides, and no values.

Nothing imports this before a program asks for the device.
"""

from __future__ import annotations

from flambeau.engines.arrays import ENGINES, FOREIGN, VALUELESS
from flambeau.engines.meta.array import MetaArray, move
from flambeau.engines.meta.engine import MetaEngine

__all__ = ["MetaArray", "move"]

FOREIGN.add(MetaArray)
VALUELESS.add(MetaArray)
ENGINES[MetaArray] = MetaEngine()
