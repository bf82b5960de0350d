"""Sequences of different lengths: padded to one length, or packed without padding."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterable
from typing import Any

from flambeau.nn import functional as F
from flambeau.nn._core import Tensor, as_tensor, cat, full, int64, no_grad, stack, tensor

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]

PackedSequence_ = namedtuple("PackedSequence_", ["data", "batch_sizes", "sorted_indices", "unsorted_indices"])


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes `permutation`."""
    if permutation is None:
        return None
    return permutation.argsort()


class PackedSequence(PackedSequence_):
    """The elements of a batch of sequences without padding, time step by time step.

    `data` holds the elements, `batch_sizes` how many sequences reach each time step; `sorted_indices` put the batch in
    order of falling length, `unsorted_indices` back. Made by `pack_padded_sequence` and `pack_sequence`.
    """

    def __new__(
        cls, data: Any, batch_sizes: Any = None, sorted_indices: Any = None, unsorted_indices: Any = None
    ) -> PackedSequence:
        if batch_sizes is None:
            if not (isinstance(data, (list, tuple)) and len(data) == 2):
                raise AssertionError("PackedSequence: expected data and batch_sizes, or the pair of them")
            data, batch_sizes = data
        elif getattr(batch_sizes, "device", None) is not None and batch_sizes.device.type != "cpu":
            raise ValueError(f"PackedSequence: batch_sizes must be on the CPU, got {batch_sizes.device}")
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same with `data.to(...)`; itself if that changes nothing."""
        data = self.data.to(*args, **kwargs)
        return self if data is self.data else type(self)(data, *self[1:])

    def cpu(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same on the CPU."""
        return self.to(*args, device="cpu", **kwargs)

    def cuda(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same on a CUDA device; an error that says so if there is none."""
        return self.to(*args, device="cuda", **kwargs)

    def double(self) -> PackedSequence:
        """The same as float64."""
        return type(self)(self.data.double(), *self[1:])

    def float(self) -> PackedSequence:
        """The same as float32."""
        return type(self)(self.data.float(), *self[1:])

    def half(self) -> PackedSequence:
        """The same as float16."""
        return type(self)(self.data.half(), *self[1:])

    def long(self) -> PackedSequence:
        """The same as int64."""
        return type(self)(self.data.long(), *self[1:])

    def int(self) -> PackedSequence:
        """The same as int32."""
        return type(self)(self.data.int(), *self[1:])

    def short(self) -> PackedSequence:
        """The same as int16."""
        return type(self)(self.data.short(), *self[1:])

    def char(self) -> PackedSequence:
        """The same as int8."""
        return type(self)(self.data.char(), *self[1:])

    def byte(self) -> PackedSequence:
        """The same as uint8."""
        return type(self)(self.data.byte(), *self[1:])

    def pin_memory(self) -> PackedSequence:
        """The same: memory is not pinned here."""
        return self

    @property
    def is_cuda(self) -> bool:
        """Whether the data is on a CUDA device."""
        return self.data.device.type == "cuda"

    def is_pinned(self) -> bool:
        """Whether the data is in pinned memory."""
        return False


def _lengths(lengths: Any) -> Tensor:
    lengths = as_tensor(lengths, dtype=int64) if not isinstance(lengths, Tensor) else lengths
    if lengths.dim() != 1:
        raise RuntimeError(f"lengths must have 1 dimension, got {lengths.dim()}")
    return lengths.to(int64)


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack (T, B, *) (`batch_first`: (B, T, *)) whose sequences have the given lengths.

    With `enforce_sorted` the lengths must fall already. RuntimeError for lengths that do not fit the input, are not
    positive or not sorted.
    """
    lengths = _lengths(lengths)
    order = None
    if not enforce_sorted:
        lengths, order = lengths.sort(descending=True)
        input = input.index_select(0 if batch_first else 1, order)
    if batch_first:
        input = input.transpose(0, 1)
    steps, batch = input.shape[:2]
    sizes = lengths.tolist()
    if len(sizes) != batch:
        raise RuntimeError(f"pack_padded_sequence: expected {batch} lengths, one per sequence, got {len(sizes)}")
    if any(a < b for a, b in zip(sizes, sizes[1:], strict=False)):
        raise RuntimeError(
            f"pack_padded_sequence: lengths must fall, got {sizes}: sort them or pass enforce_sorted=False"
        )
    if not sizes or sizes[-1] <= 0 or sizes[0] > steps:
        raise RuntimeError(f"pack_padded_sequence: lengths must lie between 1 and {steps}, got {sizes}")
    batch_sizes: list[int] = []
    rows: list[int] = []
    alive = batch
    for t in range(sizes[0]):
        while sizes[alive - 1] <= t:
            alive -= 1
        batch_sizes.append(alive)
        rows.extend(range(t * batch, t * batch + alive))
    data = input.reshape((steps * batch, *input.shape[2:])).index_select(0, tensor(rows, dtype=int64))
    return PackedSequence(data, tensor(batch_sizes, dtype=int64), order, None)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """Undo `pack_padded_sequence`: the padded batch and the lengths, in the original order.

    ValueError if `total_length` is below the longest sequence.
    """
    data, batch_sizes, _, back = sequence
    counts = batch_sizes.tolist()
    steps, batch = len(counts), counts[0]
    if total_length is not None:
        if total_length < steps:
            raise ValueError(
                f"pad_packed_sequence: total_length={total_length} is below the longest sequence ({steps})"
            )
        counts = counts + [0] * (total_length - steps)
    padding_row = data.shape[0]
    rows: list[int] = []
    first = 0
    for n in counts:
        rows += [*range(first, first + n), *[padding_row] * (batch - n)]
        first += n
    row_shape = tuple(data.shape[1:])
    with no_grad():
        padding = full((1, *row_shape), padding_value, dtype=data.dtype, device=data.device)
    padded = cat([data, padding]).index_select(0, tensor(rows, dtype=int64)).reshape((len(counts), batch, *row_shape))
    lengths = tensor([sum(n > b for n in counts) for b in range(batch)], dtype=int64)
    if batch_first:
        padded = padded.transpose(0, 1)
    if back is not None:
        return padded.index_select(0 if batch_first else 1, back), lengths.index_select(0, back)
    return padded, lengths


def pad_sequence(
    sequences: Any, batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Stack sequences (L_i, *) to (T, B, *) (`batch_first`: (B, T, *)), the shorter ones filled with `padding_value`.

    RuntimeError if they are no sequences of tensors or `padding_side` is neither 'left' nor 'right'.
    """
    if not isinstance(sequences, Iterable):
        raise RuntimeError(f"pad_sequence: expected an iterable of tensors, got {type(sequences).__name__}")
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"pad_sequence: padding_side must be 'left' or 'right', got {padding_side!r}")
    sequences = list(sequences)
    if not sequences:
        raise RuntimeError("pad_sequence: expected at least one sequence")
    longest = max(s.size(0) for s in sequences)
    padded = []
    for s in sequences:
        missing = longest - s.size(0)
        around = [missing, 0] if padding_side == "left" else [0, missing]
        padded.append(F.pad(s, [0, 0] * (s.dim() - 1) + around, "constant", padding_value) if missing else s)
    return stack(padded, 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False) -> list[Tensor]:
    """Undo `pad_sequence`: the list of sequences."""
    if not batch_first:
        padded_sequences = padded_sequences.transpose(0, 1)
    return [s[: int(n)] for s, n in zip(padded_sequences, lengths, strict=True)]


def pack_sequence(sequences: list[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack a list of sequences (L_i, *), which must come in order of falling length with `enforce_sorted`."""
    lengths = tensor([s.size(0) for s in sequences], dtype=int64)
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """Undo `pack_sequence`: the list of sequences."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
