//! Radii of L0 balls, which change by whole numbers of features.

/// Relative rounding error allowed in a radius that stands for a number of features.
pub(super) const ROUNDING: f64 = 1e-6;

/// The L0 balls of one row: per modality that may change, its budget (above 0), and how much each feature gains under a
/// linear model if it moves to its bound. Radii are in units of the budgets.
pub(super) struct Counts<'a>(pub(super) Vec<(f64, &'a [f32])>);

impl Counts<'_> {
    /// Returns the radius after `radius`, which changes by a share of `gamma`, and by at least one feature. `best` is
    /// the smallest gauge that succeeded, `need` the gain that a linear model still needs at the clean sample.
    pub(super) fn next(
        &self,
        radius: f64,
        gamma: f64,
        succeeds: bool,
        best: Option<f64>,
        need: f64,
    ) -> f64 {
        let next = match best {
            Some(best) if succeeds => {
                let smaller = self.below(radius.min(best));
                smaller.min(radius * (1.0 - gamma))
            }
            Some(_) => self.above(radius).max(radius * (1.0 + gamma)),
            None => self.estimate(radius, need),
        };
        next.min(self.most())
    }

    /// Returns the smallest radius at which some ball holds more features.
    pub(super) fn above(&self, radius: f64) -> f64 {
        let next = |(eps, _): &(f64, _)| (held(radius, *eps) + 1.0) / eps;
        self.0.iter().map(next).fold(f64::INFINITY, f64::min)
    }

    /// Returns the largest smaller radius that stands for a whole number of features; 0 if there is none.
    pub(super) fn below(&self, radius: f64) -> f64 {
        let next = |(eps, _): &(f64, _)| ((radius * eps * (1.0 - ROUNDING)).ceil() - 1.0) / eps;
        self.0.iter().map(next).fold(0.0, f64::max)
    }

    /// Returns the radius that holds every feature.
    pub(super) fn most(&self) -> f64 {
        let whole = |(eps, gains): &(f64, &[f32])| gains.len() as f64 / eps;
        self.0.iter().map(whole).fold(0.0, f64::max)
    }

    /// Returns the radius at which a linear model gains more than `need`, but with at least one feature more than this
    /// radius holds, and at most twice this radius.
    pub(super) fn estimate(&self, radius: f64, need: f64) -> f64 {
        let mut next = self.above(radius);
        let limit = next.max(2.0 * radius).min(self.most());
        let sums: Vec<(f64, Vec<f64>)> = (self.0.iter())
            .map(|(eps, gains)| (*eps, running_sums(gains)))
            .collect();
        let gain = |radius: f64| -> f64 {
            let of = |(eps, sums): &(f64, Vec<f64>)| {
                sums[(held(radius, *eps) as usize).min(sums.len() - 1)]
            };
            sums.iter().map(of).sum()
        };
        while next < limit && gain(next) <= need {
            next = self.above(next);
        }
        next.min(limit)
    }
}

/// Returns the number of features that a ball of this radius holds.
fn held(radius: f64, eps: f64) -> f64 {
    (radius * eps * (1.0 + ROUNDING)).floor()
}

/// Returns the summed gain of the best 0, 1, 2, … features.
fn running_sums(gains: &[f32]) -> Vec<f64> {
    let mut sorted = gains.to_vec();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    let mut sums = vec![0.0];
    for gain in sorted {
        sums.push(sums[sums.len() - 1] + f64::from(gain));
    }
    sums
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "hand-computed values are exact")]
mod tests {
    use super::*;

    const NONE: [f32; 8] = [0.0; 8];

    #[test]
    fn radii_go_from_count_to_count() {
        // Counts of 4 and 2 features at radius 1: levels 1/4, 1/2, 3/4, 1, …
        let counts = Counts(vec![(4.0, &NONE), (2.0, &NONE[..2])]);
        assert_eq!(
            [0.0, 0.25, 0.3, 1.0].map(|r| counts.above(r)),
            [0.25, 0.5, 0.5, 1.25]
        );
        assert_eq!(
            [0.0, 0.25, 0.3, 1.0].map(|r| counts.below(r)),
            [0.0, 0.0, 0.25, 0.75]
        );
        assert_eq!(counts.most(), 2.0);
        // A third is no `f32`; rounding must not lose or win a feature.
        let thirds = Counts(vec![(3.0, &NONE)]);
        for count in 1..8_u32 {
            let radius = f64::from((f64::from(count) / 3.0) as f32);
            assert_eq!(thirds.above(radius), f64::from(count + 1) / 3.0);
            assert_eq!(thirds.below(radius), f64::from(count - 1) / 3.0);
            assert_eq!(held(radius, 3.0), f64::from(count));
        }
        // Nothing may change.
        assert_eq!(Counts(Vec::new()).most(), 0.0);
    }

    #[test]
    fn a_radius_changes_by_a_share_or_a_feature() {
        let counts = Counts(vec![(2.0, &NONE)]);
        let next = |radius, succeeds, best| counts.next(radius, 0.25, succeeds, best, 0.0);
        // A quarter of 3 radii is more than one feature, a quarter of 1 is less.
        assert_eq!(next(3.0, true, Some(3.0)), 2.25);
        assert_eq!(next(1.0, true, Some(1.0)), 0.5);
        assert_eq!(next(0.5, true, Some(0.5)), 0.0);
        // Fewer features than the best point has.
        assert_eq!(next(3.0, true, Some(1.5)), 1.0);
        assert_eq!(next(3.0, false, Some(3.5)), 3.75);
        assert_eq!(next(1.0, false, Some(3.0)), 1.5);
        // All 8 features.
        assert_eq!(next(3.5, false, Some(4.0)), 4.0);
        assert_eq!(next(4.0, false, None), 4.0);
    }

    #[test]
    fn estimates_are_exact_up_to_twice_the_radius() {
        let gains = [1.0, 8.0, 2.0, 4.0];
        let counts = Counts(vec![(2.0, &gains)]);
        // Sums 8, 12, 14, 15. From the clean sample one feature is tried, whatever is needed.
        assert_eq!(counts.estimate(0.0, 13.0), 0.5);
        assert_eq!(counts.estimate(0.5, 13.0), 1.0);
        assert_eq!(counts.estimate(1.0, 13.0), 1.5);
        assert_eq!(counts.estimate(1.0, 14.0), 2.0);
        assert_eq!(counts.estimate(1.0, 99.0), 2.0);
        assert_eq!(counts.estimate(2.0, 99.0), 2.0);
    }
}
