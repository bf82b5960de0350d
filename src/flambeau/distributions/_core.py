"""What distributions take from the rooms below."""

from flambeau.autograd.api import grad
from flambeau.autograd.runtime import enable_grad, no_grad
from flambeau.dtypes import bool_, finfo, float64, get_default_dtype, int64
from flambeau.nn.functional import (
    binary_cross_entropy_with_logits,
    logsigmoid,
    one_hot,
    pad,
    softmax,
    softplus,
)
from flambeau.ops.algebra import (
    cholesky,
    cholesky_ex,
    cholesky_inverse,
    cholesky_solve,
    eigvalsh,
    slogdet,
    solve_triangular,
)
from flambeau.ops.compare import isclose, where
from flambeau.ops.implicit import _sample_dirichlet, _standard_gamma
from flambeau.ops.joining import broadcast_shapes, broadcast_tensors, cat, stack
from flambeau.ops.random_ops import bernoulli, binomial, multinomial, normal, poisson, rand, randn
from flambeau.ops.softmax import log_softmax
from flambeau.ops.special import igamma, mvlgamma
from flambeau.tensor.creation import arange, as_tensor, empty, eye, full, full_like, ones_like, tensor, zeros_like
from flambeau.tensor.size import Size
from flambeau.tensor.tensor import Tensor

__all__ = [
    "Size",
    "Tensor",
    "_sample_dirichlet",
    "_standard_gamma",
    "arange",
    "as_tensor",
    "bernoulli",
    "binary_cross_entropy_with_logits",
    "binomial",
    "bool_",
    "broadcast_shapes",
    "broadcast_tensors",
    "cat",
    "cholesky",
    "cholesky_ex",
    "cholesky_inverse",
    "cholesky_solve",
    "eigvalsh",
    "empty",
    "enable_grad",
    "eye",
    "finfo",
    "float64",
    "full",
    "full_like",
    "get_default_dtype",
    "grad",
    "igamma",
    "int64",
    "isclose",
    "log_softmax",
    "logsigmoid",
    "multinomial",
    "mvlgamma",
    "no_grad",
    "normal",
    "one_hot",
    "ones_like",
    "pad",
    "poisson",
    "rand",
    "randn",
    "slogdet",
    "softmax",
    "softplus",
    "solve_triangular",
    "stack",
    "tensor",
    "where",
    "zeros_like",
]
