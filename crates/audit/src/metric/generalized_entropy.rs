//! Generalised entropy index: how unequally decisions distribute benefits among individuals and among groups.
//!
//! # Idea
//! Every individual gets a benefit: 1 if decided as labelled, 2 if favoured undeservedly, 0 if deserving but refused.
//! An index of inequality over individuals splits into a part between groups and a part within them.
//!
//! # Maths
//! With benefits `b = Ŷ - Y + 1` of mean `μ`, `GEI(α) = mean((b/μ)^α - 1) / (α(α - 1))`; at `α = 1` it is the mean of
//! `(b/μ) ln(b/μ)`, at `α = 0` the mean of `-ln(b/μ)`. The part between groups is the index of the same individuals
//! with each benefit replaced by the mean of its group. The coefficient of variation is `sqrt(2 GEI(2))`.
//!
//! **Intervals** are ranges over a region ([`proofmark_stats::Region`]). Over individuals the index depends on two
//! rates: the share of errors, and the share of undeserved favours among errors; they are binomial and independent.
//! Between groups it depends on the groups' mean benefits. The upper limit uses the critical value of one normal
//! variable, since the set of means up to a given inequality is convex; the lower limit uses the joint critical value
//! for the number of groups minus one. The lower limit is above 0 exactly if Cochran's test finds the means unequal.
//!
//! # Reference
//! Speicher et al., "A Unified Approach to Quantifying Algorithmic Unfairness", KDD 2018; Shorrocks, Econometrica 1980;
//! Cochran, Biometrics 10 (1954).
//!
//! # Divergences
//! Weights count; AIF360 ignores them here. At `α = 0` AIF360 divides by `μ` once too often, and one refused individual
//! makes its index infinite; here the index is then not estimable. AIF360's part between two named groups keeps rows of
//! other groups with a benefit of 0; here rows of unknown group are left out.
//!
//! # Cost
//! One pass over the rows.
//!
//! # When it fails
//! It weighs a wrong refusal and a wrong favour on one scale, which is a choice. Small groups hardly affect the part
//! between groups: it can vanish while a small group is treated badly. The groups' shares of the population are treated
//! as known. At `α <= 0` the upper limit over individuals is infinite: there may be an individual without benefit.
//!
//! # Example
//! ```
//! use proofmark_audit::{Columns, Settings, metric};
//! let table = Columns::new("t")
//!     .decision([true, true, false, false, true, false, false, false])
//!     .label([true, false, true, false, true, true, false, false])
//!     .build()?;
//! let mut settings = Settings::default();
//! settings.min_n = 1;
//! let figures = metric::find("generalized_entropy_index")?.table_figures(&table, &settings);
//! assert_eq!(figures[0].value(), Some(0.234_693_877_551_020_34));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use std::sync::Arc;

use proofmark_domain::Interval;

use super::contrast::blank;
use super::{Ideal, MetricEntry, Need, Rows, Run};
use crate::figure::{
    Basis, Comparison, Estimate, Family, Figure, Form, Mean, Part, Reason, mean_of_counts,
};
use crate::{Cell, Groups, Settings, Share, Table, Tally};

pub(super) const NEEDS: &[Need] = &[Need::Decision, Need::Label];

/// Generalised entropy in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &[
    MetricEntry {
        id: "generalized_entropy_index",
        aliases: &[],
        needs: NEEDS,
        definition: "inequality of benefits (decision - label + 1) over persons, at the alpha of the settings",
        sign: "0 where all benefits are equal, else positive",
        source: "Speicher et al. 2018, arXiv:1807.00787",
        ideal: Ideal::Zero,
        run: Run::Table(|entry, table, settings| vec![whole(entry, table, settings.alpha)]),
    },
    MetricEntry {
        id: "coefficient_of_variation",
        aliases: &[],
        needs: NEEDS,
        definition: "standard deviation of benefits over their mean: sqrt(2 GEI(2))",
        sign: "0 where all benefits are equal, else positive",
        source: "Speicher et al. 2018, arXiv:1807.00787",
        ideal: Ideal::Zero,
        run: Run::Table(|entry, table, _| {
            let mut figure = whole(entry, table, 2.0);
            figure.value = figure.value.map(|v| (2.0 * v).sqrt());
            if let Form::Entropy { root, .. } = &mut figure.basis.form {
                *root = true;
            }
            vec![figure]
        }),
    },
    MetricEntry {
        id: "between_group_generalized_entropy",
        aliases: &["between_group_generalized_entropy_index"],
        needs: NEEDS,
        definition: "the generalised entropy index with every benefit replaced by the mean of its group",
        sign: "0 where all groups have the same mean benefit, else positive",
        source: "Speicher et al. 2018, arXiv:1807.00787",
        ideal: Ideal::Zero,
        run: Run::Groups(|entry, groups, settings| {
            vec![parted(entry, groups, settings, settings.alpha)]
        }),
    },
];

/// Returns the benefits 1, 2 and 0 with the rows that have them.
fn benefits(cell: &Cell) -> [(f64, Tally); 3] {
    [(1.0, cell.correct()), (2.0, cell.fp), (0.0, cell.fn_)]
}

/// Returns what a benefit adds to the index; `r` is its ratio to the mean.
pub(crate) fn term(r: f64, alpha: f64) -> f64 {
    if alpha == 1.0 {
        if r == 0.0 { 0.0 } else { r * r.ln() }
    } else if alpha == 0.0 {
        -r.ln()
    } else {
        (r.powf(alpha) - 1.0) / (alpha * (alpha - 1.0))
    }
}

/// Returns the index of benefits with their weights.
fn index(benefits: &[(f64, f64)], alpha: f64) -> Result<f64, Reason> {
    let weight: f64 = benefits.iter().map(|b| b.1).sum();
    let mean = benefits.iter().map(|b| b.0 * b.1).sum::<f64>() / weight;
    if mean.is_nan() {
        return Err(Reason::TooFew { n: 0, min_n: 1 });
    }
    if mean == 0.0 {
        return Err(Reason::Undefined("nobody has any benefit"));
    }
    let there = benefits.iter().filter(|b| b.1 > 0.0);
    let value = there.map(|b| b.1 * term(b.0 / mean, alpha)).sum::<f64>() / weight;
    if value.is_finite() {
        // Rounding can make the index of equal benefits negative.
        Ok(value.max(0.0))
    } else {
        Err(Reason::Undefined(
            "somebody has no benefit, and the index is infinite at this alpha",
        ))
    }
}

fn mean_benefit(cell: &Cell, heaviest: f64) -> Mean {
    let range = Interval {
        low: 0.0,
        high: 2.0,
    };
    mean_of_counts(&benefits(cell), cell.all(), range, heaviest)
}

/// Returns the figure of a table as a whole.
pub(super) fn whole(entry: &'static MetricEntry, table: &Table, alpha: f64) -> Figure {
    let rows: Vec<u32> = (0..table.rows() as u32).collect();
    let mut cell = Cell::default();
    if let (Some(decision), Some(label)) = (table.decision(), table.label()) {
        for (row, weight) in (Rows { table, rows: &rows }).weighted() {
            cell.count(decision[row], label[row], weight);
        }
    }
    let value = index(&benefits(&cell).map(|(b, t)| (b, t.weight)), alpha);
    let errors = cell.fp + cell.fn_;
    let family = |rate, numerator, denominator| Family {
        rate,
        parts: vec![Part {
            group: None,
            name: "all".to_owned(),
            estimate: Estimate::Share(Share {
                numerator,
                denominator,
            }),
        }],
        against: None,
    };
    let families = vec![
        family("error_rate", errors, cell.all()),
        family("favours_among_errors", cell.fp, errors),
    ];
    let basis = if value.is_ok() {
        Basis::several(Form::Entropy { alpha, root: false }, families)
    } else {
        Basis::nothing()
    };
    Figure {
        metric: entry.id,
        attribute: String::new(),
        comparison: Comparison::Whole,
        groups: Vec::new(),
        value,
        n: vec![cell.all().n],
        basis,
        left_out: Arc::default(),
        persons_left_out: 0,
        persons: cell.all().n,
    }
}

/// Returns the figure of the part between groups.
pub(super) fn parted(
    entry: &'static MetricEntry,
    groups: &Groups<'_>,
    settings: &Settings,
    alpha: f64,
) -> Figure {
    let (mut parts, mut left_out, mut n) = (Vec::<Part>::new(), Vec::new(), 0);
    for (at, group) in groups.groups().iter().enumerate() {
        let all = group.cell.all();
        if let Some(left) = super::contrast::too_few(groups, at, all.n, settings) {
            left_out.push(left);
            continue;
        }
        parts.push(Part {
            group: Some(at),
            name: group.name.clone(),
            estimate: Estimate::Mean(mean_benefit(&group.cell, groups.table().heaviest())),
        });
        n += all.n;
    }
    let weighted = |p: &Part| (p.value(), p.estimate.denominator().weight);
    let means: Vec<(f64, f64)> = parts.iter().map(weighted).collect();
    let value = if means.len() < 2 {
        Err(Reason::NoTwoGroups { left: means.len() })
    } else {
        index(&means, alpha)
    };
    let basis = if value.is_ok() {
        let family = Family::among("mean_benefit", parts);
        Basis::of(Form::EntropyBetween { alpha }, family)
    } else {
        Basis::nothing()
    };
    Figure {
        value,
        n: vec![n],
        basis,
        ..blank(entry, groups, left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_at_every_alpha() {
        let b = [(1.0, 6.0), (2.0, 2.0), (0.0, 2.0)];
        assert!((index(&b, 2.0).expect("defined") - 0.2).abs() < 1e-15);
        assert!((index(&b, 1.0).expect("defined") - 0.4 * std::f64::consts::LN_2).abs() < 1e-15);
        assert!(index(&b, 0.0).is_err() && index(&b, -1.0).is_err());
        let b = [(1.0, 2.0), (2.0, 2.0)];
        assert!(
            (index(&b, 0.0).expect("defined") - (1.5_f64.ln() - 0.5 * 2_f64.ln())).abs() < 1e-15
        );
        assert!(index(&[(0.0, 3.0)], 2.0).is_err() && index(&[], 2.0).is_err());
        assert_eq!(index(&[(1.0, 3.0)], 1.0), Ok(0.0));
    }
}
