"""Rows of Fourier transforms and Einstein sums."""

from tests.op_rows.tools import call, row

OPTIONS = {"grad_fn": False, "rtol": 1e-8}


def complex_(s, *shape):
    return s.real(*shape) + 1j * s.real(*shape)


def one(name, ops, make):
    def samples(s):
        for norm in (None, "ortho", "forward"):
            yield call(make(s, 2, 5), norm=norm)
        yield call(make(s, 4, 2), 6, 0)
        yield call(make(s, 3, 4), 3)

    row("fft." + name, samples, ops=ops, **OPTIONS)


def real(s, *shape):
    return s.real(*shape)


one("fft", "fft_c2c", complex_)
one("ifft", "fft_c2c", complex_)
one("rfft", "fft_r2c", real)
one("irfft", "fft_c2r", complex_)
one("hfft", "fft_c2r", complex_)
one("ihfft", "fft_r2c", real)
row("fft.fft real", lambda s: [call(s.real(5))], lambda lib, x: lib.fft.fft(x), ops="fft_c2c", **OPTIONS)
for _name in "fft2 ifft2 fftn ifftn".split():
    row(
        "fft." + _name,
        lambda s: [call(complex_(s, 2, 3)), call(complex_(s, 2, 2), (3, 2), norm="ortho")],
        ops="fft_c2c",
        **OPTIONS,
    )
for _name in "rfft2 rfftn".split():
    row("fft." + _name, lambda s: [call(s.real(2, 3)), call(s.real(2, 2), (3, 4))], ops="fft_r2c", **OPTIONS)
for _name in "irfft2 irfftn".split():
    row("fft." + _name, lambda s: [call(complex_(s, 2, 3)), call(complex_(s, 2, 2), (3, 3))], ops="fft_c2r", **OPTIONS)
row("fft.fftfreq", lambda s: [call(5), call(6, 0.5)], orders=0)
row("fft.rfftfreq", lambda s: [call(5), call(6, 0.5)], orders=0)
row("fft.fftshift", lambda s: [call(s.real(3, 4)), call(s.real(5), 0)], ops="roll", **OPTIONS)
row("fft.ifftshift", lambda s: [call(s.real(3, 4)), call(s.real(5), 0)], ops="roll", **OPTIONS)


@lambda f: row("einsum", f, ops="mm bmm mul", grad_fn=False)
def _(s):
    for equation, *shapes in (
        ("ij,jk->ik", (2, 3), (3, 2)),
        ("bij,bjk->bik", (2, 2, 3), (2, 3, 1)),
        ("ij,jk", (2, 3), (3, 2)),
        ("ii->i", (3, 3)),
        ("ii", (3, 3)),
        ("ij->ji", (2, 3)),
        ("ij->", (2, 3)),
        ("i,j->ij", (2,), (3,)),
        ("...ij,...jk->...ik", (2, 1, 2), (2, 2, 1)),
        ("...i->...", (2, 3)),
        ("i...,j...->ij...", (2, 3), (2, 1)),
        ("ij,jk,kl->il", (2, 2), (2, 3), (3, 1)),
        ("bn,anm,bm->ba", (2, 2), (1, 2, 3), (2, 3)),
        ("ij,ij->ij", (2, 3), (2, 3)),
        ("ij,ij->", (2, 3), (2, 3)),
        ("ij,kj->ik", (2, 3), (2, 3)),
        (" b i , j -> i b ", (2, 2), (3,)),
        ("iij,j->i", (2, 2, 3), (3,)),
        ("ij,j->i", (2, 3), (1,)),
        ("bhid,bhjd->bhij", (1, 2, 2, 2), (1, 2, 3, 2)),
        ("Ab,bA", (2, 3), (3, 2)),
    ):
        yield call(equation, *(s.real(*n) for n in shapes))
    yield call(s.real(2, 3), [0, 1], s.real(3, 2), [1, 2], [0, 2])
    yield call(s.real(2, 3), [0, 1])
    yield call(s.real(2, 2, 3), [..., 0, 1], [..., 1, 0])


@lambda f: row("einsum refused", f, lambda lib, *a: lib.einsum(*a), orders=0)
def _(s):
    for equation, *shapes in (
        ("ij,jk->ik", (2, 3), (2, 3)),
        ("ij", (2, 3, 1)),
        ("ij,jk", (2, 3)),
        ("i,i", (2,), (3,), (2,)),
        ("i->ii", (2,)),
        ("i->j", (2,)),
        ("i.j", (2, 3)),
        ("ii", (2, 3)),
        ("i1", (2, 3)),
        ("ij->ij", (2, 2)),
    ):
        yield call(equation, *(s.real(*n) for n in shapes))


for _name in "hfft2 hfftn".split():
    row(
        "fft." + _name,
        lambda s: [call(complex_(s, 3, 4)), call(complex_(s, 2, 2), (2, 3), norm="ortho")],
        ops="fft_c2r fft_c2c",
        **OPTIONS,
    )
for _name in "ihfft2 ihfftn".split():
    row("fft." + _name, lambda s: [call(s.real(3, 4)), call(s.real(2, 3), (2, 4))], ops="fft_r2c fft_c2c", **OPTIONS)
for _name in "hann hamming blackman bartlett kaiser".split():
    row(_name + "_window", lambda s: [call(5), call(6, False), call(1), call(0), call(2, False)], orders=0, rtol=1e-6)


@lambda f: row("stft", f, ops="fft_r2c", grad_fn=False, rtol=1e-8, method=False)
def _(s):
    yield call(s.real(12), 4, return_complex=True, window=s.positive(4))
    yield call(s.real(2, 10), 6, 3, 4, s.positive(4), return_complex=True, normalized=True)
    yield call(s.real(11), 4, 2, center=False, return_complex=False, window=s.positive(4))
    yield call(s.real(11), 4, 2, onesided=False, return_complex=True, window=s.positive(4))


@lambda f: row("istft", f, ops="fft_c2r windows_put", grad_fn=False, rtol=1e-8, method=False)
def _(s):
    yield call(complex_(s, 3, 5), 4, 2, window=s.positive(4))
    yield call(complex_(s, 2, 3, 5), 4, 1, window=s.positive(4), length=6)
    yield call(complex_(s, 3, 5), 4, 2, window=s.positive(4), normalized=True, center=False)
