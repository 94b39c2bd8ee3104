//! Counterfactual flips: whether decisions change when only the group changes.
//!
//! # Idea
//! The same individual occurs once per variant (a name, a pronoun, a value of the attribute): decisions that differ are
//! due to the group. The table contains the pairs; whoever ran the model made them.
//!
//! # Maths
//! For two variants `u` and `v`, over the ids that have both: `counterfactual_flip_rate` is the share of ids whose
//! decisions differ; its headline is the share of ids whose variants do not all agree. `counterfactual_gap` is
//! `P(Ŷ_u = 1) - P(Ŷ_v = 1)` over the same ids, with `McNemar`'s variance; the headline is the farthest pair, unsigned.
//! `counterfactual_score_shift` is the mean of `|S_u - S_v|`; its headline is the mean of the largest minus the
//! smallest score.
//!
//! # Reference
//! Kusner et al., "Counterfactual Fairness", NIPS 2017; Garg et al., "Counterfactual Fairness in Text Classification
//! through Robustness", AIES 2019; `McNemar`, Psychometrika 1947.
//!
//! # Divergences
//! Flipping a column is not a counterfactual in the causal sense of Kusner et al.: effects of the group on other
//! columns stay unchanged. An id has the weight of the first of its rows.
//!
//! # Cost
//! One pass over the rows, and pairs of variants.
//!
//! # When it fails
//! Flips in both directions cancel in the gap but not in the rate. A model that never sees the attribute flips nothing,
//! and can still be unfair through correlated features.
//!
//! # Example
//! ```
//! use proofmark_audit::{Columns, Settings, metric};
//! let table = Columns::new("t")
//!     .decision([true, false, true, true, false, false])
//!     .id(["1", "1", "2", "2", "3", "3"])
//!     .variant("sex", ["f", "m", "f", "m", "f", "m"])
//!     .build()?;
//! let mut settings = Settings::default();
//! settings.min_n = 1;
//! let figures = metric::find("counterfactual_flip_rate")?.table_figures(&table, &settings);
//! assert_eq!((figures[0].groups.clone(), figures[0].value()), (vec!["f".into(), "m".into()], Some(1.0 / 3.0)));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use std::sync::Arc;

use super::{Ideal, MetricEntry, Need, Run};
use crate::figure::{
    Basis, Comparison, Estimate, Family, Figure, Form, Part, Reason, SIGNED_UNIT, mean,
};
use crate::{Coded, Settings, Share, Table, UNKNOWN};

const SOURCE: &str = "Kusner et al. 2017, arXiv:1703.06856; Garg et al. 2019, arXiv:1809.10610";

/// Counterfactual flips in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &[
    MetricEntry {
        id: "counterfactual_flip_rate",
        aliases: &["counterfactual_flips"],
        needs: &[Need::Decision, Need::Pairs],
        definition: "ids whose decisions differ between two variants / ids that have both; the headline is over all variants",
        sign: "never negative",
        source: SOURCE,
        ideal: Ideal::Zero,
        run: Run::Table(|entry, table, settings| flips(entry, table, settings, rate)),
    },
    MetricEntry {
        id: "counterfactual_gap",
        aliases: &[],
        needs: &[Need::Decision, Need::Pairs],
        definition: "selection rate of one variant less that of the other over the ids that have both; the headline is the farthest pair, unsigned",
        sign: "positive: the first variant is favoured",
        source: "McNemar 1947; Kusner et al. 2017, arXiv:1703.06856",
        ideal: Ideal::Zero,
        run: Run::Table(gaps),
    },
    MetricEntry {
        id: "counterfactual_score_shift",
        aliases: &[],
        needs: &[Need::Score, Need::Pairs],
        definition: "mean absolute difference of scores between two variants; the headline is the mean range over all variants",
        sign: "never negative",
        source: SOURCE,
        ideal: Ideal::Zero,
        run: Run::Table(|entry, table, settings| flips(entry, table, settings, shift)),
    },
];

/// Rows of every id, by variant.
struct Pairs<'a> {
    variant: &'a Coded,
    /// Per id, one row per variant; `UNKNOWN` if it is missing.
    rows: Vec<u32>,
}

impl<'a> Pairs<'a> {
    fn new(table: &'a Table) -> Option<Self> {
        let (id, variant) = (table.id()?, table.variant()?);
        let mut rows = vec![UNKNOWN; id.levels().len() * variant.levels().len()];
        for (row, (i, v)) in id.codes().iter().zip(variant.codes()).enumerate() {
            if *i != UNKNOWN && *v != UNKNOWN && table.weight(row) > 0.0 {
                rows[*i as usize * variant.levels().len() + *v as usize] = row as u32;
            }
        }
        Some(Self { variant, rows })
    }

    /// Iterates over the ids that have at least two of the variants, as the rows of those variants.
    fn ids(&self) -> impl Iterator<Item = Vec<usize>> + '_ {
        self.rows
            .chunks(self.variant.levels().len().max(1))
            .map(|id| {
                id.iter()
                    .filter(|r| **r != UNKNOWN)
                    .map(|r| *r as usize)
                    .collect::<Vec<_>>()
            })
            .filter(|rows| rows.len() > 1)
    }

    /// Iterates over the ids that have both variants, as their two rows.
    fn both(&self, u: usize, v: usize) -> impl Iterator<Item = Vec<usize>> + '_ {
        self.rows
            .chunks(self.variant.levels().len().max(1))
            .map(move |id| [id[u], id[v]])
            .filter(|rows| !rows.contains(&UNKNOWN))
            .map(|rows| rows.map(|r| r as usize).to_vec())
    }
}

fn blank(entry: &'static MetricEntry, table: &Table) -> Figure {
    Figure {
        metric: entry.id,
        attribute: table
            .variant()
            .map_or_else(String::new, |v| v.name().to_owned()),
        comparison: Comparison::Whole,
        groups: Vec::new(),
        value: Err(Reason::TooFew { n: 0, min_n: 1 }),
        n: Vec::new(),
        basis: Basis::nothing(),
        left_out: Arc::default(),
        persons_left_out: 0,
        persons: table.id().map_or(0, |i| i.levels().len() as u64),
    }
}

fn filled(blank: &Figure, name: String, estimate: Estimate, settings: &Settings) -> Figure {
    let n = estimate.denominator().n;
    let persons_left_out = blank.persons.saturating_sub(n);
    let value = match estimate.value() {
        Some(value) if n >= settings.min_n.max(1) => Ok(value),
        _ => Err(Reason::TooFew {
            n,
            min_n: settings.min_n.max(1),
        }),
    };
    let family = Family::among(
        blank.metric,
        vec![Part {
            group: None,
            name,
            estimate,
        }],
    );
    Figure {
        n: vec![n],
        basis: if value.is_ok() {
            Basis::of(Form::Plain, family)
        } else {
            Basis::nothing()
        },
        value,
        persons_left_out,
        ..blank.clone()
    }
}

/// Returns the indices and names of every pair of variants.
fn variants(pairs: &Pairs<'_>) -> Vec<(usize, usize, Vec<String>)> {
    let names = pairs.variant.levels();
    let mut all = Vec::new();
    for u in 0..names.len() {
        for v in u + 1..names.len() {
            all.push((u, v, vec![names[u].clone(), names[v].clone()]));
        }
    }
    all
}

type Measure = fn(&Table, &Settings, &mut dyn Iterator<Item = Vec<usize>>) -> Option<Estimate>;

fn flips(
    entry: &'static MetricEntry,
    table: &Table,
    settings: &Settings,
    measure: Measure,
) -> Vec<Figure> {
    let Some(pairs) = Pairs::new(table) else {
        return Vec::new();
    };
    let blank = blank(entry, table);
    let mut all = Vec::new();
    for (u, v, groups) in variants(&pairs) {
        let figure = Figure {
            comparison: Comparison::Pair,
            groups,
            ..blank.clone()
        };
        let name = figure.groups.join(" and ");
        all.push(match measure(table, settings, &mut pairs.both(u, v)) {
            Some(estimate) => filled(&figure, name, estimate, settings),
            None => figure,
        });
    }
    all.push(match measure(table, settings, &mut pairs.ids()) {
        Some(estimate) => filled(&blank, "all variants".to_owned(), estimate, settings),
        None => blank,
    });
    all
}

fn rate(
    table: &Table,
    _: &Settings,
    ids: &mut dyn Iterator<Item = Vec<usize>>,
) -> Option<Estimate> {
    let decision = table.decision()?;
    let mut share = Share::default();
    for rows in ids {
        let weight = table.weight(rows[0]);
        share.denominator.count(weight);
        if rows.iter().any(|r| decision[*r] != decision[rows[0]]) {
            share.numerator.count(weight);
        }
    }
    Some(Estimate::Share(share))
}

fn shift(
    table: &Table,
    settings: &Settings,
    ids: &mut dyn Iterator<Item = Vec<usize>>,
) -> Option<Estimate> {
    let score = table.score()?;
    let ranges: Vec<(f64, f64)> = ids
        .map(|rows| {
            let scores = rows.iter().map(|r| score[*r]);
            let (low, high) = scores.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), s| {
                (l.min(s), h.max(s))
            });
            (high - low, table.weight(rows[0]))
        })
        .collect();
    mean(&ranges, settings.score_distances(table), table.heaviest()).map(Estimate::Mean)
}

fn gaps(entry: &'static MetricEntry, table: &Table, settings: &Settings) -> Vec<Figure> {
    let (Some(pairs), Some(decision)) = (Pairs::new(table), table.decision()) else {
        return Vec::new();
    };
    let blank = blank(entry, table);
    let mut all = Vec::new();
    let mut farthest: Option<Figure> = None;
    let mut parts = Vec::new();
    for (u, v, groups) in variants(&pairs) {
        let figure = Figure {
            comparison: Comparison::Pair,
            groups,
            ..blank.clone()
        };
        let differences: Vec<(f64, f64)> = pairs
            .both(u, v)
            .map(|r| {
                let difference = f64::from(decision[r[0]]) - f64::from(decision[r[1]]);
                (difference, table.weight(r[0]))
            })
            .collect();
        let name = figure.groups.join(" less ");
        let figure = match mean(&differences, SIGNED_UNIT, table.heaviest()) {
            Some(mean) => filled(&figure, name, Estimate::Mean(mean), settings),
            None => figure,
        };
        let size = |f: &Figure| f.value().map_or(-1.0, f64::abs);
        parts.extend(figure.basis.families.iter().flat_map(|f| f.parts.clone()));
        if farthest.as_ref().is_none_or(|f| size(&figure) > size(f)) {
            farthest = Some(figure.clone());
        }
        all.push(figure);
    }
    if let Some(figure) = farthest {
        let family = Family::among(entry.id, parts);
        all.push(Figure {
            comparison: Comparison::Whole,
            basis: if figure.value.is_ok() {
                Basis::of(Form::Distance, family)
            } else {
                Basis::nothing()
            },
            value: figure.value.map(f64::abs),
            ..figure
        });
    }
    all
}
