//! Bias amplification: whether decisions are more unequal than the labels they were learned from.
//!
//! # Idea
//! A model that copies the gaps in its labels is one thing; one that widens them is another.
//!
//! # Maths
//! `differential_fairness_bias_amplification` is the `ε` of smoothed differential fairness of decisions less that of
//! labels. `bias_amplification` is directional: over the groups, the mean of `Δ(a)` where the label goes with the group
//! (`P(A = a, Y = 1) > P(A = a) P(Y = 1)`) and of `-Δ(a)` where it does not, with
//! `Δ(a) = P(Ŷ = 1 | A = a) - P(Y = 1 | A = a)`.
//!
//! # Reference
//! Foulds et al., "An Intersectional Definition of Fairness", ICDE 2020; Wang and Russakovsky, "Directional Bias
//! Amplification", ICML 2021, `BiasAmp` from attribute to task.
//!
//! # Divergences
//! The paper's task is a set of labels; here it is one.
//!
//! # Cost
//! One pass over the rows.
//!
//! # When it fails
//! Labels that are biased themselves make a faithful copy look fair. A model that favours everybody more moves every
//! `Δ(a)`: with groups on both sides it cancels, with most on one side it does not.
//!
//! # Example
//! ```
//! use proofmark_audit::{Columns, Groups, Settings, metric};
//! let table = Columns::new("t")
//!     .decision([true, true, false, false, true, false, false, false])
//!     .label([true, false, true, false, true, false, true, false])
//!     .attribute("sex", ["f", "f", "f", "f", "m", "m", "m", "m"])
//!     .build()?;
//! let settings = Settings { min_n: 1, ..Settings::default() };
//! let groups = Groups::new(&table, &[0], &settings)?;
//! let figures = metric::find("bias_amplification")?.figures(&groups, &settings);
//! assert_eq!(figures[0].value(), Some(0.125));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::contrast::{blank, too_few};
use super::differential_fairness::epsilon;
use super::{Entry, Ideal, Need, Run};
use crate::figure::{Basis, Comparison, Figure, Reason};
use crate::{Cell, Groups, Settings};

const NEEDS: &[Need] = &[Need::Decision, Need::Label];

/// Bias amplification in the list of metrics.
pub(crate) static ENTRIES: &[Entry] = &[
    Entry {
        id: "bias_amplification",
        aliases: &["directional_bias_amplification"],
        needs: NEEDS,
        definition: "mean over groups of selection rate less base rate, signed by whether the label goes with the group",
        sign: "positive: decisions lean further the way the labels lean",
        source: "Wang and Russakovsky 2021, arXiv:2102.12594",
        ideal: Ideal::Zero,
        run: Run::Groups(directional),
    },
    Entry {
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

fn differential(entry: &'static Entry, groups: &Groups<'_>, settings: &Settings) -> Vec<Figure> {
    let decisions = epsilon(entry, Cell::favourable, groups, settings);
    let labels = epsilon(entry, Cell::positives, groups, settings);
    let value = match (decisions.value, labels.value) {
        (Ok(d), Ok(l)) => Ok(d - l),
        (Err(e), _) | (_, Err(e)) => Err(e),
    };
    vec![Figure {
        value,
        comparison: Comparison::Whole,
        groups: Vec::new(),
        n: vec![groups.overall().all().n],
        basis: Basis::resample(),
        ..blank(entry, groups, decisions.left_out)
    }]
}

fn directional(entry: &'static Entry, groups: &Groups<'_>, settings: &Settings) -> Vec<Figure> {
    let (mut sum, mut kept, mut left_out) = (0.0, Vec::new(), Vec::new());
    for group in groups.groups() {
        let all = group.cell.all();
        if all.n == 0 || all.n < settings.min_n {
            left_out.push(too_few(group, all.n, settings));
        } else {
            kept.push(&group.cell);
        }
    }
    let total = kept.iter().fold(Cell::default(), |a, c| a + **c);
    let base = total.positives().weight / total.all().weight;
    for cell in &kept {
        let all = cell.all().weight;
        let labels = cell.positives().weight / all;
        let change = cell.favourable().weight / all - labels;
        sum += if labels > base { change } else { -change };
    }
    let value = if kept.len() < 2 {
        Err(Reason::NoTwoGroups { left: kept.len() })
    } else {
        Ok(sum / kept.len() as f64)
    };
    vec![Figure {
        value,
        n: vec![total.all().n],
        ..blank(entry, groups, left_out)
    }]
}
