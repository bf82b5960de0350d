"""Data sets that are folders of files, one folder per class."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from flambeau.vision.datasets.vision import VisionDataset
from flambeau.vision.pictures import open_rgb

IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def has_file_allowed_extension(filename: str, extensions: str | tuple[str, ...]) -> bool:
    """Whether a name ends in one of `extensions`, capitals or not."""
    return filename.lower().endswith(extensions if isinstance(extensions, str) else tuple(extensions))


def is_image_file(filename: str) -> bool:
    """Whether a name is that of an image."""
    return has_file_allowed_extension(filename, IMG_EXTENSIONS)


def find_classes(directory: Any) -> tuple[list[str], dict[str, int]]:
    """The names of the folders in `directory`, sorted, and each one's place. FileNotFoundError if there are none."""
    classes = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir())
    if not classes:
        raise FileNotFoundError(f"{directory} has no folders: each class needs one")
    return classes, {name: i for i, name in enumerate(classes)}


def make_dataset(directory: Any, class_to_idx: dict[str, int] | None = None, extensions: Any = None,
                 is_valid_file: Callable[[str], bool] | None = None,
                 allow_empty: bool = False) -> list[tuple[str, int]]:  # fmt: skip
    """Pairs of path and class of the files below each class's folder, in sorted order.

    Files are chosen by `extensions` or by `is_valid_file`: ValueError for both or neither. FileNotFoundError if a
    class has none, unless `allow_empty`.
    """
    directory = os.path.expanduser(directory)
    if class_to_idx is None:
        class_to_idx = find_classes(directory)[1]
    elif not class_to_idx:
        raise ValueError("class_to_idx is empty: it needs at least one class")
    if (extensions is None) == (is_valid_file is None):
        raise ValueError("give either extensions or is_valid_file")
    fits = is_valid_file or (lambda path: has_file_allowed_extension(path, extensions or ()))
    found: list[tuple[str, int]] = []
    empty: list[str] = []
    for name in sorted(class_to_idx):
        before = len(found)
        for root, _, files in sorted(os.walk(os.path.join(directory, name), followlinks=True)):
            paths = (os.path.join(root, file) for file in sorted(files))
            found += [(path, class_to_idx[name]) for path in paths if fits(path)]
        empty += [name] if len(found) == before else []
    if empty and not allow_empty:
        kinds = f" with the extensions {extensions}" if extensions is not None else ""
        raise FileNotFoundError(f"no file{kinds} was found for these classes in {directory}: {', '.join(empty)}")
    return found


def pil_loader(path: Any) -> Any:
    """The image in a file, as RGB."""
    return open_rgb(path)


def default_loader(path: Any) -> Any:
    """The image in a file, as RGB."""
    return open_rgb(path)


class DatasetFolder(VisionDataset):
    """Files `root/class/.../name.ext`, read by `loader`; their classes are the folders' names, sorted.

    Args:
        extensions: endings of the files to take, or else
        is_valid_file: a function of a path that says whether to take it.
        allow_empty: classes without files are allowed.

    `samples` holds pairs of path and class, `targets` the classes, `classes` the names.
    """

    def __init__(self, root: Any, loader: Callable[[str], Any], extensions: tuple[str, ...] | None = None,
                 transform: Callable | None = None, target_transform: Callable | None = None,
                 is_valid_file: Callable[[str], bool] | None = None, allow_empty: bool = False) -> None:  # fmt: skip
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.classes, self.class_to_idx = self.find_classes(self.root)
        self.samples = self.make_dataset(self.root, self.class_to_idx, extensions, is_valid_file, allow_empty)
        self.loader, self.extensions = loader, extensions
        self.targets = [target for _, target in self.samples]

    @staticmethod
    def make_dataset(directory: Any, class_to_idx: dict[str, int], extensions: Any = None,
                     is_valid_file: Callable[[str], bool] | None = None,
                     allow_empty: bool = False) -> list[tuple[str, int]]:  # fmt: skip
        """The samples; for subclasses to replace."""
        if class_to_idx is None:
            raise ValueError("class_to_idx is None: pass find_classes(directory)[1]")
        return make_dataset(directory, class_to_idx, extensions, is_valid_file, allow_empty)

    def find_classes(self, directory: Any) -> tuple[list[str], dict[str, int]]:
        """The classes; for subclasses to replace."""
        return find_classes(directory)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        path, target = self.samples[index]
        return self._changed(self.loader(path), target)

    def __len__(self) -> int:
        return len(self.samples)


class ImageFolder(DatasetFolder):
    """Images `root/class/.../name.png` (or another ending of images); `imgs` holds pairs of path and class."""

    def __init__(self, root: Any, transform: Callable | None = None, target_transform: Callable | None = None,
                 loader: Callable[[str], Any] = default_loader, is_valid_file: Callable[[str], bool] | None = None,
                 allow_empty: bool = False) -> None:  # fmt: skip
        extensions = IMG_EXTENSIONS if is_valid_file is None else None
        super().__init__(root, loader, extensions, transform, target_transform, is_valid_file, allow_empty)
        self.imgs = self.samples
