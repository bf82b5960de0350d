"""Half precision, integers, bools and complex numbers where functions treat them in ways of their own."""

import math

import pytest

import flambeau as torch

F = torch.nn.functional
INF, NAN = math.inf, math.nan
HALF, BRAIN = torch.float16, torch.bfloat16


def test_rms_norm_of_half_precision_has_the_eps_of_single():
    assert F.rms_norm(torch.tensor([[0.01, 0.02]], dtype=HALF), (2,)).tolist() == [[0.63232421875, 1.2646484375]]


def test_infinities_of_half_precision():
    assert torch.tensor([INF, 1.0], dtype=BRAIN).isposinf().tolist() == [True, False]
    assert torch.tensor([-INF, 1.0], dtype=BRAIN).isneginf().tolist() == [True, False]
    assert torch.nan_to_num(torch.tensor([INF, -INF, NAN], dtype=HALF)).tolist() == [65504.0, -65504.0, 0.0]


def test_a_step_at_nan_is_zero():
    assert torch.heaviside(torch.tensor([NAN, 0.0]), torch.tensor([0.5, 0.5])).tolist() == [0.0, 0.5]


def test_bools_and_integers_keep_their_dtypes():
    x = torch.tensor([True, False])
    assert x.clamp(0.5, 1.0).dtype is torch.float32
    assert torch.add(x, x, alpha=2).dtype is torch.bool
    ints = [torch.tensor(v) for v in ([1, 2], [3, 4], [5, 6])]
    assert torch.addcmul(*ints, value=2.0).tolist() == [31, 50]
    assert torch.linalg.matrix_power(torch.tensor([[1, 1], [1, 0]]), 5).tolist() == [[8, 5], [5, 3]]
    assert torch.matrix_power(torch.eye(2, dtype=BRAIN) * 2, 3).tolist() == [[8.0, 0.0], [0.0, 8.0]]
    assert torch.trapezoid(torch.tensor([100, 100, 100], dtype=torch.int8)).item() == 328.0
    assert F.softmax(torch.zeros(0, 3, dtype=torch.int8), 0).dtype is torch.int8


def test_recurrent_cells_of_complex_numbers():
    w = torch.tensor([[0.5 + 0.5j], [0.1j], [0.2 + 0j], [0.3 - 0.1j]])
    x, z = torch.tensor([[1 + 1j]]), torch.zeros(1, 1, dtype=torch.complex64)
    assert torch.lstm_cell(x, (z, z + 0.5j), w, w)[0].item() == pytest.approx(0.0060919 + 0.2487132j, rel=1e-5)
    assert torch.gru_cell(x, z + 0.5, w[:3], w[:3]).item() == pytest.approx(0.3861772 + 0.1260409j, rel=1e-5)
    assert torch.rnn_tanh_cell(x, z, w[:1], w[:1]).item() == pytest.approx(1.5574077j, rel=1e-5)


def test_an_upper_factor_looks_at_the_upper_triangle():
    a = torch.tensor([[4.0, 1.0], [9.0, 3.0]])
    assert torch.allclose(torch.linalg.cholesky(a, upper=True), torch.tensor([[2.0, 0.5], [0.0, 1.6583124]]))


COMPLEX, INTS, BOOLS = torch.tensor([1 + 1j]), torch.tensor([1, 2]), torch.tensor([True, False])
BYTES = torch.tensor([1, 2], dtype=torch.uint8)
REFUSED = {
    "fmax": lambda: torch.fmax(COMPLEX, COMPLEX),
    "deg2rad": lambda: torch.deg2rad(COMPLEX),
    "isposinf": lambda: COMPLEX.isposinf(),
    "heaviside": lambda: torch.heaviside(COMPLEX, COMPLEX),
    "nanmean": lambda: INTS.nanmean(),
    "nansum": lambda: COMPLEX.nansum(),
    "argmax": lambda: BOOLS.argmax(),
    "topk": lambda: BOOLS.topk(1),
    "vecdot": lambda: torch.linalg.vecdot(INTS, INTS),
    "cov": lambda: BOOLS.cov(),
    "trapezoid": lambda: torch.trapezoid(BOOLS),
    "mvlgamma": lambda: torch.mvlgamma(BOOLS, 1),
    "renorm": lambda: INTS[None].renorm(2, 0, 1.0),
    "gradient": lambda: torch.gradient(BYTES),
    "lstsq": lambda: torch.linalg.lstsq(torch.eye(2, dtype=HALF), torch.eye(2, dtype=HALF)),
    "matrix_rank": lambda: torch.linalg.matrix_rank(torch.eye(2, dtype=HALF)),
    "hardtanh": lambda: F.hardtanh(BYTES),
    "masked.argmax": lambda: torch.masked.argmax(COMPLEX),
    "masked.norm": lambda: torch.masked.norm(INTS, 2.0),
    "lstm_cell": lambda: torch.lstm_cell(INTS[None, :1], (INTS[None, :1],) * 2, *[INTS[:1].expand(4, 1)] * 2),
}


@pytest.mark.parametrize("name", REFUSED)
def test_dtypes_without_a_meaning_are_refused(name):
    with pytest.raises(RuntimeError):
        REFUSED[name]()
