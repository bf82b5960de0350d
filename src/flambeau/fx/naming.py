"""How functions, classes and nodes are called in the code that a graph is printed as."""

from __future__ import annotations

import builtins
import functools
import importlib
import keyword
import math
import re
import sys
from typing import Any

ROOT = __package__.partition(".")[0]

#: Where functions are looked for, the usual places first; `torch` stands for flambeau in generated code.
PLACES = (
    "", "nn.functional", "linalg", "special", "fft", "nn.init", "_C._nn", "Tensor", "nn", "overrides",
)  # fmt: skip
#: Functions that stand in several namespaces here, and go by the name of the one that PyTorch has them in.
_AT_HOME = {
    "nn.functional": """adaptive_max_pool1d batch_norm binary_cross_entropy_with_logits celu cosine_embedding_loss
        ctc_loss group_norm hinge_embedding_loss instance_norm kl_div layer_norm margin_ranking_loss max_pool1d
        max_pool2d max_pool3d poisson_nll_loss relu rms_norm rrelu selu threshold triplet_margin_loss""",
    "_C._nn": "avg_pool2d avg_pool3d gelu linear one_hot scaled_dot_product_attention softplus softshrink",
}
_LEGAL = re.compile(r"[^0-9a-zA-Z_]+")
_NUMBERED = re.compile(r"(.*)_(\d+)$")
_HUMPS = re.compile(r"(?<=[a-z])([A-Z])")


@functools.cache
def _public_names() -> dict[int, str]:
    """The public name of everything callable in flambeau's namespaces, by identity."""
    root = importlib.import_module(ROOT)
    found: dict[int, str] = {}
    functional = importlib.import_module(ROOT + ".nn.functional")
    for place, names in _AT_HOME.items():
        found.update((id(getattr(functional, name)), f"torch.{place}.{name}") for name in names.split())
    own = set(found)
    for place in PLACES:
        owner: Any = root
        for part in filter(None, place.split(".")):
            owner = getattr(owner, part, None)
            if owner is None:
                break
        else:
            prefix = "torch." + (place + "." if place else "")
            for name, value in list(vars(owner).items()):
                if callable(value) and not name.startswith("__"):
                    found.setdefault(id(value), prefix + name)
                    if name == getattr(value, "__name__", None) and found[id(value)].startswith(prefix):
                        at_home = id(value) in own
                        found[id(value)] = found[id(value)] if at_home else prefix + name
    return found


def public_name(value: Any) -> str | None:
    """`torch.relu` and the like for what is in a public namespace of flambeau; None for anything else."""
    name = _public_names().get(id(value))
    if name is None:
        return None
    owner: Any = importlib.import_module(ROOT)
    for part in name.split(".")[1:]:
        owner = getattr(owner, part, None)
    return name if owner is value else None


def name_in_call(target: Any, kwargs: dict) -> str:
    """The name for a call: functions that torch and torch.nn.functional share go by torch's where nothing is named."""
    name = qualified_name(target)
    short = name.removeprefix("torch.nn.functional.")
    if not kwargs and short != name and getattr(importlib.import_module(ROOT), short, None) is target:
        return f"torch.{short}"
    return name


def served(module: str) -> str:
    """A module of flambeau by the name that generated code knows it under."""
    if module == ROOT or module.startswith(ROOT + "."):
        vision = ROOT + ".vision"
        if module == vision or module.startswith(vision + "."):
            return "torchvision" + module[len(vision) :]
        return "torch" + module[len(ROOT) :]
    return module


def qualified_name(value: Any) -> str:
    """The dotted name under which `value` can be found; a bare name for Python's built-ins."""
    module = getattr(value, "__module__", None)
    name = getattr(value, "__name__", None) or type(value).__name__
    if name == "<lambda>" and module is not None:
        name = _name_of_lambda(module, value)
    if module == builtins.__name__ and getattr(builtins, name, None) is value:
        return f"{builtins.__name__}.{name}" if not isinstance(value, type) else name
    known = public_name(value)
    if known is not None:
        return known
    if module == "_operator":
        return f"_operator.{name}"
    if module is None and hasattr(value, "__objclass__"):  # a method of a class made in C
        return f"{value.__objclass__.__module__}.{value.__objclass__.__name__}.{name}"
    qualified = str(value) if hasattr(value, "_qualified_op_name") else None
    if qualified:
        return f"torch.ops.{qualified}"
    return f"{served(module or '__main__').replace('_operator', 'operator')}.{name}"


def _name_of_lambda(module: str, value: Any) -> str:
    for name, found in vars(sys.modules.get(module, math)).items():
        if found is value:
            return name
    return "<lambda>"


def is_ours(value: Any) -> bool:
    """Whether generated code can reach `value` through the name `torch`."""
    return qualified_name(value).partition(".")[0] == "torch"


def snake_case(name: str) -> str:
    """`convBlock` as `conv_block`."""
    return _HUMPS.sub(r"_\1", name).lower()


class Namespace:
    """Names that are taken. A new one gets a number at its end if it has to."""

    def __init__(self) -> None:
        self._names: dict[Any, str] = {}
        self._used: set[str] = set()
        self._counts: dict[str, int] = {}

    def create_name(self, candidate: str, obj: Any) -> str:
        """A legal, unused name like `candidate`; the same one again for the same `obj`."""
        if obj is not None and obj in self._names:
            return self._names[obj]
        candidate = _LEGAL.sub("_", candidate) or "_unnamed"
        if candidate[0].isdigit():
            candidate = "_" + candidate
        numbered = _NUMBERED.match(candidate)
        base, number = (numbered.group(1), int(numbered.group(2))) if numbered else (candidate, None)
        if candidate not in self._used or number is None:
            number = self._counts.get(candidate, number)
        while candidate in self._used or self._illegal(candidate, obj):
            number = 1 if number is None else number + 1
            candidate = f"{base}_{number}"
        self._used.add(candidate)
        self._counts[base] = number or 0
        if obj is not None:
            self._names[obj] = candidate
        return candidate

    def associate_name_with_obj(self, name: str, obj: Any) -> None:
        """Notes that `obj` has this name."""
        self._names.setdefault(obj, name)

    def _illegal(self, name: str, obj: Any) -> bool:
        if keyword.iskeyword(name):
            return True
        if name in builtins.__dict__:
            return builtins.__dict__[name] is not obj
        return name in ("torch", "inf", "nan", "NoneType", "device")
