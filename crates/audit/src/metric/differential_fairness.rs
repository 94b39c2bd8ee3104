//! Smoothed empirical differential fairness: the largest ratio of outcome probabilities between any two groups.
//!
//! # Idea
//! Differential privacy's bound turned to fairness: an adversary who sees the outcome learns at most `ε` about the
//! group. Made for intersections, whose small groups are smoothed rather than dropped.
//!
//! # Maths
//! `p(a) = (favourable + c/2) / (n + c)` with `c` the concentration of the settings; `ε` is the largest over pairs of
//! groups of `|ln p(a) - ln p(b)|` and `|ln(1 - p(a)) - ln(1 - p(b))|`. Of decisions, and of labels.
//!
//! # Reference
//! Foulds, Islam, Keya and Pan, "An Intersectional Definition of Fairness", ICDE 2020, equation 7.
//!
//! # Divergences
//! None from AIF360's; groups that nobody belongs to are not there. `min_n` applies as everywhere: set it to 1 to have
//! every group smoothed.
//!
//! # Cost
//! One pass over the rows; pairs of groups are not walked, the extremes decide.
//!
//! # When it fails
//! It is a maximum over ever more groups: it rises with their number under no difference at all, and smoothing pulls the
//! smallest groups towards one half.
//!
//! # Example
//! ```
//! use proofmark_audit::{Columns, Groups, Settings, metric};
//! let table = Columns::new("t")
//!     .decision([true, true, false, false, true, false, false, false])
//!     .attribute("sex", ["f", "f", "f", "f", "m", "m", "m", "m"])
//!     .build()?;
//! let settings = Settings { min_n: 1, ..Settings::default() };
//! let groups = Groups::new(&table, &[0], &settings)?;
//! let figures = metric::find("differential_fairness")?.figures(&groups, &settings);
//! assert_eq!(figures[0].value(), Some((0.5_f64.ln() - 0.3_f64.ln()).abs()));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::contrast::{blank, too_few};
use super::{Entry, Ideal, Need, Run};
use crate::figure::{Comparison, Figure, Reason};
use crate::{Cell, Groups, Settings, Tally};

/// Differential fairness in the list of metrics.
pub(crate) static ENTRIES: &[Entry] = &[
    Entry {
        id: "differential_fairness",
        aliases: &["smoothed_empirical_differential_fairness"],
        needs: &[Need::Decision],
        definition: "largest absolute difference of log smoothed probabilities of either decision between two groups",
        sign: "never negative",
        source: "Foulds et al. 2020, arXiv:1807.08362",
        ideal: Ideal::Zero,
        run: Run::Groups(|e, g, s| vec![epsilon(e, Cell::favourable, g, s)]),
    },
    Entry {
        id: "label_differential_fairness",
        aliases: &[],
        needs: &[Need::Label],
        definition: "largest absolute difference of log smoothed probabilities of either label between two groups",
        sign: "never negative",
        source: "Foulds et al. 2020, arXiv:1807.08362",
        ideal: Ideal::Zero,
        run: Run::Groups(|e, g, s| vec![epsilon(e, Cell::positives, g, s)]),
    },
];

/// The figure for the counts that `of` gives.
pub(super) fn epsilon(
    entry: &'static Entry,
    of: fn(&Cell) -> Tally,
    groups: &Groups<'_>,
    settings: &Settings,
) -> Figure {
    let c = settings.concentration;
    let (mut rates, mut left_out) = (Vec::new(), Vec::new());
    for group in groups.groups() {
        let all = group.cell.all();
        if all.n == 0 || all.n < settings.min_n {
            left_out.push(too_few(group, all.n, settings));
            continue;
        }
        let p = (of(&group.cell).weight + c / 2.0) / (all.weight + c);
        rates.push((p, &group.name, all.n));
    }
    let mut figure = Figure {
        comparison: Comparison::Between,
        ..blank(entry, groups, left_out)
    };
    // Both logarithms are monotone: the largest and the smallest rate decide for either outcome.
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
        Ok(value)
    } else {
        Err(Reason::Undefined("a rate of 0 or 1, and no smoothing"))
    };
    figure.groups = vec![high.1.clone(), low.1.clone()];
    figure.n = vec![high.2, low.2];
    figure
}
