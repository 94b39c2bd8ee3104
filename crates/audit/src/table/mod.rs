//! Tables of decisions, with columns by role.

mod arrays;
mod binary;
mod coded;
mod csv;
mod field;
mod filter;
mod load;
mod missing;
mod npz;
mod open;
mod options;

pub use arrays::Columns;
pub use coded::{Coded, UNKNOWN};
pub use filter::{Filter, Relation};
pub use missing::{MISSING, Missing};
pub use open::Origin;
pub use options::Options;

use coded::Coder;
pub(crate) use field::Field;
pub(crate) use load::Loader;
pub(crate) use missing::Gaps;

use crate::metric::Need;

use std::collections::HashSet;
use std::sync::OnceLock;

use proofmark_domain::Interval;

/// Outcome of a sample under attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Misclassified without the attack.
    Wrong,
    /// Correct without the attack, and broken by it.
    Broken,
    /// Correct without the attack, and not broken.
    Robust,
}

/// Position of a source row in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Row(u32),
    /// A filter left the row out.
    LeftOut,
}

/// A column of numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbers {
    /// Name of the column.
    pub name: String,
    /// Values, one per row, all finite.
    pub values: Vec<f64>,
}

/// A table with one person or decision per row and columns by role. Invariants: all columns have the same length,
/// numbers are finite, weights are 0 or 1e-30 to 1e30 and not all 0.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    pub(crate) source: String,
    pub(crate) origin: Option<Origin>,
    pub(crate) rows: usize,
    pub(crate) filtered: u64,
    /// Source rows that the table holds, if not all of them; ascending except in resampled tables.
    pub(crate) kept: Option<Vec<u32>>,
    /// Columns in which some row has no value.
    pub(crate) missing: Vec<Missing>,
    /// Rows that lack a value only some metrics need.
    pub(crate) gaps: Gaps,
    /// Suspicious content of the file that is not an error.
    pub(crate) notes: Vec<String>,
    /// Ids of rows that the filters left out, if the table only gives groups.
    pub(crate) dropped: HashSet<String>,
    pub(crate) decision: Option<Vec<bool>>,
    pub(crate) score: Option<Vec<f64>>,
    pub(crate) label: Option<Vec<bool>>,
    pub(crate) target: Option<Vec<f64>>,
    pub(crate) weights: Option<Vec<f64>>,
    pub(crate) attributes: Vec<Coded>,
    pub(crate) stratum: Option<Coded>,
    pub(crate) features: Vec<Numbers>,
    pub(crate) id: Option<Coded>,
    pub(crate) variant: Option<Coded>,
    pub(crate) outcome: Option<Vec<Outcome>>,
    median: OnceLock<Option<f64>>,
    score_ends: OnceLock<Option<Interval>>,
    heaviest: OnceLock<f64>,
}

impl Table {
    /// Returns where the table came from, for messages.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Returns the file it was read from, and how; `None` for a table built from arrays.
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the number of rows that the filters left out.
    pub fn filtered(&self) -> u64 {
        self.filtered
    }

    /// Returns the columns in which some row has no value, and how often.
    pub fn missing(&self) -> &[Missing] {
        &self.missing
    }

    /// Returns notes on suspicious content of the file that is not an error.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Whether a row lacks a decision, label, score, target or feature although the table has that column.
    pub fn lacks(&self, need: Need, row: usize) -> bool {
        self.gaps.lacks(need, row)
    }

    /// Returns the rows that lack none of these needs, as a table and as indices. `None` if no row lacks any.
    pub(crate) fn complete(&self, needs: &[Need]) -> Option<(Self, Vec<u32>)> {
        let lacking = self.gaps.among(needs);
        if lacking.is_empty() {
            return None;
        }
        let whole = |row: &u32| !lacking.iter().any(|n| self.gaps.lacks(*n, *row as usize));
        let rows: Vec<u32> = (0..self.rows as u32).filter(whole).collect();
        Some((self.take(&rows), rows))
    }

    /// Returns the index of a row in its source, before any filter.
    pub fn source_row(&self, row: u32) -> u32 {
        self.kept.as_ref().map_or(row, |k| k[row as usize])
    }

    /// Returns the position of a source row in this table. `None` if the source has no such row.
    pub(crate) fn place(&self, source: u32) -> Option<Place> {
        let met = self.rows as u64 + self.filtered;
        let place = match self.kept.as_ref().map(|k| k.binary_search(&source)) {
            None => Place::Row(source),
            Some(Ok(at)) => Place::Row(at as u32),
            Some(Err(_)) => Place::LeftOut,
        };
        (u64::from(source) < met).then_some(place)
    }

    /// Returns the name of a row: its id, or its index in the source.
    pub fn row_name(&self, row: usize) -> String {
        let id = self.id.as_ref().and_then(|id| id.value(row));
        id.map_or_else(
            || self.source_row(row as u32).to_string(),
            ToOwned::to_owned,
        )
    }

    /// Returns whether each decision is the favourable one.
    pub fn decision(&self) -> Option<&[bool]> {
        self.decision.as_deref()
    }

    /// Returns the scores, greater for more likely positive; for a regression, the predictions.
    pub fn score(&self) -> Option<&[f64]> {
        self.score.as_deref()
    }

    /// Returns whether each true label is the positive one.
    pub fn label(&self) -> Option<&[bool]> {
        self.label.as_deref()
    }

    /// Returns the true values of a regression.
    pub fn target(&self) -> Option<&[f64]> {
        self.target.as_deref()
    }

    /// Returns the weights; if `None`, every row weighs 1.
    pub fn weights(&self) -> Option<&[f64]> {
        self.weights.as_deref()
    }

    /// Returns the weight of a row.
    pub fn weight(&self, row: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |w| w[row])
    }

    /// Returns the largest weight.
    pub(crate) fn heaviest(&self) -> f64 {
        *self.heaviest.get_or_init(|| {
            let weights = self.weights.iter().flatten().copied();
            weights.reduce(f64::max).unwrap_or(1.0)
        })
    }

    /// Returns the sensitive attributes.
    pub fn attributes(&self) -> &[Coded] {
        &self.attributes
    }

    /// Returns the stratum that decisions are conditioned on.
    pub fn stratum(&self) -> Option<&Coded> {
        self.stratum.as_ref()
    }

    /// Returns the features that measure how alike two people are.
    pub fn features(&self) -> &[Numbers] {
        &self.features
    }

    /// Returns the row ids.
    pub fn id(&self) -> Option<&Coded> {
        self.id.as_ref()
    }

    /// Returns the variant of its id that each row is, in a paired table.
    pub fn variant(&self) -> Option<&Coded> {
        self.variant.as_ref()
    }

    /// Returns the outcome of each row under attack.
    pub fn outcome(&self) -> Option<&[Outcome]> {
        self.outcome.as_deref()
    }

    /// Whether every score lies in `[0, 1]`.
    pub fn scores_are_probabilities(&self) -> bool {
        self.score_ends()
            .is_some_and(|ends| ends.low >= 0.0 && ends.high <= 1.0)
    }

    /// Returns the smallest and the largest score.
    pub(crate) fn score_ends(&self) -> Option<Interval> {
        *self.score_ends.get_or_init(|| {
            let point = |v: &f64| Interval { low: *v, high: *v };
            self.score
                .as_ref()?
                .iter()
                .map(point)
                .reduce(|a, b| Interval {
                    low: a.low.min(b.low),
                    high: a.high.max(b.high),
                })
        })
    }

    /// Returns the weighted median of all scores: half of the weight lies below it. If two scores qualify, returns
    /// their midpoint.
    pub fn score_median(&self) -> Option<f64> {
        *self.median.get_or_init(|| {
            let score = self.score.as_ref()?;
            let mut sorted: Vec<(f64, f64)> = score
                .iter()
                .enumerate()
                .map(|(row, s)| (*s, self.weight(row)))
                .filter(|(_, w)| *w > 0.0)
                .collect();
            sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
            let half = sorted.iter().map(|s| s.1).sum::<f64>() / 2.0;
            let mut below = 0.0;
            for (at, (score, weight)) in sorted.iter().enumerate() {
                below += weight;
                if below > half {
                    return Some(*score);
                }
                if below == half {
                    let next = sorted.get(at + 1).map_or(*score, |n| n.0);
                    return Some(f64::midpoint(*score, next));
                }
            }
            None
        })
    }

    /// Returns these rows in this order, repeated if an index repeats, as resampling needs.
    #[must_use]
    pub fn take(&self, rows: &[u32]) -> Self {
        fn pick<T: Copy>(values: Option<&Vec<T>>, rows: &[u32]) -> Option<Vec<T>> {
            values.map(|v| rows.iter().map(|r| v[*r as usize]).collect())
        }
        let coded = |c: &Option<Coded>| c.as_ref().map(|c| c.take(rows));
        Self {
            source: self.source.clone(),
            origin: self.origin.clone(),
            rows: rows.len(),
            filtered: self.filtered,
            kept: Some(rows.iter().map(|r| self.source_row(*r)).collect()),
            dropped: self.dropped.clone(),
            missing: self.missing.clone(),
            gaps: self.gaps.take(rows),
            notes: self.notes.clone(),
            decision: pick(self.decision.as_ref(), rows),
            score: pick(self.score.as_ref(), rows),
            label: pick(self.label.as_ref(), rows),
            target: pick(self.target.as_ref(), rows),
            weights: pick(self.weights.as_ref(), rows),
            attributes: self.attributes.iter().map(|a| a.take(rows)).collect(),
            stratum: coded(&self.stratum),
            features: self
                .features
                .iter()
                .map(|f| Numbers {
                    name: f.name.clone(),
                    values: rows.iter().map(|r| f.values[*r as usize]).collect(),
                })
                .collect(),
            id: coded(&self.id),
            variant: coded(&self.variant),
            outcome: pick(self.outcome.as_ref(), rows),
            median: OnceLock::new(),
            score_ends: OnceLock::new(),
            // Keep the largest weight of the whole table: a further row may weigh as much, even if that row was left
            // out.
            heaviest: self.heaviest().into(),
        }
    }
}
