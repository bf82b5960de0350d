"""MNIST and its like, in the IDX format."""

from __future__ import annotations

import gzip
import os
import string
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import flambeau as torch
from flambeau.tensor.tensor import Tensor
from flambeau.vision.datasets.vision import VisionDataset, absent
from flambeau.vision.pictures import picture

_IDX_DTYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read_idx(path: str) -> Tensor:
    """An IDX file, plain or compressed by gzip, as a tensor of its shape and dtype.

    ValueError for what is no IDX file, or one that is cut short.
    """
    with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:  # type: ignore[operator]
        data = file.read()
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _IDX_DTYPES:
        raise ValueError(f"{path} is no IDX file")
    shape = np.frombuffer(data, ">i4", data[3], 4)
    dtype = np.dtype(_IDX_DTYPES[data[2]])
    start = 4 + 4 * data[3]
    count = int(np.prod(shape))
    if len(data) != start + count * dtype.itemsize:
        raise ValueError(f"{path} should hold {count} values of {dtype.itemsize} bytes, and does not: it is damaged")
    array = np.frombuffer(data, dtype, count, start).reshape(shape)
    return torch.from_numpy(array.astype(dtype.newbyteorder("=")))


def read_image_file(path: str) -> Tensor:
    """Images in an IDX file: bytes (n, height, width)."""
    return read_idx(path)


def read_label_file(path: str) -> Tensor:
    """Labels in an IDX file, as int64."""
    return read_idx(path).long()


class MNIST(VisionDataset):
    """Handwritten digits: images of 28 by 28 bytes and their labels (LeCun et al. 1998).

    Args:
        root: the folder above `MNIST/raw`, which holds the four files, compressed (`.gz`) or not.
        train: the 60000 for training, or the 10000 for testing.
        download: accepted; the files must be there all the same.

    `data[i]` is `(image, label)`; `data.data` and `data.targets` hold all of them.
    RuntimeError, which says where to put them, if files are absent.
    """

    mirrors = ["https://ossci-datasets.s3.amazonaws.com/mnist/"]
    _parts = {True: "train", False: "t10k"}
    classes = ["0 - zero", "1 - one", "2 - two", "3 - three", "4 - four", "5 - five", "6 - six", "7 - seven",
               "8 - eight", "9 - nine"]  # fmt: skip

    def __init__(self, root: Any, train: bool = True, transform: Callable | None = None,
                 target_transform: Callable | None = None, download: bool = False) -> None:  # fmt: skip
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.train = train
        self.data, self.targets = self._load_data()

    @property
    def raw_folder(self) -> str:
        """Where the files are."""
        return os.path.join(self.root, type(self).__name__, "raw")

    @property
    def processed_folder(self) -> str:
        """Where older versions kept files; not used."""
        return os.path.join(self.root, type(self).__name__, "processed")

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The label of each class's name."""
        return {name: i for i, name in enumerate(self.classes)}

    def _names(self) -> tuple[str, str]:
        part = self._parts[bool(self.train)]
        return f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"

    def _load_data(self) -> tuple[Tensor, Tensor]:
        found = [self._find(name) for name in self._names()]
        if not all(found):
            absent(type(self).__name__, self.raw_folder, (n + ".gz" for n in self._names()), self.mirrors[0])
        images, labels = (read_idx(path) for path in found)  # type: ignore[arg-type]
        if images.ndim != 3 or labels.ndim < 1 or len(images) != len(labels):
            raise ValueError(f"{found[0]} and {found[1]} do not belong together: {images.shape} and {labels.shape}")
        return images, labels.long()

    def _find(self, name: str) -> str | None:
        for ending in ("", ".gz"):
            path = os.path.join(self.raw_folder, name + ending)
            if os.path.isfile(path):
                return path
        return None

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self._changed(picture(self.data[index].numpy(), "L"), int(self.targets[index]))

    def __len__(self) -> int:
        return len(self.data)

    def extra_repr(self) -> str:
        """Which part it is."""
        return f"Split: {'Train' if self.train else 'Test'}"

    def _renamed(old: str, new: str) -> property:  # type: ignore[misc] # noqa: N805
        def get(self: MNIST) -> Tensor:
            warnings.warn(f"{old} is now called {new}")
            return getattr(self, new)

        return property(get)

    train_labels, test_labels = _renamed("train_labels", "targets"), _renamed("test_labels", "targets")
    train_data, test_data = _renamed("train_data", "data"), _renamed("test_data", "data")


class FashionMNIST(MNIST):
    """Clothes, in files as MNIST's (Xiao et al. 2017, arXiv:1708.07747), below `FashionMNIST/raw`."""

    mirrors = ["http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"]
    classes = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
               "Ankle boot"]  # fmt: skip


class KMNIST(MNIST):
    """Japanese cursive letters, in files as MNIST's (Clanuwat et al. 2018, arXiv:1812.01718), below `KMNIST/raw`."""

    mirrors = ["http://codh.rois.ac.jp/kmnist/dataset/kmnist/"]
    classes = ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"]


_LETTERS = set(string.digits + string.ascii_letters)


class EMNIST(MNIST):
    """Handwritten letters and digits (Cohen et al. 2017, arXiv:1702.05373), below `EMNIST/raw`.

    Args:
        split: 'byclass', 'bymerge', 'balanced', 'letters', 'digits' or 'mnist'.
    """

    mirrors = ["https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip"]
    splits = ("byclass", "bymerge", "balanced", "letters", "digits", "mnist")
    classes_split_dict = {
        "byclass": sorted(_LETTERS),
        "bymerge": sorted(_LETTERS - set("cijklmopsuvwxyz")),
        "balanced": sorted(_LETTERS - set("cijklmopsuvwxyz")),
        "letters": ["N/A", *string.ascii_lowercase],
        "digits": list(string.digits),
        "mnist": list(string.digits),
    }

    def __init__(self, root: Any, split: str, **kwargs: Any) -> None:
        if split not in self.splits:
            raise ValueError(f"split is one of {self.splits}, got {split!r}")
        self.split = split
        super().__init__(root, **kwargs)
        self.classes = self.classes_split_dict[split]

    def _names(self) -> tuple[str, str]:
        part = f"emnist-{self.split}-{'train' if self.train else 'test'}"
        return f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"


class QMNIST(MNIST):
    """MNIST with all its test digits and full labels (Yadav and Bottou 2019, arXiv:1905.10498), below `QMNIST/raw`.

    Args:
        what: 'train', 'test', 'test10k', 'test50k' or 'nist'; by default what `train` says.
        compat: targets are the digit; otherwise rows of eight numbers.
    """

    mirrors = ["https://raw.githubusercontent.com/facebookresearch/qmnist/master/"]
    subsets = {"train": "train", "test": "test", "test10k": "test", "test50k": "test", "nist": "nist"}

    def __init__(self, root: Any, what: str | None = None, compat: bool = True, train: bool = True,
                 **kwargs: Any) -> None:  # fmt: skip
        self.what = what or ("train" if train else "test")
        if self.what not in self.subsets:
            raise ValueError(f"what is one of {tuple(self.subsets)}, got {what!r}")
        self.compat = compat
        super().__init__(root, train, **kwargs)

    def _names(self) -> tuple[str, str]:
        part = "xnist" if self.what == "nist" else f"qmnist-{self.subsets[self.what]}"
        return f"{part}-images-idx3-ubyte", f"{part}-labels-idx2-int"

    def _load_data(self) -> tuple[Tensor, Tensor]:
        images, labels = super()._load_data()
        part = {"test10k": slice(0, 10000), "test50k": slice(10000, None)}.get(self.what, slice(None))
        return images[part], labels[part]

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        row = self.targets[index]
        return self._changed(picture(self.data[index].numpy(), "L"), int(row[0]) if self.compat else row)

    def extra_repr(self) -> str:
        """Which part it is."""
        return f"Split: {self.what}"
