"""``torch.distributed._tensor``: the name from before `torch.distributed.tensor` was public."""

from __future__ import annotations

from flambeau.distributed.tensor import *
