"""Derivatives where functions bend, jump or are infinite: at zeros, ties, infinities, NaN and subnormal numbers."""

import math

import pytest

import flambeau as torch
from flambeau import nn

F = nn.functional
INF, NAN = math.inf, math.nan


def slopes(function, numbers, weights=None, dtype=torch.float64):
    """The gradient of the results' sum (or of `weights` times the results) at these numbers."""
    x = torch.tensor(numbers, dtype=dtype, requires_grad=True)
    y = function(x)
    g = torch.ones_like(y) if weights is None else torch.tensor(weights, dtype=dtype)
    return torch.autograd.grad(y, x, g)[0].tolist()


def same(found, wanted):
    assert torch.allclose(torch.tensor(found), torch.tensor(wanted), equal_nan=True), (found, wanted)


CASES = {
    "prod of one zero": (lambda x: x.prod(), [2.0, 0.0, 3.0], [0.0, 6.0, 0.0]),
    "prod of two zeros and NaN": (lambda x: x.prod(), [NAN, 0.0, 0.0], [0.0, 0.0, 0.0]),
    "prod of an infinity": (lambda x: x.prod(), [INF, 2.0, 1.0], [NAN, INF, INF]),
    "cumprod after a zero": (lambda x: x.cumprod(0), [2.0, 3.0, 0.0, 4.0], [4.0, 2.0, 30.0, 0.0]),
    "cumprod with NaN after a zero": (lambda x: x.cumprod(0), [1.0, 0.0, NAN, 2.0], [1.0, NAN, 0.0, 0.0]),
    "nanmean of NaN": (lambda x: x.nanmean(), [NAN, NAN], [NAN, NAN]),
    "elu at its ends": (F.elu, [0.0, 1.0, -INF], [1.0, 1.0, 0.0]),
    "logit at its ends": (torch.logit, [0.0, 1.0, 2.0], [INF, INF, NAN]),
    "log_ndtr far down": (torch.special.log_ndtr, [-INF, INF], [NAN, 0.0]),
    "digamma far down": (torch.digamma, [-INF, INF], [NAN, 0.0]),
    "a norm of one subnormal number": (lambda x: torch.linalg.vector_norm(x, 1.5), [5e-324], [1.0]),
    "norm of order 0": (lambda x: F.normalize(x, 0.0, 0), [NAN, 2.0, 0.0], [0.5, 0.5, 0.5]),
    "pdist ties are not shared": (lambda x: F.pdist(x, INF), [[2.0, 2.0], [0.0, 0.0]], [[1.0, 1.0], [-1.0, -1.0]]),
    "norm ties are shared": (lambda x: x.norm(INF), [2.0, -2.0], [0.5, -0.5]),
    "renorm of NaN": (lambda x: x.renorm(2, 0, 1.0), [[NAN, 1.0], [0.5, 0.5]], [[1.0, 1.0], [1.0, 1.0]]),
    "ldexp of an infinite power": (lambda x: torch.ldexp(torch.tensor(1.0), x), [0.0, INF], [math.log(2), INF]),
}


@pytest.mark.parametrize("name", CASES)
def test_first_derivatives(name):
    function, numbers, wanted = CASES[name]
    same(slopes(function, numbers), wanted)


def test_a_standard_deviation_of_subnormal_numbers_is_not_zero():
    x = torch.tensor([1e-45, 0.0, 0.0], requires_grad=True)
    assert x.std() > 0
    same(slopes(lambda x: x.std(), [1.0, 1.0, 1.0]), [0.0, 0.0, 0.0])


@pytest.mark.parametrize("how", ["amax", "amin"])
def test_scatter_reduce_counts_the_element_that_takes_no_part(how):
    """As PyTorch does: it equals the result, so it has a share, which nobody gets."""
    base, src = torch.tensor([1.0], requires_grad=True), torch.tensor([1.0], requires_grad=True)
    y = base.scatter_reduce(0, torch.tensor([0]), src, how, include_self=False)
    assert [t.item() for t in torch.autograd.grad(y.sum(), (base, src))] == [0.0, 0.5]


def test_products_with_two_zeros_have_second_derivatives():
    base = torch.tensor([0.0], dtype=torch.float64, requires_grad=True)
    src = torch.tensor([0.0, 3.0], dtype=torch.float64, requires_grad=True)
    y = base.scatter_reduce(0, torch.tensor([0, 0]), src, "prod")
    (first,) = torch.autograd.grad(y.sum(), base, create_graph=True)
    assert torch.autograd.grad(first.sum(), src)[0].tolist() == [3.0, 0.0]


def test_second_derivatives_of_running_products():
    x = torch.tensor([1.0, 0.0, 2.0, 0.0], dtype=torch.float64)
    h = torch.func.hessian(lambda x: x.cumprod(0).sum())(x)
    assert h.tolist() == [[0, 3, 0, 0], [3, 0, 1, 2], [0, 1, 0, 0], [0, 2, 0, 0]]
    assert torch.autograd.gradgradcheck(lambda x: x.cumprod(0), x.requires_grad_())


def test_a_singular_matrix_has_infinite_slopes_of_slogdet():
    same(slopes(lambda a: torch.linalg.slogdet(a)[1], [[1.0, 2.0], [2.0, 4.0]]), [[-INF, INF], [INF, -INF]])


def test_margins_skip_nan():
    x = torch.tensor([[NAN, 1.0, 0.5]], requires_grad=True)
    loss = F.multi_margin_loss(x, torch.tensor([1]))
    loss.backward()
    assert loss.item() == pytest.approx(0.5 / 3)
    same(x.grad.tolist(), [[0.0, -1 / 3, 1 / 3]])


@pytest.mark.parametrize("padding", ["border", "reflection"])
def test_grid_sample_is_flat_on_the_border(padding):
    image = torch.arange(9.0).reshape(1, 1, 3, 3)
    grid = torch.tensor([[[[1.0, 0.0]]]], requires_grad=True)
    F.grid_sample(image, grid, padding_mode=padding, align_corners=True).sum().backward()
    assert grid.grad.tolist() == [[[[0.0, 3.0]]]]


def test_uneven_adaptive_pools_keep_infinities_in_their_windows():
    y = F.adaptive_avg_pool1d(torch.tensor([[[INF, 1.0, 2.0, 3.0, 4.0]]]), 2)
    assert y.tolist() == [[[INF, 3.0]]]


def test_cumulative_sums_of_single_precision_are_rounded_once():
    x = torch.full((100_000,), 0.1)
    assert x.cumsum(0)[-1].item() == pytest.approx(10_000.0, rel=1e-7)


@pytest.mark.parametrize("loss", ["multi_margin_loss", "multilabel_margin_loss"])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_margins_under_vmap(loss, reduction):
    torch.manual_seed(0)
    x, target = torch.randn(3, 2, 4), torch.tensor([[0, 2], [1, 3], [2, 2]])
    if loss == "multilabel_margin_loss":
        target = torch.tensor([[0, 2, -1, 0], [3, -1, 1, 1]]).expand(3, 2, 4)
    function = lambda x, t: getattr(F, loss)(x, t, reduction=reduction)  # noqa: E731
    one_by_one = torch.stack([function(a, t) for a, t in zip(x, target, strict=True)])
    assert torch.allclose(torch.func.vmap(function)(x, target), one_by_one)


def test_renorm_and_distances_under_vmap():
    torch.manual_seed(0)
    x = torch.randn(3, 4, 5)
    for function in (lambda x: x.renorm(2, 0, 0.5), lambda x: F.pdist(x, 3.0), lambda x: torch.cdist(x, 2 * x, 1.5)):
        assert torch.allclose(torch.func.vmap(function)(x), torch.stack([function(a) for a in x]), atol=1e-6)


def given(numbers, dtype=torch.float64):
    return torch.tensor(numbers, dtype=dtype)


#: What the derivatives are in PyTorch 2.13, where infinities meet zeros that are no part of the sum, and at ties.
RECORDED = {
    "conv1d's input by an infinite weight": (
        lambda x: F.conv1d(x, given([[[INF, 1.0, 2.0]]])), [[[1.0] * 5]], [[[INF, INF, INF, 3.0, 2.0]]]
    ),
    "conv1d's input in strides by a NaN weight": (
        lambda x: F.conv1d(x, given([[[1.0, NAN, 2.0]]]), stride=2, padding=1),
        [[[1.0] * 5]], [[[NAN, 3.0, NAN, 3.0, NAN]]],
    ),
    "a depthwise weight by an infinite pixel": (
        lambda w: F.conv2d(given([[[[1.0, 2.0, INF], [3.0, 4.0, 5.0]]] * 2]), w, groups=2),
        [[[[1.0, 1.0]]]] * 2, [[[[10.0, INF]]]] * 2,
    ),
    "batch_norm by an infinite weight": (
        lambda x: F.batch_norm(x, None, None, given([INF]), training=True)[0], [[0.0], [1.0], [5.0]],
        [[INF], [-INF], [INF]],
    ),
    "xlogy by NaN": (lambda x: torch.xlogy(x, NAN), [0.0, 1.0], [0.0, NAN]),
    "xlog1py by NaN": (lambda x: torch.special.xlog1py(x, NAN), [0.0, 1.0], [0.0, NAN]),
    "as_strided_scatter's input": (
        lambda x: torch.as_strided_scatter(x, given([7.0, 8.0]), (2,), (2,)), [1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 1.0, 0.0]
    ),
    "as_strided_scatter's src": (
        lambda x: torch.as_strided_scatter(given([1.0, 2.0, 3.0, 4.0]), x, (2,), (2,), 1), [1.0, 2.0], [1.0, 1.0]
    ),
    "det of a singular matrix": (torch.linalg.det, [[1.0, 2.0], [2.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]),
    "det of one zero": (torch.linalg.det, [[0.0]], [[1.0]]),
    "det of NaN": (torch.linalg.det, [[NAN, 2.0], [2.0, 4.0]], [[NAN, NAN], [NAN, NAN]]),
    "nanmedian of NaN": (lambda x: x.nanmedian(0)[0], [NAN] * 4, [0.0, 0.0, 1.0, 0.0]),
    "median of equals": (
        lambda x: x.median(0)[0], [3.0, 0, 2, 2, 4, 0, 4, 0, 3, 2, 4, 1, 4, 3, 4], [1.0] + [0.0] * 14
    ),
    "kthvalue of equals": (lambda x: x.kthvalue(3, 0)[0], [1.0, 1, 0, 1, 1, 1, 0], [0.0] * 5 + [1.0, 0.0]),
    "topk of equals": (lambda x: x.topk(2)[0], [1.0, 1, 0, 1, 1, 1, 0], [0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
    "causal attention past a NaN that nobody sees": (
        lambda k: F.scaled_dot_product_attention(given([[1.0, 0.0]]), k, given([[1.0], [2.0]]), is_causal=True),
        [[1.0, 2.0], [NAN, 1.0]], [[NAN, NAN], [NAN, NAN]],
    ),
    "eigenvectors of equal eigenvalues": (
        lambda a: torch.linalg.eigh(a)[1], [[2.0, 0.0], [0.0, 2.0]], [[NAN, NAN], [NAN, NAN]]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDED)
def test_derivatives_are_pytorchs(name):
    function, numbers, wanted = RECORDED[name]
    same(slopes(function, numbers), wanted)


def test_transposed_convolution_adds_no_product_with_zeros_around():
    y = F.conv_transpose1d(given([[[1.0, 2.0, 3.0]]]), given([[[INF, 1.0]]]))
    assert y.tolist() == [[[INF, INF, INF, 3.0]]]


def test_a_numbers_power_keeps_the_number():
    """1e-45 is another number in single precision; its logarithm is taken in double."""
    x = torch.tensor([0.0, 2.0], requires_grad=True)
    assert torch.autograd.grad((1e-45**x).sum(), x)[0].tolist() == [-103.61632537841797, -0.0]


def test_recorded_slopes_of_a_determinant_are_its_cofactors():
    a = given([[[1.0, 2.0], [2.0, 4.0]], [[1.0, 2.0], [3.0, 4.0]]]).requires_grad_()
    (slope,) = torch.autograd.grad(torch.linalg.det(a).sum(), a, create_graph=True)
    same(slope.tolist(), [[[4.0, -2.0], [-2.0, 1.0]], [[4.0, -3.0], [-2.0, 1.0]]])
    same(torch.autograd.grad(slope[1].sum(), a)[0][1].tolist(), [[1.0, -1.0], [-1.0, 1.0]])


def test_a_nuclear_norm_at_zero_has_no_second_derivative():
    x = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(torch.linalg.norm(x, "nuc"), x, create_graph=True)
    assert torch.autograd.grad(slope.sum(), x)[0].isnan().all()


def test_the_sign_of_a_determinant_that_is_nan():
    sign, size = torch.linalg.slogdet(given([[NAN, 1.0], [1.0, 2.0]]))
    assert sign == 0 and size.isnan()


def test_bilinear_multiplies_in_order():
    w = given([[[1.0]]]).requires_grad_()
    F.bilinear(given([[INF]]), given([[1e-310]]), w).backward(given([[1e-300]]))
    assert w.grad.item() == INF


def test_selections_among_equals_name_what_pytorch_names():
    x = torch.tensor([i * 7 % 5 for i in range(20)])
    assert x.sort()[1].tolist() == [0, 5, 15, 10, 18, 3, 13, 8, 1, 16, 11, 6, 9, 14, 4, 19, 12, 7, 17, 2]
    assert x.argsort(stable=True).tolist() == [0, 5, 10, 15, 3, 8, 13, 18, 1, 6, 11, 16, 4, 9, 14, 19, 2, 7, 12, 17]
    assert x.topk(5)[1].tolist() == [17, 7, 12, 2, 19]
    assert x.mode(0)[1].item() == 10


def test_bytes_are_resized_in_fixed_point_numbers():
    x = torch.tensor([[[[148, 239, 74, 165, 0, 91]]]], dtype=torch.uint8)
    wanted = [138, 167, 227, 229, 140, 73, 120, 167, 99, 10, 12, 72, 101]
    assert F.interpolate(x, size=(1, 13), mode="bicubic").tolist() == [[[wanted]]]


def test_attention_with_dropout_rounds_once():
    torch.manual_seed(0)
    q = torch.arange(-4.0, 4.0).reshape(1, 1, 4, 2).bfloat16()
    wanted = [[0.0, 1.5133991837501526e-08], [3.504753112792969e-05, 0.00127410888671875], [8.5625, 14.5], [12.0, 18.0]]
    assert F.scaled_dot_product_attention(q, q, q * 3, dropout_p=0.5).tolist() == [[wanted]]
