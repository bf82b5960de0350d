"""What transforms of the second generation do: look through samples of any structure, and change what they know."""

from __future__ import annotations

import copy
import inspect
import random
from collections.abc import Callable, Sequence
from typing import Any

import flambeau as torch
from flambeau import pytree
from flambeau.nn import Module
from flambeau.vision import tv_tensors
from flambeau.vision.transforms import functional as F
from flambeau.vision.transforms._tensors import bytes_as_such
from flambeau.vision.transforms.v2 import _boxes

_PICTURES = (tv_tensors.Image, tv_tensors.Video)


def is_pure_tensor(value: Any) -> bool:
    """Whether it is a tensor that does not say what it is."""
    return isinstance(value, torch.Tensor) and not isinstance(value, tv_tensors.TVTensor)


def is_picture(value: Any) -> bool:
    """Whether it is an image of Pillow's."""
    return any(cls.__module__ == "PIL.Image" for cls in type(value).__mro__)


class Transform(Module):
    """Base class. A sample may be an image, several arguments, or any container of images, masks, boxes and labels.

    A subclass defines `transform(inpt, params)` for one thing, and `make_params(flat_inputs)` for what is drawn once
    for the whole sample. A tensor of no particular class counts as an image if it is the first one and the sample has
    no other image.
    """

    _transformed_types: tuple = (torch.Tensor, is_picture)

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        """Raises an error for a sample that the transform can't change."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """What is drawn for the sample."""
        return {}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """One thing of the sample, changed. To be overridden."""
        raise NotImplementedError(f"{type(self).__name__} must define transform(inpt, params)")

    def _knows(self, value: Any) -> bool:
        return any(
            isinstance(value, kind) if isinstance(kind, type) else kind(value) for kind in self._transformed_types
        )

    def _chosen(self, flat: Sequence[Any]) -> list[bool]:
        shown = any(isinstance(x, _PICTURES) or is_picture(x) for x in flat)
        chosen = []
        for x in flat:
            known = self._knows(x)
            if is_pure_tensor(x):
                known, shown = known and not shown, True
            chosen.append(known)
        return chosen

    def forward(self, *inputs: Any) -> Any:
        """The sample, changed; several arguments come back as a tuple."""
        flat, spec = pytree.tree_flatten(inputs if len(inputs) > 1 else inputs[0])
        self.check_inputs(flat)
        chosen = self._chosen(flat)
        params = self.make_params([x for x, known in zip(flat, chosen, strict=True) if known])
        made = [self._again(x, params) if known else x for x, known in zip(flat, chosen, strict=True)]
        return pytree.tree_unflatten(made, spec)

    def _again(self, value: Any, params: dict[str, Any]) -> Any:
        result = self.transform(value, params)
        keep = isinstance(value, tv_tensors.TVTensor) and is_pure_tensor(result)
        return tv_tensors.wrap(result, like=value) if keep else result

    def extra_repr(self) -> str:
        shown = (bool, int, float, str, tuple, list)
        own = ((k, v) for k, v in self.__dict__.items() if not k.startswith("_") and k != "training")
        return ", ".join(f"{k}={v}" for k, v in own if isinstance(v, shown))


def plain(value: Any) -> Any:
    """A tensor without its class."""
    return value.as_subclass(torch.Tensor) if isinstance(value, tv_tensors.TVTensor) else value


class Older(Transform):
    """A transform of the first generation for whole samples: it is run on each thing with the same draws.

    Masks are resampled without mixing their values; transforms of colours leave masks and boxes alone; how boxes move
    is said by `_boxes`.
    """

    _older: Callable[..., Any]
    _colours = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self._inner: Any = self._older(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name in ("_inner", "_modules", "_parameters", "_buffers"):
            return super().__getattr__(name)
        return getattr(self._modules.get("_inner", self.__dict__.get("_inner")), name)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The state of both generators, to which each further thing goes back."""
        several = len(flat_inputs) > 1
        return {"state": (torch.get_rng_state(), random.getstate()) if several else None}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Runs the older transform."""
        if self._colours and isinstance(inpt, (tv_tensors.Mask, tv_tensors.BoundingBoxes)):
            return inpt
        if params["state"] is not None:
            torch.set_rng_state(params["state"][0])
            random.setstate(params["state"][1])
        if isinstance(inpt, tv_tensors.BoundingBoxes):
            return _boxes.moved(self._inner, inpt)
        if isinstance(inpt, tv_tensors.Mask):
            return self._mask(inpt)
        before = bytes_as_such.set(True)
        try:
            return self._inner(plain(inpt))
        finally:
            bytes_as_such.reset(before)

    def _mask(self, mask: Any) -> Any:
        inner = copy.copy(self._inner)
        if hasattr(inner, "interpolation"):
            inner.interpolation = F.InterpolationMode.NEAREST
        if getattr(inner, "fill", None):
            inner.fill = 0
        values = plain(mask)
        single = values.ndim == 2
        result = inner(values.unsqueeze(0) if single else values)
        return result.squeeze(0) if single else result

    def __repr__(self) -> str:
        own = vars(self._inner)
        names = [n for n in inspect.signature(self._older).parameters if n in own]
        shown = ((n, getattr(own[n], "value", own[n])) for n in names if own[n] is not None)
        return f"{type(self).__name__}({', '.join(f'{n}={v}' for n, v in shown)})"
