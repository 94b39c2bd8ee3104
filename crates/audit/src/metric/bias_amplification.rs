//! Bias amplification: whether decisions are more unequal than the labels that the model learned from.
//!
//! # Idea
//! Distinguishes a model that copies the gaps in its labels from one that widens them.
//!
//! # Maths
//! `differential_fairness_bias_amplification` is the `ε` of smoothed differential fairness of decisions minus that of
//! labels. `bias_amplification` is directional: the mean over the groups of `Δ(a)` where the label is positively
//! associated with the group (`P(A = a, Y = 1) > P(A = a) P(Y = 1)`) and of `-Δ(a)` where it is not, with
//! `Δ(a) = P(Ŷ = 1 | A = a) - P(Y = 1 | A = a)`.
//!
//! `Δ(a)` is the mean of `Ŷ - Y` over the same rows, so its variance accounts for the dependence between decisions and
//! labels. If the interval of `P(Y = 1 | A = a) - P(Y = 1)`, joint over all groups, contains 0, both signs of `Δ(a)`
//! are allowed for. The interval of the difference of two `ε` goes from the lower limit of the first minus the upper
//! limit of the second to the reverse, each at level `1 - α/2` (Bonferroni), which is valid for any dependence between
//! decisions and labels.
//!
//! # Reference
//! Foulds et al., "An Intersectional Definition of Fairness", ICDE 2020; Wang and Russakovsky, "Directional Bias
//! Amplification", ICML 2021, `BiasAmp` from attribute to task.
//!
//! # Divergences
//! The paper's task is a set of labels; here it is a single label.
//!
//! # Cost
//! One pass over the rows.
//!
//! # When it fails
//! If the labels themselves are biased, a faithful copy looks fair. A model that favours everybody more often changes
//! every `Δ(a)`: this cancels with groups on both sides, but not with most groups on one side. If labels are barely
//! associated with the groups, the sign is due to chance, and the interval widens by the possible change of sign.
//!
//! # Example
//! ```
//! use proofmark_audit::{Columns, Groups, Settings, metric};
//! let table = Columns::new("t")
//!     .decision([true, true, false, false, true, false, false, false])
//!     .label([true, false, true, false, true, false, true, false])
//!     .attribute("sex", ["f", "f", "f", "f", "m", "m", "m", "m"])
//!     .build()?;
//! let mut settings = Settings::default();
//! settings.min_n = 1;
//! let groups = Groups::new(&table, &[0], &settings)?;
//! let figures = metric::find("bias_amplification")?.figures(&groups, &settings);
//! assert_eq!(figures[0].value(), Some(0.125));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::contrast::{blank, too_few};
use super::differential_fairness::{DECISIONS, LABELS, epsilon};
use super::{Ideal, MetricEntry, Need, Run};
use crate::figure::{
    Basis, Comparison, Estimate, Family, Figure, Form, Mean, Part, Reason, SIGNED_UNIT,
    mean_of_counts,
};
use crate::{Cell, Groups, Settings, Share};

const NEEDS: &[Need] = &[Need::Decision, Need::Label];

/// Bias amplification in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &[
    MetricEntry {
        id: "bias_amplification",
        aliases: &["directional_bias_amplification"],
        needs: NEEDS,
        definition: "mean over groups of selection rate less base rate, signed by whether the label goes with the group",
        sign: "positive: decisions lean further the way the labels lean",
        source: "Wang and Russakovsky 2021, arXiv:2102.12594",
        ideal: Ideal::Zero,
        run: Run::Groups(directional),
    },
    MetricEntry {
        id: "differential_fairness_bias_amplification",
        aliases: &[],
        needs: NEEDS,
        definition: "differential_fairness less label_differential_fairness",
        sign: "positive: decisions are more unequal than labels",
        source: "Foulds et al. 2020, arXiv:1807.08362",
        ideal: Ideal::Zero,
        run: Run::Groups(differential),
    },
];

fn differential(
    entry: &'static MetricEntry,
    groups: &Groups<'_>,
    settings: &Settings,
) -> Vec<Figure> {
    let decisions = epsilon(entry, &DECISIONS, groups, settings);
    let labels = epsilon(entry, &LABELS, groups, settings);
    let value = match (decisions.value, labels.value) {
        (Ok(d), Ok(l)) => Ok(d - l),
        (Err(e), _) | (_, Err(e)) => Err(e),
    };
    let families = [decisions.basis.families, labels.basis.families].concat();
    let basis = if value.is_ok() {
        Basis::several(Form::LogRatioDifference, families)
    } else {
        Basis::nothing()
    };
    vec![Figure {
        value,
        comparison: Comparison::Whole,
        groups: Vec::new(),
        n: vec![groups.overall().all().n],
        basis,
        ..blank(entry, groups, decisions.left_out)
    }]
}

fn directional(
    entry: &'static MetricEntry,
    groups: &Groups<'_>,
    settings: &Settings,
) -> Vec<Figure> {
    let (mut sum, mut kept, mut left_out) = (0.0, Vec::new(), Vec::new());
    for (at, group) in groups.groups().iter().enumerate() {
        let all = group.cell.all();
        match too_few(groups, at, all.n, settings) {
            Some(left) => left_out.push(left),
            None => kept.push((at, group)),
        }
    }
    let total = kept.iter().fold(Cell::default(), |a, g| a + g.1.cell);
    let base = total.positives().weight / total.all().weight;
    let (mut changes, mut leans) = (Vec::new(), Vec::new());
    for (at, group) in &kept {
        let change = change(&group.cell, groups.table().heaviest());
        let labels = share(&group.cell);
        let up = labels.value().is_some_and(|labels| labels > base);
        sum += if up { change.value } else { -change.value };
        let part = |estimate| Part {
            group: Some(*at),
            name: group.name.clone(),
            estimate,
        };
        changes.push(part(Estimate::Mean(change)));
        leans.push(part(Estimate::Share(labels)));
    }
    let (value, basis) = if kept.len() < 2 {
        let left = kept.len();
        (Err(Reason::NoTwoGroups { left }), Basis::nothing())
    } else {
        let all = Part {
            group: None,
            name: "overall".to_owned(),
            estimate: Estimate::Share(share(&total)),
        };
        let family = |rate, parts, against| Family {
            rate,
            parts,
            against,
        };
        let families = vec![
            family(entry.id, changes, None),
            family("base_rate", leans, Some(all)),
        ];
        (
            Ok(sum / kept.len() as f64),
            Basis::several(Form::Leaning, families),
        )
    };
    vec![Figure {
        value,
        n: vec![total.all().n],
        basis,
        ..blank(entry, groups, left_out)
    }]
}

/// Returns the share of positive labels.
fn share(cell: &Cell) -> Share {
    Share {
        numerator: cell.positives(),
        denominator: cell.all(),
    }
}

/// Returns the mean of decision minus label: 1 for an undeserved favour, -1 for an undeserved refusal.
fn change(cell: &Cell, heaviest: f64) -> Mean {
    let changes = [(1.0, cell.fp), (-1.0, cell.fn_), (0.0, cell.correct())];
    mean_of_counts(&changes, cell.all(), SIGNED_UNIT, heaviest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Changes 1, 1, -1, 0, 0: mean 1/5, sum of squares 3 - 5/25 = 14/5; variance of the mean 14/5 / (4 x 5).
    #[test]
    fn a_change_by_hand() {
        let mut cell = Cell::default();
        for (decision, label) in [
            (true, false),
            (true, false),
            (false, true),
            (true, true),
            (false, false),
        ] {
            cell.count(decision, label, 3.0);
        }
        let mean = change(&cell, 1.0);
        assert!((mean.value - 0.2).abs() < 1e-15);
        assert!((mean.variance.expect("enough") - 0.14).abs() < 1e-15);
    }
}
