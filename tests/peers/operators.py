#!/usr/bin/env python3
"""Milliseconds per row, operator by operator, here and in PyTorch: one thread, PGD-40 on 64 samples.

    cargo bench --profile dev -p proofmark --bench speed --no-run      # names the executable
    python speed.py --make --out DIR
    python operators.py --bench target/debug/deps/speed-… --out DIR [--models cnn,resnet18-32,vit]

Ours by `perf record` (kernels by name; time in the rest of the process is the engine's and the attack's), PyTorch's by
its profiler over forward passes and input gradients alone, weights frozen. Prints a table in Markdown.
Needs perf, torch, torchvision.
"""

import argparse
import json
import pathlib
import re
import subprocess
import time

from speed import EPS, STEPS, models

ROWS = 64

# family: kernels here, operators of PyTorch
FAMILIES = {
    "convolutions, dense layers": (
        ["Convolve", "Fold", "Channelwise"],
        ["mkldnn_convolution", "_slow_conv2d", "convolution_backward", "thnn_conv2d", "addmm", "mm", "mkldnn_linear"],
    ),
    "products of values": (["Product", "Transposed"], ["bmm", "baddbmm"]),
    "softmax": (["Softmax", "SoftmaxBack"], ["_softmax", "_softmax_backward_data", "_log_softmax", "_log_softmax_backward_data"]),
    "layer and batch norm": (
        ["Normalise", "Affine"],
        ["native_layer_norm", "native_layer_norm_backward", "native_batch_norm", "native_batch_norm_backward", "cudnn_batch_norm", "batch_norm_backward"],
    ),
    "activations, sums, scales": (
        ["Pointwise", "PointwiseBack", "Multiply", "Spread"],
        ["gelu", "gelu_backward", "relu", "clamp_min", "clamp_min_", "threshold_backward", "add", "add_", "mul", "div", "sum", "mean"],
    ),
    "poolings": (
        ["MaxPool", "MaxPoolBack", "Largest", "LargestBack"],
        ["max_pool2d_with_indices", "max_pool2d_with_indices_backward", "avg_pool2d", "_adaptive_avg_pool2d", "_adaptive_avg_pool2d_backward", "avg_pool2d_backward"],
    ),
    "moving elements": (
        ["Rearrange", "Join", "Part", "Enter", "Leave"],
        ["copy_", "fill_", "zero_", "empty", "empty_like", "empty_strided", "cat", "slice_backward", "select_backward", "stack", "contiguous", "clone"],
    ),
}


def own(bench, folder, name):
    """Milliseconds per row of each family, and of the rest."""
    trace = folder / f"{name}.perf"
    command = [bench, folder / f"{name}.onnx", folder / f"{name}.npz", "attacks=pgd", f"rows={ROWS}", "threads=1", "rounds=3", f"eps={EPS}", "format=json"]
    out = subprocess.run(["perf", "record", "-q", "-F", "2000", "-o", trace, *command], capture_output=True, text=True, check=True)
    runs = [json.loads(line) for line in out.stdout.strip().splitlines() if line.startswith("{")]
    per_row = min(r["seconds"] / r["computed"] for r in runs) * 1000
    report = subprocess.run(["perf", "report", "-i", trace, "--no-children", "--stdio", "-F", "overhead,symbol"], capture_output=True, text=True, check=True)
    shares = dict.fromkeys([*FAMILIES, "all else"], 0.0)
    for line in report.stdout.splitlines():
        found = re.match(r"\s*([\d.]+)%\s+\[.\]?\s*(.*)", line)
        if not found:
            continue
        kernel = re.search(r"kernel::\w+::(\w+) as proofmark_kernels", found[2])
        family = next((f for f, (own, _) in FAMILIES.items() if kernel and kernel[1] in own), "all else")
        if kernel and family == "all else":
            print(f"kernel in no family: {kernel[1]}")
        shares[family] += float(found[1]) / 100
    whole = sum(shares.values())
    return {f: per_row * s / whole for f, s in shares.items()}, per_row


def theirs(folder, name):
    import numpy as np
    import torch
    from torch.profiler import ProfilerActivity, profile

    torch.set_num_threads(1)
    net, _ = models()[name]
    net.load_state_dict(torch.load(folder / f"{name}.pt"))
    net.eval().requires_grad_(False)
    data = np.load(folder / f"{name}.npz")
    x, y = torch.tensor(data["x"][:ROWS]), torch.tensor(data["y"][:ROWS])

    def once():
        for _ in range(STEPS):
            given = x.clone().requires_grad_()
            loss = torch.nn.functional.cross_entropy(net(given), y)
            torch.autograd.grad(loss, given)

    once()
    began = time.perf_counter()
    once()
    per_row = (time.perf_counter() - began) / (ROWS * STEPS) * 1000
    with profile(activities=[ProfilerActivity.CPU]) as trace:
        once()
    shares = dict.fromkeys([*FAMILIES, "all else"], 0.0)
    for event in trace.key_averages():
        operator = event.key.removeprefix("aten::")
        family = next((f for f, (_, all_) in FAMILIES.items() if operator in all_), "all else")
        shares[family] += event.self_cpu_time_total
    whole = sum(shares.values())
    return {f: per_row * s / whole for f, s in shares.items()}, per_row


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bench", required=True)
    p.add_argument("--out", type=pathlib.Path, required=True)
    p.add_argument("--models", type=lambda t: t.split(","), default=["cnn", "resnet18-32", "vit"])
    args = p.parse_args()
    columns = {name: (own(args.bench, args.out, name), theirs(args.out, name)) for name in args.models}
    print("| ms per row | " + " | ".join(f"{n} | PyTorch" for n in columns) + " |")
    print("|---" * (1 + 2 * len(columns)) + "|")
    for family in [*FAMILIES, "all else"]:
        cells = (f"{a[0][family]:.3f} | {b[0][family]:.3f}" for a, b in columns.values())
        print(f"| {family} | " + " | ".join(cells) + " |")
    print("| sum | " + " | ".join(f"{a[1]:.3f} | {b[1]:.3f}" for a, b in columns.values()) + " |")


if __name__ == "__main__":
    main()
