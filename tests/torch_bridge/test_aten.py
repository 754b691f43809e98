"""Modules of PyTorch in JAX by core ATen: the same outputs, operation by operation."""

import operator
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations
from torch_modules import Net

from symvi.torch_bridge.torch_export import OPAQUE, exported, in_double, origin

TOLERANCE = 1e-10  # relative, in float64


@pytest.fixture(autouse=True, scope="module")
def quick_compilation():
    """Every test here compiles something small and runs it once."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def ones(*shape):
    return torch.ones(shape)


def scaled(function):
    """A function of the input times a parameter, for what has no parameters of its own."""
    return Net(lambda s, x: function(x * s.gain), gain=ones(1))


def scaled_layer(layer):
    return nn.Sequential(layer, Net(lambda s, x: x * s.gain, gain=ones(1)))


def first(layer, *args):
    """The first of what a layer returns, as of an LSTM."""
    return Net(lambda s, x: s.a(x, *args)[0], a=layer)


def attention(**settings):
    def forward(s, x):
        return s.a(x, x, x, need_weights=settings.get("bias", True))[0]

    return Net(forward, a=nn.MultiheadAttention(4, 2, batch_first=True, **settings))


def masked_attention():
    mask = torch.triu(torch.full((3, 3), float("-inf")), 1)
    return Net(
        lambda s, x: s.a(x, x, x, attn_mask=s.m, need_weights=False)[0],
        {"m": mask},
        a=nn.MultiheadAttention(4, 2, batch_first=True),
    )


def tied():
    module = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    module[2].weight = module[0].weight
    return module


def cell(s, x):
    h, c = s.a(x[:, 0])
    return s.a(x[:, 1], (h, c))[0]


def in_place(s, x):
    h = s.a(x)
    F.relu(h, inplace=True)
    h[:, 1:] += h[:, :1]
    h[:, 0] = 2.0
    return s.b(h)


def swin_mask(s, x):
    """A mask written by assignments, as in swin transformers."""
    mask = x.new_zeros(3, 4)
    mask[1:, :2] = -5.0
    return F.softmax(s.a(x) + mask.unsqueeze(0), -1)


LINE, SIGNAL, IMAGE, VOLUME, SEQUENCE = (3,), (4, 9), (4, 7, 6), (2, 5, 4, 4), (3, 4)
TOKENS = "tokens"  # three of five tokens

# name: a module and the shape of one datum
LAYERS = {
    "Linear": (lambda: nn.Linear(3, 2), LINE),
    "Linear without bias, on a sequence": (lambda: nn.Linear(4, 2, bias=False), SEQUENCE),
    "Bilinear": (lambda: Net(lambda s, x: s.a(x, x.tanh()), a=nn.Bilinear(3, 3, 2)), LINE),
    "Conv1d": (lambda: nn.Conv1d(4, 3, 3, stride=2, padding=1), SIGNAL),
    "Conv2d": (lambda: nn.Conv2d(4, 3, (3, 2), stride=(1, 2), padding=(1, 0)), IMAGE),
    "Conv3d": (lambda: nn.Conv3d(2, 3, 2), VOLUME),
    "Conv2d, same": (lambda: nn.Conv2d(4, 3, (4, 3), padding="same"), IMAGE),
    "Conv2d, grouped": (lambda: nn.Conv2d(4, 6, 3, groups=2), IMAGE),
    "Conv2d, depthwise": (lambda: nn.Conv2d(4, 8, 3, groups=4, bias=False), IMAGE),
    "Conv2d, dilated": (lambda: nn.Conv2d(4, 2, 2, dilation=(2, 3), padding=2), IMAGE),
    "Conv2d, circular": (lambda: nn.Conv2d(4, 2, 3, padding=1, padding_mode="circular"), IMAGE),
    "Conv2d, reflected": (lambda: nn.Conv2d(4, 2, 3, padding=1, padding_mode="reflect"), IMAGE),
    "Conv1d, replicated": (lambda: nn.Conv1d(4, 2, 3, padding=2, padding_mode="replicate"), SIGNAL),
    "ConvTranspose1d": (
        lambda: nn.ConvTranspose1d(4, 2, 3, stride=2, padding=1, output_padding=1),
        SIGNAL,
    ),
    "ConvTranspose2d": (
        lambda: nn.ConvTranspose2d(4, 6, (3, 2), stride=(2, 3), groups=2, dilation=(1, 2)),
        IMAGE,
    ),
    "ConvTranspose3d": (lambda: nn.ConvTranspose3d(2, 3, 2, padding=1), VOLUME),
    "MaxPool1d": (lambda: scaled_layer(nn.MaxPool1d(3, padding=1)), SIGNAL),
    "MaxPool2d": (lambda: scaled_layer(nn.MaxPool2d(2, dilation=2, stride=1)), IMAGE),
    "MaxPool2d, ceil": (
        lambda: scaled_layer(nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)),
        IMAGE,
    ),
    "MaxPool3d": (lambda: scaled_layer(nn.MaxPool3d(2, ceil_mode=True)), VOLUME),
    "AvgPool1d": (lambda: scaled_layer(nn.AvgPool1d(3, stride=2, padding=1)), SIGNAL),
    "AvgPool1d, ceil": (lambda: scaled_layer(nn.AvgPool1d(2, padding=1, ceil_mode=True)), SIGNAL),
    "AvgPool2d, ceil": (
        lambda: scaled_layer(nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True)),
        IMAGE,
    ),
    "AvgPool2d, ceil, without pads": (
        lambda: scaled_layer(nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False)),
        IMAGE,
    ),
    "AvgPool2d, divisor": (lambda: scaled_layer(nn.AvgPool2d(2, divisor_override=3)), IMAGE),
    "AvgPool3d": (lambda: scaled_layer(nn.AvgPool3d(2, ceil_mode=True)), VOLUME),
    "AdaptiveAvgPool1d": (lambda: scaled_layer(nn.AdaptiveAvgPool1d(4)), SIGNAL),
    "AdaptiveAvgPool2d": (lambda: scaled_layer(nn.AdaptiveAvgPool2d((3, None))), IMAGE),
    "AdaptiveAvgPool2d, whole": (lambda: scaled_layer(nn.AdaptiveAvgPool2d(1)), IMAGE),
    "AdaptiveAvgPool3d": (lambda: scaled_layer(nn.AdaptiveAvgPool3d(2)), VOLUME),
    "AdaptiveMaxPool1d": (lambda: scaled_layer(nn.AdaptiveMaxPool1d(4)), SIGNAL),
    "AdaptiveMaxPool2d": (lambda: scaled_layer(nn.AdaptiveMaxPool2d((3, 2))), IMAGE),
    "LPPool2d": (lambda: scaled_layer(nn.LPPool2d(2, 2)), IMAGE),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(3), LINE),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(4), IMAGE),
    "BatchNorm3d, no weights": (
        lambda: scaled_layer(nn.BatchNorm3d(2, affine=False)),
        VOLUME,
    ),
    "LayerNorm": (lambda: nn.LayerNorm((3, 4)), SEQUENCE),
    "LayerNorm, no bias": (lambda: nn.LayerNorm(4, bias=False), SEQUENCE),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), IMAGE),
    "GroupNorm, no weights": (lambda: scaled_layer(nn.GroupNorm(2, 4, affine=False)), SIGNAL),
    "InstanceNorm1d": (lambda: nn.InstanceNorm1d(4, affine=True), SIGNAL),
    "InstanceNorm2d": (lambda: scaled_layer(nn.InstanceNorm2d(4)), IMAGE),
    "InstanceNorm2d, statistics": (
        lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
        IMAGE,
    ),
    "RMSNorm": (lambda: nn.RMSNorm(4), SEQUENCE),
    "LocalResponseNorm": (lambda: scaled_layer(nn.LocalResponseNorm(3)), IMAGE),
    "RNN": (lambda: first(nn.RNN(4, 3, batch_first=True)), SEQUENCE),
    "RNN, relu, two layers": (
        lambda: first(nn.RNN(4, 3, 2, nonlinearity="relu", batch_first=True)),
        SEQUENCE,
    ),
    "LSTM": (lambda: first(nn.LSTM(4, 3, batch_first=True)), SEQUENCE),
    "LSTM, both ways": (
        lambda: first(nn.LSTM(4, 3, batch_first=True, bidirectional=True)),
        SEQUENCE,
    ),
    "LSTM, projected": (lambda: first(nn.LSTM(4, 3, batch_first=True, proj_size=2)), SEQUENCE),
    "GRU": (lambda: first(nn.GRU(4, 3, 2, batch_first=True)), SEQUENCE),
    "RNNCell": (lambda: nn.RNNCell(3, 2), LINE),
    "LSTMCell": (lambda: Net(cell, a=nn.LSTMCell(4, 3)), SEQUENCE),
    "GRUCell": (lambda: nn.GRUCell(3, 2), LINE),
    "MultiheadAttention": (attention, SEQUENCE),
    "MultiheadAttention, more": (
        lambda: attention(bias=False, add_bias_kv=True, add_zero_attn=True),
        SEQUENCE,
    ),
    "MultiheadAttention, masked": (masked_attention, SEQUENCE),
    "TransformerEncoderLayer": (
        lambda: nn.TransformerEncoderLayer(4, 2, 5, batch_first=True),
        SEQUENCE,
    ),
    "TransformerEncoderLayer, norm first": (
        lambda: nn.TransformerEncoderLayer(
            4, 2, 5, batch_first=True, norm_first=True, activation="gelu"
        ),
        SEQUENCE,
    ),
    "TransformerDecoderLayer": (
        lambda: Net(
            lambda s, x: s.a(x, x.flip(1)), a=nn.TransformerDecoderLayer(4, 2, 5, batch_first=True)
        ),
        SEQUENCE,
    ),
    "TransformerEncoder, causal": (
        lambda: Net(
            lambda s, x: s.a(x, nn.Transformer.generate_square_subsequent_mask(3), is_causal=True),
            a=nn.TransformerEncoder(
                nn.TransformerEncoderLayer(4, 2, 5, batch_first=True),
                2,
                enable_nested_tensor=False,
            ),
        ),
        SEQUENCE,
    ),
    "Embedding": (lambda: nn.Embedding(5, 2, padding_idx=0), TOKENS),
    "EmbeddingBag": (lambda: nn.EmbeddingBag(5, 2), TOKENS),
    "EmbeddingBag, sum": (lambda: nn.EmbeddingBag(5, 2, mode="sum"), TOKENS),
    "EmbeddingBag, max": (lambda: nn.EmbeddingBag(5, 2, mode="max", padding_idx=0), TOKENS),
    "EmbeddingBag, padded": (lambda: nn.EmbeddingBag(5, 2, padding_idx=0), TOKENS),
    "PReLU": (lambda: nn.PReLU(4), IMAGE),
    "Flatten, Unflatten": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.Unflatten(1, (2, 3))),
        SEQUENCE,
    ),
    "PixelShuffle": (lambda: scaled_layer(nn.PixelShuffle(2)), IMAGE),
    "PixelUnshuffle": (
        lambda: Net(lambda s, x: s.a(x[:, :, 1:] * s.g), a=nn.PixelUnshuffle(2), g=ones(1)),
        IMAGE,
    ),
    "ChannelShuffle": (lambda: scaled_layer(nn.ChannelShuffle(2)), IMAGE),
    "Upsample, nearest": (lambda: scaled_layer(nn.Upsample(scale_factor=2)), IMAGE),
    "Upsample, nearest, uneven": (lambda: scaled_layer(nn.Upsample(size=(9, 5))), IMAGE),
    "Upsample, nearest, 1d": (lambda: scaled_layer(nn.Upsample(scale_factor=3)), SIGNAL),
    "Upsample, bilinear": (
        lambda: scaled_layer(nn.Upsample(scale_factor=2, mode="bilinear")),
        IMAGE,
    ),
    "Upsample, bilinear, corners": (
        lambda: scaled_layer(nn.Upsample(size=(9, 4), mode="bilinear", align_corners=True)),
        IMAGE,
    ),
    "Upsample, bicubic": (lambda: scaled_layer(nn.Upsample(size=(9, 9), mode="bicubic")), IMAGE),
    "ZeroPad2d": (lambda: scaled_layer(nn.ZeroPad2d((1, -1, 2, 0))), IMAGE),
    "ConstantPad1d": (lambda: scaled_layer(nn.ConstantPad1d((1, 2), 0.5)), SIGNAL),
    "ReflectionPad1d": (lambda: scaled_layer(nn.ReflectionPad1d((2, 1))), SIGNAL),
    "ReflectionPad2d": (lambda: scaled_layer(nn.ReflectionPad2d((2, 1, 0, 3))), IMAGE),
    "ReflectionPad3d": (lambda: scaled_layer(nn.ReflectionPad3d(1)), VOLUME),
    "ReplicationPad2d": (lambda: scaled_layer(nn.ReplicationPad2d((2, 1, 0, 3))), IMAGE),
    "ReplicationPad3d": (lambda: scaled_layer(nn.ReplicationPad3d(1)), VOLUME),
    "CircularPad2d": (lambda: scaled_layer(nn.CircularPad2d((2, 1, 0, 3))), IMAGE),
    "Unfold": (lambda: scaled_layer(nn.Unfold((2, 3), padding=1, stride=2)), IMAGE),
    "Fold": (
        lambda: Net(
            lambda s, x: s.a(x[:, :, :2].flatten(1, 2) * s.g),
            a=nn.Fold((3, 4), (2, 2), padding=1, stride=2),
            g=ones(1),
        ),
        IMAGE,
    ),
    "CosineSimilarity": (
        lambda: Net(lambda s, x: s.a(x * s.g, x.flip(1)), a=nn.CosineSimilarity(1), g=ones(3)),
        LINE,
    ),
    "PairwiseDistance": (
        lambda: Net(lambda s, x: s.a(x * s.g, x.flip(1)), a=nn.PairwiseDistance(), g=ones(3)),
        LINE,
    ),
    "weight_norm": (lambda: parametrizations.weight_norm(nn.Linear(3, 2)), LINE),
    "spectral_norm": (lambda: parametrizations.spectral_norm(nn.Conv2d(4, 2, 2)), IMAGE),
    "Dropout": (lambda: nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5), nn.AlphaDropout()), LINE),
}
ACTIVATIONS = (
    *("ReLU", "ReLU6", "ELU", "CELU", "SELU", "GELU", "SiLU", "Mish", "Tanh", "Sigmoid"),
    *("Hardtanh", "Hardswish", "Hardsigmoid", "LeakyReLU", "RReLU", "LogSigmoid", "Softplus"),
    *("Softsign", "Tanhshrink", "Softshrink", "Hardshrink", "GLU"),
)
ACTIVATION_SETTINGS = {
    "GELU, tanh": lambda: nn.GELU("tanh"),
    "ELU, alpha": lambda: nn.ELU(0.3),
    "Softplus, beta": lambda: nn.Softplus(3.0, 1.0),
    "Threshold": lambda: nn.Threshold(0.1, -2.0),
    "Softmax": lambda: nn.Softmax(-1),
    "Softmin": lambda: nn.Softmin(1),
    "LogSoftmax": lambda: nn.LogSoftmax(1),
    "Softmax2d": lambda: nn.Softmax2d(),
}
for _name in ACTIVATIONS:
    LAYERS[_name] = (lambda name=_name: scaled_layer(getattr(nn, name)()), IMAGE)
for _name, _make in ACTIVATION_SETTINGS.items():
    LAYERS[_name] = (lambda make=_make: scaled_layer(make()), IMAGE)

# name: a function of the input (times a parameter) and the shape of one datum
FUNCTIONS = {
    "exp, log, sqrt": (lambda x: (x.exp().log().abs() + x.abs().sqrt()).rsqrt().reciprocal(), LINE),
    "powers": (lambda x: x**2 + x.abs() ** 0.3 + 2.0**x + x.abs() ** x, LINE),
    "logarithms": (
        lambda x: torch.log1p(x.abs()) + torch.log2(x.abs()) + torch.log10(x.abs()) + x.expm1(),
        LINE,
    ),
    "trigonometric": (lambda x: x.sin() + x.cos() * x.tan() + x.atan() + x.sinh().asinh(), LINE),
    "inverse": (
        lambda x: x.tanh().acos() + x.tanh().asin() + x.tanh().atanh() + x.cosh().acosh(),
        LINE,
    ),
    "rounding": (
        lambda x: x.floor() + x.ceil() * x.round() + x.trunc() + x.sign() + (3 * x).frac(),
        LINE,
    ),
    "remainders": (
        lambda x: (
            x.fmod(0.3) + x.remainder(0.3) + x // 0.3 + torch.div(x, 0.3, rounding_mode="trunc")
        ),
        LINE,
    ),
    "comparisons": (
        lambda x: (
            torch.where((x > 0) & (x <= 1) | ~(x >= -1), x, 2 * x)
            + torch.where((x != 0).logical_xor(x < 0.2), 1.0, x)
        ),
        LINE,
    ),
    "erf": (lambda x: x.erf() + x.erfc() + torch.special.expit(x), LINE),
    "clamps": (lambda x: x.clamp(-0.2, 0.4) + x.clamp(min=x.flip(1)) + x.clamp_max(0.1), LINE),
    "maximum": (lambda x: torch.maximum(x, x.flip(1)) * torch.minimum(x, x.roll(1, 1)), LINE),
    "atan2, hypot": (lambda x: torch.atan2(x, x.flip(1)) + torch.hypot(x, x.flip(1)), LINE),
    "nan_to_num": (lambda x: torch.nan_to_num(x.log()) + torch.isnan(x.log()), LINE),
    "addcmul, lerp": (
        lambda x: (
            torch.addcmul(x, x, x, value=0.3) + torch.lerp(x, x.flip(1), 0.2) + torch.rsub(x, 1)
        ),
        LINE,
    ),
    "sums": (
        lambda x: (
            x.sum((1, 2)) + x.mean((1, 2)) + x.amax((1, 2)) - x.amin((1, 2)) + x.prod(1).sum(1)
        ),
        SEQUENCE,
    ),
    "spread": (
        lambda x: x.var(1) + x.std(1) + x.var(1, unbiased=False) + x.norm(dim=1) + x.norm(1, dim=1),
        SEQUENCE,
    ),
    "logsumexp": (lambda x: x.logsumexp(1) + x.cumsum(2).sum(1), SEQUENCE),
    "max with indices": (
        lambda x: x.max(1).values + x.min(1)[0] + x.argmax(1) * x.argmin(1),
        SEQUENCE,
    ),
    "any, all": (lambda x: x * (x > 1).any(1, keepdim=True) + x * (x < 1).all(2, True), SEQUENCE),
    "count": (lambda x: (x > 0).sum(1) / 7 + (x > 0).double().mean(1) * x.median(1)[0], SEQUENCE),
    "sort": (lambda x: x.sort(1, descending=True)[0] + x.argsort(1).sort(1)[0], SEQUENCE),
    "topk": (lambda x: x.topk(2, 1)[0] + x.topk(2, 1, largest=False)[0], SEQUENCE),
    "cumulative": (lambda x: x.cumsum(1) + x.cumprod(1) + (x > 0).cumsum(1), SEQUENCE),
    "matmul": (lambda x: x @ x.mT @ x + torch.einsum("nij,nkj,nkl->nil", x, x, x), SEQUENCE),
    "baddbmm": (lambda x: torch.baddbmm(x, x @ x.mT, x, beta=0.5, alpha=2), SEQUENCE),
    "attention": (
        lambda x: F.scaled_dot_product_attention(*[x.unsqueeze(1)] * 3, is_causal=True),
        SEQUENCE,
    ),
    "stack, split": (
        lambda x: torch.stack([*x.split((1, 3), 2)[1].unbind(1), x[:, 0, 1:]], -1).chunk(2, 1)[0],
        SEQUENCE,
    ),
    "slices": (lambda x: x[:, ::2, 1:-1] + x[..., None, -1, 2:] + x[:, [0, -1]][..., :2], SEQUENCE),
    "moves": (
        lambda x: x.roll((1, -1), (1, 2)) + x.flip((1, 2)) + x.permute(0, 2, 1).reshape(x.shape),
        SEQUENCE,
    ),
    "repeats": (
        lambda x: x.repeat(1, 2, 1) + x.repeat_interleave(2, 1) + torch.tile(x, (2, 1)),
        SEQUENCE,
    ),
    "expand, squeeze": (
        lambda x: x.unsqueeze(1).expand(-1, 2, -1, -1)[:, 0].unsqueeze(-1).squeeze(-1).squeeze(1),
        SEQUENCE,
    ),
    "triangles": (lambda x: x.tril() + x.triu(1) + torch.diag_embed(x)[:, 1, :3], SEQUENCE),
    "diagonal": (lambda x: x.diagonal(0, 1, 2) + torch.diagonal(x, 1, 1, 2)[:, :3], SEQUENCE),
    "gather": (lambda x: x.gather(1, (x[:, :2] > 0).long()), SEQUENCE),
    "take_along": (lambda x: torch.take_along_dim(x, x.argsort(2), 2), SEQUENCE),
    "index_select": (lambda x: x.index_select(2, torch.tensor([3, 0, 0])), SEQUENCE),
    "pairs of indices": (lambda x: x[:, torch.tensor([0, 2]), torch.tensor([1, 3])], SEQUENCE),
    "index in the middle": (lambda x: x[:, torch.tensor([[0, 2]]), 1:], SEQUENCE),
    "scatter": (
        lambda x: torch.zeros_like(x).scatter(1, x.argsort(1), x).scatter_add(2, x.argsort(2), x),
        SEQUENCE,
    ),
    "index_add": (
        lambda x: x.index_add(1, torch.tensor([0, 0]), x[:, :2]).index_fill(
            1, torch.tensor([1]), 0.5
        ),
        SEQUENCE,
    ),
    "masked_fill": (lambda x: x.masked_fill(x > 0.3, -1.0), SEQUENCE),
    "one_hot": (lambda x: F.one_hot(x.argmax(2), 4) * x, SEQUENCE),
    "positions": (
        lambda x: x + torch.linspace(0, 1, 4) + torch.arange(3)[:, None] / 3 + torch.eye(3, 4),
        SEQUENCE,
    ),
    "normalize": (lambda x: F.normalize(x, dim=1) + F.normalize(x, p=1, dim=2), SEQUENCE),
    "unfold": (lambda x: x.unfold(2, 3, 1).mean(-1), SEQUENCE),
    "cdist": (lambda x: torch.cdist(x, x[:, :2]), SEQUENCE),
    "tensor functions": (
        lambda x: torch.tensordot(x, x.new_ones(4, 2), 1).swapaxes(1, 2),
        SEQUENCE,
    ),
    "logaddexp": (lambda x: x.log_softmax(1).logaddexp(x.sum((1, 2), keepdim=True)), SEQUENCE),
    "meshgrid": (
        lambda x: (
            x * torch.stack(torch.meshgrid(torch.arange(3), torch.arange(4), indexing="ij"))[0]
        ),
        SEQUENCE,
    ),
    "bits": (lambda x: x * ((x > 0).int() ^ 1) + (x > 0.2).int().bitwise_or(2) * x, LINE),
    "channels last": (
        lambda x: x.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).flatten(1),
        IMAGE,
    ),
}
NETS = {
    "buffers as masks": (
        lambda: Net(
            lambda s, x: s.b(s.a(x).masked_fill(s.m, 0.0) * s.scale),
            {"m": torch.tensor([True, False, True, False]), "scale": torch.arange(4.0)},
            a=nn.Linear(3, 4),
            b=nn.Linear(4, 2),
        ),
        LINE,
    ),
    "tied weights": (tied, LINE),
    "in place": (lambda: Net(in_place, a=nn.Linear(3, 4), b=nn.Linear(4, 2)), LINE),
    "mask by assignments": (lambda: Net(swin_mask, a=nn.Linear(4, 4)), SEQUENCE),
    "weights of no layer": (
        lambda: Net(
            lambda s, x: torch.einsum("nij,jk,ilk->nil", x, s.w, s.t) * s.c,
            w=ones(4, 2),
            t=ones(3, 5, 2),
            c=torch.tensor(1.0),
        ),
        SEQUENCE,
    ),
    "maxout": (lambda: Net(lambda s, x: s.a(x).view(-1, 2, 3).amax(1), a=nn.Linear(3, 6)), LINE),
    "a parameter of buffers": (
        lambda: Net(lambda s, x: x @ s.w.tril(), w=ones(3, 3)),
        LINE,
    ),
    "no grad": (lambda: Net(lambda s, x: quietly(s.a, x) + s.a(x), a=nn.Linear(3, 2)), LINE),
}


def quietly(layer, x):
    with torch.no_grad():
        return layer(x)


def grouped():
    """The cases by the shape of their inputs: an export has a fixed cost."""
    functions = {n: (lambda f=f: scaled(f), s) for n, (f, s) in FUNCTIONS.items()}
    groups = {}
    for name, (make, shape) in {**LAYERS, **functions, **NETS}.items():
        groups.setdefault(shape, {})[name] = make
    return groups


GROUPS = grouped()


def rows(out):
    return out.reshape(out.shape[0], -1)


class SideBySide(nn.Module):
    """Modules on the same input, their outputs in one row."""

    def __init__(self, makes):
        super().__init__()
        self.parts = nn.ModuleList([make() for make in makes.values()])

    def forward(self, x):
        return torch.cat([rows(part(x)) for part in self.parts], 1)


def random(module):
    """Random weights and statistics, as after training."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.1 + 0.7 * torch.randn_like(parameter))
        for name, buffer in module.named_buffers():
            if name.endswith("var"):
                buffer.uniform_(0.5, 2.0)
            elif name.endswith("mean"):
                buffer.normal_()
    return module


def inputs(shape):
    if shape == TOKENS:
        return torch.tensor([[1, 0, 4], [1, 2, 3], [0, 0, 0]])
    return torch.randn(3, *shape, dtype=torch.float64)


def wanted(module, x):
    with in_double(torch):
        return module(x.clone())


def outputs(made, x):
    return np.asarray(jax.jit(made.apply)(made.weights, made.data, x.numpy()))


def assert_equal(got, want):
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= TOLERANCE * max(1.0, np.abs(want).max())


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("shape", GROUPS, ids=str)
def test_outputs_equal_the_modules(shape):
    makes = GROUPS[shape]
    module = random(SideBySide(makes).double().eval())
    x = inputs(shape)
    made = exported(module, x)
    got, end = outputs(made, x), 0
    for case, part in zip(makes, module.parts, strict=True):
        want = rows(wanted(part, x)).numpy()
        start, end = end, end + want.shape[1]
        error = np.abs(got[:, start:end] - want).max() / max(1.0, np.abs(want).max())
        assert error <= TOLERANCE, (case, error)
    assert end == got.shape[1] and made.output_shape == (end,)


class Sort(nn.Module):
    """A layer that cannot be exported: its control flow depends on data."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.arange(1.0, 5.0))

    def forward(self, x):
        return x.sort(-1).values * self.gain if x.sum() > -1e9 else x


def by_hand(s, x):
    values, _ = torch.max(s.sort(torch.trapz(s.a(x).unsqueeze(1) * ones(5, 1), dim=1)), 1, True)
    return s.b(values.new_tensor([1.0, 2.0]) @ torch.stack([values, values.digamma()], 1))


BY_HAND = {
    Sort: lambda own, x: jnp.sort(x, -1) * own["gain"],
    torch.trapz: lambda x, dim: jnp.trapezoid(x, axis=dim),
    torch.max: lambda x, dim, keepdim: (x.max(dim, keepdims=keepdim), x.argmax(dim)),
    "digamma": jax.scipy.special.digamma,
    operator.matmul: lambda left, right: left @ right,
}


def equations(made):
    x = jax.ShapeDtypeStruct((1, *made.input_shape), made.dtype)
    return jax.make_jaxpr(made.run)(made.weights, made.data, x).eqns


def test_functions_by_hand_are_one_equation_each():
    module = random(Net(by_hand, a=nn.Linear(3, 4), sort=Sort(), b=nn.Linear(1, 2)).double())
    x = inputs(LINE)
    made = exported(module, x, BY_HAND)
    assert_equal(outputs(made, x), wanted(module, x).numpy())
    opaque = [e for e in equations(made) if e.params.get("name") == OPAQUE]
    origins = [origin(e.source_info.name_stack) for e in opaque]
    calls = [(o.call, o.layer) for o in origins]
    assert calls == [("trapz", ""), ("Sort", "sort"), ("max", ""), ("digamma", ""), ("matmul", "")]
    assert all(e.primitive.name in ("jit", "pjit") for e in opaque)


def test_every_equation_says_where_it_comes_from():
    layer = nn.TransformerEncoderLayer(4, 2, 5, batch_first=True)
    made = exported(nn.Sequential(nn.Linear(4, 4), layer, nn.Flatten()), torch.zeros(2, 3, 4))
    origins = [origin(e.source_info.name_stack) for e in equations(made)]
    assert None not in origins
    assert {"0", "1.self_attn", "1.linear1", "1.norm2", "2"} <= {o.layer for o in origins}
    first_one = next(o for o in origins if o.call == "layer_norm")
    assert str(first_one) == f"node '{first_one.node}' (layer_norm in layer '1.norm1')"
    made_in_rows = jax.make_jaxpr(made.apply)(made.weights, made.data, jnp.zeros((2, 3, 4)))
    found = {origin(e.source_info.name_stack) for e in made_in_rows.eqns}
    assert set(origins) <= found
    assert origin("") is None


def test_weights_and_data_have_the_modules_names():
    module = tied()
    module.register_buffer("unused", ones(3))
    module.register_buffer("scale", torch.arange(3.0))
    module.append(Net(lambda s, x: x * s.m + torch.arange(3) + torch.zeros(3), {"m": ones(3)}))
    made = exported(module, np.zeros((2, 3), np.float32))
    assert set(made.weights) == {"0.weight", "0.bias", "2.bias"}
    assert all(w.dtype == np.float64 for w in made.weights.values())
    assert made.buffers == ("3.m",) and set(made.data) == {"3.m", "arange"}
    assert (made.data["arange"] == np.arange(3)).all()
    assert (made.input_shape, made.output_shape, made.dtype) == ((3,), (3,), np.float64)


def test_the_module_is_left_as_it_is():
    module = nn.Sequential(nn.Linear(3, 2), nn.Dropout(), Sort()).train()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    exported(module[:2], torch.zeros(2, 3))
    assert module.training and module[0].weight.dtype == torch.float32
    assert all((before[k] == v).all() for k, v in module.state_dict().items())
    assert "forward" not in vars(module[2]) and torch.get_default_dtype() == torch.float32


def test_float32():
    with jax.enable_x64(False):
        module = nn.Sequential(nn.Conv1d(4, 2, 3), nn.AvgPool1d(2, ceil_mode=True), nn.GELU())
        x = inputs(SIGNAL).float()
        made = exported(module, x)
        out = outputs(made, x)
        assert out.dtype == np.float32
        np.testing.assert_allclose(out, module(x).detach(), atol=1e-5)


def test_known_indices_are_read_off():
    """No arithmetic on indices is left in the jaxpr."""
    module = Net(lambda s, x: s.a(x)[:, [-1, 0]], a=nn.Linear(3, 4))
    made = exported(module, torch.zeros(1, 3))
    jaxpr = jax.make_jaxpr(lambda p, x: made.run(p, made.data, x))(made.weights, np.zeros((1, 3)))
    names = {e.primitive.name for e in jaxpr.eqns}
    assert "gather" in names and not names & {"lt", "select_n"}


def counting(s, x):
    s.n += 1
    return s.a(x)


def lin(*sizes):
    return nn.Linear(*sizes)


def hooked():
    module = nn.Linear(2, 2)
    module.lock = threading.Lock()
    return module


X = torch.zeros(2, 2)
BAD = {
    "a function": (lambda: exported(lambda x: x, X), "expected a torch.nn.Module, got function"),
    "a class": (lambda: exported(nn.Linear, X), "expected a torch.nn.Module, got type; pass an"),
    "two dtypes": (
        lambda: exported(nn.Sequential(lin(2, 3).double(), lin(3, 1)), X),
        r"one floating dtype, got torch.float32, torch.float64; convert them with module.float\(\)",
    ),
    "no parameters": (lambda: exported(nn.ReLU(), X), "one floating dtype, got no parameters"),
    "a lazy module": (
        lambda: exported(nn.LazyLinear(2), X),
        "module: expected parameters with shapes, got a lazy module; run it on a batch first",
    ),
    "an example of another size": (
        lambda: exported(lin(2, 1), torch.zeros(2, 3)),
        r"example_input: expected a batch that the module accepts, got shape \(2, 3\) \(Runtime",
    ),
    "an example without rows": (
        lambda: exported(lin(2, 1), torch.zeros(2)),
        r"example_input: expected numbers of shape \(N, ...\), N >= 1, got torch.float32 of shape",
    ),
    "a copy that fails": (
        lambda: exported(hooked(), X),
        "module: expected one that can be copied .*got TypeError: cannot pickle .*remove hooks",
    ),
    "control flow": (
        lambda: exported(Net(lambda s, x: s.a(x) if x.sum() > 0 else x, a=lin(2, 2)), X),
        "module: expected a forward pass that torch.export can trace, got .*; avoid control flow",
    ),
    "an operation": (
        lambda: exported(nn.Sequential(lin(2, 2), Net(lambda s, x: torch.fft.rfft(x).real)), X),
        r"module: node '_fft_r2c' \(\w+ in layer '1'\): expected a supported operation, "
        r"got aten._fft_r2c; .*way round: pass functions=",
    ),
    "a setting": (
        lambda: exported(
            Net(lambda s, x: F.max_pool1d(s.a(x), 2, return_indices=True)[1], a=lin(2, 2)), X
        ),
        r"module: node .*max_pool1d.*: expected only the values of a max-pool, got use of its "
        "indices; leave return_indices=False",
    ),
    "random numbers": (
        lambda: exported(Net(lambda s, x: F.dropout(s.a(x)), a=lin(2, 2)), X),
        r"node .*dropout.*: expected .*eval mode, got .*; pass training=self.training",
    ),
    "noise": (
        lambda: exported(Net(lambda s, x: s.a(x) + torch.randn(2), a=lin(2, 2)), X),
        r"\(randn\): expected a forward pass without random numbers in eval mode, got aten.randn",
    ),
    "two inputs": (
        lambda: exported(nn.Bilinear(2, 2, 1), X),
        r"module: expected one input, got \['input1', 'input2'\]; wrap it in a module",
    ),
    "two outputs": (
        lambda: exported(Net(lambda s, x: (s.a(x), x), a=lin(2, 2)), X),
        "expected one output tensor that depends on the input, got tuple; return one tensor",
    ),
    "an output of weights": (
        lambda: exported(Net(lambda s, x: s.w, w=ones(1, 2)), X),
        "expected one output tensor that depends on the input, got one that does not",
    ),
    "no rows": (
        lambda: exported(Net(lambda s, x: s.a(x).squeeze(), a=lin(2, 1)), X),
        r"expected one output tensor of shape \(N, ...\), got shape \(\) for N = 1; .*squeeze only",
    ),
    "a number of rows": (
        lambda: exported(Net(lambda s, x: s.a(x).view(2, 4), a=lin(2, 4)), X),
        "module: expected any number of rows, got RuntimeError: .* for one; use x.shape",
    ),
    "statistics of the batch": (
        lambda: exported(nn.BatchNorm1d(2, track_running_stats=False), X),
        "module: expected any number of rows, got ValueError: Expected more than 1 value",
    ),
    "a buffer that changes": (
        lambda: exported(Net(counting, {"n": torch.zeros(1)}, a=lin(2, 1)), X),
        r"module: expected buffers that stay as they are in eval mode, got \['n'\]; update them",
    ),
    "a function by hand that fails": (
        lambda: exported(
            Net(lambda s, x: torch.digamma(s.a(x)), a=lin(2, 1)), X, {torch.digamma: lambda: 1}
        ),
        "functions: 'digamma': expected a JAX function that takes PyTorch's arguments, got TypeErr",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name, capfd):
    call, match = BAD[name]
    with pytest.raises(ValueError, match=match):
        call()
    assert capfd.readouterr() == ("", "")  # PyTorch prints graphs
