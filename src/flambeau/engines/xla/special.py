"""Special functions that JAX has; the others run on the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.engines.xla.runtime import jax, jnp

_theirs = jax.scipy.special

__all__ = [
    "digamma", "erfc", "erfinv", "i0", "i0e", "i1", "i1e", "igamma", "igammac", "lgamma", "log_ndtr", "ndtr", "ndtri",
    "polygamma", "xlog1py", "zeta",
]  # fmt: skip


def _in_own_type(name: str) -> Callable:
    def kernel(*arrays: Any) -> Any:
        return getattr(_theirs, name)(*arrays).astype(arrays[-1].dtype)

    kernel.__name__ = name
    kernel.__doc__ = f"jax.scipy.special.{name}, in the operands' type."
    return kernel


erfc, erfinv, lgamma = _in_own_type("erfc"), _in_own_type("erfinv"), _in_own_type("gammaln")
i0, i0e, i1, i1e = _in_own_type("i0"), _in_own_type("i0e"), _in_own_type("i1"), _in_own_type("i1e")
ndtr, ndtri, log_ndtr = _in_own_type("ndtr"), _in_own_type("ndtri"), _in_own_type("log_ndtr")
xlog1py, zeta = _in_own_type("xlog1py"), _in_own_type("zeta")
igamma, igammac = _in_own_type("gammainc"), _in_own_type("gammaincc")


def digamma(a: Any) -> Any:
    """The logarithmic derivative of the gamma function; -inf at 0, NaN at the negative integers."""
    value = jnp.where(a == 0, jnp.copysign(jnp.asarray(np.inf, a.dtype), -a), _theirs.digamma(a))
    return jnp.where((a < 0) & (a == jnp.floor(a)), np.nan, value).astype(a.dtype)


def polygamma(n: int, a: Any) -> Any:
    """The n-th derivative of digamma."""
    return digamma(a) if n == 0 else _theirs.polygamma(n, a).astype(a.dtype)
