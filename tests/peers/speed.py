#!/usr/bin/env python3
"""Seconds that attacks take here and in the peers, on the same models and samples, in alternation.

    cargo bench --profile dev -p proofmark --bench speed --no-run      # names the executable
    python speed.py --bench target/debug/deps/speed-… --out DIR [--models cnn,vit] [--kinds fgsm,pgd,one,apgd-t] [--rounds 3]
    python speed.py --bench … --out DIR --weak NAME=MODEL.onnx,SAMPLES.npz [--weak …] [--weak-eps 1/255]
    python speed.py --make --out DIR      # the models alone

Each timing is a process of its own, one after the other: a peer, ours, the next round; it attacks twice, and the faster
time counts. Loading is not counted. Writes
DIR/speed.json, DIR/speed.md (medians and their ratios) and DIR/speed.svg. Rows are what the models were asked for the
gradient or the scores of; attacks use an epsilon so small that no row breaks and leaves early, so all are computed.
`--weak` runs PGD with 100 steps and 5 restarts on a model that breaks, with an epsilon of its own, beside torchattacks'
PGD five times on all samples, as it has no restarts.
Needs torch, torchvision, onnx, torchattacks, foolbox, adversarial-robustness-toolbox, pyautoattack, and onnx2torch for
`--weak`.
"""

import argparse
import fractions
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

EPS = 1e-4
STEPS = 40


def models():
    """Networks of the field's usual kinds with weights at random, and the shape of their images."""
    import torch
    import torchvision

    torch.manual_seed(0)
    nn = torch.nn

    def cnn():
        conv = lambda a, b: [nn.Conv2d(a, b, 3, padding=1), nn.ReLU()]
        layers = [*conv(3, 32), *conv(32, 32), nn.MaxPool2d(2), *conv(32, 64), *conv(64, 64), nn.MaxPool2d(2)]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4096, 128), nn.ReLU(), nn.Linear(128, 10))

    def resnet():
        net = torchvision.models.resnet18(num_classes=10)
        for part in net.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.uniform_(-0.1, 0.1)
                part.running_var.uniform_(0.8, 1.2)
        return net

    class Block(nn.Module):
        def __init__(self, width, heads):
            super().__init__()
            self.heads = heads
            self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

        def forward(self, x):
            b, t, d = x.shape
            q, k, v = self.qkv(self.first(x)).reshape(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
            shares = (q @ k.transpose(-2, -1) * (d // self.heads) ** -0.5).softmax(-1)
            x = x + self.out((shares @ v).transpose(1, 2).reshape(b, t, d))
            return x + self.mlp(self.second(x))

    class ViT(nn.Module):
        def __init__(self, width=64, depth=4, heads=4, patch=4, size=32):
            super().__init__()
            self.patches = nn.Conv2d(3, width, patch, patch)
            self.places = nn.Parameter(torch.randn(1, (size // patch) ** 2, width) * 0.02)
            self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(depth)])
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

        def forward(self, x):
            x = self.patches(x).flatten(2).transpose(1, 2) + self.places
            return self.head(self.norm(self.blocks(x)).mean(1))

    def digits():
        conv = lambda a, b: [nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        return nn.Sequential(*conv(1, 16), *conv(16, 32), nn.Flatten(), nn.Linear(1568, 10))

    return {
        "digits": (digits(), (1, 28, 28)),
        "cnn": (cnn(), (3, 32, 32)),
        "resnet18-32": (resnet(), (3, 32, 32)),
        "resnet18-64": (resnet(), (3, 64, 64)),
        "vit": (ViT(), (3, 32, 32)),
    }


def make(folder, names):
    """Writes each model as ONNX, and 64 samples labelled by the model itself."""
    import numpy as np
    import torch

    for name, (net, shape) in models().items():
        if name not in names:
            continue
        net.eval()
        torch.save(net.state_dict(), folder / f"{name}.pt")
        axes = {"x": {0: "n"}, "logits": {0: "n"}}
        example = torch.randn(1, *shape)
        options = dict(input_names=["x"], output_names=["logits"], dynamic_axes=axes, opset_version=17, dynamo=False)
        torch.onnx.export(net, example, folder / f"{name}.onnx", **options)
        x = np.random.default_rng(0).random((64, *shape), dtype=np.float32)
        with torch.no_grad():
            y = net(torch.tensor(x)).argmax(1).numpy()
        np.savez(folder / f"{name}.npz", x=x, y=y, bounds=np.array([0, 1], np.float32))


def peer(folder, name, who, rows, threads, eps):
    """Runs one attack of a peer once; prints seconds, rows computed and peak memory."""
    import resource

    import numpy as np
    import torch

    torch.set_num_threads(threads)
    if who == "torchattacks-100x5":
        import onnx2torch

        net = onnx2torch.convert(str(folder / f"{name}.onnx"))
        net.requires_grad_(False)
    else:
        net, _ = models()[name]
        net.load_state_dict(torch.load(folder / f"{name}.pt"))
    net.eval()
    data = np.load(folder / f"{name}.npz")
    x = torch.tensor(data["x"][:rows])
    with torch.no_grad():
        y = net(x).argmax(1)
    computed = rows * STEPS
    if who == "torchattacks-100x5":
        import torchattacks

        attacks = [torchattacks.PGD(net, eps=eps, alpha=eps / 4, steps=100) for _ in range(5)]
        run = lambda x, y: [attack(x, y) for attack in attacks]
        computed = rows * 500
    elif who == "torchattacks-fgsm":
        import torchattacks

        attack = torchattacks.FGSM(net, eps=EPS)
        run = lambda x, y: attack(x, y)
        computed = rows
    elif who == "torchattacks":
        import torchattacks

        attack = torchattacks.PGD(net, eps=EPS, alpha=EPS / 40, steps=STEPS)
        run = lambda x, y: attack(x, y)
    elif who == "foolbox":
        import foolbox

        model = foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu")
        attack = foolbox.attacks.LinfPGD(abs_stepsize=EPS / 40, steps=STEPS)
        run = lambda x, y: attack(model, x, y, epsilons=EPS)
    elif who == "art":
        from art.attacks.evasion import ProjectedGradientDescent
        from art.estimators.classification import PyTorchClassifier

        model = PyTorchClassifier(net, torch.nn.CrossEntropyLoss(), tuple(x.shape[1:]), 10, clip_values=(0, 1), device_type="cpu")
        options = dict(eps=EPS, eps_step=EPS / 40, max_iter=STEPS, batch_size=64, verbose=False)
        attack = ProjectedGradientDescent(model, **options)
        run = lambda x, y: attack.generate(x.numpy(), torch.nn.functional.one_hot(y, 10).numpy())
    else:
        from pyautoattack.autopgd_base import APGDAttack_targeted

        attack = APGDAttack_targeted(net, n_iter=100, norm="Linf", eps=EPS, n_target_classes=9, device="cpu", verbose=False)
        count = [0]
        net.register_forward_hook(lambda _, given, __: count.__setitem__(0, count[0] + len(given[0])))
        run = lambda x, y: attack.perturb(x, y)
    run(x[:1], y[:1])
    seconds = float("inf")
    for _ in range(1 if who == "torchattacks-100x5" else 2):
        if who == "autoattack":
            count[0] = 0
        began = time.perf_counter()
        run(x, y)
        seconds = min(seconds, time.perf_counter() - began)
    if who == "autoattack":
        computed = count[0]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"seconds": seconds, "computed": computed, "peak_mib": peak}))


def ours(bench, folder, name, attack, rows, threads, eps=EPS, by="kernels", rounds=2):
    arguments = [f"attacks={attack}", f"rows={rows}", f"threads={threads}", f"by={by}", f"rounds={rounds}", f"eps={eps}", "format=json"]
    out = subprocess.run([bench, folder / f"{name}.onnx", folder / f"{name}.npz", *arguments], capture_output=True, text=True, check=True)
    return min(map(json.loads, out.stdout.strip().splitlines()), key=lambda r: r["seconds"])


KINDS = {
    # kind: our attack, rows, peers
    "fgsm": ("fgsm", 64, ["torchattacks-fgsm"]),
    "pgd": ("pgd", 64, ["torchattacks", "foolbox", "art"]),
    "one": ("pgd", 1, ["torchattacks"]),
    "apgd-t": ("apgd-t", 16, ["autoattack"]),
    "weak": ("pgd-100x5", 100, ["torchattacks-100x5"]),
}


def measure(args, folder):
    results = []
    for name in args.models:
        for kind in args.kinds:
            attack, rows, peers = KINDS[kind]
            eps = args.weak_eps if kind == "weak" else EPS
            for round_ in range(args.rounds):
                entry = {"model": name, "kind": kind, "round": round_}
                for who in peers:
                    command = [sys.executable, __file__, "--peer", who, "--out", folder, "--model", name, "--rows", str(rows)]
                    out = subprocess.run([*command, "--threads", str(args.threads), "--eps", str(eps)], capture_output=True, text=True)
                    if out.returncode:
                        print(f"{who} failed: {out.stderr[-500:]}", file=sys.stderr)
                        continue
                    entry[who] = json.loads(out.stdout.strip().splitlines()[-1])
                entry["proofmark"] = ours(args.bench, folder, name, attack, rows, args.threads, eps)
                entry["one thread"] = ours(args.bench, folder, name, attack, rows, 1, eps)
                if args.operators:
                    entry["operators"] = ours(args.bench, folder, name, attack, rows, args.threads, eps, "operators", 1)
                results.append(entry)
                print(json.dumps(entry), flush=True)
    (folder / "speed.json").write_text(json.dumps(results, indent=1))
    return results


def table(results):
    """Medians per model and kind."""
    rows = []
    for model, kind in dict.fromkeys((r["model"], r["kind"]) for r in results):
        own = [r for r in results if (r["model"], r["kind"]) == (model, kind)]
        middle = lambda who, what: statistics.median(r[who][what] for r in own if who in r)
        line = {"model": model, "kind": kind}
        for who in ["proofmark", "one thread", "operators", *KINDS[kind][2]]:
            if all(who in r for r in own):
                line[who] = (middle(who, "seconds"), middle(who, "computed"), middle(who, "peak_mib"))
        rows.append(line)
    return rows


def markdown(rows):
    text = "| model | attack | proofmark s | per 1000 rows | MiB | one thread | operators | peer | its s | per 1000 rows | MiB | time ratio | per row |\n"
    text += "|---|---|---|---|---|---|---|---|---|---|---|---|---|\n"
    for row in rows:
        own = row["proofmark"]
        for who in KINDS[row["kind"]][2]:
            if who not in row:
                continue
            per = lambda v: 1000 * v[0] / v[1]
            ratio, share = own[0] / row[who][0], per(own) / per(row[who])
            threads = row["one thread"][0] / own[0]
            operators = f"{row['operators'][0] / own[0]:.1f} x" if "operators" in row else ""
            text += f"| {row['model']} | {row['kind']} | {own[0]:.3f} | {per(own):.3f} | {own[2]:.0f} | {threads:.2f} x | {operators} | {who} "
            text += f"| {row[who][0]:.3f} | {per(row[who]):.3f} | {row[who][2]:.0f} | {ratio:.2f} | {share:.2f} |\n"
    return text


def svg(rows):
    """Bars: seconds as shares of the slowest per model and attack."""
    bars, y = [], 30
    for row in rows:
        bars.append(f'<text x="10" y="{y}" font-weight="bold">{row["model"]}, {row["kind"]}</text>')
        y += 8
        shown = [w for w in ["proofmark", *KINDS[row["kind"]][2]] if w in row]
        most = max(row[w][0] for w in shown)
        for who in shown:
            width = 360 * row[who][0] / most
            colour = "#2563eb" if who == "proofmark" else "#9ca3af"
            bars.append(f'<text x="120" y="{y + 12}" text-anchor="end">{who}</text>')
            bars.append(f'<rect x="126" y="{y}" width="{width:.1f}" height="15" fill="{colour}"/>')
            bars.append(f'<text x="{132 + width:.1f}" y="{y + 12}">{row[who][0]:.3f} s</text>')
            y += 19
        y += 24
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 580 {y}" font-family="sans-serif" font-size="12">'
    return head + f'<rect width="580" height="{y}" fill="white"/>' + "".join(bars) + "</svg>\n"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    listed = lambda text: text.split(",")
    p.add_argument("--out", type=pathlib.Path, required=True)
    p.add_argument("--bench")
    p.add_argument("--models", type=listed, default=["digits", "cnn", "resnet18-32", "resnet18-64", "vit"])
    p.add_argument("--kinds", type=listed, default=["fgsm", "pgd", "one", "apgd-t"])
    p.add_argument("--operators", action="store_true", help="also without kernels, operator by operator")
    p.add_argument("--make", action="store_true")
    p.add_argument("--weak", action="append", default=[], metavar="NAME=MODEL.onnx,SAMPLES.npz")
    p.add_argument("--weak-eps", type=lambda t: float(fractions.Fraction(t)), default=1 / 255)
    p.add_argument("--eps", type=float)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--peer")
    p.add_argument("--model")
    p.add_argument("--rows", type=int)
    args = p.parse_args()
    if args.peer:
        return peer(args.out, args.model, args.peer, args.rows, args.threads, args.eps)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.weak:
        args.models, args.kinds = [], ["weak"]
        for name, files in (w.split("=", 1) for w in args.weak):
            model, samples = files.split(",")
            shutil.copy(model, args.out / f"{name}.onnx")
            shutil.copy(samples, args.out / f"{name}.npz")
            args.models.append(name)
    else:
        make(args.out, args.models)
    if args.make:
        return None
    rows = table(measure(args, args.out))
    (args.out / "speed.md").write_text(markdown(rows))
    (args.out / "speed.svg").write_text(svg(rows))
    print(markdown(rows))
    return None


if __name__ == "__main__":
    main()
