"""The CPU engine: kernels on NumPy arrays. A kernel's name here is its name in a set of kernels."""

import importlib as _importlib
import warnings as _warnings

import numpy as _np

# Division by zero and overflow give infinities and NaNs, as everywhere in this field, and no warnings. NumPy keeps this
# setting per thread: in the others, warnings that come from kernels are filtered.
_np.seterr(all="ignore")
_warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"flambeau\.")
_importlib.import_module(f"{__name__}.memory")

#: The modules whose public names are kernels; each is imported when one of its kernels is first asked for.
_MODULES = (
    "elementwise",
    "reduce",
    "layout",
    "products",
    "index",
    "scatter",
    "special",
    "polynomials",
    "activation",
    "softmax",
    "norm",
    "loss",
    "class_loss",
    "conv",
    "pool",
    "adaptive",
    "lstm",
    "recurrent",
    "attention",
    "embedding",
    "sorting",
    "linalg",
    "lapack",
    "fourier",
    "image",
    "gammas",
)


def _find(name: str) -> object:
    for module in _MODULES:
        try:
            found = _importlib.import_module(f"{__name__}.{module}")
        except ModuleNotFoundError as error:
            if error.name != f"{__name__}.{module}":
                raise
            continue
        kernel = getattr(found, name, None)
        if kernel is not None and (getattr(kernel, "__module__", "") != "typing"):
            return kernel
    return None
