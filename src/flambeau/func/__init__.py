"""`torch.func`: functions of functions, which nest in any order."""

from flambeau.func import functions, guards, writes
from flambeau.func.modules import debug_unwrap, replace_all_batch_norm_modules_, stack_module_state
from flambeau.func.rearranged import rearrange
from flambeau.func.transforms import (
    functionalize,
    grad,
    grad_and_value,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    vjp,
)
from flambeau.func.vmap import vmap
from flambeau.nn.utils.stateless import functional_call

__all__ = [
    "debug_unwrap",
    "functional_call",
    "functionalize",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "rearrange",
    "replace_all_batch_norm_modules_",
    "stack_module_state",
    "vjp",
    "vmap",
]
