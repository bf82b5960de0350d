"""`torchvision` by flambeau: data sets read from disk, transforms of images, model zoo, boxes.

Programs that `flambeau run` runs find it as `torchvision`; others import `flambeau.vision`. From the same seed a
transform draws the numbers that torchvision draws, and a model starts with the same weights. Images are Pillow's,
which the extra `vision` installs (`pip install 'flambeau[vision]'`); without Pillow data sets give `ArrayImage`s, which
all transforms take.
"""

from __future__ import annotations

from flambeau.vision import datasets, io, models, ops, transforms, tv_tensors, utils
from flambeau.vision.version import __version__

__all__ = ["datasets", "disable_beta_transforms_warning", "get_image_backend", "get_video_backend", "io", "models",
           "ops", "set_image_backend", "transforms", "tv_tensors", "utils"]  # fmt: skip


def set_image_backend(backend: str) -> None:
    """Which library reads images: 'PIL', the only one here. ValueError for any other."""
    if backend != "PIL":
        raise ValueError(f"images are read by 'PIL'; got '{backend}'")


def get_image_backend() -> str:
    """The library that reads images: 'PIL'."""
    return "PIL"


def get_video_backend() -> str:
    """The library that would read videos: 'pyav'. flambeau reads none."""
    return "pyav"


def disable_beta_transforms_warning() -> None:
    """Accepted: no such warning is given."""
