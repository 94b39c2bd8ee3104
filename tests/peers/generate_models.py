"""Makes the small models of `tests/golden/models` and the values that go with them.

    python tests/peers/generate_models.py [--only NET]

Why: conformance cases try operators one at a time. What breaks a runner is how exporters put them together (shapes
computed in the graph, a batch of one baked into a Reshape, BatchNorm folded or not, a softmax at the end), and that
differs by exporter and opset. So each net here is exported several times and all exports must agree.

A net is written once, in PyTorch; the PyTorch module in double precision is where gradients come from, onnxruntime
where outputs come from. `tests/golden/README.md` describes the files. Every number follows from the seeds here; other
versions of PyTorch may export other graphs.

Needs numpy, onnx, onnxruntime, onnxscript, onnxconverter-common and torch.
"""

import argparse
import copy
import io
import logging
import math
import sys
import tempfile
import warnings
import zlib
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxconverter_common import float16
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import nn
from torch.nn import functional as F

import common
import digits

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
MODELS = GOLDEN / "models"
NEWEST = 26  # the newest opset that onnxruntime 1.31 runs; PyTorch's exporter writes later ones


# --- the nets ------------------------------------------------------------------------------------------------------


class Cnn(nn.Module):
    """Conv, BatchNorm, ReLU, pooling, and the flattening everyone writes: `x.view(x.size(0), -1)`."""

    def __init__(self, pool=F.avg_pool2d):
        super().__init__()
        self.pool = pool
        self.a, self.an = nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.b, self.bn = nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8)
        self.head = nn.Linear(8 * 2 * 2, 5)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.an(self.a(x))), 2)
        x = self.pool(F.relu(self.bn(self.b(x))), 2)
        return self.head(x.view(x.size(0), -1))


class Block(nn.Module):
    """A residual block, pre-activation (BatchNorm that cannot be folded) or not."""

    def __init__(self, i, o, stride, pre):
        super().__init__()
        self.pre = pre
        self.a, self.b = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.Conv2d(o, o, 3, 1, 1, bias=False)
        self.an, self.bn = nn.BatchNorm2d(i if pre else o), nn.BatchNorm2d(o)
        self.short = nn.Conv2d(i, o, 1, stride, bias=False) if i != o or stride != 1 else nn.Identity()

    def forward(self, x):
        if self.pre:
            return self.short(x) + self.b(F.relu(self.bn(self.a(F.relu(self.an(x))))))
        return F.relu(self.short(x) + self.bn(self.b(F.relu(self.an(self.a(x))))))


class ResNet(nn.Module):
    """Two kinds of residual block behind a normalisation that is part of the model."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.49, 0.48, 0.45]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.25, 0.24, 0.26]).view(1, 3, 1, 1))
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.body = nn.Sequential(Block(4, 4, 1, False), Block(4, 8, 2, True))
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 4)

    def forward(self, x):
        x = self.body(self.stem((x - self.mean) / self.std))
        return self.head(torch.flatten(self.pool(x), 1))


class Inverted(nn.Module):
    """MobileNet's inverted residual: 1x1 up, depthwise, squeeze and excite, 1x1 down."""

    def __init__(self, i, mid, o, stride, act, se):
        super().__init__()
        self.up, self.deep = nn.Conv2d(i, mid, 1, bias=False), nn.Conv2d(mid, mid, 3, stride, 1, groups=mid, bias=False)
        self.un, self.dn, self.wn = nn.BatchNorm2d(mid), nn.BatchNorm2d(mid), nn.BatchNorm2d(o)
        self.down, self.act, self.same = nn.Conv2d(mid, o, 1, bias=False), act, stride == 1 and i == o
        self.se = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(mid, 4, 1), nn.ReLU(), nn.Conv2d(4, mid, 1), nn.Hardsigmoid()) if se else None

    def forward(self, x):
        y = self.act(self.dn(self.deep(self.act(self.un(self.up(x))))))
        y = self.wn(self.down(y * self.se(y) if self.se is not None else y))
        return x + y if self.same else y


class MobileNet(nn.Module):
    """ReLU6, hardswish, depthwise convolutions, squeeze and excite, a mean over height and width."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6)
        self.body = nn.Sequential(Inverted(6, 12, 6, 1, nn.ReLU6(), False), Inverted(6, 12, 8, 2, nn.Hardswish(), True))
        self.head = nn.Sequential(nn.Linear(8, 10), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(10, 5))

    def forward(self, x):
        return self.head(self.body(F.relu6(self.norm(self.stem(x)))).mean((2, 3)))


class Attention(nn.Module):
    """Multi-head self-attention by hand, as in timm: one linear map for q, k and v."""

    def __init__(self, width, heads, fused=False):
        super().__init__()
        self.heads, self.fused = heads, fused
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = self.qkv(x).reshape(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            y = ((q * (c // self.heads) ** -0.5) @ k.transpose(-2, -1)).softmax(-1) @ v
        return self.out(y.transpose(1, 2).reshape(b, t, c))


class Vit(nn.Module):
    """A vision transformer: patches, class token, positions, pre-norm blocks."""

    def __init__(self, fused=False, depth=1, width=12):
        super().__init__()
        self.patch = nn.Conv2d(1, width, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, 5, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * depth + 1))
        self.attention = nn.ModuleList(Attention(width, 3, fused) for _ in range(depth))
        self.mlp = nn.ModuleList(nn.Sequential(nn.Linear(width, 24), nn.GELU(), nn.Linear(24, width)) for _ in range(depth))
        self.head = nn.Linear(width, 6)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        for i, (attention, mlp) in enumerate(zip(self.attention, self.mlp)):
            x = x + attention(self.norms[2 * i](x))
            x = x + mlp(self.norms[2 * i + 1](x))
        return self.head(self.norms[-1](x)[:, 0])


class Encoder(nn.Module):
    """PyTorch's own transformer layer over a sequence, averaged over time."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(4, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.layer(self.embed(x)).mean(1))


class Recurrent(nn.Module):
    """An LSTM (last step) or a bidirectional GRU (mean over time, two layers)."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        if kind == "lstm":
            self.net, self.head = nn.LSTM(4, 10, batch_first=True), nn.Linear(10, 4)
        else:
            self.net, self.head = nn.GRU(4, 6, 2, batch_first=True, bidirectional=True), nn.Linear(12, 4)

    def forward(self, x):
        y, _ = self.net(x)
        return self.head(y[:, -1] if self.kind == "lstm" else y.mean(1))


class Streaming(nn.Module):
    """One step of a recurrent net that is handed its state and hands it on, as voice detectors are."""

    def __init__(self):
        super().__init__()
        self.front, self.net, self.head = nn.Conv1d(1, 4, 8, 4), nn.GRU(4, 8), nn.Linear(8, 3)

    def forward(self, x, state):
        y, state = self.net(F.relu(self.front(x.unsqueeze(1))).permute(2, 0, 1), state)
        return self.head(y[-1]), state


class Audio(nn.Module):
    """Convolutions over a raw waveform without a channel axis."""

    def __init__(self):
        super().__init__()
        self.a, self.an = nn.Conv1d(1, 6, 16, 4, bias=False), nn.BatchNorm1d(6)
        self.b, self.bn = nn.Conv1d(6, 8, 5, dilation=2, padding=4), nn.BatchNorm1d(8)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        x = F.max_pool1d(F.relu(self.an(self.a(x.unsqueeze(1)))), 4)
        x = F.leaky_relu(self.bn(self.b(x)), 0.1)
        return self.head(torch.cat([x.mean(-1), x.amax(-1)], 1))


class Upsample(nn.Module):
    """Transposed convolution, nearest and bilinear upsampling, then global pooling.

    Opset 9 cannot say where PyTorch's bilinear samples lie: there `smooth` is off."""

    def __init__(self, smooth=True):
        super().__init__()
        self.smooth = smooth
        self.down, self.up = nn.Conv2d(1, 6, 3, 2, 1), nn.ConvTranspose2d(6, 5, 3, 2, 1, output_padding=1)
        self.grouped, self.head = nn.ConvTranspose2d(6, 4, 2, 2, groups=2), nn.Linear(15, 4)

    def forward(self, x):
        y = F.elu(self.down(x))
        a = torch.tanh(self.up(y))
        b = F.interpolate(F.relu(self.grouped(y)), scale_factor=2, mode="nearest")
        c = F.interpolate(y, scale_factor=2.0, mode="bilinear", align_corners=False) if self.smooth else y
        pools = [F.adaptive_avg_pool2d(a, 1), F.adaptive_max_pool2d(b, 1), F.adaptive_avg_pool2d(c * c, 1)]
        return self.head(torch.cat(pools, 1).flatten(1))


class Einsum(nn.Module):
    """Attention written with einsum, with a causal mask."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Parameter(torch.randn(4, 2, 5) / 2) for _ in range(3))
        self.head = nn.Linear(10, 4)
        self.register_buffer("mask", torch.ones(6, 6).tril().bool())

    def forward(self, x):
        q, k, v = (torch.einsum("btc,chd->bhtd", x, w) for w in (self.q, self.k, self.v))
        score = torch.einsum("bhtd,bhsd->bhts", q, k) / math.sqrt(5)
        score = score.masked_fill(~self.mask, -1e9).softmax(-1)
        y = torch.einsum("bhts,bhsd->bthd", score, v).flatten(2)
        return self.head(torch.einsum("btc->bc", y))


class Norms(nn.Module):
    """Instance norm, group norm, local response norm and a vector scaled to length one."""

    def __init__(self):
        super().__init__()
        self.a, self.an = nn.Conv2d(1, 6, 3), nn.InstanceNorm2d(6, affine=True)
        self.b, self.bn = nn.Conv2d(6, 8, 3), nn.GroupNorm(2, 8)
        self.lrn, self.head = nn.LocalResponseNorm(3), nn.Linear(8 * 4 * 4, 4)

    def forward(self, x):
        x = F.relu(self.an(self.a(x)))
        x = F.silu(self.bn(self.b(self.lrn(x))))
        return self.head(F.normalize(x.flatten(1), dim=1))


class Shuffle(nn.Module):
    """Channel shuffle, chunks, reflected edges, ceil mode, pixel shuffle: reshapes with the batch in them."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1, padding_mode="reflect")
        self.deep, self.point = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4), nn.Conv2d(4, 4, 1)
        self.head = nn.Linear(2 * 16, 4)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.stem(x)), 3, 2, 0, ceil_mode=True)
        a, b = x.chunk(2, 1)
        x = torch.cat([a, F.relu(self.point(self.deep(b)))], 1)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        x = F.avg_pool2d(F.pixel_shuffle(x, 2), 3, 2, 1, count_include_pad=False)
        return self.head(x.flatten(1))


class ConvNext(nn.Module):
    """ConvNeXt's block: depthwise convolution, LayerNorm over channels last, GELU, a learned scale."""

    def __init__(self):
        super().__init__()
        self.stem, self.deep = nn.Conv2d(3, 6, 2, 2), nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.norm, self.up, self.down = nn.LayerNorm(6), nn.Linear(6, 12), nn.Linear(12, 6)
        self.scale = nn.Parameter(torch.rand(6))
        self.last, self.head = nn.LayerNorm(6, eps=1e-6), nn.Linear(6, 4)

    def forward(self, x):
        x = self.stem(x)
        y = self.deep(x).permute(0, 2, 3, 1)
        y = self.scale * self.down(F.gelu(self.up(self.norm(y)), approximate="tanh"))
        return self.head(self.last((x + y.permute(0, 3, 1, 2)).mean([-2, -1])))


class Activations(nn.Module):
    """A table through the activations that PyTorch offers by name, and a log-softmax at the end."""

    KINDS = [
        nn.LeakyReLU(0.2), nn.ELU(0.7), nn.SELU(), nn.CELU(1.5), nn.PReLU(3), nn.Softplus(), nn.Softsign(), nn.Mish(),
        nn.SiLU(), nn.GELU(), nn.GELU("tanh"), nn.Hardsigmoid(), nn.LogSigmoid(), nn.ReLU(), nn.Tanh(),
        nn.Hardtanh(-0.8, 0.9), nn.Sigmoid(), nn.Softmin(-1), nn.Hardshrink(0.2), nn.Softshrink(0.1), nn.GLU(),
    ]  # fmt: skip

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(8, 64)
        self.kinds = nn.ModuleList(copy.deepcopy(self.KINDS))
        self.head = nn.Linear(20 * 3 + 2, 5)

    def forward(self, x):
        parts = torch.split(self.a(x), [3] * 20 + [4], 1)
        parts = [k(p) for k, p in zip(self.kinds, parts)]
        return F.log_softmax(self.head(torch.cat(parts, 1)), -1)


class Table(nn.Module):
    """A net for tables: BatchNorm on the inputs, dropout, a clamp and a where."""

    def __init__(self):
        super().__init__()
        self.norm, self.a, self.an = nn.BatchNorm1d(8), nn.Linear(8, 16), nn.BatchNorm1d(16)
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(16, 3)

    def forward(self, x):
        x = self.norm(x).clamp(-3, 3)
        x = torch.where(x > 0, x, 0.3 * x)
        return self.head(self.drop(F.relu(self.an(self.a(x)))))


class TwoInputs(nn.Module):
    """An image and a table row about it."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 5, 3, 2), nn.Linear(6, 8)
        self.head = nn.Linear(5 * 9 + 8, 4)

    def forward(self, image, table):
        image = F.relu(self.a(image)).flatten(1)
        return self.head(torch.cat([image, torch.tanh(self.b(table))], 1))


class Mlp(nn.Module):
    def __init__(self, *widths, act=nn.ReLU):
        super().__init__()
        layers = []
        for i, o in zip(widths, widths[1:]):
            layers += [nn.Linear(i, o), act()]
        self.layers = nn.Sequential(*layers[:-2])
        self.head = nn.Linear(*widths[-2:])

    def forward(self, x):
        return self.head(self.layers(x))


class Segmenter(nn.Module):
    """A small U-Net: as many scores per pixel as classes. Not a classifier."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 6, 3, 2, 1)
        self.up, self.head = nn.ConvTranspose2d(6, 4, 2, 2), nn.Conv2d(8, 3, 1)

    def forward(self, x):
        a = F.relu(self.a(x))
        return self.head(torch.cat([a, F.relu(self.up(F.relu(self.b(a))))], 1))


class Branch(nn.Module):
    """A branch that depends on the data: only ever right for one sample at a time."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 12), nn.Linear(8, 12)
        self.head = nn.Linear(12, 4)

    def forward(self, x):
        if bool((x.mean() > 0.5).item()):
            y = torch.relu(self.a(x))
        else:
            y = torch.tanh(self.b(x))
        return self.head(y)


class Squeeze(nn.Module):
    """A squeeze of an axis whose length the exporter does not know: an `If` over that length, as in voice detectors."""

    def __init__(self):
        super().__init__()
        self.a, self.head = nn.Conv1d(2, 6, 8), nn.Linear(6, 4)

    def forward(self, x):
        return self.head(torch.relu(self.a(x)).squeeze(-1))


class Tokens(nn.Module):
    """Whole numbers in: an embedding and the mean of what is not padding. No gradient reaches the input."""

    def __init__(self):
        super().__init__()
        self.embed, self.mix, self.head = nn.Embedding(12, 6, padding_idx=0), nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x):
        kept = (x != 0).unsqueeze(-1).to(self.mix.weight.dtype)
        y = torch.tanh(self.mix(self.embed(x))) * kept
        return self.head(y.sum(1) / kept.sum(1).clamp(min=1))


class Nhwc(nn.Module):
    """What converters from TensorFlow write: channels last outside, channels first around convolutions, padding
    heavier at the far end, a batch of one in the Reshape, Softmax at the end. Exported by hand, see `nhwc_onnx`."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, 2), nn.Conv2d(4, 6, 3)
        self.head = nn.Linear(6 * 4, 5)

    def forward(self, x):
        x = F.relu(self.a(F.pad(x.permute(0, 3, 1, 2), (0, 1, 0, 1))))
        x = F.max_pool2d(F.relu6(self.b(F.pad(x, (1, 1, 1, 1)))), 2)
        return self.head(x.permute(0, 2, 3, 1).flatten(1))


class Function(nn.Module):
    """Two layers, each a call of one local function; see `function_onnx`."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = nn.Linear(8, 10), nn.Linear(10, 10), nn.Linear(10, 4)

    def forward(self, x):
        for layer, alpha in ((self.a, 0.1), (self.b, 0.3)):
            x = F.leaky_relu(layer(x), alpha)
            x = x / x.pow(2).mean(-1, keepdim=True).add(1e-3).sqrt()
        return self.head(x)


class Digits(nn.Module):
    """`DigitsNet` of `crates/proofmark/src/shipped.rs` with the shipped weights."""

    def __init__(self, name):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 16, 3, 1, 1), nn.Conv2d(16, 32, 3, 2, 1)
        self.hidden, self.head = nn.Linear(512, 128), nn.Linear(128, 10)
        found, data = digits.weights(name)
        for tensor, (shape, offset, size) in found.items():
            layer, part = tensor.split(".")
            value = torch.from_numpy(np.frombuffer(data, np.float32, size // 4, offset).reshape(shape).copy())
            layer = self.head if layer == "out" else getattr(self, layer)
            # Burn keeps a linear layer's weight as [in, out].
            value = value.T if len(shape) == 2 else value
            assert getattr(layer, part).shape == value.shape
            getattr(layer, part).data = value.contiguous()

    def forward(self, x):
        x = F.relu(self.conv2(F.relu(self.conv1(x)))).flatten(1)
        return self.head(F.relu(self.hidden(x)))


class Ending(nn.Module):
    """A net with something on top; `net` alone gives the scores before it."""

    def __init__(self, net, last):
        super().__init__()
        self.net, self.last = net, last

    def forward(self, x):
        return self.last(self.net(x))


# --- exporters -----------------------------------------------------------------------------------------------------


def tidy(model):
    """Takes out what an exporter notes about its own run (source lines, paths); nothing that is computed changes."""

    def walk(graph):
        graph.doc_string = ""
        graph.ClearField("metadata_props")
        for part in (*graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
            part.doc_string = ""
            part.ClearField("metadata_props")
        for node in graph.node:
            for attribute in node.attribute:
                attribute.doc_string = ""
                if attribute.type == onnx.AttributeProto.GRAPH:
                    walk(attribute.g)

    walk(model.graph)
    for function in model.functions:
        function.doc_string = ""
        function.ClearField("metadata_props")
        for node in function.node:
            node.doc_string = ""
            node.ClearField("metadata_props")
    model.doc_string = ""
    model.ClearField("metadata_props")
    return model


def torchscript(net, inputs, names, outputs, opset, open_batch, keep_norms=False, script=False, more_axes=()):
    """By the older exporter. `keep_norms`: BatchNorm stays a node of its own instead of being folded; `more_axes`:
    further axes of the first input whose length is left open."""
    args = tuple(x[:1] if not open_batch else x[:2] for x in inputs)
    axes = {n: {net_axis(n): "batch"} for n in (*names, *outputs)} if open_batch else {}
    for axis, name in more_axes:
        axes.setdefault(names[0], {})[axis] = name
    mode = torch.onnx.TrainingMode.PRESERVE if keep_norms else torch.onnx.TrainingMode.EVAL
    file = io.BytesIO()
    torch.onnx.export(
        torch.jit.script(net) if script else net, args, file, opset_version=opset, dynamo=False, training=mode,
        input_names=list(names), output_names=list(outputs), dynamic_axes=axes,
    )  # fmt: skip
    return onnx.load_from_string(file.getvalue())


def dynamo(net, inputs, names, outputs, opset, open_batch):
    """By the newer exporter."""
    args = tuple(x[:1] if not open_batch else x[:3] for x in inputs)
    # One object for all inputs: that they have the same number of samples is part of the model.
    batch = torch.export.Dim("batch", min=1, max=1024)
    shapes = tuple({net_axis(n): batch} for n in names) if open_batch else None
    program = torch.onnx.export(
        net, args, dynamo=True, opset_version=opset, verbose=False,
        input_names=list(names), output_names=list(outputs), dynamic_shapes=shapes,
    )  # fmt: skip
    return program.model_proto


def net_axis(name):
    """Where the samples lie: states of recurrent nets have them second."""
    return 1 if name.startswith("state") else 0


def array(tensor):
    return tensor.detach().numpy()


def by_hand(nodes, names, shapes, outputs, out_shapes, weights, opset, functions=(), more_opsets=()):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "model",
        [value(n, TensorProto.FLOAT, s) for n, s in zip(names, shapes)],
        [value(n, TensorProto.FLOAT, s) for n, s in zip(outputs, out_shapes)],
        [numpy_helper.from_array(np.ascontiguousarray(w), n) for n, w in weights.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", opset), *more_opsets]
    return helper.make_model(graph, opset_imports=opsets, functions=list(functions), ir_version=8)


def nhwc_onnx(net):
    node = helper.make_node
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        node("Conv", ["t", "aw", "ab"], ["c"], kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
        node("Relu", ["c"], ["r"]),
        node("Conv", ["r", "bw", "bb"], ["d"], kernel_shape=[3, 3], auto_pad="SAME_UPPER"),
        node("Clip", ["d", "zero", "six"], ["e"]),
        node("MaxPool", ["e"], ["p"], kernel_shape=[2, 2], strides=[2, 2], auto_pad="VALID"),
        node("Transpose", ["p"], ["u"], perm=[0, 2, 3, 1]),
        node("Reshape", ["u", "flat"], ["f"]),
        node("MatMul", ["f", "hw"], ["m"]),
        node("Add", ["m", "hb"], ["z"]),
        node("Softmax", ["z"], ["y"]),
    ]
    weights = {
        "aw": array(net.a.weight), "ab": array(net.a.bias), "bw": array(net.b.weight), "bb": array(net.b.bias),
        "hw": array(net.head.weight.T), "hb": array(net.head.bias), "zero": np.float32(0), "six": np.float32(6),
        "flat": np.array([1, 24], np.int64),
    }  # fmt: skip
    return by_hand(nodes, ["x"], [[1, 8, 8, 3]], ["y"], [[1, 5]], weights, 12)


def function_onnx(net):
    """A function with an attribute of its caller and a function inside it."""
    node, opsets = helper.make_node, [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    leaky = node("LeakyRelu", ["b"], ["c"])
    leaky.attribute.add(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT)
    unit = helper.make_function(
        "local", "Unit", ["x"], ["y"],
        [
            node("Mul", ["x", "x"], ["s"]),
            node("ReduceMean", ["s"], ["m"], axes=[-1], keepdims=1),
            node("Constant", [], ["e"], value_float=1e-3),
            node("Add", ["m", "e"], ["v"]),
            node("Sqrt", ["v"], ["r"]),
            node("Div", ["x", "r"], ["y"]),
        ],
        opsets,
    )  # fmt: skip
    layer = helper.make_function(
        "local", "Layer", ["x", "w", "b0"], ["y"],
        [node("Gemm", ["x", "w", "b0"], ["b"], transB=1), leaky, node("Unit", ["c"], ["y"], domain="local")],
        opsets, ["slope"],
    )  # fmt: skip
    nodes = [
        node("Layer", ["x", "aw", "ab"], ["h"], domain="local", slope=0.1),
        node("Layer", ["h", "bw", "bb"], ["i"], domain="local", slope=0.3),
        node("Gemm", ["i", "hw", "hb"], ["y"], transB=1),
    ]
    weights = {
        "aw": array(net.a.weight), "ab": array(net.a.bias), "bw": array(net.b.weight), "bb": array(net.b.bias),
        "hw": array(net.head.weight), "hb": array(net.head.bias),
    }  # fmt: skip
    return by_hand(nodes, ["x"], [["N", 8]], ["y"], [["N", 4]], weights, 17, [unit, layer], opsets[1:])


def digits_onnx(name, softmax):
    """The shipped net over the shipped weights: external data, at their places in the safetensors file."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "conv1.weight", "conv1.bias"], ["a"], kernel_shape=[3, 3], pads=[1] * 4),
        node("Relu", ["a"], ["b"]),
        node("Conv", ["b", "conv2.weight", "conv2.bias"], ["c"], kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2]),
        node("Relu", ["c"], ["d"]),
        node("Flatten", ["d"], ["e"]),
        node("Gemm", ["e", "hidden.weight", "hidden.bias"], ["f"]),
        node("Relu", ["f"], ["g"]),
        node("Gemm", ["g", "out.weight", "out.bias"], ["logits"]),
    ]
    if softmax:
        nodes.append(node("Softmax", ["logits"], ["probabilities"], axis=-1))
    output = "probabilities" if softmax else "logits"
    model = by_hand(nodes, ["x"], [["batch", 1, 8, 8]], [output], [["batch", 10]], {}, 17)
    for tensor, (shape, offset, size) in digits.weights(name)[0].items():
        part = model.graph.initializer.add(name=tensor, data_type=TensorProto.FLOAT, dims=shape)
        part.data_location = TensorProto.EXTERNAL
        for key, value in (("location", f"digits-{name}.safetensors"), ("offset", offset), ("length", size)):
            part.external_data.add(key=key, value=str(value))
    return model


class Calibration(CalibrationDataReader):
    def __init__(self, name, x):
        self.batches = iter([{name: x[i : i + 100]} for i in range(0, len(x), 100)])

    def get_next(self):
        return next(self.batches, None)


def quantised(model, name, x, kind, per_channel):
    """Static quantisation with QuantizeLinear and DequantizeLinear around what runs in integers."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        quantize_static(
            source, target, Calibration(name, x), quant_format=QuantFormat.QDQ, per_channel=per_channel,
            activation_type=kind, weight_type=kind,
        )  # fmt: skip
        return onnx.load(target)


# --- making one ----------------------------------------------------------------------------------------------------


def seeded(name, make):
    """The net `make()` with weights that depend on its name alone, in evaluation mode."""
    torch.manual_seed(zlib.crc32(name.encode()))
    return make().eval()


def settle(net, inputs):
    """Gives an untrained net something to say: running statistics from data, random scales, and scores that change
    from sample to sample (an untrained net gives nearly the same to all, and every comparison would pass)."""
    with torch.no_grad():
        for m in net.modules():
            if getattr(m, "affine", False) or isinstance(m, (nn.LayerNorm, nn.GroupNorm)):
                m.weight.uniform_(0.6, 1.5)
                m.bias.uniform_(-0.3, 0.3)
            if isinstance(m, nn.modules.batchnorm._BatchNorm):
                m.momentum = 1.0
                m.train()
        net(*inputs)
        for m in net.modules():
            if isinstance(m, nn.modules.batchnorm._BatchNorm):
                m.momentum = 0.1
        net.eval()
        inner = net.net if isinstance(net, Ending) else net
        before = []
        hook = inner.head.register_forward_hook(lambda m, i, o: before.append(o))
        for i in range(len(inputs[0])):
            net(*[x[i : i + 1] if net_axis(n) == 0 else x[:, i : i + 1] for n, x in zip(net.names, inputs)])
        hook.remove()
        if not hasattr(inner.head, "weight"):
            return
        scores = torch.cat(before).transpose(0, 1).flatten(1)
        scale = 1.5 / scores.std(1)
        shape = [-1] + [1] * (inner.head.weight.dim() - 1)
        inner.head.weight.mul_(scale.view(shape))
        inner.head.bias.copy_((inner.head.bias - scores.mean(1)) * scale)


def gradients(net, inputs, floats, kind=torch.float64):
    """Outputs and the gradient of the fixed objective with respect to each float input, in double precision."""
    net = copy.deepcopy(net).to(kind)
    rows, out, grads = len(inputs[0]), [], []
    for i in range(rows):
        one = [x[i : i + 1] for x in inputs]
        one = [x.to(kind).requires_grad_() if f else x for x, f in zip(one, floats)]
        y = net(*one)
        flat = y.reshape(1, -1)
        weights = torch.from_numpy(common.objective_weights(rows, flat.shape[1])[i : i + 1]).to(kind)
        wanted = [x for x, f in zip(one, floats) if f]
        grads.append(torch.autograd.grad((flat * weights).sum(), wanted))
        out.append(y.detach())
    return torch.cat(out).numpy(), [torch.cat(g).numpy() for g in zip(*grads)]


def save_golden(name, arrays):
    for k, v in arrays.items():
        assert v.dtype.kind != "f" or np.isfinite(v).all(), f"{name}: {k}"
    np.savez_compressed(GOLDEN / f"{name}.npz", **arrays)


class Maker:
    """One net: its exports, their agreement, its golden values."""

    def __init__(self, name, net, inputs, ranges="unit", names=("x",), outputs=("y",), rows=16, settled=True):
        self.name, self.names, self.outputs = name, list(names), list(outputs)
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        self.pool = [sample(rng, (256, *shape), r) for shape, r in zip(inputs, [ranges] if isinstance(ranges, str) else ranges)]
        self.net = seeded(name, net)
        if settled:
            self.net.names = self.names
            settle(self.net, [torch.from_numpy(x) for x in self.pool])
            del self.net.names
        self.rows, self.models = rows, {}
        self.x = [x[:rows] for x in self.pool]
        self.floats = [x.dtype.kind == "f" for x in self.x]

    def torch_inputs(self):
        return [torch.from_numpy(x) for x in self.x]

    def export(self, variant, model):
        self.models[variant] = model
        return self

    def ts(self, opset, open_batch, tag="", **more):
        model = torchscript(self.net, self.torch_inputs(), self.names, self.outputs, opset, open_batch, **more)
        return self.export(f"ts{opset}-{'open' if open_batch else 'one'}{tag}", model)

    def dy(self, opset, open_batch, net=None, tag=""):
        model = dynamo(net or self.net, self.torch_inputs(), self.names, self.outputs, opset, open_batch)
        return self.export(f"dy{opset}-{'open' if open_batch else 'one'}{tag}", model)

    def write(self, gradient=True, tolerance=2e-5, location=None, golden=None):
        """Writes models and values after checking that onnxruntime agrees with PyTorch on each."""
        x = dict(zip(self.names, self.x))
        with torch.no_grad():
            wanted = copy.deepcopy(self.net).double()(*[t.double() if f else t for t, f in zip(self.torch_inputs(), self.floats)]).numpy()
        arrays = {f"in:{n}": v for n, v in x.items()}
        if location is None:
            # Variants that are no longer made must not stay behind.
            for old in MODELS.glob(f"{self.name}.*.onnx"):
                old.unlink()
        for variant, model in self.models.items():
            path = (location or MODELS) / f"{self.name}{'.' + variant if variant else ''}.onnx"
            onnx.save(tidy(model), path)
            onnx.checker.check_model(str(path))
            sess = common.session(path)
            got = common.run(sess, x)[self.outputs[0]]
            error = np.abs(got - wanted).max() / np.abs(wanted).max()
            assert error <= tolerance, f"{path.name}: {error}"
            if common.fixed_batch(sess) is None:
                together = common.run(sess, x, together=True)[self.outputs[0]]
                assert np.allclose(got, together, rtol=1e-4, atol=1e-5), path.name
            arrays.setdefault(f"out:{self.outputs[0]}", got)
            kinds = len(set(got.reshape(len(got), got.shape[1], -1).argmax(1).ravel())) if got.shape[1] > 1 else 2
            assert kinds >= 2, f"{path.name}: every sample has the same class"
            ops = len({n.op_type for n in model.graph.node})
            print(f"{path.name}: {path.stat().st_size} bytes, {ops} operators, {kinds} classes, error {error:.1e}")
        if gradient:
            _, grads = gradients(self.net, self.torch_inputs(), self.floats)
            _, single = gradients(self.net, self.torch_inputs(), self.floats, torch.float32)
            # Else a kink lies so near that single precision may fall on its other side. Behind a saturated softmax
            # gradients cancel, and rounding is all the more of what is left.
            for a, b in zip(grads, single):
                error, limit = np.abs(a - b).max() / np.abs(a).max(), 2e-3 if isinstance(self.net, Ending) else 2e-5
                assert error <= limit, f"{self.name}: rounding decides a gradient: {error}"
            for n, g in zip([n for n, f in zip(self.names, self.floats) if f], grads):
                arrays[f"grad:{n}"] = g.astype(np.float32)
            if isinstance(self.net, Ending):
                scores, grads = gradients(self.net.net, self.torch_inputs(), self.floats)
                arrays["scores"] = scores.astype(np.float32)
                for n, g in zip(self.names, grads):
                    arrays[f"scores-grad:{n}"] = g.astype(np.float32)
        save_golden(golden or self.name, arrays)


def sample(rng, shape, kind):
    if kind == "unit":  # like pixels: multiples of 1/255
        return (rng.integers(0, 256, shape) / 255).astype(np.float32)
    if kind == "sound":  # a few tones and noise, 16 bit, one loudness per sample
        t = np.arange(shape[-1]) / shape[-1]
        tones = sum(np.sin(2 * np.pi * (rng.uniform(2, 40, (shape[0], 1)) * t + rng.random((shape[0], 1)))) for _ in range(3))
        x = (tones / 3 + rng.normal(0, 0.1, shape)) * rng.uniform(0.2, 0.8, (shape[0], 1))
        return (np.round(np.clip(x, -1, 1) * 32767) / 32768).astype(np.float32)
    if kind == "normal":  # a table, standardised, two decimals
        return np.round(rng.normal(size=shape), 2).astype(np.float32)
    if kind == "tokens":
        x = rng.integers(1, 12, shape)
        return np.where(np.arange(shape[1]) < rng.integers(2, shape[1] + 1, (shape[0], 1)), x, 0).astype(np.int64)
    raise ValueError(kind)


# --- all of them ---------------------------------------------------------------------------------------------------


def cnn():
    m = Maker("cnn", Cnn, [(1, 12, 12)])
    m.ts(9, True, keep_norms=True).ts(13, False).dy(18, True).dy(NEWEST, True).write()


def resnet():
    m = Maker("resnet", ResNet, [(3, 8, 8)], rows=8)
    m.ts(11, True).ts(16, False, keep_norms=True).dy(20, True).write()


def mobilenet():
    m = Maker("mobilenet", MobileNet, [(3, 8, 8)], rows=8)
    m.ts(10, True).ts(14, False).dy(18, True).write()


def vit():
    m = Maker("vit", Vit, [(1, 8, 8)])
    m.ts(14, False).ts(17, True).dy(18, True).dy(18, False)
    fused = Vit(fused=True).eval()
    fused.load_state_dict(m.net.state_dict())
    m.dy(23, True, net=fused, tag="-fused").write()


def encoder():
    m = Maker("encoder", Encoder, [(6, 4)], "normal")
    m.ts(14, False).ts(17, True).dy(21, True).write()


def lstm():
    m = Maker("lstm", lambda: Recurrent("lstm"), [(10, 4)], "normal")
    m.ts(9, False).ts(14, True).dy(18, True).write()


def bigru():
    m = Maker("bigru", lambda: Recurrent("bigru"), [(8, 4)], "normal")
    m.ts(11, False).ts(15, True).dy(20, True).write()


def audio():
    m = Maker("audio", Audio, [(320,)], "sound", rows=8)
    m.ts(13, True).ts(18, False).dy(18, True).write()


def upsample():
    m = Maker("upsample", Upsample, [(1, 8, 8)])
    m.ts(11, True).ts(13, False).dy(18, True).write()
    m = Maker("upsample-nearest", lambda: Upsample(smooth=False), [(1, 8, 8)])
    m.ts(9, True).ts(10, False).write()


def einsum():
    m = Maker("einsum", Einsum, [(6, 4)], "normal")
    m.ts(12, True).ts(13, False).dy(18, True).write()


def norms():
    m = Maker("norms", Norms, [(1, 8, 8)])
    m.ts(11, True).ts(18, False).dy(21, True).write()


def shuffle():
    m = Maker("shuffle", Shuffle, [(1, 8, 8)])
    m.ts(13, False).ts(15, True).dy(18, True).write()


def convnext():
    m = Maker("convnext", ConvNext, [(3, 8, 8)], rows=8)
    m.ts(17, False).dy(20, True).write()


def activations():
    m = Maker("activations", Activations, [(8,)], "normal")
    m.ts(13, True).dy(18, True).dy(22, True).write()


def table():
    m = Maker("table", Table, [(8,)], "normal")
    m.ts(9, True, keep_norms=True).dy(25, True).write()


def two_inputs():
    m = Maker("two-inputs", TwoInputs, [(1, 8, 8), (6,)], ["unit", "normal"], names=("image", "table"))
    m.ts(13, True).dy(18, False).write()


def binary():
    m = Maker("binary", lambda: Ending(Mlp(8, 12, 1), nn.Sigmoid()), [(8,)], "normal")
    m.ts(13, True).dy(18, False).write()


def softmax():
    m = Maker("softmax", lambda: Ending(Cnn(), nn.Softmax(1)), [(1, 12, 12)], rows=8)
    m.ts(11, False).ts(13, True).dy(18, True).write()


def nhwc():
    m = Maker("nhwc", lambda: Ending(Nhwc(), nn.Softmax(1)), [(8, 8, 3)], rows=8)
    m.export("tf12-one", nhwc_onnx(m.net.net)).write()


def segmenter():
    m = Maker("segmenter", Segmenter, [(1, 8, 8)], rows=4)
    m.ts(13, True).dy(18, True).write()


def branch():
    m = Maker("branch", Branch, [(8,)], "unit")
    m.ts(13, False, script=True)
    # Both ways are taken, and no sample is near the fork.
    fork = m.pool[0].mean(1) - 0.5
    far = np.flatnonzero(np.abs(fork) > 0.02)[:16]
    assert 4 < (fork[far] > 0).sum() < 12
    m.x = [m.pool[0][far]]
    m.net = OneByOne(m.net)
    m.write()


class OneByOne(nn.Module):
    """A net that may not see two samples at once."""

    def __init__(self, net):
        super().__init__()
        self.inner = net

    def forward(self, x):
        return torch.cat([self.inner(x[i : i + 1]) for i in range(len(x))])


def squeeze():
    m = Maker("squeeze", Squeeze, [(2, 8)], "normal")
    m.ts(11, True, more_axes=[(2, "length")]).ts(16, False, more_axes=[(2, "length")]).write()


def tokens():
    m = Maker("tokens", Tokens, [(9,)], "tokens")
    m.ts(13, True).dy(18, True).write(gradient=False)


def function():
    m = Maker("function", Function, [(8,)], "normal")
    m.export("hand17-open", function_onnx(m.net)).write()


def external():
    """Weights in a file beside the model."""
    m = Maker("external", lambda: Mlp(8, 16, 4), [(8,)], "normal")
    model = torchscript(m.net, m.torch_inputs(), m.names, m.outputs, 13, True)
    path = MODELS / "external.ts13-open.onnx"
    data = path.with_suffix(".onnx.data")
    data.unlink(missing_ok=True)
    onnx.external_data_helper.convert_model_to_external_data(model, location=data.name, size_threshold=0)
    onnx.save(tidy(model), path)
    m.export("ts13-open", onnx.load(path, load_external_data=False)).write()


def half():
    """Half precision throughout, and inside only. Values are onnxruntime's; gradients are PyTorch's in double
    precision from the same rounded weights and inputs, so they agree to about three digits."""
    m = Maker("half", Cnn, [(1, 12, 12)], rows=8)
    for p in (*m.net.parameters(), *m.net.buffers()):
        if p.dtype.is_floating_point:
            p.data = p.data.half().float()
    m.x = [x.astype(np.float16).astype(np.float32) for x in m.x]
    inside = torchscript(m.net, m.torch_inputs(), m.names, m.outputs, 13, True, keep_norms=True)
    whole = float16.convert_float_to_float16(copy.deepcopy(inside))
    m.export("ts13-open-inside", float16.convert_float_to_float16(inside, keep_io_types=True)).write(tolerance=1e-2)
    m.models = {}
    m.name = "half-whole"
    path = MODELS / "half-whole.ts13-open.onnx"
    onnx.save(tidy(whole), path)
    x = m.x[0].astype(np.float16)
    got = common.run(common.session(path), {"x": x})["y"]
    _, (grad,) = gradients(m.net, m.torch_inputs(), [True])
    save_golden("half-whole", {"in:x": x, "out:y": got, "grad:x": grad.astype(np.float32)})
    print(f"{path.name}: {path.stat().st_size} bytes")


def streaming():
    """A state goes in and comes out: `fix:state` is what it is fixed to."""
    net = seeded("streaming", Streaming)
    rng = np.random.default_rng(zlib.crc32(b"streaming"))
    x = sample(rng, (16, 40), "sound")
    state = np.round(rng.normal(0, 0.5, (1, 1, 8)), 2).astype(np.float32)
    states = torch.from_numpy(state).repeat(1, 16, 1)
    inputs = [torch.from_numpy(x), states]
    with torch.no_grad():
        scores = net(*inputs)[0]
        net.head.weight.mul_(1.5 / scores.std(0)[:, None])
        net.head.bias.copy_((net.head.bias - scores.mean(0)) * 1.5 / scores.std(0))
    for opset, open_batch in ((14, True), (16, False)):
        model = streaming_export(net, inputs, opset, open_batch)
        path = MODELS / f"streaming.ts{opset}-{'open' if open_batch else 'one'}.onnx"
        onnx.save(tidy(model), path)
        got = common.run(common.session(path), {"x": x}, {"state": state})["y"]
        print(f"{path.name}: {path.stat().st_size} bytes, {len(set(got.argmax(1)))} classes")
    only = OnlyScores(net, torch.from_numpy(state))
    wanted, (grad,) = gradients(only, inputs[:1], [True])
    assert np.allclose(got, wanted, atol=1e-5)
    save_golden("streaming", {"in:x": x, "fix:state": state, "out:y": got, "grad:x": grad.astype(np.float32)})


class OnlyScores(nn.Module):
    """A streaming net with its state fixed."""

    def __init__(self, net, state):
        super().__init__()
        self.net_, self.state = net, nn.Parameter(state, requires_grad=False)

    def forward(self, x):
        return self.net_(x, self.state.repeat(1, len(x), 1))[0]


def streaming_export(net, inputs, opset, open_batch):
    args = inputs if open_batch else [inputs[0][:1], inputs[1][:, :1]]
    file = io.BytesIO()
    axes = {n: {net_axis(n): "batch"} for n in ("x", "state", "y", "stateN")} if open_batch else None
    torch.onnx.export(
        net, tuple(args), file, opset_version=opset, dynamo=False, input_names=["x", "state"],
        output_names=["y", "stateN"], dynamic_axes=axes,
    )  # fmt: skip
    return onnx.load_from_string(file.getvalue())


def widest(path, name, pool, rows):
    """The samples that come least near to a tie when they are quantised."""
    gaps = common.least_gap(path, {name: pool})
    best = np.sort(np.argsort(-gaps, kind="stable")[:rows])
    return pool[best], gaps[best].min()


def write_quantised(name, variant, model, input_name, pool, rows=16):
    path = MODELS / f"{name}{'.' + variant if variant else ''}.onnx"
    onnx.save(tidy(model), path)
    x, gap = widest(path, input_name, pool, rows)
    sess = common.session(path)
    (output,) = [o.name for o in sess.get_outputs()]
    got = common.run(sess, {input_name: x})[output]
    save_golden(name, {f"in:{input_name}": x, f"out:{output}": got})
    print(f"{path.name}: {path.stat().st_size} bytes, {len(set(got.argmax(1)))} classes, least gap {gap:.1e} quanta")


def int8():
    # No mean of four: of quantised values it lies exactly between two quanta every other time.
    m = Maker("cnn-int8", lambda: Cnn(F.max_pool2d), [(1, 12, 12)])
    model = torchscript(m.net, m.torch_inputs(), m.names, m.outputs, 13, True)
    x = m.pool[0]
    write_quantised("cnn-int8", "qdq13-open", quantised(model, "x", x, QuantType.QInt8, True), "x", x)
    model = torchscript(m.net, m.torch_inputs(), m.names, m.outputs, 13, False)
    one = quantised_one(model, x)
    write_quantised("cnn-uint8", "qdq13-one", one, "x", x)


def quantised_one(model, x):
    """As `quantised`, from a model for one sample: unsigned, one scale per tensor."""

    class Singles(CalibrationDataReader):
        def __init__(self):
            self.samples = iter(x)

        def get_next(self):
            one = next(self.samples, None)
            return None if one is None else {"x": one[None]}

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        kind = QuantType.QUInt8
        quantize_static(source, target, Singles(), quant_format=QuantFormat.QDQ, activation_type=kind, weight_type=kind)
        return onnx.load(target)


def digits_twins():
    """ONNX twins of the shipped nets, and quantised ones calibrated on the training split."""
    (test, labels), (train, _) = digits.split()
    for name in ("standard", "robust"):
        net = Digits(name).eval()
        with torch.no_grad():
            accuracy = (net(torch.from_numpy(test)).argmax(1).numpy() == labels).mean()
        for softmax in (False, True):
            full = f"digits-{name}{'-softmax' if softmax else ''}"
            output = "probabilities" if softmax else "logits"
            m = Maker(full, lambda: Ending(net, nn.Softmax(1)) if softmax else net, [(1, 8, 8)], outputs=[output], settled=False)
            m.x, m.pool = [test[:16]], [test]
            m.export("", digits_onnx(name, softmax)).write(location=digits.FOLDER)
        path = digits.FOLDER / f"digits-{name}.onnx"
        model = quantised(onnx.load(path), "x", train, QuantType.QInt8, True)
        write_quantised(f"digits-{name}-int8", "", model, "x", test)
        got = common.run(common.session(MODELS / f"digits-{name}-int8.onnx"), {"x": test})["logits"]
        print(f"digits-{name}: accuracy {accuracy:.4f} (quantised {(got.argmax(1) == labels).mean():.4f})")


ALL = {
    f.__name__: f
    for f in (
        cnn, resnet, mobilenet, vit, encoder, lstm, bigru, audio, upsample, einsum, norms, shuffle, convnext,
        activations, table, two_inputs, binary, softmax, nhwc, segmenter, branch, squeeze, tokens, function, external,
        half, streaming, int8, digits_twins,
    )
}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description="Makes the models of tests/golden and their values.")
    parser.add_argument("--only", action="append", choices=sorted(ALL), help="only this net (may be repeated)")
    chosen = parser.parse_args().only or list(ALL)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    MODELS.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in chosen:
        try:
            ALL[name]()
        except Exception as e:  # all the others are still made
            failed.append(name)
            print(f"FAILED {name}: {type(e).__name__}: {str(e)[:1500]}", file=sys.stderr)
    for folder in (MODELS, GOLDEN):
        files = [f for f in folder.iterdir() if f.is_file()]
        print(f"{folder.name}: {len(files)} files, {sum(f.stat().st_size for f in files)} bytes")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
