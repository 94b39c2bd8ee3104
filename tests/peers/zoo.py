"""The models of the shared data (`$PROOFMARK_DATA`, default `../shared/data`), and inputs that they were made for."""

import csv
import os
import re
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]

# Where an input lies, by a part of the model's path; the first that fits. What is not listed is an image in [0, 1].
RANGES = [
    ("mlperf_tiny_resnet8", (0, 255)),
    ("mnist8_zoo", (0, 255)),
    ("mlperf_tiny_kws", (-60, 20)),  # MFCCs
    ("mnist_burn_example", (-0.4242, 2.8215)),  # (x - 0.1307) / 0.3081 of [0, 1]
    ("badnet_", (-1, 1)),
    ("silero_vad", (-0.5, 0.5)),  # a waveform
    ("marabou_tanh_test", (-1, 1)),
]

# Inputs that are not samples: what they are fixed to (a number fills the declared shape).
FIXED = {"silero_vad": {"state": 0, "sr": 16000}, "streaming": {"state": 0}}

# Lengths that a file leaves open, apart from the number of samples: 64 samples of context and 512 new ones.
OPEN = {"silero_vad": 576, "squeeze": 8}


def data_folder():
    """The shared data, or None."""
    folder = Path(os.environ.get("PROOFMARK_DATA", ROOT.parent / "shared" / "data"))
    return folder if folder.is_dir() else None


def about(table, path, default):
    return next((v for k, v in table if k in Path(path).name), default)


def fixed(path):
    return about(FIXED.items(), path, {})


def sample_shape(path, declared):
    """A declared shape without the axis of the samples, open lengths filled in."""
    return [d if isinstance(d, int) else about(OPEN.items(), path, 1) for d in declared[1:]]


def boxes(data, path):
    """The input boxes of a model's VNN-LIB properties. Where a property is a union of boxes, the smallest box around."""
    found = []
    with open(data / "vnn" / "instances.csv", newline="") as file:
        specs = [r["vnnlib"] for r in csv.DictReader(file) if r["model"] == str(path.relative_to(data / "vnn"))]
    for spec in specs:
        low, high = {}, {}
        for sign, at, value in re.findall(r"\(([<>]=) X_(\d+) ([-+.\deE]+)\)", (data / "vnn" / spec).read_text()):
            at, value = int(at), float(value)
            if sign == "<=":
                high[at] = max(high.get(at, value), value)
            else:
                low[at] = min(low.get(at, value), value)
        assert low.keys() == high.keys() == set(range(len(low))), spec
        found.append((np.array([low[i] for i in range(len(low))]), np.array([high[i] for i in range(len(low))])))
    return found


def inputs(data, path, shape, rows, rng):
    """`rows` samples for one input: within the boxes of the model's properties if it has any, else in its range."""
    if data is not None and (data / "vnn") in path.parents:
        known = boxes(data, path)
        x = [low + (high - low) * rng.random(len(low)) for low, high in (known[i % len(known)] for i in range(rows))]
        return np.stack(x).reshape(rows, *shape).astype(np.float32)
    low, high = about(RANGES, path, (0, 1))
    x = low + (high - low) * rng.random((rows, *shape))
    return (np.round(x) if high == 255 else x).astype(np.float32)
