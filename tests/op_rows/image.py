"""Rows of padding, resizing, windows, shuffles, warps and distances."""

from tests.op_rows.tools import Fixed, call, row

F = "nn.functional."


# -- padding

row(
    F + "pad constant",
    lambda s: [
        call(s.real(2, 3), (1, 2)),
        call(s.real(2, 3), (1, 0, 2, 1), value=2.5),
        call(s.real(2, 1, 5), (-1, 2)),
        call(s.real(2, 4), (-2, -1)),
        call(s.real(0, 3), (1, 1, 1, 0)),
    ],
    lambda lib, *a, **k: lib.nn.functional.pad(*a, **k),
    ops="constant_pad_nd",
    dtypes="dfhlb",
)


def padding(mode, ops):
    def samples(s):
        yield call(s.real(1, 2, 5), (1, 2))
        yield call(s.real(2, 4), (0, 3))
        yield call(s.real(2, 5), (-1, 2))
        yield call(s.real(1, 1, 3, 4), (1, 2, 2, 0))
        yield call(s.real(1, 4, 3), (2, 1, -1, 1))
        yield call(s.real(1, 1, 2, 3, 2), (1, 1, 2, 0, 0, 1))

    def run(lib, x, widths):
        return lib.nn.functional.pad(x, widths, mode=mode)

    row(f"{F}pad {mode}", samples, run, ops=ops, dtypes="df" if mode == "circular" else "dfh")


padding("reflect", "reflection_pad1d reflection_pad2d reflection_pad3d edge_fold edge_pad")
padding("replicate", "replication_pad1d replication_pad2d replication_pad3d edge_fold")
padding("circular", "edge_pad edge_fold")


# -- resizing


def resizing(mode, shapes, ops, options=({},), **more):
    def samples(s):
        for shape in shapes:
            for option in options:
                yield call(s.real(*shape), size=tuple(n + 2 for n in shape[2:]), **option)
                yield call(s.real(*shape), size=tuple(max(1, n - 1) for n in shape[2:]), **option)
                yield call(s.real(*shape), scale_factor=1.6, **option)
        yield call(s.real(*shapes[0]), scale_factor=2.0, recompute_scale_factor=True)

    def run(lib, x, **kwargs):
        return lib.nn.functional.interpolate(x, mode=mode, **kwargs)

    row(f"{F}interpolate {mode}{more.pop('label', '')}", samples, run, ops=ops, rtol=1e-6, **more)


corners = ({"align_corners": False}, {"align_corners": True})
nearest = [(1, 2, 4), (1, 1, 3, 4), (1, 1, 2, 3, 2)]
resizing("nearest", nearest, "upsample_nearest1d upsample_nearest2d upsample_nearest3d resample_dims")
exact = "upsample_nearest_exact1d upsample_nearest_exact2d upsample_nearest_exact3d resample_dims"
resizing("nearest-exact", nearest, exact, grad_fn=False)
resizing("linear", [(1, 2, 4)], "upsample_linear1d resample_dims", corners)
resizing("bilinear", [(1, 2, 3, 4)], "upsample_bilinear2d resample_dims", corners)
resizing("trilinear", [(1, 1, 2, 3, 2)], "upsample_trilinear3d resample_dims", corners)
resizing("bicubic", [(1, 1, 3, 4)], "upsample_bicubic2d resample_dims", corners)
smooth = ({"antialias": True}, {"antialias": True, "align_corners": True})
for mode in ("bilinear", "bicubic"):
    resizing(mode, [(1, 1, 5, 4)], f"upsample_{mode}2d_aa resample_dims", smooth, label=" antialias", grad_fn=False)


# -- windows and shuffles


@lambda f: row(F + "unfold", f, ops="im2col col2im", method=False)
def _(s):
    yield call(s.real(1, 2, 4, 5), 2)
    yield call(s.real(2, 3, 4), (2, 3), padding=1, stride=2)
    yield call(s.real(1, 1, 5, 4), 2, dilation=2)


@lambda f: row(F + "fold", f, ops="im2col col2im")
def _(s):
    yield call(s.real(1, 8, 12), (4, 5), 2)
    yield call(s.real(4, 6), (5, 4), 2, dilation=2)
    yield call(s.real(1, 6, 4), (3, 5), (2, 3), padding=(1, 0), stride=2)


row(
    "pixel_shuffle",
    lambda s: [call(s.real(1, 8, 2, 1), 2), call(s.real(9, 1, 2), 3)],
    ops="pixel_shuffle pixel_unshuffle",
)
row(
    "pixel_unshuffle",
    lambda s: [call(s.real(1, 2, 4, 2), 2), call(s.real(1, 3, 6), 3)],
    ops="pixel_shuffle pixel_unshuffle",
)
row("channel_shuffle", lambda s: [call(s.real(1, 6, 2, 2), 2), call(s.real(1, 6, 2), 3)])


# -- warps


@lambda f: row(F + "affine_grid", f, ops="matmul", grad_fn=False)
def _(s):
    for corners in (False, True):
        yield call(s.real(2, 2, 3), (2, 1, 3, 2), align_corners=corners)
        yield call(s.real(1, 3, 4), (1, 1, 2, 1, 2), align_corners=corners)


@lambda f: row(F + "grid_sample", f, ops="gather", grad_fn=False, rtol=1e-7)
def _(s):
    for corners in (False, True):
        for outside in ("zeros", "border", "reflection"):
            for mode in ("bilinear", "nearest", "bicubic"):
                grid = s.uniform(-1.4, 1.4, 1, 2, 2, 2)
                grid = Fixed(grid) if mode == "nearest" else grid
                yield call(s.real(1, 2, 3, 2), grid, mode=mode, padding_mode=outside, align_corners=corners)
            yield call(
                s.real(1, 1, 2, 3, 2), s.uniform(-1.4, 1.4, 1, 1, 2, 1, 3), padding_mode=outside, align_corners=corners
            )


# -- distances


@lambda f: row("cosine_similarity", f, ops="mul", grad_fn=False)
def _(s):
    yield call(s.nonzero(3, 4), s.nonzero(3, 4))
    yield call(s.nonzero(2, 3), s.nonzero(3), dim=-1)
    yield call(s.nonzero(2, 3, 2), s.nonzero(2, 3, 2), dim=1, eps=0.1)


@lambda f: row("pairwise_distance", f, ops="sub", grad_fn=False)
def _(s):
    for p in (1.0, 2.0, 3.0):
        yield call(s.real(3, 4), s.real(3, 4), p=p)
    yield call(s.real(4), s.real(2, 4), keepdim=True)


row(F + "pdist", lambda s: [call(s.real(4, 3), p=p) for p in (1.0, 2.0, 3.0)], ops="sub", grad_fn=False)
row(
    F + "normalize",
    lambda s: [call(s.nonzero(3, 4)), call(s.nonzero(2, 3), p=3.0, dim=0), call(s.nonzero(2, 3), p=1.0, eps=5.0)],
    ops="div",
    grad_fn=False,
)


@lambda f: row(F + "bilinear", f, ops="trilinear", grad_fn=False)
def _(s):
    yield call(s.real(2, 3), s.real(2, 2), s.real(2, 3, 2), s.real(2))
    yield call(s.real(1, 2, 2), s.real(1, 2, 3), s.real(2, 2, 3))
    yield call(s.real(2), s.real(2), s.real(3, 2, 2), s.real(3))


row(F + "one_hot", lambda s: [call(s.ints(0, 4, 3, 2)), call(s.ints(0, 4, 5), 6)], ops="", orders=0)
