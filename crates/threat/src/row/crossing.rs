//! Finds the zero of a non-increasing function.

/// Brackets the zero of a non-increasing `f` between `lo` (where it is positive) and `hi` (where it is not), to a width
/// of `1e-15` of the larger end. The values of `f` have no scale here: only an exact zero ends the search early.
///
/// The secant through the bracket's ends, weighted by the Illinois rule (halve the value at an end that stays),
/// converges superlinearly where `f` is smooth. `f` may jump, so every third step is a plain bisection. The search
/// needs at most half of the evaluations of a bisection.
///
/// Reference: Dowell and Jarratt, *A modified regula falsi method* (BIT 11, 1971).
pub(super) fn crossing(mut lo: f64, mut hi: f64, f: impl Fn(f64) -> f64) -> (f64, f64) {
    let (mut at_lo, mut at_hi) = (f(lo), f(hi));
    let mut last_moved_lo = None;
    for step in 0..240 {
        if hi - lo <= 1e-15 * hi.abs().max(lo.abs()) {
            break;
        }
        let secant = lo + (hi - lo) * (at_lo / (at_lo - at_hi));
        let mid = if step % 3 == 2 || !(lo < secant && secant < hi) {
            f64::midpoint(lo, hi)
        } else {
            secant
        };
        if mid <= lo || mid >= hi {
            break;
        }
        let y = f(mid);
        if y == 0.0 {
            return (mid, mid);
        }
        let moves_lo = y > 0.0;
        let again = last_moved_lo == Some(moves_lo);
        if moves_lo {
            (lo, at_lo) = (mid, y);
            at_hi = if again { at_hi / 2.0 } else { at_hi };
        } else {
            (hi, at_hi) = (mid, y);
            at_lo = if again { at_lo / 2.0 } else { at_lo };
        }
        last_moved_lo = Some(moves_lo);
    }
    (lo, hi)
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "hand-computed values are exact")]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn smooth_and_jumping_functions() {
        let calls = Cell::new(0);
        let counted = |x: f64| {
            calls.set(calls.get() + 1);
            2.0 - x * x
        };
        assert!((crossing(0.0, 2.0, counted).0 - std::f64::consts::SQRT_2).abs() < 1e-14);
        assert!(calls.get() < 30, "{}", calls.get());
        let jump = |x: f64| if x < 0.3 { 5.0 } else { -1e-9 };
        assert!((crossing(0.0, 1.0, jump).1 - 0.3).abs() < 1e-14);
    }
}
