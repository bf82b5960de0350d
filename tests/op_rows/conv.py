"""Rows of convolutions and pools."""

import numpy as np

from tests.op_rows.tools import Fixed, call, row

CLOSED = "conv conv_input conv_weight"


@lambda f: row("nn.functional.conv1d", f, ops=CLOSED, dtypes="dfh")
def _(s):
    yield call(s.real(1, 2, 4), s.real(2, 2, 2), s.real(2))
    yield call(s.real(2, 4), s.real(2, 1, 2), None, 2, 1, 1, 2)
    yield call(s.real(2, 3, 9), s.real(4, 3, 3), s.real(4), 2, 2, 2)


@lambda f: row("nn.functional.conv2d", f, ops=CLOSED, dtypes="dfh")
def _(s):
    yield call(s.real(1, 1, 3, 3), s.real(2, 1, 2, 2), s.real(2), 1, 1)
    yield call(s.real(2, 2, 5, 4), s.real(4, 1, 3, 2), s.real(4), (2, 1), (1, 0), 1, 2)
    yield call(s.real(1, 2, 4, 4), s.real(2, 2, 3, 1), None, 1, "same")
    yield call(s.real(0, 2, 4, 4), s.real(2, 2, 3, 1))


row(
    "nn.functional.conv3d",
    lambda s: [
        call(s.real(1, 1, 2, 2, 2), s.real(1, 1, 2, 1, 2), s.real(1)),
        call(s.real(1, 2, 3, 4, 3), s.real(2, 2, 2, 2, 2), None, 2, 1),
    ],
    ops=CLOSED,
)
row(
    "nn.functional.conv_transpose1d",
    lambda s: [
        call(s.real(1, 2, 3), s.real(2, 2, 2), s.real(2), 2, 1, 1),
        call(s.real(1, 2, 3), s.real(2, 1, 2), None, 1, 0, 2, 2, 3),
    ],
    ops=CLOSED,
    dtypes="dfh",
)
row(
    "nn.functional.conv_transpose2d",
    lambda s: [
        call(s.real(1, 1, 2, 3), s.real(1, 2, 2, 2), s.real(2), 2, 1, 1),
        call(s.real(2, 2, 3), s.real(2, 2, 2, 2)),
    ],
    ops=CLOSED,
)
row(
    "nn.functional.conv_transpose3d",
    lambda s: [call(s.real(1, 1, 2, 2, 2), s.real(1, 1, 2, 1, 2), s.real(1), 2)],
    ops=CLOSED,
)
row(
    "nn.functional.conv_tbc",
    lambda s: [call(s.real(4, 1, 2), s.real(2, 2, 2), s.real(2), 1)],
    ops=CLOSED,
    grad_fn=False,
)
row(
    "convolution",
    lambda s: [call(s.real(1, 1, 3, 3), s.real(1, 2, 2, 2), s.real(2), [2, 1], [0, 1], [1, 1], True, [1, 0], 1)],
    ops=CLOSED,
)


# --- pools --------------------------------------------------------------------------------------------------------


def windows(*shape):
    """Samples of a pool over inputs of `shape` (one channel) without ties."""

    def samples(s):
        yield call(s.apart(1, 1, *shape), 2)
        yield call(s.apart(2, *shape), 2, 1, 1)
        yield call(s.apart(1, 1, *shape), (2,) * len(shape), 3, 0, ceil_mode=True)

    return samples


for nd, shape in ((1, (7,)), (2, (4, 5)), (3, (2, 4, 3))):
    op_nd = max(nd, 2)
    max_ops = "max_pool_scatter max_pool_select"
    row(f"nn.functional.max_pool{nd}d", windows(*shape), ops=f"max_pool{op_nd}d_op {max_ops}", dtypes="dfhl")
    row(
        f"max_pool{nd}d with indices",
        windows(*shape),
        lambda lib, *a, nd=nd, **k: getattr(lib.nn.functional, f"max_pool{nd}d")(*a, **k, return_indices=True),
        ops=f"max_pool{op_nd}d_with_indices_op {max_ops}",
    )
    row(
        f"nn.functional.avg_pool{nd}d",
        lambda s, shape=shape: [
            *windows(*shape)(s),
            call(s.real(1, 1, *shape), 2, 2, 1, count_include_pad=False),
        ],
        ops=f"avg_pool{op_nd}d_op avg_pool avg_pool_input",
        dtypes="dfh",
    )
    row(
        f"nn.functional.lp_pool{nd}d",
        lambda s, shape=shape: [call(s.positive(1, 1, *shape), 3, 2), call(s.positive(1, *shape), 2.0, 2, 1, True)],
        ops=f"avg_pool{op_nd}d_op",
    )
    row(
        f"nn.functional.adaptive_avg_pool{nd}d",
        lambda s, shape=shape: [call(s.real(1, 1, *shape), n) for n in (2, 3, 1)],
        ops=f"adaptive_avg_pool{op_nd}d_op global_avg_pool_op adaptive_avg_pool adaptive_avg_pool_input"
        if nd > 1
        else "adaptive_avg_pool2d_op adaptive_avg_pool adaptive_avg_pool_input",
        dtypes="dfh",
        grad_fn=nd > 1,
    )
    row(
        f"nn.functional.adaptive_max_pool{nd}d",
        lambda s, shape=shape: [
            call(s.apart(1, 1, *shape), n, return_indices=i) for n in (2, 3) for i in (True, False)
        ],
        ops=f"adaptive_max_pool{op_nd}d_op plane_scatter plane_select",
        dtypes="df",
    )
    row(
        f"nn.functional.max_unpool{nd}d",
        lambda s, shape=shape, nd=nd: [
            call(s.real(1, 1, *(2,) * nd), np.arange(2**nd).reshape(1, 1, *(2,) * nd) * 2, 2),
        ],
        ops=f"max_unpool{op_nd}d_op plane_scatter plane_select",
    )
    if nd > 1:
        row(
            f"nn.functional.fractional_max_pool{nd}d",
            lambda s, shape=shape, nd=nd: [
                call(s.apart(1, 1, *shape), 1, 1, None, True, Fixed(s.uniform(0.1, 0.9, 1, 1, nd)))
            ],
            ops=f"fractional_max_pool{nd}d_op plane_scatter plane_select",
        )
