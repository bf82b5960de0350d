"""What happens when a program asks for a name that is not here: a submodule is imported on demand, anything else is
refused with the closest names there are.

Submodules that most programs never touch (``torch.testing``, ``torch.hub``, ``torch.onnx``, ...) thus cost nothing
until somebody uses them.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType

ROOT = __package__
_NEIGHBOURS = ("", ".nn", ".nn.functional", ".Tensor", ".linalg", ".special", ".fft", ".optim", ".nn.utils")

#: Names of a module that live in a room which is imported when a program first asks for them.
LATE = {f"{ROOT}.vmap": f"{ROOT}.func", f"{ROOT}.nn.functional.grad": f"{ROOT}.nn"}
LATE |= {
    f"{ROOT}.nn.functional.{name}": f"{ROOT}.overrides"
    for name in ["handle_torch_function", *("has_torch_function" + more for more in ("", "_unary", "_variadic"))]
}
LATE |= {
    f"{ROOT}.distributed.DeviceMesh": f"{ROOT}.distributed.device_mesh",
    f"{ROOT}.distributed.init_device_mesh": f"{ROOT}.distributed.device_mesh",
}

_OUT_OF_THE_WAY = {
    ".utils.data": {
        "utils.data.datapipes.datapipe": "DFIterDataPipe DataChunk IterDataPipe MapDataPipe functional_datapipe",
    },
    "": {
        "_symbolic": "SymInt SymFloat SymBool sym_int sym_float sym_not sym_max sym_min sym_ite sym_sum sym_sqrt "
        "_assert_async",
        "futures": "Future",
        "_events": "Event Stream",
        "ops.segments": "segment_reduce",
        "jit": "ScriptModule",
        "serialization.reader": "PyTorchFileReader",
    },
    ".cuda": {"cuda.graphs": "CUDAGraph graph make_graphed_callables is_current_stream_capturing"},
    "._dynamo": {"_dynamo.eval_frame": "OptimizedModule"},
    "._utils": {
        "tensor.flattening": "_flatten_dense_tensors _unflatten_dense_tensors _take_tensors",
        "serialization.names": "_rebuild_tensor _rebuild_tensor_v2 _rebuild_parameter _rebuild_parameter_with_state",
    },
}
for _place, _homes in _OUT_OF_THE_WAY.items():
    for _home, _named in _homes.items():
        LATE |= {f"{ROOT}{_place}.{name}": f"{ROOT}.{_home}" for name in _named.split()}

#: Who wants to know that a submodule was imported because a program named it.
told: dict[str, Callable[[], None]] = {}

_ROOMS = ("cli", "devices", "dtypes", "engines", "errors", "foreach", "missing", "ops", "run")


def public_name(name: str) -> str:
    """``flambeau.nn`` as the user says it: ``torch.nn`` once flambeau serves as torch."""
    if sys.modules.get("torch") is not sys.modules.get(ROOT):
        return name
    from flambeau.run import served_name

    return served_name(name) or name


def _names(owner: object) -> list[str]:
    import pkgutil

    hidden = _ROOMS if owner is sys.modules.get(ROOT) else ()
    submodules = (m.name for m in pkgutil.iter_modules(getattr(owner, "__path__", ())))
    return [n for n in {*dir(owner), *submodules} if not n.startswith("_") and n not in hidden]


def closest(name: str, owner: object, label: str) -> list[str]:
    """Up to four full names that resemble ``name``: the same one in a neighbouring namespace, then similar ones
    here."""
    import difflib

    found = []
    package = sys.modules[ROOT]
    for place in _NEIGHBOURS:
        home: object = package
        for part in filter(None, place.split(".")):
            home = getattr(home, "__dict__", {}).get(part)
        if home is not None and home is not owner and name in dir(home):
            found.append(f"{public_name(ROOT)}{place}.{name}")
    names = _names(owner)
    matches = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if not matches:
        lower = {n.lower(): n for n in names}
        matches = [lower[m] for m in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.6)]
    return (found + [f"{label}.{match}" for match in matches])[:4]


def message(name: str, owner: object, label: str = "") -> str:
    """The sentence that says ``name`` is not in flambeau, and what is; ``label`` is what users call the owner."""
    label = label or public_name(getattr(owner, "__name__", str(owner)))
    near = closest(name, owner, label)
    hint = f" The closest names there are: {', '.join(near)}" if near else ""
    return f"'{label}.{name}' is not in flambeau yet.{hint}"


def _asked_by_import(depth: int) -> bool:
    """Whether the frame that many levels up is in the middle of ``from module import name``."""
    from opcode import opmap

    frame = sys._getframe(depth)
    return frame.f_code.co_code[frame.f_lasti] == opmap["IMPORT_FROM"]


def watch(module: ModuleType) -> None:
    """Give ``module`` the answers described above, unless it has answers of its own."""
    if "__getattr__" in module.__dict__:
        return
    label = ROOT if module is sys.modules.get(ROOT) else module.__name__
    has_submodules = hasattr(module, "__path__")

    def __getattr__(name: str) -> object:
        if name.startswith("__") and name != "__config__":
            raise AttributeError(f"module '{label}' has no attribute '{name}'")
        if name == "torch" and module is sys.modules[ROOT]:  # `torch.torch`, and more often than one would think
            return module
        late = LATE.get(f"{label}.{name}")
        if late is None and name.startswith("_foreach_") and label == ROOT:
            late = f"{ROOT}.foreach" if hasattr(importlib.import_module(f"{ROOT}.foreach"), name) else None
        if late is not None:
            found = module.__dict__[name] = getattr(importlib.import_module(late), name)
            return found
        spec = getattr(module, "__spec__", None)
        if has_submodules and not getattr(spec, "_initializing", False):
            full = f"{label}.{name}"
            if full in sys.modules or importlib.util.find_spec(full) is not None:
                found = importlib.import_module(full)
                watch_all()
                for tell in told.values():
                    tell()
                return found
        text = message(name, module)
        if _asked_by_import(2):
            raise ImportError(text, name=label, path=getattr(module, "__file__", None))
        raise AttributeError(text, name=name, obj=None)  # named, so that Python adds no guess of its own

    module.__dict__["__getattr__"] = __getattr__


def watch_all() -> None:
    """Watch every module of the package that is loaded, but for rooms that programs don't enter: they look for names
    among each other, and must not pay for guesses.
    """
    inner = tuple(f"{ROOT}.{room}." for room in _ROOMS)
    for name, module in list(sys.modules.items()):
        if module is not None and (name + ".").startswith(ROOT + ".") and not (name + ".").startswith(inner):
            watch(module)
