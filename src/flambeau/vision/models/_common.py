"""What several models share."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from flambeau import nn
from flambeau.tensor.tensor import Tensor


def divisible(value: float, divisor: int = 8, least: int | None = None) -> int:
    """The multiple of `divisor` next to `value`, not more than a tenth below it."""
    near = max(least or divisor, int(value + divisor / 2) // divisor * divisor)
    return near + divisor if near < 0.9 * value else near


def fan_out_init(model: nn.Module, linear: Callable[[nn.Linear], Any] | None = None) -> None:
    """Convolutions from a normal distribution by fan-out (He et al. 2015, arXiv:1502.01852), normalizations at the
    identity, linear layers by `linear`, in the order of `model.modules()`.
    """
    for m in model.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            if m.bias is not None:
                nn.init.zeros_(m.bias)
        elif isinstance(m, (nn.BatchNorm2d, nn.GroupNorm)):
            nn.init.ones_(m.weight)
            nn.init.zeros_(m.bias)
        elif isinstance(m, nn.Linear) and linear is not None:
            linear(m)
            nn.init.zeros_(m.bias)


def small_normal(m: nn.Linear) -> None:
    """Weights from a normal distribution of deviation 0.01."""
    nn.init.normal_(m.weight, 0, 0.01)


class IntermediateLayerGetter(nn.ModuleDict):
    """A model up to the last of the layers named in `return_layers`; gives their outputs under the names there."""

    def __init__(self, model: nn.Module, return_layers: dict[str, str]) -> None:
        children = dict(model.named_children())
        if not set(return_layers) <= set(children):
            raise ValueError(f"the model has no layers {sorted(set(return_layers) - set(children))}")
        last = max(list(children).index(name) for name in return_layers)
        super().__init__(OrderedDict(list(children.items())[: last + 1]))
        self.return_layers = {str(k): str(v) for k, v in return_layers.items()}

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        out = OrderedDict()
        for name, module in self.items():
            x = module(x)
            if name in self.return_layers:
                out[self.return_layers[name]] = x
        return out
