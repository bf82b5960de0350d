"""flambeau against PyTorch's own database of operators (`op_db`): its samples through both, in values and gradients.

What flambeau does not have is skipped; what differs for a reason is listed with it.
"""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")

import flambeau  # noqa: E402

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import op_db

SAMPLES = 6

#: Operators that are not compared, by reason.
APART = {
    "their results are random, or memory that PyTorch leaves uninitialised": (
        "normal multinomial bernoulli rand_like randn randn_like randint randint_like empty empty_like empty_strided "
        "new_empty new_empty_strided nn.functional.dropout nn.functional.dropout2d nn.functional.dropout3d "
        "nn.functional.alpha_dropout nn.functional.feature_alpha_dropout nn.functional.rrelu "
        "nn.functional.fractional_max_pool2d nn.functional.fractional_max_pool3d "
        "nn.functional.multi_head_attention_forward "
        "nn.functional.scaled_dot_product_attention"
    ),
    "signs of their vectors are free": "linalg.eig linalg.eigh linalg.svd svd",
    "PyTorch's own gradient is wrong": "as_strided_scatter",
    "PyTorch's gradient also fills the triangle that is never read": "cholesky_inverse cholesky_solve",
    "their samples need a storage offset that an array of its own has not": "as_strided",
    "their weights are float32 and multiplied in another order": "cov",
    "the database calls them otherwise than programs do": (
        "einsum polygamma special.polygamma where bfloat16 bool double float half int long short byte char "
        "cdouble cfloat "
        "T H mT mH zero_ nn.functional.embedding linalg.pinv"
    ),
    "PyTorch gives more of its results a gradient": (
        "linalg.lstsq linalg.matrix_power linalg.householder_product nextafter quantile nanquantile"
    ),
    "of equal elements PyTorch may name another": "topk kthvalue mode sort argsort",
}
REASONS = {name: reason for reason, names in APART.items() for name in names.split()}


def find(name):
    """flambeau's function of that name, else the method; None where there is neither."""
    found = flambeau
    try:
        for part in name.split("."):
            found = getattr(found, part)
    except AttributeError:
        return getattr(flambeau.Tensor, name, None)
    return found


def convert(x):
    """PyTorch's value as flambeau's; a LookupError for what has no counterpart."""
    if isinstance(x, torch.Tensor):
        if x.layout != torch.strided:
            raise LookupError
        plain = x.detach().resolve_conj().resolve_neg()
        t = flambeau.from_numpy(plain.numpy().copy(order="K"))
        return t.requires_grad_() if x.requires_grad else t
    if isinstance(x, torch.device):
        return flambeau.device(str(x))
    if isinstance(x, (torch.dtype, torch.layout, torch.memory_format)):
        return getattr(flambeau, str(x).removeprefix("torch."))
    if isinstance(x, slice):
        return slice(convert(x.start), convert(x.stop), convert(x.step))
    if type(x) in (list, tuple):
        return type(x)(convert(v) for v in x)
    if isinstance(x, dict):
        return {k: convert(v) for k, v in x.items()}
    if callable(x) and not isinstance(x, type):
        raise LookupError
    return x


def flat(x):
    """The tensors in nested sequences."""
    if isinstance(x, (tuple, list)):
        return [y for v in x for y in flat(v)]
    return [x] if isinstance(x, (torch.Tensor, flambeau.Tensor)) else []


def numbers(t):
    if isinstance(t, torch.Tensor):
        t = torch.zeros(t.shape, dtype=t.dtype) if t._is_zerotensor() else t.detach().resolve_conj().resolve_neg()
        return t.to(torch.complex128 if t.is_complex() else torch.float64).numpy()
    t = t.detach()
    return t.to(flambeau.complex128 if t.is_complex() else flambeau.float64).numpy()


def same(theirs, ours, what):
    assert tuple(ours.shape) == tuple(theirs.shape), (
        f"{what}: shape {tuple(ours.shape)}, PyTorch's {tuple(theirs.shape)}"
    )
    assert str(ours.dtype) == str(theirs.dtype), f"{what}: {ours.dtype}, PyTorch's {theirs.dtype}"
    rtol = 1e-4 if theirs.dtype == torch.float32 else 1e-5
    np.testing.assert_allclose(numbers(ours), numbers(theirs), rtol, 1e-5, err_msg=what)


def compare(op, function, sample, what, grad):
    """One sample through both. Whether there was anything to compare."""
    given = (sample.input, *sample.args)
    try:
        args, kwargs = convert(given), convert(sample.kwargs)
        theirs = op.op(*given, **sample.kwargs)
    except Exception:
        return False
    try:
        ours = function(*args, **kwargs)
    except NotImplementedError:
        if any(t.is_complex() for t in flat([args, list(kwargs.values())])):
            return False  # flambeau says that it has no complex form
        raise
    a, b = flat(theirs), flat(ours)
    assert len(a) == len(b), f"{what}: {len(b)} results, PyTorch has {len(a)}"
    for x, y in zip(a, b, strict=True):
        same(x, y, what)
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if x.requires_grad]
    if grad and pairs:
        gradients(pairs, given, sample.kwargs, args, kwargs, what)
    return True


def gradients(pairs, given, named, args, kwargs, what):
    theirs = [t for t in flat([given, list(named.values())]) if t.requires_grad]
    ours = [t for t in flat([args, list(kwargs.values())]) if t.requires_grad]
    try:
        wanted = torch.autograd.grad(
            [x for x, _ in pairs], theirs, [torch.full_like(x, 0.7) for x, _ in pairs], allow_unused=True
        )
    except (RuntimeError, NotImplementedError):
        return  # PyTorch has no derivative here
    have = flambeau.autograd.grad(
        [y for _, y in pairs], ours, [flambeau.full_like(y.detach(), 0.7) for _, y in pairs], allow_unused=True
    )
    for x, y in zip(wanted, have, strict=True):
        if x is None or y is None:
            left = y if x is None else x
            assert left is None or not numbers(left).any(), f"{what}: gradient {y}, PyTorch's {x}"
        else:
            same(x, y, f"{what}, gradient")


FOUND = [
    op for op in op_db if op.name not in REASONS and not op.name.startswith("masked.") and find(op.name) is not None
]


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.complex128], ids=lambda d: str(d)[6:])
@pytest.mark.parametrize("op", FOUND, ids=lambda op: f"{op.name}-{op.variant_test_name}".rstrip("-"))
def test_samples(op, dtype):
    if dtype not in op.dtypes:
        pytest.skip("not for this dtype")
    grad = dtype == torch.float64 and op.supports_autograd
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        samples = list(op.sample_inputs("cpu", dtype, requires_grad=grad))
        chosen = samples[:: max(1, len(samples) // SAMPLES)]
        for i, sample in enumerate(chosen):
            compare(op, find(op.name), sample, f"{op.name}, sample {i}", grad)


def test_enough_of_the_database_is_covered():
    assert len({op.name for op in FOUND}) > 400
