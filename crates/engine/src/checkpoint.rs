use std::collections::BTreeMap;

use proofmark_domain::QueryCount;
use proofmark_threat::Saved;
use serde::{Deserialize, Serialize};

use crate::{EngineError, Outcome};

/// A stopped run: everything needed to go on and end with the numbers the whole run would have had.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Id of the attack.
    pub(crate) attack: String,
    /// The round (restart) it was in.
    pub(crate) round: u32,
    /// Samples of this round not begun yet.
    pub(crate) pending: Vec<usize>,
    /// The rows at work, and the attack's state, by column.
    pub(crate) active: Option<[BTreeMap<String, SavedColumn>; 2]>,
    /// Points of this round waiting for the judge, and whether they were seen to succeed.
    pub(crate) waiting: Vec<(usize, Vec<Vec<f32>>, bool)>,
    /// What is known of every row of the job so far.
    pub(crate) outcomes: Vec<Outcome>,
    /// Queries by place in the samples.
    pub(crate) ledger: Vec<QueryCount>,
}

/// [`Saved`], in a form that can be written down.
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

impl Checkpoint {
    /// The checkpoint as bytes (postcard).
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("plain data serialise")
    }

    /// A checkpoint from bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EngineError> {
        postcard::from_bytes(bytes)
            .map_err(|e| EngineError::Checkpoint(format!("not readable: {e}")))
    }
}
