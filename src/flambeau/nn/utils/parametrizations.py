"""Ready-made parametrizations: orthogonal weights, weight and spectral normalisation."""

from __future__ import annotations

from typing import Any

from flambeau.dtypes import finfo
from flambeau.nn import functional as F
from flambeau.nn._core import Tensor, cat, no_grad
from flambeau.nn.modules.conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from flambeau.nn.modules.module import Module
from flambeau.nn.utils import parametrize
from flambeau.nn.utils.weight_norm import norm_except_dim
from flambeau.ops.algebra import matrix_exp, qr, solve
from flambeau.ops.factors import geqrf, householder_product
from flambeau.ops.random_ops import randn
from flambeau.tensor.creation import eye, zeros_like

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]

_MAPS = ("matrix_exp", "cayley", "householder")


def _nearest(matrix: Any) -> Any:
    """The orthogonal factor of a QR decomposition whose other factor has a positive diagonal."""
    q, r = qr(matrix)
    return q * r.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)


def _is_orthogonal(matrix: Any) -> bool:
    """Whether its columns are orthonormal up to rounding."""
    n, k = matrix.size(-2), matrix.size(-1)
    if n < k:
        return False
    one = eye(k, dtype=matrix.dtype)
    return (matrix.mH @ matrix).allclose(one, atol=10.0 * n * finfo(matrix.dtype).eps)


class _Orthogonal(Module):
    """Matrices with orthonormal columns (rows, where they are wide) from unconstrained ones.

    `matrix_exp` and `cayley` map a skew-symmetric matrix, `householder` multiplies reflections. With
    `use_trivialization` the result is multiplied by a fixed orthogonal matrix, so that the map can start anywhere.
    """

    base: Any

    def __init__(self, weight: Any, orthogonal_map: str, *, use_trivialization: bool = True) -> None:
        super().__init__()
        if weight.is_complex() and orthogonal_map == "householder":
            raise ValueError("orthogonal: the map 'householder' is for real tensors; use 'matrix_exp' or 'cayley'")
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Any) -> Any:
        wide = X.size(-2) < X.size(-1)
        tall = X.mT if wide else X
        q = self._reflected(tall) if self.orthogonal_map == "householder" else self._rotated(tall)
        if hasattr(self, "base"):
            q = self.base @ q
        return q.mT if wide else q

    def _rotated(self, x: Any) -> Any:
        n, k = x.size(-2), x.size(-1)
        x = x.tril()
        if n != k:
            x = cat([x, x.new_zeros(n, n - k).expand(*x.shape[:-2], -1, -1)], dim=-1)
        skew = x - x.mH
        if self.orthogonal_map == "matrix_exp":
            q = matrix_exp(skew)
        else:
            one = eye(n, dtype=skew.dtype)
            q = solve(one - skew * 0.5, one + skew * 0.5)
        return q[..., :k]

    @staticmethod
    def _reflected(x: Any) -> Any:
        below = x.tril(diagonal=-1)
        tau = 2.0 / (1.0 + (below * below).sum(dim=-2))
        q = householder_product(below, tau)
        return q * x.diagonal(dim1=-2, dim2=-1).int().unsqueeze(-2)  # the signs, which are no parameters

    @no_grad()
    def right_inverse(self, Q: Any) -> Any:
        """The parameter that gives the orthogonal matrix `Q`, or the nearest one."""
        if Q.shape != self.shape:
            raise ValueError(f"orthogonal: a tensor of shape {tuple(self.shape)} is needed, got {tuple(Q.shape)}")
        n, k = Q.size(-2), Q.size(-1)
        wide = n < k
        tall = Q.mT if wide else Q
        n, k = max(n, k), min(n, k)
        if not hasattr(self, "base"):
            return self._reflections(tall, wide)
        if n == k:
            self.base = tall.clone() if _is_orthogonal(tall) else _nearest(tall)
        else:
            others = randn(*tall.shape[:-2], n, n - k, dtype=tall.dtype)
            self.base = _nearest(cat([tall, others], dim=-1))
        start = zeros_like(Q)
        start.diagonal(dim1=-2, dim2=-1).fill_(-1.0)  # a diagonal does nothing to the skew part, and -1 is a sign
        return start

    def _reflections(self, tall: Any, wide: bool) -> Any:
        if self.orthogonal_map != "householder":
            raise NotImplementedError(
                f"orthogonal: '{self.orthogonal_map}' has no inverse without use_trivialization: it can't be assigned"
            )
        a, tau = geqrf(tall)
        diagonal = a.diagonal(dim1=-2, dim2=-1)
        diagonal.sign_()
        diagonal[tau == 0.0] *= -1
        return a.mT if wide else a


def orthogonal(
    module: Module, name: str = "weight", orthogonal_map: str | None = None, *, use_trivialization: bool = True
) -> Module:
    """Parametrize `name` to be orthogonal: orthonormal columns, or rows where it is wider than tall.

    `orthogonal_map` is 'matrix_exp', 'cayley' or 'householder'; by default the first for square and complex matrices,
    else the last. Lezcano-Casado 2019 (arXiv:1909.09501). ValueError if there is no such parameter or it is no matrix.
    Returns the module.

    >>> import flambeau as torch
    >>> layer = torch.nn.utils.parametrizations.orthogonal(torch.nn.Linear(3, 3))
    >>> torch.dist(layer.weight.T @ layer.weight, torch.eye(3)) < 1e-5
    tensor(True)
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"orthogonal: {type(module).__name__} has no parameter or buffer '{name}'")
    if weight.ndim < 2:
        raise ValueError(f"orthogonal: '{name}' must be a matrix or a batch of them, got {weight.ndim} dimensions")
    if orthogonal_map is None:
        square = weight.size(-2) == weight.size(-1)
        orthogonal_map = "matrix_exp" if square or weight.is_complex() else "householder"
    if orthogonal_map not in _MAPS:
        raise ValueError(f"orthogonal: orthogonal_map must be one of {', '.join(_MAPS)}, got {orthogonal_map!r}")
    made = _Orthogonal(weight, orthogonal_map, use_trivialization=use_trivialization)
    return parametrize.register_parametrization(module, name, made, unsafe=True)


class _WeightNorm(Module):
    """weight = g * v / |v|, with the norms taken per slice along `dim`."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g, weight_v):
        return weight_v * (weight_g / norm_except_dim(weight_v, self.dim))

    def right_inverse(self, weight):
        return norm_except_dim(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Parametrize `name` by its norms along `dim` (`original0`) and its direction (`original1`).

    Salimans and Kingma 2016. Returns the module.
    """
    return parametrize.register_parametrization(module, name, _WeightNorm(dim), unsafe=True)


class _SpectralNorm(Module):
    """weight / sigma, with the largest singular value sigma found by power iteration."""

    def __init__(self, weight: Any, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        ndim = weight.dim()
        if not -ndim <= dim < ndim:
            raise IndexError(f"spectral_norm: dim must lie between {-ndim} and {ndim - 1}, got {dim}")
        if n_power_iterations <= 0:
            raise ValueError(f"spectral_norm: n_power_iterations must be positive, got {n_power_iterations}")
        self.dim = dim % ndim
        self.eps = eps
        if ndim > 1:
            self.n_power_iterations = n_power_iterations
            with no_grad():
                matrix = self._reshape_weight_to_matrix(weight)
                rows, cols = matrix.size()
                u, v = matrix.new_empty(rows).normal_(0, 1), matrix.new_empty(cols).normal_(0, 1)
                self.register_buffer("_u", F.normalize(u, dim=0, eps=eps))
                self.register_buffer("_v", F.normalize(v, dim=0, eps=eps))
                self._power_method(matrix, 15)

    def _reshape_weight_to_matrix(self, weight: Any) -> Any:
        if self.dim != 0:
            weight = weight.permute(self.dim, *(d for d in range(weight.dim()) if d != self.dim))
        return weight.flatten(1)

    def _power_method(self, matrix: Any, n: int) -> None:
        with no_grad():
            for _ in range(n):
                self._u.copy_(F.normalize(matrix.mv(self._v), dim=0, eps=self.eps))
                self._v.copy_(F.normalize(matrix.t().mv(self._u), dim=0, eps=self.eps))

    def forward(self, weight):
        if weight.dim() == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = self._reshape_weight_to_matrix(weight)
        if self.training:
            self._power_method(matrix, self.n_power_iterations)
        # the graph keeps copies: the next forward writes the buffers again
        u, v = self._u.clone(), self._v.clone()
        return weight / u.dot(matrix.mv(v))

    def right_inverse(self, value):
        return value


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Parametrize `name` by division by its largest singular value. Miyato et al. 2018.

    `dim` counts the outputs (by default 1 for transposed convolutions, else 0). ValueError if there is no such
    parameter. Returns the module.
    """
    weight = getattr(module, name, None)
    if weight is None or not hasattr(weight, "dim"):
        raise ValueError(f"spectral_norm: {type(module).__name__} has no parameter or buffer '{name}'")
    if dim is None:
        dim = 1 if isinstance(module, (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)) else 0
    return parametrize.register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))
