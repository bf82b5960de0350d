"""`torch.nested`: batches of tensors whose shapes differ."""

from __future__ import annotations

from typing import Any

from flambeau.tensor.creation import as_tensor
from flambeau.tensor.formats import jagged, strided
from flambeau.tensor.nested import NestedTensor, nest, to_padded_tensor
from flambeau.tensor.tensor import Tensor

__all__ = [
    "as_nested_tensor",
    "masked_select",
    "narrow",
    "nested_tensor",
    "nested_tensor_from_jagged",
    "to_padded_tensor",
]


def nested_tensor(
    tensor_list: Any, *, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False,
    pin_memory: bool = False,
) -> NestedTensor:  # fmt: skip
    """A nested tensor with copies of the tensors (or lists) given, without their history.

    `layout` is torch.strided or torch.jagged, where all but one dimension have one length. RuntimeError where the
    tensors differ in their number of dimensions or dtype.

    >>> import flambeau as torch
    >>> torch.nested.nested_tensor([torch.arange(2), torch.arange(3)]).to_padded_tensor(-1)
    tensor([[ 0,  1, -1],
            [ 0,  1,  2]])
    """
    parts = [as_tensor(t, dtype=dtype, device=device).detach().clone() for t in tensor_list]
    made = nest(parts, layout or strided)
    return made.requires_grad_() if requires_grad else made


def as_nested_tensor(ts: Any, dtype: Any = None, device: Any = None, layout: Any = None) -> NestedTensor:
    """A nested tensor of the tensors given, or of the rows of one; gradients flow through it."""
    if isinstance(ts, NestedTensor):
        return ts
    return nest([as_tensor(t).to(dtype=dtype, device=device) for t in ts], layout or strided)


def nested_tensor_from_jagged(
    values: Tensor, offsets: Any = None, lengths: Any = None, jagged_dim: int = 1, min_seqlen: Any = None,
    max_seqlen: Any = None,
) -> NestedTensor:  # fmt: skip
    """A jagged tensor of the parts of `values` that begin at `offsets` (and end at the next, or after `lengths`).

    RuntimeError where neither is given.
    """
    if offsets is not None:
        starts = offsets.tolist()
    elif lengths is not None:
        starts = [0, *lengths.cumsum(0).tolist()][:-1]
    else:
        raise RuntimeError("nested_tensor_from_jagged(): offsets or lengths are needed, and neither is given")
    ends = starts[1:] if lengths is None else [s + n for s, n in zip(starts, lengths.tolist(), strict=False)]
    parts = [values.narrow(jagged_dim - 1, s, e - s) for s, e in zip(starts, ends, strict=False)]
    made = nest(parts, jagged)
    if offsets is not None:
        made._offsets = offsets
    return made


def narrow(tensor: Tensor, dim: int, start: Any, length: Any, layout: Any = strided) -> NestedTensor:
    """Of each row of `tensor` the part that begins at `start` and has `length`, each a number or one per row."""
    if dim != 1:
        raise RuntimeError(f"narrow(): parts of rows are taken along dimension 1, got {dim}")
    n = tensor.shape[0]
    starts, lengths = ([v] * n if isinstance(v, int) else as_tensor(v).tolist() for v in (start, length))
    rows = [t.narrow(0, s, m) for t, s, m in zip(tensor.unbind(), starts, lengths, strict=True)]
    return nest(rows, layout)


def masked_select(tensor: Tensor, mask: Tensor) -> NestedTensor:
    """Of each row of `tensor` the elements that `mask` shows, as a jagged tensor."""
    rows = zip(tensor.unbind(), mask.expand_as(tensor).unbind(), strict=True)
    return nest([t[m] for t, m in rows], jagged)
