"""Bessel functions of order 0 and 1, and Airy's function, by the rational and Chebyshev approximations of Cephes, which
PyTorch has too.

Results are within 6 units in the last place, near the zeros of those that oscillate in units of their amplitude, and
for large arguments too, since angles are not rounded. Where terms cancel it is more: 20 for y0 from 3 to 5, 70 for Ai
from 1 to 2.
"""

from __future__ import annotations

import math

import numpy as np

from .evaluation import Block, chebyshev, fill, kernel, polynomial

__all__ = [
    "airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "i0", "i0e", "i1", "i1e", "modified_bessel_k0",
    "modified_bessel_k1", "scaled_modified_bessel_k0", "scaled_modified_bessel_k1",
]  # fmt: skip

# --- modified Bessel functions ------------------------------------------------------------------------------------

# exp(-x) i0(x) up to 8, and times sqrt(x) beyond; the same of i1, divided by x up to 8
_I0_NEAR = (
    -4.4153416464793395e-18, 3.3307945188222384e-17, -2.431279846547955e-16, 1.715391285555133e-15,
    -1.1685332877993451e-14, 7.676185498604936e-14, -4.856446783111929e-13, 2.95505266312964e-12,
    -1.726826291441556e-11, 9.675809035373237e-11, -5.189795601635263e-10, 2.6598237246823866e-09,
    -1.300025009986248e-08, 6.046995022541919e-08, -2.670793853940612e-07, 1.1173875391201037e-06,
    -4.4167383584587505e-06, 1.6448448070728896e-05, -5.754195010082104e-05, 0.00018850288509584165,
    -0.0005763755745385824, 0.0016394756169413357, -0.004324309995050576, 0.010546460394594998,
    -0.02373741480589947, 0.04930528423967071, -0.09490109704804764, 0.17162090152220877, -0.3046826723431984,
    0.6767952744094761,
)  # fmt: skip
_I0_FAR = (
    -7.233180487874754e-18, -4.830504485944182e-18, 4.46562142029676e-17, 3.461222867697461e-17,
    -2.8276239805165836e-16, -3.425485619677219e-16, 1.7725601330565263e-15, 3.8116806693526224e-15,
    -9.554846698828307e-15, -4.150569347287222e-14, 1.54008621752141e-14, 3.8527783827421426e-13,
    7.180124451383666e-13, -1.7941785315068062e-12, -1.3215811840447713e-11, -3.1499165279632416e-11,
    1.1889147107846439e-11, 4.94060238822497e-10, 3.3962320257083865e-09, 2.266668990498178e-08,
    2.0489185894690638e-07, 2.8913705208347567e-06, 6.889758346916825e-05, 0.0033691164782556943,
    0.8044904110141088,
)  # fmt: skip
_I1_NEAR = (
    2.7779141127610464e-18, -2.111421214358166e-17, 1.5536319577362005e-16, -1.1055969477353862e-15,
    7.600684294735408e-15, -5.042185504727912e-14, 3.223793365945575e-13, -1.9839743977649436e-12,
    1.1736186298890901e-11, -6.663489723502027e-11, 3.625590281552117e-10, -1.8872497517228294e-09,
    9.381537386495773e-09, -4.445059128796328e-08, 2.0032947535521353e-07, -8.568720264695455e-07,
    3.4702513081376785e-06, -1.3273163656039436e-05, 4.781565107550054e-05, -0.00016176081582589674,
    0.0005122859561685758, -0.0015135724506312532, 0.004156422944312888, -0.010564084894626197,
    0.024726449030626516, -0.05294598120809499, 0.1026436586898471, -0.17641651835783406, 0.25258718644363365,
)  # fmt: skip
_I1_FAR = (
    7.517296310842105e-18, 4.414348323071708e-18, -4.6503053684893586e-17, -3.209525921993424e-17,
    2.96262899764595e-16, 3.3082023109209285e-16, -1.8803547755107825e-15, -3.8144030724370075e-15,
    1.0420276984128802e-14, 4.272440016711951e-14, -2.1015418427726643e-14, -4.0835511110921974e-13,
    -7.198551776245908e-13, 2.0356285441470896e-12, 1.4125807436613782e-11, 3.2526035830154884e-11,
    -1.8974958123505413e-11, -5.589743462196584e-10, -3.835380385964237e-09, -2.6314688468895196e-08,
    -2.512236237870209e-07, -3.882564808877691e-06, -0.00011058893876262371, -0.009761097491361469,
    0.7785762350182801,
)  # fmt: skip
# k0 and x k1 up to 2, without their logarithms, and exp(x) sqrt(x) times them beyond
_K0_NEAR = (
    1.374465435613523e-16, 4.25981614279661e-14, 1.0349695257633842e-11, 1.904516377220209e-09,
    2.5347910790261494e-07, 2.286212103119452e-05, 0.001264615411446926, 0.0359799365153615, 0.3442898999246285,
    -0.5353273932339028,
)  # fmt: skip
_K0_FAR = (
    5.300433772686263e-18, -1.6475804301524212e-17, 5.2103915050390274e-17, -1.678231096805412e-16,
    5.512055978524319e-16, -1.848593377343779e-15, 6.3400764774050706e-15, -2.2275133269916698e-14,
    8.032890775363575e-14, -2.9800969231727303e-13, 1.140340588208475e-12, -4.514597883373944e-12,
    1.8559491149547177e-11, -7.957489244477107e-11, 3.577397281400301e-10, -1.69753450938906e-09,
    8.574034017414225e-09, -4.660489897687948e-08, 2.766813639445015e-07, -1.8317555227191195e-06,
    1.39498137188765e-05, -0.00012849549581627802, 0.0015698838857300533, -0.0314481013119645,
    2.4403030820659555,
)  # fmt: skip
_K1_NEAR = (
    -7.023863479386288e-18, -2.427449850519366e-15, -6.666901694199329e-13, -1.4114883926335278e-10,
    -2.213387630734726e-08, -2.4334061415659684e-06, -0.0001730288957513052, -0.006975723859639864,
    -0.12261118082265715, -0.3531559607765449, 1.5253002273389478,
)  # fmt: skip
_K1_FAR = (
    -5.756744483665017e-18, 1.7940508731475592e-17, -5.689462558442859e-17, 1.838093544366639e-16,
    -6.057047248373319e-16, 2.038703165624334e-15, -7.019837090418314e-15, 2.4771544244813043e-14,
    -8.976705182324994e-14, 3.3484196660784293e-13, -1.2891739609510289e-12, 5.13963967348173e-12,
    -2.1299678384275683e-11, 9.218315187605006e-11, -4.1903547593418965e-10, 2.015049755197033e-09,
    -1.0345762465678097e-08, 5.7410841254500495e-08, -3.5019606030878126e-07, 2.406484947837217e-06,
    -1.936197974166083e-05, 0.00019521551847135162, -0.002857816859622779, 0.10392373657681724,
    2.7206261904844427,
)  # fmt: skip


def _i(size: Block, near: tuple, far: tuple, odd: bool) -> Block:
    """exp(-x) times i0, or i1 if `odd`, for x of 0 and more."""

    def up_to_8(x: Block) -> Block:
        value = chebyshev(x / 2 - 2, near)
        return value * x if odd else value

    out = np.empty_like(size)
    close = size <= 8
    fill(out, close, up_to_8, size)
    fill(out, ~close, lambda x: chebyshev(32 / x - 2, far) / np.sqrt(x), size)
    return out


def _i0e(x: Block) -> Block:
    return _i(np.abs(x), _I0_NEAR, _I0_FAR, False)


def _i1e(x: Block) -> Block:
    value = _i(np.abs(x), _I1_NEAR, _I1_FAR, True)
    return np.where(x < 0, -value, value)


@kernel
def i0(x: Block) -> Block:
    """The modified Bessel function of the first kind and order 0."""
    return np.exp(np.abs(x)) * _i0e(x)


@kernel
def i0e(x: Block) -> Block:
    """i0(x) exp(-|x|)."""
    return _i0e(x)


@kernel
def i1(x: Block) -> Block:
    """The modified Bessel function of the first kind and order 1."""
    return np.exp(np.abs(x)) * _i1e(x)


@kernel
def i1e(x: Block) -> Block:
    """i1(x) exp(-|x|)."""
    return _i1e(x)


def _k0_near(x: Block) -> Block:
    return chebyshev(x * x - 2, _K0_NEAR) - np.log(0.5 * x) * np.exp(x) * _i0e(x)


def _k1_near(x: Block) -> Block:
    return np.log(0.5 * x) * np.exp(x) * _i1e(x) + chebyshev(x * x - 2, _K1_NEAR) / x


def _k(x: Block, order: int, scaled: bool) -> Block:
    near, far = ((_k0_near, _K0_FAR), (_k1_near, _K1_FAR))[order]

    def up_to_2(x: Block) -> Block:
        return near(x) * np.exp(x) if scaled else near(x)

    def beyond(x: Block) -> Block:
        value = chebyshev(8 / x - 2, far) / np.sqrt(x)
        return value if scaled else np.exp(-x) * value

    out = np.where(x == 0, np.inf, np.nan)
    fill(out, (x > 0) & (x <= 2), up_to_2, x)
    fill(out, x > 2, beyond, x)
    return out


@kernel
def modified_bessel_k0(x: Block) -> Block:
    """The modified Bessel function of the second kind and order 0."""
    return _k(x, 0, False)


@kernel
def modified_bessel_k1(x: Block) -> Block:
    """The modified Bessel function of the second kind and order 1."""
    return _k(x, 1, False)


@kernel
def scaled_modified_bessel_k0(x: Block) -> Block:
    """exp(x) times `modified_bessel_k0`."""
    return _k(x, 0, True)


@kernel
def scaled_modified_bessel_k1(x: Block) -> Block:
    """exp(x) times `modified_bessel_k1`."""
    return _k(x, 1, True)


# --- Bessel functions ---------------------------------------------------------------------------------------------

# beyond 5, in 25 / x^2: what multiplies the cosine and, with 5 / x, the sine of the angle
_COS_OVER_0 = (
    0.0007969367292973471, 0.08283523921074408, 1.239533716464143, 5.447250030587687, 8.74716500199817,
    5.303240382353949, 1.0,
)  # fmt: skip
_COS_UNDER_0 = (
    0.0009244088105588637, 0.08562884743544745, 1.2535274390105895, 5.470977403304171, 8.761908832370695,
    5.306052882353947, 1.0,
)  # fmt: skip
_SIN_OVER_0 = (
    -0.011366383889846916, -1.2825271867050931, -19.553954425773597, -93.20601521237683, -177.68116798048806,
    -147.07750515495118, -51.41053267665993, -6.050143506007285,
)  # fmt: skip
_SIN_UNDER_0 = (
    1.0, 64.3178256118178, 856.4300259769806, 3882.4018360540163, 7240.467741956525, 5930.727011873169,
    2062.0933166032783, 242.0057402402914,
)  # fmt: skip
_COS_OVER_1 = (
    0.0007621256162081731, 0.07313970569409176, 1.1271960812968493, 5.112079511468076, 8.424045901417724,
    5.214515986823615, 1.0,
)  # fmt: skip
_COS_UNDER_1 = (
    0.0005713231280725487, 0.06884559087544954, 1.105142326340617, 5.073863861286015, 8.399855543276042,
    5.209828486823619, 1.0,
)  # fmt: skip
_SIN_OVER_1 = (
    0.05108625947501766, 4.982138729512334, 75.82382841325453, 366.7796093601508, 710.8563049989261,
    597.4896124006136, 211.68875710057213, 25.207020585802372,
)  # fmt: skip
_SIN_UNDER_1 = (
    1.0, 74.23732770356752, 1056.4488603826283, 4986.410583376536, 9562.318924047562, 7997.041604473507,
    2826.1927851763908, 336.0936078106983,
)  # fmt: skip
# up to 5, in x^2: j less its zeros there, and y less its logarithm
_J_OVER_0 = (
    -4794432209.782018, 1956174919465.5657, -249248344360967.72, 9708622510473064.0,
)  # fmt: skip
_J_UNDER_0 = (
    1.0, 499.563147152651, 173785.4016763747, 48440965.83399621, 11185553704.535683, 2112775201154.892,
    310518229857422.56, 3.1812195594320496e+16, 1.7108629408104315e+18,
)  # fmt: skip
_Y_OVER_0 = (
    15592.436785523574, -14663929.59039716, 5435264770.518765, -982136065717.9115, 87590639439536.7,
    -3466283033847297.0, 4.4273326857256984e+16, -1.8495080043698668e+16,
)  # fmt: skip
_Y_UNDER_0 = (
    1.0, 1041.2835366425984, 626107.330137135, 268919633.39381415, 86400248710.3935, 20297961275010.555,
    3171577528429750.5, 2.5059625617265306e+17,
)  # fmt: skip
_J_OVER_1 = (
    -899971225.7055594, 452228297998.19403, -72749424522181.83, 3682957328638529.0,
)  # fmt: skip
_J_UNDER_1 = (
    1.0, 620.8364781180543, 256987.25675774884, 83514679.14319493, 22151159547.97925, 4749141220799.914,
    784369607876235.9, 8.952223361846274e+16, 5.322786203326801e+18,
)  # fmt: skip
_Y_OVER_1 = (
    1263204747.9017804, -647355876379.1603, 114509511541823.73, -8127702555013251.0, 2.024394757135949e+17,
    -7.788771962659501e+17,
)  # fmt: skip
_Y_UNDER_1 = (
    1.0, 594.3015923461282, 235564.09294306856, 73481194.44597217, 18760131610.870617, 3882312774962.3857,
    620557727146953.8, 6.871410873553005e+16, 3.9727060811656064e+18,
)  # fmt: skip
_J0_ZEROS = (5.78318596294678452118, 3.04712623436620863991e1)
_J1_ZEROS = (1.46819706421238932572e1, 4.92184563216946036703e1)
_PER_ROOT_PI, _TWO_PER_PI = 1 / math.sqrt(math.pi), 2 / math.pi


def _wave(x: Block, order: int, second: bool) -> Block:
    """j, or y if `second`, beyond 5."""
    s, c = np.sin(x), np.cos(x)
    if order == 0:  # the cosine and sine of x - pi / 4, times sqrt(2)
        cos, sin = s + c, s - c
        over, under, sin_over, sin_under = _COS_OVER_0, _COS_UNDER_0, _SIN_OVER_0, _SIN_UNDER_0
    else:  # of x - 3 pi / 4
        cos, sin = s - c, -(s + c)
        over, under, sin_over, sin_under = _COS_OVER_1, _COS_UNDER_1, _SIN_OVER_1, _SIN_UNDER_1
    inverse = 5 / x
    square = inverse * inverse
    p = polynomial(square, over) / polynomial(square, under)
    q = inverse * (polynomial(square, sin_over) / polynomial(square, sin_under))
    return (p * sin + q * cos if second else p * cos - q * sin) * _PER_ROOT_PI / np.sqrt(x)


def _j0_near(x: Block) -> Block:
    square = x * x
    zeros = (square - _J0_ZEROS[0]) * (square - _J0_ZEROS[1])
    value = zeros * polynomial(square, _J_OVER_0) / polynomial(square, _J_UNDER_0)
    return np.where(x < 1e-5, 1 - square / 4, value)


def _j1_near(x: Block) -> Block:
    square = x * x
    zeros = (square - _J1_ZEROS[0]) * (square - _J1_ZEROS[1])
    return polynomial(square, _J_OVER_1) / polynomial(square, _J_UNDER_1) * zeros * x


def _y0_near(x: Block) -> Block:
    square = x * x
    return polynomial(square, _Y_OVER_0) / polynomial(square, _Y_UNDER_0) + _TWO_PER_PI * np.log(x) * _j0_near(x)


def _y1_near(x: Block) -> Block:
    square = x * x
    rest = x * (polynomial(square, _Y_OVER_1) / polynomial(square, _Y_UNDER_1))
    return rest + _TWO_PER_PI * (_j1_near(x) * np.log(x) - 1 / x)


@kernel
def bessel_j0(x: Block) -> Block:
    """The Bessel function of the first kind and order 0."""
    size, out = np.abs(x), np.empty_like(x)
    near = size <= 5
    fill(out, near, _j0_near, size)
    fill(out, ~near, lambda x: _wave(x, 0, False), size)
    return out


@kernel
def bessel_j1(x: Block) -> Block:
    """The Bessel function of the first kind and order 1."""
    size, out = np.abs(x), np.empty_like(x)
    near = size <= 5
    fill(out, near, _j1_near, size)
    fill(out, ~near, lambda x: _wave(x, 1, False), size)
    return np.where(np.signbit(x), -out, out)


def _second_kind(x: Block, order: int) -> Block:
    out = np.where(x == 0, -np.inf, np.nan)
    fill(out, (x > 0) & (x <= 5), (_y0_near, _y1_near)[order], x)
    fill(out, x > 5, lambda x: _wave(x, order, True), x)
    return out


@kernel
def bessel_y0(x: Block) -> Block:
    """The Bessel function of the second kind and order 0; -inf at 0, NaN below."""
    return _second_kind(x, 0)


@kernel
def bessel_y1(x: Block) -> Block:
    """The Bessel function of the second kind and order 1; -inf at 0, NaN below."""
    return _second_kind(x, 1)


# --- Airy's function ----------------------------------------------------------------------------------------------

# above 2.09 in 3 / (2 x^1.5); below -2.09 what multiplies the sine and the cosine, in its square
_ABOVE_OVER = (
    0.346538101525629, 12.007595273964581, 76.27960536152345, 168.08922493463058, 159.75639135016442,
    70.53609068404442, 14.026469116338967, 1.0,
)  # fmt: skip
_ABOVE_UNDER = (
    0.5675945326387702, 14.75625625848472, 84.51389701414746, 177.31808814540045, 164.2346928715297,
    71.47784008255756, 14.095913560783403, 1.0,
)  # fmt: skip
_SINE_OVER = (
    -0.1316963234183318, -0.6264565444319123, -0.6931580360369335, -0.2797799815451191, -0.04919001326095003,
    -0.004062659235948854, -0.0001592764962392621, -2.776491081552329e-06, -1.6778769848911465e-08,
)  # fmt: skip
_SINE_UNDER = (
    1.0, 13.356042070655324, 32.682503279522464, 26.736704094149957, 9.187074029072596, 1.4752914677166642,
    0.11568717379518804, 0.004402916416152112, 7.547203482874142e-05, 4.5185009297058035e-07,
)  # fmt: skip
_COSINE_OVER = (
    0.01973399320916857, 0.39110302961568827, 1.0657989759959559, 0.9391692298166502, 0.35146565610554764,
    0.06338889196289255, 0.005858041130483885, 0.000282851600836737, 6.98793669997261e-06,
    8.117892395543892e-08, 3.415517847659236e-10,
)  # fmt: skip
_COSINE_UNDER = (
    1.0, 9.30892908077442, 19.835292871831214, 15.564662893286462, 5.476860694229755, 0.9542936116189619,
    0.08645808263523921, 0.004126565238242226, 0.00010125908511650914, 1.1716673321441352e-06,
    4.9183457006293e-09,
)  # fmt: skip
_AI_0, _AI_SLOPE = 0.355028053887817239260, 0.258819403792806798405


def _product(a: Block, b: Block) -> tuple[Block, Block]:
    """a b, and what its rounding took away (Dekker 1971)."""
    whole = a * b
    a_top, b_top = a * 134217729.0, b * 134217729.0
    a_top, b_top = a_top - (a_top - a), b_top - (b_top - b)
    a_low, b_low = a - a_top, b - b_top
    return whole, ((a_top * b_top - whole) + a_top * b_low + a_low * b_top) + a_low * b_low


def _angle(x: Block) -> tuple[Block, Block]:
    """2/3 x^1.5 in two parts, of which the second is the first one's rounding."""
    root = np.sqrt(x)
    square, rest = _product(root, root)
    product, lost = _product(x, root)
    lost += x * (((x - square) - rest) / (2 * root))
    angle = 2 * product / 3
    triple, rest = _product(angle, np.full_like(angle, 3.0))
    return angle, (((2 * product - triple) - rest) + 2 * lost) / 3


def _airy_below(x: Block) -> Block:
    angle, rest = _angle(-x)
    z = 1 / angle
    square = z * z
    s, c = np.sin(angle), np.cos(angle)
    s, c = s * np.cos(rest) + c * np.sin(rest), c * np.cos(rest) - s * np.sin(rest)
    sine = 1 + square * polynomial(square, _SINE_OVER) / polynomial(square, _SINE_UNDER)
    cosine = z * polynomial(square, _COSINE_OVER) / polynomial(square, _COSINE_UNDER)
    value = (s + c) * sine - (c - s) * cosine  # of the angle plus pi / 4, times sqrt(2)
    return _PER_ROOT_PI * math.sqrt(0.5) / np.sqrt(np.sqrt(-x)) * value


def _airy_above(x: Block) -> Block:
    angle, rest = _angle(x)
    z = 1 / angle
    value = polynomial(z, _ABOVE_OVER) / polynomial(z, _ABOVE_UNDER)
    return _PER_ROOT_PI * value / (2 * np.sqrt(np.sqrt(x))) * np.exp(-angle) * (1 - rest)


def _airy_middle(x: Block) -> Block:
    """Its series about 0."""
    cube = x * x * x
    even, odd, f, g = np.ones_like(x), x.copy(), np.ones_like(x), x.copy()
    for k in range(2, 45, 3):
        even *= cube / (k * (k + 1))
        odd *= cube / ((k + 1) * (k + 2))
        f += even
        g += odd
    return _AI_0 * f - _AI_SLOPE * g


@kernel
def airy_ai(x: Block) -> Block:
    """Airy's function Ai; NaN at both ends, as in PyTorch."""
    out = np.where(np.isinf(x), np.nan, np.where(x > 103.892, 0.0, np.nan))
    fill(out, (x >= -2.09) & (x < 2.09), _airy_middle, x)
    fill(out, (x >= 2.09) & (x <= 103.892), _airy_above, x)
    fill(out, (x < -2.09) & (x > -np.inf), _airy_below, x)
    return out
