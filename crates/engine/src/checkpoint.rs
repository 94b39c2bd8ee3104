use std::collections::{BTreeMap, BTreeSet};

use proofmark_threat::Saved;
use serde::{Deserialize, Serialize};

use crate::executor::Ended;
use crate::{EngineError, Job, Outcome, Part};

/// Prefix of row columns that follow from the job alone: they are rebuilt, never read from a checkpoint.
const REBUILT: &str = "region.";

/// Row columns that identify the rows.
const FACTS: [&str; 5] = ["sample", "key", "label", "target", "restart"];

/// Columns by name.
pub(crate) type SavedColumns = BTreeMap<String, SavedColumn>;

/// State of a stopped run. A run resumed from it ends with the same numbers as an uninterrupted run
/// ([`Job::resume`](crate::Job::resume)).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Id of the attack.
    pub(crate) attack: String,
    /// Number of samples in the set, attacked or not.
    pub(crate) samples: usize,
    /// Current restart of each row of the job.
    pub(crate) next: Vec<u32>,
    /// Restarts that have ended and wait for the judge, by place in the job.
    pub(crate) waiting: Vec<(usize, Ended)>,
    /// Columns of the active rows and of the attack's state.
    pub(crate) active: Option<[SavedColumns; 2]>,
    /// Outcome so far of every row of the job.
    pub(crate) outcomes: Vec<Outcome>,
    /// Results of the suite members that ran before this attack.
    pub(crate) parts: Vec<Part>,
}

/// [`Saved`] in a serialisable form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum SavedColumn {
    Float(Vec<usize>, Vec<f32>),
    Count(Vec<u64>),
    Real(Vec<f64>),
}

impl From<Saved> for SavedColumn {
    fn from(s: Saved) -> Self {
        match s {
            Saved::Float(shape, v) => Self::Float(shape, v),
            Saved::Count(v) => Self::Count(v),
            Saved::Real(v) => Self::Real(v),
        }
    }
}

impl From<SavedColumn> for Saved {
    fn from(s: SavedColumn) -> Self {
        match s {
            SavedColumn::Float(shape, v) => Self::Float(shape, v),
            SavedColumn::Count(v) => Self::Count(v),
            SavedColumn::Real(v) => Self::Real(v),
        }
    }
}

/// Returns the columns of active rows that a checkpoint keeps.
pub(crate) fn of_rows(mut columns: BTreeMap<String, Saved>) -> SavedColumns {
    columns.retain(|name, _| !name.starts_with(REBUILT));
    of_state(columns)
}

/// Returns the columns of an attack's state; a checkpoint keeps all of them.
pub(crate) fn of_state(columns: BTreeMap<String, Saved>) -> SavedColumns {
    columns.into_iter().map(|(k, v)| (k, v.into())).collect()
}

impl Checkpoint {
    /// Fails if the checkpoint belongs to another attack or job, or contradicts itself.
    pub(crate) fn check(
        &self,
        job: &Job<'_>,
        attack: &str,
        restarts: u32,
    ) -> Result<(), EngineError> {
        let rows: Vec<usize> = self.outcomes.iter().map(|o| o.row).collect();
        if self.attack != attack || rows != job.rows || self.samples != job.samples.len() {
            return Err(EngineError::Checkpoint(format!(
                "of attack `{}` on {} rows of {} samples; expected `{attack}` on the same {} of {}",
                self.attack,
                rows.len(),
                self.samples,
                job.rows.len(),
                job.samples.len(),
            )));
        }
        if self.next.len() != rows.len() || self.next.iter().any(|next| *next > restarts) {
            return Err(EngineError::Checkpoint(format!(
                "restarts {:?} of {} rows; the attack has {restarts}",
                self.next,
                rows.len()
            )));
        }
        let mut seen = BTreeSet::new();
        for (place, ended) in &self.waiting {
            let candidate = ended.candidate.as_ref().map(|c| c.row);
            if candidate.is_none() || candidate != rows.get(*place).copied() {
                return Err(EngineError::Checkpoint(format!(
                    "the entry at place {place} that waits for the judge is not a point of that row"
                )));
            }
        }
        let places: BTreeMap<usize, usize> =
            rows.iter().enumerate().map(|(i, r)| (*r, i)).collect();
        let waiting = self.waiting.iter().map(|(place, _)| rows[*place]);
        for row in waiting.chain(self.active_samples()?) {
            let Some(place) = places.get(&row) else {
                return Err(EngineError::Checkpoint(format!(
                    "row {row} is not attacked by this run"
                )));
            };
            if self.next[*place] >= restarts {
                return Err(EngineError::Checkpoint(format!(
                    "row {row} is active after the last of {restarts} restarts"
                )));
            }
            if !seen.insert(row) {
                return Err(EngineError::Checkpoint(format!("row {row} is there twice")));
            }
        }
        let waiting = self.waiting.iter().filter_map(|w| w.1.candidate.as_ref());
        let waiting = waiting.map(|c| (&c.row, &c.x));
        let found = self.outcomes.iter();
        let found = found.filter_map(|o| Some((&o.row, &o.point.as_ref()?.x)));
        let features: Vec<usize> = job
            .samples
            .modalities
            .iter()
            .map(proofmark_domain::Modality::features)
            .collect();
        for (row, x) in waiting.chain(found) {
            let lengths: Vec<usize> = x.iter().map(Vec::len).collect();
            if lengths != features {
                return Err(EngineError::Checkpoint(format!(
                    "the point of row {row} has {lengths:?} features per input; expected {features:?}"
                )));
            }
        }
        // `Outcome::observe` searches the observations as a sorted list.
        if let Some(o) = self.outcomes.iter().find(|o| !o.observed.is_sorted()) {
            return Err(EngineError::Checkpoint(format!(
                "the observations of row {} are not sorted",
                o.row
            )));
        }
        Ok(())
    }

    /// Returns the places in the samples of the active rows.
    pub(crate) fn active_samples(&self) -> Result<Vec<usize>, EngineError> {
        let Some([rows, _]) = &self.active else {
            return Ok(Vec::new());
        };
        match rows.get("sample") {
            Some(SavedColumn::Count(v)) if !v.is_empty() => {
                Ok(v.iter().map(|s| *s as usize).collect())
            }
            _ => Err(EngineError::Checkpoint(
                "does not list the active rows".into(),
            )),
        }
    }

    /// Serialises the checkpoint (postcard).
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("plain data serialise")
    }

    /// Reads a checkpoint from bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EngineError> {
        postcard::from_bytes(bytes)
            .map_err(|e| EngineError::Checkpoint(format!("not readable: {e}")))
    }
}

/// Replaces the columns of `fresh`, just made for these rows, by those of `saved`. The columns that identify the rows
/// must agree.
pub(crate) fn over_rows(
    mut fresh: BTreeMap<String, Saved>,
    saved: SavedColumns,
    n: usize,
    steps: u64,
) -> Result<BTreeMap<String, Saved>, EngineError> {
    let wrong = |name: &str, problem: &str| {
        EngineError::Checkpoint(format!("column `{name}` of the rows {problem}"))
    };
    for (name, column) in &fresh {
        if !name.starts_with(REBUILT) && !saved.contains_key(name) {
            return Err(wrong(name, "is missing"));
        }
        let differs = |s: &SavedColumn| *s != SavedColumn::from(column.clone());
        if FACTS.contains(&name.as_str()) && saved.get(name).is_some_and(differs) {
            return Err(wrong(name, "is of other rows"));
        }
    }
    for (name, column) in saved {
        match fresh.get(&name) {
            Some(model) if !name.starts_with(REBUILT) && column.is_like(model, n) => {}
            _ => return Err(wrong(&name, "has another shape, or is not one of theirs")),
        }
        let late = |v: &[u64]| v.iter().any(|s| *s >= steps);
        if matches!(&column, SavedColumn::Count(v) if name == "step" && late(v)) {
            return Err(wrong(&name, &format!("is past the {steps} of the attack")));
        }
        fresh.insert(name, column.into());
    }
    Ok(fresh)
}

/// Checks that the columns of a saved state of `n` rows match those of `fresh`, a state of one row, and returns them.
pub(crate) fn as_state(
    fresh: &BTreeMap<String, Saved>,
    saved: SavedColumns,
    n: usize,
) -> Result<BTreeMap<String, Saved>, EngineError> {
    let fits = saved.len() == fresh.len()
        && fresh
            .iter()
            .all(|(name, model)| saved.get(name).is_some_and(|c| c.is_like(model, n)));
    if !fits {
        return Err(EngineError::Checkpoint(format!(
            "the state is not that of this attack on {n} rows"
        )));
    }
    Ok(saved.into_iter().map(|(k, v)| (k, v.into())).collect())
}

impl SavedColumn {
    /// Returns whether this column has `n` rows and the kind and width of `model`, whose number of rows may differ.
    fn is_like(&self, model: &Saved, n: usize) -> bool {
        match (self, model) {
            (Self::Float(shape, v), Saved::Float(like, _)) => {
                shape.first() == Some(&n)
                    && shape.get(1..) == like.get(1..)
                    && shape[1..].iter().product::<usize>().checked_mul(n) == Some(v.len())
            }
            (Self::Count(v), Saved::Count(_)) => v.len() == n,
            (Self::Real(v), Saved::Real(_)) => v.len() == n,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the columns of two rows.
    fn rows() -> BTreeMap<String, Saved> {
        let count = |v: [u64; 2]| Saved::Count(v.to_vec());
        BTreeMap::from([
            ("sample".to_owned(), count([3, 5])),
            ("key".to_owned(), count([30, 50])),
            ("step".to_owned(), count([0, 0])),
            ("best.0".to_owned(), Saved::Float(vec![2, 2], vec![0.0; 4])),
            ("region.eps".to_owned(), Saved::Real(vec![0.1; 2])),
        ])
    }

    #[test]
    fn columns_of_other_rows_widths_or_steps_are_refused() {
        let saved = || of_rows(rows());
        assert!(!saved().contains_key("region.eps"));
        let put = |name: &str, column: SavedColumn| {
            let mut columns = saved();
            columns.insert(name.to_owned(), column);
            over_rows(rows(), columns, 2, 10).map_err(|e| e.to_string())
        };
        let later = put("step", SavedColumn::Count(vec![4, 9])).unwrap();
        assert_eq!(later["step"], Saved::Count(vec![4, 9]));
        assert_eq!(later["region.eps"], rows()["region.eps"]);

        let float = |shape: &[usize], n| SavedColumn::Float(shape.to_vec(), vec![1.0; n]);
        for (name, column, problem) in [
            ("key", SavedColumn::Count(vec![30, 51]), "is of other rows"),
            ("step", SavedColumn::Count(vec![0, 10]), "is past the 10"),
            ("step", SavedColumn::Count(vec![0]), "another shape"),
            ("step", SavedColumn::Real(vec![0.0; 2]), "another shape"),
            ("best.0", float(&[2, 3], 6), "another shape"),
            ("best.0", float(&[2, 2], 5), "another shape"),
            ("best.0", float(&[], 0), "another shape"),
            ("other", float(&[2, 2], 4), "not one of theirs"),
            ("region.eps", SavedColumn::Real(vec![9.0; 2]), "not one of"),
        ] {
            let told = put(name, column).unwrap_err();
            assert!(told.contains(problem) && told.contains(name), "{told}");
        }
        let mut fewer = saved();
        fewer.remove("best.0");
        let told = over_rows(rows(), fewer, 2, 10).unwrap_err().to_string();
        assert!(told.contains("`best.0` of the rows is missing"), "{told}");
    }

    #[test]
    fn a_state_of_another_attack_is_refused() {
        let model =
            |n| BTreeMap::from([("v".to_owned(), Saved::Float(vec![n, 2], vec![0.0; n * 2]))]);
        let fits = |columns| as_state(&model(1), columns, 3).is_ok();
        assert!(fits(of_state(model(3))));
        assert!(!fits(of_state(model(2))));
        assert!(!fits(SavedColumns::new()));
        let mut more = of_state(model(3));
        more.insert("w".to_owned(), SavedColumn::Real(vec![0.0; 3]));
        assert!(!fits(more));
    }
}
