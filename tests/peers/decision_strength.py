"""`hopskipjump` against foolbox's HopSkipJump at equal queries: how near each comes by decisions alone.

    python tests/peers/decision_strength.py --proofmark target/debug/proofmark --out target/peer-decisions

Same model, samples, norm and number of queries per sample. Of either attack the nearest point that was misclassified
among all that it asked about counts; foolbox is run sample by sample and stopped when its queries are spent. Prints the
median L2 distance, and on how many samples either is nearer.
"""

import argparse
import json
import logging
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import torch

from attack_strength import MODELS, ROOT, size

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)


class Spent(Exception):
    pass


class Counted(torch.nn.Module):
    """Counts what it is asked about one sample, keeps the nearest misclassified point, and stops at a limit."""

    def __init__(self, net, clean, label, limit):
        super().__init__()
        self.net, self.clean, self.label, self.left = net, clean, label, limit
        self.nearest = float("inf")

    def forward(self, x):
        if self.left <= 0:
            raise Spent
        x = x[: self.left]
        self.left -= len(x)
        scores = self.net(x)
        wrong = scores.argmax(1) != self.label
        if wrong.any():
            self.nearest = min(self.nearest, size((x[wrong] - self.clean).flatten(1), "l2").min().item())
        if self.left <= 0:
            raise Spent
        return scores


def foolbox_distance(net, x, y, queries):
    import foolbox

    counted = Counted(net, x, y, queries)
    model = foolbox.PyTorchModel(counted.eval(), bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.HopSkipJumpAttack(steps=1000)
    try:
        attack.run(model, x, foolbox.criteria.Misclassification(y))
    except Spent:
        pass
    return counted.nearest


def own_distances(binary, model, x, y, queries, out):
    data, report = out / "samples.npz", out / "report.json"
    np.savez(data, x=model.laid_out(x).contiguous().numpy(), y=y.numpy())
    command = [binary, "attack", model.file, "--data", data, "--attack", "hopskipjump", "--norm", "l2", "--eps", "1e3"]
    command += ["--set", f"hopskipjump.queries={queries}", "--bounds", "0,1", "--quiet", "--out", report]
    if model.std != 1.0:
        command += ["--mean", str(model.mean), "--std", str(model.std)]
    subprocess.run([str(c) for c in command], check=True)
    samples = sorted(json.loads(report.read_text())["samples"], key=lambda s: int(s["id"]))
    return [s["runs"][0]["distance"] if s["runs"][0]["status"] == "broken" else float("inf") for s in samples]


def main():
    ask = argparse.ArgumentParser()
    ask.add_argument("--proofmark", required=True)
    ask.add_argument("--out", type=Path, default=ROOT / "target" / "peer-decisions")
    ask.add_argument("--only", default="digits-standard,mnist-cnn")
    ask.add_argument("--queries", default="1000,5000")
    ask.add_argument("--samples", type=int, default=30)
    asked = ask.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    print("| model (n) | queries | ours, median | foolbox, median | ours nearer, foolbox nearer |")
    print("|---|---|---|---|---|")
    for name in asked.only.split(","):
        model = MODELS[name]
        x, y = model.samples()
        net = model.torch(x)
        with torch.no_grad():
            right = (net(x).argmax(1) == y).nonzero()[: asked.samples, 0]
        x, y = x[right], y[right]
        for queries in map(int, asked.queries.split(",")):
            ours = np.array(own_distances(asked.proofmark, model, x, y, queries, asked.out))
            torch.manual_seed(0)
            np.random.seed(0)
            with torch.no_grad():
                theirs = np.array([foolbox_distance(net, x[i : i + 1], y[i : i + 1], queries) for i in range(len(x))])
            nearer = f"{int((ours < theirs).sum())}, {int((theirs < ours).sum())}"
            medians = f"{np.median(ours):.3f} | {np.median(theirs):.3f}"
            print(f"| {name} ({len(x)}) | {queries} | {medians} | {nearer} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
