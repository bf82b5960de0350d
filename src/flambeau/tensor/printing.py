"""How tensors print: what `repr`, `str` and `format` give, and the options that govern it.

The text is PyTorch's, character by character. It is laid out in three steps: pick the elements that are shown, turn
each one into a string of common width, and nest the strings in brackets. Elements that a summary leaves out are never
looked at, so printing a large tensor costs no more than printing a small one.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["format_array", "format_tensor", "get_printoptions", "printoptions", "set_printoptions", "tensor_repr"]


class _Options:
    def __init__(self) -> None:
        self.precision: int = 4
        self.threshold: float = 1000
        self.edgeitems: int = 3
        self.linewidth: int = 80
        self.sci_mode: bool | None = None


_options = _Options()
_PROFILES: dict[str, dict[str, Any]] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors print, for the whole process. What is not given stays as it is, apart from `sci_mode`.

    Args:
        precision: digits after the decimal point of floating point numbers (4 at first).
        threshold: tensors of more elements than this are summarised (1000 at first).
        edgeitems: how many elements a summary shows at each end of each dimension (3 at first).
        linewidth: characters on a line before it is broken (80 at first).
        profile: start from `"default"`, `"short"` (2 digits, 2 edge items) or `"full"` (no summaries).
        sci_mode: True always prints floating point numbers with an exponent, False never; None, which every call
            without it goes back to, decides by the numbers.

    >>> import flambeau as torch
    >>> torch.set_printoptions(precision=2)
    >>> torch.tensor([1.2345, 10.0])
    tensor([ 1.23, 10.00])
    >>> torch.set_printoptions(profile="default")
    """
    changes = dict(_PROFILES.get(profile, {})) if profile is not None else {}
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    changes.update((name, value) for name, value in given.items() if value is not None)
    for name, value in changes.items():
        setattr(_options, name, value)
    _options.sci_mode = sci_mode


def get_printoptions() -> dict[str, Any]:
    """The print options now in force, as a dictionary that `set_printoptions(**options)` takes back.

    >>> from flambeau.tensor.printing import get_printoptions
    >>> get_printoptions()["precision"]
    4
    """
    return dict(vars(_options))


@contextlib.contextmanager
def printoptions(**kwargs: Any) -> Iterator[None]:
    """Print options for the length of a `with` block; the arguments are those of `set_printoptions`.

    >>> import flambeau as torch
    >>> from flambeau.tensor.printing import printoptions
    >>> with printoptions(precision=1):
    ...     print(torch.tensor([0.25]))
    tensor([0.2])
    """
    before = get_printoptions()
    set_printoptions(**kwargs)
    try:
        yield
    finally:
        set_printoptions(**before)


def _float_strings(values: list[float]) -> tuple[list[str], int]:
    """Each float as text, and the width that columns take (zeros, nan and inf have no say in it)."""
    ordinary = [v for v in values if v and math.isfinite(v)]
    precision = _options.precision
    if not ordinary:
        sizes, scientific, whole = (1.0, 1.0), False, True
    else:
        magnitudes = [abs(v) for v in ordinary]
        sizes = (min(magnitudes), max(magnitudes))
        whole = all(map(float.is_integer, ordinary))
        if _options.sci_mode is None:
            scientific = sizes[1] / sizes[0] > 1000.0 or sizes[1] > 1.0e8 or sizes[0] < 1.0e-4
        else:
            scientific = bool(_options.sci_mode)
    spec = f".{precision}e" if scientific else ".0f" if whole else f".{precision}f"
    texts = [format(v, spec) for v in values]
    if whole and not scientific:  # whole numbers keep a point, to tell them from integers
        texts = [t + "." if math.isfinite(v) else t for t, v in zip(texts, values, strict=True)]
    width = max((len(t) for t, v in zip(texts, values, strict=True) if v and math.isfinite(v)), default=1)
    return [t.rjust(width) for t in texts], width


def _strings(shown: np.ndarray) -> tuple[list[str], int]:
    """The elements of an array as padded text, in order, and the width of a column."""
    kind = shown.dtype.kind
    if kind == "c":
        real, real_width = _float_strings(shown.real.ravel().tolist())
        imag, imag_width = _float_strings(shown.imag.ravel().tolist())
        imag = [text.lstrip() + "j" for text in imag]
        texts = [r + i if i[0] in "+-" else f"{r}+{i}" for r, i in zip(real, imag, strict=True)]
        return texts, real_width + imag_width + 1
    if kind in "biu":
        texts = [str(v) for v in shown.ravel().tolist()]
        width = max(map(len, texts), default=1)
        return [t.rjust(width) for t in texts], width
    return _float_strings(shown.astype(np.float64).ravel().tolist())


def _edges(array: np.ndarray, edgeitems: int) -> tuple[np.ndarray, list[bool]]:
    """The part of a large array that its summary shows, and which dimensions were shortened."""
    cut = [size > 2 * edgeitems for size in array.shape]
    for axis, shorten in enumerate(cut):
        if shorten:
            ends = [(slice(None),) * axis + (part,) for part in (slice(edgeitems), slice(-edgeitems, None))]
            array = np.concatenate([array[ends[0]], array[ends[1]]], axis=axis)
    return array, cut


def format_array(array: np.ndarray, indent: int) -> str:
    """The elements of `array` in nested brackets, as they stand between `tensor(` and `)`.

    `indent` is the column at which the text starts: what lies on further lines is indented by it.
    """
    if array.size == 0:
        return "[]"
    edge = _options.edgeitems
    cut = [False] * array.ndim
    if array.size > _options.threshold and array.ndim:
        if not edge:
            return "[...]"
        array, cut = _edges(array, edge)
    texts, width = _strings(array)
    if array.ndim == 0:
        return texts[0]
    per_line = max(1, math.floor((_options.linewidth - indent - array.ndim + 1) / (width + 2)))
    blocks = texts
    for depth in reversed(range(array.ndim)):  # from the innermost brackets outwards
        below = array.ndim - depth
        innermost, size = below == 1, array.shape[depth]
        column = "\n" + " " * (indent + depth + 1)
        dots, separator = (" ...", ", ") if innermost else ("...", "," + "\n" * (below - 2) + column)
        grouped = []
        for start in range(0, len(blocks), size):
            parts = blocks[start : start + size]
            if cut[depth]:
                parts[edge:edge] = [dots]
            if innermost and len(parts) > per_line:
                rows = [separator.join(parts[i : i + per_line]) for i in range(0, len(parts), per_line)]
                grouped.append("[" + ("," + column).join(rows) + "]")
            else:
                grouped.append("[" + separator.join(parts) + "]")
        blocks = grouped
    return blocks[0]


def with_suffixes(text: str, suffixes: list[str], indent: int) -> str:
    """Append `dtype=...`, `grad_fn=...` and the like, on a new line where they would cross the line width."""
    column = len(text) - text.rfind("\n") + 1
    parts = [text]
    for suffix in suffixes:
        if column + len(suffix) + 2 > _options.linewidth:
            parts.append(",\n" + " " * indent + suffix)
            column = indent + len(suffix)
        else:
            parts.append(", " + suffix)
            column += len(suffix) + 2
    return "".join(parts) + ")"


_COMPLEX_DEFAULT = {"torch.float64": "torch.complex128"}


def format_tensor(
    array: np.ndarray | None,
    *,
    dtype: str,
    shape: tuple[int, ...] | None = None,
    prefix: str = "tensor",
    requires_grad: bool = False,
    grad_fn: str | None = None,
    device: str | None = None,
    default_dtype: str = "torch.float32",
    contents: str | None = None,
) -> str:
    """The text of a tensor from its parts.

    Args:
        array: the elements; None for a tensor without storage, which prints `...` and needs `shape`.
        dtype: the dtype's text, such as `"torch.float32"`.
        prefix: the name before the parenthesis; a subclass of Tensor prints its own.
        requires_grad, grad_fn: what the tape knows; `grad_fn` is a name such as `"MulBackward0"`.
        device: the device's text, only where it is not the default device.
        default_dtype: the dtype's text that is left out of what is printed.
        contents: use this in place of the elements.
    """
    prefix += "("
    shape = tuple(array.shape) if array is not None else tuple(shape or ())
    suffixes = [f"device='{device}'"] if device is not None else []
    implied = (default_dtype, _COMPLEX_DEFAULT.get(default_dtype, "torch.complex64"), "torch.int64", "torch.bool")
    if array is None:
        suffixes.append(f"size={shape}")
        body, implied = "...", (default_dtype,) * 4
    elif array.size == 0:
        if len(shape) != 1:
            suffixes.append(f"size={shape}")
        body, implied = "[]", (default_dtype,) * 4
    else:
        if not _options.edgeitems:
            suffixes.append(f"size={shape}")
        body = format_array(array, len(prefix)) if contents is None else contents
    if dtype not in implied:
        suffixes.append(f"dtype={dtype}")
    if grad_fn is not None:
        suffixes.append(f"grad_fn=<{grad_fn}>")
    elif requires_grad:
        suffixes.append("requires_grad=True")
    return with_suffixes(prefix + (body if contents is None else contents), suffixes, len(prefix))


def tensor_repr(tensor: Any, *, plain: bool, default_dtype: Any, tensor_contents: str | None = None) -> str:
    """What `repr` gives for a tensor; `plain` says that it is a Tensor or a Parameter and not some subclass.

    `tensor_contents` takes the place of the elements.
    """
    try:
        node = tensor.grad_fn
        grad_fn = None if node is None else type(node).__name__
    except RuntimeError:  # a view made without grad whose base was then written to has no history to show
        grad_fn = "Invalid"
    device = tensor.device
    return format_tensor(
        None if device.type == "meta" else tensor._a,
        dtype=str(tensor.dtype),
        shape=tuple(tensor.shape),
        requires_grad=tensor.requires_grad,
        prefix="tensor" if plain else type(tensor).__name__,
        grad_fn=grad_fn,
        contents=tensor_contents,
        device=None if device.type == "cpu" else str(device),
        default_dtype=str(default_dtype),
    )
