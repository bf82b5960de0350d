"""Transforms of whole samples and batches: mixtures of images and labels, boxes that are left out, noise."""

from __future__ import annotations

import math
from typing import Any

import flambeau as torch
from flambeau import pytree
from flambeau.nn import functional as NF
from flambeau.vision import tv_tensors
from flambeau.vision.transforms.v2 import _boxes
from flambeau.vision.transforms.v2 import functional as F
from flambeau.vision.transforms.v2._base import Transform, is_picture, is_pure_tensor, plain

__all__ = ["CutMix", "GaussianNoise", "MixUp", "RandomChannelPermutation", "RandomPhotometricDistort",
           "RandomShortestSize", "SanitizeBoundingBoxes"]  # fmt: skip


class _Mixture(Transform):
    """Batches of images mixed with themselves, moved on by one, and their labels in the same proportion."""

    def __init__(self, *, alpha: float = 1.0, num_classes: int | None = None, labels_getter: Any = "default") -> None:
        super().__init__()
        self.alpha = float(alpha)
        self.num_classes = num_classes
        self._dist = torch.distributions.Beta(torch.tensor([alpha]), torch.tensor([alpha]))
        self._labels_getter = labels_getter

    def forward(self, *inputs: Any) -> Any:
        """The batch, mixed: labels become a row of weights each."""
        inputs = inputs if len(inputs) > 1 else inputs[0]
        flat, spec = pytree.tree_flatten(inputs)
        labels = self._labels(inputs)
        wrong = labels.ndim == 1 and self.num_classes is None
        if not isinstance(labels, torch.Tensor) or labels.ndim not in (1, 2) or wrong:
            raise ValueError("labels must be a tensor of indices, with num_classes given, or of one weight per class")
        images = [x for x in flat if x is not labels and (isinstance(x, tv_tensors.Image) or is_pure_tensor(x))]
        if any(x.ndim != 4 for x in images) or any(is_picture(x) for x in flat):
            raise ValueError("a batch of images (count, channels, height, width) is needed: mix after batching")
        params = self.make_params(images)
        made = []
        for x in flat:
            if x is labels:
                made.append(self._mixed(self._weights(x), params["lam_labels"]))
            elif any(x is image for image in images):
                made.append(self._again(x, params))
            else:
                made.append(x)
        return pytree.tree_unflatten(made, spec)

    def _labels(self, inputs: Any) -> Any:
        if callable(self._labels_getter):
            return self._labels_getter(inputs)
        if isinstance(inputs, (tuple, list)) and len(inputs) == 2:
            return inputs[1]
        if isinstance(inputs, dict):
            found = next((v for k, v in inputs.items() if k.lower().startswith("label")), None)
            if found is not None:
                return found
        raise ValueError("the labels were not found in the batch: give labels_getter")

    def _weights(self, labels: torch.Tensor) -> torch.Tensor:
        return (NF.one_hot(labels, num_classes=int(self.num_classes or -1)) if labels.ndim == 1 else labels).float()

    @staticmethod
    def _mixed(x: torch.Tensor, lam: float) -> torch.Tensor:
        return x.roll(1, 0).mul(1.0 - lam).add(x.mul(lam))


class MixUp(_Mixture):
    """Each image blended with another. Zhang et al. 2018."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The proportion."""
        lam = float(self._dist.sample(()))
        return {"lam": lam, "lam_labels": lam}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """The images, blended."""
        return self._mixed(plain(inpt), params["lam"])


class CutMix(_Mixture):
    """Each image with a rectangle of another in it. Yun et al. 2019."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The rectangle, and the proportion of what is left."""
        lam = float(self._dist.sample(()))
        height, width = flat_inputs[0].shape[-2:]
        x, y = int(torch.randint(width, size=(1,))), int(torch.randint(height, size=(1,)))
        r = 0.5 * math.sqrt(1.0 - lam)
        half_w, half_h = int(r * width), int(r * height)
        x1, y1 = max(x - half_w, 0), max(y - half_h, 0)
        x2, y2 = min(x + half_w, width), min(y + half_h, height)
        left = 1.0 - (x2 - x1) * (y2 - y1) / (width * height)
        return {"box": (x1, y1, x2, y2), "lam_labels": float(left)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """The images with their rectangles."""
        x1, y1, x2, y2 = params["box"]
        made = plain(inpt).clone()
        made[..., y1:y2, x1:x2] = plain(inpt).roll(1, 0)[..., y1:y2, x1:x2]
        return made


class SanitizeBoundingBoxes(Transform):
    """Leaves out boxes that are too small or outside the image, with their labels (the entries of the sample that have
    one row per box and are named 'labels', or what `labels_getter(sample)` gives).
    """

    def __init__(self, min_size: float = 1.0, min_area: float = 1.0, labels_getter: Any = "default") -> None:
        super().__init__()
        self.min_size, self.min_area = min_size, min_area
        self.labels_getter = labels_getter

    def forward(self, *inputs: Any) -> Any:
        """The sample without them."""
        inputs = inputs if len(inputs) > 1 else inputs[0]
        flat, spec = pytree.tree_flatten(inputs)
        boxes = next((x for x in flat if isinstance(x, tv_tensors.BoundingBoxes)), None)
        if boxes is None:
            raise ValueError("there are no BoundingBoxes in the sample")
        c = _boxes.convert(boxes.as_subclass(torch.Tensor), boxes.format, _boxes.FORMAT.XYXY)
        height, width = boxes.canvas_size
        w, h = c[:, 2] - c[:, 0], c[:, 3] - c[:, 1]
        good = (w >= self.min_size) & (h >= self.min_size) & (w * h >= self.min_area)
        good &= (c >= 0).all(1) & (c[:, 0::2] <= width).all(1) & (c[:, 1::2] <= height).all(1)
        labels = self._labels(inputs)
        made = []
        for x in flat:
            rows = isinstance(x, (tv_tensors.BoundingBoxes, tv_tensors.Mask)) or any(x is label for label in labels)
            made.append(self._kept(x, good) if rows else x)
        return pytree.tree_unflatten(made, spec)

    @staticmethod
    def _kept(x: Any, good: torch.Tensor) -> Any:
        kept = plain(x)[good]
        return tv_tensors.wrap(kept, like=x) if isinstance(x, tv_tensors.TVTensor) else kept

    def _labels(self, inputs: Any) -> tuple:
        if self.labels_getter is None:
            return ()
        if callable(self.labels_getter):
            found = self.labels_getter(inputs)
            return tuple(found) if isinstance(found, (tuple, list)) else (found,)
        target = inputs[1] if isinstance(inputs, (tuple, list)) and len(inputs) > 1 else inputs
        if isinstance(target, dict):
            return tuple(v for k, v in target.items() if k.lower().startswith("label"))
        return (target,)


class GaussianNoise(Transform):
    """Noise added to float images."""

    def __init__(self, mean: float = 0.0, sigma: float = 0.1, clip: bool = True) -> None:
        super().__init__()
        self.mean, self.sigma, self.clip = mean, sigma, clip

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """The image with noise."""
        if isinstance(inpt, (tv_tensors.Mask, tv_tensors.BoundingBoxes)):
            return inpt
        values = plain(inpt)
        if not isinstance(values, torch.Tensor) or not values.is_floating_point():
            raise ValueError(
                "GaussianNoise needs float images: convert them by ToDtype(torch.float32, scale=True) first"
            )
        noisy = values + (self.mean + torch.randn_like(values) * self.sigma)
        return noisy.clamp(0, 1) if self.clip else noisy


class RandomChannelPermutation(Transform):
    """The channels in any order."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The order."""
        return {"order": torch.randperm(F.get_num_channels(plain(flat_inputs[0])))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """The image with its channels in that order."""
        if isinstance(inpt, (tv_tensors.Mask, tv_tensors.BoundingBoxes)):
            return inpt
        return plain(inpt)[..., params["order"], :, :]


class RandomShortestSize(Transform):
    """Resized so that the shorter side has one of several lengths."""

    def __init__(self, min_size: Any, max_size: int | None = None, interpolation: Any = F.InterpolationMode.BILINEAR,
                 antialias: bool | None = True) -> None:  # fmt: skip
        super().__init__()
        self.min_size = [min_size] if isinstance(min_size, int) else list(min_size)
        self.max_size, self.interpolation, self.antialias = max_size, interpolation, antialias

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The new size."""
        height, width = F.get_size(flat_inputs[0])
        shortest = self.min_size[int(torch.randint(len(self.min_size), ()))]
        r = shortest / min(height, width)
        if self.max_size is not None:
            r = min(r, self.max_size / max(height, width))
        return {"size": [int(height * r), int(width * r)]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """The thing in that size."""
        from flambeau.vision.transforms.v2._older import Resize  # type: ignore[attr-defined]

        return Resize(params["size"], interpolation=self.interpolation, antialias=self.antialias)(inpt)


class RandomPhotometricDistort(Transform):
    """Brightness, contrast, saturation, hue, order of channels: each changed with probability `p`. Liu et al. 2016."""

    def __init__(self, brightness: Any = (0.875, 1.125), contrast: Any = (0.5, 1.5), saturation: Any = (0.5, 1.5),
                 hue: Any = (-0.05, 0.05), p: float = 0.5) -> None:  # fmt: skip
        super().__init__()
        self.brightness, self.contrast, self.saturation, self.hue, self.p = brightness, contrast, saturation, hue, p

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """What is changed, and by how much."""
        channels = F.get_num_channels(plain(flat_inputs[0]))
        params: dict[str, Any] = {}
        for name in ("brightness", "contrast", "saturation", "hue"):
            drawn = torch.rand(1).item() < self.p
            bounds = getattr(self, name)
            params[name] = torch.empty(1).uniform_(*bounds).item() if drawn else None
        params["early"] = torch.rand(1).item() < 0.5
        params["order"] = torch.randperm(channels) if torch.rand(1).item() < self.p else None
        return params

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """The image, changed."""
        if isinstance(inpt, (tv_tensors.Mask, tv_tensors.BoundingBoxes)):
            return inpt
        image = plain(inpt)
        steps = ["brightness", "contrast", "saturation", "hue"] if params["early"] else [
            "brightness", "saturation", "hue", "contrast"]  # fmt: skip
        for name in steps:
            if params[name] is not None:
                image = getattr(F, f"adjust_{name}")(image, params[name])
        if params["order"] is not None and isinstance(image, torch.Tensor):
            image = image[..., params["order"], :, :]
        return image
