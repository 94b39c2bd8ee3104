"""Universal perturbations against ART's, and rotations with shifts against Foolbox's.

    python tests/peers/universal_strength.py --proofmark target/debug/proofmark

Same model, samples and budget. Universal: proofmark's report says which samples were used for fitting; ART's
UniversalPerturbation is fitted on the same ones, with its defaults and 10 epochs as ours, and both are counted on the held-out samples, out of
those that the model classifies correctly. Spatial: Foolbox's SpatialAttack tries the same grid (angles and shifts up to
the limits, zeros outside) for each sample. Prints the tables of `docs/maps.md`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from attack_strength import MODELS, size

BUDGETS = {
    "digits-standard": {"linf": 0.15, "l2": 0.8},
    "digits-robust": {"linf": 0.25, "l2": 1.5},
    "mnist-cnn": {"linf": 0.2, "l2": 4.0},
    "cifar-cnn": {"linf": 8 / 255, "l2": 1.5},
}
# Largest angle, and largest shift as a share of the image; points along each of the three parameters.
SPATIAL = {"digits-standard": (30, 0.125), "digits-robust": (30, 0.125), "mnist-cnn": (30, 0.1), "cifar-cnn": (30, 0.1)}
POINTS = 5


def proofmark(binary, model, x, y, arguments, folder):
    data, report = folder / "samples.npz", folder / "report.json"
    np.savez(data, x=model.laid_out(x).contiguous().numpy(), y=y.numpy())
    command = [binary, "attack", model.file, "--data", data, "--bounds", "0,1", "--quiet", "--out", report, *arguments]
    if model.std != 1.0:
        command += ["--mean", str(model.mean), "--std", str(model.std)]
    began = time.perf_counter()
    subprocess.run([str(c) for c in command], check=True)
    read = json.loads(report.read_text())
    read["samples"].sort(key=lambda s: int(s["id"]))
    read["wall"] = time.perf_counter() - began
    return read


def percent(share):
    return f"{100 * share:.1f} %"


def universal(binary, name, net, x, y, folder):
    from art.attacks.evasion import UniversalPerturbation
    from art.estimators.classification import PyTorchClassifier

    for norm, eps in BUDGETS[name].items():
        asked = ["--attack", "uap-pgd,uap", "--norm", norm, "--eps", repr(eps)]
        report = proofmark(binary, MODELS[name], x, y, asked, folder)
        runs = {a["id"]: (i, a) for i, a in enumerate(report["attacks"]) if a["role"] == "attack"}
        outcome = [s["runs"][runs["uap-pgd"][0]] for s in report["samples"]]
        tried = np.array([o["status"] in ("broken", "robust") for o in outcome])
        fitted = np.array(["fitted" in o.get("observed", []) for o in outcome])
        held = tried & ~fitted
        torch.manual_seed(0)
        np.random.seed(0)
        loss = torch.nn.CrossEntropyLoss()
        classes = int(net(x[:1]).shape[1])
        peer = PyTorchClassifier(net, loss, tuple(x.shape[1:]), classes, clip_values=(0.0, 1.0))
        attack = UniversalPerturbation(
            peer,
            attacker_params={"verbose": False},
            max_iter=10,
            eps=eps,
            norm=np.inf if norm == "linf" else 2,
            verbose=False,
        )
        began = time.perf_counter()
        attack.generate(x[fitted].numpy())
        wall = time.perf_counter() - began
        noise = torch.tensor(np.asarray(attack.noise), dtype=torch.float32).reshape(1, *x.shape[1:])
        noise *= min(1.0, eps / float(size(noise.flatten(1).double(), norm)))
        with torch.no_grad():
            theirs = (net((x + noise).clamp(0, 1)).argmax(1) != y).numpy()[held].sum()
        h = {k: v[1]["held_out"] for k, v in runs.items()}
        ours = " | ".join(
            f"{percent(h[k]['fooling_rate'])} [{h[k]['ci95'][0]:.3f}, {h[k]['ci95'][1]:.3f}], {percent(h[k]['fitted_broken'] / h[k]['fitted'])}"
            for k in ("uap-pgd", "uap")
        )
        seconds = ", ".join(f"{runs[k][1]['seconds']:.1f}" for k in ("uap-pgd", "uap"))
        print(f"| {name} | {norm} {eps:.4g} | {held.sum()} | {ours} | {percent(theirs / held.sum())} | {seconds}, {wall:.1f} |", flush=True)


def spatial(binary, name, net, x, y, folder):
    import foolbox

    degrees, shift = SPATIAL[name]
    side = x.shape[-1]
    asked = ["--map", f"spatial:degrees={degrees}:shift={shift}", "--attack", "grid,pgd", "--set", f"grid.points={POINTS}"]
    report = proofmark(binary, MODELS[name], x, y, asked, folder)
    model = foolbox.PyTorchModel(net, bounds=(0, 1))
    attack = foolbox.attacks.SpatialAttack(
        max_translation=shift * side, max_rotation=degrees, num_translations=POINTS, num_rotations=POINTS, grid_search=True
    )
    with torch.no_grad():
        broken = []
        for i in range(0, len(x), 100):
            _, _, success = attack(model, x[i : i + 100], foolbox.criteria.Misclassification(y[i : i + 100]))
            broken += success.tolist()
    robust = {a["id"]: a["robust_accuracy"] for a in report["attacks"]}
    clean = report["clean"]["accuracy"]
    cells = [percent(v) for v in (clean, robust["grid"], robust["pgd"], report["worst_case"]["robust_accuracy"], 1 - np.mean(broken))]
    print(f"| {name} ({len(x)}) | {degrees}°, {shift} | {' | '.join(cells)} |", flush=True)


def main():
    ask = argparse.ArgumentParser()
    ask.add_argument("--proofmark", required=True)
    ask.add_argument("--only", default=",".join(MODELS))
    ask.add_argument("--n", type=int, help="samples; default: as in attack_strength.py")
    ask.add_argument("--what", default="universal,spatial")
    asked = ask.parse_args()
    torch.set_num_threads(1)
    for what in asked.what.split(","):
        for name in asked.only.split(","):
            model = MODELS[name]
            if not model.file.exists():
                print(f"SKIPPED {name}: {model.file} is not there", file=sys.stderr)
                continue
            x, y = (part[: asked.n] for part in model.samples())
            with tempfile.TemporaryDirectory() as folder:
                run = {"universal": universal, "spatial": spatial}[what]
                run(asked.proofmark, name, model.torch(x), x, y, Path(folder))


if __name__ == "__main__":
    main()
