"""Normalisation over the batch."""

from __future__ import annotations

from typing import Any

from flambeau.autograd.runtime import NS, no_grad
from flambeau.dtypes import float32, promote_types
from flambeau.nn import functional as F
from flambeau.nn import init
from flambeau.nn._core import empty, long, ones, stack, tensor, zeros
from flambeau.nn.modules.lazy import LazyModuleMixin
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter, UninitializedBuffer, UninitializedParameter

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "LazyBatchNorm1d",
    "LazyBatchNorm2d",
    "LazyBatchNorm3d",
    "SyncBatchNorm",
]


class _NormBase(Module):
    """What batch and instance normalisation share: weight, bias, running statistics."""

    _version = 2
    __constants__ = ["track_running_stats", "momentum", "eps", "num_features", "affine"]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device=None,
        dtype=None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        how: dict[str, Any] = {"device": device, "dtype": dtype}
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.weight: Any
        self.bias: Any
        if affine:
            self.weight = Parameter(empty(num_features, **how))
        else:
            self.register_parameter("weight", None)
        if affine and bias:
            self.bias = Parameter(empty(num_features, **how))
        else:
            self.register_parameter("bias", None)
        if track_running_stats:
            self.register_buffer("running_mean", zeros(num_features, **how))
            self.register_buffer("running_var", ones(num_features, **how))
            self.register_buffer("num_batches_tracked", tensor(0, dtype=long, device=device))
        else:
            for name in ("running_mean", "running_var", "num_batches_tracked"):
                self.register_buffer(name, None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Set the running mean to 0, the running variance to 1 and the count to 0."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Set the running statistics back, the weight to 1 and the bias to 0."""
        self.reset_running_stats()
        if self.affine:
            init.ones_(self.weight)
            if self.bias is not None:
                init.zeros_(self.bias)

    def _check_input_dim(self, input: Any) -> None:
        raise NotImplementedError(f"{type(self).__name__} does not say how many dimensions its input has")

    def _expect_dims(self, input: Any, *dims: int) -> None:
        if input.dim() not in dims:
            wanted = " or ".join(str(d) for d in dims)
            raise ValueError(
                f"{type(self).__name__}: expected {wanted} dimensions, got {input.dim()}: {tuple(input.shape)}"
            )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ) -> None:
        version = local_metadata.get("version", None)
        key = prefix + "num_batches_tracked"
        if (version is None or version < 2) and self.track_running_stats and key not in state_dict:
            # The count came with version 2.
            own = self.num_batches_tracked
            state_dict[key] = own.clone() if own is not None else tensor(0, dtype=long)
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )


class _BatchNorm(_NormBase):
    def _average_factor(self) -> float:
        """How much this batch counts in the running statistics; counts the batch."""
        factor = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:  # plain average of all batches
                # a compiled step counts on: there the factor stays an array
                count = self.num_batches_tracked
                factor = (1.0 / count.double())._a if NS["CAPTURE"] is not None else 1.0 / float(count)
        return factor

    def forward(self, input):
        self._check_input_dim(input)
        factor = self._average_factor()
        mean, var = self.running_mean, self.running_var
        from_batch = self.training or (mean is None and var is None)
        if self.training and not self.track_running_stats:
            mean = var = None
        return F.batch_norm(input, mean, var, self.weight, self.bias, from_batch, factor, self.eps)


class BatchNorm1d(_BatchNorm):
    """Normalises each of C features over the batch (and the length): (N, C) or (N, C, L). Ioffe and Szegedy 2015.

    In training with the batch's mean and (biased) variance, which also update `running_mean` and `running_var`
    (unbiased)
    with weight `momentum` (None: plain average); in evaluation with those. Then scaled by `weight`, shifted by `bias`.
    ValueError for other numbers of dimensions.
    """

    def _check_input_dim(self, input) -> None:
        self._expect_dims(input, 2, 3)


class BatchNorm2d(_BatchNorm):
    """Normalises each channel of images (N, C, H, W) over batch and image; see `BatchNorm1d`."""

    def _check_input_dim(self, input) -> None:
        self._expect_dims(input, 4)


class BatchNorm3d(_BatchNorm):
    """Normalises each channel of volumes (N, C, D, H, W) over batch and volume; see `BatchNorm1d`."""

    def _check_input_dim(self, input) -> None:
        self._expect_dims(input, 5)


def _moments_of_all(input: Any, within: Any) -> tuple[Any, Any, Any]:
    """Mean and biased variance of each channel over the batches of all processes, and the count. One collective."""
    from flambeau.distributed.nn.functional import all_gather

    x = input.to(promote_types(input.dtype, float32))
    dims = [0, *range(2, x.dim())]
    own_count = x.numel() // x.shape[1]
    own_mean = x.sum(dims) / max(own_count, 1)
    centred = x - own_mean.reshape([1, -1] + [1] * (x.dim() - 2))
    own = stack([x.new_full((x.shape[1],), own_count), own_mean, centred.square().sum(dims)])
    counts, means, squares = stack(all_gather(own, within)).unbind(1)
    count = counts.sum(0)
    mean = (counts * means).sum(0) / count
    var = (squares + counts * (means - mean).square()).sum(0) / count
    return mean, var, count


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation whose mean and variance in training are those of the batches of all processes of a group,
    which may differ in size; with a single process, and in evaluation, plain batch normalisation.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any | None = None,
        device=None,
        dtype=None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self.process_group = process_group

    def _check_input_dim(self, input) -> None:
        if input.dim() < 2:
            raise ValueError(f"SyncBatchNorm: expected at least 2 dimensions, got {input.dim()}")
        if input.size(1) == 0:
            raise ValueError("SyncBatchNorm: the input has no channels")

    def forward(self, input):
        from flambeau.distributed.groups import group

        within = self.process_group or group.WORLD
        if not self.training or within is None or within.size() == 1:
            return super().forward(input)
        self._check_input_dim(input)
        factor = self._average_factor()
        mean, var, count = _moments_of_all(input, within)
        if self.track_running_stats:
            with no_grad():
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), factor)
                self.running_var.lerp_((var * (count / (count - 1))).to(self.running_var.dtype), factor)
        # mean and variance are variables here, not statistics: what F.batch_norm takes gets no gradient
        shape = [1, input.shape[1]] + [1] * (input.dim() - 2)
        scale = (var + self.eps).rsqrt()
        shift = -mean * scale
        if self.weight is not None:
            scale, shift = scale * self.weight, shift * self.weight
        if self.bias is not None:
            shift = shift + self.bias
        return (input * scale.reshape(shape) + shift.reshape(shape)).to(input.dtype)

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """Replace every batch normalisation in `module` by a `SyncBatchNorm` with the same state; returns the
        result.
        """
        result = module
        if isinstance(module, _BatchNorm):
            result = cls(
                module.num_features,
                module.eps,
                module.momentum,
                module.affine,
                module.track_running_stats,
                process_group,
                bias=module.bias is not None,
            )
            if module.affine:
                result.weight, result.bias = module.weight, module.bias
            result.running_mean, result.running_var = module.running_mean, module.running_var
            result.num_batches_tracked = module.num_batches_tracked
            result.training = module.training
        for name, child in module.named_children():
            result.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return result


class _LazyNormBase(LazyModuleMixin, _NormBase):
    """Takes the number of features from the first input."""

    def __init__(
        self,
        eps=1e-5,
        momentum=0.1,
        affine=True,
        track_running_stats=True,
        device=None,
        dtype=None,
        *,
        bias=True,
    ) -> None:
        how: dict[str, Any] = {"device": device, "dtype": dtype}
        super().__init__(0, eps, momentum, False, False, **how, bias=False)
        self.affine = affine
        self.track_running_stats = track_running_stats
        if affine:
            self.weight = UninitializedParameter(**how)
            if bias:
                self.bias = UninitializedParameter(**how)
        if track_running_stats:
            self.running_mean = UninitializedBuffer(**how)
            self.running_var = UninitializedBuffer(**how)
            self.num_batches_tracked = tensor(0, dtype=long, device=device)

    def reset_parameters(self) -> None:
        """Set statistics, weight and bias back, once there is a shape."""
        if not self.has_uninitialized_params() and self.num_features != 0:
            super().reset_parameters()

    def initialize_parameters(self, input) -> None:
        """Give weight, bias and statistics their shape: dimension 1 of `input`."""
        if self.has_uninitialized_params():
            self.num_features = input.shape[1]
            for t in (self.weight, self.bias, self.running_mean, self.running_var):
                if t is not None:
                    t.materialize((self.num_features,))
            self.reset_parameters()


class LazyBatchNorm1d(_LazyNormBase, _BatchNorm):
    """A `BatchNorm1d` that takes `num_features` from its first input and is a plain one from then on."""

    cls_to_become = BatchNorm1d
    _check_input_dim = BatchNorm1d._check_input_dim  # type: ignore[assignment]


class LazyBatchNorm2d(_LazyNormBase, _BatchNorm):
    """A `BatchNorm2d` that takes `num_features` from its first input and is a plain one from then on."""

    cls_to_become = BatchNorm2d
    _check_input_dim = BatchNorm2d._check_input_dim  # type: ignore[assignment]


class LazyBatchNorm3d(_LazyNormBase, _BatchNorm):
    """A `BatchNorm3d` that takes `num_features` from its first input and is a plain one from then on."""

    cls_to_become = BatchNorm3d
    _check_input_dim = BatchNorm3d._check_input_dim  # type: ignore[assignment]
