"""SVHN and STL-10."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.vision.datasets.vision import VisionDataset, absent
from flambeau.vision.pictures import picture


def _chosen(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(f"{name} is one of {allowed}, got {value!r}")
    return value


def _mat_file(path: str) -> dict[str, Any]:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        message = "SVHN: its .mat files are read by scipy, which is not installed: pip install scipy"
        raise ModuleNotFoundError(message, name="scipy") from error
    return loadmat(path)


class SVHN(VisionDataset):
    """House numbers, 32 by 32 pixels (Netzer et al. 2011), from `train_32x32.mat`, `test_32x32.mat` or
    `extra_32x32.mat` in `root`. Labels are the digits.
    """

    def __init__(self, root: Any, split: str = "train", transform: Callable | None = None,
                 target_transform: Callable | None = None, download: bool = False) -> None:  # fmt: skip
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.split = _chosen("split", split, ("train", "test", "extra"))
        path = os.path.join(self.root, f"{split}_32x32.mat")
        if not os.path.isfile(path):
            absent("SVHN", self.root, [os.path.basename(path)], "http://ufldl.stanford.edu/housenumbers/")
        content = _mat_file(path)
        self.labels = content["y"].astype(np.int64).squeeze() % 10  # the file says 10 for the digit 0
        self.data = np.transpose(content["X"], (3, 2, 0, 1))

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self._changed(picture(self.data[index].transpose(1, 2, 0), "RGB"), int(self.labels[index]))

    def __len__(self) -> int:
        return len(self.data)

    def extra_repr(self) -> str:
        """Which part it is."""
        return f"Split: {self.split.capitalize()}"


class STL10(VisionDataset):
    """Photographs of 96 by 96 pixels in 10 classes (Coates et al. 2011), from the files of `root/stl10_binary`.

    Args:
        split: 'train', 'test', 'unlabeled' or 'train+unlabeled'; images without label have -1.
        folds: one of the ten folds of the training images, 0 to 9.
    """

    base_folder = "stl10_binary"
    splits = ("train", "train+unlabeled", "unlabeled", "test")

    def __init__(self, root: Any, split: str = "train", folds: int | None = None, transform: Callable | None = None,
                 target_transform: Callable | None = None, download: bool = False) -> None:  # fmt: skip
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.split, self.folds = _chosen("split", split, self.splits), folds
        parts = [self._part(part) for part in split.split("+")]
        self.data = np.concatenate([images for images, _ in parts])
        self.labels = np.concatenate([labels for _, labels in parts])
        self.classes = self._read("class_names.txt").decode().split()

    def _read(self, name: str) -> bytes:
        path = os.path.join(self.root, self.base_folder, name)
        if not os.path.isfile(path):
            absent("STL10", os.path.dirname(path), [name], "http://ai.stanford.edu/~acoates/stl10/")
        with open(path, "rb") as file:
            return file.read()

    def _part(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        images = np.frombuffer(self._read(f"{part}_X.bin"), np.uint8).reshape(-1, 3, 96, 96).transpose(0, 1, 3, 2)
        if part == "unlabeled":
            return images, np.full(len(images), -1)
        labels = np.frombuffer(self._read(f"{part}_y.bin"), np.uint8).astype(np.int64) - 1
        if part == "train" and self.folds is not None:
            rows = self._read("fold_indices.txt").decode().splitlines()[self.folds]
            chosen = np.array([int(v) for v in rows.split()])
            return images[chosen], labels[chosen]
        return images, labels

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self._changed(picture(self.data[index].transpose(1, 2, 0), "RGB"), int(self.labels[index]))

    def __len__(self) -> int:
        return len(self.data)

    def extra_repr(self) -> str:
        """Which part it is."""
        return f"Split: {self.split}"
