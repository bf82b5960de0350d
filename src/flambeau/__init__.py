"""flambeau: PyTorch's programming model without PyTorch.

`import flambeau as torch` is the whole migration; `flambeau run train.py` needs not even that.
"""

from __future__ import annotations

from flambeau import autograd as autograd
from flambeau import fft as fft
from flambeau import linalg as linalg
from flambeau import random as random
from flambeau import special as special
from flambeau.autograd.anomaly_mode import is_anomaly_check_nan_enabled, is_anomaly_enabled
from flambeau.autograd.runtime import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from flambeau.devices import device
from flambeau.dtypes import (
    bfloat16,
    can_cast,
    cdouble,
    cfloat,
    chalf,
    complex32,
    complex64,
    complex128,
    double,
    dtype,
    finfo,
    float8_e4m3fn,
    float8_e4m3fnuz,
    float8_e5m2,
    float8_e5m2fnuz,
    float8_e8m0fnu,
    float16,
    float32,
    float64,
    get_default_dtype,
    half,
    iinfo,
    int8,
    int16,
    int32,
    int64,
    long,
    promote_types,
    set_default_dtype,
    short,
    uint8,
    uint16,
    uint32,
    uint64,
)
from flambeau.dtypes import bool_ as bool
from flambeau.dtypes import float_ as float
from flambeau.dtypes import int_ as int
from flambeau.errors import AcceleratorError, OutOfMemoryError
from flambeau.ops.activation import (
    celu,
    celu_,
    hardshrink,
    prelu,
    relu,
    relu_,
    rrelu,
    rrelu_,
    selu,
    selu_,
    threshold,
    threshold_,
)
from flambeau.ops.adaptive import adaptive_avg_pool1d, adaptive_max_pool1d
from flambeau.ops.algebra import (
    cholesky_inverse,
    cholesky_solve,
    logdet,
    lu_unpack,
    matrix_exp,
    pinverse,
    triangular_solve,
)
from flambeau.ops.algebra import (
    legacy_cholesky as cholesky,
)
from flambeau.ops.algebra import (
    legacy_lu_solve as lu_solve,
)
from flambeau.ops.algebra import (
    legacy_qr as qr,
)
from flambeau.ops.algebra import (
    legacy_slogdet as slogdet,
)
from flambeau.ops.algebra import (
    legacy_svd as svd,
)
from flambeau.ops.algebra import (
    main_det as det,
)
from flambeau.ops.algebra import (
    main_inverse as inverse,
)
from flambeau.ops.algebra import (
    main_matrix_power as matrix_power,
)
from flambeau.ops.arithmetic import *
from flambeau.ops.arithmetic import divide as div
from flambeau.ops.arithmetic import scaled_add as add
from flambeau.ops.arithmetic import scaled_rsub as rsub
from flambeau.ops.arithmetic import scaled_sub as sub
from flambeau.ops.compare import *
from flambeau.ops.conv import *
from flambeau.ops.copies import *
from flambeau.ops.counting import *
from flambeau.ops.ctc import ctc_loss
from flambeau.ops.distance import bilinear, cosine_similarity, pairwise_distance, pdist
from flambeau.ops.dropout import NAMESPACE as _dropouts
from flambeau.ops.einsum import einsum
from flambeau.ops.elementwise import *
from flambeau.ops.embedding import table_embedding as embedding
from flambeau.ops.factors import *
from flambeau.ops.implicit import _dirichlet_grad, _sample_dirichlet, _standard_gamma, _standard_gamma_grad
from flambeau.ops.index import gather
from flambeau.ops.inserting import *
from flambeau.ops.joining import *
from flambeau.ops.loss import (
    binary_cross_entropy_with_logits,
    hinge_embedding_loss,
    kl_div,
    margin_ranking_loss,
    poisson_nll_loss,
)
from flambeau.ops.loss_class import cosine_embedding_loss, triplet_margin_loss
from flambeau.ops.matrices import *
from flambeau.ops.norm import (
    batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
    native_batch_norm,
    native_group_norm,
    native_layer_norm,
    rms_norm,
)
from flambeau.ops.norms import *
from flambeau.ops.pad import constant_pad_nd
from flambeau.ops.pool import avg_pool1d, max_pool1d, max_pool2d, max_pool3d
from flambeau.ops.powers import *
from flambeau.ops.products import *
from flambeau.ops.public import open_methods as _open_methods
from flambeau.ops.public import open_namespace as _open_namespace
from flambeau.ops.quantiles import *
from flambeau.ops.random_ops import *
from flambeau.ops.reduce import *
from flambeau.ops.rnn import *
from flambeau.ops.scatter import *
from flambeau.ops.shape import *
from flambeau.ops.softmax import log_softmax, logsumexp, softmax
from flambeau.ops.sorting import *
from flambeau.ops.special import *
from flambeau.ops.vision import affine_grid as affine_grid_generator
from flambeau.ops.vision import (
    channel_shuffle,
    grid_sampler,
    grid_sampler_2d,
    grid_sampler_3d,
    native_channel_shuffle,
    pixel_shuffle,
    pixel_unshuffle,
)
from flambeau.ops.windows import *
from flambeau.serialization import load, save
from flambeau.settings import *
from flambeau.tensor.compressed import (
    sparse_bsc_tensor,
    sparse_bsr_tensor,
    sparse_compressed_tensor,
    sparse_csc_tensor,
    sparse_csr_tensor,
)
from flambeau.tensor.creation import (
    arange,
    as_tensor,
    asarray,
    empty,
    empty_like,
    empty_permuted,
    empty_strided,
    eye,
    from_dlpack,
    from_file,
    from_numpy,
    frombuffer,
    full,
    full_like,
    linspace,
    logspace,
    ones,
    ones_like,
    polar,
    scalar_tensor,
    tensor,
    zeros,
    zeros_like,
)
from flambeau.tensor.creation import (
    complex_tensor as complex,
)
from flambeau.tensor.creation import (
    range_tensor as range,
)
from flambeau.tensor.formats import *
from flambeau.tensor.printing import get_printoptions, set_printoptions
from flambeau.tensor.queries import *
from flambeau.tensor.size import Size
from flambeau.tensor.sparse import sparse_coo_tensor, spmm
from flambeau.tensor.sparse import spmm as dsmm
from flambeau.tensor.storage import STORAGES as _STORAGES
from flambeau.tensor.storage import TypedStorage, UntypedStorage
from flambeau.tensor.subclass import DisableTorchFunction as _DisableTorchFunction
from flambeau.tensor.subclass import DisableTorchFunctionSubclass as _DisableTorchFunctionSubclass
from flambeau.tensor.tensor import Tensor

from math import e, inf, nan, pi  # isort: skip

newaxis = None
globals().update(_dropouts | _STORAGES)

# functions that write into their first operand are the tensor's own methods
for _name in (
    "abs acos acosh asin asinh atan atanh arccos arccosh arcsin arcsinh arctan arctanh ceil clamp clamp_max "
    "clamp_min clip "
    "conj_physical cos cosh deg2rad exp exp2 expm1 fix floor frac log log10 log1p log2 nan_to_num neg negative rad2deg "
    "reciprocal round rsqrt sigmoid sin sinh sqrt square tan tanh trunc xlogy zero addmv "
    "erf erfc gcd i0 index_put lcm ldexp logit sinc as_strided resize_as"
).split():
    globals()[_name + "_"] = getattr(Tensor, _name + "_")
del _name

_open_namespace(globals(), main=True)
_open_methods(Tensor)

# --- surroundings: versions, serving as torch, names that are missing (keep these lines last) ---
from typing import TYPE_CHECKING as _TYPE_CHECKING

from flambeau.amp.autocast_mode import (
    autocast,
    autocast_decrement_nesting,
    autocast_increment_nesting,
    clear_autocast_cache,
    get_autocast_cpu_dtype,
    get_autocast_dtype,
    get_autocast_gpu_dtype,
    is_autocast_available,
    is_autocast_cache_enabled,
    is_autocast_cpu_enabled,
    is_autocast_enabled,
    set_autocast_cache_enabled,
    set_autocast_cpu_dtype,
    set_autocast_cpu_enabled,
    set_autocast_dtype,
    set_autocast_enabled,
    set_autocast_gpu_dtype,
)
from flambeau.amp.grad_scaler import GradScaler
from flambeau.compiler import compile
from flambeau.missing import watch_all as _watch_all
from flambeau.run import install_as_torch
from flambeau.torch_version import TorchVersion as _TorchVersion
from flambeau.version import __flambeau_version__
from flambeau.version import __version__ as _version

if _TYPE_CHECKING:  # imported when a program first asks for them
    from flambeau import (
        amp,
        backends,
        compiler,
        cuda,
        distributed,
        func,
        hub,
        masked,
        multiprocessing,
        onnx,
        signal,
        testing,
        types,
    )


def _operators(name: str) -> object:
    """`torch.ops.aten`, and `torch.ops.<namespace>` for operators of a program's own."""
    from importlib import import_module

    if name.startswith("__"):
        raise AttributeError(f"module 'torch.ops' has no attribute '{name}'")
    if name == "aten":
        return import_module("flambeau.ops.aten")
    return import_module("flambeau.library.operators").namespace(name)


__import__("sys").modules["flambeau.ops"].__getattr__ = _operators  # type: ignore[method-assign]

__version__ = _TorchVersion(_version)
_watch_all()

if __import__("os").environ.get("FLAMBEAU_AS_TORCH", "") not in ("", "0"):
    install_as_torch()
