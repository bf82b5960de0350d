"""Rows of reductions and normalizations under a mask."""

from tests.op_rows.tools import call, row

OPTIONS = {"grad_fn": False, "method": False, "rtol": 1e-8}


def masks(s):
    yield {}
    yield {"mask": s.bools(3, 4) | (s.ints(0, 4, 3, 4) == 0)}
    yield {"mask": s.bools(4)}


def samples(*args, make="real", **kwargs):
    return lambda s: [call(getattr(s, make)(3, 4), *args, **kwargs, **m) for m in masks(s)]


for _name, _make in {"sum": "real", "prod": "nonzero", "mean": "real", "var": "real", "std": "real"}.items():
    row(f"masked.{_name}", samples(make=_make, keepdim=True), ops="sum", orders=0, **OPTIONS)
row("masked.sum dim", samples(1), lambda lib, *a, **k: lib.masked.sum(*a, **k), ops="where sum", **OPTIONS)
row("masked.prod dim", samples(0), lambda lib, *a, **k: lib.masked.prod(*a, **k), ops="where", **OPTIONS)
row(
    "masked.var shown",
    lambda s: [call(s.real(2, 4), 1, mask=(s.ints(0, 2, 2, 4) * 0 + [1, 1, 0, 1]) > 0)],
    lambda lib, *a, **k: lib.masked.var(*a, **k),
    ops="where",
    **OPTIONS,
)
for _name in "amax amin argmax argmin".split():
    row(f"masked.{_name}", samples(1, make="apart"), ops="where", orders=0, dtypes="dfl", **OPTIONS)
for _name in "cumsum cumprod".split():
    row(f"masked.{_name}", samples(1, make="nonzero"), ops="where", dtypes="dfl", **OPTIONS)
row("masked.median", samples(1, make="apart"), ops="where", orders=0, **OPTIONS)
for _ord in (1, 2.0, 3.0, float("inf"), -float("inf"), 0):
    row(f"masked.norm {_ord}", samples(_ord, 1, make="apart"), lambda lib, *a, **k: lib.masked.norm(*a, **k),
        ops="where", orders=0, **OPTIONS)  # fmt: skip
for _name in "softmax log_softmax softmin logsumexp".split():
    row(f"masked.{_name}", samples(1), ops="where", orders=0, **OPTIONS)
row("masked.normalize", samples(2.0, 1), ops="where", **OPTIONS)
row(
    "masked.logaddexp",
    lambda s: [call(s.real(3), s.real(3)), call(s.real(3), s.real(3), input_mask=s.bools(3), other_mask=s.bools(3))],
    ops="logaddexp",
    orders=0,
    **OPTIONS,
)
