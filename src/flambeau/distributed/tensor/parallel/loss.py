"""`loss_parallel`: a cross entropy of logits that lie in parts over the classes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

__all__ = ["loss_parallel"]


@contextlib.contextmanager
def loss_parallel() -> Iterator[None]:
    """A context for `cross_entropy` on logits with `Shard(-1)`. It changes nothing: such logits are never gathered
    here, since XLA's partitioner keeps the sums over classes in parts in any case.
    """
    yield
