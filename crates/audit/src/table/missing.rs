//! Markers of missing values, the same for every column.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::field::Field;
use crate::metric::Need;

/// Default markers of a missing value, ignoring case: those that pandas, R, SQL, Python, spreadsheets and the UCI
/// repository write. An empty cell and a NaN are always missing.
pub const MISSING: [&str; 15] = [
    "?", "NA", "N/A", "<NA>", "#N/A", "#NA", "#N/A N/A", "NaN", "-NaN", "null", "#NULL!", "None",
    "nil", "NaT", "\\N",
];

/// The markers of missing values in use.
#[derive(Debug, Clone)]
pub(crate) struct Markers {
    texts: Vec<String>,
    numbers: Vec<f64>,
    longest: usize,
}

impl Markers {
    pub(crate) fn new(texts: &[String]) -> Self {
        let numbers = texts.iter().filter_map(|t| t.trim().parse().ok());
        Self {
            texts: texts.iter().map(|t| t.trim().to_owned()).collect(),
            numbers: numbers.filter(|n: &f64| !n.is_nan()).collect(),
            longest: texts.iter().map(String::len).max().unwrap_or(0),
        }
    }

    pub(crate) fn holds(&self, field: Field<'_>) -> bool {
        match field {
            Field::Text(text) => self.holds_text(text),
            Field::Number(n) => n.is_nan() || self.numbers.contains(&n),
            Field::Flag(_) => false,
        }
    }

    fn holds_text(&self, text: &str) -> bool {
        if text.is_empty() {
            return true;
        }
        let same = |marker: &String| marker.eq_ignore_ascii_case(text);
        let marked = text.len() <= self.longest && self.texts.iter().any(same);
        // The marker -9 also matches -9.0.
        let number = || text.parse().is_ok_and(|n: f64| self.numbers.contains(&n));
        marked || !self.numbers.is_empty() && number()
    }
}

/// How often a column has no value, and how missing values are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Name of the column.
    pub column: String,
    /// Role of the column: `decision`, `label`, `score`, `target`, `weights`, `group`, `stratum`, `feature` or
    /// `filter`.
    pub role: String,
    /// Rows without a value, among those that the filters keep or (role `filter`) leave out. `None` if suppressed.
    pub rows: Option<u64>,
    /// Markers found, each with its number of rows; an empty cell is the empty text. Empty if suppressed.
    pub markers: BTreeMap<String, u64>,
}

impl Missing {
    pub(crate) fn none(column: &str, role: &str) -> Self {
        Self {
            column: column.to_owned(),
            role: role.to_owned(),
            rows: Some(0),
            markers: BTreeMap::new(),
        }
    }

    pub(crate) fn count(&mut self, field: Field<'_>) {
        self.rows = self.rows.map(|n| n + 1);
        *self.markers.entry(field.text().into_owned()).or_default() += 1;
    }
}

/// Rows of a table that lack a value only some metrics need; those metrics leave them out. (A row without a weight is
/// left out altogether, and a row without a group is of unknown group.)
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Gaps(BTreeMap<Need, Vec<bool>>);

impl Gaps {
    /// Adds `lacking` to the rows that lack this need; `rows` is the number of rows of the table.
    pub(crate) fn add(&mut self, need: Need, lacking: &[u32], rows: usize) {
        if lacking.is_empty() {
            return;
        }
        let gaps = self.0.entry(need).or_insert_with(|| vec![false; rows]);
        for row in lacking {
            gaps[*row as usize] = true;
        }
    }

    /// Marks a decision as missing wherever the score it derives from is missing.
    pub(crate) fn decisions_are_scores(&mut self) {
        if let Some(score) = self.0.get(&Need::Score) {
            self.0.insert(Need::Decision, score.clone());
        }
    }

    pub(crate) fn lacks(&self, need: Need, row: usize) -> bool {
        self.0.get(&need).is_some_and(|gaps| gaps[row])
    }

    /// Returns those needs that some row lacks.
    pub(crate) fn among(&self, needs: &[Need]) -> Vec<Need> {
        let is_needed = |need: &Need| {
            needs.contains(need) || *need == Need::Score && needs.contains(&Need::Probability)
        };
        let lacking = Need::OF_ROWS.into_iter().filter(|n| self.0.contains_key(n));
        lacking.filter(is_needed).collect()
    }

    /// Returns the gaps of these rows in this order; drops a need that none of them lacks.
    pub(crate) fn take(&self, rows: &[u32]) -> Self {
        let all = self.0.iter().map(|(need, gaps)| {
            let taken: Vec<bool> = rows.iter().map(|r| gaps[*r as usize]).collect();
            (*need, taken)
        });
        Self(all.filter(|(_, gaps)| gaps.contains(&true)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_spaces_and_numbers_do_not_matter() {
        let all = MISSING.map(str::to_owned);
        let markers = Markers::new(&all);
        for text in [
            "", "NULL", "null", "Null", "None", "<na>", "#n/a", "na", "?", "nan", "\\N",
        ] {
            assert!(markers.holds(Field::Text(text)), "{text}");
        }
        for text in ["0", "no", "nay", "Nanette", "-", "n", "inf"] {
            assert!(!markers.holds(Field::Text(text)), "{text}");
        }
        assert!(markers.holds(Field::Number(f64::NAN)) && !markers.holds(Field::Number(0.0)));
        let nine = Markers::new(&["-9".to_owned()]);
        assert!(nine.holds(Field::Text("-9.0")) && nine.holds(Field::Number(-9.0)));
        assert!(nine.holds(Field::Text("")) && !nine.holds(Field::Text("NA")));
    }
}
