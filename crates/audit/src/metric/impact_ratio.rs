//! Impact ratio: a group's rate over the highest rate of any group.
//!
//! # Idea
//! The four-fifths rule: a selection rate below 80 % of the highest is taken as evidence of adverse impact.
//!
//! # Maths
//! `rate(a) / max_b rate(b)`, of selection rates (`impact_ratio`) or of scoring rates (`scoring_impact_ratio`). The
//! headline is the smallest.
//!
//! # Reference
//! Uniform Guidelines on Employee Selection Procedures, 29 CFR 1607.4(D), 1978; 6 RCNY 5-301 (NYC Local Law 144).
//!
//! # Divergences
//! Not estimable if the highest rate is 0; other tools print 0 or 1.
//!
//! # Cost
//! One pass over the rows.
//!
//! # When it fails
//! With small groups it is mostly noise: with two truly equal groups of 30 at a rate of 0.3, more than half of all
//! audits see a ratio below four fifths. The highest group is picked from the data, so an interval for a fixed pair is
//! too short.
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
//! let figures = metric::find("impact_ratio")?.figures(&groups, &settings);
//! assert_eq!(figures.last().map(|f| (f.groups.clone(), f.value())), Some((vec!["m".into(), "f".into()], Some(0.5))));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::contrast::{between, blank, extremes, quotient};
use super::{Ideal, MetricEntry, Need, Run, Statistic, scoring_rate, selection_rate};
use crate::figure::{Basis, Comparison, Family, Figure, Form};
use crate::{Groups, Settings};

/// Impact ratios in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &[
    MetricEntry {
        id: "impact_ratio",
        aliases: &["adverse_impact_ratio"],
        needs: &[Need::Decision],
        definition: "selection rate / highest selection rate of any group; the headline is the smallest",
        sign: "at most 1; below 0.8 the four-fifths rule sees adverse impact",
        source: "29 CFR 1607.4(D); 6 RCNY 5-301 (NYC Local Law 144)",
        ideal: Ideal::One,
        run: Run::Groups(|entry, groups, settings| {
            to_highest(entry, &selection_rate::STATISTIC, groups, settings)
        }),
    },
    MetricEntry {
        id: "scoring_impact_ratio",
        aliases: &[],
        needs: &[Need::Score],
        definition: "scoring rate / highest scoring rate of any group; the headline is the smallest",
        sign: "at most 1; below 0.8 the four-fifths rule sees adverse impact",
        source: "6 RCNY 5-301 (NYC Local Law 144)",
        ideal: Ideal::One,
        run: Run::Groups(|entry, groups, settings| {
            to_highest(entry, &scoring_rate::STATISTIC, groups, settings)
        }),
    },
];

fn to_highest(
    entry: &'static MetricEntry,
    statistic: &Statistic,
    groups: &Groups<'_>,
    settings: &Settings,
) -> Vec<Figure> {
    let parts = statistic.parts(groups, settings);
    let blank = blank(entry, groups, parts.left_out.clone());
    let mut all = Vec::new();
    if let Some((highest, _)) = extremes(&parts.known).filter(|_| parts.known.len() > 1) {
        let listed = groups.groups().len() <= settings.detail_groups;
        for part in parts.known.iter().filter(|_| listed) {
            all.push(Figure {
                comparison: Comparison::GroupToHighest,
                groups: vec![part.name.clone(), highest.name.clone()],
                value: quotient(part.value(), highest.value()),
                n: [part, highest].map(|p| p.estimate.denominator().n).to_vec(),
                basis: Basis::of(
                    Form::Ratio,
                    Family {
                        rate: statistic.id,
                        parts: vec![part.clone()],
                        against: Some(highest.clone()),
                    },
                ),
                ..blank.clone()
            });
        }
    }
    all.push(between(statistic.id, Form::Ratio, parts, blank));
    all
}
