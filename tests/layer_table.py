"""Every module of `nn`, with arguments that suit it: a row says how to make it and what to call it on.

`Layer.make(torch)` gives the module, `Layer.inputs(torch, seed)` its operands: floating-point ones may need gradients.
"""

import inspect
from dataclasses import dataclass, field

LAYERS = []
#: Bases and containers that compute nothing by themselves.
ABSTRACT = {
    "Container", "LinearCrossEntropyOptions", "Module", "ModuleDict", "ModuleList", "ParameterDict", "ParameterList",
    "RNNBase", "RNNCellBase",
}  # fmt: skip


@dataclass
class Layer:
    """A module and what it is called on: `args` and `kwargs` make it, `call(torch, draw)` gives its operands."""

    name: str
    args: tuple
    kwargs: dict
    call: object
    title: str = ""
    options: dict = field(default_factory=dict)

    def make(self, torch):
        """The module, from whatever random numbers come next."""
        args = [a(torch) if inspect.isfunction(a) else a for a in self.args]
        kwargs = {k: v(torch) if inspect.isfunction(v) else v for k, v in self.kwargs.items()}
        return getattr(torch.nn, self.name)(*args, **kwargs)

    def inputs(self, torch, seed):
        """Operands, others for each seed."""
        generator = torch.Generator()
        generator.manual_seed(seed)
        return self.call(torch, _Draw(torch, generator))


class _Draw:
    """Operands of one call."""

    def __init__(self, torch, generator):
        self.torch, self.generator = torch, generator

    def real(self, *shape):
        return self.torch.randn(*shape, generator=self.generator)

    def unit(self, *shape):
        return self.torch.rand(*shape, generator=self.generator) * 0.9 + 0.05

    def ints(self, high, *shape):
        return self.torch.randint(0, high, shape, generator=self.generator)

    def signs(self, *shape):
        return self.ints(2, *shape).float() * 2 - 1


def layer(name, *args, on, title="", **kwargs):
    """Adds a row: the module `name(*args, **kwargs)`, called on normal numbers of shape `on`, or on what `on(t, d)`
    gives. A function among the arguments is called with the library."""
    call = on if callable(on) else lambda t, d: (d.real(*on),)
    LAYERS.append(Layer(name, args, kwargs, call, f"{name} {title}".strip()))


IMAGES = {1: (2, 4, 9), 2: (2, 4, 8, 7), 3: (2, 4, 6, 5, 6)}

# --- elementwise, linear, convolution

for _name in (
    "CELU", "ELU", "GELU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "Identity", "LeakyReLU", "LogSigmoid",
    "Mish", "PReLU", "RReLU", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softplus", "Softshrink", "Softsign", "Tanh",
    "Tanhshrink",
):  # fmt: skip
    layer(_name, on=(4, 7))
layer("GELU", approximate="tanh", on=(4, 7), title="tanh")
layer("PReLU", 5, on=(3, 5, 4), title="channels")
layer("ReLU", inplace=True, on=lambda t, d: (d.real(3, 4) * 1,), title="inplace")
layer("Threshold", 0.1, 0.5, on=(4, 7))
layer("GLU", on=(4, 6))
layer("Softmax", 1, on=(4, 7))
layer("Softmin", 1, on=(4, 7))
layer("LogSoftmax", -1, on=(4, 7))
layer("Softmax2d", on=(2, 3, 4, 4))
layer("Linear", 5, 3, on=(4, 5))
layer("Linear", 5, 3, bias=False, on=(2, 4, 5), title="no bias")
layer("LazyLinear", 3, on=(4, 5))
layer("Bilinear", 4, 5, 3, on=lambda t, d: (d.real(6, 4), d.real(6, 5)))
for _n, _shape in IMAGES.items():
    layer(f"Conv{_n}d", 4, 6, 3, padding=1, on=_shape)
    layer(f"Conv{_n}d", 4, 8, 2, stride=2, dilation=2, groups=2, bias=False, on=_shape, title="strided groups")
    layer(f"Conv{_n}d", 4, 4, 3, padding="same", padding_mode="circular", on=_shape, title="circular")
    layer(f"ConvTranspose{_n}d", 4, 6, 3, stride=2, padding=1, output_padding=1, on=_shape)
    layer(f"LazyConv{_n}d", 6, 3, on=_shape)
    layer(f"LazyConvTranspose{_n}d", 6, 3, on=_shape)
layer("Conv2d", 4, 8, 3, groups=4, padding=1, on=IMAGES[2], title="depthwise")
layer("Conv2d", 4, 8, 1, on=IMAGES[2], title="1x1")

# --- pooling, padding, shapes

for _n, _shape in IMAGES.items():
    layer(f"MaxPool{_n}d", 2, stride=1, padding=1, ceil_mode=True, on=_shape)
    layer(f"AvgPool{_n}d", 2, padding=1, count_include_pad=False, on=_shape)
    layer(f"LPPool{_n}d", 2, 2, on=_shape)
    layer(f"AdaptiveAvgPool{_n}d", 3, on=_shape)
    layer(f"AdaptiveMaxPool{_n}d", 3, return_indices=True, on=_shape)
    layer(f"ReflectionPad{_n}d", 1, on=_shape)
    layer(f"ReplicationPad{_n}d", 2, on=_shape)
    layer(f"CircularPad{_n}d", 1, on=_shape)
    layer(f"ConstantPad{_n}d", 2, 0.5, on=_shape)
    layer(f"ZeroPad{_n}d", 1, on=_shape)


EVEN = {1: (2, 4, 8), 2: (2, 4, 6, 8), 3: (2, 4, 6, 4, 6)}


def _unpool(n):
    def call(t, d):
        pool = getattr(t.nn, f"MaxPool{n}d")(2, return_indices=True)
        return pool(d.real(*EVEN[n]))

    return call


for _n in IMAGES:
    layer(f"MaxUnpool{_n}d", 2, on=_unpool(_n))
layer("FractionalMaxPool2d", 2, output_ratio=0.6, on=IMAGES[2])
layer("FractionalMaxPool3d", 2, output_size=(3, 2, 3), on=IMAGES[3])
layer("Flatten", on=(2, 3, 4))
layer("Unflatten", 1, (2, 3), on=(4, 6))
layer("Fold", (4, 5), (2, 2), on=(2, 12, 12))
layer("Unfold", (2, 2), padding=1, on=(2, 3, 4, 5))
layer("ChannelShuffle", 2, on=(2, 4, 3, 3))
layer("PixelShuffle", 2, on=(2, 8, 3, 3))
layer("PixelUnshuffle", 2, on=(2, 3, 4, 6))
for _mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area"):
    layer("Upsample", scale_factor=1.5, mode=_mode, on=(2, 3, 4, 5), title=_mode)
layer("Upsample", size=(3, 4, 5), mode="trilinear", align_corners=True, on=(1, 2, 3, 3, 3), title="trilinear")
layer("UpsamplingBilinear2d", scale_factor=2, on=(2, 3, 4, 5))
layer("UpsamplingNearest2d", size=(6, 7), on=(2, 3, 4, 5))

# --- normalization, dropout

for _n, _shape in IMAGES.items():
    layer(f"BatchNorm{_n}d", 4, on=_shape)
    layer(f"BatchNorm{_n}d", 4, affine=False, momentum=None, on=_shape, title="cumulative")
    layer(f"InstanceNorm{_n}d", 4, affine=True, track_running_stats=True, on=_shape)
    layer(f"LazyBatchNorm{_n}d", on=_shape)
    layer(f"LazyInstanceNorm{_n}d", on=_shape)
    layer(f"Dropout{_n}d", 0.4, on=_shape)
layer("BatchNorm1d", 6, on=(8, 6), title="rows")
layer("SyncBatchNorm", 4, on=IMAGES[2])
layer("LayerNorm", 6, on=(2, 3, 6))
layer("LayerNorm", (3, 6), elementwise_affine=False, on=(2, 3, 6), title="two dimensions")
layer("GroupNorm", 2, 4, on=IMAGES[2])
layer("RMSNorm", 6, on=(2, 3, 6))
layer("LocalResponseNorm", 3, on=IMAGES[2])
layer("CrossMapLRN2d", 3, on=IMAGES[2])
layer("Dropout", 0.4, on=(6, 9))
layer("Dropout", 0.4, inplace=True, on=lambda t, d: (d.real(6, 9) * 1,), title="inplace")
layer("AlphaDropout", 0.4, on=(6, 9))
layer("FeatureAlphaDropout", 0.4, on=(2, 6, 5))

# --- embeddings, recurrent layers, attention

layer("Embedding", 7, 4, padding_idx=1, on=lambda t, d: (d.ints(7, 3, 5),))
layer("Embedding", 7, 4, max_norm=1.0, scale_grad_by_freq=True, on=lambda t, d: (d.ints(7, 3, 5),), title="max_norm")
for _mode in ("sum", "mean", "max"):
    layer("EmbeddingBag", 7, 4, mode=_mode, on=lambda t, d: (d.ints(7, 3, 5),), title=_mode)
layer(
    "EmbeddingBag", 7, 4, mode="sum", include_last_offset=True, title="offsets",
    on=lambda t, d: (d.ints(7, 9), t.tensor([0, 2, 5, 9]), d.real(9)),
)  # fmt: skip
for _name in ("RNN", "GRU", "LSTM"):
    layer(_name, 5, 6, on=(7, 3, 5))
    layer(_name, 5, 6, 2, batch_first=True, dropout=0.3, bidirectional=True, on=(3, 7, 5), title="two ways")
    layer(_name, 5, 6, bias=False, on=(7, 5), title="no batch")
    layer(f"{_name}Cell", 5, 6, on=(3, 5))
layer("RNN", 5, 6, nonlinearity="relu", on=(7, 3, 5), title="relu")
layer("LSTM", 5, 6, proj_size=4, on=(7, 3, 5), title="projected")
layer(
    "LSTM", 5, 6, title="packed",
    on=lambda t, d: (t.nn.utils.rnn.pack_padded_sequence(d.real(7, 3, 5), t.tensor([7, 4, 2])),),
)  # fmt: skip
layer("MultiheadAttention", 8, 2, dropout=0.2, batch_first=True, on=lambda t, d: [d.real(2, 5, 8)] * 3)
layer(
    "MultiheadAttention", 8, 2, kdim=6, vdim=7, add_bias_kv=True, add_zero_attn=True, title="unlike",
    on=lambda t, d: (d.real(4, 2, 8), d.real(5, 2, 6), d.real(5, 2, 7), d.ints(2, 2, 5).bool()),
)  # fmt: skip
layer("TransformerEncoderLayer", 8, 2, 16, batch_first=True, on=(2, 5, 8))
layer("TransformerEncoderLayer", 8, 2, 16, activation="gelu", norm_first=True, on=(5, 2, 8), title="norm first")
layer("TransformerDecoderLayer", 8, 2, 16, on=lambda t, d: (d.real(4, 2, 8), d.real(5, 2, 8)))
layer("TransformerEncoder", lambda t: t.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2, on=(2, 5, 8))
layer(
    "TransformerDecoder", lambda t: t.nn.TransformerDecoderLayer(8, 2, 16), 2,
    on=lambda t, d: (d.real(4, 2, 8), d.real(5, 2, 8)),
)  # fmt: skip
layer("Transformer", 8, 2, 1, 1, 16, on=lambda t, d: (d.real(5, 2, 8), d.real(4, 2, 8)))
layer("Sequential", lambda t: t.nn.Linear(5, 6), lambda t: t.nn.ReLU(), lambda t: t.nn.Linear(6, 2), on=(4, 5))

# --- losses and distances

for _name in ("L1Loss", "MSELoss", "SmoothL1Loss", "HuberLoss", "SoftMarginLoss", "PoissonNLLLoss"):
    layer(_name, on=lambda t, d: (d.real(4, 5), d.signs(4, 5)))
layer("MSELoss", reduction="none", on=lambda t, d: (d.real(4, 5), d.real(4, 5)), title="none")
layer("BCELoss", on=lambda t, d: (d.unit(4, 5), d.unit(4, 5)))
layer("BCEWithLogitsLoss", pos_weight=lambda t: t.arange(1.0, 6), on=lambda t, d: (d.real(4, 5), d.unit(4, 5)))
layer("KLDivLoss", reduction="batchmean", on=lambda t, d: (d.real(4, 5), d.unit(4, 5)))
layer("GaussianNLLLoss", full=True, on=lambda t, d: (d.real(4, 5), d.real(4, 5), d.unit(4, 5)))
layer("CrossEntropyLoss", on=lambda t, d: (d.real(6, 5), d.ints(5, 6)))
layer(
    "CrossEntropyLoss", weight=lambda t: t.arange(1.0, 6), ignore_index=2, label_smoothing=0.1, title="weighted",
    on=lambda t, d: (d.real(6, 5, 3), d.ints(5, 6, 3)),
)  # fmt: skip
layer("CrossEntropyLoss", label_smoothing=0.1, on=lambda t, d: (d.real(6, 5), d.ints(5, 6)), title="smoothed")
layer("CrossEntropyLoss", on=lambda t, d: (d.real(6, 5), d.unit(6, 5).softmax(1)), title="soft")
layer("NLLLoss", on=lambda t, d: (d.real(6, 5), d.ints(5, 6)))
layer("NLLLoss2d", on=lambda t, d: (d.real(2, 5, 3, 3), d.ints(5, 2, 3, 3)))
layer("LinearCrossEntropyLoss", 6, 5, on=lambda t, d: (d.real(4, 6), d.ints(5, 4)))
layer("MultiLabelMarginLoss", on=lambda t, d: (d.real(3, 4), t.tensor([[3, 0, -1, 1], [0, -1, 2, 3], [1, 2, 3, 0]])))
layer("MultiLabelSoftMarginLoss", on=lambda t, d: (d.real(3, 4), d.ints(2, 3, 4).float()))
layer("MultiMarginLoss", on=lambda t, d: (d.real(6, 5), d.ints(5, 6)))
layer("HingeEmbeddingLoss", on=lambda t, d: (d.real(4, 5), d.signs(4, 5)))
layer("MarginRankingLoss", margin=0.2, on=lambda t, d: (d.real(6), d.real(6), d.signs(6)))
layer("CosineEmbeddingLoss", margin=0.2, on=lambda t, d: (d.real(4, 5), d.real(4, 5), d.signs(4)))
layer("TripletMarginLoss", swap=True, on=lambda t, d: (d.real(4, 5), d.real(4, 5), d.real(4, 5)))
layer("TripletMarginWithDistanceLoss", on=lambda t, d: (d.real(4, 5), d.real(4, 5), d.real(4, 5)))
layer(
    "CTCLoss",
    on=lambda t, d: (
        d.real(8, 2, 5).log_softmax(2), d.ints(4, 2, 3) + 1, t.tensor([8, 7]), t.tensor([3, 2]),
    ),
)  # fmt: skip
layer("CosineSimilarity", on=lambda t, d: (d.real(4, 5), d.real(4, 5)))
layer("PairwiseDistance", on=lambda t, d: (d.real(4, 5), d.real(4, 5)))
layer("AdaptiveLogSoftmaxWithLoss", 6, 9, [3, 6], on=lambda t, d: (d.real(5, 6), d.ints(9, 5)))
