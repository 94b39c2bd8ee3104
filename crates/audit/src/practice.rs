//! Tests that employment practice reports next to an impact ratio.
//!
//! # Idea
//! A ratio below four fifths is evidence of adverse impact if it is "statistically and practically significant" (29 CFR
//! 1607.4 D). Agencies and courts use two figures for that: Fisher's exact test, and the number of standard deviations
//! between the two rates. They are reported for readers who expect them and decide nothing here.
//!
//! # When it fails
//! Both are valid for two groups named beforehand. Here the data select the group with the highest rate and the group
//! furthest from it. The permutation test of the headline corrects for that selection: it asks how often the largest
//! difference among *all* groups is as large by chance. All of them test equality, not a tolerance.

use proofmark_domain::Seed;
use proofmark_stats::random::{Purpose, StreamKey, attack_code};
use proofmark_stats::{
    fisher_exact, largest_difference, permutation_p_of_counts, standard_deviations,
};
use serde::{Deserialize, Serialize};

use crate::{Comparison, Estimate, Figure, Part};

/// Tests of a group's rate against the rate of the group with the highest.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PairTests {
    /// Fisher's exact test, two-sided.
    pub fisher_p: f64,
    /// Standard deviations by which the group's rate lies above (negative: below) the highest. `None` if both rates are
    /// 0 or both are 1.
    pub standard_deviations: Option<f64>,
    /// Chance of an equally large maximum difference between any two groups if decisions were assigned to people at
    /// random (999 permutations). Only for the headline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permutation_p: Option<f64>,
}

impl PairTests {
    /// Computes the tests of an impact ratio. `None` for any other metric, for a group compared with itself, and for
    /// weighted tables, because these are tests of counts.
    pub(crate) fn of(figure: &Figure, seed: u64) -> Option<Self> {
        const DEALS: u32 = 999;
        let is_one = matches!(figure.metric, "impact_ratio" | "scoring_impact_ratio");
        let [family] = figure.basis.families.as_slice() else {
            return None;
        };
        let [group, highest] = figure.groups.as_slice() else {
            return None;
        };
        if !is_one || group == highest {
            return None;
        }
        let parts = || family.parts.iter().chain(&family.against);
        let of = |name: &str| parts().find(|p| p.name == name).and_then(counts);
        let (first, second) = (of(group)?, of(highest)?);
        let all: Option<Vec<(u64, u64)>> = parts().map(counts).collect();
        let key = StreamKey {
            attack: attack_code(figure.metric),
            ..StreamKey::new(Seed(seed), 0, Purpose::Permute)
        };
        Some(Self {
            fisher_p: fisher_exact([first, second].map(|(x, n)| [x, n - x])),
            standard_deviations: standard_deviations(first, second),
            permutation_p: all
                .filter(|_| figure.comparison == Comparison::Between)
                .map(|all| permutation_p_of_counts(&all, DEALS, &key, largest_difference)),
        })
    }
}

/// Returns the numerator and denominator counts. `None` unless every row weighs 1.
fn counts(part: &Part) -> Option<(u64, u64)> {
    let Estimate::Share(share) = &part.estimate else {
        return None;
    };
    let plain = [share.numerator, share.denominator]
        .iter()
        .all(|t| t.weight == t.n as f64 && t.square == t.n as f64);
    (plain && share.numerator.n <= share.denominator.n)
        .then_some((share.numerator.n, share.denominator.n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Columns, Groups, Settings, metric};

    /// Builds groups with 8 of 10, 1 of 6 and 4 of 8 favourable decisions.
    fn figures(weight: f64) -> Vec<Figure> {
        let groups = [("a", 8, 10), ("b", 1, 6), ("c", 4, 8)];
        let rows = || {
            groups
                .iter()
                .flat_map(|(g, x, n)| (0..*n).map(move |i| (*g, i < *x)))
        };
        let table = Columns::new("t")
            .decision(rows().map(|r| r.1))
            .attribute("group", rows().map(|r| r.0))
            .weights(rows().map(|_| weight))
            .build()
            .expect("fits");
        let settings = Settings {
            min_n: 1,
            ..Settings::default()
        };
        let groups = Groups::new(&table, &[0], &settings).expect("groups");
        metric::find("impact_ratio")
            .expect("there")
            .figures(&groups, &settings)
    }

    /// Fisher's p of 8 of 10 against 1 of 6 is 0.034965 in scipy; the standard deviations are computed by hand.
    #[test]
    fn a_pair_and_the_headline_get_their_tests() {
        let figures = figures(1.0);
        let tests: Vec<_> = figures.iter().map(|f| PairTests::of(f, 0)).collect();
        assert_eq!(tests[0], None);
        let b = tests[1].expect("a with b");
        assert!((b.fisher_p - 0.034_965_034_965).abs() < 1e-10, "{b:?}");
        let p: f64 = 9.0 / 16.0;
        let z = (1.0 / 6.0 - 0.8) / (p * (1.0 - p) * (1.0 / 10.0 + 1.0 / 6.0)).sqrt();
        assert!(b.standard_deviations.is_some_and(|s| (s - z).abs() < 1e-12));
        assert_eq!(b.permutation_p, None);
        let headline = tests.last().copied().flatten().expect("the headline");
        assert_eq!(headline.fisher_p, b.fisher_p);
        // The permutation test corrects for picking two of three groups.
        let p = headline.permutation_p.expect("of all groups");
        assert!(p > b.fisher_p && p < 0.2, "{p}");
    }

    #[test]
    fn weighted_figures_and_other_metrics_get_no_tests() {
        assert!(figures(2.0).iter().all(|f| PairTests::of(f, 0).is_none()));
        let mut other = figures(1.0).pop().expect("the headline");
        other.metric = "selection_rate_ratio";
        assert_eq!(PairTests::of(&other, 0), None);
    }
}
