"""Rows of views, rearrangements, joining, indexing and products."""

import numpy as np

from tests.op_rows.tools import call, row

ALL = "dfhlbc"


def method(name, samples, ops=None, **options):
    """A row of a method of tensors."""
    row(
        "Tensor." + name,
        samples,
        lambda lib, x, *a, **k: getattr(x, name)(*a, **k),
        ops=ops or name,
        dtypes=ALL,
        **options,
    )


method("view", lambda s: [call(s.real(3, 4), 4, 3), call(s.real(3, 4), -1), call(s.real(), 1, 1)], "view_op")
method("expand", lambda s: [call(s.real(3, 1), 3, 4), call(s.real(1), 2, -1), call(s.real(), 2)], "expand_op")
method("unfold", lambda s: [call(s.real(5, 2), 0, 3, 1), call(s.real(5), 0, 2, 2)], "unfold windows_put windows")
method("contiguous", lambda s: [call(s.strided(s.real, 3, 2))], "contiguous_op", grad_fn=False)
method("repeat", lambda s: [call(s.real(2, 3), 2, 1, 2), call(s.real(2), 2, 2), call(s.real(), 3)])
method("to", lambda s: [call(s.real(2, 3), copy=True)], "to_device")
row(
    "Tensor.double",
    lambda s: [call(s.real(2))],
    lambda lib, x: x.to(lib.complex128).real,
    ops="to_numpy_dtype real",
    grad_fn=False,
)
row(
    "reshape",
    lambda s: [call(s.real(3, 4), (2, 6)), call(s.strided(s.real, 2, 3), (6,)), call(s.real(2, 0), (0, 5))],
    grad_fn=False,
)
row("permute", lambda s: [call(s.real(2, 3, 1), (2, 0, 1)), call(s.real(2, 2), (-1, 0))], dtypes=ALL)
row("transpose", lambda s: [call(s.real(2, 3, 2), 0, -1), call(s.real(), 0, 0)], dtypes=ALL)
row("t", lambda s: [call(s.real(2, 3)), call(s.real(3)), call(s.real())], dtypes=ALL, grad_fn=False)
row("unsqueeze", lambda s: [call(s.real(2, 3), 1), call(s.real(2), -1), call(s.real(), 0)], dtypes=ALL)
row(
    "squeeze",
    lambda s: [call(s.real(1, 3, 1)), call(s.real(1, 3, 1), 0), call(s.real(1, 3, 1), (0, 1)), call(s.real(3), 0)],
    ops="squeeze_op",
    dtypes=ALL,
    grad_fn=False,
)
row("select", lambda s: [call(s.real(3, 4), 1, 2), call(s.real(3, 4), 0, -1)], dtypes=ALL)
row("narrow", lambda s: [call(s.real(3, 4), 1, 1, 2), call(s.real(5), 0, -3, 2)], ops="slice slice_put", dtypes=ALL)
row(
    "diagonal",
    lambda s: [call(s.real(3, 4)), call(s.real(2, 3, 3), 1, 1, 2), call(s.real(3, 2), -1)],
    ops="diagonal diagonal_put",
)
row("clone", lambda s: s.unary(s.real), ops="clone_op", dtypes=ALL)
row(
    "Tensor.contiguous.channels_last",
    lambda s: [call(s.real(2, 3, 2, 2))],
    lambda lib, x: x.contiguous(memory_format=lib.channels_last),
    ops="ordered_copy",
    dtypes=ALL,
)
row("flip", lambda s: [call(s.real(2, 3), (0, 1)), call(s.real(3), (-1,))], dtypes=ALL)
row("roll", lambda s: [call(s.real(2, 3), 1), call(s.real(2, 3), (1, 2), (0, 1)), call(s.real(4), -1, 0)], dtypes=ALL)
row("movedim", lambda s: [call(s.real(2, 3, 2), 0, 2), call(s.real(2, 3, 1), (0, 1), (1, 2))], ops="permute")
row(
    "flatten", lambda s: [call(s.real(2, 3, 2)), call(s.real(2, 3, 2), 1), call(s.real())], ops="reshape", grad_fn=False
)
row("unflatten", lambda s: [call(s.real(6, 2), 0, (2, -1))], ops="reshape")
row(
    "as_strided",
    lambda s: [call(s.real(9), (3, 2), (2, 1)), call(s.real(9), (2, 3), (1, 2), 1)],
    ops="region_take region_put",
)
row(
    "sum_to_size",
    lambda s: [call(s.real(3, 4), (1, 4))],
    lambda lib, x, n: x.sum_to_size(n),
    ops="sum_to_shape",
    grad_fn=False,
)
row(
    "cat",
    lambda s: [call([s.real(2, 3), s.real(1, 3)]), call((s.real(2, 1), s.real(2, 2)), 1), call([s.real(2), s.real(0)])],
    ops="cat_op",
    dtypes=ALL,
)
row(
    "stack",
    lambda s: [call([s.real(2, 3), s.real(2, 3)]), call([s.real(2), s.real(2), s.real(2)], -1)],
    ops="stack_op",
    dtypes=ALL,
)
row("unbind", lambda s: [call(s.real(2, 3)), call(s.real(2, 3), 1)], ops="select", grad_fn=False)
row("split", lambda s: [call(s.real(5, 2), 2), call(s.real(2, 5), [1, 4], 1)], ops="slice", grad_fn=False, method=False)
row("chunk", lambda s: [call(s.real(5, 2), 3), call(s.real(2, 5), 2, 1)], ops="slice", grad_fn=False)
row("tensor_split", lambda s: [call(s.real(7), 3), call(s.real(2, 5), (1, 3), 1)], ops="slice", grad_fn=False)
row("tile", lambda s: [call(s.real(2, 3), (2,)), call(s.real(2), (2, 2))], ops="repeat", grad_fn=False)
row(
    "repeat_interleave",
    lambda s: [call(s.real(2, 3), 2, 1), call(s.real(3), s.ints(1, 3, 3), 0), call(s.real(2, 2), 2)],
    ops="index",
    grad_fn=False,
)
row(
    "rot90",
    lambda s: [call(s.real(2, 3)), call(s.real(2, 3), 2), call(s.real(2, 3), -1, (1, 0))],
    ops="flip",
    grad_fn=False,
)
row("fliplr", lambda s: [call(s.real(2, 3))], ops="flip")
row("flipud", lambda s: [call(s.real(2, 3))], ops="flip")
row("hstack", lambda s: [call([s.real(2, 1), s.real(2, 2)]), call([s.real(2), s.real()])], ops="cat_op", grad_fn=False)
row("vstack", lambda s: [call([s.real(3), s.real(2, 3)])], ops="cat_op", grad_fn=False)
row("dstack", lambda s: [call([s.real(3), s.real(3)])], ops="cat_op", grad_fn=False)
row("column_stack", lambda s: [call([s.real(3), s.real(3, 2)])], ops="cat_op", grad_fn=False)
row(
    "meshgrid",
    lambda s: [call(s.real(2), s.real(3), indexing="ij"), call(s.real(2), s.real(3), indexing="xy")],
    ops="expand_op",
    grad_fn=False,
)
row("broadcast_to", lambda s: [call(s.real(3, 1), (2, 3, 2))], ops="expand_op")
row("atleast_2d", lambda s: [call(s.real()), call(s.real(3))], ops="reshape", grad_fn=False)
row("atleast_3d", lambda s: [call(s.real()), call(s.real(3)), call(s.real(2, 2))], ops="reshape", grad_fn=False)


def at(name, index, ops, **options):
    """A row of `x[index]`."""
    row(
        f"getitem {name}",
        lambda s: [call(s.real(3, 4)), call(s.strided(s.real, 3, 4))],
        lambda lib, x: x[tuple(lib.from_numpy(i) if isinstance(i, np.ndarray) else i for i in index)],
        ops=ops,
        dtypes=ALL,
        **options,
    )


at("slice", (slice(1, 3),), "index_slice basic_index basic_index_put")
at("int", (1,), "index_select_at")
at("new axis", (Ellipsis, None), "index_unsqueeze", grad_fn=False)
at("all", (Ellipsis,), "index_alias")
at("rows", (np.array([0, 2, 0]),), "index index_add_zeros")
at("places", (np.array([[0, 2], [1, 1]]), np.array([1, -1])), "index")
at("mask", (np.array([True, False, True]),), "index")
at("mixed", (slice(None), np.array([3, 0])), "index")
at("int and rows", (1, np.array([3, 0, 3])), "index", grad_fn=False)


def assign(lib, x, v, index):
    y = x.clone()
    y[tuple(lib.from_numpy(i) if isinstance(i, np.ndarray) else i for i in index)] = v
    return y


def assigning(name, index, shape, ops, **options):
    row(
        f"setitem {name}",
        lambda s: [call(s.real(3, 4), s.real(*shape), index)],
        assign,
        ops=ops,
        grad_fn=False,
        **options,
    )


assigning("slice", (slice(1, 3),), (2, 4), "clone_op")
assigning("int", (1,), (4,), "clone_op")
assigning("rows", ([0, 2],), (2, 4), "index_put_op index_clear")
assigning("mask", ([True, False, True],), (4,), "index_put_op")
row(
    "gather",
    lambda s: [
        call(s.real(3, 4), 1, s.ints(0, 4, 3, 2)),
        call(s.real(3, 4), 0, s.ints(0, 3, 2, 4)),
        call(s.real(3), 0, s.ints(0, 3, 5)),
        call(s.real(), 0, s.ints(0, 1)),
    ],
    ops="gather scatter_add_zeros",
    dtypes=ALL,
)

row(
    "mm",
    lambda s: [
        call(s.real(2, 3), s.real(3, 2)),
        call(s.strided(s.real, 2, 3), s.real(3, 1)),
        call(s.real(0, 3), s.real(3, 2)),
    ],
    dtypes="dfhlc",
)
row("bmm", lambda s: [call(s.real(2, 2, 3), s.real(2, 3, 1)), call(s.real(2, 0, 3), s.real(2, 3, 2))], dtypes="dflc")


@lambda f: row("matmul", f, dtypes="dfhlc", grad_fn=False)
def _(s):
    shapes = [
        ((2, 3), (3, 2)),
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((3,), (3, 2)),
        ((2, 2, 3), (3, 2)),
        ((2, 1, 3), (2, 3, 1)),
    ]
    shapes += [
        ((2, 1, 2), (1, 2, 2)),
        ((2, 1, 2, 3), (2, 3, 1)),
        ((3,), (2, 3, 2)),
        ((2, 2, 3), (3,)),
        ((2, 0), (0, 2)),
    ]
    for a, b in shapes:
        yield call(s.real(*a), s.real(*b))


@lambda f: row("nn.functional.linear", f, ops="linear", grad_fn=False)
def _(s):
    yield call(s.real(2, 3), s.real(2, 3), s.real(2))
    yield call(s.real(2, 2, 3), s.real(1, 3))
    yield call(s.real(3), s.real(2, 3), s.real(2))


row("dot", lambda s: [call(s.real(3), s.real(3)), call(s.real(0), s.real(0))], ops="mul", grad_fn=False)
row("vdot", lambda s: [call(s.real(3), s.real(3))], ops="mul", grad_fn=False, dtypes="dfc")
row("inner", lambda s: [call(s.real(2, 3), s.real(2, 3))], ops="mm", grad_fn=False)
row("mv", lambda s: [call(s.real(2, 3), s.real(3))], ops="matmul", grad_fn=False)
row("outer", lambda s: [call(s.real(2), s.real(3))], ops="mul", grad_fn=False)
row(
    "addmm",
    lambda s: [
        call(s.real(2, 2), s.real(2, 3), s.real(3, 2)),
        call(s.real(2), s.real(2, 3), s.real(3, 2), beta=0.5, alpha=2),
    ],
    ops="mm",
    grad_fn=False,
)
row("addmv", lambda s: [call(s.real(2), s.real(2, 3), s.real(3), alpha=2)], ops="matmul", grad_fn=False)
row("addr", lambda s: [call(s.real(2, 3), s.real(2), s.real(3), beta=2)], ops="mul", grad_fn=False)
row(
    "baddbmm",
    lambda s: [call(s.real(2, 2, 1), s.real(2, 2, 3), s.real(2, 3, 1), beta=2, alpha=3)],
    ops="bmm",
    grad_fn=False,
)
row("addbmm", lambda s: [call(s.real(2, 1), s.real(2, 2, 3), s.real(2, 3, 1))], ops="bmm", grad_fn=False)
row("chain_matmul", lambda s: [call(s.real(2, 3), s.real(3, 2), s.real(2, 1))], ops="mm", grad_fn=False)
row(
    "tensordot",
    lambda s: [call(s.real(2, 3), s.real(3, 2), 1), call(s.real(2, 3, 2), s.real(2, 3), ((0, 1), (0, 1)))],
    ops="mm",
    grad_fn=False,
)
