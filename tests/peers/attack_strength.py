"""Default attacks against the same kinds of attack in torchattacks, foolbox, ART and AutoAttack's APGD.

    python tests/peers/attack_strength.py --proofmark target/debug/proofmark --out target/peer-strength

Same model, samples, budget and number of steps; the peers' own default step sizes, relative to epsilon where they are
stated so. A sample counts as broken where the point that was returned is misclassified and inside budget and bounds;
a peer's point that leaves its ball is scaled back onto it first. Two outcomes per sample and pair of attacks: the
exact McNemar test on the samples that only one of them breaks. Prints the table of `docs/attack-strength.md` and
exits 1 where the best peer is significantly stronger (p < 0.05) or ahead by more than one sample in 200.

Outcomes of peers are kept in OUT and not computed again; `--only MODEL,…` and `--kinds KIND,…` do a part.
"""

import argparse
import importlib.metadata
import json
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx2torch import convert
from scipy.stats import binomtest

import digits
from common import session

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("PROOFMARK_DATA", ROOT.parent / "shared" / "data"))
NORMS = ("linf", "l2", "l1")
STEPS = {"fgsm": 1, "r-fgsm": 1, "bim": 10, "pgd": 40, "mi-fgsm": 10, "adam-pgd": 40, "apgd-t": 100}
# Kinds that are not offered in every norm.
OFFERED = {"apgd-t": ("linf", "l2")}
PACKAGES = ("torch", "torchattacks", "foolbox", "adversarial-robustness-toolbox", "pyautoattack")


# Models and samples -------------------------------------------------------------------------------------------------


def idx(path):
    raw = path.read_bytes()
    dims = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(raw[3])]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(dims)


def mnist():
    folder = SHARED / "datasets" / "mnist"
    x = idx(folder / "t10k-2000-images-idx3-ubyte").astype(np.float32) / 255
    return x[:, None], idx(folder / "t10k-2000-labels-idx1-ubyte").astype(np.int64)


def cifar():
    raw = np.fromfile(SHARED / "datasets" / "cifar10" / "test-2000.bin", np.uint8).reshape(-1, 3073)
    return raw[:, 1:].reshape(-1, 3, 32, 32).astype(np.float32) / 255, raw[:, 0].astype(np.int64)


class Model:
    """An ONNX file, the samples to attack, the budgets, and how pixels `[n, c, h, w]` in [0, 1] become its input."""

    def __init__(self, file, data, n, eps, axes=None, mean=0.0, std=1.0):
        self.file, self.data, self.n, self.eps = file, data, n, eps
        self.axes, self.mean, self.std = axes, mean, std

    def samples(self):
        x, y = self.data()
        return torch.tensor(x[: self.n]), torch.tensor(y[: self.n])

    def laid_out(self, x):
        return x if self.axes is None else x.permute(self.axes)

    def torch(self, x):
        """The network in PyTorch without a final softmax, checked against onnxruntime on the first samples."""
        loaded = onnx.load(self.file)
        last = loaded.graph.node[-1]
        if last.op_type in ("Softmax", "LogSoftmax"):
            loaded.graph.output[0].name = last.input[0]
            loaded.graph.node.remove(last)
        net = convert(loaded).eval().requires_grad_(False)
        whole = Laid(net, self).eval()
        name = session(self.file).get_inputs()[0].name
        ready = ((self.laid_out(x[:32]) - self.mean) / self.std).numpy()
        truth = torch.tensor(session(self.file).run(None, {name: ready})[0])
        ours = whole(x[:32])
        if last.op_type == "Softmax":
            ours = ours.softmax(1)
        assert (ours - truth).abs().max() < 1e-4, f"{self.file}: not the network that onnxruntime runs"
        return whole


class Laid(torch.nn.Module):
    def __init__(self, net, model):
        super().__init__()
        self.net, self.model = net, model

    def forward(self, x):
        return self.net((self.model.laid_out(x) - self.model.mean) / self.model.std)


MODELS = {
    "digits-standard": Model(
        digits.FOLDER / "digits-standard.onnx", lambda: digits.split()[0], 400, {"linf": 0.08, "l2": 0.4, "l1": 1.2}
    ),
    "digits-robust": Model(
        digits.FOLDER / "digits-robust.onnx", lambda: digits.split()[0], 400, {"linf": 0.15, "l2": 0.8, "l1": 2.5}
    ),
    "mnist-cnn": Model(
        SHARED / "models" / "marabou_cnn_max_mnist3.onnx",
        mnist,
        300,
        {"linf": 0.1, "l2": 1.5, "l1": 8.0},
        axes=(0, 2, 3, 1),
    ),
    "cifar-cnn": Model(
        SHARED / "backdoor" / "badnet_cifar10_backdoored.onnx",
        cifar,
        200,
        {"linf": 1 / 255, "l2": 0.15, "l1": 2.0},
        mean=0.5,
        std=0.5,
    ),
}


# Peers --------------------------------------------------------------------------------------------------------------


def torchattacks_(name, **parameters):
    def run(net, x, y, eps, norm):
        import torchattacks

        given = {k: v(eps) if callable(v) else v for k, v in parameters.items()}
        return getattr(torchattacks, name)(net, eps=eps, **given)(x, y).detach()

    shown = ", ".join(f"{k}={v(1.0):g}·eps" if callable(v) else f"{k}={v}" for k, v in parameters.items())
    return f"torchattacks {name}({shown})", run


def foolbox_(name, **parameters):
    def run(net, x, y, eps, norm):
        import foolbox

        attack = getattr(foolbox.attacks, name)(**parameters)
        model = foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu")
        return attack.run(model, x, foolbox.criteria.Misclassification(y), epsilon=eps).detach()

    return f"foolbox {name}" + (" from a random point" if parameters.get("random_start") else ""), run


def art_(name, ratio, shown=None, **parameters):
    def run(net, x, y, eps, norm):
        from art.attacks import evasion
        from art.estimators.classification import PyTorchClassifier

        loss = torch.nn.CrossEntropyLoss()
        model = PyTorchClassifier(net, loss, tuple(x.shape[1:]), 10, clip_values=(0.0, 1.0), device_type="cpu")
        p = {"linf": np.inf, "l2": 2, "l1": 1}[norm]
        quiet = {} if name == "FastGradientMethod" else {"verbose": False}
        attack = getattr(evasion, name)(model, norm=p, eps=eps, eps_step=eps * ratio, **quiet, **parameters)
        return torch.tensor(attack.generate(x.numpy(), y.numpy()))

    return f"ART {shown or name}", run


def apgd_(steps):
    def run(net, x, y, eps, norm):
        from pyautoattack.autopgd_base import APGDAttack

        name = {"linf": "Linf", "l2": "L2", "l1": "L1"}[norm]
        attack = APGDAttack(net, n_iter=steps, norm=name, n_restarts=1, eps=eps, seed=0, loss="ce", device="cpu")
        attack.init_hyperparam(x)
        return attack.perturb(x, y).detach()

    return "AutoAttack APGD-CE", run


def apgd_t_(steps):
    def run(net, x, y, eps, norm):
        from pyautoattack.autopgd_base import APGDAttack_targeted

        name = {"linf": "Linf", "l2": "L2"}[norm]
        attack = APGDAttack_targeted(net, n_iter=steps, norm=name, n_restarts=1, eps=eps, seed=0, device="cpu")
        attack.init_hyperparam(x)
        return attack.perturb(x, y).detach()

    return "AutoAttack APGD-T", run


def offered(kind, norm):
    return norm in OFFERED.get(kind, NORMS)


def peers(kind, norm):
    """Attacks of the same kind, at `STEPS[kind]` steps; ratios are the packages' defaults for their default budgets."""
    n = {"linf": "Linf", "l2": "L2", "l1": "L1"}[norm]
    steps = STEPS[kind]
    linf, l2, l1 = (norm == other for other in NORMS)
    if kind == "fgsm":
        found = [foolbox_(f"{n}FastGradientAttack"), art_("FastGradientMethod", 1.0)]
        return found + linf * [torchattacks_("FGSM")]
    if kind == "r-fgsm":
        found = [
            foolbox_(f"{n}FastGradientAttack", random_start=True),
            art_("FastGradientMethod", 1.0, "FastGradientMethod from a random point", num_random_init=1),
        ]
        rest = [torchattacks_("RFGSM", alpha=lambda e: e / 2, steps=1), torchattacks_("FFGSM", alpha=lambda e: 1.25 * e)]
        return found + linf * rest
    if kind == "bim":
        found = [
            foolbox_(f"{n}BasicIterativeAttack", steps=steps),
            art_("ProjectedGradientDescent", 1 / 3, "ProjectedGradientDescent from the sample", max_iter=steps),
        ]
        found += linf * [torchattacks_("BIM", alpha=lambda e: e / 4, steps=steps)]
        found += l2 * [torchattacks_("PGDL2", alpha=lambda e: e / 5, steps=steps, random_start=False)]
        return found + l1 * [foolbox_("SparseL1DescentAttack", steps=steps)]
    if kind == "pgd":
        found = [
            foolbox_(f"{n}ProjectedGradientDescentAttack", steps=steps),
            art_("ProjectedGradientDescent", 1 / 3, max_iter=steps, num_random_init=1),
            apgd_(steps),
        ]
        found += linf * [torchattacks_("PGD", alpha=lambda e: e / 4, steps=steps)]
        found += l2 * [torchattacks_("PGDL2", alpha=lambda e: e / 5, steps=steps)]
        found += l2 * [torchattacks_("PGDL2", alpha=0.2, steps=steps)]
        found += l1 * [foolbox_("SparseL1DescentAttack", steps=steps)]
        return found + l1 * [foolbox_("SparseL1DescentAttack", steps=steps, random_start=True)]
    if kind == "mi-fgsm":
        found = [
            foolbox_(f"{n}MomentumIterativeFastGradientMethod", steps=steps),
            art_("MomentumIterativeMethod", 1 / 3, max_iter=steps),
        ]
        return found + linf * [torchattacks_("MIFGSM", alpha=lambda e: e / 4, steps=steps)]
    if kind == "apgd-t":
        return [apgd_t_(steps)]
    return [foolbox_(f"{n}AdamProjectedGradientDescentAttack", steps=steps)]


def size(d, norm):
    return {"linf": d.abs().amax(1), "l2": d.norm(dim=1), "l1": d.abs().sum(1)}[norm]


def broken_by_peer(run, net, x, y, eps, norm, batch=100):
    torch.manual_seed(0)
    np.random.seed(0)
    out = []
    for i in range(0, len(x), batch):
        clean, label = x[i : i + batch], y[i : i + batch]
        d = (run(net, clean, label, eps, norm) - clean).flatten(1).double()
        d *= (eps / size(d, norm).clamp_min(eps))[:, None]
        moved = (clean + d.float().reshape(clean.shape)).clamp(0, 1)
        with torch.no_grad():
            out += ((net(moved).argmax(1) != label) | (net(clean).argmax(1) != label)).tolist()
    return out


# proofmark ----------------------------------------------------------------------------------------------------------


def broken_by_proofmark(binary, model, x, y, norm, out):
    """The outcome of every sample under every kind, from the report."""
    data, report = out / "samples.npz", out / "report.json"
    np.savez(data, x=model.laid_out(x).contiguous().numpy(), y=y.numpy())
    command = [binary, "attack", model.file, "--data", data, "--norm", norm]
    command += ["--attack", ",".join(k for k in STEPS if offered(k, norm))]
    command += ["--eps", repr(model.eps[norm]), "--bounds", "0,1", "--quiet", "--out", report]
    if model.std != 1.0:
        command += ["--mean", str(model.mean), "--std", str(model.std)]
    subprocess.run([str(c) for c in command], check=True)
    read = json.loads(report.read_text())
    samples = sorted(read["samples"], key=lambda s: int(s["id"]))
    found, versions = {}, {}
    for at, attack in enumerate(read["attacks"]):
        if attack["role"] == "attack":
            found[attack["id"]] = [s["runs"][at]["status"] in ("broken", "misclassified") for s in samples]
            versions[attack["id"]] = attack["version"]
    return found, versions


# The table ----------------------------------------------------------------------------------------------------------


def main():
    ask = argparse.ArgumentParser()
    ask.add_argument("--proofmark", help="the binary; without it only peers are run")
    ask.add_argument("--out", type=Path, default=ROOT / "target" / "peer-strength")
    ask.add_argument("--only", default=",".join(MODELS))
    ask.add_argument("--kinds", default=",".join(STEPS))
    ask.add_argument("--norms", default=",".join(NORMS))
    asked = ask.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    known = asked.out / "peers.json"
    lost = 0
    print("packages: " + ", ".join(f"{p} {importlib.metadata.version(p)}" for p in PACKAGES))
    print("| model | norm, eps | attack | ours | best peer | only ours, only peer | p | which peer |")
    print("|---|---|---|---|---|---|---|---|")
    for name in asked.only.split(","):
        model = MODELS[name]
        if not model.file.exists():
            print(f"{name}: skipped, {model.file} is absent", file=sys.stderr)
            continue
        x, y = model.samples()
        net = model.torch(x)
        for norm in asked.norms.split(","):
            eps = model.eps[norm]
            if asked.proofmark:
                own, versions = broken_by_proofmark(asked.proofmark, model, x, y, norm, asked.out)
            for kind in (k for k in asked.kinds.split(",") if offered(k, norm)):
                outcomes = {}
                for peer, run in peers(kind, norm):
                    key = f"{name} {len(x)} {norm} {eps:g} {kind}: {peer}"
                    cache = json.loads(known.read_text()) if known.exists() else {}
                    if key not in cache:
                        cache[key] = broken_by_peer(run, net, x, y, eps, norm)
                        fresh = json.loads(known.read_text()) if known.exists() else {}
                        known.write_text(json.dumps({**fresh, key: cache[key]}))
                    outcomes[peer] = cache[key]
                    print(f"{key}: {100 - 100 * np.mean(cache[key]):.1f}", file=sys.stderr, flush=True)
                if not asked.proofmark:
                    continue
                best = max(outcomes, key=lambda p: sum(outcomes[p]))
                ours, theirs = np.array(own[kind]), np.array(outcomes[best])
                assert len(ours) == len(theirs) == len(x)
                mine, its = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
                p = binomtest(mine, mine + its, 0.5).pvalue if mine + its else 1.0
                behind = its - mine > len(x) / 200 or (its > mine and p < 0.05)
                lost += behind
                left = f"{100 - 100 * ours.mean():.1f} % | {100 - 100 * theirs.mean():.1f} %"
                line = f"| {name} | {norm}, {eps:.4g} | {kind} | {left} | {mine}, {its} | {p:.2g} | {best} |"
                print(line + (" **behind**" if behind else ""), flush=True)
    if asked.proofmark:
        print("versions: " + ", ".join(f"{k} {v}" for k, v in versions.items()))
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
