"""Where a suite runs: an environment of its own in which nothing of PyTorch is installed, and the source archive."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from .suites import Suite

ROOT = Path(__file__).resolve().parents[2]
STORE = ROOT / "build" / "packages"
#: What pip is told is there already, with the version that the other side has.
SERVED = ("torch", "torchvision")
RUNNERS = ("pytest", "pytest-timeout")
PIP = ("-m", "pip", "--disable-pip-version-check", "--quiet")


class Unavailable(RuntimeError):
    """A suite can't be had: pip says why."""


def _pip(python: Path, *arguments: str) -> None:
    done = subprocess.run([str(python), *PIP, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise Unavailable(f"pip {' '.join(arguments)} failed:\n{done.stderr.strip()[-2000:]}")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return {"torch": "2.13.0", "torchvision": "0.28.0"}[name]


def environment(suite: Suite) -> Path:
    """The interpreter of the suite's environment, made at the first call: the package, what it needs, and flambeau."""
    folder = STORE / suite.name / "env"
    python = folder / "bin" / "python"
    ready = folder / f".ready-{suite.version}"
    if ready.exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in SERVED:  # so pip takes the requirement as met, and installs everything else that packages ask for
        described = site / f"{name}-{_version(name)}.dist-info"
        described.mkdir()
        (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {_version(name)}\n")
        (described / "INSTALLER").write_text("flambeau\n")
        (described / "RECORD").write_text("")
    _pip(python, "install", "-e", str(ROOT), *RUNNERS, suite.requirement, *suite.needs)
    ready.touch()
    return python


def archive(suite: Suite) -> Path:
    """The unpacked source archive of a release, downloaded at the first call."""
    folder = STORE / suite.name / f"source-{suite.version}"
    if folder.exists():
        return folder
    unpacked = folder.with_suffix(".new")
    shutil.rmtree(unpacked, ignore_errors=True)
    unpacked.mkdir(parents=True)
    to = ("--dest", str(unpacked), suite.requirement)
    _pip(Path(sys.executable), "download", "--no-deps", "--no-binary", suite.name, *to)
    archives = list(unpacked.glob("*.tar.gz"))
    if not archives:
        raise Unavailable(f"{suite.requirement} has no source archive")
    with tarfile.open(archives[0]) as file:
        file.extractall(unpacked, filter="data")
    (inner,) = (path for path in unpacked.iterdir() if path.is_dir())
    inner.rename(folder)
    shutil.rmtree(unpacked)
    return folder


def _required(name: str, found: set[str]) -> set[str]:
    """The distributions that one needs, itself included."""
    try:
        lines = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return found
    found.add(name)
    for line in lines:
        other = line.split(";")[0].split("[")[0].rstrip("0123456789.,<>=!~ *")
        if "extra ==" not in line and other not in found:
            _required(other, found)
    return found


def pytorch() -> Path:
    """A folder for PYTHONPATH that adds the PyTorch of this interpreter's environment, and what it needs, to another
    environment's packages: after them, so that what is installed there stays as it is."""
    folder = STORE / "pytorch"
    shutil.rmtree(folder, ignore_errors=True)
    behind = folder / "behind"
    behind.mkdir(parents=True)
    for name in sorted(_required("torch", set()) | _required("torchvision", set()) - {"numpy"}):
        for file in importlib.metadata.files(name) or []:
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (behind / top).exists():
                (behind / top).symlink_to(Path(str(importlib.metadata.distribution(name).locate_file(top))))
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.path.append({str(behind)!r})\n")
    return folder
