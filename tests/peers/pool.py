"""Makes the networks that the members of the suite `proofmark-1` were chosen on.

    python tests/peers/pool.py --out pool

Trains small networks, normally and adversarially (PGD), on the training digits and on MNIST's training images of
`../shared/data`; writes an ONNX file and a set of samples that were not trained on for each, and prints their accuracy.
None of them is a network that suites are compared on (`autoattack_agrees.py`). Seeds are fixed; another version of
PyTorch may train slightly different networks.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import nn

import digits
from attack_strength import SHARED, idx


def mlp(features, width):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(features, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)
    )


def cnn(pixels, channels, last):
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(2 * channels, 2 * channels, 3, stride=2, padding=1),
        last(),
        nn.Flatten(),
        nn.Linear(2 * channels * (pixels // 4) ** 2, 64),
        last(),
        nn.Linear(64, 10),
    )


def attacked(net, x, y, eps, norm, steps=10):
    """PGD from a random start."""
    unit = (lambda g: g.sign()) if norm == "linf" else (lambda g: g / g.flatten(1).norm(dim=1).clamp_min(1e-9)[:, None, None, None])
    d = torch.empty_like(x).uniform_(-1, 1)
    d = d * eps if norm == "linf" else unit(d) * eps
    for _ in range(steps):
        d = (x + d).clamp(0, 1).sub(x).requires_grad_()
        gradient = torch.autograd.grad(nn.functional.cross_entropy(net(x + d), y), d)[0]
        d = d.detach() + unit(gradient) * (2.5 * eps / steps)
        if norm == "linf":
            d = d.clamp(-eps, eps)
        else:
            d = d * (eps / d.flatten(1).norm(dim=1).clamp_min(eps))[:, None, None, None]
    return (x + d).clamp(0, 1).detach()


def train(net, x, y, epochs, seed, eps=0.0, norm="linf", rate=2e-3):
    shuffled = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(net.parameters(), lr=rate)
    steps = epochs * -(-len(x) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2 * rate, total_steps=steps)
    for epoch in range(epochs):
        # The budget grows over the first half.
        now = eps * min(1.0, 2 * (epoch + 1) / epochs)
        for at in torch.randperm(len(x), generator=shuffled).split(64):
            seen = attacked(net, x[at], y[at], now, norm) if eps else x[at]
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(seen), y[at]).backward()
            optimiser.step()
            schedule.step()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=Path, required=True)
    out = p.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    _, (dx, dy) = digits.split()
    folder = SHARED / "datasets" / "mnist"
    mx = idx(folder / "train-10000-images-idx3-ubyte").astype(np.float32)[:, None] / 255
    my = idx(folder / "train-10000-labels-idx1-ubyte").astype(np.int64)
    sets = {
        # Trained on, and held out.
        "digits": ((dx[:700], dy[:700]), (dx[700:], dy[700:])),
        "mnist": ((mx[:8000], my[:8000]), (mx[8000:], my[8000:])),
    }
    nets = {
        "digits-mlp": ("digits", lambda: mlp(64, 96), 40, {}),
        "digits-mlp-linf": ("digits", lambda: mlp(64, 128), 40, {"eps": 0.12}),
        "digits-cnn-l2": ("digits", lambda: cnn(8, 12, nn.Tanh), 40, {"eps": 0.6, "norm": "l2"}),
        "mnist-cnn-linf": ("mnist", lambda: cnn(28, 8, nn.ReLU), 6, {"eps": 0.2}),
        "mnist-cnn-l2": ("mnist", lambda: cnn(28, 8, nn.ReLU), 6, {"eps": 1.5, "norm": "l2"}),
    }
    for number, (name, (of, make, epochs, settings)) in enumerate(nets.items()):
        torch.manual_seed(number)
        net = make()
        (x, y), (tx, ty) = [[torch.tensor(a) for a in part] for part in sets[of]]
        train(net, x, y, epochs, number, **settings)
        net.eval()
        with torch.no_grad():
            right = (net(tx).argmax(1) == ty).float().mean().item()
        torch.onnx.export(
            net, (tx[:1],), out / f"{name}.onnx", dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}}
        )
        np.savez(out / f"{name}.npz", x=tx[:400].numpy(), y=ty[:400].numpy(), bounds=np.float32([0, 1]))
        print(f"{name}: {100 * right:.1f} % of {len(ty)} held out", flush=True)


if __name__ == "__main__":
    main()
