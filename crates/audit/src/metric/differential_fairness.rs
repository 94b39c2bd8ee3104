//! Smoothed empirical differential fairness: the largest ratio of outcome probabilities between any two groups.
//!
//! # Idea
//! Applies the bound of differential privacy to fairness: an adversary who sees the outcome learns at most `ε` about
//! the group. Designed for intersections, whose small groups are smoothed rather than dropped.
//!
//! # Maths
//! `p(a) = (favourable + c/2) / (n + c)` with `c` the concentration of the settings; `ε` is the largest over pairs of
//! groups of `|ln p(a) - ln p(b)|` and `|ln(1 - p(a)) - ln(1 - p(b))|`. It is computed for decisions and for labels.
//! The value is smoothed; its interval is not, since pseudo-counts are not observations. It is the interval of the
//! smallest ratio of any two groups' unsmoothed rates, both outcomes in one family, on a logarithmic scale.
//!
//! # Reference
//! Foulds, Islam, Keya and Pan, "An Intersectional Definition of Fairness", ICDE 2020, equation 7. The interval is that
//! of simultaneous ratios, [`proofmark_stats::Contrasts`].
//!
//! # Divergences
//! None from AIF360's; empty groups are left out. `min_n` applies as everywhere: set it to 1 to smooth every group.
//!
//! # Cost
//! One pass over the rows; only the extreme groups are compared, not every pair.
//!
//! # When it fails
//! It is a maximum over pairs of groups, so it rises with the number of groups even without any difference. Smoothing
//! pulls the smallest groups towards one half, so groups of equal rates and very unequal sizes have different values.
//! The interval reflects the observed rates; with few rows the value may lie outside it. The upper limit is infinite if
//! a rate may be 0 or 1.
//!
//! # Example
//! ```
//! use proofmark_audit::{Columns, Groups, Settings, metric};
//! let table = Columns::new("t")
//!     .decision([true, true, false, false, true, false, false, false])
//!     .attribute("sex", ["f", "f", "f", "f", "m", "m", "m", "m"])
//!     .build()?;
//! let mut settings = Settings::default();
//! settings.min_n = 1;
//! let groups = Groups::new(&table, &[0], &settings)?;
//! let figures = metric::find("differential_fairness")?.figures(&groups, &settings);
//! assert_eq!(figures[0].value(), Some((0.5_f64.ln() - 0.3_f64.ln()).abs()));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::contrast::{blank, too_few};
use super::{Ideal, MetricEntry, Need, Run};
use crate::figure::{Basis, Comparison, Estimate, Family, Figure, Form, Part, Reason};
use crate::{Cell, Groups, Settings, Share, Tally};

/// Differential fairness in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &[
    MetricEntry {
        id: "differential_fairness",
        aliases: &["smoothed_empirical_differential_fairness"],
        needs: &[Need::Decision],
        definition: "largest absolute difference of log smoothed probabilities of either decision between two groups",
        sign: "never negative",
        source: "Foulds et al. 2020, arXiv:1807.08362",
        ideal: Ideal::Zero,
        run: Run::Groups(|e, g, s| vec![epsilon(e, &DECISIONS, g, s)]),
    },
    MetricEntry {
        id: "label_differential_fairness",
        aliases: &[],
        needs: &[Need::Label],
        definition: "largest absolute difference of log smoothed probabilities of either label between two groups",
        sign: "never negative",
        source: "Foulds et al. 2020, arXiv:1807.08362",
        ideal: Ideal::Zero,
        run: Run::Groups(|e, g, s| vec![epsilon(e, &LABELS, g, s)]),
    },
];

/// A binary outcome, with the id of its rate.
pub(super) struct Outcomes {
    rate: &'static str,
    of: [fn(&Cell) -> Tally; 2],
}

/// Favourable and unfavourable decisions.
pub(super) static DECISIONS: Outcomes = Outcomes {
    rate: "selection_rate",
    of: [Cell::favourable, Cell::unfavourable],
};

/// Positive and negative labels.
pub(super) static LABELS: Outcomes = Outcomes {
    rate: "base_rate",
    of: [Cell::positives, Cell::negatives],
};

/// Returns the figure of these outcomes.
pub(super) fn epsilon(
    entry: &'static MetricEntry,
    outcomes: &Outcomes,
    groups: &Groups<'_>,
    settings: &Settings,
) -> Figure {
    let c = settings.concentration;
    let (mut rates, mut left_out) = (Vec::new(), Vec::new());
    let mut families = outcomes
        .of
        .map(|_| Family::among(outcomes.rate, Vec::new()));
    for (at, group) in groups.groups().iter().enumerate() {
        let all = group.cell.all();
        if let Some(left) = too_few(groups, at, all.n, settings) {
            left_out.push(left);
            continue;
        }
        let shares = outcomes.of.map(|of| Share {
            numerator: of(&group.cell),
            denominator: all,
        });
        for (family, share) in families.iter_mut().zip(shares) {
            family.parts.push(Part {
                group: Some(at),
                name: group.name.clone(),
                estimate: Estimate::Smoothed(share, c),
            });
        }
        let p = shares[0].smoothed(c).unwrap_or(f64::NAN);
        rates.push((p, &group.name, all.n));
    }
    let mut figure = Figure {
        comparison: Comparison::Between,
        ..blank(entry, groups, left_out)
    };
    // Both logarithms are monotone, so the largest and the smallest rate decide for both outcomes.
    rates.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (Some(high), Some(low)) = (rates.first(), rates.last()) else {
        figure.value = Err(Reason::NoTwoGroups { left: 0 });
        return figure;
    };
    if rates.len() < 2 {
        figure.value = Err(Reason::NoTwoGroups { left: 1 });
        return figure;
    }
    let value = (high.0.ln() - low.0.ln()).max((1.0 - low.0).ln() - (1.0 - high.0).ln());
    figure.value = if value.is_finite() {
        figure.basis = Basis::several(Form::LogRatio, families.into());
        Ok(value)
    } else {
        Err(Reason::Undefined("a rate of 0 or 1, and no smoothing"))
    };
    figure.groups = vec![high.1.clone(), low.1.clone()];
    figure.n = vec![high.2, low.2];
    figure
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Columns, judge, metric};

    /// Favourable rates 80/100 and 90/100: unfavourable decisions differ by a factor of 2, which is more than 9/8.
    fn figure(concentration: f64) -> Figure {
        let rows = || (0..200_usize).map(|i| (["a", "b"][i % 2], i / 2 < [80, 90][i % 2]));
        let table = Columns::new("t")
            .decision(rows().map(|r| r.1))
            .attribute("group", rows().map(|r| r.0))
            .build()
            .expect("fits");
        let settings = Settings {
            concentration,
            ..Settings::default()
        };
        let groups = Groups::new(&table, &[0], &settings).expect("groups");
        let entry = metric::find("differential_fairness").expect("there");
        entry.figures(&groups, &settings).remove(0)
    }

    #[test]
    fn the_outcome_that_differs_most_decides() {
        let value = figure(0.0).value().expect("estimable");
        assert!((value - 2.0_f64.ln()).abs() < 1e-12, "{value}");
    }

    #[test]
    fn smoothing_moves_the_value_and_not_the_interval() {
        let (none, much) = (figure(0.0), figure(40.0));
        assert!(much.value() < none.value());
        let interval = |f: &Figure| judge(std::slice::from_ref(f), &[], 0.95, 0)[0].interval;
        assert_eq!(interval(&none), interval(&much));
    }
}
