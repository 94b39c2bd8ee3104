//! Shortfall: how many more members of a group would have been selected at the overall rate.
//!
//! # Idea
//! A gap in people rather than in percent: what courts and agencies ask for after a significant difference.
//!
//! # Maths
//! `n(a) P(Ŷ = 1) - #{Ŷ = 1, A = a}`: expected less actual favourable decisions, where the expected ones use the rate
//! of all groups together. Weighted if the table has weights. The headline is the largest shortfall.
//!
//! # Reference
//! OFCCP, Federal Contract Compliance Manual (shortfall); Gastwirth, "Statistical Reasoning in Law and Public Policy",
//! 1988.
//!
//! # Divergences
//! None. People of unknown group and groups left out by `min_n` have no shortfall; people of a known group still count
//! towards the overall rate.
//!
//! # Cost
//! One pass over the rows.
//!
//! # When it fails
//! It grows with the size of the table, not only with the gap: read it next to a rate difference.
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
//! let figures = metric::find("selection_shortfall")?.figures(&groups, &settings);
//! assert_eq!((figures[0].value(), figures[1].value()), (Some(-0.5), Some(0.5)));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::contrast::blank;
use super::{Ideal, MetricEntry, Need, Run, selection_rate};
use crate::figure::{Basis, Comparison, Family, Figure, Form, Part};
use crate::{Groups, Reason, Settings};

/// The shortfall in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &[MetricEntry {
    id: "selection_shortfall",
    aliases: &["shortfall"],
    needs: &[Need::Decision],
    definition: "favourable decisions the group would have at the rate of all, less those it has; the headline is the largest",
    sign: "positive: so many persons of the group went without",
    source: "OFCCP Federal Contract Compliance Manual; Gastwirth 1988",
    ideal: Ideal::Zero,
    run: Run::Groups(shortfall),
}];

fn shortfall(entry: &'static MetricEntry, groups: &Groups<'_>, settings: &Settings) -> Vec<Figure> {
    let parts = selection_rate::STATISTIC.parts(groups, settings);
    let blank = blank(entry, groups, parts.left_out);
    let Ok(overall) = parts.overall else {
        return vec![Figure {
            comparison: Comparison::MostToOverall,
            ..blank
        }];
    };
    let value = |p: &Part| p.estimate.denominator().weight * (overall.value() - p.value());
    let figure = |comparison, parts: Vec<Part>, of: &Part| Figure {
        comparison,
        groups: vec![of.name.clone(), overall.name.clone()],
        value: Ok(value(of)),
        n: [of, &overall].map(|p| p.estimate.denominator().n).to_vec(),
        basis: Basis::of(
            Form::Persons,
            Family {
                rate: selection_rate::STATISTIC.id,
                parts,
                against: Some(overall.clone()),
            },
        ),
        ..blank.clone()
    };
    let parts = parts.known;
    let mut all: Vec<Figure> = parts
        .iter()
        .map(|p| figure(Comparison::GroupToOverall, vec![p.clone()], p))
        .collect();
    let most = parts
        .iter()
        .reduce(|a, b| if value(b) > value(a) { b } else { a });
    all.push(match most {
        Some(most) => figure(Comparison::MostToOverall, parts.clone(), most),
        None => Figure {
            comparison: Comparison::MostToOverall,
            value: Err(Reason::NoTwoGroups { left: 0 }),
            ..blank
        },
    });
    all
}
