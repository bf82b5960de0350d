"""Images of noise, for trying programs out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau as torch
from flambeau.vision.datasets.vision import VisionDataset
from flambeau.vision.transforms.functional import to_pil_image


class FakeData(VisionDataset):
    """`size` images of noise with random labels; number i is always the same, and the generator stays where it was.

    Args:
        image_size: channels, height, width.
        random_offset: added to the index that seeds an image.
    """

    def __init__(self, size: int = 1000, image_size: tuple[int, int, int] = (3, 224, 224), num_classes: int = 10,
                 transform: Callable | None = None, target_transform: Callable | None = None,
                 random_offset: int = 0) -> None:  # fmt: skip
        super().__init__(transform=transform, target_transform=target_transform)
        self.size, self.num_classes, self.image_size, self.random_offset = size, num_classes, image_size, random_offset

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if index >= len(self):
            raise IndexError(f"FakeData of {len(self)} images has no image {index}")
        with torch.random.fork_rng():
            torch.manual_seed(index + self.random_offset)
            image = torch.randn(*self.image_size)
            target: Any = torch.randint(0, self.num_classes, size=(1,))[0]
        picture, target = self._changed(to_pil_image(image), target)
        return picture, target.item()

    def __len__(self) -> int:
        return self.size
