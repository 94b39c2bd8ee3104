//! Fisher's exact test of a two-by-two table.
//!
//! **Maths.** With all margins fixed the first cell is hypergeometric; the two-sided p-value sums the tables that are
//! no likelier than the observed one. Probabilities are relative to the likeliest table and computed by recurrence, so
//! that nothing under- or overflows.
//!
//! **Reference.** Fisher, *Statistical Methods for Research Workers*, 5th edition (1934); the two-sided rule is that of
//! Freeman and Halton, Biometrika 38 (1951), with R's and scipy's tolerance for ties.

/// Returns the two-sided p-value of `[[a, b], [c, d]]`; 1 if a margin is 0.
///
/// ```
/// let p = proofmark_stats::fisher_exact([[8, 2], [1, 5]]);
/// assert!((p - 0.034_965_034_965).abs() < 1e-10);
/// ```
pub fn fisher_exact([[a, b], [c, d]]: [[u64; 2]; 2]) -> f64 {
    /// Tables up to this much likelier than the observed one still count as tied.
    const TIE: f64 = 1.0 + 1e-7;
    let (row, column, total) = (a + b, a + c, a + b + c + d);
    let (least, most) = ((row + column).saturating_sub(total), row.min(column));
    // Probability of a first cell of x + 1 divided by that of x.
    let step = |x: u64| {
        let (x, room) = (x as f64, (total + x + 1 - row - column) as f64);
        (row as f64 - x) * (column as f64 - x) / ((x + 1.0) * room)
    };
    let mode = ((u128::from(row + 1) * u128::from(column + 1)) / u128::from(total + 2)) as u64;
    let mode = mode.clamp(least, most);
    let upwards = |from: u64, until: u64| {
        let mut weight = 1.0;
        (from..until).map(move |x| {
            weight *= step(x);
            (x + 1, weight)
        })
    };
    let downwards = || {
        let mut weight = 1.0;
        (least..mode).rev().map(move |x| {
            weight /= step(x);
            (x, weight)
        })
    };
    let seen = if a == mode {
        1.0
    } else {
        upwards(mode, most)
            .chain(downwards())
            .find(|(x, _)| *x == a)
            .map_or(1.0, |(_, w)| w)
    };
    let (mut beyond, mut all) = (0.0, 0.0);
    for (_, weight) in upwards(mode, most).chain(downwards()).chain([(mode, 1.0)]) {
        all += weight;
        if weight <= seen * TIE {
            beyond += weight;
        }
    }
    (beyond / all).min(1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Values of scipy 1.17.1, `fisher_exact`.
    #[test]
    fn golden_values() {
        for (table, p) in FISHER_GOLDEN {
            let got = fisher_exact(table);
            assert!(
                (got / p - 1.0).abs() < 1e-9,
                "{table:?}: {got}, expected {p}"
            );
        }
    }

    #[allow(clippy::unreadable_literal)] // as printed by the source
    const FISHER_GOLDEN: [([[u64; 2]; 2], f64); 6] = [
        ([[8, 2], [1, 5]], 3.496_503_496_503e-02),
        ([[10, 90], [20, 80]], 7.342_758_972_137e-02),
        ([[0, 7], [5, 2]], 2.097_902_097_902e-02),
        ([[300, 700], [350, 650]], 1.928_432_161_451e-02),
        ([[3000, 97_000], [3500, 96_500]], 3.067_058_582_387e-10),
        ([[1, 24], [5, 40]], 4.101_748_921_003e-01),
    ];

    /// The lady tasting tea: getting all four cups right has probability 1 in 70, two-sided 2 in 70.
    #[test]
    fn the_lady_tasting_tea() {
        assert!((fisher_exact([[4, 0], [0, 4]]) - 2.0 / 70.0).abs() < 1e-14);
        assert!((fisher_exact([[3, 1], [1, 3]]) - 34.0 / 70.0).abs() < 1e-12);
    }

    #[test]
    fn an_empty_margin_gives_a_p_value_of_one() {
        for table in [[[0, 0], [0, 0]], [[0, 5], [0, 7]], [[3, 4], [0, 0]]] {
            assert_eq!(fisher_exact(table), 1.0);
        }
    }

    proptest! {
        #[test]
        fn swapping_or_transposing_changes_nothing(a in 0_u64..60, b in 0_u64..60, c in 0_u64..60, d in 0_u64..60) {
            let p = fisher_exact([[a, b], [c, d]]);
            prop_assert!((0.0..=1.0).contains(&p));
            for turned in [[[c, d], [a, b]], [[b, a], [d, c]], [[a, c], [b, d]]] {
                prop_assert!((fisher_exact(turned) - p).abs() < 1e-9);
            }
        }

        /// A p-value: under the null it is at most u with probability at most u.
        #[test]
        fn valid_under_the_null(row in 1_u64..25, column in 1_u64..25, rest in 0_u64..25, u in 0.01..0.99_f64) {
            let total = row.max(column) + rest;
            let choose = |n: u64, k: u64| {
                if k > n { 0.0 } else { (0..k).map(|i| (n - i) as f64 / (i + 1) as f64).product::<f64>() }
            };
            let mut alarms = 0.0;
            for a in (row + column).saturating_sub(total)..=row.min(column) {
                let table = [[a, row - a], [column - a, total + a - row - column]];
                if fisher_exact(table) <= u {
                    alarms += choose(row, a) * choose(total - row, column - a) / choose(total, column);
                }
            }
            prop_assert!(alarms <= u + 1e-9, "{}", alarms);
        }
    }
}
