"""``torch._dynamo._trace_wrapped_higher_order_op``: how PyTorch's compiler is told to index by batches."""

from __future__ import annotations

__all__ = ["TransformGetItemToIndex"]


class TransformGetItemToIndex:
    """A context in which `x[i]` may have batches of `vmap` as indices. Here it always may."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        return None
