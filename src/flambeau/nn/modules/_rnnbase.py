"""What the recurrent layers share: their weights, checks and hidden states."""

from __future__ import annotations

import math
import numbers
import warnings
from typing import Any

from flambeau.nn import init
from flambeau.nn._core import Tensor, empty
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter

_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


class RNNBase(Module):
    """Weights `weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0` (and `weight_hr_l0` with `proj_size`), the
    same
    with `_reverse` for the other direction, then those of the next layer; all from U(-1/sqrt(hidden), 1/sqrt(hidden)).

    `mode` is 'LSTM', 'GRU', 'RNN_TANH' or 'RNN_RELU'. ValueError, TypeError for settings that make no network.
    """

    __constants__ = [
        "mode",
        "input_size",
        "hidden_size",
        "num_layers",
        "bias",
        "batch_first",
        "dropout",
        "bidirectional",
        "proj_size",
    ]

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device=None,
        dtype=None,
    ) -> None:
        super().__init__()
        _check_settings(
            type(self).__name__, mode, input_size, hidden_size, num_layers, bias, batch_first, dropout, proj_size
        )
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        gates = _GATES[mode] * hidden_size
        out_size = proj_size or hidden_size
        how: dict[str, Any] = {"device": device, "dtype": dtype}
        self._flat_weights_names: list[str] = []
        self._all_weights: list[list[str]] = []
        for layer in range(num_layers):
            in_size = input_size if layer == 0 else out_size * (2 if bidirectional else 1)
            for suffix in ("", "_reverse") if bidirectional else ("",):
                shapes: dict[str, tuple[int, ...]] = {"weight_ih": (gates, in_size), "weight_hh": (gates, out_size)}
                if bias:
                    shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                names = [f"{kind}_l{layer}{suffix}" for kind in shapes]
                for name, shape in zip(names, shapes.values(), strict=True):
                    setattr(self, name, Parameter(empty(shape, **how)))
                self._flat_weights_names += names
                self._all_weights.append(names)
        self.reset_parameters()

    @property
    def _flat_weights(self) -> list[Any]:
        """All weights in the order in which the recurrent functions take them."""
        own = self._parameters
        given = self.__dict__.get("_weights_given")
        if given:
            own = own | given
        return [own[name] if name in own else getattr(self, name) for name in self._flat_weights_names]

    @_flat_weights.setter
    def _flat_weights(self, weights: list[Any]) -> None:
        self.__dict__["_weights_given"] = dict(zip(self._flat_weights_names, weights, strict=True))

    def __setattr__(self, name: str, value: Any) -> None:
        given = self.__dict__.get("_weights_given")
        if given:
            given.pop(name, None)
        super().__setattr__(name, value)

    @property
    def all_weights(self) -> list[list[Any]]:
        """The weights of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def flatten_parameters(self) -> None:
        """Nothing to do on the CPU."""

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def __getstate__(self) -> dict:
        return {**super().__getstate__(), "_flat_weights": self._flat_weights}  # PyTorch wants them when it loads

    def __setstate__(self, state: dict) -> None:
        for name in ("_flat_weights", "_flat_weight_refs", "all_weights"):  # older pickles keep copies of the weights
            names = state.pop(name, None)
            if name == "all_weights" and names is not None:
                state.setdefault("_all_weights", names)
        super().__setstate__(state)
        self.__dict__.setdefault("proj_size", 0)

    # -- checks

    def check_input(self, input: Tensor, batch_sizes: Tensor | None) -> None:
        """ValueError for another dtype than the weights', RuntimeError for a wrong number or size of dimensions."""
        dtype = next(iter(self._parameters.values())).dtype
        if input.dtype != dtype:
            raise ValueError(
                f"{type(self).__name__}: the input is {input.dtype}, the weights are {dtype}: convert one of them "
                f"with to()"
            )
        expected = 2 if batch_sizes is not None else 3
        if input.dim() != expected:
            raise RuntimeError(f"{type(self).__name__}: expected {expected} dimensions, got {input.dim()}")
        if input.size(-1) != self.input_size:
            raise RuntimeError(
                f"{type(self).__name__}: the last dimension must be input_size={self.input_size}, got "
                f"{tuple(input.shape)}"
            )

    def get_expected_hidden_size(self, input: Tensor, batch_sizes: Tensor | None) -> tuple[int, int, int]:
        """The shape of the hidden state for this input."""
        if batch_sizes is not None:
            batch = int(batch_sizes[0])
        else:
            batch = input.size(0) if self.batch_first else input.size(1)
        return self._states(), batch, self.proj_size or self.hidden_size

    def _states(self) -> int:
        return self.num_layers * (2 if self.bidirectional else 1)

    def check_hidden_size(
        self, hx: Tensor, expected_hidden_size: tuple[int, int, int], msg: str = "Expected hidden size {}, got {}"
    ) -> None:
        """RuntimeError unless `hx` has that shape."""
        if tuple(hx.shape) != tuple(expected_hidden_size):
            raise RuntimeError(msg.format(tuple(expected_hidden_size), list(hx.shape)))

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        """Check input and hidden state."""
        self.check_input(input, batch_sizes)
        self.check_hidden_size(hidden, self.get_expected_hidden_size(input, batch_sizes))

    def permute_hidden(self, hx: Any, permutation: Tensor | None) -> Any:
        """The hidden state with its batch in another order."""
        return hx if permutation is None else hx.index_select(1, permutation)

    def _dims_checked(self, input: Tensor) -> bool:
        """Whether `input` has a batch dimension. ValueError if it has neither 2 nor 3 dimensions."""
        if input.dim() not in (2, 3):
            raise ValueError(
                f"{type(self).__name__}: expected 2 or 3 dimensions, got {input.dim()}: {tuple(input.shape)}"
            )
        return input.dim() == 3

    def _state_dims(self, hx: Tensor, batched: bool, name: str) -> Tensor:
        """`hx` with a batch dimension. RuntimeError unless it has one exactly if the input has."""
        expected = 3 if batched else 2
        if hx.dim() != expected:
            raise RuntimeError(
                f"{type(self).__name__}: {name} must have {expected} dimensions for this input, got {hx.dim()}: "
                f"{tuple(hx.shape)}"
            )
        return hx if batched else hx.unsqueeze(1)

    def extra_repr(self) -> str:
        parts = [f"{self.input_size}, {self.hidden_size}"]
        defaults = {
            "proj_size": 0,
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0,
            "bidirectional": False,
        }
        parts += [
            f"{name}={getattr(self, name)}" for name, default in defaults.items() if getattr(self, name) != default
        ]
        return ", ".join(parts)


def _check_settings(
    name: str,
    mode: Any,
    input_size: Any,
    hidden_size: Any,
    num_layers: Any,
    bias: Any,
    batch_first: Any,
    dropout: Any,
    proj_size: Any,
) -> None:
    if not isinstance(dropout, numbers.Number) or isinstance(dropout, bool) or not 0 <= dropout <= 1:  # type: ignore[operator]
        raise ValueError(f"{name}: dropout must be a number between 0 and 1, got {dropout!r}")
    if dropout > 0 and num_layers == 1:  # type: ignore[operator]
        warnings.warn(
            f"{name}: dropout={dropout} has no effect with num_layers=1: it acts between layers only", stacklevel=4
        )
    for key, flag in (("bias", bias), ("batch_first", batch_first)):
        if not isinstance(flag, bool):
            raise TypeError(f"{name}: {key} must be a bool, got {type(flag).__name__}")
    for key, size in (("input_size", input_size), ("hidden_size", hidden_size)):
        if not isinstance(size, int):
            raise TypeError(f"{name}: {key} must be an int, got {type(size).__name__}")
        if size <= 0:
            raise ValueError(f"{name}: {key} must be positive, got {size}")
    if num_layers <= 0:
        raise ValueError(f"{name}: num_layers must be positive, got {num_layers}")
    if proj_size < 0 or proj_size >= hidden_size:
        raise ValueError(
            f"{name}: proj_size must lie between 0 and hidden_size - 1, got {proj_size} (hidden {hidden_size})"
        )
    if mode not in _GATES:
        raise ValueError(f"{name}: mode must be one of {', '.join(_GATES)}, got {mode!r}")
