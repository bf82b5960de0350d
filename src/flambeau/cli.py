"""The command line: ``flambeau run SCRIPT [ARGS]``, ``flambeau run -m MODULE [ARGS]``, ``flambeau torchrun SCRIPT
[ARGS]``, ``flambeau --version``.
"""

from __future__ import annotations

import os
import sys

from .version import __flambeau_version__, __version__

USAGE = """\
usage: flambeau run SCRIPT [ARGS ...]
       flambeau run -m MODULE [ARGS ...]
       flambeau torchrun --nproc_per_node N SCRIPT [ARGS ...]
       flambeau --version

Runs an unmodified PyTorch program without PyTorch: flambeau serves torch and every torch.* import.
torchrun starts it in N processes that train together; flambeau torchrun --help lists its options.
"""


def _run(arguments: list[str]) -> int:
    from .run import run_module, run_script

    if arguments and arguments[0] == "-m":
        if len(arguments) < 2:
            return _refuse("-m needs the name of a module")
        return run_module(arguments[1], arguments[2:])
    if arguments and arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    if not arguments or arguments[0].startswith("-"):
        return _refuse(f"unknown option {arguments[0]}" if arguments else "the script to run is missing")
    if arguments[0] == "torchrun" and not os.path.exists("torchrun"):  # as scripts have it: PREFIX torchrun train.py
        return main(arguments)
    return run_script(arguments[0], arguments[1:])


def _refuse(reason: str) -> int:
    print(f"flambeau: {reason}\n\n{USAGE}", end="", file=sys.stderr)
    return 2


def main(arguments: list[str] | None = None) -> int:
    """The console script's entry; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments:
        return _refuse("say what to do")
    command, *rest = arguments
    if command == "run":
        return _run(rest)
    if command == "torchrun":
        from .distributed.launch import main as launch

        return launch(rest)
    if command in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0
    if command in ("-V", "--version", "version"):
        print(f"flambeau {__flambeau_version__} (PyTorch {__version__.partition('+')[0]}'s programming model)")
        return 0
    return _refuse(f"unknown command '{command}'")
