//! Mantel–Haenszel odds ratio: one odds ratio of favourable decisions over all strata.
//!
//! # Idea
//! If within every stratum the odds of a group are the same multiple of the odds of the reference, this ratio estimates
//! that multiple, and does so well even if each stratum is small.
//!
//! # Maths
//! With `A, B` the favourable and unfavourable decisions of the group in stratum `s`, `C, D` those of the reference and
//! `n` the sum of all four: `OR = sum(A D / n) / sum(B C / n)`. The variance of `ln OR` is that of Robins, Breslow and
//! Greenland. Its limits are Student's, with Satterthwaite's degrees of freedom, since the variance is estimated from
//! few counts. The reference is the one named, else the largest group. The headline is the group farthest from 1,
//! inverted if above 1.
//!
//! # Reference
//! Mantel and Haenszel, JNCI 1959; Robins, Breslow and Greenland, Biometrics 1986; Satterthwaite, Biometrics Bulletin 1946.
//!
//! # Divergences
//! Weights are scaled so that they sum to their effective sample size.
//!
//! # Cost
//! One pass over the rows; groups times strata.
//!
//! # When it fails
//! If odds ratios differ between strata, there is no common one. An odds ratio is not a ratio of rates: at high rates
//! the two are far apart.
//!
//! # Example
//! ```
//! use proofmark_audit::{Columns, Groups, Settings, metric};
//! let table = Columns::new("t")
//!     .decision([true, false, false, true, true, false])
//!     .attribute("sex", ["f", "f", "f", "m", "m", "m"])
//!     .stratum("s", ["a", "a", "a", "a", "a", "a"])
//!     .build()?;
//! let mut settings = Settings::default();
//! settings.min_n = 1;
//! let groups = Groups::new(&table, &[0], &settings)?;
//! let figures = metric::find("mantel_haenszel_odds_ratio")?.figures(&groups, &settings);
//! assert_eq!((figures[0].groups.clone(), figures[0].value()), (vec!["m".into(), "f".into()], Some(4.0)));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::contrast::{blank, closeness, too_few};
use super::strata::cells;
use super::{Ideal, MetricEntry, Need, Run};
use crate::figure::{
    Basis, Comparison, Estimate, Family, Figure, Form, LINE, LeftOut, Mean, Part, Reason,
};
use crate::{Cell, Groups, Settings, Tally};

/// The Mantel–Haenszel odds ratio in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &[MetricEntry {
    id: "mantel_haenszel_odds_ratio",
    aliases: &["mantel_haenszel"],
    needs: &[Need::Decision, Need::Stratum],
    definition: "common odds ratio over strata of favourable decisions, group to reference (else to the largest group); the headline is the farthest from 1, inverted if above it",
    sign: "above 1: the group has better odds than the reference",
    source: "Mantel and Haenszel 1959; Robins et al. 1986",
    ideal: Ideal::One,
    run: Run::Groups(odds),
}];

fn odds(entry: &'static MetricEntry, groups: &Groups<'_>, settings: &Settings) -> Vec<Figure> {
    let cells = cells(groups);
    let all = groups.groups();
    let size = |g: usize| all[g].cell.all().n;
    let largest = (0..all.len()).reduce(|a, b| if size(b) > size(a) { b } else { a });
    let Some(reference) = groups.reference().or(largest) else {
        return Vec::new();
    };
    let (mut left_out, mut parts) = (Vec::<LeftOut>::new(), Vec::new());
    for (at, group) in all.iter().enumerate().filter(|g| g.0 != reference) {
        let n = group.cell.all().n;
        if let Some(left) = too_few(groups, at, n, settings) {
            left_out.push(left);
            continue;
        }
        match common(&cells, at, reference) {
            Ok(mean) => parts.push(Part {
                group: Some(at),
                name: group.name.clone(),
                estimate: Estimate::Normal(mean),
            }),
            Err(reason) => left_out.push(LeftOut {
                group: group.name.clone(),
                persons: n,
                reason,
            }),
        }
    }
    let blank = blank(entry, groups, left_out);
    let value = |p: &Part| p.value().exp();
    let figure = |comparison, form, parts: Vec<Part>, of: &Part, value| Figure {
        comparison,
        groups: vec![of.name.clone(), all[reference].name.clone()],
        value: Ok(value),
        n: vec![of.group.map_or(0, size), size(reference)],
        basis: Basis::of(form, Family::among(entry.id, parts)),
        ..blank.clone()
    };
    let mut figures: Vec<Figure> = parts
        .iter()
        .map(|p| {
            let one = vec![p.clone()];
            figure(
                Comparison::GroupToReference,
                Form::Exponential,
                one,
                p,
                value(p),
            )
        })
        .collect();
    let far = parts.iter().reduce(|a, b| {
        if b.value().abs() > a.value().abs() {
            b
        } else {
            a
        }
    });
    figures.push(match far {
        Some(far) => {
            let form = Form::ExponentialCloseness;
            figure(
                Comparison::MostToReference,
                form,
                parts.clone(),
                far,
                closeness(value(far)),
            )
        }
        None => Figure {
            comparison: Comparison::MostToReference,
            value: Err(Reason::NoTwoGroups { left: 0 }),
            ..blank.clone()
        },
    });
    figures
}

/// Returns the logarithm of the common odds ratio, and its variance.
fn common(cells: &[Vec<Cell>], group: usize, reference: usize) -> Result<Mean, Reason> {
    let pairs = || cells.iter().map(|s| (&s[group], &s[reference]));
    let all = pairs().fold(Tally::default(), |t, (x, y)| t + x.all() + y.all());
    if all.n == 0 {
        return Err(Reason::TooFew { n: 0, min_n: 1 });
    }
    let scale = all.effective() / all.weight;
    let (mut r, mut s) = (0.0, 0.0);
    let (mut pr, mut mixed, mut qs) = (0.0, 0.0, 0.0);
    let mut counts = [0.0; 4];
    for (x, y) in pairs() {
        let [a, b, c, d] = [
            x.favourable(),
            x.unfavourable(),
            y.favourable(),
            y.unfavourable(),
        ]
        .map(|t| t.weight * scale);
        let n = a + b + c + d;
        if n == 0.0 {
            continue;
        }
        for (count, own) in counts.iter_mut().zip([a, b, c, d]) {
            *count += own;
        }
        let (ri, si) = (a * d / n, b * c / n);
        let (p, q) = ((a + d) / n, (b + c) / n);
        r += ri;
        s += si;
        pr += p * ri;
        mixed += p * si + q * ri;
        qs += q * si;
    }
    if r == 0.0 || s == 0.0 {
        return Err(Reason::Undefined(
            "no stratum has favourable and unfavourable decisions across both groups",
        ));
    }
    Ok(Mean {
        value: (r / s).ln(),
        variance: Some(pr / (2.0 * r * r) + mixed / (2.0 * r * s) + qs / (2.0 * s * s)),
        denominator: Tally {
            square: all.weight.powi(2) / (1.0 + freedom(counts).min(all.effective())),
            ..all
        },
        range: LINE,
        samples: Vec::new(),
    })
}

/// Returns Satterthwaite's degrees of freedom for the variance of a log odds ratio, a sum of reciprocals of counts. A
/// single count of 2 has four: its reciprocal is known as well as a variance from four normal variables.
fn freedom(counts: [f64; 4]) -> f64 {
    let sum = |power: i32| counts.iter().map(|c| c.recip().powi(power)).sum::<f64>();
    2.0 * sum(1).powi(2) / sum(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(favourable: u32, unfavourable: u32) -> Cell {
        let mut cell = Cell::default();
        (0..favourable).for_each(|_| cell.count(true, false, 1.0));
        (0..unfavourable).for_each(|_| cell.count(false, false, 1.0));
        cell
    }

    /// One stratum: the variance is the sum of the reciprocals of the four counts.
    #[test]
    fn one_stratum_is_the_plain_odds_ratio() {
        let cells = [vec![cell(3, 5), cell(7, 11)]];
        let mean = common(&cells, 0, 1).expect("defined");
        assert!((mean.value - (33.0_f64 / 35.0).ln()).abs() < 1e-14);
        let reciprocals = 1.0 / 3.0 + 1.0 / 5.0 + 1.0 / 7.0 + 1.0 / 11.0;
        assert!((mean.variance.expect("defined") - reciprocals).abs() < 1e-14);
    }

    /// By hand: counts 2, 4, 4, 4 give `2 (5/4)^2 / (1/8 + 3/64)`; a count far below the others has twice as many
    /// degrees of freedom as its value.
    #[test]
    fn few_counts_have_few_degrees_of_freedom() {
        let by_hand = 2.0 * 1.25_f64.powi(2) / (1.0 / 8.0 + 3.0 / 64.0);
        assert!((freedom([2.0, 4.0, 4.0, 4.0]) - by_hand).abs() < 1e-12);
        assert!((freedom([3.0, 1e9, 1e9, 1e9]) - 6.0).abs() < 1e-6);
        let mean = common(&[vec![cell(1, 19), cell(10, 1990)]], 0, 1).expect("defined");
        let effective = mean.denominator.effective();
        assert!((2.0..5.0).contains(&effective), "{effective}");
        let many = common(&[vec![cell(9000, 9000), cell(9000, 9000)]], 0, 1).expect("defined");
        assert!(many.denominator.effective() > 10_000.0);
    }

    /// Doubling every stratum halves the variance and keeps the ratio.
    #[test]
    fn strata_add_up() {
        let one = vec![vec![cell(3, 5), cell(7, 11)], vec![cell(2, 9), cell(4, 4)]];
        let two: Vec<_> = one.iter().chain(&one).cloned().collect();
        let (one, two) = (
            common(&one, 0, 1).expect("defined"),
            common(&two, 0, 1).expect("defined"),
        );
        assert!((one.value - two.value).abs() < 1e-14);
        let halves = one.variance.zip(two.variance).map(|(a, b)| a - 2.0 * b);
        assert!(halves.is_some_and(|h| h.abs() < 1e-14));
        assert!(common(&[vec![cell(1, 0), cell(1, 0)]], 0, 1).is_err());
    }
}
