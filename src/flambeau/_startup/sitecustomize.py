"""Run by Python as it starts, in processes below one that serves flambeau as torch: `import torch` is served there too.

`flambeau.run.install_as_torch` puts this folder into PYTHONPATH and sets FLAMBEAU_AS_TORCH. Nothing is imported until
the program asks for torch. A `sitecustomize` that would have been found without this one is run as well.
"""

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))


class _Waiting:
    """Stands in for flambeau's own finder until torch is first imported."""

    @staticmethod
    def find_spec(fullname, path=None, target=None):
        if fullname.partition(".")[0] not in ("torch", "torchvision"):
            return None
        _Waiting._serve()
        sys.modules.pop(fullname, None)  # a module that is there already would be executed once more, under this name
        for finder in sys.meta_path:
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                return spec
        return None

    @staticmethod
    def find_distributions(context=None):
        if context is None or context.name not in ("torch", "torchvision"):
            return ()
        _Waiting._serve()
        return sys.meta_path[0].find_distributions(context)

    @staticmethod
    def _serve():
        sys.meta_path.remove(_Waiting)
        home = os.path.dirname(os.path.dirname(_HERE))
        added = home not in sys.path
        if added:  # the first process may have found flambeau by a path that only it knew
            sys.path.append(home)
        try:
            from flambeau.run import install_as_torch
        finally:
            if added and home in sys.path:
                sys.path.remove(home)
        install_as_torch()


def _start():
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != _HERE]  # programs need not see it
    if os.environ.get("FLAMBEAU_AS_TORCH", "") not in ("", "0"):
        sys.meta_path.insert(0, _Waiting)
    own = sys.modules.pop("sitecustomize", None)
    try:
        import sitecustomize  # noqa: F401 - the next one on the path
    except ModuleNotFoundError as error:
        if error.name != "sitecustomize":
            raise
        if own is not None:
            sys.modules["sitecustomize"] = own


if __name__ == "sitecustomize":
    _start()
