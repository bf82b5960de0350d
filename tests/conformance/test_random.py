"""The generator, the random functions, dropout and nn.init against live PyTorch: same seed, same bits, same state."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402

SIZES = (0, 1, 2, 15, 16, 17, 31, 32, 33, 100, 1000, 100003)
FLOATS = ("float32", "float64", "float16", "bfloat16")
INTS = ("int64", "int32", "int16", "int8", "uint8", "bool")


def same(ours, theirs, label=""):
    """The same dtype, shape and bits, NaNs alike."""
    assert str(ours.dtype) == str(theirs.dtype), label
    assert tuple(ours.shape) == tuple(theirs.shape), label
    a = ours.detach().double().numpy() if theirs.is_floating_point() else ours.numpy()
    b = theirs.detach().double().numpy() if theirs.is_floating_point() else theirs.numpy()
    np.testing.assert_array_equal(a, b, err_msg=label)


def in_step(label=""):
    assert np.array_equal(flambeau.get_rng_state().numpy(), torch.get_rng_state().numpy()), (
        f"states differ after {label}"
    )


def both(expression, seed=None, **names):
    """Evaluate under both, compare results and the states after."""
    if seed is not None:
        flambeau.manual_seed(seed)
        torch.manual_seed(seed)
    ours = eval(expression, {"torch": flambeau, **names})
    theirs = eval(expression, {"torch": torch, **names})
    same(ours, theirs, expression)
    in_step(expression)
    return ours, theirs


@pytest.fixture(autouse=True)
def seeded():
    flambeau.manual_seed(11)
    torch.manual_seed(11)


CONTINUOUS = [
    "torch.rand({n}, dtype=torch.{d})",
    "torch.randn({n}, dtype=torch.{d})",
    "torch.empty({n}, dtype=torch.{d}).uniform_(-0.3, 0.9)",
    "torch.empty({n}, dtype=torch.{d}).uniform_(1e-3, 1e3)",
    "torch.empty({n}, dtype=torch.{d}).uniform_(2, 2.5)",
    "torch.empty({n}, dtype=torch.{d}).normal_(0.5, 2.3)",
    "torch.empty({n}, 2, dtype=torch.{d})[:, 0].normal_(0.5, 2.3)",
    "torch.empty({n}, dtype=torch.{d}).exponential_(1.3)",
    "torch.empty({n}, dtype=torch.{d}).cauchy_(0.2, 1.3)",
    "torch.empty({n}, dtype=torch.{d}).geometric_(0.3)",
    "torch.empty({n}, dtype=torch.{d}).log_normal_(0.3, 1.7)",
    "torch.bernoulli(torch.rand({n}, dtype=torch.{d}))",
    "torch.normal(torch.rand({n}, dtype=torch.{d}), 1.5)",
    "torch.normal(2.5, torch.rand({n}, dtype=torch.{d}))",
    "torch.normal(torch.rand({n}, dtype=torch.{d}), torch.rand({n}, dtype=torch.{d}))",
]


@pytest.mark.parametrize("d", FLOATS)
@pytest.mark.parametrize("n", SIZES)
def test_continuous(n, d):
    """One after another without seeding again, so that each starts where the one before left off."""
    for expression in CONTINUOUS:
        both(expression.format(n=n, d=d))


@pytest.mark.filterwarnings("ignore")  # both say that float32 can't tell such large integers apart
@pytest.mark.parametrize("d", FLOATS + INTS)
@pytest.mark.parametrize("n", SIZES)
def test_whole_numbers(n, d):
    both(f"torch.empty({n}, dtype=torch.{d}).random_()")
    both(f"torch.empty({n}, dtype=torch.{d}).bernoulli_(0.3)")
    both(f"torch.empty({n}, dtype=torch.{d}).bernoulli_(torch.rand({n}))")
    both(f"torch.randint(2, ({n},), dtype=torch.{d})")
    if d != "bool":
        both(f"torch.randint(3, 100, ({n},), dtype=torch.{d})")
        both(f"torch.empty({n}, dtype=torch.{d}).geometric_(0.4)")
    if d in ("int64", "int32", "float32", "float64"):
        both(f"torch.randint(0, 2**28 - 1, ({n},), dtype=torch.{d})")
        both(f"torch.randint(-5, 2**28 - 5, ({n},), dtype=torch.{d})")
    if d in ("int64", "float64", "float32", "bfloat16"):
        both(f"torch.empty({n}, dtype=torch.{d}).random_(-2**63, None)")
    both(f"torch.empty({n}, dtype=torch.{d}).random_(1, None)")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("expression", [
    "torch.empty(50, dtype=torch.half).random_(0, 65504)",
    "torch.empty(50, dtype=torch.bfloat16).random_(-1001, 1001)",
    "torch.empty(50).random_(-2**30 - 1, 2**30 + 1)",
    "torch.empty(50).random_(2**24 + 1, 2**25 + 3)",
])  # fmt: skip
def test_bounds_that_the_dtype_rounds(expression):
    both(expression)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 10, 255, 256, 257, 1000, 100003])
def test_randperm(n):
    both(f"torch.randperm({n})")
    if n < 2000:
        both(f"torch.randperm({n}, dtype=torch.int32)")
        both(f"torch.randperm({n}, dtype=torch.float32)")


@pytest.mark.parametrize("d", FLOATS)
def test_multinomial(d):
    for weights in (f"torch.rand(30, dtype=torch.{d})", f"torch.rand(4, 25, dtype=torch.{d})"):
        for samples, replacement in ((1, False), (1, True), (20, False), (20, True), (500, True)):
            if samples == 20 and not replacement and d in ("float16", "bfloat16"):
                continue  # equal scores, which these types often have, come in the order of PyTorch's partial sort
            both(f"torch.multinomial({weights} + 0.01, {samples}, {replacement})")


@pytest.mark.parametrize("d", ["float32", "float64"])
def test_poisson_and_binomial(d):
    for n in (0, 1, 17, 500):
        both(f"torch.poisson(torch.empty({n}, dtype=torch.{d}).uniform_(0, 40))")
        both(f"torch.binomial(torch.empty({n}, dtype=torch.{d}).random_(0, 200), torch.rand({n}, dtype=torch.{d}))")


@pytest.mark.parametrize(
    "fill", ["uniform_()", "normal_()", "exponential_()", "random_()", "bernoulli_(0.4)", "cauchy_()"]
)
def test_memory_order(fill):
    for tensor in (
        "torch.zeros(7, 5).t()",
        "torch.zeros(3, 4, 5).permute(1, 2, 0)",
        "torch.zeros(6, 8)[::2, 1::3]",
        "torch.zeros(6, 8).t()[::2, 1::3]",
        "torch.zeros(4, 1, 6).transpose(0, 1)",
        "torch.zeros(2, 3, 4, 5).permute(0, 3, 1, 2)",
        "torch.zeros(20, 20).t()",
    ):
        both(f"{tensor}.{fill}")
    both("torch.zeros(5, 4).t().bernoulli_(torch.rand(4, 5))")
    both("torch.bernoulli(torch.rand(4, 5).t())")


@pytest.mark.parametrize("expression", [
    "torch.randn_like(torch.ones(7, 5).t())",
    "torch.rand_like(torch.ones(3, 7, 5).permute(1, 2, 0))",
    "torch.randint_like(torch.ones(7, 5).t(), 3, 90)",
    "torch.rand_like(torch.ones(4, 6)[:, ::2])",
    "torch.randn_like(torch.ones(5), dtype=torch.float64)",
    "torch.rand(3, 5, dtype=torch.complex64)",
    "torch.randn(3, 7, dtype=torch.complex64)",
    "torch.randn(3, 7, dtype=torch.complex128)",
    "torch.empty(4, 3, dtype=torch.complex64).t().normal_(0.5, 2)",
    "torch.normal(1.0, 2.0, (3, 40))",
    "torch.normal(torch.ones(3, 1), torch.ones(4))",
    "torch.rand(size=(2, 3))",
    "torch.randint(high=9, size=(4,))",
    "torch.randint(low=3, high=9, size=(4,))",
    "torch.rand(3, 2, out=torch.empty(3, 2))",
    "torch.randn(torch.Size([2, 9]))",
    "torch.rand([])",
])  # fmt: skip
def test_factories(expression):
    ours, theirs = both(expression)
    assert ours.stride() == theirs.stride()


def test_states_interchange():
    torch.manual_seed(7)
    for draw in ("torch.randn(3)", "torch.rand(700)", "torch.randn(33)", "torch.rand(624)", "torch.randperm(1000)"):
        eval(draw, {"torch": torch})
        flambeau.set_rng_state(torch.get_rng_state())
        both("torch.randn(5)")
        torch.set_rng_state(torch.from_numpy(flambeau.get_rng_state().numpy()))
        both("torch.rand(30)")
    for seed in (0, -1, 2**64 - 1, 12345678901234):
        both("torch.rand(2)", seed=seed)
        assert torch.initial_seed() == flambeau.initial_seed()


def test_own_generators():
    ours, theirs = flambeau.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    for draw in (
        "rand(5, generator=g)",
        "randn(40, generator=g)",
        "randperm(9, generator=g)",
        "empty(4).normal_(generator=g)",
    ):
        same(
            eval("flambeau." + draw, {"flambeau": flambeau, "g": ours}),
            eval("torch." + draw, {"torch": torch, "g": theirs}),
        )
    assert np.array_equal(ours.get_state().numpy(), theirs.get_state().numpy())


DROPOUTS = [
    ("dropout", (50,)),
    ("dropout", (3, 4, 100)),
    ("dropout1d", (3, 4, 5)),
    ("dropout1d", (4, 5)),
    ("dropout2d", (3, 4, 5, 2)),
    ("dropout2d", (3, 4, 5)),
    ("dropout3d", (3, 4, 5, 2, 2)),
    ("dropout3d", (4, 5, 2, 2)),
    ("alpha_dropout", (3, 40)),
    ("feature_alpha_dropout", (3, 4, 5)),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("d", FLOATS)
@pytest.mark.parametrize(("name", "shape"), DROPOUTS)
def test_dropout(name, shape, d):
    for p in (0.0, 0.3, 0.5, 1.0):
        data = np.random.default_rng(0).standard_normal(shape)
        results = []
        for lib in (flambeau, torch):
            x = lib.tensor(data.tolist(), dtype=getattr(lib, d), requires_grad=True)
            y = getattr(lib.nn.functional, name)(x, p, True)
            (y * y).sum().backward()
            results.append((y, x.grad))
            assert getattr(lib.nn.functional, name)(x, p, False) is x or name == "dropout1d" or name == "dropout3d"
        same(results[0][0], results[1][0], f"{name} {p}")
        same(results[0][1], results[1][1], f"{name} {p} gradient")
        if p < 1 and len(shape) != {"dropout1d": 2, "dropout3d": 4}.get(name):
            assert results[0][0].grad_fn is None or results[0][0].grad_fn.name() == results[1][0].grad_fn.name()
        in_step(name)
        both(f"torch.nn.functional.{name}(torch.rand{shape}.to(torch.{d}), {p}, True, inplace=True)")


def test_dropout_follows_memory():
    both("torch.nn.functional.dropout(torch.rand(6, 7).t(), 0.4)")
    both("torch.nn.functional.dropout(torch.rand(2, 3, 4).permute(2, 0, 1), 0.4)")
    both("torch.dropout(torch.rand(20), 0.4, True)")
    both("torch.native_dropout(torch.rand(20), 0.4, True)[0]")


@pytest.mark.parametrize("d", FLOATS)
@pytest.mark.parametrize("expression", [
    "uniform_({t}, -0.2, 0.3)",
    "normal_({t}, 0.1, 0.2)",
    "constant_({t}, 0.7)",
    "ones_({t})",
    "zeros_({t})",
    "xavier_uniform_({t})",
    "xavier_uniform_({t}, gain=1.7)",
    "xavier_normal_({t})",
    "kaiming_uniform_({t}, a=5**0.5)",
    "kaiming_uniform_({t}, mode='fan_out', nonlinearity='relu')",
    "kaiming_normal_({t}, nonlinearity='tanh')",
])  # fmt: skip
def test_init(expression, d):
    for shape in ("3, 5", "8, 16", "4, 3, 5", "40, 20, 3, 3"):
        both("torch.nn.init." + expression.format(t=f"torch.empty({shape}, dtype=torch.{d})"))
    both("torch.nn.init." + expression.format(t=f"torch.empty(6, 9, dtype=torch.{d}).t()"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "bounds", ["", ", 0.0, 0.02", ", 0.5, 1.0, -1.0, 3.0", ", 0, 1, -0.1, 0.1", ", 0, 1, 2, 3", ", 3.0, 0.5, 0.0, 1.0"]
)
def test_trunc_normal(bounds):
    for shape in ("5", "30, 40"):
        both(f"torch.nn.init.trunc_normal_(torch.empty({shape}){bounds})")
        both(f"torch.nn.init.trunc_normal_(torch.empty({shape}, dtype=torch.float64){bounds})")


@pytest.mark.parametrize("expression", [
    "eye_(torch.empty(3, 5))",
    "eye_(torch.empty(5, 3))",
    "dirac_(torch.empty(6, 4, 3))",
    "dirac_(torch.empty(6, 4, 3, 2), 2)",
    "dirac_(torch.empty(6, 4, 3, 3, 5), 3)",
    "sparse_(torch.empty(30, 7), 0.35)",
])  # fmt: skip
def test_init_patterns(expression):
    both("torch.nn.init." + expression)


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (6, 3, 4), (20, 20)])
def test_orthogonal(shape):
    ours = flambeau.nn.init.orthogonal_(flambeau.empty(*shape), gain=1.5)
    theirs = torch.nn.init.orthogonal_(torch.empty(*shape), gain=1.5)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=2e-6)
    in_step("orthogonal_")


def test_init_with_generator():
    for call in (
        "uniform_(t, generator=g)",
        "kaiming_normal_(t, generator=g)",
        "trunc_normal_(t, generator=g)",
        "sparse_(t, 0.5, generator=g)",
    ):
        results = []
        for lib in (flambeau, torch):
            results.append(
                eval("i." + call, {"i": lib.nn.init, "t": lib.empty(9, 4), "g": lib.Generator().manual_seed(2)})
            )
        same(*results, call)


@pytest.mark.parametrize("name", ["linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"])
def test_gain(name):
    assert flambeau.nn.init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    assert flambeau.nn.init.calculate_gain("leaky_relu", 0.3) == torch.nn.init.calculate_gain("leaky_relu", 0.3)


def test_gradients_of_draws_are_zero():
    for expression in (
        "torch.bernoulli(x)",
        "torch.poisson(x)",
        "torch.normal(x, 1.0)",
        "torch.normal(0.0, x)",
        "(x * 1).exponential_()",
    ):
        for lib in (flambeau, torch):
            x = lib.full((4,), 0.5, requires_grad=True)
            y = eval(expression, {"torch": lib, "x": x})
            assert y.requires_grad
            y.sum().backward()
            assert x.grad is None or not x.grad.any()


@pytest.mark.filterwarnings("ignore")
def test_errors():
    from tests.test_random import REFUSED

    for expression, error in REFUSED:
        with pytest.raises(error):
            eval(expression, {"torch": torch})


LAYERS = [
    "Linear(7, 5)",
    "Linear(100, 300, bias=False)",
    "Bilinear(3, 4, 5)",
    "Embedding(10, 6, padding_idx=2)",
    "EmbeddingBag(10, 6)",
    "Conv1d(3, 4, 5)",
    "Conv2d(4, 8, 3, groups=2)",
    "Conv3d(2, 3, 2)",
    "ConvTranspose1d(3, 4, 5)",
    "ConvTranspose2d(4, 8, 3)",
    "ConvTranspose3d(2, 3, 2)",
    "LSTM(6, 9, 2, bidirectional=True)",
    "LSTM(6, 9, proj_size=3)",
    "GRU(6, 9, 2)",
    "RNN(6, 9)",
    "LSTMCell(4, 5)",
    "GRUCell(4, 5)",
    "RNNCell(4, 5)",
    "MultiheadAttention(16, 4)",
    "MultiheadAttention(16, 4, kdim=8, vdim=6)",
    "TransformerEncoderLayer(16, 4, 32)",
    "TransformerDecoderLayer(16, 4, 32)",
    "BatchNorm2d(5)",
    "LayerNorm(7)",
    "GroupNorm(2, 4)",
    "PReLU()",
]


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_start_with_the_same_weights(layer):
    ours = eval("nn." + layer, {"nn": flambeau.nn}).state_dict()
    theirs = eval("nn." + layer, {"nn": torch.nn}).state_dict()
    assert list(ours) == list(theirs)
    for name, value in theirs.items():
        same(ours[name], value, name)
    in_step(layer)
