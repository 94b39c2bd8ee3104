//! Conditional demographic parity: selection rates compared among people who are alike in legitimate factors.
//!
//! # Idea
//! A selective department refuses more applications, whoever applies. Comparing stratum by stratum removes a gap that
//! comes only from who applies where.
//!
//! # Maths
//! For two groups `a` and `b`, over the strata `s` in which both have enough members:
//! `sum_s n_s (p_s(a) - p_s(b)) / sum_s n_s`, with `n_s` the members of both in the stratum (direct standardisation).
//! The variance is `sum_s (n_s / n)^2 (p_s(a) q_s(a) / n_s(a) + p_s(b) q_s(b) / n_s(b))`. The headline is the pair
//! farthest apart.
//!
//! # Reference
//! Kamiran, Žliobaitė and Calders, "Quantifying explainable discrimination", KAIS 2013; Corbett-Davies et al., KDD 2017
//! (conditional statistical parity).
//!
//! # Divergences
//! Corbett-Davies et al. require parity in each stratum; this is one figure over all strata. A stratum in which either
//! group has fewer than `min_n` members is left out of the figure and of its weights for that pair.
//!
//! # Cost
//! One pass over the rows; pairs of groups times strata.
//!
//! # When it fails
//! If the stratum is itself a consequence of the group (a grade given by the same model), conditioning on it hides the
//! bias. Gaps of opposite sign in two strata cancel.
//!
//! # Example
//! ```
//! use proofmark_audit::{Columns, Groups, Settings, metric};
//! let table = Columns::new("t")
//!     .decision([true, true, true, false, false, false, true, true, true, false, false, false])
//!     .attribute("sex", ["f", "m", "m", "f", "f", "m", "f", "m", "m", "f", "f", "m"])
//!     .stratum("department", ["a", "a", "a", "b", "b", "b", "a", "a", "a", "b", "b", "b"])
//!     .build()?;
//! let mut settings = Settings::default();
//! settings.min_n = 1;
//! let groups = Groups::new(&table, &[0], &settings)?;
//! let figures = metric::find("conditional_demographic_parity_difference")?.figures(&groups, &settings);
//! assert_eq!(figures.last().and_then(|f| f.value()), Some(0.0));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::contrast::{blank, too_few};
use super::strata::cells;
use super::{Ideal, MetricEntry, Need, Run};
use crate::figure::{
    Basis, Comparison, Estimate, Family, Figure, Form, Mean, Part, Reason, SIGNED_UNIT, sample,
};
use crate::{Cell, Groups, Settings, Share, Tally};

/// Conditional demographic parity in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &[MetricEntry {
    id: "conditional_demographic_parity_difference",
    aliases: &["conditional_statistical_parity_difference"],
    needs: &[Need::Decision, Need::Stratum],
    definition: "difference of selection rates within strata, averaged over them by their size; the headline is the farthest pair, unsigned",
    sign: "positive: the first group is favoured",
    source: "Kamiran et al. 2013; Corbett-Davies et al. 2017, arXiv:1701.08230",
    ideal: Ideal::Zero,
    run: Run::Groups(standardised),
}];

fn standardised(
    entry: &'static MetricEntry,
    groups: &Groups<'_>,
    settings: &Settings,
) -> Vec<Figure> {
    let cells = cells(groups);
    let small = (0..groups.groups().len())
        .filter(|at| groups.share(*at) < settings.min_share)
        .filter_map(|at| too_few(groups, at, groups.groups()[at].cell.all().n, settings));
    let blank = blank(entry, groups, small.collect::<Vec<_>>());
    let names: Vec<&str> = groups.groups().iter().map(|g| g.name.as_str()).collect();
    let mut all = Vec::new();
    let mut farthest: Option<Figure> = None;
    let mut parts = Vec::new();
    // With many groups the pairs are too many to list; the headline covers all of them.
    let listed = names.len() <= settings.detail_groups;
    let large = |at: &usize| groups.share(*at) >= settings.min_share;
    let counted: Vec<usize> = (0..names.len()).filter(large).collect();
    for (place, a) in counted.iter().copied().enumerate() {
        for b in counted[place + 1..].iter().copied() {
            let pair = vec![names[a].to_owned(), names[b].to_owned()];
            let figure = match difference(&cells, a, b, settings) {
                Ok((mean, n)) => {
                    let part = Part {
                        group: None,
                        name: format!("{} less {}", pair[0], pair[1]),
                        estimate: Estimate::Mean(mean),
                    };
                    parts.push(part.clone());
                    Figure {
                        comparison: Comparison::Pair,
                        value: Ok(part.value()),
                        n: n.to_vec(),
                        basis: basis(entry.id, Form::Plain, vec![part]),
                        groups: pair,
                        ..blank.clone()
                    }
                }
                Err(reason) => Figure {
                    comparison: Comparison::Pair,
                    value: Err(reason),
                    groups: pair,
                    ..blank.clone()
                },
            };
            let size = |f: &Figure| f.value().map_or(-1.0, f64::abs);
            if figure.value.is_ok() && farthest.as_ref().is_none_or(|f| size(&figure) > size(f)) {
                farthest = Some(figure.clone());
            }
            if listed {
                all.push(figure);
            }
        }
    }
    all.push(match farthest {
        Some(figure) => Figure {
            comparison: Comparison::Between,
            value: figure.value.map(f64::abs),
            basis: basis(entry.id, Form::Distance, parts),
            ..figure
        },
        None => Figure {
            comparison: Comparison::Between,
            value: Err(Reason::Undefined(
                "no stratum has members enough of two groups",
            )),
            ..blank
        },
    });
    all
}

fn basis(rate: &'static str, form: Form, parts: Vec<Part>) -> Basis {
    Basis::of(form, Family::among(rate, parts))
}

fn difference(
    cells: &[Vec<Cell>],
    a: usize,
    b: usize,
    settings: &Settings,
) -> Result<(Mean, [u64; 2]), Reason> {
    let rate = |c: &Cell| Share {
        numerator: c.favourable(),
        denominator: c.all(),
    };
    let (mut sum, mut variance, mut samples) = (0.0, 0.0, Vec::new());
    let (mut of_a, mut of_b) = (Tally::default(), Tally::default());
    for stratum in cells {
        let (x, y) = (rate(&stratum[a]), rate(&stratum[b]));
        let enough = |s: &Share| s.denominator.n >= settings.min_n.max(1);
        if let (Some(p), Some(q)) = (x.value(), y.value())
            && enough(&x)
            && enough(&y)
        {
            let weight = x.denominator.weight + y.denominator.weight;
            sum += weight * (p - q);
            variance += weight.powi(2)
                * (p * (1.0 - p) / x.denominator.effective()
                    + q * (1.0 - q) / y.denominator.effective());
            samples.extend(sample(weight, x).into_iter().chain(sample(-weight, y)));
            of_a = of_a + x.denominator;
            of_b = of_b + y.denominator;
        }
    }
    let all = of_a + of_b;
    if all.n == 0 {
        return Err(Reason::Undefined(
            "no stratum has members enough of both groups",
        ));
    }
    for sample in &mut samples {
        sample.factor /= all.weight;
    }
    let mean = Mean {
        value: sum / all.weight,
        variance: Some(variance / all.weight.powi(2)),
        denominator: all,
        range: SIGNED_UNIT,
        samples,
    };
    Ok((mean, [of_a.n, of_b.n]))
}
