//! Permutation tests with keyed streams.
//!
//! **Maths.** If the outcome is unrelated to the group, all assignments of the same outcomes to the same rows are
//! equally likely. Of `n` drawn, `k` have a statistic at least as large as the observed one; `p = (k + 1) / (n + 1)`:
//! the observed table is one of them, so `p` is never 0, and at most `u` with probability at most `u`.
//!
//! Counts need no shuffling of rows: the number of successes of a group is hypergeometric, group after group, so that
//! the cost of a permutation depends on the number of groups, not of rows.
//!
//! **Reference.** Phipson and Smyth, Stat. Appl. Genet. Mol. Biol. 9 (2010): *Permutation p-values should never be
//! zero*. Hypergeometric numbers by chopping down from the mode: Kachitvichyanukul and Schmeiser, J. Stat. Comput.
//! Simul. 22 (1985).
//!
//! **When it fails.** It tests *no difference at all*, not a tolerance, and a difference somewhere says nothing about
//! one pair of groups.

use statrs::function::gamma::ln_gamma;

use crate::random::{Stream, StreamKey};

/// Returns `(k + 1) / (n + 1)`, where `k` of `n` draws are at least `seen`. Draw `i` gets its own stream, `key` with
/// `draw = i`; draws that give NaN count as extreme.
pub fn permutation_p(
    seen: f64,
    n: u32,
    key: &StreamKey,
    mut draw: impl FnMut(&mut Stream) -> f64,
) -> f64 {
    // A statistic summed in another order may differ in its last digits; that counts as a tie.
    let least = seen - 1e-12 * (1.0 + seen.abs());
    let extreme = (0..n)
        .filter(|i| {
            let mut stream = Stream::new(&StreamKey { draw: *i, ..*key });
            let value = draw(&mut stream);
            value.is_nan() || value >= least
        })
        .count();
    (extreme as f64 + 1.0) / (f64::from(n) + 1.0)
}

/// Distributes `successes` at random over groups of these sizes and returns the number for each group.
pub fn hand_out(successes: u64, sizes: &[u64], stream: &mut Stream) -> Vec<u64> {
    let mut rest: u64 = sizes.iter().sum();
    let mut left = successes.min(rest);
    sizes
        .iter()
        .map(|size| {
            let got = hypergeometric(*size, left, rest, stream);
            left -= got;
            rest -= size;
            got
        })
        .collect()
}

/// Returns the permutation p-value of `statistic` over groups of `(successes, n)`.
///
/// ```
/// use proofmark_domain::Seed;
/// use proofmark_stats::random::{Purpose, StreamKey};
/// use proofmark_stats::{largest_difference, permutation_p_of_counts};
/// let key = StreamKey::new(Seed(1), 0, Purpose::Permute);
/// let p = permutation_p_of_counts(&[(50, 100), (20, 100)], 999, &key, largest_difference);
/// assert_eq!(p, 0.001);
/// ```
pub fn permutation_p_of_counts(
    groups: &[(u64, u64)],
    n: u32,
    key: &StreamKey,
    statistic: impl Fn(&[(u64, u64)]) -> f64,
) -> f64 {
    let sizes: Vec<u64> = groups.iter().map(|g| g.1).collect();
    let successes = groups.iter().map(|g| g.0).sum();
    let mut drawn = groups.to_vec();
    permutation_p(statistic(groups), n, key, |stream| {
        for (group, got) in drawn.iter_mut().zip(hand_out(successes, &sizes, stream)) {
            group.0 = got;
        }
        statistic(&drawn)
    })
}

/// Returns the largest rate minus the smallest over the non-empty groups; 0 if there are none.
pub fn largest_difference(groups: &[(u64, u64)]) -> f64 {
    let rates = || {
        groups
            .iter()
            .filter(|g| g.1 > 0)
            .map(|g| g.0 as f64 / g.1 as f64)
    };
    (rates().fold(f64::NEG_INFINITY, f64::max) - rates().fold(f64::INFINITY, f64::min)).max(0.0)
}

/// Draws `drawn` of `total` items without replacement, `marked` of which are marked, and returns how many marked ones
/// it got.
fn hypergeometric(drawn: u64, marked: u64, total: u64, stream: &mut Stream) -> u64 {
    let (least, most) = ((drawn + marked).saturating_sub(total), drawn.min(marked));
    if least == most {
        return least;
    }
    let mode = ((u128::from(drawn + 1) * u128::from(marked + 1)) / u128::from(total + 2)) as u64;
    let mode = mode.clamp(least, most);
    let choose = |n: u64, k: u64| {
        let [n, k] = [n, k].map(|v| v as f64);
        ln_gamma(n + 1.0) - ln_gamma(k + 1.0) - ln_gamma(n - k + 1.0)
    };
    let at_mode =
        (choose(marked, mode) + choose(total - marked, drawn - mode) - choose(total, drawn)).exp();
    let step = |x: u64| {
        let (x, room) = (x as f64, (total + x + 1 - drawn - marked) as f64);
        (drawn as f64 - x) * (marked as f64 - x) / ((x + 1.0) * room)
    };
    let mut u = stream.uniform_f64() - at_mode;
    let (mut low, mut high) = (mode, mode);
    let (mut at_low, mut at_high) = (at_mode, at_mode);
    while u >= 0.0 {
        if high == most && low == least {
            // Rounding left a tiny remainder.
            return mode;
        }
        if high < most {
            at_high *= step(high);
            high += 1;
            u -= at_high;
            if u < 0.0 {
                return high;
            }
        }
        if low > least {
            low -= 1;
            at_low /= step(low);
            u -= at_low;
            if u < 0.0 {
                return low;
            }
        }
    }
    mode
}

#[cfg(test)]
mod tests {
    use proofmark_domain::Seed;
    use proptest::prelude::*;

    use super::*;
    use crate::fisher_exact;
    use crate::random::Purpose;

    fn key(sample: u64) -> StreamKey {
        StreamKey::new(Seed(5), sample, Purpose::Permute)
    }

    /// 5 drawn from 12 of which 7 are marked: C(7, x) C(5, 5 - x) / 792.
    #[test]
    fn hypergeometric_frequencies() {
        let mut counts = [0.0; 6];
        let mut stream = Stream::new(&key(0));
        let n = 40_000;
        for _ in 0..n {
            counts[hypergeometric(5, 7, 12, &mut stream) as usize] += 1.0;
        }
        let chi2: f64 = [1.0, 35.0, 210.0, 350.0, 175.0, 21.0]
            .iter()
            .zip(counts)
            .map(|(w, seen): (&f64, f64)| {
                let expected = w / 792.0 * f64::from(n);
                (seen - expected).powi(2) / expected
            })
            .sum();
        // The 99.99 % point of chi-squared with five degrees of freedom.
        assert!(chi2 < 25.7, "{counts:?}");
    }

    /// The cost does not depend on the number of rows, here half a million.
    #[test]
    fn large_tables_have_the_right_spread() {
        let mut stream = Stream::new(&key(1));
        let (drawn, marked, total) = (200_000, 150_000, 500_000);
        let n = 4000;
        let x: Vec<f64> = (0..n)
            .map(|_| hypergeometric(drawn, marked, total, &mut stream) as f64)
            .collect();
        let mean = x.iter().sum::<f64>() / f64::from(n);
        let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / f64::from(n);
        let want = 200_000.0 * 0.3 * 0.7 * 300_000.0 / 499_999.0;
        assert!(
            (mean - 60_000.0).abs() < 5.0 * (want / f64::from(n)).sqrt(),
            "{mean}"
        );
        assert!(
            (variance / want - 1.0).abs() < 5.0 * (2.0 / f64::from(n)).sqrt(),
            "{variance} {want}"
        );
    }

    /// For two groups of equal size the statistic orders tables as Fisher's test does.
    #[test]
    fn two_groups_of_equal_size_agree_with_fisher() {
        for (a, b) in [(12, 20), (5, 9), (30, 31)] {
            let exact = fisher_exact([[a, 40 - a], [b, 40 - b]]);
            let n = 20_000;
            let p = permutation_p_of_counts(&[(a, 40), (b, 40)], n, &key(2), largest_difference);
            let se = (exact * (1.0 - exact) / f64::from(n)).sqrt();
            assert!((p - exact).abs() < 5.0 * se + 1e-4, "{p} {exact}");
        }
    }

    #[test]
    fn never_zero_and_repeatable() {
        let p =
            |n| permutation_p_of_counts(&[(90, 100), (10, 100)], n, &key(3), largest_difference);
        assert_eq!((p(99), p(99), p(0)), (0.01, 0.01, 1.0));
        assert_eq!(permutation_p(1.0, 9, &key(4), |_| f64::NAN), 1.0);
    }

    proptest! {
        #[test]
        fn all_successes_are_handed_out(
            sizes in proptest::collection::vec(0_u64..2000, 1..8), part in 0.0..=1.0_f64, sample: u64,
        ) {
            let total: u64 = sizes.iter().sum();
            let successes = (part * total as f64) as u64;
            let got = hand_out(successes, &sizes, &mut Stream::new(&key(sample)));
            prop_assert_eq!(got.iter().sum::<u64>(), successes);
            prop_assert!(got.iter().zip(&sizes).all(|(g, s)| g <= s));
        }
    }
}
