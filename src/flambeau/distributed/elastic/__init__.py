"""`torch.distributed.elastic`: programs that a launcher starts mark what its errors tell."""

from __future__ import annotations

from flambeau.distributed.elastic import multiprocessing as multiprocessing
