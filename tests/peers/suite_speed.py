"""Seconds to the same verdict: our suites `proofmark` and `autoattack` beside AutoAttack, in alternation.

    python tests/peers/suite_speed.py --proofmark target/release/proofmark --threads 1 --rounds 3

Same ONNX models, samples, epsilon and threads for all, batches of 100; AutoAttack's `standard` version from the package
`pyautoattack`. One run after the other, in rounds: AutoAttack, our `autoattack`, our `proofmark`; the medians count.
AutoAttack's seconds are those of `run_standard_evaluation` in a process that has loaded everything and run the model
once; ours are those that the report gives for the suite, without loading and without the checks that accompany a run
(`whole run` includes both). Forwards and backwards are rows, counted by a wrapper around the peer's model, and ours from
the report; `per row` is the time per forward + 2 × backwards.

Prints a table. Needs an idle machine. `--only MODEL,…` and `--norms NORM,…` do a part, `--samples N` takes the first N.
"""

import argparse
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from attack_strength import MODELS
from autoattack_agrees import SUITES, official

BATCH = 100
# A weak pair beside those of `attack_strength.py`: (model, norm, eps).
PAIRS = [
    ("digits-standard", "linf", 0.15),
    ("digits-standard", "linf", 0.08),
    ("digits-robust", "linf", 0.15),
    ("digits-robust", "l2", 0.8),
    ("mnist-cnn", "linf", 0.1),
    ("mnist-cnn", "l2", 1.5),
    ("cifar-cnn", "linf", 1 / 255),
    ("cifar-cnn", "l2", 0.15),
]


class Counted(torch.nn.Module):
    """Counts the rows that go forward and backward."""

    def __init__(self, net):
        super().__init__()
        self.net, self.forwards, self.backwards = net, 0, 0

    def forward(self, x):
        rows = len(x)
        self.forwards += rows
        scores = self.net(x)
        if scores.requires_grad:

            def count(_):
                self.backwards += rows

            scores.register_hook(count)
        return scores


def theirs(net, x, y, eps, norm, seed):
    counted = Counted(net).eval()
    broken, seconds = official(counted, x, y, eps, norm, seed)
    # `official` judges with two forwards per sample, after the clock has stopped.
    return seconds, counted.forwards - 2 * len(x), counted.backwards, len(x) - sum(broken), seconds


def ours(binary, model, x, y, eps, norm, suite, threads):
    with tempfile.TemporaryDirectory() as folder:
        data, report = Path(folder) / "samples.npz", Path(folder) / "report.json"
        np.savez(data, x=model.laid_out(x).contiguous().numpy(), y=y.numpy())
        command = [binary, "attack", model.file, "--data", data, "--norm", norm, "--attack", suite, "--eps", repr(eps)]
        command += ["--bounds", "0,1", "--device", "cpu", "--batch-size", str(BATCH), "--quiet", "--out", report]
        if model.std != 1.0:
            command += ["--mean", str(model.mean), "--std", str(model.std)]
        began = time.perf_counter()
        subprocess.run([str(c) for c in command], check=True, env=os.environ | {"RAYON_NUM_THREADS": str(threads)})
        whole = time.perf_counter() - began
        read = json.loads(report.read_text())
    at = next(i for i, a in enumerate(read["attacks"]) if a["id"].startswith(suite))
    left = sum(s["runs"][at]["status"] not in ("broken", "misclassified") for s in read["samples"])
    entry = read["attacks"][at]
    return entry["seconds"], entry["forward"], entry["backward"], left, whole


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--proofmark", required=True)
    ask.add_argument("--threads", type=int, default=1)
    ask.add_argument("--rounds", type=int, default=3)
    ask.add_argument("--only", help="models; default: all")
    ask.add_argument("--norms", default="linf,l2")
    ask.add_argument("--samples", type=int, help="the first so many; default: all of the table in docs/attack-strength.md")
    asked = ask.parse_args()
    torch.set_num_threads(asked.threads)
    print(f"pyautoattack {importlib.metadata.version('pyautoattack')}, torch {torch.__version__}, {asked.threads} threads, medians of {asked.rounds}\n")
    print("| model (samples) | norm, eps | suite | left | forwards | backwards | seconds | whole run | AutoAttack's seconds ÷ these | µs per row | AutoAttack's per row ÷ this |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name, norm, eps in PAIRS:
        if norm not in asked.norms.split(",") or (asked.only and name not in asked.only.split(",")):
            continue
        model = MODELS[name]
        if not model.file.exists():
            print(f"{name}: skipped, {model.file} is absent", file=sys.stderr)
            continue
        x, y = model.samples()
        x, y = x[: asked.samples], y[: asked.samples]
        net = model.torch(x)
        # What the first call loads and compiles.
        net(x[:BATCH].requires_grad_()).sum().backward()
        x = x.detach()
        runs = {"AutoAttack": [], **{s: [] for s in SUITES}}
        for seed in range(asked.rounds):
            runs["AutoAttack"].append(theirs(net, x, y, eps, norm, seed))
            for suite in SUITES:
                runs[suite].append(ours(asked.proofmark, model, x, y, eps, norm, suite, asked.threads))
        medians = {k: [statistics.median(column) for column in zip(*r)] for k, r in runs.items()}
        row = lambda m: m[0] / (m[1] + 2 * m[2])
        for label, m in medians.items():
            seconds, forwards, backwards, left, whole = m
            ratios = (f"{medians['AutoAttack'][0] / seconds:.1f}", f"{row(medians['AutoAttack']) / row(m):.2f}")
            ratios = ("", "") if label == "AutoAttack" else ratios
            print(
                f"| {name} ({len(x)}) | {norm}, {eps:.4g} | {label} | {left:.0f} | {forwards:.0f} | {backwards:.0f} "
                f"| {seconds:.3f} | {whole:.2f} | {ratios[0]} | {1e6 * row(m):.1f} | {ratios[1]} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
