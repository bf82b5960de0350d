"""Orthogonal polynomials of any degree, element by element: `torch.special.chebyshev_polynomial_t` and its kin.

A degree is a number or a tensor; its fraction is cut off, and below 0 the polynomial is 0. High degrees of Chebyshev's
polynomials are computed from their closed forms inside the interval of orthogonality, everything else by recurrence.
Without derivatives, as in PyTorch.
"""

from __future__ import annotations

from typing import Any

from flambeau.ops.core import op

__all__ = [
    "chebyshev_polynomial_t",
    "chebyshev_polynomial_u",
    "chebyshev_polynomial_v",
    "chebyshev_polynomial_w",
    "hermite_polynomial_h",
    "hermite_polynomial_he",
    "laguerre_polynomial_l",
    "legendre_polynomial_p",
    "shifted_chebyshev_polynomial_t",
    "shifted_chebyshev_polynomial_u",
    "shifted_chebyshev_polynomial_v",
    "shifted_chebyshev_polynomial_w",
]


def _polynomial(name: str, kind: str, words: str) -> Any:
    def body(k: Any, input, n):  # type: ignore[no-untyped-def]
        return k.orthogonal_polynomial(kind, input, n)

    body.__annotations__ = {"input": "Tensor", "n": "Tensor"}
    body.__name__ = name
    body.__doc__ = f"{words} of degree `n`. Without a derivative, as in PyTorch."
    return op(body, elementwise="float", differentiable=False, name=name)


chebyshev_polynomial_t = _polynomial(
    "chebyshev_polynomial_t", "t", "Chebyshev's polynomial of the first kind, cos(n arccos(x)),"
)
chebyshev_polynomial_u = _polynomial("chebyshev_polynomial_u", "u", "Chebyshev's polynomial of the second kind")
chebyshev_polynomial_v = _polynomial("chebyshev_polynomial_v", "v", "Chebyshev's polynomial of the third kind")
chebyshev_polynomial_w = _polynomial("chebyshev_polynomial_w", "w", "Chebyshev's polynomial of the fourth kind")
shifted_chebyshev_polynomial_t = _polynomial(
    "shifted_chebyshev_polynomial_t", "shifted t", "Chebyshev's polynomial of the first kind at 2x - 1,"
)
shifted_chebyshev_polynomial_u = _polynomial(
    "shifted_chebyshev_polynomial_u", "shifted u", "Chebyshev's polynomial of the second kind at 2x - 1,"
)
shifted_chebyshev_polynomial_v = _polynomial(
    "shifted_chebyshev_polynomial_v", "shifted v", "Chebyshev's polynomial of the third kind at 2x - 1,"
)
shifted_chebyshev_polynomial_w = _polynomial(
    "shifted_chebyshev_polynomial_w", "shifted w", "Chebyshev's polynomial of the fourth kind at 2x - 1,"
)
hermite_polynomial_h = _polynomial("hermite_polynomial_h", "h", "The physicists' polynomial of Hermite")
hermite_polynomial_he = _polynomial("hermite_polynomial_he", "he", "The probabilists' polynomial of Hermite")
laguerre_polynomial_l = _polynomial("laguerre_polynomial_l", "l", "Laguerre's polynomial")
legendre_polynomial_p = _polynomial("legendre_polynomial_p", "p", "Legendre's polynomial")
