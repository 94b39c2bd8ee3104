//! Roles of a file's columns.

use proofmark_domain::Delimiter;
use serde::{Deserialize, Serialize};

use super::{Filter, MISSING};
use crate::AuditError;

/// Names the columns of a file by role. A name that occurs several times in the header gets its position among them:
/// `decile_score#1`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Options {
    /// Column names of a file without a header; empty if the first row is the header.
    pub columns: Vec<String>,
    /// Column of decisions.
    pub decision: Option<String>,
    /// Column of scores, greater for more likely positive; for a regression, the predictions.
    pub score: Option<String>,
    /// Decision threshold on the score: at or above it is favourable. Replaces `decision`.
    pub threshold: Option<f64>,
    /// Column of true labels.
    pub label: Option<String>,
    /// Column of true values of a regression.
    pub target: Option<String>,
    /// Column of weights: 0, or 1e-30 to 1e30.
    pub weights: Option<String>,
    /// Columns of sensitive attributes.
    pub groups: Vec<String>,
    /// Columns of the stratum that decisions are conditioned on; several columns are combined.
    pub stratum: Vec<String>,
    /// Numeric columns that measure how alike two people are. In an npz, also the name of an array with two axes.
    pub features: Vec<String>,
    /// Column of row ids.
    pub id: Option<String>,
    /// Column of the variant of its id that a row is; makes a paired table.
    pub variant: Option<String>,
    /// Rows to keep: a row must pass the filters of every filtered column; of several `=` values of a column, one is
    /// enough.
    pub filters: Vec<Filter>,
    /// Numeric attributes (or strata) cut at these values, ascending; a value on a cut belongs above it.
    pub bins: Vec<(String, Vec<f64>)>,
    /// Attributes reduced to one value against all others.
    pub against_rest: Vec<(String, String)>,
    /// Values of `decision` (and of `label`, unless `positive` is given) that count as favourable; default 1, true and
    /// yes.
    pub favourable: Vec<String>,
    /// All other valid values; default any single other value, or 0, -1, false and no.
    pub unfavourable: Vec<String>,
    /// Values of `label` that count as positive, if not those of `favourable`. The label's other values are those of
    /// `unfavourable`, or a single other value.
    pub positive: Vec<String>,
    /// Whether every value that is not favourable is unfavourable, however many there are.
    #[serde(default)]
    pub others_unfavourable: bool,
    /// Markers of a missing value in every column, ignoring case; an empty cell and a NaN are always missing. Default
    /// [`MISSING`].
    pub missing: Vec<String>,
    /// Delimiter of a CSV; default `,`.
    pub delimiter: Delimiter,
    /// Whether the table only gives the groups of an attack report's samples. Samples are matched by `id`, else by a
    /// column named `id`, else by row index.
    #[serde(default)]
    pub groups_only: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            columns: Vec::new(),
            decision: None,
            score: None,
            threshold: None,
            label: None,
            target: None,
            weights: None,
            groups: Vec::new(),
            stratum: Vec::new(),
            features: Vec::new(),
            id: None,
            variant: None,
            filters: Vec::new(),
            bins: Vec::new(),
            against_rest: Vec::new(),
            favourable: Vec::new(),
            unfavourable: Vec::new(),
            positive: Vec::new(),
            others_unfavourable: false,
            missing: MISSING.map(str::to_owned).to_vec(),
            delimiter: Delimiter::COMMA,
            groups_only: false,
        }
    }
}

impl Options {
    /// Refuses contradictory options before a file is opened.
    pub(crate) fn check(&self) -> Result<(), AuditError> {
        let wrong = |option, value: String, expected: &str| {
            Err(AuditError::Option {
                option,
                value,
                expected: expected.to_owned(),
            })
        };
        if let Some(threshold) = self.threshold {
            if self.decision.is_some() {
                let value = "given together with `decision`".to_owned();
                return wrong("threshold", value, "one of the two");
            }
            if self.score.is_none() {
                return wrong(
                    "threshold",
                    threshold.to_string(),
                    "a `score` to go with it",
                );
            }
            if !threshold.is_finite() {
                return wrong("threshold", threshold.to_string(), "a finite number");
            }
        }
        let one = [
            ("decision", &self.decision),
            ("score", &self.score),
            ("label", &self.label),
            ("target", &self.target),
            ("weights", &self.weights),
            ("id", &self.id),
            ("variant", &self.variant),
        ];
        let several = [
            ("groups", &self.groups),
            ("stratum", &self.stratum),
            ("features", &self.features),
        ];
        let one = one.map(|(option, name)| (option, name.as_slice()));
        let several = several.map(|(option, names)| (option, names.as_slice()));
        for (option, names) in one.into_iter().chain(several) {
            if names.iter().any(String::is_empty) {
                return wrong(option, "an empty name".to_owned(), "the name of a column");
            }
        }
        if self.variant.is_some() && self.id.is_none() {
            let value = "given without `id`".to_owned();
            return wrong(
                "variant",
                value,
                "the column that says which rows are the same person",
            );
        }
        for (column, cuts) in &self.bins {
            let ascending = cuts.windows(2).all(|w| w[0] < w[1]);
            if cuts.is_empty() || !ascending || cuts.iter().any(|c| !c.is_finite()) {
                return wrong(
                    "bins",
                    format!("`{column}`: {cuts:?}"),
                    "ascending finite numbers",
                );
            }
            if !self.groups.contains(column) && !self.stratum.contains(column) {
                return wrong(
                    "bins",
                    format!("`{column}`"),
                    "one of `groups` or `stratum`",
                );
            }
        }
        for (column, level) in &self.against_rest {
            if !self.groups.contains(column) {
                let value = format!("`{column}={level}`");
                return wrong("against_rest", value, "one of `groups`");
            }
        }
        self.check_values()?;
        let any = [&self.decision, &self.score, &self.label, &self.target];
        if !self.groups_only && any.iter().all(|c| c.is_none()) {
            let value = "no column given".to_owned();
            return wrong(
                "decision",
                value,
                "a `decision`, a `score`, a `label` or a `target`",
            );
        }
        Ok(())
    }

    /// Refuses contradictory values.
    fn check_values(&self) -> Result<(), AuditError> {
        let wrong = |option, value: String, expected: &str| {
            Err(AuditError::Option {
                option,
                value,
                expected: expected.to_owned(),
            })
        };
        if self.others_unfavourable {
            if self.favourable.is_empty() && self.positive.is_empty() {
                let value = "given, and no favourable value".to_owned();
                return wrong("others_unfavourable", value, "`favourable` or `positive`");
            }
            if !self.unfavourable.is_empty() {
                let value = format!(
                    "given together with `unfavourable` ({})",
                    self.unfavourable.join(", ")
                );
                return wrong("others_unfavourable", value, "one of the two");
            }
        }
        let both = self
            .favourable
            .iter()
            .find(|v| self.unfavourable.contains(v));
        if let Some(both) = both {
            let value = format!("`{both}` is stated as unfavourable too");
            return wrong("favourable", value, "distinct values");
        }
        Ok(())
    }

    /// Returns the cuts of a column, if it is binned.
    pub(crate) fn cuts(&self, column: &str) -> Option<&[f64]> {
        let found = self.bins.iter().find(|b| b.0 == column);
        found.map(|b| b.1.as_slice())
    }
}
