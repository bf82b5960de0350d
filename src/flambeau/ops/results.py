"""Results with named parts: `torch.return_types.max(values=..., indices=...)` and its kin, which are tuples too."""

from __future__ import annotations

from typing import Any


class Named(tuple):
    """A tuple whose parts have names."""

    __slots__ = ()
    _fields: tuple[str, ...] = ()

    def __repr__(self) -> str:
        parts = ",\n".join(f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True))
        return f"torch.return_types.{type(self).__name__}(\n{parts})"

    def __reduce__(self) -> Any:
        return type(self), (tuple(self),)

    @property
    def n_fields(self) -> int:
        """How many parts there are."""
        return len(self._fields)


def _part(i: int) -> Any:
    def part(self: Any) -> Any:
        return self[i]

    return property(part, doc=f"Part {i}.")


#: Every result class by name.
CLASSES: dict[str, type] = {}


def named(name: str, *fields: str) -> Any:
    """A new class of results."""
    body: dict[str, Any] = {field: _part(i) for i, field in enumerate(fields)}
    body |= {
        "_fields": fields,
        "__slots__": (),
        "__module__": "flambeau.return_types",
        "n_sequence_fields": len(fields),
    }
    CLASSES[name] = cls = type(name, (Named,), body)
    return cls


max = named("max", "values", "indices")
min = named("min", "values", "indices")
sort = named("sort", "values", "indices")
topk = named("topk", "values", "indices")
kthvalue = named("kthvalue", "values", "indices")
median = named("median", "values", "indices")
nanmedian = named("nanmedian", "values", "indices")
mode = named("mode", "values", "indices")
cummax = named("cummax", "values", "indices")
cummin = named("cummin", "values", "indices")
aminmax = named("aminmax", "min", "max")
frexp = named("frexp", "mantissa", "exponent")
slogdet = named("slogdet", "sign", "logabsdet")
linalg_slogdet = named("linalg_slogdet", "sign", "logabsdet")
qr = named("qr", "Q", "R")
linalg_qr = named("linalg_qr", "Q", "R")
svd = named("svd", "U", "S", "V")
linalg_svd = named("linalg_svd", "U", "S", "Vh")
linalg_eigh = named("linalg_eigh", "eigenvalues", "eigenvectors")
linalg_eig = named("linalg_eig", "eigenvalues", "eigenvectors")
linalg_lstsq = named("linalg_lstsq", "solution", "residuals", "rank", "singular_values")
linalg_cholesky_ex = named("linalg_cholesky_ex", "L", "info")
linalg_inv_ex = named("linalg_inv_ex", "inverse", "info")
histogramdd = named("histogramdd", "hist", "bin_edges")
histogram = named("histogram", "hist", "bin_edges")
geqrf = named("geqrf", "a", "tau")
linalg_ldl_factor = named("linalg_ldl_factor", "LD", "pivots")
linalg_ldl_factor_ex = named("linalg_ldl_factor_ex", "LD", "pivots", "info")
linalg_lu_factor_ex = named("linalg_lu_factor_ex", "LU", "pivots", "info")
linalg_solve_ex = named("linalg_solve_ex", "result", "info")
lu_unpack = named("lu_unpack", "P", "L", "U")
linalg_lu = named("linalg_lu", "P", "L", "U")
linalg_lu_factor = named("linalg_lu_factor", "LU", "pivots")
triangular_solve = named("triangular_solve", "solution", "cloned_coefficient")
