"""Normalisation of each sample and channel by itself."""

from __future__ import annotations

import warnings

from flambeau.nn import functional as F
from flambeau.nn.modules.batchnorm import _LazyNormBase, _NormBase

__all__ = [
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LazyInstanceNorm1d",
    "LazyInstanceNorm2d",
    "LazyInstanceNorm3d",
]


class _InstanceNorm(_NormBase):
    _spatial: int

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device=None,
        dtype=None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def _check_input_dim(self, input) -> None:
        self._expect_dims(input, self._spatial + 1, self._spatial + 2)

    def _get_no_batch_dim(self) -> int:
        return self._spatial + 1

    def _handle_no_batch_input(self, input):
        return self._apply_instance_norm(input.unsqueeze(0)).squeeze(0)

    def _apply_instance_norm(self, input):
        return F.instance_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            self.momentum if self.momentum is not None else 0.0,
            self.eps,
        )

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ) -> None:
        version = local_metadata.get("version", None)
        if version is None and not self.track_running_stats:
            # Before versions, statistics were saved although they were not used.
            extra = [k for k in (prefix + "running_mean", prefix + "running_var") if k in state_dict]
            if extra:
                error_msgs.append(
                    f"{type(self).__name__} with track_running_stats=False has no use for {', '.join(extra)}: remove "
                    "these keys or make it with track_running_stats=True"
                )
                for key in extra:
                    state_dict.pop(key)
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def forward(self, input):
        self._check_input_dim(input)
        channels = input.shape[input.dim() - self._get_no_batch_dim()]
        if channels != self.num_features:
            message = f"{type(self).__name__}: the input has {channels} channels, num_features is {self.num_features}"
            if self.affine:
                raise ValueError(message)
            warnings.warn(message + " (not used, since affine=False)", stacklevel=2)
        if input.dim() == self._get_no_batch_dim():
            return self._handle_no_batch_input(input)
        return self._apply_instance_norm(input)


class InstanceNorm1d(_InstanceNorm):
    """Normalises each sample and channel of (N, C, L) or (C, L) over its length. Ulyanov et al. 2016.

    `affine` adds a weight and bias per channel, `track_running_stats` averages that are used in evaluation.
    """

    _spatial = 1


class InstanceNorm2d(_InstanceNorm):
    """Normalises each sample and channel of (N, C, H, W) or (C, H, W) over the image; see `InstanceNorm1d`."""

    _spatial = 2


class InstanceNorm3d(_InstanceNorm):
    """Normalises each sample and channel of (N, C, D, H, W) or (C, D, H, W) over the volume; see `InstanceNorm1d`."""

    _spatial = 3


class LazyInstanceNorm1d(_LazyNormBase, _InstanceNorm):
    """An `InstanceNorm1d` that takes `num_features` from its first input and is a plain one from then on."""

    cls_to_become = InstanceNorm1d
    _spatial = 1


class LazyInstanceNorm2d(_LazyNormBase, _InstanceNorm):
    """An `InstanceNorm2d` that takes `num_features` from its first input and is a plain one from then on."""

    cls_to_become = InstanceNorm2d
    _spatial = 2


class LazyInstanceNorm3d(_LazyNormBase, _InstanceNorm):
    """An `InstanceNorm3d` that takes `num_features` from its first input and is a plain one from then on."""

    cls_to_become = InstanceNorm3d
    _spatial = 3
