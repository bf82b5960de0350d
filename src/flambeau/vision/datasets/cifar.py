"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): small colour photographs, in the Python version's pickles."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.vision.datasets.vision import VisionDataset, absent
from flambeau.vision.pictures import picture

_ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): lambda text, encoding: text.encode(encoding),
}


class _Plain(pickle.Unpickler):
    """Reads arrays, dictionaries, lists, numbers and text, and runs no code: all other names are refused."""

    def find_class(self, module: str, name: str) -> Any:
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return getattr(np._core.multiarray, name)
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"a batch of CIFAR needs no {module}.{name}: this file is something else")
        return _ALLOWED[module, name]


class CIFAR10(VisionDataset):
    """50000 and 10000 images of 32 by 32 pixels in 10 classes.

    Args:
        root: the folder above `cifar-10-batches-py`, or the one with the archive `cifar-10-python.tar.gz`.
        train: the five batches for training, or the one for testing.
        download: accepted; the files must be there all the same.

    `data[i]` is `(image, label)`; `data.data` holds all images (n, 32, 32, 3) as an array, `data.targets` the labels.
    RuntimeError, which says where to put them, if files are absent.
    """

    base_folder = "cifar-10-batches-py"
    filename = "cifar-10-python.tar.gz"
    url = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    train_files = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5")
    test_files: tuple[str, ...] = ("test_batch",)
    meta_file, meta_key, label_key = "batches.meta", "label_names", "labels"

    def __init__(self, root: Any, train: bool = True, transform: Callable | None = None,
                 target_transform: Callable | None = None, download: bool = False) -> None:  # fmt: skip
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.train = train
        files = [*(self.train_files if train else self.test_files), self.meta_file]
        *batches, meta = (pickled(content) for content in self._contents(files))
        self.data = np.vstack([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        self.targets = [int(label) for batch in batches for label in batch[self.label_key]]
        self.classes = list(meta[self.meta_key])
        self.class_to_idx = {name: i for i, name in enumerate(self.classes)}

    def _contents(self, files: list[str]) -> list[bytes]:
        """The files' bytes, from the folder or the archive."""
        paths = [os.path.join(self.root, self.base_folder, name) for name in files]
        archive = os.path.join(self.root, self.filename)
        if all(os.path.isfile(path) for path in paths):
            found = []
            for path in paths:
                with open(path, "rb") as file:
                    found.append(file.read())
            return found
        if not os.path.isfile(archive):
            absent(type(self).__name__, self.root, (f"{self.base_folder}/{name}" for name in files), self.url)
        with tarfile.open(archive) as tar:
            return [tar.extractfile(f"{self.base_folder}/{name}").read() for name in files]  # type: ignore[union-attr]

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self._changed(picture(self.data[index], "RGB"), self.targets[index])

    def __len__(self) -> int:
        return len(self.data)

    def extra_repr(self) -> str:
        """Which part it is."""
        return f"Split: {'Train' if self.train else 'Test'}"


def pickled(content: bytes) -> Any:
    """What a batch file holds; UnpicklingError for files that are something else."""
    return _Plain(io.BytesIO(content), encoding="latin1").load()


class CIFAR100(CIFAR10):
    """50000 and 10000 images of 32 by 32 pixels in 100 classes, below `cifar-100-python`."""

    base_folder = "cifar-100-python"
    filename = "cifar-100-python.tar.gz"
    url = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
    train_files = ("train",)  # type: ignore[assignment]
    test_files = ("test",)
    meta_file, meta_key, label_key = "meta", "fine_label_names", "fine_labels"
