"""Our `autoattack` and `proofmark` suites against the official AutoAttack, sample by sample.

    python tests/peers/autoattack_agrees.py --proofmark target/debug/proofmark --out target/peer-autoattack

Same ONNX model, samples and epsilon as `attack_strength.py`; AutoAttack's `standard` version from the package
`pyautoattack`, with three seeds. A sample counts as broken where the point returned is misclassified and inside budget and bounds. Prints
a table per model and norm: samples left by each seed, by their worst case per sample, and by ours, and on how many the
seeds differ; every sample on which ours and the worst case differ; and exits 1 where our `autoattack` leaves more than
one sample above the median of the seeds, or `proofmark` more than one above the worst case, or more than the worst
cases of all models and norms together.

Outcomes of the peer are kept in OUT and not computed again; `--only MODEL,…` and `--norms NORM,…` do a part, and
without `--proofmark` only the peer runs.
"""

import argparse
import importlib.metadata
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from attack_strength import MODELS, ROOT, size

SEEDS = (0, 1, 2)
NORMS = ("linf", "l2")
SUITES = ("autoattack", "proofmark")


def official(net, x, y, eps, norm, seed):
    """Which samples AutoAttack breaks (or the model misclassifies), and the seconds it takes."""
    from pyautoattack import AutoAttack

    name = {"linf": "Linf", "l2": "L2"}[norm]
    began = time.perf_counter()
    attack = AutoAttack(net, norm=name, eps=eps, version="standard", seed=seed, device="cpu")
    attack.verbose = False
    found = attack.run_standard_evaluation(x, y, batch_size=100)
    found = found[0] if isinstance(found, tuple) else found
    seconds = time.perf_counter() - began
    d = (found - x).flatten(1).double()
    d *= (eps / size(d, norm).clamp_min(eps))[:, None]
    moved = (x + d.float().reshape(x.shape)).clamp(0, 1)
    with torch.no_grad():
        broken = (net(moved).argmax(1) != y) | (net(x).argmax(1) != y)
    return broken.tolist(), seconds


def peer(known, key, run):
    cache = json.loads(known.read_text()) if known.exists() else {}
    if key not in cache:
        broken, seconds = run()
        cache[key] = {"broken": broken, "seconds": seconds}
        known.write_text(json.dumps(cache))
    robust = 100 - 100 * np.mean(cache[key]["broken"])
    print(f"{key}: {robust:.1f} %, {cache[key]['seconds']:.0f} s", file=sys.stderr, flush=True)
    return np.array(cache[key]["broken"]), cache[key]["seconds"]


def own(binary, model, x, y, norm, suite, out):
    """Which samples a suite breaks, its report's entry and the seconds the run takes."""
    data, report = out / "samples.npz", out / "report.json"
    np.savez(data, x=model.laid_out(x).contiguous().numpy(), y=y.numpy())
    command = [binary, "attack", model.file, "--data", data, "--norm", norm, "--attack", suite]
    command += ["--eps", repr(model.eps[norm]), "--bounds", "0,1", "--quiet", "--out", report]
    if model.std != 1.0:
        command += ["--mean", str(model.mean), "--std", str(model.std)]
    subprocess.run([str(c) for c in command], check=True)
    read = json.loads(report.read_text())
    samples = sorted(read["samples"], key=lambda s: int(s["id"]))
    at = next(i for i, a in enumerate(read["attacks"]) if a["id"].startswith(suite))
    broken = [s["runs"][at]["status"] in ("broken", "misclassified") for s in samples]
    return np.array(broken), read["attacks"][at]


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--proofmark", help="the binary; without it only the peer runs")
    ask.add_argument("--out", type=Path, default=ROOT / "target" / "peer-autoattack")
    ask.add_argument("--only", default=",".join(MODELS))
    ask.add_argument("--norms", default=",".join(NORMS))
    ask.add_argument("--threads", type=int, default=1, help="of the peer")
    ask.add_argument("--suites", default=",".join(SUITES))
    asked = ask.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(asked.threads)
    known = asked.out / "official.json"
    print(f"pyautoattack {importlib.metadata.version('pyautoattack')}, torch {torch.__version__}")
    print("| model (samples) | norm, eps | left by three seeds | their worst case | seeds differ on | suite | left | broken by both, neither, only ours, only theirs |")
    print("|---|---|---|---|---|---|---|---|")
    lost, above_in_total, differing = False, 0, []
    for name in asked.only.split(","):
        model = MODELS[name]
        if not model.file.exists():
            print(f"{name}: skipped, {model.file} is absent", file=sys.stderr)
            continue
        x, y = model.samples()
        net = model.torch(x)
        for norm in asked.norms.split(","):
            eps = model.eps[norm]
            key = lambda seed: f"{name} {len(x)} {norm} {eps:g} seed {seed}"
            seeds = [peer(known, key(s), lambda s=s: official(net, x, y, eps, norm, s)) for s in SEEDS]
            if not asked.proofmark:
                continue
            broken = [b for b, _ in seeds]
            worst = np.logical_or.reduce(broken)
            left = [int((~b).sum()) for b in broken]
            seeds_differ = int((np.logical_or.reduce(broken) & ~np.logical_and.reduce(broken)).sum())
            for suite in asked.suites.split(","):
                found, entry = own(asked.proofmark, model, x, y, norm, suite, asked.out)
                mine, theirs = found & ~worst, worst & ~found
                above = int((~found).sum()) - (statistics.median(left) if suite == "autoattack" else int((~worst).sum()))
                lost |= above > 1
                above_in_total += above if suite == "proofmark" else 0
                print(
                    f"| {name} ({len(x)}) | {norm}, {eps:.4g} | {', '.join(map(str, left))} | {(~worst).sum()} | {seeds_differ} "
                    f"| {entry['id']} | {(~found).sum()} | {(found & worst).sum()}, {(~found & ~worst).sum()}, {mine.sum()}, {theirs.sum()} |"
                    + (" **behind**" if above > 1 else ""),
                    flush=True,
                )
                for i in np.flatnonzero(mine):
                    differing.append(f"{name}, {norm}, {suite}: sample {i} by ours alone")
                for i in np.flatnonzero(theirs):
                    by = [str(seed) for seed, b in zip(SEEDS, broken) if b[i]]
                    differing.append(f"{name}, {norm}, {suite}: sample {i} by theirs alone, seeds {', '.join(by)}")
    if asked.proofmark and "proofmark" in asked.suites.split(","):
        lost |= above_in_total > 0
        print(f"\nproofmark leaves {above_in_total:+d} samples beside the worst cases")
    print("\n".join(["", *differing]))
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
