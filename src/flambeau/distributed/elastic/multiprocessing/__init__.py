"""What launched processes import."""

from __future__ import annotations

from flambeau.distributed.elastic.multiprocessing import errors as errors
