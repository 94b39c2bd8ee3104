use std::ops::Range;

use proofmark_domain::{SampleId, Seed};

use crate::{DataError, Dataset, subset};

/// Rows of a set to keep. A format that can do so does not read the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Seed of the set's order ([`Dataset::ranked`]).
    pub seed: Seed,
    /// Rows to keep.
    pub rows: Rows,
}

/// Rows of a set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Rows {
    /// All rows.
    #[default]
    All,
    /// First rows of the set's order, as [`Dataset::limit`].
    Limit(usize),
    /// Rows in the order of the source, as [`Dataset::range`].
    Range(Range<usize>),
}

impl Selection {
    /// Returns the kept rows, in the order of the source, and the rank of each in the set's order.
    pub(crate) fn choose(
        &self,
        file: &str,
        ids: &[SampleId],
        labels: Option<&[usize]>,
    ) -> Result<(Vec<usize>, Vec<u64>), DataError> {
        let ranks = subset::ranks(ids, labels, self.seed);
        let all = 0..ids.len();
        let rows: Vec<usize> = match &self.rows {
            Rows::All => all.collect(),
            Rows::Limit(n) => all.filter(|row| ranks[*row] < *n as u64).collect(),
            Rows::Range(rows) if rows.is_empty() || rows.end > ids.len() => {
                return Err(DataError::Range {
                    file: file.to_owned(),
                    start: rows.start,
                    end: rows.end,
                    rows: ids.len(),
                });
            }
            Rows::Range(rows) => rows.clone().collect(),
        };
        let kept = rows.iter().map(|row| ranks[*row]).collect();
        Ok((rows, kept))
    }
}

impl Dataset {
    /// Returns the rows of a selection.
    pub(crate) fn selected(self, selection: &Selection) -> Result<Self, DataError> {
        if *selection == Selection::default() {
            return Ok(self);
        }
        let (rows, rank) = selection.choose(&self.name, &self.ids, self.labels.as_deref())?;
        Ok(Self {
            rank,
            ..self.select(&rows)
        })
    }
}
