//! The direction an attack climbs in.

use proofmark_domain::Norm;

/// Turns the gradient `g` (in place) into the steepest-ascent direction of unit norm: `argmax_{norm(d) <= 1} g·d`.
///
/// | norm | direction |
/// |---|---|
/// | `Linf` | `sign(g)` |
/// | `L2` | `g / ‖g‖₂` |
/// | `L1` | `±1/k` on the `k` features of largest `abs(g)`: of the many maximisers, the symmetric one |
/// | `L0` | as `L2`: how far is not the norm's business, and which features is the projection's |
///
/// A zero gradient gives zero, not `0/0`. NaN is never hidden: it stays NaN in its place, and in `L2` and `L0`
/// any non-finite entry makes the rest NaN or zero, so that the caller's check on the row sees it.
///
/// Reference: Boyd and Vandenberghe, *Convex Optimization* (2004), section 9.4 (steepest descent in a norm).
pub fn ascent(norm: Norm, g: &mut [f32]) {
    match norm {
        // `f32::signum` calls the sign of zero one.
        Norm::Linf => g.iter_mut().for_each(|g| {
            if *g != 0.0 {
                *g = g.signum();
            }
        }),
        Norm::L2 | Norm::L0 => {
            let length = super::point::sum_squares(g).sqrt();
            if length != 0.0 {
                for g in g {
                    *g = (f64::from(*g) / length) as f32;
                }
            }
        }
        Norm::L1 => {
            let top = g.iter().fold(0.0_f32, |m, g| m.max(g.abs()));
            let ties = g.iter().filter(|g| g.abs() >= top).count();
            let part = (1.0 / ties as f64) as f32;
            for g in g {
                if g.is_nan() || *g == 0.0 {
                    continue;
                }
                *g = if g.abs() >= top { part.copysign(*g) } else { 0.0 };
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "hand-computed values are exact")]
mod tests {
    use super::*;

    fn of(norm: Norm, g: &[f32]) -> Vec<f32> {
        let mut g = g.to_vec();
        ascent(norm, &mut g);
        g
    }

    #[test]
    fn hand_computed_directions() {
        assert_eq!(of(Norm::Linf, &[-2.0, 0.0, 1e-45, -0.0]), [-1.0, 0.0, 1.0, 0.0]);
        assert_eq!(of(Norm::L2, &[3.0, 0.0, -4.0]), [0.6, 0.0, -0.8]);
        assert_eq!(of(Norm::L0, &[3.0, 0.0, -4.0]), [0.6, 0.0, -0.8]);
        assert_eq!(of(Norm::L1, &[1.0, -4.0, 3.0]), [0.0, -1.0, 0.0]);
        assert_eq!(of(Norm::L1, &[4.0, -4.0, 3.0, 0.0]), [0.5, -0.5, 0.0, 0.0]);
    }

    #[test]
    fn a_zero_gradient_has_no_direction_and_nan_is_not_hidden() {
        for norm in Norm::ALL {
            assert_eq!(of(norm, &[0.0, 0.0]), [0.0, 0.0], "{norm}");
            assert!(of(norm, &[1.0, f32::NAN])[1].is_nan(), "{norm}");
        }
    }

    #[test]
    fn the_smallest_and_largest_gradients_keep_unit_length() {
        let tiny = f32::from_bits(1);
        let half = std::f32::consts::FRAC_1_SQRT_2;
        assert_eq!(of(Norm::L2, &[tiny, -tiny]), [half, -half]);
        assert_eq!(of(Norm::L2, &[f32::MAX, f32::MAX]), [half, half]);
        assert_eq!(of(Norm::L1, &[tiny, 0.0]), [1.0, 0.0]);
    }
}
