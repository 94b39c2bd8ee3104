//! Tables from the caller's arrays.

use proofmark_data::DataError;

use super::{Coded, Numbers, Outcome, Table};
use crate::AuditError;

/// Range of valid weights, for messages.
pub(super) const WEIGHTS: &str = "a weight of 0, or of 1e-30 to 1e30";

/// Whether a weight is valid: with others, sums, squares and their quotients would overflow or underflow.
pub(super) fn weighs(weight: f64) -> bool {
    weight == 0.0 || (1e-30..=1e30).contains(&weight)
}

/// Columns added one by one and checked together by [`Columns::build`].
///
/// ```
/// let table = proofmark_audit::Columns::new("loans")
///     .decision([true, false, true])
///     .attribute("sex", ["f", "m", "f"])
///     .build()?;
/// assert_eq!(table.rows(), 3);
/// # Ok::<(), proofmark_audit::AuditError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Columns {
    table: Table,
}

impl Columns {
    /// Starts without columns; the name appears in messages.
    pub fn new(name: impl Into<String>) -> Self {
        let mut columns = Self::default();
        columns.table.source = name.into();
        columns
    }

    /// Sets the decisions: whether each is the favourable one.
    #[must_use]
    pub fn decision(mut self, values: impl IntoIterator<Item = bool>) -> Self {
        self.table.decision = Some(values.into_iter().collect());
        self
    }

    /// Sets the scores, greater for more likely positive; for a regression, the predictions.
    #[must_use]
    pub fn score(mut self, values: impl IntoIterator<Item = f64>) -> Self {
        self.table.score = Some(values.into_iter().collect());
        self
    }

    /// Sets the true labels: whether each is the positive one.
    #[must_use]
    pub fn label(mut self, values: impl IntoIterator<Item = bool>) -> Self {
        self.table.label = Some(values.into_iter().collect());
        self
    }

    /// Sets the true values of a regression.
    #[must_use]
    pub fn target(mut self, values: impl IntoIterator<Item = f64>) -> Self {
        self.table.target = Some(values.into_iter().collect());
        self
    }

    /// Sets the weights: 0, or 1e-30 to 1e30.
    #[must_use]
    pub fn weights(mut self, values: impl IntoIterator<Item = f64>) -> Self {
        self.table.weights = Some(values.into_iter().collect());
        self
    }

    /// Adds a sensitive attribute.
    #[must_use]
    pub fn attribute<'a>(
        self,
        name: impl Into<String>,
        values: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        self.coded(Coded::new(name, values.into_iter().map(Some)))
    }

    /// Adds a sensitive attribute that is already coded and may have unknown values.
    #[must_use]
    pub fn coded(mut self, attribute: Coded) -> Self {
        self.table.attributes.push(attribute);
        self
    }

    /// Sets the stratum that decisions are conditioned on.
    #[must_use]
    pub fn stratum<'a>(
        mut self,
        name: impl Into<String>,
        values: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        self.table.stratum = Some(Coded::new(name, values.into_iter().map(Some)));
        self
    }

    /// Adds a feature that measures how alike two people are.
    #[must_use]
    pub fn feature(
        mut self,
        name: impl Into<String>,
        values: impl IntoIterator<Item = f64>,
    ) -> Self {
        self.table.features.push(Numbers {
            name: name.into(),
            values: values.into_iter().collect(),
        });
        self
    }

    /// Sets the row ids.
    #[must_use]
    pub fn id<'a>(mut self, values: impl IntoIterator<Item = &'a str>) -> Self {
        self.table.id = Some(Coded::new("id", values.into_iter().map(Some)));
        self
    }

    /// Sets the variant of its id that each row is; this makes a paired table.
    #[must_use]
    pub fn variant<'a>(
        mut self,
        name: impl Into<String>,
        values: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        self.table.variant = Some(Coded::new(name, values.into_iter().map(Some)));
        self
    }

    /// Sets the outcome of each row under attack.
    #[must_use]
    pub fn outcome(mut self, values: impl IntoIterator<Item = Outcome>) -> Self {
        self.table.outcome = Some(values.into_iter().collect());
        self
    }

    /// Sets the number of rows that were already left out.
    #[must_use]
    pub(crate) fn filtered(mut self, rows: u64) -> Self {
        self.table.filtered = rows;
        self
    }

    /// Builds the table. Returns an error if its columns do not fit together.
    pub fn build(self) -> Result<Table, AuditError> {
        self.table.checked("weights", |row| format!("row {row}"))
    }
}

impl Table {
    /// Checks lengths, numbers, weights, ids and names of columns; every table passes through here. `weights` is the
    /// name of the weight column and `at` names a row, both for messages.
    pub(crate) fn checked(
        mut self,
        weights: &str,
        at: impl Fn(usize) -> String,
    ) -> Result<Self, AuditError> {
        self.rows = self.same_length()?;
        if self.rows == 0 {
            return Err(AuditError::Empty {
                file: self.source,
                problem: match self.filtered {
                    0 => "holds no rows; expected at least one".to_owned(),
                    n => format!("none of its {n} rows passes the filters; expected at least one"),
                },
            });
        }
        if u32::try_from(self.rows).is_err() {
            return Err(AuditError::Empty {
                problem: format!("{} rows; expected fewer than 2^32", self.rows),
                file: self.source,
            });
        }
        let numbers = [("score", &self.score), ("target", &self.target)];
        let numbers = numbers
            .into_iter()
            .filter_map(|(n, v)| v.as_deref().map(|v| (n, v)))
            .chain(
                self.features
                    .iter()
                    .map(|f| (f.name.as_str(), f.values.as_slice())),
            );
        let refused = |column: &str, values: &[f64], row: usize, expected| {
            let value = values[row].to_string();
            AuditError::value(&self.source, column, &at(row), value, expected)
        };
        for (column, values) in numbers {
            if let Some(row) = values.iter().position(|v| !v.is_finite()) {
                return Err(refused(column, values, row, "a finite number"));
            }
        }
        if let Some(values) = &self.weights {
            if let Some(row) = values.iter().position(|w| !weighs(*w)) {
                return Err(refused(weights, values, row, WEIGHTS));
            }
            if values.iter().all(|w| *w == 0.0) {
                return Err(AuditError::AllZero {
                    file: self.source,
                    column: weights.to_owned(),
                    rows: self.rows,
                });
            }
        }
        self.distinct_ids(&at)?;
        let mut names: Vec<&str> = self.attributes.iter().map(Coded::name).collect();
        names.sort_unstable();
        if let Some([twice, _]) = names.array_windows().find(|[a, b]| a == b) {
            return Err(AuditError::Option {
                option: "groups",
                value: format!("`{twice}` is given twice"),
                expected: "distinct attributes".to_owned(),
            });
        }
        Ok(self)
    }

    /// Checks that each id occurs once or, in a paired table, once per variant.
    fn distinct_ids(&self, at: &impl Fn(usize) -> String) -> Result<(), AuditError> {
        let Some(id) = &self.id else {
            return Ok(());
        };
        let key = |row: &u32| {
            let variant = self.variant.as_ref().map(|v| v.codes()[*row as usize]);
            (id.codes()[*row as usize], variant, *row)
        };
        let mut order: Vec<u32> = (0..self.rows as u32).collect();
        order.sort_unstable_by_key(key);
        let same = |w: &&[u32]| {
            let (a, b) = (key(&w[0]), key(&w[1]));
            (a.0, a.1) == (b.0, b.1)
        };
        let Some(twice) = order.windows(2).find(same) else {
            return Ok(());
        };
        let row = twice[1] as usize;
        let once = if self.variant.is_some() {
            "each id once per variant"
        } else {
            "each id once; name the column of variants if the table is paired (`--paired`)"
        };
        let value = format!(
            "`{}` again, first at {}",
            id.value(row).unwrap_or(""),
            at(twice[0] as usize)
        );
        Err(AuditError::value(
            &self.source,
            id.name(),
            &at(row),
            value,
            once,
        ))
    }

    fn same_length(&self) -> Result<usize, AuditError> {
        fn len<T>(name: &'static str, values: Option<&Vec<T>>) -> Option<(&'static str, usize)> {
            values.map(|v| (name, v.len()))
        }
        let coded = [&self.stratum, &self.id, &self.variant];
        let columns: Vec<(&str, usize)> = [
            len("decision", self.decision.as_ref()),
            len("score", self.score.as_ref()),
            len("label", self.label.as_ref()),
            len("target", self.target.as_ref()),
            len("weights", self.weights.as_ref()),
            len("outcome", self.outcome.as_ref()),
        ]
        .into_iter()
        .flatten()
        .chain(self.attributes.iter().map(|a| (a.name(), a.len())))
        .chain(coded.into_iter().flatten().map(|c| (c.name(), c.len())))
        .chain(
            self.features
                .iter()
                .map(|f| (f.name.as_str(), f.values.len())),
        )
        .collect();
        let Some(first) = columns.first() else {
            return Ok(0);
        };
        match columns.iter().find(|c| c.1 != first.1) {
            None => Ok(first.1),
            Some(other) => Err(AuditError::Data(DataError::Length {
                file: self.source.clone(),
                first: first.0.to_owned(),
                first_len: first.1,
                second: other.0.to_owned(),
                second_len: other.1,
            })),
        }
    }
}
