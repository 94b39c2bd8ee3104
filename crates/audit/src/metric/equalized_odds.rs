//! Equalized odds: true- and false-positive rates together.
//!
//! # Idea
//! Decisions should depend on the group only through the label: both rates should be equal across groups.
//!
//! # Maths
//! With `d(r)` the largest minus the smallest of rate `r` over the groups: `equalized_odds_difference` is
//! `max(d(TPR), d(FPR))`, `average_odds_difference` their mean; `equalized_odds_ratio` is the smaller of the two ratios
//! smallest over largest, `average_odds_ratio` their mean. With a reference: `average_odds_difference_to_reference` is
//! `((FPR(a) - FPR(r)) + (TPR(a) - TPR(r))) / 2`, signed; the headline is the farthest, unsigned.
//!
//! # Reference
//! Hardt, Price and Srebro, "Equality of Opportunity in Supervised Learning", NIPS 2016; Bellamy et al., "AI Fairness
//! 360", arXiv:1810.01943 (average odds).
//!
//! # Divergences
//! Not estimable if either rate is not estimable for two groups; fairlearn sets the true-positive rate of a group
//! without positives to 0, which can make the difference 1. The two rates may have different extreme groups; the figure
//! names those of the rate that decides it. AIF360's `average_odds_difference` is the one to the reference.
//!
//! # Cost
//! One pass over the rows.
//!
//! # When it fails
//! As for the two rates. The mean of signed differences cancels if a group has more of both kinds of error.
//!
//! # Example
//! ```
//! use proofmark_audit::{Columns, Groups, Settings, metric};
//! let table = Columns::new("t")
//!     .decision([true, true, false, false, true, false, false, false])
//!     .label([true, false, true, false, true, true, false, false])
//!     .attribute("sex", ["f", "f", "f", "f", "m", "m", "m", "m"])
//!     .build()?;
//! let mut settings = Settings::default();
//! settings.min_n = 1;
//! let groups = Groups::new(&table, &[0], &settings)?;
//! let figures = metric::find("equalized_odds_difference")?.figures(&groups, &settings);
//! assert_eq!(figures[0].value(), Some(0.5));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::contrast::{between, blank};
use super::{Ideal, MetricEntry, Need, Run, false_positive_rate, true_positive_rate};
use crate::figure::{Basis, Combine, Comparison, Family, Figure, Form, Part};
use crate::{Groups, Reason, Settings};

const NEEDS: &[Need] = &[Need::Decision, Need::Label];
const HARDT: &str = "Hardt et al. 2016, arXiv:1610.02413";
const BELLAMY: &str = "Bellamy et al. 2018, arXiv:1810.01943";

/// Equalized odds in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &[
    MetricEntry {
        id: "equalized_odds_difference",
        aliases: &[],
        needs: NEEDS,
        definition: "the larger of tpr_difference and fpr_difference",
        sign: "never negative",
        source: HARDT,
        ideal: Ideal::Zero,
        run: Run::Groups(|e, g, s| vec![both(e, Form::Difference, Combine::Largest, g, s)]),
    },
    MetricEntry {
        id: "equalized_odds_ratio",
        aliases: &[],
        needs: NEEDS,
        definition: "the smaller of tpr_ratio and fpr_ratio",
        sign: "at most 1",
        source: HARDT,
        ideal: Ideal::One,
        run: Run::Groups(|e, g, s| vec![both(e, Form::Ratio, Combine::Smallest, g, s)]),
    },
    MetricEntry {
        id: "average_odds_difference",
        aliases: &["equalized_odds_difference_mean"],
        needs: NEEDS,
        definition: "the mean of tpr_difference and fpr_difference",
        sign: "never negative",
        source: BELLAMY,
        ideal: Ideal::Zero,
        run: Run::Groups(|e, g, s| vec![both(e, Form::Difference, Combine::Mean, g, s)]),
    },
    MetricEntry {
        id: "average_odds_ratio",
        aliases: &["equalized_odds_ratio_mean"],
        needs: NEEDS,
        definition: "the mean of tpr_ratio and fpr_ratio",
        sign: "at most 1",
        source: BELLAMY,
        ideal: Ideal::One,
        run: Run::Groups(|e, g, s| vec![both(e, Form::Ratio, Combine::Mean, g, s)]),
    },
    MetricEntry {
        id: "average_odds_difference_to_reference",
        aliases: &[],
        needs: NEEDS,
        definition: "the mean of tpr and fpr of the group less those of the reference; the headline is the farthest, unsigned",
        sign: "positive: the group has more favourable decisions than the reference at the same label",
        source: BELLAMY,
        ideal: Ideal::Zero,
        run: Run::Groups(to_reference),
    },
];

fn both(
    entry: &'static MetricEntry,
    form: Form,
    combine: Combine,
    groups: &Groups<'_>,
    settings: &Settings,
) -> Figure {
    let rates = [
        &true_positive_rate::STATISTIC,
        &false_positive_rate::STATISTIC,
    ];
    let [tpr, fpr] = rates.map(|rate| {
        let parts = rate.parts(groups, settings);
        let blank = blank(entry, groups, parts.left_out.clone());
        between(rate.id, form, parts, blank)
    });
    let mut left_out = tpr.left_out.to_vec();
    for left in fpr.left_out.iter() {
        if left_out.iter().all(|l| l.group != left.group) {
            left_out.push(left.clone());
        }
    }
    let values = match (&tpr.value, &fpr.value) {
        (Ok(a), Ok(b)) => Ok((*a, *b)),
        (Err(e), _) | (_, Err(e)) => Err(e.clone()),
    };
    let value = values.clone().map(|(a, b)| match combine {
        Combine::Largest => a.max(b),
        Combine::Smallest => a.min(b),
        Combine::Mean => f64::midpoint(a, b),
    });
    let decides = match values {
        Ok((a, b)) if combine == Combine::Largest && b > a => &fpr,
        Ok((a, b)) if combine == Combine::Smallest && b < a => &fpr,
        _ => &tpr,
    };
    let families = [&tpr, &fpr].map(|f| f.basis.families.clone()).concat();
    Figure {
        value,
        comparison: Comparison::Between,
        groups: if combine == Combine::Mean {
            Vec::new()
        } else {
            decides.groups.clone()
        },
        n: if combine == Combine::Mean {
            Vec::new()
        } else {
            decides.n.clone()
        },
        basis: Basis {
            form,
            combine,
            families,
        },
        ..blank(entry, groups, left_out)
    }
}

fn to_reference(
    entry: &'static MetricEntry,
    groups: &Groups<'_>,
    settings: &Settings,
) -> Vec<Figure> {
    let Some(reference) = groups.reference() else {
        return Vec::new();
    };
    let rates = [
        &true_positive_rate::STATISTIC,
        &false_positive_rate::STATISTIC,
    ];
    let [tpr, fpr] = rates.map(|rate| rate.parts(groups, settings));
    let mut left_out = tpr.left_out.to_vec();
    for left in fpr.left_out.iter() {
        if left_out.iter().all(|l| l.group != left.group) {
            left_out.push(left.clone());
        }
    }
    let blank = blank(entry, groups, left_out);
    let of = |parts: &[Part], at: usize| parts.iter().find(|p| p.group == Some(at)).cloned();
    let (Some(t0), Some(f0)) = (of(&tpr.known, reference), of(&fpr.known, reference)) else {
        return vec![Figure {
            comparison: Comparison::MostToReference,
            value: Err(Reason::NothingToCompareWith),
            ..blank
        }];
    };
    let others: Vec<(Part, Part)> = (0..groups.groups().len())
        .filter(|at| *at != reference)
        .filter_map(|at| of(&tpr.known, at).zip(of(&fpr.known, at)))
        .collect();
    let signed =
        |(t, f): &(Part, Part)| f64::midpoint(t.value() - t0.value(), f.value() - f0.value());
    let figure = |comparison, form, of: &[(Part, Part)], name: &(Part, Part), value| Figure {
        comparison,
        groups: vec![name.0.name.clone(), t0.name.clone()],
        value: Ok(value),
        n: [&name.0, &t0].map(|p| p.estimate.denominator().n).to_vec(),
        basis: Basis {
            form,
            combine: Combine::Mean,
            families: vec![
                Family {
                    rate: true_positive_rate::STATISTIC.id,
                    parts: of.iter().map(|o| o.0.clone()).collect(),
                    against: Some(t0.clone()),
                },
                Family {
                    rate: false_positive_rate::STATISTIC.id,
                    parts: of.iter().map(|o| o.1.clone()).collect(),
                    against: Some(f0.clone()),
                },
            ],
        },
        ..blank.clone()
    };
    let mut all: Vec<Figure> = others
        .iter()
        .map(|o| {
            let one = std::slice::from_ref(o);
            figure(
                Comparison::GroupToReference,
                Form::Difference,
                one,
                o,
                signed(o),
            )
        })
        .collect();
    let far = others.iter().reduce(|a, b| {
        if signed(b).abs() > signed(a).abs() {
            b
        } else {
            a
        }
    });
    all.push(match far {
        Some(far) => {
            let value = signed(far).abs();
            figure(
                Comparison::MostToReference,
                Form::Distance,
                &others,
                far,
                value,
            )
        }
        None => Figure {
            comparison: Comparison::MostToReference,
            value: Err(Reason::NoTwoGroups { left: 0 }),
            ..blank
        },
    });
    all
}
