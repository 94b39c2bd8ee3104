//! Intervals for a rate that is looked at several times while samples arrive.
//!
//! **Idea.** The sizes at which one looks are declared beforehand, and the error is shared among the looks in proportion
//! to the samples that each adds. At a look the interval is Clopper and Pearson's at that look's share. All of them hold
//! at once with the stated confidence, so one may end at any look, for any reason, and the interval of that look is
//! still right.
//!
//! **Maths.** Looks at `n_1 < … < n_K` samples, error `1 - level`. Look `k` is given
//! `(1 - level) (n_k - n_(k-1)) / n_K`; the shares sum to `1 - level`, and by the union bound the probability that any of
//! the `K` intervals misses the rate is at most that, half of it on each side. Nothing is assumed about how the counts of
//! different looks depend on each other, so any figure that has an interval of a chosen level can be looked at this way.
//!
//! A count among samples drawn without replacement from a set is distributed like a sum of independent indicators with
//! the same mean (Vatutin and Mikhailov), and such a sum lies in a tail no more often than a binomial variable if the
//! tail begins at least one above or below the mean (Hoeffding). So the intervals hold for the rate in the set as well
//! as for that in the population. The only tail below 5 % that begins nearer is "at least one" where fewer than one is
//! expected; its probability exceeds the error `e` of a side by less than `e^2`.
//!
//! **Reference.** Jennison and Turnbull, *Group Sequential Methods with Applications to Clinical Trials* (2000), chapter
//! 9, repeated confidence intervals; Kim and `DeMets`, Biometrika 74 (1987), error spent in proportion to information;
//! Hoeffding, Ann. Math. Statist. 27 (1956); Vatutin and Mikhailov, Theory Probab. Appl. 27 (1982).
//!
//! Compared with other sequences in `docs/sequential.md`.

/// Minimum size of the first of [`doubling_looks`].
const FIRST: usize = 50;

/// Returns the usual looks on the way to `n` samples: the last at `n`, each earlier one at half of the next, rounded up,
/// as long as it has at least 50 samples. One look if `n` is below 100, none if it is 0.
///
/// ```
/// assert_eq!(proofmark_stats::doubling_looks(500), [63, 125, 250, 500]);
/// ```
pub fn doubling_looks(n: usize) -> Vec<usize> {
    if n == 0 {
        return Vec::new();
    }
    let half = |size: &usize| Some(size.div_ceil(2)).filter(|h| *h >= FIRST && h < size);
    let mut looks: Vec<usize> = std::iter::successors(Some(n), half).collect();
    looks.reverse();
    looks
}

/// Returns the level of the interval at look `index` (from 0) of `looks`, such that the intervals of all looks hold at
/// once at `level`. It is above `level` if there are several looks, and `level` itself if there is one.
///
/// NaN if there is no such look or the sizes do not increase: an interval of that level contains every rate.
///
/// ```
/// let looks = [100, 200, 400];
/// let level = proofmark_stats::level_at_look(0.95, &looks, 2);
/// assert!((level - 0.975).abs() < 1e-12);
/// ```
pub fn level_at_look(level: f64, looks: &[usize], index: usize) -> f64 {
    let Some(size) = looks.get(index) else {
        return f64::NAN;
    };
    if looks[0] == 0 || !looks.windows(2).all(|w| w[0] < w[1]) {
        return f64::NAN;
    }
    let before = index.checked_sub(1).map_or(0, |i| looks[i]);
    let share = (size - before) as f64 / looks[looks.len() - 1] as f64;
    1.0 - (1.0 - level) * share
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn looks_by_hand() {
        assert_eq!(doubling_looks(0), [0; 0]);
        for n in [1, 50, 98] {
            assert_eq!(doubling_looks(n), [n]);
        }
        assert_eq!(doubling_looks(99), [50, 99]);
        assert_eq!(doubling_looks(100), [50, 100]);
        assert_eq!(doubling_looks(1797), [57, 113, 225, 450, 899, 1797]);
    }

    #[test]
    fn one_look_is_a_fixed_number_of_samples() {
        assert_eq!(level_at_look(0.95, &[300], 0).to_bits(), 0.95_f64.to_bits());
    }

    #[test]
    fn looks_that_are_none_state_nothing() {
        for (looks, index) in [
            (&[][..], 0),
            (&[10], 1),
            (&[10, 10], 1),
            (&[20, 10], 0),
            (&[0, 10], 1),
        ] {
            let level = level_at_look(0.95, looks, index);
            assert!(level.is_nan(), "{looks:?}");
            let i = crate::clopper_pearson(10, 10, level);
            assert_eq!((i.low.to_bits(), i.high.to_bits()), (0, 1.0_f64.to_bits()));
        }
    }

    proptest! {
        #[test]
        fn the_errors_of_all_looks_sum_to_the_stated_one(n in 1_usize..100_000, level in 0.5..0.999_f64) {
            let looks = doubling_looks(n);
            prop_assert_eq!(looks.last(), Some(&n));
            prop_assert!(looks.windows(2).all(|w| w[0] < w[1] && w[1] <= 2 * w[0]));
            prop_assert!(looks.len() == 1 || (50..100).contains(&looks[0]));
            let levels: Vec<f64> = (0..looks.len()).map(|k| level_at_look(level, &looks, k)).collect();
            prop_assert!(levels.iter().all(|l| *l >= level));
            let errors: f64 = levels.iter().map(|l| 1.0 - l).sum();
            prop_assert!((errors - (1.0 - level)).abs() < 1e-12);
        }
    }
}
