"""``torch.utils.collect_env``: what a report of an error should say about the machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys

__all__ = ["get_pretty_env_info", "main"]


def get_pretty_env_info() -> str:
    """The versions of what computes here and the machine that it runs on, as text."""
    from flambeau.version import __flambeau_version__, __version__

    lines = [f"PyTorch version: {__version__} (served by flambeau {__flambeau_version__})", "Is debug build: False"]
    lines += [f"OS: {platform.platform()}", f"Python version: {sys.version.split()[0]}", f"CPUs: {os.cpu_count()}"]
    for name in ("numpy", "scipy", "ml_dtypes", "jax", "jaxlib"):
        try:
            lines.append(f"{name}: {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            lines.append(f"{name}: not installed")
    return "\n".join(lines)


def main() -> None:
    """Prints it."""
    print(get_pretty_env_info())


if __name__ == "__main__":
    main()
