"""More methods of `Tensor`: ordering and counting, writing to places, and shapes changed in place."""

from __future__ import annotations

import functools
from typing import Any

from flambeau.autograd.runtime import NS, thread
from flambeau.autograd.views import bump, check_writable
from flambeau.ops import (
    algebra,
    copies,
    counting,
    factors,
    inserting,
    joining,
    linalg,
    matrices,
    norms,
    powers,
    quantiles,
    shape,
    sorting,
    special,
    windows,
)
from flambeau.ops import index as indexing
from flambeau.ops import scatter as places
from flambeau.tensor.inplace import in_place, shadow


def _of_a_copy(function: Any) -> Any:
    """`function` on a copy of a recorded operand: for compositions that look at it again when gradients are wanted."""

    @functools.wraps(function)
    def on_copy(input: Any, *args: Any, **kwargs: Any) -> Any:
        return function(input if input._node is None else shape.clone(input), *args, **kwargs)

    return on_copy


class Ordering:
    """Extrema with their places, sorting, selection."""

    max, min, aminmax = sorting.max, sorting.min, sorting.aminmax
    argmax, argmin = sorting.argmax, sorting.argmin
    sort, argsort, msort, topk, kthvalue = sorting.sort, sorting.argsort, sorting.msort, sorting.topk, sorting.kthvalue
    median, nanmedian, mode = sorting.median, sorting.nanmedian, sorting.mode
    quantile, nanquantile = quantiles.quantile, quantiles.nanquantile
    cummax, cummin = sorting.cummax, sorting.cummin
    unique, unique_consecutive = sorting.unique, sorting.unique_consecutive
    argwhere = sorting.argwhere
    bincount, histc, histogram = counting.bincount, counting.histc, counting.histogram
    hash_tensor = counting.hash_tensor

    def nonzero(self, *, as_tuple: bool = False) -> Any:
        """The indices of the elements that are not zero."""
        return sorting.nonzero(self, as_tuple=as_tuple)


class Places:
    """Picking and writing by index along a dimension, by mask, and in the flattened tensor."""

    gather, index_select, take, take_along_dim = (
        indexing.gather,
        places.index_select,
        places.take,
        places.take_along_dim,
    )
    masked_select = places.masked_select
    scatter, scatter_add, scatter_reduce = places.scatter, places.scatter_add, places.scatter_reduce
    index_add, index_copy, index_fill, index_put = (
        places.index_add,
        places.index_copy,
        places.index_fill,
        places.index_put,
    )
    masked_scatter, put = places.masked_scatter, places.put
    diagonal_scatter, select_scatter = inserting.diagonal_scatter, inserting.select_scatter
    slice_scatter, as_strided_scatter = inserting.slice_scatter, inserting.as_strided_scatter
    scatter_, scatter_add_, scatter_reduce_ = in_place(scatter), in_place(scatter_add), in_place(scatter_reduce)
    index_add_, index_copy_ = in_place(index_add), in_place(index_copy)
    index_fill_, index_put_ = in_place(index_fill), in_place(index_put)
    index_reduce, index_reduce_ = places.index_reduce, in_place(places.index_reduce)
    nonzero_static = places.nonzero_static
    masked_scatter_, put_ = in_place(masked_scatter), in_place(put)


_scatter_in_place = Places.scatter_


def _scatter_(self: Any, dim: int, index: Any, src: Any = None, *, value: Any = None, reduce: Any = None) -> Any:
    """`scatter`, written into this tensor, which is returned."""
    number = value if src is None else src
    plain = self._node is None and reduce is None and self._a.ndim and isinstance(index, NS["Tensor"]) and index._a.ndim
    if not plain or number.__class__ not in (int, float):
        return _scatter_in_place(self, dim, index, src, value=value, reduce=reduce)
    check_writable(self, "scatter_", thread.grad)
    places.check("scatter", self._a, dim, index._a)
    NS["KERNELS_OF"](self._a).scatter_fill_into(self._a, dim, index._a, number)
    bump(self)
    return self


_scatter_.__name__ = "scatter_"
Places.scatter_ = _scatter_  # type: ignore[method-assign]


def _in_new_shape(function: Any) -> Any:
    """The method that makes a tensor its own view: same memory, another shape."""
    name = function.__name__ + "_"

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if "axis" in kwargs:
            kwargs["dim"] = kwargs.pop("axis")
        check_writable(self, name, thread.grad, overlap=True)
        result = function(shadow(self), *args, **kwargs)
        if self._level is not None:
            self.become(result)
        self._a = result._a
        if self._node is not None:
            self._node = result._node
        bump(self)
        return self

    method.__name__ = name
    method.__doc__ = f"`{function.__name__}` of this tensor itself, which is returned in its new shape."
    return method


class NewShapes:
    """Views of itself, in place."""

    unsqueeze_, squeeze_ = _in_new_shape(shape.unsqueeze), _in_new_shape(shape.squeeze)
    transpose_ = swapaxes_ = swapdims_ = _in_new_shape(shape.transpose)
    t_, as_strided_ = _in_new_shape(shape.t), _in_new_shape(shape.as_strided)
    broadcast_to = joining.broadcast_to

    def ravel(self) -> Any:
        """The elements as a vector: a view where the strides allow it."""
        return shape.reshape(self, (-1,))

    narrow_copy = copies.narrow_copy
    unsafe_chunk, unsafe_split, unsafe_split_with_sizes = (
        copies.unsafe_chunk,
        copies.unsafe_split,
        copies.unsafe_split_with_sizes,
    )


class Matrices:
    """Triangles, diagonals, norms and products."""

    tril, triu, diag, diag_embed, diagflat = (
        matrices.tril,
        matrices.triu,
        matrices.diag,
        matrices.diag_embed,
        matrices.diagflat,
    )
    trace, cross, kron, cov, corrcoef = matrices.trace, matrices.cross, matrices.kron, matrices.cov, matrices.corrcoef
    tril_, triu_ = in_place(matrices.tril), in_place(matrices.triu)
    norm, dist, renorm, renorm_ = norms.norm, norms.dist, norms.renorm, in_place(_of_a_copy(norms.renorm))
    logcumsumexp = norms.logcumsumexp

    def fill_diagonal_(self, fill_value: Any, wrap: bool = False) -> Any:
        """Writes a number on the main diagonal (of a tall matrix again and again if `wrap`)."""
        a = self._a  # type: ignore[attr-defined]
        if not isinstance(fill_value, (bool, int, float, complex)) and not hasattr(fill_value, "_a"):
            raise TypeError(f"fill_diagonal_(): fill_value must be a number, got {type(fill_value).__name__}")
        if a.ndim < 2 or (a.ndim > 2 and len(set(a.shape)) > 1):
            raise RuntimeError(
                f"fill_diagonal_(): a matrix is needed, or equal lengths in all dimensions, got shape {list(a.shape)}"
            )
        if wrap and a.ndim == 2 and a.shape[0] > a.shape[1]:
            rows = [i for i in range(a.shape[0]) if i % (a.shape[1] + 1) < a.shape[1]]
            self[rows, [i % (a.shape[1] + 1) for i in rows]] = fill_value  # type: ignore[index]
            return self
        n = min(a.shape)
        self[(list(range(n)),) * a.ndim] = fill_value  # type: ignore[index]
        return self

    inverse, det, logdet, slogdet = algebra.inv, linalg.det, algebra.logdet, algebra.legacy_slogdet
    cholesky, cholesky_inverse, cholesky_solve = (
        algebra.legacy_cholesky,
        algebra.cholesky_inverse,
        algebra.cholesky_solve,
    )
    qr, svd, pinverse = algebra.legacy_qr, algebra.legacy_svd, algebra.pinverse
    matrix_exp, matrix_power = algebra.matrix_exp, algebra.matrix_power
    triangular_solve, lu_solve = algebra.triangular_solve, algebra.legacy_lu_solve
    geqrf, orgqr, ormqr, lu = factors.geqrf, factors.orgqr, factors.ormqr, factors.lu


class Signals:
    """Fourier transforms of windows of a signal, and their inverse."""

    stft, istft = windows.stft, windows.istft


class Special:
    """Special functions, and functions of bits and parts of numbers."""

    erfc, erfinv, lgamma, digamma, i0, sinc, logit = (
        special.erfc,
        special.erfinv,
        special.lgamma,
        special.digamma,
        special.i0,
        special.sinc,
        special.logit,
    )
    mvlgamma, igamma, igammac = special.mvlgamma, special.igamma, special.igammac
    gcd, lcm, ldexp, heaviside = special.gcd, special.lcm, special.ldexp, special.heaviside
    nextafter, frexp = special.nextafter, special.frexp

    def float_power_(self, exponent: Any) -> Any:
        """`float_power`, written into this tensor, which must be of the type it computes in."""
        kind = self._a.dtype  # type: ignore[attr-defined]
        if str(kind) not in ("float64", "complex128"):
            raise RuntimeError(
                f"float_power_ computes in float64 or complex128 and can't write into {kind}: convert it first"
            )
        return in_place(powers.float_power)(self, exponent)

    def polygamma(self, n: int) -> Any:
        """The `n`-th derivative of digamma at each element."""
        return special.polygamma(n, self)


_WRITTEN = "erfc erfinv lgamma digamma i0 sinc logit igamma igammac gcd lcm ldexp heaviside nextafter polygamma"
for _name in _WRITTEN.split():
    setattr(Special, _name + "_", in_place(getattr(Special, _name)))
Special.mvlgamma_ = in_place(_of_a_copy(special.mvlgamma))  # type: ignore[attr-defined]
