"""Programs written for PyTorch, run as they are: ``torch`` and every ``torch.*`` import is served by flambeau, and so
is ``torchvision``, by ``flambeau.vision``.

``flambeau run train.py --epochs 3`` does it from the command line, ``flambeau.install_as_torch()`` from within.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import os
import sys
from collections.abc import Iterator
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType, ModuleType, TracebackType
from typing import Any

from . import missing

ROOT = __package__
ALIAS = "torch"
#: What is served, and the package behind it; the longer of ours first, so that a name of ours finds its own.
SERVED = {"torchvision": f"{ROOT}.vision", ALIAS: ROOT}


def _target(name: str) -> str | None:
    """The module of flambeau that stands behind a module of torch or torchvision; None for any other."""
    served, dot, rest = name.partition(".")
    return SERVED[served] + dot + rest if served in SERVED else None


def served_name(ours: str) -> str | None:
    """The name that a module of flambeau is served under; None for a module of others."""
    for alias, package in SERVED.items():
        if (ours + ".").startswith(package + "."):
            return alias + ours[len(package) :]
    return None


#: Where torch has the classes that live elsewhere here.
_HOMES = {
    "autograd.runtime": "torch.autograd.grad_mode",
    "devices": "torch",
    "dtypes": "torch",
    "optim._combined": "torch.optim.lr_scheduler",
    "optim._cyclic": "torch.optim.lr_scheduler",
    "optim._decay": "torch.optim.lr_scheduler",
    "optim._scheduler": "torch.optim.lr_scheduler",
    "random": "torch._C",
    "tensor.formats": "torch",
    "tensor.size": "torch",
    "tensor.storage": "torch.storage",
    "tensor.tensor": "torch",
}
_spoken: set[str] = set()


def _speak_as_torch() -> None:
    """Classes say that they live in torch: so ``type(x)`` prints as it does there and pickles carry torch's names."""
    for name, module in list(sys.modules.items()):
        if name in _spoken or module is None or not (name + ".").startswith(ROOT + "."):
            continue
        if getattr(getattr(module, "__spec__", None), "_initializing", False):
            continue  # in the midst of its import: the next time
        _spoken.add(name)
        if alias := served_name(name):  # where a class says that it lives, its annotations are looked up
            sys.modules.setdefault(alias, module)
        for key, value in list(vars(module).items()):
            home = getattr(value, "__module__", None)
            if isinstance(value, type) and isinstance(home, str) and (alias := served_name(home)):
                known = _HOMES.get(home.removeprefix(ROOT + "."), alias)
                try:
                    value.__module__ = known if value.__name__ == key or known == alias else alias
                except (AttributeError, TypeError):  # a class made in C keeps its name
                    continue


class _AliasLoader(Loader):
    """Answers an import of ``torch.x`` with the very module ``flambeau.x``."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(str(_target(spec.name)))
        self.own_spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.own_spec  # the import system has put the alias's in its place
        missing.watch_all()
        _speak_as_torch()


class _AliasFinder(MetaPathFinder):
    """Finds ``torch``, ``torchvision`` and everything below them in flambeau."""

    def find_spec(self, fullname: str, path=None, target=None) -> ModuleSpec | None:
        ours = _target(fullname)
        if ours is None:
            return None
        if not _exists(ours):
            parent, _, name = fullname.rpartition(".")
            owner = sys.modules.get(_target(parent) or parent, parent)
            raise ModuleNotFoundError(missing.message(name, owner), name=fullname)
        return ModuleSpec(fullname, _AliasLoader(), is_package=True)

    @staticmethod
    def find_distributions(context: Any = None) -> Iterator:
        """What ``importlib.metadata`` is told of what is served: packages ask which version of torch there is."""
        if context is not None and context.name in SERVED:
            from ._metadata import Described

            yield Described(context.name)


def _exists(name: str) -> bool:
    if name in sys.modules:
        return True
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _installed() -> bool:
    return any(isinstance(finder, _AliasFinder) for finder in sys.meta_path)


def install_as_torch() -> None:
    """Serve ``import torch`` and every ``torch.*`` import with flambeau from here on, in this process; likewise
    ``torchvision`` with ``flambeau.vision``.

    ``torch`` then is the module ``flambeau``, ``torch.nn`` is ``flambeau.nn``, and so on at every depth. Calling it
    again changes nothing. Python processes that are started from then on serve torch too (by the environment variables
    PYTHONPATH and FLAMBEAU_AS_TORCH, which this sets).

    Raises:
        RuntimeError: real PyTorch is already imported: two libraries cannot share the name.

    >>> import flambeau
    >>> flambeau.install_as_torch()          # doctest: +SKIP
    >>> import torch                         # doctest: +SKIP
    >>> torch is flambeau                    # doctest: +SKIP
    True
    """
    package = importlib.import_module(ROOT)
    present = sys.modules.get(ALIAS)
    if present is not None and present is not package:
        raise RuntimeError(
            f"PyTorch is already imported in this process ({getattr(present, '__file__', 'torch')}), so flambeau "
            "cannot serve the name 'torch'. Call flambeau.install_as_torch() before anything imports torch, or start "
            "the program with 'flambeau run'."
        )
    if not _installed():
        sys.meta_path.insert(0, _AliasFinder())
        _tell_children()
    for name, module in list(sys.modules.items()):
        if alias := served_name(name):
            sys.modules[alias] = module
    package.__name__ = ALIAS
    _speak_as_torch()
    missing.told["imported"] = _speak_as_torch


def serves_as_torch() -> bool:
    """Whether `import torch` is served by flambeau in this process."""
    return _installed()


def _tell_children() -> None:
    """Have processes that this one starts serve torch as well: `_startup/sitecustomize.py` does it as Python starts."""
    startup = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_startup")
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != startup]
    os.environ["PYTHONPATH"] = os.pathsep.join([startup, *paths])
    os.environ["FLAMBEAU_AS_TORCH"] = "1"


def keep_programs() -> None:
    """Has JAX keep the programs that XLA compiles, from one run to the next, in the user's cache folder.

    JAX reads the environment when it is imported, if ever. FLAMBEAU_XLA_CACHE=0 turns this off; a folder that the user
    has given to JAX (JAX_COMPILATION_CACHE_DIR) stays.
    """
    if os.environ.get("FLAMBEAU_XLA_CACHE") == "0":
        return
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    if not os.path.isabs(home):  # there is no home
        return
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.join(home, "flambeau", "xla"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")


def _search_first(folder: str) -> None:
    """Put the program's folder where the interpreter has put the runner's, unless it was told to do without."""
    if not sys.flags.safe_path:
        sys.path[0] = folder


def _fresh_main(**attributes: object) -> ModuleType:
    """A new, empty ``__main__`` as the interpreter makes it, in the place of ours."""
    module = ModuleType("__main__")
    module.__dict__.update(attributes, __builtins__=__builtins__, __cached__=None, __annotations__={})
    sys.modules["__main__"] = module
    return module


_OWN_FRAMES = {
    __file__, missing.__file__, "<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>"
}  # fmt: skip


def _cut(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback within the user's code: frames of the runner and the import system at either end are dropped."""

    def skip(tb: TracebackType | None) -> TracebackType | None:
        while tb is not None and tb.tb_frame.f_code.co_filename in _OWN_FRAMES:
            tb = tb.tb_next
        return tb

    first = here = skip(traceback)
    while here is not None:
        if skip(here.tb_next) is None:
            here.tb_next = None
        here = here.tb_next
    return first


def _explain(error: BaseException) -> None:
    """Say of a method that tensors lack here that flambeau lacks it, and what there is."""
    package = sys.modules[ROOT]
    if isinstance(error, AttributeError) and error.name and isinstance(error.obj, package.Tensor):
        error.add_note(missing.message(error.name, package.Tensor, f"{ALIAS}.Tensor"))


def _report(error: BaseException) -> int:
    """Show an uncaught exception as the interpreter would, and return the exit code it would give."""
    _explain(error)
    traceback = _cut(error.__traceback__)
    error.__traceback__ = traceback
    sys.stdout.flush()
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, traceback  # as the interpreter leaves them
    sys.excepthook(type(error), error, traceback)
    return 130 if isinstance(error, KeyboardInterrupt) else 1


def _execute(code: CodeType, main: ModuleType) -> int:
    try:
        exec(code, main.__dict__)
    except SystemExit as error:
        if error.code not in (None, 0):  # what runs at exit can see that the program has failed
            sys.last_value = error
        raise
    except BaseException as error:  # noqa: BLE001 - everything that ends a program is reported here
        return _report(error)
    return 0


def run_script(path: str, arguments: list[str]) -> int:
    """Run the file ``path`` as ``python path arguments...`` would, with flambeau as torch; return its exit code.

    ``sys.argv``, ``sys.path[0]`` and ``__main__`` are what the program would see there; ``SystemExit`` passes through.
    """
    full = os.path.abspath(path)
    try:
        with io.open_code(full) as file:
            source = file.read()
    except OSError as error:
        print(f"flambeau run: can't open file '{path}': {error.strerror}", file=sys.stderr)
        return 2
    sys.argv = [path, *arguments]
    _search_first(os.path.dirname(os.path.realpath(path)))
    install_as_torch()
    keep_programs()
    main = _fresh_main(__file__=full, __package__=None, __spec__=None, __loader__=SourceFileLoader("__main__", full))
    try:
        code = compile(source, full, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        return _report(error)
    return _execute(code, main)


def run_module(name: str, arguments: list[str]) -> int:
    """Run the module ``name`` as ``python -m name arguments...`` would, as ``run_script`` does; return its exit
    code.
    """
    _search_first(os.getcwd())
    sys.argv = ["-m", *arguments]
    install_as_torch()
    keep_programs()
    try:
        name = _target(name) or name  # what is served has its code under our name
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            name += ".__main__"
            spec = importlib.util.find_spec(name)
        code = spec.loader.get_code(name) if spec is not None else None  # type: ignore[union-attr]
    except ImportError as error:
        print(f"flambeau run: {error}", file=sys.stderr)
        return 1
    except Exception as error:  # noqa: BLE001 - the program's own package failed while it was imported
        return _report(error)
    if spec is None or code is None:
        print(f"flambeau run: No module named {name}", file=sys.stderr)
        return 1
    sys.argv[0] = spec.origin or name
    main = _fresh_main(__file__=spec.origin, __package__=spec.parent, __spec__=spec, __loader__=spec.loader)
    return _execute(code, main)
