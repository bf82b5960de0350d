"""Programs that run under flambeau and under PyTorch: what each sees is noted in plain values, which must be equal.

A case is a function of `torch`, either library, and `see`, which notes a value; `see.error(call)` notes the class of
the
exception that `call` raises, `see.warns(call)` the warnings it gives. What PyTorch sees is kept in `tests/recorded`.
"""

import importlib
import json
import math
import pkgutil
import warnings
from pathlib import Path

import numpy as np

RECORDED = Path(__file__).parent / "recorded"


class Seen:
    """The notes of one run."""

    def __init__(self, torch):
        self.torch = torch
        self.notes = []

    def __call__(self, *values):
        for value in values:
            self.notes.append(self.plain(value))

    def error(self, call, *words):
        """Notes the exception's class; its message must hold `words` where flambeau raises it."""
        try:
            value = call()
        except Exception as error:
            missing = [w for w in words if w not in str(error)] if self.torch.__name__ == "flambeau" else []
            self.notes.append(f"raises {type(error).__name__}" + (f" without {missing}: {error}" if missing else ""))
        else:
            self.notes.append(["no error", self.plain(value)])

    def warns(self, call):
        """Notes the categories of the warnings, and the result."""
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            value = call()
        self.notes.append([sorted({w.category.__name__ for w in seen}), self.plain(value)])

    def plain(self, value):
        """A value as JSON has it: tensors with all that a program can ask of them."""
        if isinstance(value, self.torch.Tensor):
            return self.tensor(value)
        if isinstance(value, np.ndarray):
            return {
                "array": [self.number(v) for v in value.reshape(-1).tolist()],
                "shape": list(value.shape),
                "dtype": str(value.dtype),
            }
        if isinstance(value, (list, tuple)):
            return [self.plain(v) for v in value]
        if isinstance(value, dict):
            return {str(k): self.plain(v) for k, v in value.items()}
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, (float, complex)):
            return self.number(value)
        if isinstance(value, np.generic):
            return {"numpy": str(value.dtype), "value": self.number(value.item())}
        if isinstance(value, type):
            return value.__name__
        return str(value)

    def tensor(self, t):
        node = t.grad_fn
        values = t.detach()
        if (
            values.dtype not in (self.torch.float64, self.torch.complex128, self.torch.complex64)
            and values.is_floating_point()
        ):
            values = values.to(self.torch.float64)
        return {
            "values": [self.number(v) for v in values.reshape(-1).tolist()],
            "shape": list(t.shape),
            "dtype": str(t.dtype),
            "requires_grad": t.requires_grad,
            "leaf": t.is_leaf,
            "grad_fn": None if node is None else node.name(),
            "class": type(t).__name__,
        }

    @staticmethod
    def number(v):
        if isinstance(v, complex):
            return [Seen.number(v.real), Seen.number(v.imag)]
        if isinstance(v, float) and not math.isfinite(v):
            return str(v)
        return v


def run(case, torch):
    """What `case` sees under `torch`."""
    see = Seen(torch)
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        case(torch, see)
    return json.loads(json.dumps(see.notes))


def equal(ours, theirs, path="", tolerance=1e-5):
    """The first difference between two notes, or None. PyTorch's "*" equals everything."""
    if theirs == "*":
        return None
    if isinstance(theirs, float) or isinstance(ours, float):
        if isinstance(ours, (int, float)) and isinstance(theirs, (int, float)) and not isinstance(ours, bool):
            if math.isclose(ours, theirs, rel_tol=tolerance, abs_tol=tolerance):
                return None
        return f"{path}: {ours} against PyTorch's {theirs}"
    if type(ours) is not type(theirs):
        return f"{path}: {ours} against PyTorch's {theirs}"
    if isinstance(ours, dict):
        if ours.keys() != theirs.keys():
            return f"{path}: {sorted(ours)} against PyTorch's {sorted(theirs)}"
        pairs = ((f"{path}.{k}", ours[k], theirs[k]) for k in ours)
    elif isinstance(ours, list):
        if len(ours) != len(theirs):
            return f"{path}: {ours} against PyTorch's {theirs}"
        pairs = ((f"{path}[{i}]", a, b) for i, (a, b) in enumerate(zip(ours, theirs)))
    else:
        return None if ours == theirs else f"{path}: {ours} against PyTorch's {theirs}"
    return next((found for p, a, b in pairs if (found := equal(a, b, p, tolerance))), None)


def collect(package):
    """All cases of a package of cases: {'file.function': function}."""
    found = {}
    root = importlib.import_module(package)
    for module in pkgutil.iter_modules(root.__path__):
        loaded = importlib.import_module(f"{package}.{module.name}")
        for name, value in vars(loaded).items():
            if callable(value) and getattr(value, "__module__", None) == loaded.__name__ and name.startswith("case_"):
                found[f"{module.name}.{name.removeprefix('case_')}"] = value
    return found


def recorded(name):
    """What PyTorch saw when it was recorded."""
    return json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))


def record(name, cases, torch):
    """Writes what PyTorch sees now."""
    notes = {key: run(case, torch) for key, case in cases.items()}
    rows = ",\n".join(f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in notes.items())
    (RECORDED / f"{name}.json").write_text("{\n" + rows + "\n}\n", encoding="utf-8")
