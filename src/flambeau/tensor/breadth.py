"""More methods of `Tensor`: ordering, searching and counting."""

from __future__ import annotations

from typing import Any

from flambeau.ops import sorting


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
