"""What the lazy convolutions share."""

from __future__ import annotations

from typing import Any

from flambeau.nn.modules.lazy import LazyModuleMixin


class _LazyConvXdMixin(LazyModuleMixin):
    """Gives weight and bias of a convolution their shapes according to the channels of the first input."""

    _num_spatial_dims: int

    def reset_parameters(self: Any) -> None:
        """Draw weight and bias anew, once there is a shape."""
        if not self.has_uninitialized_params() and self.in_channels != 0:
            super().reset_parameters()  # type: ignore[misc]

    def initialize_parameters(self: Any, input: Any, *args: Any, **kwargs: Any) -> None:
        """Give weight and bias their shapes. ValueError if `groups` does not divide the channels of `input`."""
        if not self.has_uninitialized_params():
            return
        self.in_channels = self._get_in_channels(input)
        if self.in_channels % self.groups != 0:
            raise ValueError(
                f"{type(self).__name__}: the input has {self.in_channels} channels, which groups={self.groups} does "
                f"not divide"
            )
        channels = (self.in_channels, self.out_channels // self.groups)
        if not self.transposed:
            channels = (self.out_channels, self.in_channels // self.groups)
        self.weight.materialize((*channels, *self.kernel_size))
        if self.bias is not None:
            self.bias.materialize((self.out_channels,))
        self.reset_parameters()

    def _get_in_channels(self, input: Any) -> int:
        n = self._num_spatial_dims
        if input.dim() not in (n + 1, n + 2):
            raise RuntimeError(f"{type(self).__name__}: expected {n + 1} or {n + 2} dimensions, got {input.dim()}")
        return input.shape[-n - 1]

    def _get_num_spatial_dims(self) -> int:
        return self._num_spatial_dims
