"""Compares `proofmark infer` with onnxruntime on random Resize and Upsample nodes.

    python tests/peers/resize_agrees.py [--seed N] [--count N]

Operator sets 7 to 19, all modes and coordinates, scales (most of them fractional) and sizes, some with `axes` or
`keep_aspect_ratio_policy`. Binary: `$PROOFMARK_BIN`, default `target/debug/proofmark`. What docs/onnx.md says is done
otherwise is left out: an axis that is cropped and keeps its length, and a policy with negative axes.

Prints each node that differs by more than 2e-5 of the largest; exit 1 if one does, 0 and a message where Python packages
are absent.
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
    import onnxruntime as ort
    from onnx import helper, numpy_helper
except ImportError as e:
    print(f"SKIPPED: {e}; needs numpy, onnx and onnxruntime")
    sys.exit(0)

ROOT = Path(__file__).resolve().parents[2]
COORDINATES = [
    "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric", "tf_half_pixel_for_nn",
    "tf_crop_and_resize",
]  # fmt: skip
NEAREST = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


def node(rng):
    """Operator set, shape of the input, operator, attributes, and inputs after the first (None: left out)."""
    opset = int(rng.choice([7, 9, 10, 11, 13, 18, 19]))
    mode = str(rng.choice(["nearest", "linear", "cubic"] if opset > 10 else ["nearest", "linear"]))
    spatial = 2 if mode == "cubic" else int(rng.choice([1, 2, 3]))
    shape = [int(rng.integers(1, 3)), int(rng.integers(1, 3)), *map(int, rng.integers(2, 12, spatial))]
    if rng.random() < 0.15:
        shape[-1] = int(rng.integers(64, 90))
    exact = rng.choice([0.5, 0.6, 0.75, 1.0, 1.2, 1.25, 4 / 3, 1.5, 2.0, 3.0], spatial)
    scales = exact if rng.random() < 0.5 else np.exp(rng.uniform(np.log(0.3), np.log(3.3), spatial))
    scales = np.maximum(scales, 1) if opset < 10 else scales
    scales = np.array([1, 1, *scales], np.float32)
    attributes = {"mode": mode}
    if opset == 7:
        return opset, shape, "Upsample", {**attributes, "scales": scales.tolist()}, []
    if opset < 11:
        return opset, shape, "Upsample" if opset == 9 else "Resize", attributes, [scales]
    coordinates = str(rng.choice(COORDINATES))
    attributes["coordinate_transformation_mode"] = coordinates
    sizes = np.array([max(1, int(n * s)) for n, s in zip(shape, scales)], np.int64)
    roi = None if opset > 11 else np.array([], np.float32)
    if mode == "nearest":
        attributes["nearest_mode"] = str(rng.choice(NEAREST))
    if mode == "cubic" and rng.random() < 0.3:
        attributes.update(exclude_outside=1, cubic_coeff_a=-0.5)
    if coordinates == "tf_crop_and_resize":
        # An axis that keeps its length is not cropped.
        moved = sizes != shape
        low, high = rng.uniform(-0.2, 0.4, len(shape)), rng.uniform(0.6, 1.2, len(shape))
        roi = np.concatenate([np.where(moved, low, 0), np.where(moved, high, 1)]).astype(np.float32)
        attributes["extrapolation_value"] = 10.0
    elif mode != "nearest" and opset > 13 and spatial == 2 and rng.random() < 0.3:
        attributes["antialias"] = 1
    given = [roi, scales] if rng.random() < 0.6 else [roi, None if opset > 11 else np.array([], np.float32), sizes]
    if opset > 13 and coordinates != "tf_crop_and_resize" and rng.random() < 0.4:
        attributes["axes"] = list(range(2, len(shape)))
        given[-1] = given[-1][2:]
        if len(given) == 3 and rng.random() < 0.5:
            attributes["keep_aspect_ratio_policy"] = str(rng.choice(["not_larger", "not_smaller"]))
    return opset, shape, "Resize", attributes, given


def model(opset, shape, op, attributes, given):
    names = ["x", *("" if v is None else f"i{k}" for k, v in enumerate(given))]
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], **attributes)], "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None] * len(shape))],
        [numpy_helper.from_array(v, f"i{k}") for k, v in enumerate(given) if v is not None],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def reference(made, x):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(["y"], {"x": x})[0]


def main():
    parser = argparse.ArgumentParser(description="Compares proofmark infer with onnxruntime on random Resize nodes.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=300)
    given = parser.parse_args()
    binary = os.environ.get("PROOFMARK_BIN", str(ROOT / "target" / "debug" / "proofmark"))
    ort.set_default_logger_severity(4)
    rng = np.random.default_rng(given.seed)
    compared = refused = differ = 0
    with tempfile.TemporaryDirectory() as folder:
        path, data, out = (str(Path(folder) / n) for n in ("m.onnx", "in.npz", "out.npz"))
        for _ in range(given.count):
            what = node(rng)
            made, x = model(*what), rng.normal(size=what[1]).astype(np.float32)
            try:
                wanted = reference(made, x)
            except Exception:  # onnxruntime does not take every combination
                refused += 1
                continue
            if wanted.size == 0:
                continue
            compared += 1
            onnx.save(made, path)
            np.savez(data, x=x)
            ran = subprocess.run([binary, "infer", path, "--data", data, "--out", out, "-q"], capture_output=True, text=True)
            if ran.returncode:
                problem = ran.stderr.strip()
            else:
                got = np.load(out)["y"]
                if got.shape != wanted.shape:
                    problem = f"shape {got.shape}, onnxruntime {wanted.shape}"
                else:
                    worst = np.abs(got - wanted).max()
                    problem = None if worst <= 2e-5 * max(1, np.abs(wanted).max()) else f"off by {worst:.3g}"
            if problem:
                differ += 1
                print(problem, what)
    print(f"{compared} compared, {differ} differ ({refused} that onnxruntime does not take)")
    return 1 if differ or not compared else 0


if __name__ == "__main__":
    sys.exit(main())
