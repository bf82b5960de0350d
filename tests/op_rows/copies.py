"""Rows of views' twins that copy."""

from tests.op_rows.tools import call, row

OPTIONS = {"grad_fn": False, "method": False, "dtypes": "dfhlb"}


def copy(name, *calls, ops="contiguous_op"):
    """A row of `torch.<name>_copy` and its arguments after the tensor."""
    row(name + "_copy", lambda s: [call(s.real(2, 3, 4), *args) for args in calls], ops=ops, **OPTIONS)


copy("alias", ())
copy("as_strided", ((2, 2), (1, 3)), ((3,), (2,), 4), ops="region_take region_put contiguous_op")
copy("permute", ((2, 0, 1),))
copy("transpose", (0, 2), (-1, 1))
copy("squeeze", (), (1,))
copy("unsqueeze", (0,), (-1,))
copy("view", ((6, 4),), ((-1,),))
copy("unfold", (2, 2, 1))
copy("select", (1, -1))
copy("slice", (2, 1, 4, 2), (0,), (1, -2))
copy("narrow", (1, 1, 2))
copy("unbind", (1,))
copy("split", (2, 2))
copy("split_with_sizes", ([1, 3], 2))
row("expand_copy", lambda s: [call(s.real(3, 1), (2, 3, 4)), call(s.real(1), (-1,))], ops="expand_op", **OPTIONS)
row("t_copy", lambda s: [call(s.real(3, 2)), call(s.real(3))], ops="t", **OPTIONS)
row("unsafe_split", lambda s: [call(s.real(3, 5), 2, 1)], ops="contiguous_op", **OPTIONS)
row("unsafe_chunk", lambda s: [call(s.real(3, 5), 2, 1)], ops="contiguous_op", **OPTIONS)
row("unsafe_split_with_sizes", lambda s: [call(s.real(3, 5), [2, 3], 1)], ops="contiguous_op", **OPTIONS)
row("split_with_sizes", lambda s: [call(s.real(3, 5), [2, 3], 1)], ops="slice_put", **OPTIONS)
