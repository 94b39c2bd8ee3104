//! One p-value for a model from several statistics, on the joint distribution of clean models.
//!
//! **Maths.** Rows are clean models, columns statistics, the larger the more suspicious. With `n` rows, column `j` of a
//! new model gets `p_j = (k_j + 1) / (n + 1)`, `k_j` the rows with a value at least as large. The combined statistic is
//! `m = min_j p_j`. Every row gets its own `m_i` by the same formula among the other rows and the new model, which take
//! its place. The first of each column share one `m`; among equals the more suspicious model is the one whose value lies
//! further beyond the others of its column, `(v - median) / (q - median)` with `q` the .9 quantile of all `n + 1`. Then
//! `p = (k + 1) / (n + 1)`, `k` the rows at least as suspicious: all `n + 1` models are treated alike, so under the null
//! their order is exchangeable and `p` is at most `u` with probability at most `u`, whatever the dependence between the
//! columns, their shape, or ties. With columns that repeat each other `p` is that of one of them; a bound over single
//! tests would pay for each.
//!
//! **Reference.** Westfall and Young, "Resampling-Based Multiple Testing", 1993; the exact form is that of permutation
//! tests (Phipson and Smyth 2010), with models in place of permutations.
//!
//! **When it fails.** If the new model is not of the kind of the rows (another architecture, another data set), nothing is
//! exchangeable. A statistic that is missing for a model is to be left out for all rows.

/// Returns `(k + 1) / (n + 1)`, where `k` of the `n` values of the reference are at least `seen`. NaN in the reference
/// counts as extreme; a `seen` that is NaN gives 1.
///
/// ```
/// assert_eq!(proofmark_stats::reference_p(2.0, &[0.0, 1.0, 2.0]), 0.5);
/// ```
pub fn reference_p(seen: f64, reference: &[f64]) -> f64 {
    let extreme = reference
        .iter()
        .filter(|r| r.is_nan() || **r >= seen || seen.is_nan());
    (extreme.count() as f64 + 1.0) / (reference.len() as f64 + 1.0)
}

/// Combined p-value of a model, and that of each statistic.
#[derive(Debug, Clone, PartialEq)]
pub struct Joint {
    /// Combined p-value.
    pub p: f64,
    /// p-value of each column by itself.
    pub each: Vec<f64>,
}

/// Combines the statistics `seen` of a model by the minimum of their p-values, on the joint distribution of `rows`. `None`
/// if there are no statistics or no rows, or a row has another number of statistics.
///
/// ```
/// let rows: Vec<Vec<f64>> = (0..99).map(|i| vec![f64::from(i), f64::from(i)]).collect();
/// let joint = proofmark_stats::min_p(&[100.0, 100.0], &rows).unwrap();
/// assert_eq!(joint.p, 0.01);
/// ```
pub fn min_p(seen: &[f64], rows: &[Vec<f64>]) -> Option<Joint> {
    if seen.is_empty() || rows.is_empty() || rows.iter().any(|r| r.len() != seen.len()) {
        return None;
    }
    let all: Vec<&[f64]> = std::iter::once(seen)
        .chain(rows.iter().map(Vec::as_slice))
        .collect();
    // Among all models, itself included: k + 1 of n + 1.
    let columns: Vec<Vec<f64>> = (0..seen.len())
        .map(|j| {
            let mut column: Vec<f64> = all.iter().map(|r| suspicious(r[j])).collect();
            column.sort_by(f64::total_cmp);
            column
        })
        .collect();
    let n = all.len() as f64;
    let p = |row: &[f64], j: usize| {
        let column = &columns[j];
        let below = column.partition_point(|v| *v < suspicious(row[j]));
        (column.len() - below) as f64 / n
    };
    let beyond = |row: &[f64], j: usize| {
        let column = &columns[j];
        let at = |share: f64| column[((share * n).ceil() as usize).clamp(1, column.len()) - 1];
        let (middle, high) = (at(0.5), at(0.9));
        let scale = if high > middle { high - middle } else { 1.0 };
        let far = (suspicious(row[j]) - middle) / scale;
        if far.is_nan() { f64::NEG_INFINITY } else { far }
    };
    // The smallest p-value, and how far beyond the others the value lies that has it.
    let key = |row: &[f64]| {
        (0..row.len()).fold((f64::INFINITY, f64::NEG_INFINITY), |best, j| {
            let p = p(row, j);
            if p < best.0 {
                (p, beyond(row, j))
            } else if p > best.0 {
                best
            } else {
                (p, best.1.max(beyond(row, j)))
            }
        })
    };
    let own = key(seen);
    let as_suspicious = all.iter().filter(|r| {
        let other = key(r);
        other.0 < own.0 || (other.0 <= own.0 && other.1 >= own.1)
    });
    Some(Joint {
        p: as_suspicious.count() as f64 / n,
        each: (0..seen.len()).map(|j| p(seen, j)).collect(),
    })
}

/// NaN says nothing against a model.
fn suspicious(value: f64) -> f64 {
    if value.is_nan() {
        f64::NEG_INFINITY
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use proofmark_domain::Seed;
    use proptest::prelude::*;

    use super::*;
    use crate::random::{Purpose, Stream, StreamKey};

    /// Draws three dependent statistics: normal, skewed, and of few values.
    fn model(stream: &mut Stream) -> Vec<f64> {
        let common = f64::from(stream.normal());
        let mut noise = || f64::from(stream.normal());
        vec![
            common + 0.5 * noise(),
            (common + noise()).exp(),
            (common + noise()).floor().max(0.0),
        ]
    }

    fn shares_below(levels: &[f64], shift: f64) -> Vec<f64> {
        const RUNS: u32 = 3000;
        let mut hits = vec![0_u32; levels.len()];
        for run in 0..RUNS {
            let mut stream = Stream::new(&StreamKey {
                draw: run,
                ..StreamKey::new(Seed(3), 0, Purpose::Bootstrap)
            });
            let rows: Vec<Vec<f64>> = (0..99).map(|_| model(&mut stream)).collect();
            let mut seen = model(&mut stream);
            seen[1] *= shift.exp();
            let p = min_p(&seen, &rows).unwrap().p;
            for (hit, level) in hits.iter_mut().zip(levels) {
                *hit += u32::from(p <= *level);
            }
        }
        hits.iter()
            .map(|h| f64::from(*h) / f64::from(RUNS))
            .collect()
    }

    #[test]
    fn the_level_is_kept_with_skewed_discrete_and_dependent_statistics() {
        let levels = [0.01, 0.02, 0.05, 0.1, 0.3];
        for (seen, level) in shares_below(&levels, 0.0).into_iter().zip(levels) {
            let error = 3.0 * (level * (1.0 - level) / 3000.0).sqrt();
            assert!(seen <= level + error, "{seen} at {level}");
            // Ties cost little.
            assert!(seen >= 0.5 * level - error, "{seen} at {level}");
        }
    }

    #[test]
    fn a_shift_of_one_statistic_is_found() {
        let seen = shares_below(&[0.05], 6.0)[0];
        assert!(seen > 0.9, "{seen}");
    }

    #[test]
    fn copies_of_a_statistic_cost_nothing() {
        let rows = |copies: usize| -> Vec<Vec<f64>> {
            (0..49)
                .map(|i| vec![f64::from(i * 5 % 49); copies])
                .collect()
        };
        for at in [-1.0, 20.5, 47.0, 60.0] {
            let one = min_p(&[at], &rows(1)).unwrap().p;
            let five = min_p(&[at; 5], &rows(5)).unwrap().p;
            assert_eq!(one, five);
            assert_eq!(
                one,
                reference_p(at, &(0..49).map(f64::from).collect::<Vec<_>>())
            );
        }
    }

    #[test]
    fn the_smallest_p_is_one_of_all_models() {
        let rows: Vec<Vec<f64>> = (0..199)
            .map(|i| vec![f64::from(i), -f64::from(i)])
            .collect();
        assert!((min_p(&[1e9, 0.0], &rows).unwrap().each[0] - 0.005).abs() < 1e-12);
        assert!(min_p(&[], &rows).is_none() && min_p(&[1.0], &[]).is_none());
        assert!(min_p(&[1.0], &rows).is_none());
        assert_eq!(reference_p(f64::NAN, &[1.0, 2.0]), 1.0);
    }

    proptest! {
        #[test]
        fn p_falls_as_a_statistic_rises(
            rows in prop::collection::vec(prop::collection::vec(-5.0_f64..5.0, 3), 1..40),
            seen in prop::collection::vec(-5.0_f64..5.0, 3),
            more in 0.0_f64..5.0,
        ) {
            let before = min_p(&seen, &rows).unwrap();
            let mut raised = seen.clone();
            raised[1] += more;
            let after = min_p(&raised, &rows).unwrap();
            prop_assert!(after.each[1] <= before.each[1]);
            prop_assert!(before.p > 0.0 && before.p <= 1.0);
            let least = 1.0 / (rows.len() as f64 + 1.0);
            prop_assert!(before.each.iter().all(|p| *p >= least - 1e-12));
        }
    }
}
