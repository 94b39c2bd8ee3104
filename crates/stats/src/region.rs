//! Range of a function of several independent estimates.
//!
//! **Maths.** Each estimate `a` has limits at a critical value `z` ([`Arm::limits`]); with `d_a(t)` the distance of `t`
//! from the estimate divided by that of the limit on the same side, the region is `sum_a d_a(t_a)^2 <= 1`. If limits
//! are symmetric it is the ellipsoid `sum (t_a - a)^2 / se_a^2 <= z^2`. The minimum and the maximum of a function over
//! it are the ends of an interval of the function. For a sum they are MOVER's ([`crate::mover_difference`]): this
//! extends MOVER beyond sums.
//!
//! **How large a region.** With `z` of one normal variable, a smooth function with a gradient at the truth has the
//! usual coverage. A function that is smallest where all estimates are equal has no gradient there, and the two ends
//! differ:
//!
//! * the maximum at `z` of one variable is below the truth with the probability that a normal variable is below `-z`,
//!   provided that `{f <= c}` is convex: the part beyond the truth then contains the half-space beyond its tangent
//!   plane;
//! * the minimum needs [`joint_critical`]: `k` estimates up to a common factor have `k - 1` directions, so that
//!   `sum (a - c t_a)^2 / se_a^2`, minimised over `c`, is chi-squared with `k - 1` degrees of freedom. The minimum is
//!   above 0 exactly if Cochran's test finds the estimates unequal.
//!
//! **Cost.** Every step takes one gradient; an end takes about ten steps.
//!
//! **When it fails.** The maximum is searched from several starting points, since a function may have several peaks; no
//! relevant one is known to be missed (see the tests), but there is no proof.
//!
//! **Reference.** Zou and Donner, Statistics in Medicine 27 (2008); Cochran, Biometrics 10 (1954); Fieller, JRSS B 16
//! (1954); Levitin and Polyak, USSR Comput. Math. Math. Phys. 6 (1966) for steps towards the minimum of a linear
//! function over a ball.

use statrs::distribution::{ChiSquared, ContinuousCDF};

use crate::{Arm, normal_critical, normal_tail};

/// A function that returns its value at a point and writes its gradient into the second argument.
pub type Gradient<'a> = dyn Fn(&[f64], &mut [f64]) -> f64 + 'a;

/// Returns the root of the chi-squared quantile: the radius of a region with `freedom` directions at the level. 1.96
/// for one at 0.95.
///
/// ```
/// // The 95 % point of chi-squared with four degrees of freedom is 9.488.
/// assert!((proofmark_stats::joint_critical(0.95, 4).powi(2) - 9.488).abs() < 1e-3);
/// ```
pub fn joint_critical(level: f64, freedom: usize) -> f64 {
    match ChiSquared::new(freedom as f64) {
        Ok(chi) if freedom > 1 => chi.inverse_cdf(level).sqrt(),
        _ => normal_critical(level),
    }
}

/// Returns the probability that `freedom` normal variables together lie beyond the radius `z`.
pub fn joint_tail(z: f64, freedom: usize) -> f64 {
    match ChiSquared::new(freedom as f64) {
        Ok(chi) if freedom > 1 => chi.sf(z * z),
        _ => 2.0 * normal_tail(z),
    }
}

/// Joint region of several estimates at a critical value.
#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    /// Per estimate: its value, and the distances of the limits below and above it.
    axes: Vec<[f64; 3]>,
}

impl Region {
    /// Creates the region of these estimates at the critical value `z`.
    pub fn new(arms: &[Arm], z: f64) -> Self {
        let axis = |arm: &Arm| {
            let (value, limits) = arm.limited(z);
            [
                value,
                (value - limits.low).max(0.0),
                (limits.high - value).max(0.0),
            ]
        };
        Self {
            axes: arms.iter().map(axis).collect(),
        }
    }

    /// Returns whether the region contains a point at which all estimates are equal.
    pub fn holds_a_common_value(&self) -> bool {
        self.to_a_common_value() <= 1.0
    }

    /// Returns the distance from the centre, relative to the region's boundary, of the nearest point at which all
    /// estimates are equal: at most 1 if it lies within the region. Infinite if an estimate without uncertainty differs
    /// from the common value.
    pub fn to_a_common_value(&self) -> f64 {
        let values = || self.axes.iter().map(|a| a[0]);
        let mut low = values().fold(f64::INFINITY, f64::min);
        let mut high = values().fold(f64::NEG_INFINITY, f64::max);
        let size = |c: f64| -> f64 {
            let term = |[value, below, above]: &[f64; 3]| match c - value {
                0.0 => 0.0,
                d if d < 0.0 => (d / below).powi(2),
                d => (d / above).powi(2),
            };
            self.axes.iter().map(term).sum()
        };
        // The size is convex in c.
        for _ in 0..80 {
            let third = (high - low) / 3.0;
            if size(low + third) <= size(high - third) {
                high -= third;
            } else {
                low += third;
            }
        }
        size(f64::midpoint(low, high)).sqrt()
    }

    /// Returns the minimum of a function over the region.
    pub fn least(&self, f: &Gradient<'_>) -> f64 {
        self.lowest(&|t, g| f(t, g))
    }

    /// Returns the maximum of a function over the region.
    pub fn most(&self, f: &Gradient<'_>) -> f64 {
        -self.lowest(&|t, g| {
            let value = f(t, g);
            for g in g.iter_mut() {
                *g = -*g;
            }
            -value
        })
    }

    fn lowest(&self, f: &Gradient<'_>) -> f64 {
        /// Number of starting points besides the centre.
        const STARTS: usize = 2;
        let k = self.axes.len();
        let mut gradient = vec![0.0; k];
        let middle = vec![0.0; k];
        let mut best = f(&self.point(&middle), &mut gradient);
        let mut starts = Vec::new();
        for at in 0..k {
            for side in [-1.0, 1.0] {
                let mut x = middle.clone();
                x[at] = side;
                starts.push((f(&self.point(&x), &mut gradient), x));
            }
        }
        starts.retain(|s| !s.0.is_nan());
        starts.sort_by(|a, b| a.0.total_cmp(&b.0));
        starts.truncate(STARTS);
        starts.push((best, middle));
        for (value, x) in starts {
            let low = self.descend(f, value, x);
            if low < best {
                best = low;
            }
        }
        best
    }

    /// Descends over the unit ball that maps onto the region.
    fn descend(&self, f: &Gradient<'_>, mut value: f64, mut x: Vec<f64>) -> f64 {
        /// Relative gain below which the descent stops.
        const GAIN: f64 = 1e-9;
        let mut gradient = vec![0.0; x.len()];
        for _ in 0..60 {
            f(&self.point(&x), &mut gradient);
            let toward: Vec<f64> = (0..x.len())
                .map(|a| {
                    let down = -gradient[a];
                    let [_, below, above] = self.axes[a];
                    let negative = x[a] < 0.0 || (x[a] == 0.0 && down < 0.0);
                    down * if negative { below } else { above }
                })
                .collect();
            let Some(toward) = normalised(toward) else {
                break;
            };
            let mut step = 1.0;
            let mut next = None;
            while step > 1e-2 {
                let between = x.iter().zip(&toward).map(|(x, d)| x + step * (d - x));
                if let Some(y) = normalised(between.collect()) {
                    let there = f(&self.point(&y), &mut gradient);
                    if there < value {
                        next = Some((there, y));
                        break;
                    }
                }
                step /= 2.0;
            }
            let Some((there, y)) = next else { break };
            let gain = value - there;
            (value, x) = (there, y);
            if gain < GAIN * value.abs() {
                break;
            }
        }
        value
    }

    fn point(&self, x: &[f64]) -> Vec<f64> {
        let place = |([value, below, above], x): (&[f64; 3], &f64)| {
            value + x * if *x < 0.0 { below } else { above }
        };
        self.axes.iter().zip(x).map(place).collect()
    }
}

fn normalised(mut x: Vec<f64>) -> Option<Vec<f64>> {
    let size = x.iter().map(|x| x * x).sum::<f64>().sqrt();
    if !(size > 0.0 && size.is_finite()) {
        return None;
    }
    for x in &mut x {
        *x /= size;
    }
    Some(x)
}

#[cfg(test)]
mod tests {
    use proofmark_domain::Interval;
    use proptest::prelude::*;

    use super::*;
    use crate::{mover_difference, mover_ratio};

    const LINE: Interval = Interval {
        low: f64::NEG_INFINITY,
        high: f64::INFINITY,
    };

    fn normal(value: f64, error: f64) -> Arm {
        Arm::student(value, error * error, 1e9, LINE).expect("sound")
    }

    /// 95 % points of chi-squared from standard tables: 3.841, 5.991, 18.307.
    #[test]
    fn radii_are_those_of_chi_squared() {
        for (freedom, point) in [(1, 3.841), (2, 5.991), (10, 18.307)] {
            let z = joint_critical(0.95, freedom);
            assert!((z * z - point).abs() < 1e-3, "{freedom}: {}", z * z);
            assert!((joint_tail(z, freedom) - 0.05).abs() < 1e-9);
        }
    }

    /// By Lagrange: over an ellipsoid a sum deviates by at most the root of the sum of squares.
    #[test]
    fn a_sum_has_movers_limits() {
        let arms = [Arm::rate(9.0, 30.0), Arm::rate(21.0, 40.0)].map(|a| a.expect("sound"));
        let region = Region::new(&arms, 1.96);
        let difference = |t: &[f64], g: &mut [f64]| {
            g.copy_from_slice(&[1.0, -1.0]);
            t[0] - t[1]
        };
        let mover = mover_difference(arms[0].limited(1.96), arms[1].limited(1.96));
        assert!((region.least(&difference) - mover.low).abs() < 1e-9);
        assert!((region.most(&difference) - mover.high).abs() < 1e-9);
    }

    /// MOVER's ratio is Fieller's, which is the range of a ratio over the ellipsoid.
    #[test]
    fn a_ratio_has_fiellers_limits() {
        let arms = [normal(3.0, 0.2), normal(2.0, 0.3)];
        let region = Region::new(&arms, 1.96);
        let ratio = |t: &[f64], g: &mut [f64]| {
            g.copy_from_slice(&[1.0 / t[1], -t[0] / (t[1] * t[1])]);
            t[0] / t[1]
        };
        let fieller = mover_ratio(arms[0].limited(1.96), arms[1].limited(1.96));
        assert!(
            (region.least(&ratio) - fieller.low).abs() < 1e-6,
            "{fieller:?}"
        );
        assert!((region.most(&ratio) - fieller.high).abs() < 1e-6);
    }

    /// Cochran's test: for estimates 1, 2, 4 with errors 1, 2, 2 the weighted mean is 2.5 / 1.5 = 5/3, and the sum of
    /// squares 4/9 + 1/36 + 49/36 = 66/36.
    #[test]
    fn a_common_value_agrees_with_cochrans_test() {
        let arms = [normal(1.0, 1.0), normal(2.0, 2.0), normal(4.0, 2.0)];
        let z = (66.0_f64 / 36.0).sqrt();
        assert!(!Region::new(&arms, z - 1e-6).holds_a_common_value());
        assert!(Region::new(&arms, z + 1e-6).holds_a_common_value());
        assert!(!Region::new(&arms, 0.0).holds_a_common_value());
        assert!(Region::new(&arms[..1], 0.0).holds_a_common_value());
    }

    proptest! {
        /// No random point of the region lies beyond the ends.
        #[test]
        fn no_point_of_the_region_lies_beyond_the_ends(
            values in proptest::collection::vec((0.5..2.0_f64, 0.01..0.3_f64), 2..7),
            way in proptest::collection::vec(-1.0..1.0_f64, 7),
        ) {
            let arms: Vec<Arm> = values.iter().map(|(v, e)| normal(*v, *e)).collect();
            let region = Region::new(&arms, 1.5);
            let spread = |t: &[f64], g: &mut [f64]| {
                let mean = t.iter().sum::<f64>() / t.len() as f64;
                for (g, t) in g.iter_mut().zip(t) {
                    *g = 2.0 * (t - mean);
                }
                t.iter().map(|t| (t - mean).powi(2)).sum()
            };
            let (least, most) = (region.least(&spread), region.most(&spread));
            let mut scratch = vec![0.0; arms.len()];
            if let Some(x) = normalised(way[..arms.len()].to_vec()) {
                let there = spread(&region.point(&x), &mut scratch);
                prop_assert!(there <= most * (1.0 + 1e-6), "{there} above {most}");
                if !region.holds_a_common_value() {
                    prop_assert!(there >= least * (1.0 - 1e-4), "{there} below {least}");
                }
            }
        }
    }
}
