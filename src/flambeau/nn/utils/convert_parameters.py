"""All parameters as one vector."""

from __future__ import annotations

from collections.abc import Iterable

from flambeau.nn._core import Tensor, cat

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The elements of all parameters in one vector. TypeError if they are on different devices."""
    flat = [p.reshape(-1) for p in parameters]
    devices = {str(p.device) for p in flat}
    if len(devices) > 1:
        raise TypeError(f"parameters_to_vector: parameters are on several devices: {', '.join(sorted(devices))}")
    return cat(flat)


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Set the data of the parameters to consecutive pieces of `vec`. TypeError if that is no tensor."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"vector_to_parameters: expected a Tensor, got {type(vec).__name__}")
    start = 0
    for param in parameters:
        size = param.numel()
        param.data = vec[start : start + size].view_as(param).data
        start += size
