//! Conditional demographic disparity: whether a group has a larger share of the refusals than of the acceptances.
//!
//! # Idea
//! Corresponds to the "particular disadvantage" of European courts: the group's share of those refused compared with
//! its share of those accepted, stratum by stratum.
//!
//! # Maths
//! `DD_s(a) = P(A = a | Ŷ = 0, s) - P(A = a | Ŷ = 1, s)`; `CDD(a) = sum_s n_s DD_s(a) / sum_s n_s`, with `n_s` the rows
//! of the stratum. The headline is the largest. Given the numbers of refusals and acceptances, both shares are binomial
//! and independent, so the variance is `sum_s n_s^2 (p (1 - p) / refused + q (1 - q) / accepted) / (sum_s n_s)^2`.
//!
//! # Reference
//! Wachter, Mittelstadt and Russell, "Why fairness cannot be automated", Computer Law & Security Review 2021.
//!
//! # Divergences
//! Strata without refusals or without acceptances carry no information and are left out; other tools divide by zero.
//! AIF360's function of this name averages over the groups themselves and has no strata.
//!
//! # Cost
//! One pass over the rows; groups times strata.
//!
//! # When it fails
//! Over all groups it sums to 0: one group's disparity is the others' advantage. Small groups have small disparities
//! whatever their rates.
//!
//! # Example
//! ```
//! use proofmark_audit::{Columns, Groups, Settings, metric};
//! let table = Columns::new("t")
//!     .decision([true, true, false, false, true, false, false, false])
//!     .attribute("sex", ["f", "f", "f", "f", "m", "m", "m", "m"])
//!     .stratum("s", ["a", "a", "a", "a", "a", "a", "a", "a"])
//!     .build()?;
//! let mut settings = Settings::default();
//! settings.min_n = 1;
//! let groups = Groups::new(&table, &[0], &settings)?;
//! let figures = metric::find("conditional_demographic_disparity")?.figures(&groups, &settings);
//! assert_eq!(figures[0].value(), Some(2.0 / 5.0 - 2.0 / 3.0));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::contrast::{blank, too_few};
use super::strata::cells;
use super::{Ideal, MetricEntry, Need, Run};
use crate::figure::{
    Basis, Comparison, Estimate, Family, Figure, Form, Mean, Part, Reason, SIGNED_UNIT, sample,
};
use crate::{Cell, Groups, Settings, Share, Tally};

/// Conditional demographic disparity in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &[MetricEntry {
    id: "conditional_demographic_disparity",
    aliases: &[],
    needs: &[Need::Decision, Need::Stratum],
    definition: "the group's part of the refusals less its part of the acceptances, averaged over strata by their size; the headline is the largest",
    sign: "positive: the group has more than its part of the refusals",
    source: "Wachter et al. 2021, arXiv:2005.05906",
    ideal: Ideal::Zero,
    run: Run::Groups(disparity),
}];

fn disparity(entry: &'static MetricEntry, groups: &Groups<'_>, settings: &Settings) -> Vec<Figure> {
    // Per stratum: the cells of its groups, and their sum.
    let strata: Vec<(Vec<Cell>, Cell)> = cells(groups)
        .into_iter()
        .map(|s| {
            let all = s.iter().fold(Cell::default(), |a, c| a + *c);
            (s, all)
        })
        .filter(|(_, all)| all.favourable().weight > 0.0 && all.unfavourable().weight > 0.0)
        .collect();
    let total: f64 = strata.iter().map(|s| s.1.all().weight).sum();
    let (mut left_out, mut parts) = (Vec::new(), Vec::new());
    for (at, group) in groups.groups().iter().enumerate() {
        let n = strata.iter().map(|s| s.0[at].all().n).sum();
        if let Some(left) = too_few(groups, at, n, settings) {
            left_out.push(left);
            continue;
        }
        let (mut sum, mut variance, mut samples) = (0.0, 0.0, Vec::new());
        let mut denominator = Tally::default();
        for (cells, all) in &strata {
            let of = |numerator: Tally, denominator: Tally| {
                let p = numerator.weight / denominator.weight;
                let share = Share {
                    numerator,
                    denominator,
                };
                (p, p * (1.0 - p) / denominator.effective(), share)
            };
            let (refused, of_refused, refusals) = of(cells[at].unfavourable(), all.unfavourable());
            let (accepted, of_accepted, acceptances) = of(cells[at].favourable(), all.favourable());
            let weight = all.all().weight;
            sum += weight * (refused - accepted);
            variance += weight.powi(2) * (of_refused + of_accepted);
            let part = weight / total;
            samples.extend(sample(part, refusals));
            samples.extend(sample(-part, acceptances));
            denominator = denominator + cells[at].all();
        }
        let mean = Mean {
            value: sum / total,
            variance: Some(variance / total.powi(2)),
            denominator,
            range: SIGNED_UNIT,
            samples,
        };
        parts.push(Part {
            group: Some(at),
            name: group.name.clone(),
            estimate: Estimate::Mean(mean),
        });
    }
    let blank = blank(entry, groups, left_out);
    let figure = |comparison, form, parts: Vec<Part>, of: &Part| Figure {
        comparison,
        groups: vec![of.name.clone()],
        value: Ok(of.value()),
        n: vec![of.estimate.denominator().n],
        basis: Basis::of(form, Family::among(entry.id, parts)),
        ..blank.clone()
    };
    let mut all: Vec<Figure> = parts
        .iter()
        .map(|p| figure(Comparison::Group, Form::Plain, vec![p.clone()], p))
        .collect();
    let most = parts
        .iter()
        .reduce(|a, b| if b.value() > a.value() { b } else { a });
    all.push(match most {
        Some(most) if parts.len() > 1 => {
            figure(Comparison::Whole, Form::Largest, parts.clone(), most)
        }
        _ => Figure {
            value: Err(Reason::NoTwoGroups { left: parts.len() }),
            ..blank.clone()
        },
    });
    all
}
