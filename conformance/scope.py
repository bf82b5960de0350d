"""Which entries of the databases are compared, which are out and why, and how much of each is run."""

from __future__ import annotations

import functools
import types
import warnings
from typing import Any

import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import op_db
    from torch.testing._internal.common_modules import module_db
    from torch.testing._internal.common_optimizers import optim_db

#: Why an entry is out.
SPARSE = "sparse, nested and jagged layouts"
CUDA = "for CUDA only"
PRIVATE = "private to PyTorch (`_name`, `ops.aten`, decompositions)"

#: What is compared of an operator, in the order of the table.
CHECKS = ("values", "variants", "layouts", "gradients", "second", "edges", "errors")
#: Samples per dtype; None is all of them.
MOST = {"float64": None, "float32": 40, "others": 6, "variants": 8, "layouts": 8, "complex gradients": 6}
#: Dtypes besides float64 and float32, where the entry allows them.
OTHERS = (torch.int64, torch.int32, torch.uint8, torch.bool, torch.complex64, torch.bfloat16)

#: Operators whose results are memory that nobody wrote: only form is compared.
UNWRITTEN = set("empty empty_like empty_strided empty_permuted new_empty new_empty_strided resize_ resize_as_".split())
#: Operators whose results at edges are compared by their gradients only. Random ones; remainders, which PyTorch's
#: vectors compute differently from its scalars where the divisor is subnormal; means that come with variances, which
#: it keeps running and so finds no infinite one; GELU of infinity in single precision.
GRADIENTS_ONLY = set(
    "nn.functional.dropout nn.functional.alpha_dropout nn.functional.rrelu fmod remainder __rmod__ var_mean std_mean "
    "nn.functional.gelu".split()
)
#: Factors that are unique only up to signs or phases: compared after the database has fixed those.
FREE_SIGNS = {"linalg.eig", "linalg.eigh", "linalg.svd", "svd", "svd_lowrank", "pca_lowrank"}
#: Operators that name places, where equal elements may be named in another order; with the place of `dim` among the
#: integers that they are called with.
TIES = {"topk": 1, "kthvalue": 1, "mode": 0, "sort": 0, "argsort": 0}


def key(entry: Any) -> str:
    """The entry's name, with that of its variant."""
    variant = entry.variant_test_name
    return f"{entry.name} ({variant})" if variant else entry.name


def why_out(entry: Any) -> str | None:
    """The reason why an entry of `op_db` is not compared; None if it is."""
    name, call = entry.name, entry.op
    if "jiterator" in name or entry.dtypes == () or type(call).__name__ == "_JittedFunction":
        return CUDA
    if "sparse" in name or "jagged" in name or "nested" in name:
        return SPARSE
    last = name.removeprefix("torch.")
    if last.startswith("_") and not last.startswith("__"):
        return PRIVATE
    if "ops.aten" in name or type(call).__name__ in ("OpOverload", "OpOverloadPacket") or _calls_aten(call):
        return PRIVATE
    return None


def _calls_aten(call: Any) -> bool:
    if not isinstance(call, types.FunctionType) or not call.__module__.startswith("torch.testing"):
        return False
    return "aten" in call.__code__.co_names


@functools.cache
def operators() -> dict[str, Any]:
    """The entries of `op_db` that are compared."""
    found: dict[str, Any] = {}
    for entry in op_db:
        if why_out(entry) is None:
            name = key(entry)
            while name in found:
                name += "'"
            found[name] = entry
    return found


def modules() -> dict[str, Any]:
    """The entries of `module_db`."""
    return {entry.module_cls.__name__: entry for entry in module_db}


def optimizers() -> dict[str, Any]:
    """The entries of `optim_db`."""
    return {entry.optim_cls.__name__: entry for entry in optim_db}


def out_of_scope() -> dict[str, list[str]]:
    """The names of the entries that are out, by reason."""
    found: dict[str, list[str]] = {CUDA: [], SPARSE: [], PRIVATE: []}
    for entry in op_db:
        reason = why_out(entry)
        if reason is not None:
            found[reason].append(key(entry))
    return found


def thin(samples: list[Any], most: int | None) -> list[tuple[int, Any]]:
    """Numbered samples, at most `most` of them, evenly spread."""
    numbered = list(enumerate(samples))
    return numbered if most is None or len(samples) <= most else numbered[:: -(-len(samples) // most)]
