"""Makes binarised traffic-sign networks and robustness properties with planted counterexamples.

    python binarised_signs.py FOLDER [--seed S] [--per-net N] [--steps T]

The networks have the shapes of VNN-COMP's traffic-sign benchmark: binary weights, sign activations, raw grey levels in
`[1, h, w, 3]`, 43 classes, scores in whole steps. They are trained with straight-through gradients on drawn signs (a
shape, its colours and a glyph), so that their activations have structure. `instances.csv` in FOLDER is that of
`examples/vnncomp.rs`.

A counterexample is planted by a long search (a gradient of slopes, many starts, the slopes narrowing) for the largest
margin of another class inside the box: the property asks for exactly that margin, so nothing better is known, and one
step more has no known answer. `(>= Y_j Y_l)` of the benchmark becomes `(>= (- Y_j Y_l) k)`; a final bias would do the
same. Every planted point lies on whole grey levels, and its margin is that of onnxruntime.
"""

import argparse
import csv
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper

CLASSES = 43
EPSILONS = [1, 3, 5, 10, 15]
# How much less than the planted margin a property asks for, as a share of the way from the centre to it.
GAPS = [0.0, 0.05, 0.2]


# --- drawn signs ---------------------------------------------------------------------------------------------------


def draw(label, size, rng):
    """A sign of a class on a random background, [3, size, size] in grey levels."""
    shape, colour, glyph = label % 5, label // 5 % 3, label // 15
    y, x = np.mgrid[0:size, 0:size] / size * 2 - 1
    angle = rng.normal(0, 0.08)
    cx, cy, scale = rng.normal(0, 0.06), rng.normal(0, 0.06), rng.uniform(0.75, 0.95)
    u = ((x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)) / scale
    v = ((y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)) / scale
    r = [
        np.hypot(u, v),
        np.maximum(v * 1.2, (np.abs(u) * 1.7 - v) * 0.7),
        np.maximum(-v * 1.2, (np.abs(u) * 1.7 + v) * 0.7),
        np.maximum(np.maximum(np.abs(u), np.abs(v)), (np.abs(u) + np.abs(v)) * 0.72),
        (np.abs(u) + np.abs(v)) * 0.9,
    ][shape]
    rim, inside = [((200, 30, 40), (235, 235, 235)), ((30, 60, 180), (60, 110, 220)), ((220, 180, 40), (250, 250, 230))][colour]
    pattern = np.random.default_rng(1000 + label).random((4, 4)) < 0.5
    cell = pattern[np.clip(((v + 0.5) * 4).astype(int), 0, 3), np.clip(((u + 0.5) * 4).astype(int), 0, 3)]
    mark = cell & (np.abs(u) < 0.5) & (np.abs(v) < 0.5)
    image = np.empty((3, size, size))
    backdrop = rng.uniform(30, 200, 3)[:, None, None] + rng.normal(0, 25) * x[None] + rng.normal(0, 25) * y[None]
    for c in range(3):
        ink = [20, 240, 120][glyph] if colour != 1 else [250, 20, 200][glyph]
        value = np.where(r < 0.7, np.where(mark, ink, inside[c]), rim[c])
        image[c] = np.where(r < 0.9, value, backdrop[c])
    image = image * rng.uniform(0.45, 1.1) + rng.normal(0, 6, image.shape)
    return np.clip(np.round(image), 0, 255).astype(np.float32)


def images(count, size, seed):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    return np.stack([draw(int(l), size, rng) for l in labels]), labels


# --- networks ------------------------------------------------------------------------------------------------------


class Sign(torch.autograd.Function):
    """1 from 0 on, -1 below; the gradient is that of a slope as wide as `width` times the values' spread."""

    @staticmethod
    def forward(ctx, x, width):
        ctx.save_for_backward(x)
        ctx.width = width
        return torch.where(x >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        w = ctx.width * x.abs().mean() + 1e-6
        return g / w / (1 + x.abs() / w) ** 2, None


class Weight(torch.autograd.Function):
    @staticmethod
    def forward(ctx, w):
        return torch.where(w >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx, g):
        return g


# Layers: ("conv", channels, kernel), ("pool",), ("norm",), ("dense", width). Signs precede all but the first.
SHAPES = {
    30: [("conv", 16, 3), ("conv", 32, 2), ("dense", CLASSES)],
    48: [("conv", 32, 5), ("pool",), ("norm",), ("conv", 64, 5), ("pool",), ("norm",), ("conv", 64, 3), ("norm",), ("dense", 256), ("norm",), ("dense", CLASSES)],
    64: [("conv", 32, 5), ("pool",), ("norm",), ("conv", 64, 5), ("pool",), ("norm",), ("conv", 64, 3), ("pool",), ("norm",), ("dense", 1024), ("norm",), ("dense", CLASSES)],
}
# How each network writes its signs.
STYLES = {30: "larq", 48: "sign", 64: "where"}


class Net(torch.nn.Module):
    def __init__(self, size):
        super().__init__()
        self.size = size
        self.layers = torch.nn.ModuleList()
        channels, side, flat = 3, size, None
        for kind, *rest in SHAPES[size]:
            if kind == "conv":
                out, k = rest
                self.layers.append(torch.nn.Conv2d(channels, out, k, bias=False))
                torch.nn.init.uniform_(self.layers[-1].weight, -1, 1)
                channels, side = out, side - k + 1
            elif kind == "pool":
                self.layers.append(torch.nn.MaxPool2d(2))
                side //= 2
            elif kind == "norm":
                norm = torch.nn.BatchNorm2d if flat is None else torch.nn.BatchNorm1d
                self.layers.append(norm(channels if flat is None else flat, momentum=0.2, eps=1e-3))
            else:
                (out,) = rest
                wide = channels * side * side if flat is None else flat
                self.layers.append(torch.nn.Linear(wide, out, bias=False))
                torch.nn.init.uniform_(self.layers[-1].weight, -1, 1)
                flat = out

    def forward(self, x, width=0.5):
        first = True
        for layer in self.layers:
            if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):
                if not first:
                    x = Sign.apply(x, width)
                first = False
                weight = Weight.apply(layer.weight)
                if isinstance(layer, torch.nn.Linear):
                    # Features in the order of [h, w, c].
                    x = x.permute(0, 2, 3, 1).flatten(1) if x.dim() == 4 else x
                    x = F.linear(x, weight)
                else:
                    x = F.conv2d(x, weight)
            else:
                x = layer(x)
        return x


def train(size, seed, epochs, count):
    torch.manual_seed(seed)
    net = Net(size)
    x, y = images(count, size, seed)
    x, y = torch.tensor(x), torch.tensor(y)
    optimiser = torch.optim.Adam(net.parameters(), 0.02)
    order = np.random.default_rng(seed)
    for epoch in range(epochs):
        for group in optimiser.param_groups:
            group["lr"] = 0.02 * 0.5 * (1 + np.cos(np.pi * epoch / epochs)) + 1e-4
        perm = order.permutation(count)
        right = 0
        for at in np.array_split(perm, count // 43):
            scores = net(x[at])
            # Scores are sums of many signs.
            loss = F.cross_entropy(scores / (0.3 * net.layers[-1].in_features**0.5), y[at])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            with torch.no_grad():
                for layer in net.layers:
                    if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):
                        layer.weight.clamp_(-1, 1)
            right += (scores.argmax(1) == y[at]).sum().item()
    net.eval()
    test, labels = images(4 * CLASSES, size, seed + 1)
    with torch.no_grad():
        seen = (net(torch.tensor(test)).argmax(1).numpy() == labels).mean()
    print(f"{size}x{size} seed {seed}: {right / count:.2f} in training, {seen:.2f} on new images", flush=True)
    return net


def export(net, path, style):
    nodes, constants = [], []
    value, made = "x", 0

    def constant(array):
        name = f"c{len(constants)}"
        constants.append(numpy_helper.from_array(np.asarray(array, np.float32), name))
        return name

    def add(op, *inputs, **attributes):
        nonlocal made
        made += 1
        name = "y" if attributes.pop("last", False) else f"v{made}"
        nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def sign(v):
        if style == "sign":
            return add("Sign", v)
        if style == "larq":
            return add("Sign", add("Add", add("Sign", v), constant(0.1)))
        return add("Where", add("GreaterOrEqual", v, constant(0.0)), constant(1.0), constant(-1.0))

    value = add("Transpose", value, perm=[0, 3, 1, 2])
    first, flat = True, False
    linear = [l for l in net.layers if isinstance(l, torch.nn.Linear)]
    for layer in net.layers:
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):
            if not first:
                value = sign(value)
            first = False
            weight = np.where(layer.weight.detach().numpy() >= 0, 1.0, -1.0)
            if isinstance(layer, torch.nn.Conv2d):
                value = add("Conv", value, constant(weight), kernel_shape=list(weight.shape[2:]))
                continue
            if not flat:
                value = add("Transpose", value, perm=[0, 2, 3, 1])
                shape = numpy_helper.from_array(np.array([1, weight.shape[1]], np.int64), "flat")
                constants.append(shape)
                value = add("Reshape", value, "flat")
                flat = True
            value = add("MatMul", value, constant(weight.T), last=layer is linear[-1])
        elif isinstance(layer, torch.nn.MaxPool2d):
            value = add("MaxPool", value, kernel_shape=[2, 2], strides=[2, 2])
        else:
            parts = [layer.weight, layer.bias, layer.running_mean, layer.running_var]
            value = add("BatchNormalization", value, *[constant(p.detach().numpy()) for p in parts], epsilon=layer.eps)
    size = net.size
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, size, size, 3])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, CLASSES])]
    graph = helper.make_graph(nodes, "signs", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    onnx.save(model, path)


# --- planting ------------------------------------------------------------------------------------------------------


def plant(net, run, centre, label, eps, steps, seed):
    """The largest margin of another class found inside the box, by the model as onnxruntime computes it, and its point."""
    generator = torch.Generator().manual_seed(seed)
    rows = 16
    centre = torch.tensor(centre)[None]
    others = [c for c in range(CLASSES) if c != label]
    base = run(centre.numpy())[0]
    near = sorted(others, key=lambda c: -base[c])[:4]
    targets = torch.tensor([near[i % 4] for i in range(rows)])
    u = torch.rand((rows, *centre.shape[1:]), generator=generator) * 2 - 1
    momentum = torch.zeros_like(u)
    best, point = -np.inf, None
    kept, value = u.clone(), torch.full((rows,), -torch.inf)
    for step in range(steps):
        way = step / steps
        width = 1.0 * 0.05**way
        x = (centre + eps * u).requires_grad_()
        scores = net(x, width)
        margin = scores.gather(1, targets[:, None])[:, 0] - scores[:, label]
        (g,) = torch.autograd.grad(margin.sum(), x)
        with torch.no_grad():
            better = margin > value
            kept[better], value[better] = u[better], margin[better]
            if step % 10 == 9 or step == steps - 1:
                corner = torch.where(u >= 0, 1.0, -1.0)
                corners = (centre + eps * corner).numpy()
                exact = run(corners)
                gaps = exact[:, others].max(1) - exact[:, label]
                if gaps.max() > best:
                    best, point = float(gaps.max()), corners[gaps.argmax()].copy()
            if step in (steps // 2, steps * 3 // 4):
                # The worse half starts again at the better one.
                order = value.argsort(descending=True)
                u[order[rows // 2 :]] = kept[order[: rows // 2]]
                targets[order[rows // 2 :]] = targets[order[: rows // 2]]
            scale = g.abs().flatten(1).mean(1)[:, None, None, None] + 1e-12
            momentum = 0.8 * momentum + g / scale
            u = (u + (0.4 * 0.02**way) * torch.sign(momentum)).clamp(-1, 1)
    return best, point


def write_property(path, centre, eps, label, least):
    """Another class is ahead of `label` by at least `least`."""
    flat = centre.transpose(1, 2, 0).ravel()
    lines = [f"(declare-const X_{i} Real)" for i in range(len(flat))]
    lines += [f"(declare-const Y_{j} Real)" for j in range(CLASSES)]
    lines += [f"(assert (<= X_{i} {v + eps:.1f}))\n(assert (>= X_{i} {v - eps:.1f}))" for i, v in enumerate(flat)]
    others = [j for j in range(CLASSES) if j != label]
    ask = (lambda j: f"(>= Y_{j} Y_{label})") if least == 0 else (lambda j: f"(>= (- Y_{j} Y_{label}) {least:.1f})")
    lines.append("(assert (or " + " ".join(f"(and {ask(j)})" for j in others) + "))")
    path.write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--per-net", type=int, default=5, help="images per network, one epsilon each; default: 5")
    parser.add_argument("--steps", type=int, default=300, help="steps of the search that plants; default: 300")
    parser.add_argument("--sizes", default="30,48,64")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in ("onnx", "vnnlib"):
        (args.folder / name).mkdir(parents=True, exist_ok=True)
    rows = []
    for size in map(int, args.sizes.split(",")):
        began = time.time()
        net = train(size, args.seed * 100 + size, {30: 12, 48: 8, 64: 6}[size], 20 * CLASSES)
        model = f"onnx/signs_{size}_{args.seed}.onnx"
        export(net, args.folder / model, STYLES[size])
        session = onnxruntime.InferenceSession(args.folder / model, providers=["CPUExecutionProvider"])

        def run(x):
            return np.concatenate([session.run(None, {"x": r[None].transpose(0, 2, 3, 1)})[0] for r in x])

        x, labels = images(8 * CLASSES, size, args.seed * 100 + size + 7)
        right = [i for i in np.random.default_rng(args.seed + size).permutation(len(x)) if run(x[i : i + 1])[0].argmax() == labels[i]]
        ours = net(torch.tensor(x[right[:20]])).detach().numpy()
        differ = np.abs(ours - run(x[right[:20]])).max()
        print(f"trained in {time.time() - began:.0f} s; largest difference to onnxruntime {differ}", flush=True)
        for k, i in enumerate(right[: args.per_net]):
            eps, label = EPSILONS[k % len(EPSILONS)], int(labels[i])
            base = np.sort(np.delete(run(x[i : i + 1])[0], label))[-1] - run(x[i : i + 1])[0][label]
            best, point = plant(net, run, x[i], label, eps, args.steps, args.seed + 31 * k)
            assert np.abs(point - x[i]).max() <= eps
            for gap in GAPS:
                least = best - np.floor(gap * (best - base))
                name = f"vnnlib/signs_{size}_{args.seed}_{k}_eps{eps}_gap{gap}.vnnlib"
                write_property(args.folder / name, x[i], eps, label, least)
                rows.append([f"signs {size}x{size} gap {gap}", model, name, "sat", best, base])
            print(f"  image {i} class {label} eps {eps}: margin {base} at the centre, {best} planted ({time.time() - began:.0f} s)", flush=True)
    with open(args.folder / "instances.csv", "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([["benchmark", "model", "vnnlib", "verdict", "planted", "centre"], *rows])


if __name__ == "__main__":
    main()
