"""More methods of `Tensor`: ordering and counting, writing to places, and shapes changed in place."""

from __future__ import annotations

from typing import Any

from flambeau.autograd.runtime import thread
from flambeau.autograd.views import bump, check_writable
from flambeau.ops import index as indexing
from flambeau.ops import joining, shape, sorting
from flambeau.ops import scatter as places
from flambeau.tensor.inplace import in_place, shadow


class Ordering:
    """Extrema with their places, sorting, selection."""

    max, min, aminmax = sorting.max, sorting.min, sorting.aminmax
    argmax, argmin = sorting.argmax, sorting.argmin
    sort, argsort, msort, topk, kthvalue = sorting.sort, sorting.argsort, sorting.msort, sorting.topk, sorting.kthvalue
    median, nanmedian, mode = sorting.median, sorting.nanmedian, sorting.mode
    quantile, nanquantile = sorting.quantile, sorting.nanquantile
    cummax, cummin = sorting.cummax, sorting.cummin
    unique, unique_consecutive = sorting.unique, sorting.unique_consecutive
    argwhere = sorting.argwhere
    bincount, histc, histogram = sorting.bincount, sorting.histc, sorting.histogram

    def nonzero(self, *, as_tuple: bool = False) -> Any:
        """The indices of the elements that are not zero."""
        return sorting.nonzero(self, as_tuple=as_tuple)


class Places:
    """Picking and writing by index along a dimension, by mask, and in the flattened tensor."""

    gather, index_select, take, take_along_dim = (
        indexing.gather,
        places.index_select,
        places.take,
        places.take_along_dim,
    )
    masked_select = places.masked_select
    scatter, scatter_add, scatter_reduce = places.scatter, places.scatter_add, places.scatter_reduce
    index_add, index_copy, index_fill, index_put = (
        places.index_add,
        places.index_copy,
        places.index_fill,
        places.index_put,
    )
    masked_scatter, put = places.masked_scatter, places.put
    diagonal_scatter, select_scatter, slice_scatter = (
        places.diagonal_scatter,
        places.select_scatter,
        places.slice_scatter,
    )
    scatter_, scatter_add_, scatter_reduce_ = in_place(scatter), in_place(scatter_add), in_place(scatter_reduce)
    index_add_, index_copy_ = in_place(index_add), in_place(index_copy)
    index_fill_, index_put_ = in_place(index_fill), in_place(index_put)
    masked_scatter_, put_ = in_place(masked_scatter), in_place(put)


def _in_new_shape(function: Any) -> Any:
    """The method that makes a tensor its own view: same memory, another shape."""
    name = function.__name__ + "_"

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        check_writable(self, name, thread.grad)
        result = function(shadow(self), *args, **kwargs)
        self._a = result._a
        if self._node is not None:
            self._node = result._node
        bump(self)
        return self

    method.__name__ = name
    method.__doc__ = f"`{function.__name__}` of this tensor itself, which is returned in its new shape."
    return method


class NewShapes:
    """Views of itself, in place."""

    unsqueeze_, squeeze_ = _in_new_shape(shape.unsqueeze), _in_new_shape(shape.squeeze)
    transpose_ = swapaxes_ = swapdims_ = _in_new_shape(shape.transpose)
    t_, as_strided_ = _in_new_shape(shape.t), _in_new_shape(shape.as_strided)
    broadcast_to = joining.broadcast_to

    def ravel(self) -> Any:
        """The elements as a vector: a view where the strides allow it."""
        return shape.reshape(self, (-1,))

    def narrow_copy(self, dim: int, start: int, length: int) -> Any:
        """A copy of the `length` elements from `start` along `dim`."""
        return shape.clone(shape.narrow(self, dim, start, length))
