"""Times fairlearn and proofmark on one table side by side: a million rows, three attributes.

    python tests/peers/fairlearn_speed.py [ROWS] [PATH OF proofmark]

The table is a CSV with the columns group (3 values), region (2), band (4), label and decision. Both read it and give,
for each attribute, selection rate, true-positive and false-positive rate and accuracy: every group's, all together's,
the largest less the smallest and the smallest over the largest.

fairlearn is timed twice: point values alone, as `MetricFrame` gives them, and with the bootstrap that its intervals need
(`n_boot=100`, reckoned from 10 on a tenth of the rows, since whole it takes very long). proofmark always gives intervals,
and measures every metric that the columns allow, not those four alone. Each is a process of its own; seconds and peak
memory are of the whole process, its start and the reading of the file included. Build proofmark first:
`cargo build --release -p proofmark-cli`.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PEER = """
import sys, warnings
import pandas as pd
from sklearn.metrics import accuracy_score
from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate, true_positive_rate
warnings.filterwarnings("ignore")
path, boot = sys.argv[1], int(sys.argv[2])
table = pd.read_csv(path, nrows=int(sys.argv[3]) or None)
metrics = {"selection_rate": selection_rate, "tpr": true_positive_rate, "fpr": false_positive_rate,
           "accuracy": accuracy_score}
more = {"n_boot": boot, "ci_quantiles": [0.025, 0.975], "random_state": 0} if boot else {}
for attribute in ["group", "region", "band"]:
    frame = MetricFrame(metrics=metrics, y_true=table["label"], y_pred=table["decision"],
                        sensitive_features=table[attribute], **more)
    print(attribute, frame.overall.to_dict(), frame.difference().to_dict(), frame.ratio().to_dict())
    if boot:
        print(frame.difference_ci(), frame.ratio_ci())
"""


def write(path, rows):
    import numpy as np
    random = np.random.default_rng(0)
    group = random.choice(["a", "b", "c"], rows, p=[0.6, 0.3, 0.1])
    region = random.choice(["north", "south"], rows)
    band = random.choice(["18-24", "25-44", "45-64", "65+"], rows)
    label = random.random(rows) < 0.4
    rate = np.where(label, np.where(group == "b", 0.7, 0.8), np.where(group == "c", 0.3, 0.2))
    decision = random.random(rows) < rate
    with open(path, "w") as file:
        file.write("group,region,band,label,decision\n")
        for row in zip(group, region, band, label.astype(int), decision.astype(int)):
            file.write(",".join(map(str, row)) + "\n")


# A process that starts the other one, so that the peak is of that one alone.
TIMER = """
import resource, subprocess, sys, time
begun = time.perf_counter()
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
seconds = time.perf_counter() - begun
print(seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, code)
"""


def timed(command, runs):
    """The least seconds and megabytes at the largest of some runs."""
    best, peak = float("inf"), 0.0
    for _ in range(runs):
        out = subprocess.run([sys.executable, "-c", TIMER, *command], capture_output=True, text=True, check=True).stdout
        seconds, megabytes, code = out.split()
        if code != "0":
            sys.exit(f"exit {code}: {' '.join(command[:3])} …")
        best, peak = min(best, float(seconds)), max(peak, float(megabytes))
    return best, peak


def main():
    try:
        import fairlearn
        import numpy  # noqa: F401
        import pandas  # noqa: F401
    except ImportError as e:
        print(f"SKIPPED: {e}; needs fairlearn, pandas and numpy")
        return 0
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    binary = Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "target" / "release" / "proofmark"
    if not binary.is_file():
        print(f"SKIPPED: no {binary}; cargo build --release -p proofmark-cli")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "table.csv")
        write(path, rows)
        print(f"{rows} rows, {os.path.getsize(path) / 1e6:.1f} MB; fairlearn {fairlearn.__version__}")
        ours = [str(binary), "audit", path, "--groups", "group,region,band", "--decision", "decision", "--label",
                "label", "--out", os.path.join(folder, "report.json")]
        peer = [sys.executable, "-c", PEER, path]
        print(f"{'':64}{'seconds':>9}{'MB':>8}{'x':>8}")

        def tell(name, seconds, megabytes, base):
            print(f"{name:64}{seconds:9.2f}{megabytes:8.0f}{seconds / base:8.1f}", flush=True)

        base, peak = timed(ours, 3)
        tell("proofmark, every metric with intervals", base, peak, base)
        tell("fairlearn, four metrics without intervals", *timed([*peer, "0", "0"], 3), base)
        start, _ = timed([*peer, "0", str(rows // 10)], 1)
        seconds, peak = timed([*peer, "10", str(rows // 10)], 1)
        tell("fairlearn, four metrics with 100 bootstraps (reckoned)", 100 * (seconds - start), peak, base)
    return 0


if __name__ == "__main__":
    sys.exit(main())
