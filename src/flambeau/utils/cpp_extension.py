"""``torch.utils.cpp_extension``: extensions in C++ are written against PyTorch's own library, which is not here.

Asking about compilers is answered; building anything is refused, with what to do instead.
"""

from __future__ import annotations

import os
from typing import Any, NoReturn

__all__ = ["CUDA_HOME", "BuildExtension", "CUDAExtension", "CppExtension", "include_paths", "is_ninja_available",
           "library_paths", "load", "load_inline"]  # fmt: skip

CUDA_HOME: str | None = os.environ.get("CUDA_HOME")
ROCM_HOME: str | None = None
IS_WINDOWS = os.name == "nt"


def _refuse(name: str) -> NoReturn:
    raise RuntimeError(
        f"torch.utils.cpp_extension.{name}: extensions in C++ need PyTorch's own library, which is not here. "
        "Write the function in Python, with torch.autograd.Function or torch.library.custom_op"
    )


def load(name: str, sources: Any, *args: Any, **kwargs: Any) -> NoReturn:
    """Raises RuntimeError: there is nothing to build against."""
    _refuse("load")


def load_inline(name: str, cpp_sources: Any, *args: Any, **kwargs: Any) -> NoReturn:
    """Raises RuntimeError: there is nothing to build against."""
    _refuse("load_inline")


def CppExtension(name: str, sources: Any, *args: Any, **kwargs: Any) -> NoReturn:
    """Raises RuntimeError: there is nothing to build against."""
    _refuse("CppExtension")


def CUDAExtension(name: str, sources: Any, *args: Any, **kwargs: Any) -> NoReturn:
    """Raises RuntimeError: there is nothing to build against."""
    _refuse("CUDAExtension")


class BuildExtension:
    """A build command that refuses to build."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse("BuildExtension")

    @classmethod
    def with_options(cls, **options: Any) -> type[BuildExtension]:
        """The class itself."""
        return cls


def include_paths(device_type: str = "cpu", *args: Any) -> list[str]:
    """Folders with headers of PyTorch: none."""
    return []


def library_paths(device_type: str = "cpu", *args: Any) -> list[str]:
    """Folders with libraries of PyTorch: none."""
    return []


def is_ninja_available() -> bool:
    """Whether the build tool ninja could be used: nothing is built."""
    return False
