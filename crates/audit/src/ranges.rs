//! What the values behind a mean cannot leave, whatever rows may still come: limits of means rest on it.
//!
//! It is stated, or follows from what the values are. What a table happens to hold is not what it might have held: its
//! smallest and largest values are no range. Two exceptions are none: scores that all lie in `[0, 1]` are taken for
//! probabilities, as everywhere in an audit, and one score for everybody is a constant of the model and not a draw.

use proofmark_domain::Interval;

use crate::figure::LINE;
use crate::{AuditError, Settings, Table};

impl Settings {
    /// States what the values of `column`, which is `score` or `target`, cannot leave.
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

    /// Of scores.
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

    /// Of the distance between two scores.
    pub(crate) fn score_distances(&self, table: &Table) -> Interval {
        let scores = self.scores(table);
        Interval {
            low: 0.0,
            high: scores.high - scores.low,
        }
    }

    /// Of the logarithmic losses of scores.
    pub(crate) fn losses(&self, table: &Table) -> Interval {
        // A score for everybody is the same of every label, but the loss is not.
        let Interval { low, high } = self.score_range.unwrap_or_else(|| self.scores(table));
        let (least, most) = (low.min(1.0 - high), high.max(1.0 - low));
        Interval {
            low: -most.min(1.0).ln(),
            high: -least.max(0.0).ln(),
        }
    }

    /// Of predictions less true values.
    pub(crate) fn errors(&self) -> Interval {
        match (self.score_range, self.target_range) {
            (Some(score), Some(target)) => Interval {
                low: score.low - target.high,
                high: score.high - target.low,
            },
            _ => LINE,
        }
    }

    /// Of their distances.
    pub(crate) fn distances(&self) -> Interval {
        let errors = self.errors();
        Interval {
            low: 0.0_f64.max(errors.low).max(-errors.high),
            high: errors.high.max(-errors.low),
        }
    }

    /// Of the squares of those.
    pub(crate) fn squared_distances(&self) -> Interval {
        let Interval { low, high } = self.distances();
        Interval {
            low: low * low,
            high: high * high,
        }
    }

    /// Refuses a range that is none, or that a value of the table lies outside.
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
                    "a range of a column that is there",
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
                    "a range that no value can leave",
                );
            }
        }
        Ok(())
    }
}
