"""Neural networks: modules, parameters, layers, functions, initialisation."""

from flambeau.nn import functional, init, modules, parallel, parameter, utils
from flambeau.nn.modules import *  # noqa: F403
from flambeau.nn.parallel import DataParallel
from flambeau.nn.parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter

__all__ = [
    "Buffer",
    "DataParallel",
    "Parameter",
    "UninitializedBuffer",
    "UninitializedParameter",
    "factory_kwargs",
    "functional",
    "init",
    "modules",
    "parallel",
    "parameter",
    "utils",
]
__all__ += modules.__all__


def factory_kwargs(kwargs):
    """The `device`, `dtype` and `memory_format` of a layer's keyword arguments, for handing on to its parameters.

    TypeError for any other key, or one that is in `factory_kwargs` as well.
    """
    if kwargs is None:
        return {}
    simple = {"device", "dtype", "memory_format"}
    extra = sorted(set(kwargs) - simple - {"factory_kwargs"})
    if extra:
        raise TypeError(f"unexpected arguments: {', '.join(extra)} (expected device, dtype, memory_format)")
    result = dict(kwargs.get("factory_kwargs", {}))
    for name in simple & set(kwargs):
        if name in result:
            raise TypeError(f"{name} is given both by itself and in factory_kwargs")
        result[name] = kwargs[name]
    return result
