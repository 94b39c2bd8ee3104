"""How often a percentile bootstrap of the largest less the smallest rate covers the truth.

    python tests/peers/bootstrap_coverage.py [RUNS]

It resamples rows without regard to groups, as fairlearn's `MetricFrame(n_boot=…)` does, and takes the 2.5 and 97.5 %
points of the resampled gap. Prints the share of runs whose interval covers the true gap; 95 % is claimed.
"""

import sys

try:
    import numpy as np
except ImportError as e:
    print(f"SKIPPED: {e}")
    sys.exit(0)

BOOTS = 1000


def covered(random, rates, n):
    rates = np.asarray(rates)
    shares = random.binomial(n, rates) / n
    sizes = random.multinomial(n * len(rates), np.full(len(rates), 1 / len(rates)), size=BOOTS)
    resampled = random.binomial(sizes, shares) / sizes
    gaps = resampled.max(axis=1) - resampled.min(axis=1)
    low, high = np.quantile(gaps, [0.025, 0.975])
    return low <= rates.max() - rates.min() <= high


def main():
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    random = np.random.default_rng(0)
    print(f"share of {runs} runs that cover the true gap, {BOOTS} resamples each")
    print(f"{'groups':>6}{'n each':>8}{'rates .30 and .35':>20}{'rates .30 and .40':>20}{'one of .40':>14}")
    for k in [2, 5, 10]:
        for n in [30, 100, 1000]:
            half = [0.3] * (k - k // 2)
            settings = [half + [0.35] * (k // 2), half + [0.4] * (k // 2), [0.3] * (k - 1) + [0.4]]
            shares = [sum(covered(random, s, n) for _ in range(runs)) / runs for s in settings]
            print(f"{k:6}{n:8}{shares[0]:20.1%}{shares[1]:20.1%}{shares[2]:14.1%}")


if __name__ == "__main__":
    main()
