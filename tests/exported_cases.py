"""Modules with an example each, for everything that takes models out: programs, ONNX, StableHLO.

`LAYERS` has, by name, what makes the module, and its inputs. `MODELS` are whole ones, with the names of the sizes that
may vary in each input.
"""

# ruff: noqa: E501  (a row per family of functions)

import flambeau as torch
import flambeau.nn.functional as F
from flambeau import nn


def images(n=2, c=4, *size):
    return torch.randn(n, c, *(size or (8, 6)))


LAYERS = {
    "linear": (lambda: nn.Linear(3, 2), lambda: [torch.randn(4, 3)]),
    "linear without bias, 3 dimensions": (lambda: nn.Linear(3, 2, bias=False), lambda: [torch.randn(4, 5, 3)]),
    "linear, 1 dimension": (lambda: nn.Linear(3, 2), lambda: [torch.randn(3)]),
    "bilinear": (lambda: nn.Bilinear(3, 2, 4), lambda: [torch.randn(4, 3), torch.randn(4, 2)]),
    "identity": (lambda: nn.Identity(), lambda: [torch.randn(4, 3)]),
    "embedding": (lambda: nn.Embedding(5, 3, padding_idx=1), lambda: [torch.tensor([[1, 2], [4, 1]])]),
    "flatten": (lambda: nn.Flatten(), lambda: [images()]),
    "flatten, some": (lambda: nn.Flatten(2, 3), lambda: [images(2, 3, 4, 5, 6)]),
    "unflatten": (lambda: nn.Unflatten(1, (2, 2)), lambda: [images()]),
    "max_pool1d": (lambda: nn.MaxPool1d(3, 2, 1), lambda: [images(2, 3, 9)]),
    "max_pool2d": (lambda: nn.MaxPool2d(3, 2, 1), lambda: [images()]),
    "max_pool2d, dilated": (lambda: nn.MaxPool2d(2, 1, 0, 2), lambda: [images()]),
    "max_pool2d, ceil": (lambda: nn.MaxPool2d(3, 2, ceil_mode=True), lambda: [images(2, 2, 8, 8)]),
    "max_pool2d, ceil, last window outside": (
        lambda: nn.MaxPool2d(2, 3, 1, ceil_mode=True), lambda: [images(1, 1, 7, 7)]
    ),
    "max_pool3d": (lambda: nn.MaxPool3d(2), lambda: [images(1, 2, 4, 4, 6)]),
    "max_pool2d without a batch": (lambda: nn.MaxPool2d(2), lambda: [torch.randn(3, 6, 6)]),
    "avg_pool1d": (lambda: nn.AvgPool1d(3, 2, 1), lambda: [images(2, 3, 9)]),
    "avg_pool2d": (lambda: nn.AvgPool2d(3, 2, 1), lambda: [images()]),
    "avg_pool2d without the border": (lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False), lambda: [images()]),
    "avg_pool2d, ceil": (lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True), lambda: [images(1, 1, 8, 8)]),
    "avg_pool2d, divisor": (lambda: nn.AvgPool2d(2, divisor_override=3), lambda: [images()]),
    "avg_pool3d": (lambda: nn.AvgPool3d(2), lambda: [images(1, 2, 4, 4, 6)]),
    "adaptive_avg_pool2d of 1": (lambda: nn.AdaptiveAvgPool2d(1), lambda: [images()]),
    "adaptive_avg_pool2d that divides": (lambda: nn.AdaptiveAvgPool2d((4, 3)), lambda: [images()]),
    "adaptive_avg_pool2d that does not": (lambda: nn.AdaptiveAvgPool2d((3, 4)), lambda: [images()]),
    "adaptive_avg_pool1d": (lambda: nn.AdaptiveAvgPool1d(2), lambda: [images(2, 3, 8)]),
    "adaptive_avg_pool3d": (lambda: nn.AdaptiveAvgPool3d((2, 1, 3)), lambda: [images(1, 2, 4, 3, 6)]),
    "adaptive_max_pool2d": (lambda: nn.AdaptiveMaxPool2d((4, 3)), lambda: [images()]),
    "adaptive_max_pool2d that does not divide": (lambda: nn.AdaptiveMaxPool2d((3, 4)), lambda: [images()]),
    "adaptive_max_pool1d": (lambda: nn.AdaptiveMaxPool1d(1), lambda: [images(2, 3, 8)]),
    "batch_norm1d": (lambda: trained(nn.BatchNorm1d(3)), lambda: [torch.randn(4, 3)]),
    "batch_norm1d, 3 dimensions": (lambda: trained(nn.BatchNorm1d(3)), lambda: [torch.randn(4, 3, 5)]),
    "batch_norm2d": (lambda: trained(nn.BatchNorm2d(4)), lambda: [images()]),
    "batch_norm2d, not affine": (lambda: trained(nn.BatchNorm2d(4, affine=False)), lambda: [images()]),
    "batch_norm2d without statistics": (lambda: nn.BatchNorm2d(4, track_running_stats=False), lambda: [images()]),
    "batch_norm3d": (lambda: trained(nn.BatchNorm3d(2)), lambda: [images(2, 2, 2, 3, 3)]),
    "instance_norm2d": (lambda: nn.InstanceNorm2d(4, affine=True), lambda: [images()]),
    "layer_norm": (lambda: nn.LayerNorm(5), lambda: [torch.randn(2, 3, 5)]),
    "layer_norm, 2 dimensions": (lambda: nn.LayerNorm((3, 5)), lambda: [torch.randn(2, 3, 5)]),
    "layer_norm, not affine": (lambda: nn.LayerNorm(5, elementwise_affine=False), lambda: [torch.randn(2, 5)]),
    "rms_norm": (lambda: nn.RMSNorm(5), lambda: [torch.randn(2, 3, 5)]),
    "group_norm": (lambda: nn.GroupNorm(2, 4), lambda: [images()]),
    "local_response_norm": (lambda: nn.LocalResponseNorm(3), lambda: [images()]),
    "dropout": (lambda: nn.Dropout(0.5), lambda: [torch.randn(3, 4)]),
    "dropout2d": (lambda: nn.Dropout2d(0.5), lambda: [images()]),
    "alpha_dropout": (lambda: nn.AlphaDropout(0.5), lambda: [torch.randn(3, 4)]),
    "rnn": (lambda: nn.RNN(3, 4), lambda: [torch.randn(5, 2, 3)]),
    "rnn, relu": (lambda: nn.RNN(3, 4, nonlinearity="relu", bias=False), lambda: [torch.randn(5, 2, 3)]),
    "rnn, deep, both ways": (lambda: nn.RNN(3, 4, 2, bidirectional=True), lambda: [torch.randn(5, 2, 3)]),
    "lstm": (lambda: nn.LSTM(3, 4), lambda: [torch.randn(5, 2, 3)]),
    "lstm, states": (
        lambda: nn.LSTM(3, 4, batch_first=True),
        lambda: [torch.randn(2, 5, 3), (torch.randn(1, 2, 4), torch.randn(1, 2, 4))],
    ),
    "lstm, deep, both ways": (lambda: nn.LSTM(3, 4, 2, bidirectional=True), lambda: [torch.randn(5, 2, 3)]),
    "lstm, projected": (lambda: nn.LSTM(3, 4, proj_size=2), lambda: [torch.randn(5, 2, 3)]),
    "lstm without a batch": (lambda: nn.LSTM(3, 4), lambda: [torch.randn(5, 3)]),
    "gru": (lambda: nn.GRU(3, 4), lambda: [torch.randn(5, 2, 3)]),
    "gru without bias, batch first": (lambda: nn.GRU(3, 4, bias=False, batch_first=True), lambda: [torch.randn(2, 5, 3)]),
    "gru, deep, both ways": (lambda: nn.GRU(3, 4, 2, bidirectional=True), lambda: [torch.randn(5, 2, 3)]),
    "rnn_cell": (lambda: nn.RNNCell(3, 4), lambda: [torch.randn(2, 3)]),
    "lstm_cell": (lambda: nn.LSTMCell(3, 4), lambda: [torch.randn(2, 3)]),
    "gru_cell": (lambda: nn.GRUCell(3, 4), lambda: [torch.randn(2, 3)]),
    "attention heads": (lambda: nn.MultiheadAttention(4, 2), lambda: [torch.randn(3, 2, 4) for _ in range(3)]),
    "attention heads, batch first, no weights": (
        lambda: Called(nn.MultiheadAttention(4, 2, batch_first=True), need_weights=False),
        lambda: [torch.randn(2, 3, 4) for _ in range(3)],
    ),
    "attention heads, padding": (
        lambda: Called(nn.MultiheadAttention(4, 2, batch_first=True)),
        lambda: [*(torch.randn(2, 3, 4) for _ in range(3)), torch.tensor([[False, False, True], [False, False, False]])],
    ),
    "attention heads, other widths": (
        lambda: nn.MultiheadAttention(4, 2, kdim=3, vdim=5, add_bias_kv=True, add_zero_attn=True),
        lambda: [torch.randn(3, 2, 4), torch.randn(5, 2, 3), torch.randn(5, 2, 5)],
    ),
    "attention": (lambda: Function(F.scaled_dot_product_attention), lambda: [torch.randn(2, 3, 4) for _ in range(3)]),
    "attention, causal": (
        lambda: Function(F.scaled_dot_product_attention, is_causal=True),
        lambda: [torch.randn(2, 2, 3, 4), torch.randn(2, 2, 5, 4), torch.randn(2, 2, 5, 6)],
    ),
    "attention, bool mask": (
        lambda: Function(F.scaled_dot_product_attention),
        lambda: [*(torch.randn(2, 3, 4) for _ in range(3)), torch.tensor([[1, 0, 0], [1, 1, 0], [0, 0, 0]]).bool()],
    ),
    "attention, float mask": (
        lambda: Function(F.scaled_dot_product_attention, scale=0.3),
        lambda: [*(torch.randn(2, 3, 4) for _ in range(3)), torch.randn(3, 3)],
    ),
    "transformer layer": (lambda: nn.TransformerEncoderLayer(4, 2, 8), lambda: [torch.randn(3, 2, 4)]),
    "transformer layer, norm first": (
        lambda: nn.TransformerEncoderLayer(4, 2, 8, norm_first=True, activation="gelu", batch_first=True),
        lambda: [torch.randn(2, 3, 4)],
    ),
    "transformer decoder layer": (
        lambda: nn.TransformerDecoderLayer(4, 2, 8), lambda: [torch.randn(3, 2, 4), torch.randn(5, 2, 4)]
    ),
    "pixel_shuffle": (lambda: nn.PixelShuffle(2), lambda: [images()]),
    "pixel_unshuffle": (lambda: nn.PixelUnshuffle(2), lambda: [images()]),
    "upsample nearest": (lambda: nn.Upsample(scale_factor=2), lambda: [images()]),
    "upsample bilinear": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), lambda: [images()]),
    "upsample bilinear, corners": (
        lambda: nn.Upsample(size=(5, 9), mode="bilinear", align_corners=True), lambda: [images()]
    ),
    "softmax2d": (lambda: nn.Softmax2d(), lambda: [images()]),
    "cosine_similarity": (lambda: nn.CosineSimilarity(), lambda: [torch.randn(3, 4), torch.randn(3, 4)]),
    "glu": (lambda: nn.GLU(1), lambda: [torch.randn(3, 4)]),
    "prelu": (lambda: nn.PReLU(), lambda: [images()]),
    "prelu, channels": (lambda: nn.PReLU(4), lambda: [images()]),
}  # fmt: skip

for _name, _sizes, _conv, _transposed in (
    (1, (9,), nn.Conv1d, nn.ConvTranspose1d),
    (2, (8, 6), nn.Conv2d, nn.ConvTranspose2d),
    (3, (5, 4, 6), nn.Conv3d, nn.ConvTranspose3d),
):
    for _how, _options in {
        "": {},
        ", strided, padded": {"stride": 2, "padding": 1},
        ", dilated": {"dilation": 2},
        ", groups": {"groups": 2, "bias": False},
        ", depthwise": {"groups": 4},
        ", same": {"padding": "same"},
        ", same, dilated": {"padding": "same", "dilation": 2, "padding_mode": "zeros"},
        ", valid": {"padding": "valid"},
        ", reflect": {"padding": 2, "padding_mode": "reflect"},
        ", replicate": {"padding": 1, "padding_mode": "replicate"},
        ", circular": {"padding": 1, "padding_mode": "circular"},
    }.items():
        LAYERS[f"conv{_name}d{_how}"] = (
            lambda conv=_conv, options=_options: conv(4, 8, 3 if options.get("dilation", 1) == 1 else 2, **options),
            lambda sizes=_sizes: [images(2, 4, *sizes)],
        )
    for _how, _options in {
        "": {},
        ", strided": {"stride": 2, "padding": 1, "output_padding": 1},
        ", dilated, groups": {"dilation": 2, "groups": 2, "bias": False},
    }.items():
        LAYERS[f"conv_transpose{_name}d{_how}"] = (
            lambda conv=_transposed, options=_options: conv(4, 2, 3, **options),
            lambda sizes=_sizes: [images(2, 4, *sizes)],
        )
LAYERS["conv2d without a batch"] = (lambda: nn.Conv2d(4, 2, 3), lambda: [torch.randn(4, 6, 6)])

for _cls in (
    nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Mish, nn.ELU, nn.CELU, nn.SELU, nn.LeakyReLU, nn.Hardtanh, nn.Hardswish,
    nn.Hardsigmoid, nn.Hardshrink, nn.Softshrink, nn.Softplus, nn.Softsign, nn.Sigmoid, nn.LogSigmoid, nn.Tanh,
    nn.Tanhshrink, nn.RReLU,
):  # fmt: skip
    LAYERS[_cls.__name__] = (_cls, lambda: [torch.linspace(-7, 7, 30).reshape(2, 15)])
LAYERS["GELU, tanh"] = (lambda: nn.GELU("tanh"), lambda: [torch.linspace(-7, 7, 30)])
LAYERS["Threshold"] = (lambda: nn.Threshold(0.5, 2.0), lambda: [torch.linspace(-2, 2, 9)])
LAYERS["Softplus, beta"] = (lambda: nn.Softplus(2.0, 3.0), lambda: [torch.linspace(-7, 7, 30)])
for _cls in (nn.Softmax, nn.LogSoftmax, nn.Softmin):
    LAYERS[_cls.__name__] = (lambda cls=_cls: cls(1), lambda: [torch.randn(3, 4, 2)])
for _name, _pads in {
    "ReflectionPad1d": 2, "ReflectionPad2d": (1, 2, 2, 1), "ReflectionPad3d": 1, "ReplicationPad1d": 2,
    "ReplicationPad2d": (1, 2, 2, 1), "ReplicationPad3d": 1, "ZeroPad2d": (1, -1, 2, 0), "CircularPad2d": (1, 2, 2, 1),
}.items():  # fmt: skip
    _n = int(_name[-2])
    LAYERS[_name] = (
        lambda name=_name, pads=_pads: getattr(nn, name)(pads), lambda n=_n: [images(1, 2, *(4, 5, 6)[-n:])]
    )  # fmt: skip
LAYERS["ConstantPad2d"] = (lambda: nn.ConstantPad2d((1, 2, 0, 1), 3.5), lambda: [images()])


def trained(norm):
    """A norm whose running statistics are no more those that it began with."""
    for _ in range(2):
        shape = (4, norm.num_features, *[3] * {"1": 0, "2": 2, "3": 3}[type(norm).__name__[-2]])
        norm(torch.randn(shape) * 2 + 1)
    return norm


class Called(nn.Module):
    """A module called with options."""

    def __init__(self, inner, **options):
        super().__init__()
        self.inner = inner
        self.options = options

    def forward(self, *args):
        return self.inner(*args, **self.options)


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function, **options):
        super().__init__()
        self.function = function
        self.options = options

    def forward(self, *args):
        return self.function(*args, **self.options)


# functions of one or more tensors, by what they are about
FUNCTIONS = {
    "arithmetic": (lambda x, y: (x + y, x - y, x * y, x / y, 2 - x, 3 / y, -x, x + 1, x * 2.5), 2),
    "broadcast": (lambda x, y: x[:, :1] * y[0] + x[0, 0], 2),
    "powers": (lambda x, y: (x**2, x.abs() ** y, 2**x, x.abs().sqrt(), x.abs().rsqrt(), x.square(), x.reciprocal()), 2),
    "exponentials": (lambda x, y: (x.exp(), x.abs().log(), x.abs().log1p(), x.expm1(), x.abs().log2(), x.exp2()), 2),
    "trigonometry": (lambda x, y: (x.sin(), x.cos(), x.tan(), x.tanh(), x.atan(), x.sinh(), x.cosh(), x.asinh()), 2),
    "rounding": (lambda x, y: ((x * 3).floor(), (x * 3).ceil(), (x * 3).round(), (x * 3).trunc(), x.sign(), x.frac()), 2),
    "special": (lambda x, y: (x.erf(), x.sigmoid(), x.erfc(), x.sinc(), (x.sigmoid() * 0.98 + 0.01).logit()), 2),
    "division": (lambda x, y: (x // y, x % y, x.fmod(y), torch.div(x, y, rounding_mode="trunc")), 2),
    "comparison": (lambda x, y: (x > y, x >= 0, x < y, x <= 0, x == y, x != y, torch.maximum(x, y), torch.minimum(x, y)), 2),
    "logic": (lambda x, y: ((x > 0) & (y > 0), (x > 0) | (y > 0), ~(x > 0), (x > 0) ^ (y > 0), (x > 0).logical_not()), 2),
    "choice": (lambda x, y: (torch.where(x > 0, x, y), x.clamp(-0.5, 0.5), x.clamp(min=0), x.masked_fill(y > 0, -1.0)), 2),
    "choice by tensors": (lambda x, y: (x.clamp(y - 1, y + 1), x.clamp(max=y), torch.where(x > 0, 1.0, 0.0)), 2),
    "sums": (lambda x, y: (x.sum(), x.sum(1), x.sum((0, 1), keepdim=True), x.mean(), x.mean(0), x.mean(-1, keepdim=True)), 2),
    "products": (lambda x, y: (x.prod(), x.prod(1), x.cumsum(1), x.amax(1), x.amin(0), x.max(), x.min()), 2),
    "extremes": (lambda x, y: (x.max(1), x.min(0, keepdim=True), x.argmax(1), x.argmin(), x.argmax(0, keepdim=True)), 2),
    "spread": (lambda x, y: (x.var(1), x.std(0, unbiased=False), x.var(), x.norm(), x.norm(1, 1), x.logsumexp(1)), 2),
    "truth": (lambda x, y: ((x > 0).any(), (x > 0).all(1), (x > 0).sum(1), (x > -9).all()), 2),
    "order": (lambda x, y: (*x.topk(2, 1), *x.sort(1, descending=True), x.argsort(0)), 2),
    "shapes": (lambda x, y: (x.reshape(2, 6), x.view(-1), x.t(), x.unsqueeze(1), x[:, None].squeeze(1), x.flatten()), 2),
    "turning": (lambda x, y: (x.transpose(0, 1), x[None].permute(2, 0, 1), x.expand(2, 3, 4), x.flip(1), x.roll(1, 1)), 2),
    "joining": (lambda x, y: (torch.cat([x, y], 1), torch.stack([x, y]), *x.chunk(2, 1), *x.split([1, 2]), *x.unbind(1)), 2),
    "slices": (lambda x, y: (x[0], x[:, 1:3], x[..., ::2], x[1:, -1], x[None, :, None], x[-1:]), 2),
    "picking": (lambda x, y: (x[torch.tensor([1, 0])], x[:, torch.tensor([[0, 2], [1, 1]])], x.index_select(1, torch.tensor([3, 0]))), 2),
    "gathering": (lambda x, y: (x.gather(1, torch.tensor([[0, 1], [2, 3], [1, 1]])), x.take_along_dim(y.argsort(1), 1)), 2),
    "scattering": (lambda x, y: (x.scatter(1, torch.tensor([[0], [2], [1]]), 9.0), x.scatter_add(1, torch.tensor([[0], [2], [1]]), y)), 2),
    "two indices": (lambda x, y: (x[torch.tensor([0, 2]), torch.tensor([1, 3])], x[torch.arange(3), y.argmax(1)]), 2),
    "matrices": (lambda x, y: (x @ y.t(), x.mm(y.t()), x[None].bmm(y.t()[None]), x @ y[0], torch.einsum("ij,kj->ik", x, y)), 2),
    "triangles": (lambda x, y: (x.tril(), x.triu(1), x.tril(-1), x.diagonal()), 2),
    "repetition": (lambda x, y: (x.repeat(2, 1), x.repeat_interleave(2, 0), x.tile(2)), 2),
    "types": (lambda x, y: (x.long(), x.double(), (x > 0).float(), x.to(torch.int32) + 1, x.half().float()), 2),
    "making": (lambda x, y: (torch.zeros_like(x), torch.ones_like(x) * y, x.new_full((2,), 3.0), torch.arange(4) + x), 2),
    "lerp": (lambda x, y: (torch.lerp(x, y, 0.3), torch.addcmul(x, x, y, value=2.0), torch.addmm(x, x[:, :3], y), torch.baddbmm(x[None], x[None, :, :3], y[None])), 2),
    "one_hot": (lambda x, y: F.one_hot(x.argmax(1), 4), 2),
    "normalize": (lambda x, y: (F.normalize(x), F.softmax(x, 0), F.log_softmax(x, -1), torch.cdist(x, y)), 2),
    "writes": (lambda x, y: written(x, y), 2),
    "loss": (lambda x, y: (F.mse_loss(x, y), F.cross_entropy(x, y.argmax(1)), F.l1_loss(x, y), F.smooth_l1_loss(x, y)), 2),
    "isnan": (lambda x, y: ((x / 0).isnan(), x.isinf(), x.isfinite(), torch.nan_to_num(x / 0 * 0)), 2),
}  # fmt: skip


def written(x, y):
    """Writes through views, into slices and by indices."""
    z = x.clone()
    z[0] = 1.0
    z[:, 1] += y[:, 2]
    z.view(-1)[3:5].mul_(2)
    z.t()[2].sub_(1)
    z[torch.tensor([0, 2]), 1] = 7.0
    first = z[1]
    first.relu_()
    z.unsqueeze(0)[0, :, 3:] = y[:, :1]
    z[z > 3] = 0.5
    return z, first + 1


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))

    def forward(self, x):
        return self.layers(x.flatten(1)).softmax(-1)


class CNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        )  # fmt: skip
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        h = self.features(x)
        return self.head(h.view(h.size(0), -1))


class Block(nn.Module):
    def __init__(self, a, b, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b)
        self.conv2, self.bn2 = nn.Conv2d(b, b, 3, 1, 1, bias=False), nn.BatchNorm2d(b)
        self.down = nn.Sequential(nn.Conv2d(a, b, 1, stride, bias=False), nn.BatchNorm2d(b)) if stride > 1 else None

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        y += x if self.down is None else self.down(x)
        return F.relu(y, inplace=True)


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.blocks = nn.Sequential(Block(8, 8, 1), Block(8, 16, 2))
        self.fc = nn.Linear(16, 4)

    def forward(self, x):
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(self.blocks(self.stem(x)), (1, 1)), 1))


class GPT(nn.Module):
    """A small one, with its mask as a buffer in one layer and the fused attention in the other."""

    def __init__(self, vocabulary=11, width=8, heads=2, length=16):
        super().__init__()
        self.heads = heads
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(5))
        self.qkv = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(2))
        self.out = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.mlps = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)) for _ in range(2)
        )
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight
        self.register_buffer("mask", torch.tril(torch.ones(length, length)).view(1, 1, length, length))

    def attend(self, i, x):
        B, T, C = x.size()
        q, k, v = self.qkv[i](x).split(C, dim=2)
        q, k, v = (t.view(B, T, self.heads, C // self.heads).transpose(1, 2) for t in (q, k, v))
        if i == 0:
            scores = (q @ k.transpose(-2, -1)) * (1.0 / k.size(-1) ** 0.5)
            y = scores.masked_fill(self.mask[:, :, :T, :T] == 0, float("-inf")).softmax(-1) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out[i](y.transpose(1, 2).contiguous().view(B, T, C))

    def forward(self, idx):
        x = self.tokens(idx) + self.positions(torch.arange(0, idx.size(1)))
        for i in range(2):
            x = x + self.attend(i, self.norms[2 * i](x))
            x = x + self.mlps[i](self.norms[2 * i + 1](x))
        return self.head(self.norms[4](x))


class LSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(10, 6), nn.LSTM(6, 8, 2, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(16, 3)

    def forward(self, x):
        return self.fc(self.lstm(self.embedding(x))[0][:, -1])


class Encoder(nn.Module):
    """PyTorch's own transformer, with a mask made for the length."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.size(1))
        return self.encoder(x, mask=mask)


# name: (module, inputs, for each input its dimensions that may vary, inputs of other sizes)
MODELS = {
    "mlp": (MLP, lambda n=4: [torch.randn(n, 2, 3)], [{0: "batch"}], lambda: [torch.randn(1, 2, 3)]),
    "cnn": (
        CNN, lambda: [torch.randn(2, 3, 8, 8)], [{0: "batch", 2: "height", 3: "width"}],
        lambda: [torch.randn(3, 3, 12, 10)],
    ),
    "resnet": (ResNet, lambda: [torch.randn(2, 3, 8, 8)], [{0: "batch"}], lambda: [torch.randn(5, 3, 8, 8)]),
    "gpt": (
        GPT, lambda: [torch.randint(0, 11, (2, 7))], [{0: "batch", 1: "time"}], lambda: [torch.randint(0, 11, (3, 12))]
    ),
    "lstm": (
        LSTM, lambda: [torch.randint(0, 10, (3, 6))], [{0: "batch", 1: "time"}],
        lambda: [torch.randint(0, 10, (2, 9))],
    ),
    "encoder": (Encoder, lambda: [torch.randn(2, 5, 8)], [{0: "batch", 1: "time"}], lambda: [torch.randn(4, 8, 8)]),
}  # fmt: skip


def flat(result):
    """The tensors of a result."""
    if isinstance(result, torch.Tensor):
        return [result]
    return [t for r in result or () for t in flat(r)] if isinstance(result, (tuple, list)) else []


def built(name, table=LAYERS):
    """A module in evaluation mode and its inputs, the same at every call."""
    torch.manual_seed(0)
    make, inputs = table[name][:2]
    module = make().eval()
    torch.manual_seed(1)
    return module, tuple(inputs())
