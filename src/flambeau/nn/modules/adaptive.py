"""Softmax over very many classes."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from typing import Any

from flambeau.nn import functional as F
from flambeau.nn._core import Tensor, cat
from flambeau.nn.modules.container import ModuleList, Sequential
from flambeau.nn.modules.linear import Linear
from flambeau.nn.modules.module import Module

__all__ = ["AdaptiveLogSoftmaxWithLoss"]

_ASMoutput = namedtuple("_ASMoutput", ["output", "loss"])


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log-probabilities of classes sorted by frequency, with rare ones in clusters of smaller width. Grave et al. 2016.

    `cutoffs` are the first classes of each cluster, strictly increasing and below `n_classes`; cluster i works in
    in_features / div_value**i dimensions. Input (N, in_features) or (in_features), target (N) or (). Returns the named
    tuple (output: log-probability of each target, loss: minus their mean). ValueError for bad cutoffs.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device=None,
        dtype=None,
    ) -> None:
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs:
            raise ValueError("AdaptiveLogSoftmaxWithLoss: cutoffs is empty")
        if (
            cutoffs != sorted(set(cutoffs))
            or min(cutoffs) <= 0
            or max(cutoffs) > n_classes - 1
            or any(int(c) != c for c in cutoffs)
        ):
            raise ValueError(
                "AdaptiveLogSoftmaxWithLoss: cutoffs must be increasing ints between 1 and n_classes - 1, got "
                f"{cutoffs} with n_classes={n_classes}"
            )
        how: dict[str, Any] = {"device": device, "dtype": dtype}
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, bias=head_bias, **how)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            width = int(in_features // div_value ** (i + 1))
            size = self.cutoffs[i + 1] - self.cutoffs[i]
            self.tail.append(
                Sequential(Linear(in_features, width, bias=False, **how), Linear(width, size, bias=False, **how))
            )

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        self.head.reset_parameters()
        for first, second in self.tail:
            first.reset_parameters()
            second.reset_parameters()

    def forward(self, input_, target_):
        """Log-probabilities of the targets and the loss. RuntimeError for shapes or classes that do not fit."""
        if not (target_.dim() == 0 and input_.dim() == 1) and not (target_.dim() == 1 and input_.dim() == 2):
            raise RuntimeError(
                "AdaptiveLogSoftmaxWithLoss: expected input (N, in_features) and target (N), or the same without N, "
                f"got {tuple(input_.shape)} and {tuple(target_.shape)}"
            )
        batched = target_.dim() == 1
        if not batched:
            input_, target_ = input_.unsqueeze(0), target_.unsqueeze(0)
        elif input_.size(0) != target_.size(0):
            raise RuntimeError(
                f"AdaptiveLogSoftmaxWithLoss: input and target differ in size: {input_.size(0)} and {target_.size(0)}"
            )
        if target_.numel() and not 0 <= int(target_.min()) <= int(target_.max()) < self.n_classes:
            raise RuntimeError(
                f"AdaptiveLogSoftmaxWithLoss: targets must lie between 0 and {self.n_classes - 1}, got "
                f"{int(target_.min())} to {int(target_.max())}"
            )
        head = F.log_softmax(self.head(input_), dim=1)
        # Rows are worked out cluster by cluster, then put back in their order.
        rows: list[Tensor] = []
        values: list[Tensor] = []
        for i in range(self.n_clusters + 1):
            low = 0 if i == 0 else self.cutoffs[i - 1]
            here = ((target_ >= low) & (target_ < self.cutoffs[i])).nonzero().squeeze(1)
            if here.numel() == 0:
                continue
            rel = (target_.index_select(0, here) - low).unsqueeze(1)
            part = head.index_select(0, here)
            if i == 0:
                value = part.gather(1, rel)
            else:
                cluster = F.log_softmax(self.tail[i - 1](input_.index_select(0, here)), dim=1)
                value = cluster.gather(1, rel) + part[:, self.shortlist_size + i - 1].unsqueeze(1)
            rows.append(here)
            values.append(value.squeeze(1))
        output = cat(values).index_select(0, cat(rows).argsort()) if rows else head[:, 0]
        loss = (-output).mean()
        return _ASMoutput(output if batched else output.squeeze(0), loss)

    def _get_full_log_prob(self, input, head_output):
        head = F.log_softmax(head_output, dim=1)
        parts = [head[:, : self.shortlist_size]]
        for i, tail in enumerate(self.tail):
            column = self.shortlist_size + i
            parts.append(F.log_softmax(tail(input), dim=1) + head[:, column : column + 1])
        return cat(parts, dim=1)

    def log_prob(self, input):
        """Log-probabilities of all classes: (N, in_features) to (N, n_classes)."""
        return self._get_full_log_prob(input, self.head(input))

    def predict(self, input):
        """The most likely class of each row: (N, in_features) to (N)."""
        return self.log_prob(input).argmax(1)
