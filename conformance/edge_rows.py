"""Edges of single families, where the shape of the database's samples does not lead to them: rows that are constant, of
one element or all infinite; vectors that coincide; targets and thresholds that are met exactly."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.testing._internal.opinfo.core import SampleInput

Numbers = tuple[float, ...]
Row = tuple[tuple[Any, ...], dict[str, Any]]

#: Functions of one tensor, element by element, that the database does not list as such.
POINTWISE = set(
    "nn.functional.hardswish nn.functional.leaky_relu nn.functional.gelu clamp to bfloat16 double float half fill "
    "clone masked_fill nn.functional.dropout nn.functional.alpha_dropout".split()
)

INF, NAN = float("inf"), float("nan")


class Maker:
    """Makes operands of one dtype."""

    def __init__(self, dtype: torch.dtype, finite: Numbers, every: Numbers) -> None:
        self.dtype, self.finite, self.every = dtype, finite, every
        self.tiny, self.small = every[7], every[9]

    def of(self, numbers: Any, grad: bool = True) -> torch.Tensor:
        """A tensor of nested lists of numbers."""
        return torch.tensor(numbers, dtype=self.dtype, requires_grad=grad)

    def slices(self, width: int = 4) -> list[list[float]]:
        """Rows of which each is an edge of its own, as reductions see them."""
        t, s = self.tiny, self.small
        rows = [
            [1, 1, 1, 1], [0, 0, 0, 0], [-0.0, 0, -0.0, 0], [INF, INF, 1, 2], [-INF] * 4, [-INF, 1, 2, -INF],
            [NAN, 1, 2, 3], [1, NAN, NAN, 1], [INF, -INF, 1, 1], [t, t, -t, 0], [2, 2, 1, 1], [1, 2, 2, 1],
            [0, 1, 2, 3], [0, 0, 2, 3], [s, s, 1, 1], [0, NAN, 1, 2], [0, INF, 1, 2], [0, 0, NAN, 2], [0, 0, INF, 1],
            [NAN, INF, -INF, 0], [1, -1, 1, -1], [3, 3, 3, 2], [-1, -1, -2, -2], [NAN] * 4, [INF] * 4, [2, 0, 0, 0],
            [-2, 3, 0.5, 0], [NAN, 0, 0, 0], [1, 0, NAN, 3], [s, t, 2, -1],
        ]  # fmt: skip
        return [row[:width] for row in rows]  # type: ignore[misc]

    def pair(self, left: Numbers, right: Numbers) -> tuple[torch.Tensor, torch.Tensor]:
        """Every number of the one with every number of the other."""
        both = list(itertools.product(left, right))
        return self.of([a for a, _ in both]), self.of([b for _, b in both])


def rows(entry: Any, dtype: torch.dtype, finite: Numbers, every: Numbers) -> Iterator[tuple[str, Any]]:
    """Named samples of an entry."""
    make = Maker(dtype, finite, every)
    for family, names in FAMILIES.items():
        if entry.name in names:
            for i, (args, kwargs) in enumerate(family(make, entry)):
                yield f"{family.__name__.strip('_')} {i}", SampleInput(args[0], args=args[1:], kwargs=kwargs)


def _slices(make: Maker, entry: Any) -> Iterator[Row]:
    """Reductions and scans: along each row, of a row alone, of one element and of none."""
    last = entry.name in LAST
    options = OPTIONS.get(entry.name, ((), {}))
    args, kwargs = options
    whole = make.slices()
    if last:
        for table in (whole, make.slices(1), make.slices(2)):
            yield (make.of(table), *args), kwargs
    else:
        for table in (whole, make.slices(1), make.slices(2)):
            yield (make.of(table), *args), {"dim": 1, **kwargs}
        yield (make.of(whole), *args), {"dim": 0, **kwargs}
    if entry.name in ALONE:
        for row in whole:
            yield (make.of(row), *args), kwargs


def _sorted(make: Maker, entry: Any) -> Iterator[Row]:
    """Equal elements in their order; without `stable` it is left open which of them comes first."""
    for dim, descending in itertools.product((0, 1), (False, True)):
        yield (make.of(make.slices()),), {"dim": dim, "descending": descending, "stable": True}


def _norms(make: Maker, entry: Any) -> Iterator[Row]:
    """Norms of every order along each row."""
    for p in (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, INF, -INF, -1.0, -2.0, 2, 1, 0):
        for table in (make.slices(), make.slices(1)):
            yield (make.of(table), p), {"dim": 1}


def _normalizing(make: Maker, entry: Any) -> Iterator[Row]:
    for p in (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, INF):
        yield (make.of(make.slices()), p), {"dim": 1}


def _renorm(make: Maker, entry: Any) -> Iterator[Row]:
    for p, most in itertools.product((0.5, 1.0, 2.0, 3.0, INF), (1.0, 2.5)):
        yield (make.of(make.slices()), p, 0, most), {}


def _distances(make: Maker, entry: Any) -> Iterator[Row]:
    """Vectors that coincide, in part or wholly, and vectors of zeros."""
    every = make.slices(3)
    pairs = [(a, b) for a in every for b in (a, [0.0, 0.0, 0.0], [1.0, 2.0, 3.0])]
    left, right = [a for a, _ in pairs], [b for _, b in pairs]
    if entry.name == "nn.functional.cosine_similarity":
        yield (make.of(left), make.of(right)), {"dim": 1}
        return
    for p in (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, INF):
        if entry.name == "dist":
            for a, b in pairs[::2]:
                yield (make.of(a), make.of(b), p), {}
        elif entry.name == "cdist":
            yield (make.of(every), make.of([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0], [1.0, 1.0, 1.0]])), {"p": p}
        elif entry.name == "nn.functional.pdist":
            yield (make.of(every), p), {}
        else:
            yield (make.of(left), make.of(right)), {"p": p}
            yield (make.of(left), make.of(right)), {"p": p, "eps": 0.0}


def _losses(make: Maker, entry: Any) -> Iterator[Row]:
    """Predictions and targets at every pair of numbers, with each reduction."""
    left, right = make.pair(make.every, make.every)
    for options in LOSSES[entry.name.removeprefix("nn.functional.")]:
        given: dict[str, Any] = dict(options)
        if given.pop("unit", False):
            left, right = make.pair((0.0, 1.0, -0.0, 0.5, make.tiny, make.small, 0.25, NAN), (0.0, 1.0, 0.5, NAN))
        if given.pop("probability", False):
            left, right = make.pair(make.every, (0.0, 1.0, 0.5, make.tiny, NAN, INF))
        if given.pop("signs", False):
            left, right = make.pair(make.every, (1.0, -1.0))
        for reduction in ("none", "mean", "sum"):
            yield (left, right), {**given, "reduction": reduction}
            yield (left, right.detach()), {**given, "reduction": reduction}


def _three(make: Maker, entry: Any) -> Iterator[Row]:
    """Operators of three tensors, element by element."""
    few = (0.0, -0.0, 1.0, -1.0, INF, -INF, NAN, make.tiny, 0.5, 2.0)
    every = list(itertools.product(few, few, few))
    yield tuple(make.of([row[i] for row in every]) for i in range(3)), {}


def _bounds(make: Maker, entry: Any) -> Iterator[Row]:
    for low, high in ((0.0, 1.0), (1.0, 0.0), (-INF, INF), (NAN, 1.0), (0.0, NAN), (None, -0.0), (-1.0, None), (1, 1)):
        yield (make.of(make.every), low, high), {}


def _classes(make: Maker, entry: Any) -> Iterator[Row]:
    """Losses over classes, with a row of scores for each edge."""
    scores = make.slices()
    target = torch.tensor([i % 4 for i in range(len(scores))])
    for reduction in ("none", "mean", "sum"):
        yield (make.of(scores), target), {"reduction": reduction}
        yield (make.of(scores), target), {"reduction": reduction, "ignore_index": 1}
        weight = make.of([0.0, 1.0, 2.0, 0.5], False)
        yield (make.of(scores), target), {"reduction": reduction, "weight": weight}
        if entry.name == "nn.functional.cross_entropy":
            chances = make.of([[0.0, 1.0, 0.0, 0.0], [0.25, 0.25, 0.5, 0.0]] * (len(scores) // 2))
            yield (make.of(scores), chances), {"reduction": reduction}
            yield (make.of(scores), chances), {"reduction": reduction, "label_smoothing": 0.1}
            yield (make.of(scores), target), {"reduction": reduction, "label_smoothing": 0.1}


def _margins(make: Maker, entry: Any) -> Iterator[Row]:
    """Scores that meet the margin exactly."""
    scores = [*make.slices(), [0.0, 1.0, 2.0, 1.0], [1.0, 0.0, 0.0, 0.0], [0.5, 0.5, -0.5, 1.5]]
    if entry.name == "nn.functional.multilabel_margin_loss":
        target = torch.tensor([[0, 3, -1, 1], [1, -1, 0, 0], [-1, 0, 1, 2]] * (len(scores) // 3))
        yield (make.of(scores[: len(target)]), target), {}
    elif entry.name == "nn.functional.multilabel_soft_margin_loss":
        yield (make.of(scores), make.of([[0.0, 1.0, 0.0, 1.0]] * len(scores), False)), {"reduction": "none"}
    else:
        for p in (1, 2):
            yield (make.of(scores), torch.tensor([i % 4 for i in range(len(scores))])), {"p": p, "reduction": "none"}


def _two_and_target(make: Maker, entry: Any) -> Iterator[Row]:
    """Losses of two predictions and a sign."""
    if entry.name == "nn.functional.margin_ranking_loss":
        for margin, sign in itertools.product((0.0, 1.0), (1.0, -1.0)):
            left, right = make.pair(make.every, make.every)
            yield (left, right, torch.full(left.shape, sign, dtype=make.dtype)), {"margin": margin, "reduction": "none"}
    else:
        table = make.slices(3)
        for other, sign, margin in itertools.product(([0.0] * 3, [1.0] * 3, [1.0, 2.0, 3.0]), (1.0, -1.0), (0.0, 0.5)):
            target = torch.full((len(table),), sign, dtype=make.dtype)
            yield (make.of(table), make.of([other] * len(table)), target), {"margin": margin, "reduction": "none"}


def _triplets(make: Maker, entry: Any) -> Iterator[Row]:
    table = make.slices(3)
    for p, swap in itertools.product((1.0, 2.0, 3.0), (False, True)):
        options = {"p": p, "swap": swap} if entry.name.endswith("margin_loss") else {"swap": swap}
        other = make.of([[1.0, 2.0, 3.0]] * len(table))
        yield (make.of(table), make.of(table), other), {**options, "reduction": "none"}
        yield (make.of(table), other, make.of(table)), {**options, "reduction": "none"}
        yield (make.of(table), make.of(table), make.of(table)), {**options, "reduction": "none"}


def _gaussian(make: Maker, entry: Any) -> Iterator[Row]:
    """Variances of zero, below `eps` and at it."""
    numbers = (0.0, 1.0, -1.0, INF, NAN, 0.5)
    every = list(itertools.product(numbers, numbers, (0.0, 1.0, make.tiny, 1e-6, 1e-7, 2.0, INF, NAN)))
    for full in (False, True):
        yield tuple(make.of([row[i] for row in every]) for i in range(3)), {"full": full, "reduction": "none"}


def _normalized(make: Maker, entry: Any) -> Iterator[Row]:
    """Layers that normalize rows: constant ones, of one element, infinite, and with an `eps` of zero."""
    last = entry.name.rsplit(".", 1)[-1]
    for eps in (1e-5, 0.0):
        table = make.slices() if eps else [[abs(x) for x in row] for row in make.slices() if make.tiny not in row]
        table = [row for row in table if make.small not in row]
        for width in (4, 1):
            rows = make.of([row[:width] for row in table])
            if last in ("layer_norm", "rms_norm"):
                yield (rows, (width,)), {"eps": eps, "weight": make.of([1.0, 2.0, 0.0, -1.0][:width])}
            elif last == "group_norm":
                yield (rows.detach().reshape(len(table), width, 1, 1).requires_grad_(), 1), {"eps": eps}
            else:
                columns = rows.detach().T.contiguous().requires_grad_()
                mean, var = (make.of([x] * len(table), False) for x in (0.0, 0.0))
                yield (columns, mean, var), {"training": width > 1, "eps": eps}


def _matrices(make: Maker, entry: Any) -> Iterator[Row]:
    """Matrices of zeros, of one rank, with equal singular values, and of one element."""
    zeros, ones, unit = [[0.0] * 3] * 3, [[1.0] * 3] * 3, [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]
    one_rank = [[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [-1.0, -2.0, -3.0]]
    near = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]
    nil = [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    twice = [[2.0, 0, 0], [0, -2.0, 0], [0, 0, 0.0]]
    orders: dict[str, Any] = {
        "linalg.matrix_norm": (("fro",), (1,), (-1,), (INF,), (-INF,)),
        "linalg.matrix_power": ((0,), (1,), (2,), (3,)),
    }
    for matrix in (zeros, ones, unit, one_rank, near, nil, twice, [[0.0]], [[2.0]], [[0.0, 0.0], [0.0, 1.0]]):
        for args in orders.get(entry.name, ((),)):
            if entry.name == "linalg.slogdet" and matrix in (zeros, ones, one_rank, near, nil, twice, [[0.0]]):
                continue  # infinitely far down
            yield (make.of(matrix), *args), {}


def _products(make: Maker, entry: Any) -> Iterator[Row]:
    """Products whose sums hold an infinity times zero or NaN, in one place only."""
    left = [[0.0, 1.0, INF], [NAN, 1.0, 2.0], [0.0, 0.0, 0.0], [make.tiny, -0.0, -INF]]
    right = [[1.0, 0.0, 2.0, INF], [0.0, -1.0, NAN, 1.0], [0.0, 3.0, 1.0, -0.0]]
    yield (make.of(left), make.of(right)), {}
    yield (make.of(left[2:]), make.of([row[:2] for row in right])), {}


def _grids(make: Maker, entry: Any) -> Iterator[Row]:
    """Places on, beside and beyond the border of an image."""
    image = make.of([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]]])
    places = (0.0, 1.0, -1.0, 1 / 3, -1 / 3, 2 / 3, -2 / 3, 1.5, -1.5, 0.5, 3.0, -3.0)
    grid = [[[list(pair) for pair in itertools.product(places, places)]]]
    names = ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection"), (False, True)
    for mode, padding, corners in itertools.product(*names):
        if entry.name == "nn.functional.grid_sample":
            options = {"mode": mode, "padding_mode": padding, "align_corners": corners}
            yield (image, make.of(grid).detach().reshape(1, 12, 12, 2).requires_grad_()), options


def _attention(make: Maker, entry: Any) -> Iterator[Row]:
    """Queries that may look at nothing."""
    q, k, v = (make.of([[[1.0, 2.0], [0.0, 0.0], [3.0, -1.0]]]) for _ in range(3))
    shown = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])
    yield (q, k, v), {"attn_mask": shown}
    yield (q, k, v), {"attn_mask": torch.zeros(3, 3, dtype=make.dtype).masked_fill(~shown, -INF)}


def _scattered(make: Maker, entry: Any) -> Iterator[Row]:
    """Elements that tie with each other and with the one that is there, zeros, and elements nobody writes to."""
    reduce = entry.variant_test_name
    index = torch.tensor([0, 0, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 7, 7])
    source = [1.0, 1.0, 0.0, 0.0, 2.0, NAN, 1.0, INF, INF, -INF, 3.0, 0.0, 5.0, 4.0, 2.0, 2.0]
    there = [1.0, 0.0, 2.0, INF, -INF, 0.0, 4.0, 3.0, 7.0]
    for included in (True, False):
        for shift in range(0, 9, 2):
            target = there[shift:] + there[:shift]
            if entry.name == "index_reduce":
                yield (make.of(target), 0, index, make.of(source), reduce), {"include_self": included}
            else:
                yield (make.of(target), 0, index, make.of(source), reduce), {"include_self": included}


def _pooled(make: Maker, entry: Any) -> Iterator[Row]:
    """Windows of equal elements, of NaN and of infinities."""
    table = make.slices()
    rank = int(entry.name[-2])
    image = make.of(table).detach().reshape(1, len(table), *(1,) * (rank - 1), 4).requires_grad_()
    size = (1,) * (rank - 1) + (2,)
    yield (image, size), {}
    yield (image, size), {"stride": 1, "padding": tuple(s // 2 for s in size)}


#: Reductions and scans whose call needs no more than a dimension.
_ROWWISE = set(
    "sum prod mean amax amin std var std_mean var_mean nansum nanmean median nanmedian cummax cummin "
    "cumprod cumsum logcumsumexp logsumexp softmax log_softmax nn.functional.softmin aminmax norm linalg.vector_norm "
    "max min masked.sum masked.prod masked.amax masked.amin masked.mean masked.var "
    "masked.std masked.logsumexp masked.cumsum masked.cumprod masked.median masked.softmax masked.log_softmax "
    "masked.softmin nn.functional.glu trapezoid cumulative_trapezoid diff".split()
)
#: Those that take no dimension by name, or not here.
LAST = {"nn.functional.glu"}
#: Those that reduce all elements when no dimension is named.
ALONE = set(
    "sum prod mean amax amin std var std_mean var_mean nansum nanmean median nanmedian aminmax norm max min "
    "linalg.vector_norm".split()
)
OPTIONS: dict[str, Any] = {
    "masked.var": ((), {"unbiased": True}), "masked.std": ((), {"unbiased": False}),
}  # fmt: skip
LOSSES: dict[str, tuple[dict[str, Any], ...]] = {
    "mse_loss": ({},), "l1_loss": ({},), "smooth_l1_loss": ({}, {"beta": 0.0}, {"beta": 0.5}),
    "huber_loss": ({}, {"delta": 0.5}), "soft_margin_loss": ({"signs": True}, {}),
    "hinge_embedding_loss": ({"signs": True}, {"signs": True, "margin": 2.0}),
    "binary_cross_entropy": ({"unit": True},), "binary_cross_entropy_with_logits": ({"probability": True},),
    "kl_div": ({}, {"log_target": True}, {"probability": True}),
    "poisson_nll_loss": ({}, {"log_input": False}, {"full": True}, {"log_input": False, "full": True, "eps": 0.0}),
}  # fmt: skip

FAMILIES: dict[Callable[[Maker, Any], Iterator[Row]], set[str]] = {
    _slices: _ROWWISE,
    _sorted: {"sort"},
    _norms: {"norm", "linalg.norm", "linalg.vector_norm"},
    _normalizing: {"nn.functional.normalize"},
    _renorm: {"renorm"},
    _distances: {
        "dist",
        "cdist",
        "nn.functional.pdist",
        "nn.functional.pairwise_distance",
        "nn.functional.cosine_similarity",
    },
    _losses: {f"nn.functional.{name}" for name in LOSSES},
    _three: {"addcmul", "addcdiv", "lerp", "clamp"},
    _bounds: {"clamp"},
    _classes: {"nn.functional.cross_entropy", "nn.functional.nll_loss"},
    _margins: {
        f"nn.functional.{name}"
        for name in ("multi_margin_loss", "multilabel_margin_loss", "multilabel_soft_margin_loss")
    },
    _two_and_target: {"nn.functional.margin_ranking_loss", "nn.functional.cosine_embedding_loss"},
    _triplets: {"nn.functional.triplet_margin_loss", "nn.functional.triplet_margin_with_distance_loss"},
    _gaussian: {"nn.functional.gaussian_nll_loss"},
    _normalized: {f"nn.functional.{name}_norm" for name in ("layer", "rms", "group", "batch")},
    _matrices: {"linalg.det", "linalg.slogdet", "linalg.matrix_norm", "linalg.matrix_power", "trace", "tril", "triu"},
    _products: {"matmul", "mm", "kron", "nn.functional.linear", "__rmatmul__"},
    _grids: {"nn.functional.grid_sample"},
    _attention: {"nn.functional.scaled_dot_product_attention"},
    _scattered: {"scatter_reduce", "index_reduce"},
    _pooled: {f"nn.functional.{kind}_pool{rank}d" for kind in ("max", "avg") for rank in (1, 2, 3)},
}
