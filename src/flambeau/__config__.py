"""``torch.__config__``: what this build is made of, for programs that print it or look for a library in it."""

from __future__ import annotations

import os
import platform

import numpy as np

from flambeau.version import __flambeau_version__


def show() -> str:
    """The versions of what computes here, a line each."""
    lines = [
        "flambeau built with:", f"  - flambeau {__flambeau_version__}", f"  - Python {platform.python_version()}",
        f"  - NumPy {np.__version__}", "  - Build settings: USE_CUDA=OFF, USE_MKL=OFF, USE_OPENMP=OFF",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def parallel_info() -> str:
    """How many threads compute."""
    from flambeau import get_num_threads

    return f"threads: {get_num_threads()}\nprocessors: {os.cpu_count()}\n"
