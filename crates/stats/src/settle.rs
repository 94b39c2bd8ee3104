use crate::interval::{excludes, states_something};

/// Maximum number of further samples that is reported.
const MOST: u64 = 10_000_000;

/// Returns how many further samples would settle whether the rate is above or below `threshold` if the observed rate
/// stayed the same: until the Clopper-Pearson interval of level `level` no longer contains it.
///
/// `Some(0)` if it already does not. `None` if more than ten million would be needed, if nothing has been observed, or
/// if the arguments are invalid (count above `n`, threshold outside `[0, 1]`, level outside `(0, 1)`). Counts are
/// whole, so the rate is kept as closely as the next count towards the threshold allows: with the answer the question
/// is settled, with one sample fewer it is not.
///
/// ```
/// use proofmark_stats::samples_to_settle;
/// assert_eq!(samples_to_settle(0, 200, 0.5, 0.95), Some(0));
/// assert_eq!(samples_to_settle(10, 20, 0.5, 0.95), None);
/// ```
pub fn samples_to_settle(correct: u64, n: u64, threshold: f64, level: f64) -> Option<u64> {
    if !states_something(correct, n, level) || !(0.0..=1.0).contains(&threshold) {
        return None;
    }
    n.checked_add(MOST)?;
    let above = correct as f64 / n as f64 > threshold;
    let settled = |further: u64| {
        let total = u128::from(n) + u128::from(further);
        // A u128 holds any product of two u64.
        let expected = u128::from(correct) * total;
        let rounded = if above {
            expected / u128::from(n)
        } else {
            expected.div_ceil(u128::from(n))
        };
        excludes(rounded as u64, total as u64, threshold, level)
    };
    if settled(0) {
        return Some(0);
    }
    // Whole counts make the end of the interval a sawtooth, so this bisection finds one crossing; an earlier one can be
    // only a few samples earlier.
    let (mut open, mut closed) = (0, 1);
    while !settled(closed) {
        if closed == MOST {
            return None;
        }
        open = closed;
        closed = (closed * 2).min(MOST);
    }
    while closed - open > 1 {
        let middle = u64::midpoint(open, closed);
        if settled(middle) {
            closed = middle;
        } else {
            open = middle;
        }
    }
    Some(closed)
}

/// Returns how many further samples, distributed like the `n` existing ones, would settle a question that `settled`
/// answers for the same estimates from `factor` times as many samples.
///
/// `Some(0)` if it is settled already. `None` if more than ten million would be needed or `n` is 0. Estimates are
/// assumed to stay as they are, so this is a guide, not a promise: the largest of many differences is likely to shrink
/// as data grow, and then more samples are needed.
///
/// ```
/// // Settled from two and a half times as many on.
/// assert_eq!(proofmark_stats::further_to_settle(100, |factor| factor >= 2.5), Some(150));
/// ```
pub fn further_to_settle(n: u64, settled: impl Fn(f64) -> bool) -> Option<u64> {
    if settled(1.0) {
        return Some(0);
    }
    if n == 0 {
        return None;
    }
    let with = |further: u64| settled(1.0 + further as f64 / n as f64);
    if !with(MOST) {
        return None;
    }
    let (mut open, mut closed) = (0, 1);
    while !with(closed) {
        open = closed;
        closed = (closed * 4).min(MOST);
    }
    while closed - open > 1 {
        // Stop at one part in two hundred; the answer is no more precise than that.
        if (closed - open) * 200 < closed {
            break;
        }
        let middle = u64::midpoint(open, closed);
        if with(middle) {
            closed = middle;
        } else {
            open = middle;
        }
    }
    Some(closed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clopper_pearson;

    #[test]
    fn further_to_settle_finds_the_number_or_gives_none() {
        assert_eq!(further_to_settle(10, |f| f >= 1.0), Some(0));
        assert_eq!(further_to_settle(10, |_| false), None);
        assert_eq!(further_to_settle(0, |f| f > 1.0), None);
        assert_eq!(further_to_settle(10, |f| f >= 1.1), Some(1));
        let many = further_to_settle(1000, |f| f >= 778.0).unwrap();
        assert!((777_000..782_000).contains(&many), "{many}");
    }

    /// By the normal approximation: 60 % against 50 % needs n = (1.96/0.1)^2 * 0.24 = 92 at least.
    #[test]
    fn agrees_with_the_rule_of_thumb() {
        let further = samples_to_settle(12, 20, 0.5, 0.95).unwrap();
        assert!((75..110).contains(&further), "{further}");
    }

    #[test]
    fn rates_near_the_threshold_are_never_settled() {
        assert_eq!(samples_to_settle(500_001, 1_000_000, 0.5, 0.95), None);
        assert_eq!(samples_to_settle(20, 20, 1.0, 0.95), None);
        assert_eq!(samples_to_settle(0, 20, 0.0, 0.95), None);
    }

    #[test]
    fn perfect_rates_settle() {
        // (0.025)^(1/n) > 0.9 from n = 36 on.
        assert_eq!(samples_to_settle(10, 10, 0.9, 0.95), Some(26));
        assert_eq!(samples_to_settle(0, 10, 0.1, 0.95), Some(26));
    }

    #[test]
    fn invalid_arguments_are_none() {
        for (correct, n, threshold, level) in [
            (0, 0, 0.5, 0.95),
            (2, 1, 0.5, 0.95),
            (1, 2, f64::NAN, 0.95),
            (1, 2, 1.5, 0.95),
            (1, 2, 0.9, 1.0),
            (u64::MAX, u64::MAX, 0.5, f64::NAN),
        ] {
            assert_eq!(samples_to_settle(correct, n, threshold, level), None);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_answer_settles(n in 1_u64..500, part in 0.0..=1.0_f64, threshold in 0.0..=1.0_f64) {
            let correct = (part * n as f64) as u64;
            if let Some(further) = samples_to_settle(correct, n, threshold, 0.95) {
                let total = n + further;
                let exact = u128::from(correct) * u128::from(total);
                let kept = if correct as f64 / n as f64 > threshold {
                    exact / u128::from(n)
                } else {
                    exact.div_ceil(u128::from(n))
                };
                let i = clopper_pearson(kept as u64, total, 0.95);
                prop_assert!(threshold < i.low || threshold > i.high);
            }
        }
    }
}
