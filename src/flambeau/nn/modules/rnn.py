"""Recurrent networks and their cells."""

from __future__ import annotations

import math
from typing import Any

from flambeau.nn import init
from flambeau.nn._core import Tensor, empty, zeros
from flambeau.nn.modules._rnnbase import RNNBase
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter
from flambeau.nn.utils.rnn import PackedSequence

__all__ = ["GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNBase", "RNNCell", "RNNCellBase"]


def _recurrent() -> Any:
    """The recurrent operations, imported when first needed."""
    from flambeau.ops import rnn

    return rnn


def apply_permutation(tensor: Tensor, permutation: Tensor, dim: int = 1) -> Tensor:
    """`tensor` with `dim` in another order."""
    return tensor.index_select(dim, permutation)


class _OneState(RNNBase):
    """RNN and GRU: the hidden state is one tensor."""

    def _function(self) -> Any:
        raise NotImplementedError(type(self).__name__)

    def _settings(self) -> tuple:
        return self.bias, self.num_layers, self.dropout, self.training, self.bidirectional

    def forward(self, input, hx=None):
        """The outputs of the last layer at all times, and the last hidden state of every layer and direction."""
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        batched = self._dims_checked(input)
        if not batched:
            input = input.unsqueeze(0 if self.batch_first else 1)
        if hx is None:
            hx = zeros(self.get_expected_hidden_size(input, None), dtype=input.dtype, device=input.device)
        else:
            hx = self._state_dims(hx, batched, "hx")
        self.check_forward_args(input, hx, None)
        output, hidden = self._function()(input, hx, self._flat_weights, *self._settings(), self.batch_first)
        if batched:
            return output, hidden
        return output.squeeze(0 if self.batch_first else 1), hidden.squeeze(1)

    def _forward_packed(self, packed: PackedSequence, hx: Any) -> tuple:
        data, batch_sizes, order, back = packed
        if hx is None:
            hx = zeros(self.get_expected_hidden_size(data, batch_sizes), dtype=data.dtype, device=data.device)
        else:
            hx = self.permute_hidden(hx, order)
        self.check_forward_args(data, hx, batch_sizes)
        output, hidden = self._function()(data, batch_sizes, hx, self._flat_weights, *self._settings())
        return PackedSequence(output, batch_sizes, order, back), self.permute_hidden(hidden, back)


class RNN(_OneState):
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh), or relu with `nonlinearity='relu'`. Elman 1990.

    RNN(input_size, hidden_size, num_layers=1, nonlinearity='tanh', bias=True, batch_first=False, dropout=0.0,
    bidirectional=False). Input (L, N, input_size), with `batch_first` (N, L, input_size), without batch (L,
    input_size), or
    a PackedSequence; hidden state (num_layers * directions, N, hidden_size). Returns (output, last hidden state).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("RNN: proj_size exists for LSTM only")
        if len(args) > 3:
            self.nonlinearity = args[3]
            args = args[:3] + args[4:]
        else:
            self.nonlinearity = kwargs.pop("nonlinearity", "tanh")
        modes = {"tanh": "RNN_TANH", "relu": "RNN_RELU"}
        if self.nonlinearity not in modes:
            raise ValueError(f"RNN: nonlinearity must be 'tanh' or 'relu', got {self.nonlinearity!r}")
        super().__init__(modes[self.nonlinearity], *args, **kwargs)

    def _function(self) -> Any:
        return _recurrent().rnn_tanh if self.mode == "RNN_TANH" else _recurrent().rnn_relu


class GRU(_OneState):
    """r, z = sigmoid(W x_t + b + W' h + b'); n = tanh(W_n x_t + b_n + r * (W'_n h + b'_n)); h_t = (1 - z) * n + z * h.

    GRU(input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0, bidirectional=False). Cho et
    al. 2014. Shapes as in `RNN`; the weights hold the gates r, z, n in this order.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("GRU: proj_size exists for LSTM only")
        super().__init__("GRU", *args, **kwargs)

    def _function(self) -> Any:
        return _recurrent().gru


class LSTM(RNNBase):
    """i, f, o = sigmoid(...), g = tanh(...) of W x_t + b + W' h + b'; c_t = f * c + i * g; h_t = o * tanh(c_t).

    LSTM(input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0, bidirectional=False,
    proj_size=0). Hochreiter and Schmidhuber 1997. Shapes as in `RNN`; the state is the pair (h, c); the weights hold
    the gates i, f, g, o in this order; `proj_size` multiplies h with one more weight (Sak et al. 2014).

    >>> import flambeau as torch
    >>> out, (h, c) = torch.nn.LSTM(3, 4)(torch.zeros(5, 2, 3))
    >>> out.shape, h.shape
    (torch.Size([5, 2, 4]), torch.Size([1, 2, 4]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)

    def get_expected_cell_size(self, input: Tensor, batch_sizes: Tensor | None) -> tuple[int, int, int]:
        """The shape of the cell state for this input."""
        states, batch, _ = self.get_expected_hidden_size(input, batch_sizes)
        return states, batch, self.hidden_size

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        """Check input, hidden and cell state."""
        self.check_input(input, batch_sizes)
        expected = self.get_expected_hidden_size(input, batch_sizes)
        self.check_hidden_size(hidden[0], expected, "Expected hidden[0] size {}, got {}")
        expected = self.get_expected_cell_size(input, batch_sizes)
        self.check_hidden_size(hidden[1], expected, "Expected hidden[1] size {}, got {}")

    def permute_hidden(self, hx: Any, permutation: Tensor | None) -> Any:
        """Both states with their batch in another order."""
        if permutation is None:
            return hx
        return apply_permutation(hx[0], permutation), apply_permutation(hx[1], permutation)

    def _zeros(self, input: Tensor, batch_sizes: Tensor | None) -> tuple[Tensor, Tensor]:
        h = zeros(self.get_expected_hidden_size(input, batch_sizes), dtype=input.dtype, device=input.device)
        c = zeros(self.get_expected_cell_size(input, batch_sizes), dtype=input.dtype, device=input.device)
        return h, c

    def forward(self, input, hx=None):
        """The outputs of the last layer at all times, and the last states (h, c) of every layer and direction."""
        settings = (self.bias, self.num_layers, self.dropout, self.training, self.bidirectional)
        if isinstance(input, PackedSequence):
            data, batch_sizes, order, back = input
            hx = self._zeros(data, batch_sizes) if hx is None else self.permute_hidden(hx, order)
            self.check_forward_args(data, hx, batch_sizes)
            output, h, c = _recurrent().lstm(data, batch_sizes, hx, self._flat_weights, *settings)
            return PackedSequence(output, batch_sizes, order, back), self.permute_hidden((h, c), back)
        batched = self._dims_checked(input)
        if not batched:
            input = input.unsqueeze(0 if self.batch_first else 1)
        if hx is None:
            hx = self._zeros(input, None)
        else:
            h, c = hx[0], hx[1]
            hx = (self._state_dims(h, batched, "hx[0]"), self._state_dims(c, batched, "hx[1]"))
        self.check_forward_args(input, hx, None)
        output, h, c = _recurrent().lstm(input, hx, self._flat_weights, *settings, self.batch_first)
        if batched:
            return output, (h, c)
        return output.squeeze(0 if self.batch_first else 1), (h.squeeze(1), c.squeeze(1))


class RNNCellBase(Module):
    """One step of a recurrent network: `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh` for `num_chunks` gates."""

    __constants__ = ["input_size", "hidden_size", "bias"]

    def __init__(self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device=None, dtype=None) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        how: dict[str, Any] = {"device": device, "dtype": dtype}
        self.weight_ih = Parameter(empty((num_chunks * hidden_size, input_size), **how))
        self.weight_hh = Parameter(empty((num_chunks * hidden_size, hidden_size), **how))
        if bias:
            self.bias_ih = Parameter(empty(num_chunks * hidden_size, **how))
            self.bias_hh = Parameter(empty(num_chunks * hidden_size, **how))
        else:
            self.register_parameter("bias_ih", None)
            self.register_parameter("bias_hh", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew from U(-1/sqrt(hidden_size), 1/sqrt(hidden_size))."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def extra_repr(self) -> str:
        parts = [f"{self.input_size}, {self.hidden_size}"]
        if self.bias is not True:
            parts.append(f"bias={self.bias}")
        if getattr(self, "nonlinearity", "tanh") != "tanh":
            parts.append(f"nonlinearity={self.nonlinearity}")
        return ", ".join(parts)

    def _check(self, tensor: Tensor, what: str) -> None:
        if tensor.dim() not in (1, 2):
            raise ValueError(f"{type(self).__name__}: {what} must have 1 or 2 dimensions, got {tensor.dim()}")

    def _step(self, function: Any, input: Tensor, hx: Any) -> Tensor:
        """One step of a network with a single state."""
        self._check(input, "the input")
        if hx is not None:
            self._check(hx, "hx")
        batched = input.dim() == 2
        if not batched:
            input = input.unsqueeze(0)
        if hx is None:
            hx = zeros((input.size(0), self.hidden_size), dtype=input.dtype, device=input.device)
        elif not batched:
            hx = hx.unsqueeze(0)
        result = function(input, hx, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        return result if batched else result.squeeze(0)


class RNNCell(RNNCellBase):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu: (N, input_size), (N, hidden_size) to (N, hidden_size)."""

    __constants__ = ["input_size", "hidden_size", "bias", "nonlinearity"]

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh", device=None, dtype=None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input, hx=None):
        """The next hidden state. RuntimeError for an unknown nonlinearity."""
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"RNNCell: nonlinearity must be 'tanh' or 'relu', got {self.nonlinearity!r}")
        return self._step(
            _recurrent().rnn_tanh_cell if self.nonlinearity == "tanh" else _recurrent().rnn_relu_cell, input, hx
        )


class GRUCell(RNNCellBase):
    """One step of a `GRU`: (N, input_size), (N, hidden_size) to (N, hidden_size)."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device=None, dtype=None) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input, hx=None):
        """The next hidden state."""
        return self._step(_recurrent().gru_cell, input, hx)


class LSTMCell(RNNCellBase):
    """One step of an `LSTM`: (N, input_size) and the pair (h, c) to the next pair."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device=None, dtype=None) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input, hx=None):
        """The next states (h, c)."""
        self._check(input, "the input")
        if hx is not None:
            for i, state in enumerate(hx):
                self._check(state, f"hx[{i}]")
        batched = input.dim() == 2
        if not batched:
            input = input.unsqueeze(0)
        if hx is None:
            state = zeros((input.size(0), self.hidden_size), dtype=input.dtype, device=input.device)
            hx = (state, state)
        elif not batched:
            hx = (hx[0].unsqueeze(0), hx[1].unsqueeze(0))
        h, c = _recurrent().lstm_cell(input, hx, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        return (h, c) if batched else (h.squeeze(0), c.squeeze(0))
