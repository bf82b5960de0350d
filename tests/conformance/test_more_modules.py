"""Layers that PyTorch's database of modules leaves out, checked in the same way."""

import warnings
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")

from conformance.modules import same_module, same_repr  # noqa: E402


def t(*shape):
    """Normal numbers that need a gradient."""
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def ints(high, *shape):
    return torch.randint(0, high, shape)


def args(*values, **named):
    return SimpleNamespace(args=values, kwargs=named)


def pooled(n):
    """What a max pool of `n` dimensions gives, with the places."""
    x = torch.randn(2, 3, *(6,) * n, dtype=torch.float64)
    y, places = getattr(torch.nn.functional, f"max_pool{n}d")(x, 2, return_indices=True)
    return y.detach().requires_grad_(), places


#: name, constructor arguments, inputs (made when needed)
LAYERS = [
    ("Identity", args(3, nothing=1), lambda: args(t(2, 3))),
    ("Flatten", args(), lambda: args(t(2, 3, 4))),
    ("Flatten", args(0, 1), lambda: args(t(2, 3, 4))),
    ("Unflatten", args(1, (2, 3)), lambda: args(t(2, 6, 2))),
    ("Unflatten", args(-1, [3, -1]), lambda: args(t(2, 6))),
    ("LazyLinear", args(4), lambda: args(t(2, 3))),
    ("LazyLinear", args(4, bias=False), lambda: args(t(2, 3))),
    ("LazyBatchNorm1d", args(), lambda: args(t(4, 3))),
    ("LazyBatchNorm2d", args(affine=False), lambda: args(t(4, 3, 2, 2))),
    ("LazyBatchNorm3d", args(track_running_stats=False), lambda: args(t(4, 3, 2, 2, 2))),
    ("LazyInstanceNorm1d", args(affine=True), lambda: args(t(2, 3, 4))),
    ("LazyInstanceNorm2d", args(affine=True, track_running_stats=True), lambda: args(t(2, 3, 4, 2))),
    ("LazyInstanceNorm3d", args(), lambda: args(t(2, 3, 4, 2, 2))),
    ("SyncBatchNorm", args(3), lambda: args(t(4, 3, 2))),
    ("BatchNorm1d", args(3, momentum=None), lambda: args(t(4, 3))),
    ("BatchNorm2d", args(3, bias=False), lambda: args(t(4, 3, 2, 2))),
    ("Embedding", args(5, 3), lambda: args(ints(5, 2, 4))),
    ("Embedding", args(5, 3, padding_idx=-1, max_norm=0.5), lambda: args(ints(5, 7))),
    ("Embedding", args(5, 3, scale_grad_by_freq=True), lambda: args(ints(5, 9))),
    *[("EmbeddingBag", args(6, 3, mode=mode), lambda: args(ints(6, 4, 2))) for mode in ("sum", "mean", "max")],
    ("EmbeddingBag", args(6, 3, padding_idx=1), lambda: args(ints(6, 7), torch.tensor([0, 2, 2, 5]))),
    (
        "EmbeddingBag",
        args(6, 3, mode="sum", include_last_offset=True),
        lambda: args(ints(6, 6), torch.tensor([0, 2, 6]), t(6)),
    ),
    *[(f"MaxUnpool{n}d", args(2), lambda n=n: args(*pooled(n))) for n in (1, 2, 3)],
    ("MaxUnpool2d", args(2), lambda: args(*pooled(2), output_size=(2, 3, 7, 7))),
    ("Dropout", args(), lambda: args(t(20, 30))),
    ("Dropout", args(0.3, inplace=False), lambda: args(t(7))),
    ("Dropout1d", args(0.4), lambda: args(t(4, 5, 3))),
    ("Dropout2d", args(0.4), lambda: args(t(4, 5, 3, 2))),
    ("Dropout3d", args(0.4), lambda: args(t(4, 5, 3, 2, 2))),
    ("AlphaDropout", args(0.2), lambda: args(t(20, 30))),
    ("FeatureAlphaDropout", args(0.2), lambda: args(t(4, 5, 3))),
    ("RReLU", args(), lambda: args(t(5, 6))),
    ("Hardsigmoid", args(), lambda: args(t(30).detach().float().requires_grad_())),
    ("Softmax", args(0), lambda: args(t(3, 4))),
    ("Softmin", args(dim=-1), lambda: args(t(3, 4))),
    ("LogSoftmax", args(1), lambda: args(t(3, 4, 2))),
    ("CosineSimilarity", args(), lambda: args(t(3, 4), t(3, 4))),
    ("CosineSimilarity", args(dim=0, eps=0.5), lambda: args(t(3, 4), t(3, 4))),
    *[("PairwiseDistance", args(p), lambda: args(t(3, 4), t(3, 4))) for p in (1.0, 2.0, 3.0)],
    ("TripletMarginLoss", args(), lambda: args(t(4, 3), t(4, 3), t(4, 3))),
    ("TripletMarginLoss", args(2.0, 1.0, swap=True, reduction="sum"), lambda: args(t(4, 3), t(4, 3), t(4, 3))),
    ("TripletMarginWithDistanceLoss", args(margin=0.7), lambda: args(t(4, 3), t(4, 3), t(4, 3))),
    ("CosineEmbeddingLoss", args(0.1), lambda: args(t(4, 3), t(4, 3), torch.tensor([1, -1, 1, -1]))),
    ("LocalResponseNorm", args(3, 0.5, 0.7, 2.0), lambda: args(t(2, 5, 3))),
    ("Unfold", args((2, 3), padding=1, stride=2), lambda: args(t(2, 3, 5, 6))),
    ("Fold", args((4, 5), 2), lambda: args(t(2, 12, 12))),
    ("PixelShuffle", args(2), lambda: args(t(2, 8, 3, 2))),
    ("PixelUnshuffle", args(2), lambda: args(t(2, 2, 4, 6))),
    ("ChannelShuffle", args(3), lambda: args(t(2, 6, 2, 2))),
    ("Upsample", args(scale_factor=2), lambda: args(t(1, 2, 3))),
    ("Upsample", args((5, 7), mode="bilinear", align_corners=True), lambda: args(t(1, 2, 3, 4))),
    ("Upsample", args(scale_factor=(1.5, 2.0), mode="bicubic"), lambda: args(t(1, 2, 3, 4))),
    ("UpsamplingNearest2d", args(scale_factor=2), lambda: args(t(1, 2, 3, 4))),
    ("UpsamplingBilinear2d", args(size=6), lambda: args(t(1, 2, 3, 4))),
    ("AdaptiveLogSoftmaxWithLoss", args(8, 20, [4, 10]), lambda: args(t(9, 8), ints(20, 9))),
    ("AdaptiveLogSoftmaxWithLoss", args(8, 9, [3], 2.0, True), lambda: args(t(8), torch.tensor(5))),
    ("LinearCrossEntropyLoss", args(4, 3, bias=True), lambda: args(t(5, 4), ints(3, 5))),
    ("Conv2d", args(4, 6, 3, padding="same", dilation=2, groups=2), lambda: args(t(1, 4, 7, 6))),
    *[
        (f"Conv{n}d", args(2, 2, 3, padding=2, stride=2, padding_mode=mode), lambda n=n: args(t(1, 2, *(5,) * n)))
        for n in (1, 2, 3)
        for mode in ("reflect", "replicate", "circular")
    ],
    ("Conv2d", args(2, 2, (2, 3), padding="same", padding_mode="circular"), lambda: args(t(1, 2, 5, 5))),
    ("ConvTranspose2d", args(4, 6, 3, 2, 1, groups=2), lambda: args(t(1, 4, 3, 3), output_size=(6, 6))),
    ("ConvTranspose1d", args(2, 3, 3, stride=2, dilation=2, output_padding=1), lambda: args(t(1, 2, 4))),
    ("LSTM", args(3, 4, 2, bidirectional=True, proj_size=2), lambda: args(t(5, 2, 3))),
    ("LSTM", args(3, 4, batch_first=True), lambda: args(t(2, 5, 3), (t(1, 2, 4), t(1, 2, 4)))),
    ("LSTM", args(3, 4, 3, dropout=0.5), lambda: args(t(5, 2, 3))),
    ("GRU", args(3, 4, 2, bias=False), lambda: args(t(5, 3), t(2, 4))),
    ("RNN", args(3, 4, 1, "relu"), lambda: args(t(5, 2, 3))),
    ("RNNCell", args(3, 4, nonlinearity="relu"), lambda: args(t(2, 3))),
    ("GRUCell", args(3, 4), lambda: args(t(3), t(4))),
    ("LSTMCell", args(3, 4, bias=False), lambda: args(t(2, 3), (t(2, 4), t(2, 4)))),
    ("MultiheadAttention", args(6, 2, kdim=4, vdim=3), lambda: args(t(5, 2, 6), t(3, 2, 4), t(3, 2, 3))),
    ("MultiheadAttention", args(6, 2, 0.3, add_bias_kv=True), lambda: args(*[t(3, 2, 6)] * 3, need_weights=False)),
    (
        "MultiheadAttention",
        args(6, 2, batch_first=True, add_zero_attn=True),
        lambda: args(
            t(2, 3, 6),
            t(2, 4, 6),
            t(2, 4, 6),
            key_padding_mask=torch.tensor([[False, False, True, True], [False, False, False, True]]),
            average_attn_weights=False,
        ),
    ),
    (
        "MultiheadAttention",
        args(6, 2),
        lambda: args(*[t(3, 1, 6)] * 3, attn_mask=torch.nn.Transformer.generate_square_subsequent_mask(3).double()),
    ),
    ("TransformerDecoderLayer", args(4, 2, 8, 0.3, "gelu", norm_first=True), lambda: args(t(3, 2, 4), t(5, 2, 4))),
]


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("layer", LAYERS, ids=[f"{i}-{row[0]}" for i, row in enumerate(LAYERS)])
def test_layer(layer, training):
    name, constructor, make = layer
    torch.manual_seed(3)
    module_input = SimpleNamespace(constructor_input=constructor, forward_input=make())
    info = SimpleNamespace(module_cls=getattr(torch.nn, name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same_repr(info, module_input)
        # PyTorch's hardsigmoid has 1/6 in float32 only
        same_module(info, module_input, torch.float32 if name == "Hardsigmoid" else torch.float64, training)
