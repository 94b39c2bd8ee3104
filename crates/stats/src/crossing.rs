//! Finds where a falling function crosses 0, for example how far an interval may grow until it touches a number.
//!
//! **Maths.** The end of an interval minus the number, as a function of the critical value, is nearly straight; regula
//! falsi with Illinois's correction takes about seven evaluations where bisection takes thirty. Where the function is
//! not finite, bisection is used.

/// Smallest argument, used for 0, at which some limits are not defined.
const LEAST: f64 = 1e-9;

/// Returns the argument at which the falling function `f` crosses 0, to 1e-8. `None` if `f` is not above 0 at the start
/// (NaN is not above 0); the last of `probes` if `f` is still above 0 there. `probes` ascend and are tried first, to
/// bracket the crossing.
///
/// ```
/// let at = proofmark_stats::crossing(&[2.0, 8.0], |z| 3.0 - z).unwrap();
/// assert!((at - 3.0).abs() < 1e-8);
/// ```
pub fn crossing(probes: &[f64], mut f: impl FnMut(f64) -> f64) -> Option<f64> {
    let mut below: Option<(f64, f64)> = None;
    let mut above: Option<(f64, f64)> = None;
    for probe in probes {
        let at = f(*probe);
        if at > 0.0 {
            above = Some((*probe, at));
        } else {
            below = Some((*probe, at));
            break;
        }
    }
    let Some((mut high, mut f_high)) = below else {
        return probes.last().copied();
    };
    let (mut low, mut f_low) = match above {
        Some(above) => above,
        None => (LEAST, f(LEAST)),
    };
    if f_low.is_nan() || f_low <= 0.0 {
        return None;
    }
    // A value this close to 0 is within 1e-8 of the crossing, unless `f` stays slightly below 0 for long.
    let near = match (f_low - f_high) / (high - low) {
        slope if slope.is_finite() => 1e-8 * slope,
        _ => 0.0,
    };
    let mut raised = None;
    let (mut width, mut steps) = (high - low, 0);
    while high - low >= 1e-8 {
        let mut middle = (low * f_high - high * f_low) / (f_high - f_low);
        steps += 1;
        if steps % 4 == 0 {
            // Bisect if three steps have not shrunk the bracket enough.
            if high - low > width / 4.0 {
                middle = f64::NAN;
            }
            width = high - low;
        }
        if !(middle > low && middle < high) {
            middle = f64::midpoint(low, high);
        }
        let at = f(middle);
        if at.abs() <= near && (at > 0.0 || f(middle - 1e-8) > 0.0) {
            return Some(middle);
        }
        // Illinois: an end that stays twice in a row has its value halved.
        if at > 0.0 {
            (low, f_low) = (middle, at);
            if raised.replace(true) == Some(true) {
                f_high *= 0.5;
            }
        } else {
            (high, f_high) = (middle, at);
            if raised.replace(false) == Some(false) {
                f_low *= 0.5;
            }
        }
    }
    Some(f64::midpoint(low, high))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PROBES: [f64; 3] = [2.0, 4.0, 8.0];

    #[test]
    fn never_above_zero_has_no_crossing_and_always_above_zero_gives_the_last_probe() {
        assert_eq!(crossing(&PROBES, |_| 0.0), None);
        assert_eq!(crossing(&PROBES, |_| -1.0), None);
        assert_eq!(crossing(&PROBES, |_| f64::NAN), None);
        assert_eq!(crossing(&PROBES, |_| 1.0), Some(8.0));
    }

    /// Beyond the crossing the function may not be finite, like a ratio whose denominator may be 0.
    #[test]
    fn values_that_are_not_finite_are_bisected() {
        for none in [f64::NEG_INFINITY, f64::NAN] {
            let found = crossing(&PROBES, |z| if z < 3.3 { 1.0 } else { none });
            assert!(found.is_some_and(|z| (z - 3.3).abs() < 1e-7), "{found:?}");
        }
    }

    /// A mean of values clipped at 0 stays at 0, or slightly below it after subtracting a rounding allowance.
    #[test]
    fn staying_slightly_below_zero_is_not_taken_for_the_crossing() {
        for hair in [0.0, 1e-14] {
            let found = crossing(&PROBES, |z| (0.7 - z).max(0.0) - hair);
            assert!(found.is_some_and(|z| (z - 0.7).abs() < 1e-7), "{found:?}");
        }
    }

    proptest! {
        #[test]
        fn the_crossing_is_found(at in 0.001..7.99_f64, bend in -0.1..0.5_f64, scale in -20..20_i32) {
            let mut calls = 0;
            let found = crossing(&PROBES, |z| {
                calls += 1;
                10_f64.powi(scale) * (at - z) * (1.0 + bend * z)
            });
            prop_assert!(found.is_some_and(|z| (z - at).abs() < 1e-6), "{found:?}");
            prop_assert!(calls <= 16, "{calls}");
        }
    }
}
