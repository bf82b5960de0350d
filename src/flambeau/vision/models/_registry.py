"""Models by name, and weights that lie on disk."""

from __future__ import annotations

import enum
import functools
import os
import warnings
from collections.abc import Callable
from typing import Any

import flambeau as torch
from flambeau.nn import Module
from flambeau.tensor.tensor import Tensor
from flambeau.vision.models._files import FILES
from flambeau.vision.transforms import functional as F

_BUILDERS: dict[str, Callable] = {}
_URL = "https://download.pytorch.org/models/"


class ImageClassification(Module):
    """How images are prepared for published weights: resized, cropped in the middle, from 0 to 1, normalized."""

    def __init__(self, *, crop_size: int, resize_size: int = 256, mean: Any = (0.485, 0.456, 0.406),
                 std: Any = (0.229, 0.224, 0.225), interpolation: Any = F.InterpolationMode.BILINEAR,
                 antialias: bool | None = True) -> None:  # fmt: skip
        super().__init__()
        self.crop_size, self.resize_size = [crop_size], [resize_size]
        self.mean, self.std, self.interpolation, self.antialias = list(mean), list(std), interpolation, antialias

    def forward(self, img: Any) -> Tensor:
        img = F.resize(img, self.resize_size, self.interpolation, antialias=self.antialias)
        img = F.center_crop(img, self.crop_size)
        img = img if isinstance(img, Tensor) else F.pil_to_tensor(img)
        return F.normalize(F.convert_image_dtype(img), self.mean, self.std)


class WeightsEnum(enum.Enum):
    """Published weights of a model. flambeau fetches none: the file has to lie where `path` says."""

    def __init__(self, file: str, resize: int, crop: int, interpolation: str) -> None:
        self.url = _URL + file
        self.meta = {"num_classes": 1000, "min_size": (crop, crop)}
        mode = F.InterpolationMode(interpolation)
        how: dict[str, Any] = {"crop_size": crop, "resize_size": resize, "interpolation": mode}
        if file.startswith("efficientnet_v2_l"):  # the only one trained on values from -1 to 1
            how |= {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
        self.transforms = functools.partial(ImageClassification, **how)

    @property
    def path(self) -> str:
        """Where the file has to lie."""
        return os.path.join(torch.hub.get_dir(), "checkpoints", os.path.basename(self.url))

    def get_state_dict(self, progress: bool = True, check_hash: bool = False, **kwargs: Any) -> dict[str, Tensor]:
        """The weights in the file. RuntimeError, which says where to put it, if it is absent."""
        if not os.path.isfile(self.path):
            raise RuntimeError(
                f"{self} needs the file {os.path.basename(self.url)}, and flambeau fetches nothing from the network: "
                f"download {self.url} yourself and place it at {self.path}, or ask for weights=None"
            )
        return torch.hub.load_state_dict_from_url(self.url, **kwargs)

    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self.name}"


def _enumerations() -> tuple[dict[str, type[WeightsEnum]], dict[str, type[WeightsEnum]]]:
    members: dict[tuple[str, str], dict[str, tuple]] = {}
    for line in FILES.split("\n"):
        if line:
            model, name, member, file, resize, crop, how, *default = line.split()
            value = (file, int(resize), int(crop), how)
            members.setdefault((model, name), {})[member] = value
            if default:
                members[model, name]["DEFAULT"] = value
    by_model, by_name = {}, {}
    for (model, name), values in members.items():
        made: Any = WeightsEnum(name, values, module=__name__)  # type: ignore[call-arg, arg-type]
        by_model[model] = by_name[name] = made
    return by_model, by_name


OF_MODEL, WEIGHTS = _enumerations()


def _chosen(name: str, weights: Any, pretrained: Any) -> WeightsEnum | None:
    """The weights that a builder's arguments mean, older ones included."""
    if pretrained is not None or isinstance(weights, bool):
        warnings.warn(f"{name}(pretrained=...) is from an older torchvision: use weights=... instead", stacklevel=3)
        weights = "DEFAULT" if (weights if isinstance(weights, bool) else pretrained) else None
    if weights is None or isinstance(weights, WeightsEnum):
        if weights is not None and type(weights) is not OF_MODEL.get(name):
            raise TypeError(f"{name} takes weights of {OF_MODEL[name].__name__}, got {weights!r}")
        return weights
    text = str(weights).rpartition(".")[2]
    try:
        return OF_MODEL[name][text]
    except KeyError:
        known = [m.name for m in OF_MODEL[name]]
        raise ValueError(f"{name} has no weights {weights!r}; there are {', '.join(known)}") from None


def register(name: str, make: Callable[..., Module], about: str, **plain: Any) -> Callable[..., Any]:
    """A builder `name(*, weights=None, progress=True, **kwargs)` of what `make(**kwargs)` makes.

    `plain` are arguments that spare initial values where weights are loaded over them.
    """

    def builder(weights: Any = None, progress: bool = True, *, pretrained: bool | None = None, **kwargs: Any) -> Any:
        chosen = _chosen(name, weights, pretrained)
        if chosen is None:
            return make(**kwargs)
        state = chosen.get_state_dict(progress=progress)
        if kwargs.setdefault("num_classes", 1000) != 1000:
            raise ValueError(f"{chosen} has 1000 classes, got num_classes={kwargs['num_classes']}")
        model = make(**(plain | kwargs))
        model.load_state_dict(state)
        return model

    builder.__name__ = builder.__qualname__ = name
    builder.__doc__ = (
        f"{about}\n\n    Args:\n        weights: None for fresh ones, or a member of {OF_MODEL[name].__name__}, whose "
        "file must lie on disk.\n        progress: accepted.\n        kwargs: those of the class.\n    "
    )
    _BUILDERS[name] = builder
    return builder


def list_models(module: Any = None, include: Any = None, exclude: Any = None) -> list[str]:
    """The names of all models, sorted; `include` and `exclude` are patterns such as 'resnet*'."""
    import fnmatch

    def fits(name: str, patterns: Any) -> bool:
        return any(fnmatch.fnmatch(name, p) for p in ([patterns] if isinstance(patterns, str) else patterns))

    return sorted(n for n in _BUILDERS if (not include or fits(n, include)) and not (exclude and fits(n, exclude)))


def get_model_builder(name: str) -> Callable[..., Any]:
    """The function that builds a model. ValueError for unknown names."""
    if name.lower() not in _BUILDERS:
        raise ValueError(f"there is no model '{name}'; list_models() gives all")
    return _BUILDERS[name.lower()]


def get_model(name: str, **config: Any) -> Any:
    """A model by name; `config` are its builder's arguments."""
    return get_model_builder(name)(**config)


def get_model_weights(name: Any) -> type[WeightsEnum]:
    """The weights there are of a model, given by name or builder."""
    return OF_MODEL[name if isinstance(name, str) else name.__name__]


def get_weight(name: str) -> WeightsEnum:
    """Weights by full name, such as 'ResNet50_Weights.DEFAULT'. ValueError for unknown names."""
    kind, _, member = name.partition(".")
    if kind not in WEIGHTS or member not in WEIGHTS[kind].__members__:
        raise ValueError(f"there are no weights '{name}'")
    return WEIGHTS[kind][member]
