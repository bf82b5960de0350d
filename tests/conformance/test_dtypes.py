"""Every row of the op table in the dtypes that it is not usually run in, at ordinary values and at edges: result
dtypes, values, first derivatives, and what is refused.

PyTorch does not always agree with itself there: it rounds intermediate results of half precision in some kernels and
not in others, and treats NaN differently in vectors and in what is left over. So flambeau may also give what PyTorch
gives in single precision, rounded once, be nearer to that than PyTorch is, or give what PyTorch gives in vectors.
"""

import itertools
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402
from tests.conformance import dtypes_apart as apart  # noqa: E402
from tests.op_rows.tools import D, Fixed, flat  # noqa: E402
from tests.op_table import ROWS  # noqa: E402

DTYPES = "float16 bfloat16 int8 int16 int32 int64 uint8 bool complex64 complex128".split()
DIFFERENTIATED = {"float16", "bfloat16", "complex64", "complex128"}
#: Calls of a row that are tried, of ordinary operands and of edges.
MOST = 3
#: Relative tolerance, and of what is near zero against the largest number.
TOLERANCE = {"float16": 4e-3, "bfloat16": 3e-2, "float32": 2e-5, "complex64": 2e-5, "float64": 1e-7, "complex128": 1e-7}
INF, NAN = np.inf, np.nan
#: In what results are computed to see whose is the nearer one.
SINGLE = {"float16": "float32", "bfloat16": "float32", "complex64": "complex128"}
#: Operands side by side that fill PyTorch's vectors.
COPIES = 64
EDGES = {
    "float16": (0.0, -0.0, 1.0, -1.0, INF, -INF, NAN, 6e-8, 65504.0, 0.5, -2.0),
    "bfloat16": (0.0, -0.0, 1.0, -1.0, INF, -INF, NAN, 1e-40, 3e38, 0.5, -2.0),
    "complex64": (0, 1, -1, 1j, -1j, 1 + 1j, -2 + 0.5j, complex(INF, 0), complex(NAN, 0), 0.5),
    "complex128": (0, 1, -1, 1j, -1j, 1 + 1j, -2 + 0.5j, complex(INF, 0), complex(NAN, 0), 0.5),
    "uint8": (0, 1, 255, 2, 128, 3),
    "bool": (True, False, False, True, True),
}


def edges(dtype):
    """Numbers that a dtype ends or bends at."""
    if dtype in EDGES:
        return EDGES[dtype]
    limits = np.iinfo(dtype)
    return (0, 1, -1, limits.max, limits.min, 2, -2, 3)


def made(value, lib, dtype, numbers):
    """A sample's operand as a tensor of `lib`; with `numbers`, an iterator, made of these."""
    if isinstance(value, Fixed):
        return made(value.array, lib, dtype, numbers)
    if isinstance(value, D):
        found = lib
        for part in value.name.split("."):
            found = getattr(found, part)
        return found
    if isinstance(value, np.ndarray):
        return tensor(value, lib, dtype, numbers)
    if type(value) in (list, tuple):
        return type(value)([made(v, lib, dtype, numbers) for v in value])
    if isinstance(value, dict):
        return {k: made(v, lib, dtype, numbers) for k, v in value.items()}
    return value


def tensor(array, lib, dtype, numbers):
    """Floating-point operands in `dtype`; others, which are indices and masks, as they are."""
    if array.dtype.kind not in "fc":
        return lib.from_numpy(np.array(array))
    if numbers is not None:
        line = list(itertools.islice(numbers, array.size))
        wide = np.complex128 if dtype.startswith("complex") else object if dtype.startswith("int") else np.float64
        array = np.array(line, wide).reshape(array.shape)
    elif dtype.startswith("complex") and array.dtype.kind == "f":
        array = array + 0.5j * np.roll(array, 1)
    elif "int" in dtype:
        array = np.rint(array.real * 3)
        array = np.abs(array) if dtype == "uint8" else array
    elif dtype == "bool":
        array = array.real > 0.5
    if dtype in ("float16", "bfloat16"):
        return lib.from_numpy(np.asarray(array.real, np.float64)).to(getattr(lib, dtype))
    return lib.from_numpy(np.asarray(array).astype(dtype))


def operands(row, sample, lib, dtype, at_edge, how=None):
    """The arguments of a call, and those among them that have derivatives."""
    numbers = itertools.cycle(edges(dtype)) if at_edge else None
    args, kwargs = made(sample.args, lib, dtype, numbers), made(sample.kwargs, lib, dtype, numbers)
    if how is not None:
        args, kwargs = changed(args, how), changed(kwargs, how)
    leaves = [t for t in flat([args, list(kwargs.values())]) if isinstance(t, lib.Tensor)]
    return args, kwargs, [t for t in leaves if t.dtype.is_floating_point or t.dtype.is_complex]


def changed(value, how):
    """A structure, with `how` done to its floating-point tensors."""
    if isinstance(value, torch.Tensor):
        return how(value) if value.is_floating_point() or value.is_complex() else value
    if type(value) in (list, tuple):
        return type(value)([changed(v, how) for v in value])
    return {k: changed(v, how) for k, v in value.items()} if isinstance(value, dict) else value


def answer(row, lib, args, kwargs, leaves, grad, copies=False):
    """All results of a call and first derivatives (None without), or exceptions instead; of `copies` the first ones."""
    first = (lambda t: t[0] if isinstance(t, lib.Tensor) else t) if copies else lambda t: t
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        flambeau.manual_seed(0)
        for t in leaves if grad else ():
            t.requires_grad_()
        try:
            results = flat(row.function(lib)(*args, **kwargs))
            shown = [first(t) for t in results]
        except Exception as error:
            return error, None
        outs = [t for t in results if isinstance(t, lib.Tensor) and t.requires_grad]
        if not outs:
            return shown, None
        rng = np.random.default_rng(7)
        noise = [np.asarray(rng.uniform(0.5, 1, tuple(first(t).shape))) for t in outs]
        gs = [lib.from_numpy(n).to(t.dtype).expand(t.shape).contiguous() for n, t in zip(noise, outs, strict=True)]
        try:
            return shown, [first(g) for g in lib.autograd.grad(outs, leaves, gs, allow_unused=True)]
        except Exception as error:
            return shown, error


def plain(t):
    """A tensor's values as an array of the widest type of its kind."""
    lib = torch if isinstance(t, torch.Tensor) else flambeau
    t = t.detach()
    if lib is torch:
        t = t.resolve_conj().resolve_neg()
    wide = "complex128" if t.is_complex() else "float64" if t.is_floating_point() else "int64"
    return np.asarray(t.to(getattr(lib, wide)).clone().numpy())


def name_of(t):
    """The name of a tensor's dtype."""
    return str(t.dtype).rsplit(".", 1)[-1]


def same(theirs, ours, places=True, exact=None):
    """What differs between two values, or None; one that is as near to an `exact` one as PyTorch's does not differ."""
    if not isinstance(theirs, torch.Tensor):
        return None if type(ours).__name__ == type(theirs).__name__ else f"{ours!r}, PyTorch's {theirs!r}"
    if not isinstance(ours, flambeau.Tensor):
        return f"a {type(ours).__name__}"
    if name_of(ours) != name_of(theirs):
        return f"{ours.dtype}, PyTorch's {theirs.dtype}"
    if tuple(ours.shape) != tuple(theirs.shape):
        return f"shape {tuple(ours.shape)}, PyTorch's {tuple(theirs.shape)}"
    a, b = plain(ours), plain(theirs)
    good = (a == b) | (not places) if name_of(theirs) not in TOLERANCE else close(a, b, TOLERANCE[name_of(theirs)])
    if np.all(good):
        return None
    if isinstance(exact, torch.Tensor) and exact.shape == theirs.shape and name_of(theirs) in TOLERANCE:
        e = plain(exact.to(theirs.dtype))
        if np.array_equal(np.isfinite(a), np.isfinite(e)) and error(a, e) <= error(b, e) + TOLERANCE[name_of(theirs)]:
            return None
    at = tuple(np.argwhere(~good)[0])
    return f"{a[at]} at {list(map(int, at))}, PyTorch's {b[at]}"


def close(a, b, tolerance):
    """Where two arrays agree, relative to each number or to the largest."""
    scale = max(1.0, np.abs(b[np.isfinite(b)]).max(initial=0.0))
    with np.errstate(all="ignore"):
        good = np.isclose(a, b, tolerance, 0.1 * tolerance * scale, True)
        if a.dtype.kind == "c":
            parts = ((a.real, b.real), (a.imag, b.imag))
            good |= np.logical_and(*(np.isclose(x, y, tolerance, 0.1 * tolerance * scale, True) for x, y in parts))
            good |= ~np.isfinite(a) & ~np.isfinite(b)  # compilers differ in products of infinities
    return good


def error(a, exact):
    """The largest error where both are finite, relative to the largest number."""
    finite = np.isfinite(exact) & np.isfinite(a)
    scale = np.abs(exact[finite]).max(initial=0.0) or 1.0
    return np.abs(a[finite] - exact[finite]).max(initial=0.0) / scale


def compared(row, theirs, ours, exact=None):
    """What differs between two answers, or None."""
    (a, slopes), (b, have) = theirs, ours
    if isinstance(a, Exception):
        if type(a).__name__.lstrip("_") in {kind.__name__.lstrip("_") for kind in type(b).__mro__[:-3]}:
            return None  # the same class, or one that whoever expects PyTorch's catches
        return f"{b!r}, PyTorch refuses with {a!r}"[:300]
    if isinstance(b, Exception):
        return f"{b!r}, PyTorch accepts it"[:300]
    if len(a) != len(b):
        return f"{len(b)} results, PyTorch has {len(a)}"
    for i, (x, y) in enumerate(zip(a, b, strict=True)):
        if found := same(x, y, row.places, exact and exact[0][i]):
            return f"result {i}: {found}"
    if slopes is None or isinstance(slopes, Exception) or have is None or isinstance(have, Exception):
        return None if slopes is None or isinstance(slopes, Exception) else f"no gradients: {have!r}"[:300]
    for i, (x, y) in enumerate(zip(slopes, have, strict=True)):
        if x is None or y is None:
            left = y if x is None else x
            if left is not None and np.any(plain(left)):
                return f"gradient {i}: {y}, PyTorch's {x}"[:200]
        elif found := same(x, y, True, exact and exact[1] and exact[1][i]):
            return f"gradient {i}: {found}"
    return None


def others(row, sample, dtype, at_edge, grad, theirs):
    """PyTorch's other answers: in vectors, and in single precision where that is the wider one; with what is exact."""
    copied = operands(row, sample, torch, dtype, at_edge, lambda t: t.expand(COPIES, *t.shape).contiguous())
    if at_edge and len({t.shape for t in copied[2]}) == 1:
        yield answer(row, torch, *copied, grad, True), None
    if dtype in SINGLE:
        wide = getattr(torch, SINGLE[dtype])
        exact = answer(row, torch, *operands(row, sample, torch, dtype, at_edge, lambda t: t.to(wide)), grad)
        if isinstance(exact[0], Exception) or isinstance(exact[1], Exception) or len(exact[0]) != len(theirs[0]):
            return
        yield rounded(exact, theirs), None
        yield theirs, exact


def rounded(exact, like):
    """An answer in the dtypes of another one."""

    def cast(x, y):
        return x.to(y.dtype) if isinstance(x, torch.Tensor) and isinstance(y, torch.Tensor) else x

    results = [cast(x, y) for x, y in zip(exact[0], like[0], strict=True)]
    if not isinstance(exact[1], list) or not isinstance(like[1], list):
        return results, None
    return results, [cast(x, y) for x, y in zip(exact[1], like[1], strict=True)]


def differences(row, dtype):
    """All that differs in a row, in words."""
    grad = row.orders > 0 and dtype in DIFFERENTIATED
    for i, sample in enumerate(row.calls()[: 2 * MOST]):
        bounded = "polynomial" not in row.name  # the time that those take grows with their degree
        for at_edge in (False, True)[: 2 if i < MOST and bounded else 1]:
            if (row.name, dtype) in (apart.EDGES if at_edge else apart.CALLS):
                continue
            theirs = answer(row, torch, *operands(row, sample, torch, dtype, at_edge), grad)
            if isinstance(theirs[0], NotImplementedError):
                continue  # PyTorch lacks this dtype; flambeau may have it
            ours = answer(row, flambeau, *operands(row, sample, flambeau, dtype, at_edge), grad)
            found = compared(row, theirs, ours)
            if found is None or (isinstance(theirs[0], Exception) and row.name in apart.WIDER):
                continue
            if not isinstance(theirs[0], Exception) and not isinstance(ours[0], Exception):
                if any(compared(row, a, ours, e) is None for a, e in others(row, sample, dtype, at_edge, grad, theirs)):
                    continue
            yield f"{'edges' if at_edge else 'call'} {i}: {found}"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row(row):
    found = [f"{dtype}, {line}" for dtype in DTYPES for line in differences(row, dtype)]
    assert not found, "\n".join(found)
