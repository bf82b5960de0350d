"""Which dtype comes out: all pairs of dtypes, as tensors, zero-dim tensors and numbers."""

import itertools
import warnings

DTYPES = "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64 complex128".split()
BINARY = "add sub mul div floor_divide remainder pow maximum eq lt bitwise_and atan2 fmod logical_and".split()
SCALARS = [True, 2, 2.5, 1 + 2j]


def _attempt(see, call):
    try:
        result = call()
    except NotImplementedError:
        return "*"  # PyTorch has no kernel for these dtypes; flambeau may have one
    except Exception as error:
        return type(error).__name__
    found = str(result.dtype).removeprefix("torch.")
    return "*" if found == "complex32" else found


def _rows(torch, see, make_other):
    for name in BINARY:
        function = getattr(torch, name)
        row = []
        for a, b in itertools.product(DTYPES, DTYPES):
            x = torch.ones(2, dtype=getattr(torch, a))
            row.append(_attempt(see, lambda: function(x, make_other(torch, b))))
        see([name, row])


def case_tensors(torch, see):
    _rows(torch, see, lambda lib, b: lib.ones(2, dtype=getattr(lib, b)))


def case_with_zero_dim(torch, see):
    _rows(torch, see, lambda lib, b: lib.ones((), dtype=getattr(lib, b)))


def case_numbers(torch, see):
    for name in [n for n in BINARY if n not in ("maximum", "atan2", "logical_and")]:  # which flambeau gives numbers too
        function = getattr(torch, name)
        row = []
        for a, s in itertools.product(DTYPES, SCALARS):
            for shape in ((2,), ()):
                x = torch.ones(shape, dtype=getattr(torch, a))
                row.append(_attempt(see, lambda: function(x, s)))
        see([name, row])


def case_numbers_first(torch, see):
    for text in ("s + x", "s - x", "s * x", "s / x", "s // x", "s % x", "s ** x", "s < x", "s & x"):
        row = []
        for a, s in itertools.product(DTYPES, SCALARS):
            x = torch.ones(2, dtype=getattr(torch, a))
            row.append(_attempt(see, lambda: eval(text, {"s": s, "x": x})))
        see([text, row])


def case_where_and_cat(torch, see):
    rows = []
    c = torch.tensor([True, False])
    for a, b in itertools.product(DTYPES, DTYPES):
        x, y = torch.ones(2, dtype=getattr(torch, a)), torch.ones(2, dtype=getattr(torch, b))
        rows += [
            _attempt(see, lambda: torch.where(c, x, y)),
            _attempt(see, lambda: torch.cat([x, y])),
            _attempt(see, lambda: torch.stack([x, y])),
        ]
    see(rows)
    see(
        [
            _attempt(see, lambda: torch.where(c, torch.ones(2, dtype=getattr(torch, a)), s))
            for a in DTYPES
            for s in SCALARS
        ]
    )
    see(torch.where(c, 1, 2), torch.where(c, 1.0, 2), torch.where(c, 1, torch.tensor([1.5, 2.5])))


def case_in_place(torch, see):
    for name in (
        "add_",
        "mul_",
        "div_",
        "sub_",
        "copy_",
        "pow_",
        "eq_",
    ):
        row = []
        for a, b in itertools.product(DTYPES, DTYPES):
            x, y = torch.ones(2, dtype=getattr(torch, a)), torch.ones(2, dtype=getattr(torch, b))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                row.append(_attempt(see, lambda: getattr(x, name)(y)))
        see([name, row])
    for name in ("add_", "mul_", "div_", "fill_", "pow_", "clamp_"):
        row = []
        for a, s in itertools.product(DTYPES, SCALARS[:3]):
            x = torch.ones(2, dtype=getattr(torch, a))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                row.append(_attempt(see, lambda: getattr(x, name)(s)))
        see([name, row])


def case_unary(torch, see):
    names = (
        "neg abs exp sqrt sin sigmoid tanh floor round sign square reciprocal relu bitwise_not logical_not "
        "isnan cumsum sum mean prod max std log2 erf frac trunc any all var amax median"
    ).split()
    for name in names:
        row = []
        for a in DTYPES:
            x = torch.ones(2, dtype=getattr(torch, a))
            args = (0,) if name == "cumsum" else ()
            row.append(_attempt(see, lambda: getattr(torch, name)(x, *args)))
        see([name, row])


def case_promote_types(torch, see):
    see([str(torch.promote_types(getattr(torch, a), getattr(torch, b))) for a, b in itertools.product(DTYPES, DTYPES)])
    see([torch.can_cast(getattr(torch, a), getattr(torch, b)) for a, b in itertools.product(DTYPES, DTYPES)])
    see(
        torch.result_type(torch.tensor([1]), 1.5),
        torch.result_type(torch.tensor([1.0]), torch.tensor(1.0, dtype=torch.float64)),
        torch.result_type(1, 2.0),
    )


def case_matmul_needs_equal_dtypes(torch, see):
    row = []
    for a, b in itertools.product(DTYPES, DTYPES):
        x, y = torch.ones(2, 2, dtype=getattr(torch, a)), torch.ones(2, 2, dtype=getattr(torch, b))
        row.append(_attempt(see, lambda: x @ y))
    see(row)


def case_low_precision_values(torch, see):
    for d in (torch.float16, torch.bfloat16):
        x = torch.tensor([0.1, 1.0, 3.3, 1000.7], dtype=d)
        see(
            x,
            x + 0.1,
            x * x,
            x / 3,
            x.exp(),
            x.sum(),
            x.mean(),
            x.sqrt(),
            x.float(),
            x - x.float(),
            x @ x,
            x.softmax(0),
            x.cumsum(0),
            x**2,
            x.norm(),
            x.std(),
        )
        see(
            x > 0.5,
            x.max(),
            x.tolist(),
            x.int(),
            (x * 1000000),
            x.half(),
            x.bfloat16(),
            x.double(),
            -x,
            x.abs(),
            x.sigmoid(),
            x.tanh(),
        )


def case_integer_arithmetic(torch, see):
    a, b = torch.tensor([7, -7, 8, -8]), torch.tensor([2, 2, -3, -3])
    see(
        a // b,
        a % b,
        a / b,
        torch.fmod(a, b),
        torch.div(a, b, rounding_mode="trunc"),
        torch.div(a, b, rounding_mode="floor"),
        a**2,
        a << 1,
        a >> 1,
        a & b,
        a | b,
        a ^ b,
        ~a,
    )
    u = torch.tensor([250, 5], dtype=torch.uint8)
    see(u + 10, u * 2, u - 6, -u, u // 3, u.sum(), u / 2, u.float() - 300)
    i8 = torch.tensor([127, -128], dtype=torch.int8)
    see(i8 + 1, i8 * 2, i8.abs(), -i8)
    see.error(lambda: a // 0)
    see.error(lambda: a % 0)
    see.error(lambda: a**-1)
    see.error(lambda: torch.tensor([True]) - torch.tensor([True]))
    see.error(lambda: -torch.tensor([True]))
    see.error(lambda: ~torch.tensor([1.5]))
    see.error(lambda: torch.tensor([1.5]) & 1)
    t = torch.tensor([True, False])
    see(
        t + t,
        t * t,
        t + 1,
        t & True,
        t | t,
        ~t,
        t.sum(),
        t.float().mean(),
        t ^ t,
        t / 2,
        t > 0,
        t.int() - 1,
        t.any(),
        t.all(),
    )
