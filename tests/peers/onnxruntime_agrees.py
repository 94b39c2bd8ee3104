"""Compares `proofmark infer` with onnxruntime on every model there is.

    python tests/peers/onnxruntime_agrees.py [--only PART] [--alone N]

Models: `models`, `backdoor` and `vnn` of `$PROOFMARK_DATA` (default `../shared/data`), `tests/golden/models`, and the
twins in `datasets/digits`. Binary: `$PROOFMARK_BIN`, default `target/debug/proofmark`.

Each model gets 16 samples (golden models: theirs). onnxruntime runs them one by one: what a sample gives may not
depend on its neighbours. proofmark runs all in one call, and some of them alone in a call each; both must be within
1e-4 max|b| + 1e-5 of onnxruntime, `max|b|` taken per sample, with the same class on top. A class differs only where
onnxruntime has it ahead by more than that tolerance. Models with half-precision weights get 100 times the tolerance.

Prints a markdown table; exit 1 on a difference, 2 without a binary, 0 and a message where Python packages or the
data are absent (the models of this repository are still compared without the data).
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import numpy as np
    import onnx

    import common
    import zoo
except ImportError as e:
    print(f"SKIPPED: {e}; needs numpy, onnx and onnxruntime")
    sys.exit(0)

GOLDEN = zoo.ROOT / "tests" / "golden"
ROWS = 16


def models(data):
    """Every model as (where its name starts, path)."""
    found = []
    for folder in ("models", "backdoor", "vnn") if data else ():
        found += [(data, p) for p in sorted((data / folder).rglob("*.onnx"))]
    for folder in (GOLDEN / "models", zoo.ROOT / "datasets" / "digits"):
        found += [(zoo.ROOT, p) for p in sorted(folder.glob("*.onnx"))]
    return found


def golden_inputs(path):
    """The samples of a golden model, if it is one."""
    file = GOLDEN / f"{path.name.split('.')[0]}.npz"
    if zoo.ROOT not in path.parents or not file.is_file():
        return None
    return {n[3:]: v for n, v in np.load(file).items() if n.startswith("in:")}


def samples(data, path, sess, fixed):
    """16 samples per input."""
    known = golden_inputs(path)
    if known is not None:
        return known
    rng = np.random.default_rng(sum(path.name.encode()))
    return {
        i.name: zoo.inputs(data, path, zoo.sample_shape(path, i.shape), ROWS, rng).astype(common.FLOATS[i.type])
        for i in sess.get_inputs()
        if i.name not in fixed
    }


def fixed_arrays(sess, fixed):
    """Fixed values as arrays for one sample."""
    arrays = {}
    for i in sess.get_inputs():
        if i.name in fixed:
            shape = [d if isinstance(d, int) else 1 for d in i.shape]
            arrays[i.name] = np.full(shape, fixed[i.name], {**common.FLOATS, **common.INTS}[i.type])
    return arrays


def infer(binary, path, inputs, fixed, folder, timeout):
    """`proofmark infer` on all samples of `inputs`: outputs by name."""
    given, out = Path(folder) / "in.npz", Path(folder) / "out.npz"
    np.savez(given, **inputs)
    out.unlink(missing_ok=True)
    command = [binary, "infer", str(path), "--data", str(given), "--out", str(out)]
    for name, value in fixed.items():
        command += ["--fix", f"{name}={value}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    if done.returncode != 0:
        raise RuntimeError(f"exit {done.returncode}: {' '.join(done.stderr.split())[:200]}")
    with np.load(out) as file:
        return {n: file[n] for n in file.files}


def deviation(got, wanted, factor):
    """The largest |a - b| in units of the tolerance, and for how many samples the class on top is the same (None for
    outputs without classes). A class counts as the same within the tolerance."""
    if got.shape != wanted.shape:
        raise RuntimeError(f"shape {got.shape}, onnxruntime {wanted.shape}")
    if got.dtype != wanted.dtype:
        raise RuntimeError(f"type {got.dtype}, onnxruntime {wanted.dtype}")
    a, b = (v.astype(np.float64).reshape(len(v), -1) for v in (got, wanted))
    tolerance = factor * (1e-4 * np.abs(b).max(1, keepdims=True) + 1e-5)
    # `not <=` and not `>`: a NaN must not pass.
    difference = np.where(np.isnan(a) & np.isnan(b), 0, np.abs(a - b) / tolerance)
    worst = np.inf if np.isnan(difference).any() else difference.max()
    if b.shape[1] < 2:
        return worst, None
    behind = b.max(1) - np.take_along_axis(b, a.argmax(1)[:, None], 1)[:, 0]
    return worst, int((behind <= tolerance[:, 0]).sum())


def compare(binary, data, path, alone, timeout):
    """One row of the table: samples, deviation together, deviation alone, agreement, verdict."""
    sess = common.session(path)
    names = {i.name for i in sess.get_inputs()}
    fixed = {n: v for n, v in zoo.fixed(path).items() if n in names}
    arrays = fixed_arrays(sess, fixed)
    inputs = samples(data, path, sess, fixed)
    rows = len(next(iter(inputs.values())))
    wanted = common.run(sess, inputs, arrays)
    # A state that is handed on has its samples second; it is not compared.
    wanted = {n: v for n, v in wanted.items() if len(v) == rows}
    kinds = {i.data_type for i in onnx.load(str(path), load_external_data=False).graph.initializer}
    factor = 100 if onnx.TensorProto.FLOAT16 in kinds else 1
    with tempfile.TemporaryDirectory() as folder:
        got = infer(binary, path, inputs, fixed, folder, timeout)
        missing = wanted.keys() - got.keys()
        if missing:
            raise RuntimeError(f"no output {', '.join(sorted(missing))}")
        together = [deviation(got[n], v, factor) for n, v in wanted.items()]
        lone = []
        for i in np.unique(np.linspace(0, rows - 1, min(alone, rows)).astype(int)):
            one = infer(binary, path, {n: v[i : i + 1] for n, v in inputs.items()}, fixed, folder, timeout)
            lone += [deviation(one[n], v[i : i + 1], factor) for n, v in wanted.items()]
    agree = [a for _, a in together if a is not None]
    lone_agree = all(a in (None, 1) for _, a in lone)
    worst, worst_lone = max(d for d, _ in together), max((d for d, _ in lone), default=0.0)
    good = worst <= 1 and worst_lone <= 1 and lone_agree and all(a == rows for a in agree)
    return [rows, f"{worst:.3f}", f"{worst_lone:.3f}", f"{min(agree)}/{rows}" if agree else "-"], "ok" if good else "DIFFERS"


def main():
    parser = argparse.ArgumentParser(description="Compares proofmark infer with onnxruntime on every model.")
    parser.add_argument("--only", default="", help="models with this in their path")
    parser.add_argument("--alone", type=int, default=3, help="samples that also run alone, per model (default 3)")
    parser.add_argument("--timeout", type=float, default=300, help="seconds per call (default 300)")
    given = parser.parse_args()
    binary = os.environ.get("PROOFMARK_BIN", str(zoo.ROOT / "target" / "debug" / "proofmark"))
    if not os.access(binary, os.X_OK):
        print(f"no binary {binary}: build it or set $PROOFMARK_BIN", file=sys.stderr)
        return 2
    data = zoo.data_folder()
    if data is None:
        print("SKIPPED the shared models: no ../shared/data or $PROOFMARK_DATA\n")
    print("| model | inputs | deviation, together | deviation, alone | same class | verdict |")
    print("|---|---|---|---|---|---|", flush=True)
    total, failed = 0, 0
    for base, path in models(data):
        name = path.relative_to(base)
        if given.only not in str(name):
            continue
        try:
            cells, verdict = compare(binary, data, path, given.alone, given.timeout)
        except Exception as e:  # a model that cannot be run is a row of the table, not the end of it
            cells, verdict = ["-"] * 4, f"FAILED: {str(e).replace('|', '/')[:300]}"
        total, failed = total + 1, failed + (verdict != "ok")
        print("|", " | ".join(map(str, [name, *cells, verdict])), "|", flush=True)
    print(f"\n{total - failed} of {total} models agree (deviations in units of the tolerance)")
    return 1 if failed or not total else 0


if __name__ == "__main__":
    sys.exit(main())
