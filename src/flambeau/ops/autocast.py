"""Which operations compute in lower precision while autocasting is on, and how their operands are cast.

Operations look for themselves in `dispatch.autocasts`, which is empty unless a context is open; functions that are made
of several operations are given other code while one is (`_Swap`). So nobody else pays. The lists are PyTorch's.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from flambeau import dtypes
from flambeau.autograd.runtime import LEAF, NS, thread, watch
from flambeau.ops.dispatch import autocasts
from flambeau.ops.swapping import Swap

#: Kinds of devices, and the dtype that is chosen on each unless a program says otherwise.
DEFAULTS = {
    "cpu": dtypes.bfloat16,
    "cuda": dtypes.float16,
    "xla": dtypes.bfloat16,
    "xpu": dtypes.float16,
    "mps": dtypes.float16,
    "hpu": dtypes.bfloat16,
    "mtia": dtypes.float16,
    "maia": dtypes.bfloat16,
    "ipu": dtypes.float16,
}

LOWER_OPS = "linear mm bmm matmul trilinear"
FLOAT_OPS = "trace view_as_complex"
WIDEST_OPS = "index_copy"

LOWER = {
    "conv": "conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d",
    "products": "baddbmm addmm addbmm",
    "algebra": "vecdot",
    "activation": "prelu",
    "attention": "scaled_dot_product_attention",
    "rnn": "lstm rnn_tanh rnn_relu rnn_tanh_cell rnn_relu_cell",
}
FLOAT = {
    "loss": "binary_cross_entropy binary_cross_entropy_with_logits mse_loss hinge_embedding_loss poisson_nll_loss "
    "smooth_l1_loss l1_loss huber_loss margin_ranking_loss soft_margin_loss kl_div",
    "loss_class": "cosine_embedding_loss nll_loss cross_entropy triplet_margin_loss multi_margin_loss "
    "multilabel_margin_loss multilabel_soft_margin_loss",
    "ctc": "ctc_loss",
    "pool": "avg_pool3d max_pool3d",
    "adaptive": "max_unpool2d max_unpool3d adaptive_avg_pool3d fractional_max_pool2d fractional_max_pool3d "
    "adaptive_max_pool3d",
    "vision": "grid_sample",
    "reduce": "prod",
    "quantiles": "quantile nanquantile",
    "windows": "stft",
    "norms": "cdist",
    "algebra": "legacy_cholesky cholesky cholesky_ex cholesky_inverse cholesky_solve inv inv_ex pinverse solve lstsq "
    "svd legacy_svd svdvals qr legacy_qr eigh eigvalsh eig eigvals cond matrix_rank triangular_solve tensorinv "
    "tensorsolve",
    "factors": "orgqr ormqr geqrf householder_product",
    "fourier": "fft ifft fft2 ifft2 fftn ifftn rfft irfft rfft2 irfft2 rfftn irfftn hfft ihfft hfft2 ihfft2 hfftn "
    "ihfftn",
}
#: Functions whose inner products PyTorch does not lower.
UNTOUCHED = {"distance": "bilinear", "products": "mv dot vdot addmv"}


class State(threading.local):
    """Autocasting in this thread."""

    def __init__(self) -> None:
        self.enabled = dict.fromkeys(DEFAULTS, False)
        self.dtypes = dict(DEFAULTS)
        self.cache_enabled = True
        self.nesting = 0
        self.casts: dict[tuple[int, bool], tuple[Any, Any]] = {}


state = State()
_lock = threading.Lock()
_open = 0


# --- casting --------------------------------------------------------------------------------------------------------


def _eligible(value: Any) -> bool:
    return isinstance(value, NS["Tensor"]) and value.is_floating_point() and value.dtype is not dtypes.float64


def _cast(value: Any, dtype: Any) -> Any:
    """A floating-point tensor in `dtype`; sequences likewise; float64 and all else as they are.

    A parameter's copy in lower precision is kept until the outermost context closes, so that one graph has one.
    """
    if isinstance(value, (list, tuple)):
        return type(value)(_cast(v, dtype) for v in value) if type(value) in (list, tuple) else value
    if not _eligible(value) or value.dtype is dtype:
        return value
    lower = dtype is state.dtypes["cpu"] and value.dtype is dtypes.float32
    if not (lower and state.cache_enabled and value._node is LEAF and value._base is None):
        return value.to(dtype)
    key = (id(value), thread.grad)
    if key not in state.casts:
        state.casts[key] = (value, value.to(dtype))
    return state.casts[key][1]


def _widest(values: Any) -> Any:
    """float32 if any of the tensors is, else the lower precision."""
    flat = [v for value in values for v in (value if isinstance(value, (list, tuple)) else (value,))]
    return dtypes.float32 if any(_eligible(v) and v.dtype is dtypes.float32 for v in flat) else state.dtypes["cpu"]


_TARGETS: dict[str, Callable[[Any], Any]] = {
    "lower": lambda values: state.dtypes["cpu"],
    "float": lambda values: dtypes.float32,
    "widest": _widest,
}


def _operands(kind: str, args: tuple) -> tuple:
    """The operands of an operation as autocasting wants them."""
    if not state.enabled["cpu"]:
        return args
    target = _TARGETS[kind](args)
    state.enabled["cpu"] = False  # the casts themselves are ordinary operations
    try:
        return tuple(_cast(value, target) for value in args)
    finally:
        state.enabled["cpu"] = True


# --- functions made of several operations ---------------------------------------------------------------------------


class _Swap(Swap):
    """A function whose code is replaced while autocasting may be on: it casts and then runs the original."""

    def __init__(self, function: Any, kind: str) -> None:
        super().__init__(function)
        self.kind = kind

    def run(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        """The function's call, on cast operands, and with autocasting off inside."""
        if not state.enabled["cpu"] or kwargs.get("out") is not None:
            return self.original(*args, **kwargs)
        state.enabled["cpu"] = False
        try:
            if self.kind in _TARGETS:
                target = _TARGETS[self.kind](args)
                args = tuple(_cast(value, target) for value in args)
                kwargs = {name: _cast(value, target) for name, value in kwargs.items()}
            return self.original(*args, **kwargs)
        finally:
            state.enabled["cpu"] = True


@functools.cache
def _swaps() -> list[_Swap]:
    found = []
    for kind, table in (("lower", LOWER), ("float", FLOAT), ("untouched", UNTOUCHED)):
        for module, names in table.items():
            home = importlib.import_module(f"flambeau.ops.{module}")
            for name in names.split():
                function = getattr(home, name, None)
                if function is None:
                    continue
                if hasattr(function, "op"):
                    _OPS[function.op.name] = kind
                else:
                    found.append(_Swap(function, kind))
    pad = importlib.import_module("flambeau.ops.pad").pad
    found.append(_PadSwap(pad, "float"))
    return found


class _PadSwap(_Swap):
    """`pad` goes to float32 where it reflects (one and two dimensions) or repeats the edge."""

    def run(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        mode = kwargs.get("mode", args[2] if len(args) > 2 else "constant")
        widths = kwargs.get("pad", args[1] if len(args) > 1 else ())
        if mode == "replicate" or (mode == "reflect" and len(widths) < 6):
            return super().run(args, kwargs)
        return self.original(*args, **kwargs)


_OPS = {
    name: kind
    for kind, names in (("lower", LOWER_OPS), ("float", FLOAT_OPS), ("widest", WIDEST_OPS))
    for name in names.split()
}


def open_context() -> None:
    """A context that may autocast begins, in some thread."""
    global _open
    with _lock:
        _open += 1
        if _open > 1:
            return
        for swap in _swaps():
            swap.install()
        autocasts.update({name: functools.partial(_operands, kind) for name, kind in _OPS.items()})
        watch(True)


def close_context() -> None:
    """It ends; the last one gives everything back its own code."""
    global _open
    with _lock:
        _open -= 1
        if _open:
            return
        watch(False)
        autocasts.clear()
        for swap in _swaps():
            swap.restore()


# --- going back to a state ------------------------------------------------------------------------------------------


def snapshot() -> tuple[bool, Any, bool]:
    """How autocasting on the CPU stands in this thread, for `as_then`."""
    return state.enabled["cpu"], state.dtypes["cpu"], state.cache_enabled


@contextlib.contextmanager
def as_then(then: tuple[bool, Any, bool]) -> Iterator[None]:
    """Inside, autocasting on the CPU is as it was when `snapshot` returned `then`."""
    now = snapshot()
    open_context()
    state.nesting += 1
    state.enabled["cpu"], state.dtypes["cpu"], state.cache_enabled = then
    try:
        yield
    finally:
        state.nesting -= 1
        if state.nesting == 0:
            state.casts.clear()
        state.enabled["cpu"], state.dtypes["cpu"], state.cache_enabled = now
        close_context()
