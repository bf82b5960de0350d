"""Help for data sets of images: files are verified and unpacked; nothing is fetched."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tarfile
import zipfile
from typing import Any, NoReturn

__all__ = ["calculate_md5", "check_integrity", "check_md5", "download_and_extract_archive", "download_url",
           "extract_archive", "verify_str_arg"]  # fmt: skip


def calculate_md5(fpath: Any, chunk_size: int = 1024 * 1024) -> str:
    """The MD5 sum of a file."""
    found = hashlib.md5(usedforsecurity=False)
    with open(fpath, "rb") as file:
        while chunk := file.read(chunk_size):
            found.update(chunk)
    return found.hexdigest()


def check_md5(fpath: Any, md5: str, **kwargs: Any) -> bool:
    """Whether a file has that MD5 sum."""
    return calculate_md5(fpath, **kwargs) == md5


def check_integrity(fpath: Any, md5: str | None = None) -> bool:
    """Whether a file is there and, if an MD5 sum is given, has it."""
    return os.path.isfile(fpath) and (md5 is None or check_md5(fpath, md5))


def download_url(url: str, root: Any, filename: Any = None, md5: str | None = None, max_redirect_hops: int = 3) -> None:
    """Accepts a file that lies in `root` already. RuntimeError, which says where to put it, otherwise."""
    place = os.path.join(os.path.expanduser(root), filename or os.path.basename(url))
    if not check_integrity(place, md5):
        _refuse(url, place)


def _refuse(url: str, place: str) -> NoReturn:
    raise RuntimeError(
        f"flambeau fetches nothing from the network: download {url} yourself and place it at {os.path.abspath(place)}"
    )


def extract_archive(from_path: Any, to_path: Any = None, remove_finished: bool = False) -> str:
    """Unpacks a tar, zip or gzip file beside itself or into `to_path`, which is returned. Members stay inside of it.

    RuntimeError for other kinds of files.
    """
    source = os.fspath(from_path)
    target = os.path.dirname(source) if to_path is None else os.fspath(to_path)
    if tarfile.is_tarfile(source):
        with tarfile.open(source) as tar:
            tar.extractall(target, filter="data")
    elif zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            archive.extractall(target)
    elif source.endswith(".gz"):
        target = source.removesuffix(".gz") if to_path is None else target
        with gzip.open(source) as packed, open(target, "wb") as plain:
            shutil.copyfileobj(packed, plain)
    else:
        raise RuntimeError(f"{source} is no tar, zip or gzip file")
    if remove_finished:
        os.remove(source)
    return target


def download_and_extract_archive(url: str, download_root: Any, extract_root: Any = None, filename: Any = None,
                                 md5: str | None = None, remove_finished: bool = False) -> None:  # fmt: skip
    """Unpacks an archive that lies in `download_root` already; see `download_url`."""
    root = os.path.expanduser(download_root)
    download_url(url, root, filename, md5)
    extract_archive(os.path.join(root, filename or os.path.basename(url)), extract_root or root, remove_finished)


def verify_str_arg(value: Any, arg: str | None = None, valid_values: Any = None, custom_msg: str | None = None) -> Any:
    """The value, if it is a string among `valid_values`. ValueError otherwise."""
    if not isinstance(value, str):
        raise ValueError(f"{arg or 'the argument'} is a string, got {type(value).__name__}")
    if valid_values is not None and value not in valid_values:
        raise ValueError(custom_msg or f"{arg or 'the argument'} is one of {tuple(valid_values)}, got {value!r}")
    return value
