//! Ranges that the values behind a mean cannot leave, whichever rows are added; the limits of means rest on them.
//!
//! A range is either stated or follows from the kind of value. The smallest and largest values in a table are not a
//! range, because the table could have held others. Two cases are not exceptions: scores that all lie in `[0, 1]` count
//! as probabilities, as everywhere in an audit, and a score that is the same for everyone is a constant of the model,
//! not a random draw.

use proofmark_domain::Interval;

use crate::figure::LINE;
use crate::{AuditError, Settings, Table};

impl Settings {
    /// States the range of the values of `column`, which is `score` or `target`.
    ///
    /// ```
    /// let mut settings = proofmark_audit::Settings::default();
    /// settings.state_range("score", [0.0, 100.0])?;
    /// assert!(settings.state_range("age", [0.0, 100.0]).is_err());
    /// # Ok::<(), proofmark_audit::AuditError>(())
    /// ```
    pub fn state_range(&mut self, column: &str, ends: [f64; 2]) -> Result<(), AuditError> {
        let range = ends.into();
        match column {
            "score" => self.score_range = Some(range),
            "target" => self.target_range = Some(range),
            _ => {
                return Err(AuditError::Option {
                    option: "range",
                    value: format!("`{column}`"),
                    expected: "score or target".to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Returns the range of the scores.
    pub(crate) fn scores(&self, table: &Table) -> Interval {
        match (table.score_ends(), self.score_range) {
            (Some(ends), _) if ends.low == ends.high => ends,
            (_, Some(stated)) => stated,
            _ if table.scores_are_probabilities() => Interval {
                low: 0.0,
                high: 1.0,
            },
            _ => LINE,
        }
    }

    /// Returns the range of the distance between two scores.
    pub(crate) fn score_distances(&self, table: &Table) -> Interval {
        let scores = self.scores(table);
        Interval {
            low: 0.0,
            high: scores.high - scores.low,
        }
    }

    /// Returns the range of the logarithmic losses of the scores.
    pub(crate) fn losses(&self, table: &Table) -> Interval {
        // A stated range comes first: a constant score has a single value, but its loss still depends on the label.
        let Interval { low, high } = self.score_range.unwrap_or_else(|| self.scores(table));
        let (least, most) = (low.min(1.0 - high), high.max(1.0 - low));
        Interval {
            low: -most.min(1.0).ln(),
            high: -least.max(0.0).ln(),
        }
    }

    /// Returns the range of the errors: predictions less true values.
    pub(crate) fn errors(&self) -> Interval {
        match (self.score_range, self.target_range) {
            (Some(score), Some(target)) => Interval {
                low: score.low - target.high,
                high: score.high - target.low,
            },
            _ => LINE,
        }
    }

    /// Returns the range of the absolute errors.
    pub(crate) fn distances(&self) -> Interval {
        let errors = self.errors();
        Interval {
            low: 0.0_f64.max(errors.low).max(-errors.high),
            high: errors.high.max(-errors.low),
        }
    }

    /// Returns the range of the squared errors.
    pub(crate) fn squared_distances(&self) -> Interval {
        let Interval { low, high } = self.distances();
        Interval {
            low: low * low,
            high: high * high,
        }
    }

    /// Refuses a stated range that is not two finite increasing numbers, that has no column, or that excludes a value
    /// of the table.
    pub(crate) fn check_ranges(&self, table: &Table) -> Result<(), AuditError> {
        let columns = [
            ("score", self.score_range, table.score()),
            ("target", self.target_range, table.target()),
        ];
        for (name, stated, values) in columns {
            let Some(range) = stated else { continue };
            let wrong = |problem: String, expected: &str| {
                Err(AuditError::Option {
                    option: "range",
                    value: format!("{name}={},{}{problem}", range.low, range.high),
                    expected: expected.to_owned(),
                })
            };
            let finite = range.low.is_finite() && range.high.is_finite();
            if !finite || range.low >= range.high {
                return wrong(String::new(), "two finite numbers, the lower one first");
            }
            let Some(values) = values else {
                return wrong(
                    format!(", and the audit has no {name}"),
                    "a range of a column that the audit has",
                );
            };
            let inside = |v: &f64| range.low <= *v && *v <= range.high;
            if let Some(row) = values.iter().position(|v| !inside(v)) {
                return wrong(
                    format!(
                        ", and {} of {} has {}",
                        name,
                        table.row_name(row),
                        values[row]
                    ),
                    "a range that contains every value",
                );
            }
        }
        Ok(())
    }
}
