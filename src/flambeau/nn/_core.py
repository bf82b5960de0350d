"""What the modules take from the rooms below."""

from flambeau.autograd.runtime import is_grad_enabled, no_grad
from flambeau.devices import device
from flambeau.dtypes import bfloat16, dtype, int64, long
from flambeau.ops.joining import cat, stack
from flambeau.tensor.creation import as_tensor, empty, empty_like, full, ones, tensor, zeros
from flambeau.tensor.tensor import Tensor

__all__ = [
    "Tensor",
    "as_tensor",
    "bfloat16",
    "cat",
    "device",
    "dtype",
    "empty",
    "empty_like",
    "full",
    "int64",
    "is_grad_enabled",
    "long",
    "no_grad",
    "ones",
    "stack",
    "tensor",
    "zeros",
]
