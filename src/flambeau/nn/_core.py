"""What the modules take from the rooms below."""

from flambeau.autograd.runtime import is_grad_enabled, no_grad
from flambeau.devices import device
from flambeau.dtypes import bfloat16, dtype, int64, long
from flambeau.ops.joining import cat, stack
from flambeau.ops.rnn import gru, gru_cell, lstm, lstm_cell, rnn_relu, rnn_relu_cell, rnn_tanh, rnn_tanh_cell
from flambeau.tensor.creation import as_tensor, empty, empty_like, full, ones, tensor, zeros
from flambeau.tensor.tensor import Tensor

__all__ = [
    "gru",
    "gru_cell",
    "lstm",
    "lstm_cell",
    "rnn_relu",
    "rnn_relu_cell",
    "rnn_tanh",
    "rnn_tanh_cell",
    "Tensor",
    "as_tensor",
    "bfloat16",
    "cat",
    "device",
    "dtype",
    "empty",
    "empty_like",
    "full",
    "int64",
    "is_grad_enabled",
    "long",
    "no_grad",
    "ones",
    "stack",
    "tensor",
    "zeros",
]
