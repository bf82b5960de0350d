"""``torch.hub``: where files would be kept is known; fetching code or weights from the network is refused."""

from __future__ import annotations

import os
import re
from typing import Any, NoReturn
from urllib.parse import urlparse as urlparse

__all__ = ["download_url_to_file", "get_dir", "help", "list", "load", "load_state_dict_from_url", "set_dir"]

#: Where file names in hubs end in a part of their hash.
HASH_REGEX = re.compile(r"-([a-f0-9]*)\.")
DEFAULT_CACHE_DIR, ENV_TORCH_HOME, ENV_XDG_CACHE_HOME = "~/.cache", "TORCH_HOME", "XDG_CACHE_HOME"

_folder: str | None = None


def get_dir() -> str:
    """The folder for downloaded files: ``set_dir``'s, or ``hub`` below ``$TORCH_HOME`` or the user's cache."""
    if _folder is not None:
        return _folder
    return os.path.join(_get_torch_home(), "hub")


def _get_torch_home() -> str:
    """The folder that holds `get_dir`'s, where it is not set: ``$TORCH_HOME`` or ``torch`` in the user's cache."""
    cache = os.environ.get(ENV_XDG_CACHE_HOME, DEFAULT_CACHE_DIR)
    return os.path.expanduser(os.environ.get(ENV_TORCH_HOME, os.path.join(cache, "torch")))


def set_dir(d: str | os.PathLike) -> None:
    """Set the folder that ``get_dir`` returns."""
    global _folder
    _folder = os.path.expanduser(os.fspath(d))


def _refuse(name: str) -> NoReturn:
    raise RuntimeError(
        f"torch.hub.{name}: flambeau fetches nothing from the network. Download the weights yourself and read them "
        "with torch.load(path) into model.load_state_dict(...)"
    )


def load(repo_or_dir: Any, model: str, *args: Any, **kwargs: Any) -> NoReturn:
    """Raises RuntimeError: code that lives elsewhere is neither fetched nor run."""
    _refuse("load")


def list(github: str, *args: Any, **kwargs: Any) -> NoReturn:  # noqa: A001 - PyTorch's name
    """Raises RuntimeError, as ``load`` does."""
    _refuse("list")


def help(github: str, model: str, *args: Any, **kwargs: Any) -> NoReturn:  # noqa: A001 - PyTorch's name
    """Raises RuntimeError, as ``load`` does."""
    _refuse("help")


def download_url_to_file(url: str, dst: str, *args: Any, **kwargs: Any) -> NoReturn:
    """Raises RuntimeError: nothing is fetched."""
    _refuse("download_url_to_file")


def load_state_dict_from_url(url: str, model_dir: str | None = None, *args: Any, file_name: str | None = None,
                             map_location: Any = None, **kwargs: Any) -> Any:  # fmt: skip
    """Load the weights of ``url`` from ``get_dir()/checkpoints`` if they lie there already.

    Raises:
        RuntimeError: they do not: nothing is fetched.
    """
    name = file_name or os.path.basename(urlparse(url).path)
    path = os.path.join(model_dir or os.path.join(get_dir(), "checkpoints"), name)
    if not os.path.exists(path):
        _refuse("load_state_dict_from_url")
    import flambeau

    return flambeau.load(path, map_location=map_location)
