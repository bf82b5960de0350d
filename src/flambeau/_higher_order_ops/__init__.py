"""``torch._higher_order_ops``: operations that take functions."""

from flambeau._higher_order_ops.associative_scan import associative_scan

__all__ = ["associative_scan"]
