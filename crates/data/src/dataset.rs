use std::collections::HashMap;
use std::ops::Range;

use ndarray::{Array1, Array2, Axis};
use proofmark_domain::{ClassOrder, ReadFacts, SampleId, Seed, hex};
use sha2::{Digest, Sha256};

use crate::source::sha256;
use crate::{Column, DataError, subset};

/// A checked data set on the host, or some of its rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// The shipped name, or the file's name without its folder.
    pub name: String,
    /// SHA-256, in hex, of the file's bytes; for IDX of the images' file followed by the labels'; for a shipped set of
    /// the shipped file.
    pub sha256: String,
    /// Modalities, at least one, all with the same number of rows.
    pub modalities: Vec<Column>,
    /// Class of each row, if the set has labels.
    pub labels: Option<Vec<usize>>,
    /// Targets `[n, outputs]` of a model whose outputs are not classes ([`Options::outputs`](crate::Options::outputs)),
    /// if the set has them: the numbers expected, or 0 and 1 for each label.
    pub targets: Option<Array2<f64>>,
    /// Distinct sample id of each row.
    pub ids: Vec<SampleId>,
    /// Rows in the source before any limit, range or shard (for a shipped split: rows of the split).
    pub total: usize,
    /// Position of each row in the seeded, class-stratified order of the whole set ([`Dataset::ranked`]).
    pub rank: Vec<u64>,
    /// Budget of each row, in data units, if the set has its own budgets.
    pub eps: Option<Array1<f32>>,
    /// Groups of the rows, by attribute: `(attribute, value of each row)`.
    pub groups: Vec<(String, Vec<String>)>,
    /// How the files were read: units, class names and notes.
    pub read_as: ReadFacts,
}

/// Data read from a file, before the rows are checked against each other.
pub(crate) struct Parts {
    pub(crate) name: String,
    pub(crate) sha256: String,
    pub(crate) modalities: Vec<Column>,
    pub(crate) labels: Option<Vec<usize>>,
    pub(crate) targets: Option<Array2<f64>>,
    pub(crate) ids: Option<Vec<SampleId>>,
    pub(crate) eps: Option<Vec<f32>>,
    pub(crate) groups: Vec<(String, Vec<String>)>,
    pub(crate) reading: ReadFacts,
}

impl Parts {
    /// Returns a set of one input, without ids, budgets and groups of its own. The digest covers `hashed`.
    pub(crate) fn of_one(
        name: &str,
        hashed: &[&[u8]],
        input: Column,
        labels: Option<Vec<usize>>,
        reading: ReadFacts,
    ) -> Self {
        Self {
            name: name.to_owned(),
            sha256: sha256(hashed),
            modalities: vec![input],
            labels,
            targets: None,
            ids: None,
            eps: None,
            groups: Vec::new(),
            reading,
        }
    }
}

impl Dataset {
    /// Checks that there are rows, that all parts have the same number of rows, and that ids are distinct; ranks with
    /// seed 0.
    pub(crate) fn assemble(file: &str, parts: Parts) -> Result<Self, DataError> {
        let empty = || DataError::Empty {
            file: file.to_owned(),
        };
        let first = parts.modalities.first().ok_or_else(empty)?;
        let rows = first.values.nrows();
        if rows == 0 {
            return Err(empty());
        }
        let lengths = parts
            .modalities
            .iter()
            .map(|c| (c.modality.name.as_str(), c.values.nrows()))
            .chain(parts.labels.iter().map(|l| ("y", l.len())))
            .chain(parts.targets.iter().map(|t| ("y", t.nrows())))
            .chain(parts.ids.iter().map(|i| ("id", i.len())))
            .chain(parts.eps.iter().map(|e| ("eps", e.len())));
        let groups = parts
            .groups
            .iter()
            .map(|g| (format!("group_{}", g.0), g.1.len()));
        let groups: Vec<(String, usize)> = groups.collect();
        let lengths = lengths.chain(groups.iter().map(|(name, n)| (name.as_str(), *n)));
        for (name, length) in lengths {
            if length != rows {
                return Err(DataError::Length {
                    file: file.to_owned(),
                    first: first.modality.name.clone(),
                    first_len: rows,
                    second: name.to_owned(),
                    second_len: length,
                });
            }
        }
        let ids = match parts.ids {
            Some(ids) => {
                check_distinct(file, &ids)?;
                ids
            }
            None => (0..rows as u64).map(SampleId::Row).collect(),
        };
        let set = Self {
            name: parts.name,
            sha256: parts.sha256,
            modalities: parts.modalities,
            labels: parts.labels,
            targets: parts.targets,
            ids,
            total: rows,
            rank: Vec::new(),
            eps: parts.eps.map(Array1::from),
            groups: parts.groups,
            read_as: parts.reading,
        };
        Ok(set.ranked(Seed(0)))
    }

    /// Returns the hex SHA-256 of the rows (ids, values, labels), in the order of their ids, and of their description
    /// (inputs, shapes, bounds). The same file read in another way, or another part of it, has another digest.
    pub fn content_sha256(&self) -> String {
        let mut hash = Sha256::new();
        for column in &self.modalities {
            // The length before each text separates it from the bytes that follow.
            let described = format!("{:?}", column.modality);
            hash.update((described.len() as u64).to_le_bytes());
            hash.update(described);
        }
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by(|a, b| self.ids[*a].cmp(&self.ids[*b]));
        for row in order {
            let id = format!("{:?}", self.ids[row]);
            hash.update((id.len() as u64).to_le_bytes());
            hash.update(id);
            match &self.labels {
                Some(labels) => hash.update((labels[row] as u64).to_le_bytes()),
                None => hash.update(u64::MAX.to_le_bytes()),
            }
            if let Some(targets) = &self.targets {
                for target in targets.row(row) {
                    hash.update(target.to_le_bytes());
                }
            }
            for column in &self.modalities {
                for value in column.values.row(row) {
                    hash.update(value.to_le_bytes());
                }
            }
        }
        hex(&hash.finalize())
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are no rows; only a part of a set can be empty.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Returns the largest label plus one; 0 without labels of classes.
    pub fn classes(&self) -> usize {
        let labels = self.labels.iter().flatten();
        labels.max().map_or(0, |most| most.saturating_add(1))
    }

    /// Checks that every label is below `classes`, and that a class order that was not stated covers exactly `classes`
    /// classes.
    pub fn check_labels(&self, classes: usize) -> Result<(), DataError> {
        let named = self.read_as.classes.len();
        let order = self.read_as.class_order;
        if named != classes && order.is_some_and(|o| o != ClassOrder::Stated) {
            return Err(DataError::Classes {
                file: self.name.clone(),
                named,
                first: self
                    .read_as
                    .classes
                    .keys()
                    .next()
                    .cloned()
                    .unwrap_or_default(),
                classes,
            });
        }
        let labels = self.labels.iter().flatten();
        match labels.enumerate().find(|(_, label)| **label >= classes) {
            None => Ok(()),
            Some((row, label)) => Err(DataError::Label {
                file: self.name.clone(),
                id: self.ids[row].to_string(),
                label: *label,
                most: classes.saturating_sub(1),
                classes,
                hint: if *label == classes && !self.labels.iter().flatten().any(|l| *l == 0) {
                    "; if its labels count from 1, `--classes numeric` says so"
                } else {
                    ""
                },
            }),
        }
    }

    /// Returns the same rows, ranked by `seed`: in random order within a class, and such that the count of every class
    /// in the first `m` rows differs from its share by less than one. Depends on seed, ids and labels.
    ///
    /// Rank the whole set: ranking a part gives the order of that part.
    #[must_use]
    pub fn ranked(mut self, seed: Seed) -> Self {
        self.rank = subset::ranks(&self.ids, self.labels.as_deref(), seed);
        self
    }

    /// Returns the first `n` rows in the order of [`Dataset::ranked`], kept in the order of the source: a larger `n`
    /// includes every smaller one. All rows if there are at most `n`, none for 0.
    #[must_use]
    pub fn limit(&self, n: usize, seed: Seed) -> Self {
        let rank = subset::ranks(&self.ids, self.labels.as_deref(), seed);
        let keep: Vec<usize> = (0..self.len())
            .filter(|row| rank[*row] < n as u64)
            .collect();
        let mut part = self.select(&keep);
        part.rank = keep.iter().map(|row| rank[*row]).collect();
        part
    }

    /// Returns rows in the order of the source, counted from 0. Fails if the range is empty or goes past the end.
    pub fn range(&self, rows: Range<usize>) -> Result<Self, DataError> {
        if rows.is_empty() || rows.end > self.len() {
            return Err(DataError::Range {
                file: self.name.clone(),
                start: rows.start,
                end: rows.end,
                rows: self.len(),
            });
        }
        Ok(self.select(&rows.collect::<Vec<_>>()))
    }

    /// Returns shard `index` (from 0) of `count`: the rows whose rank modulo `count` is `index`. Shards are disjoint
    /// and together cover all rows. Empty if `index` is not below `count`.
    #[must_use]
    pub fn shard(&self, index: usize, count: usize) -> Self {
        let mine = |row: &usize| self.rank[*row].checked_rem(count as u64) == Some(index as u64);
        self.select(&(0..self.len()).filter(mine).collect::<Vec<_>>())
    }

    /// Returns these rows, in this order, with their ids and ranks.
    ///
    /// # Panics
    /// If a row is not below [`Dataset::len`].
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            name: self.name.clone(),
            sha256: self.sha256.clone(),
            modalities: self
                .modalities
                .iter()
                .map(|column| Column {
                    modality: column.modality.clone(),
                    values: column.values.select(Axis(0), rows),
                    whole: column.whole,
                })
                .collect(),
            labels: self
                .labels
                .as_ref()
                .map(|labels| rows.iter().map(|row| labels[*row]).collect()),
            targets: (self.targets.as_ref()).map(|targets| targets.select(Axis(0), rows)),
            ids: rows.iter().map(|row| self.ids[*row].clone()).collect(),
            total: self.total,
            rank: rows.iter().map(|row| self.rank[*row]).collect(),
            eps: self.eps.as_ref().map(|eps| eps.select(Axis(0), rows)),
            groups: self
                .groups
                .iter()
                .map(|(name, all)| {
                    let values = rows.iter().map(|row| all[*row].clone());
                    (name.clone(), values.collect())
                })
                .collect(),
            read_as: self.read_as.clone(),
        }
    }
}

fn check_distinct(file: &str, ids: &[SampleId]) -> Result<(), DataError> {
    let mut seen = HashMap::new();
    for (row, id) in ids.iter().enumerate() {
        if let Some(first) = seen.insert(id, row) {
            return Err(DataError::DuplicateId {
                file: file.to_owned(),
                id: id.to_string(),
                first,
                second: row,
            });
        }
    }
    Ok(())
}
