use std::collections::BTreeMap;
use std::sync::Arc;

use proofmark_domain::{Modality, Seed};
use proofmark_model::Signature;
use proofmark_threat::Threat;

use crate::{Checkpoint, Criterion, EngineError, Goal, Judge, Observer};

/// The samples of a run, on the host.
#[derive(Debug, Clone)]
pub struct Samples {
    /// Inputs of the model.
    pub modalities: Arc<[Modality]>,
    /// Per modality: `n * features` values in C order, data units.
    pub values: Vec<Vec<f32>>,
    /// Label of each sample: its class, or any number that the [`Criterion`] interprets.
    pub labels: Vec<usize>,
    /// Target class of each sample, if targeted.
    pub targets: Option<Vec<usize>>,
    /// Key of each sample's random streams.
    pub keys: Vec<u64>,
}

impl Samples {
    /// Returns the number of samples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Returns whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Returns the values of sample `i`, one slice per modality.
    pub fn sample(&self, i: usize) -> Vec<&[f32]> {
        self.values
            .iter()
            .zip(self.modalities.iter())
            .map(|(v, m)| &v[i * m.features()..(i + 1) * m.features()])
            .collect()
    }

    /// Returns the values of samples `at` one after the other, per modality.
    pub fn gather(&self, at: &[usize]) -> Vec<Vec<f32>> {
        self.values
            .iter()
            .zip(self.modalities.iter())
            .map(|(v, m)| {
                let f = m.features();
                at.iter()
                    .flat_map(|i| v[i * f..(i + 1) * f].iter().copied())
                    .collect()
            })
            .collect()
    }
}

/// Points known before an attack begins, by place in the samples; one vector of values per modality. Samples may share
/// a point.
pub type Starts = BTreeMap<usize, Arc<[Vec<f32>]>>;

/// Samples that an attack may mix into the one it attacks, for [`Rows::others`](crate::Rows::others).
#[derive(Debug, Clone, Default)]
pub struct Others {
    /// Per modality: `n * features` values in C order, data units.
    pub values: Vec<Vec<f32>>,
    /// Class of each; `None` if it is not known.
    pub labels: Option<Vec<usize>>,
    /// Key of each sample's random streams.
    pub keys: Vec<u64>,
}

impl Others {
    /// Returns all of `samples`.
    pub fn of(samples: &Samples) -> Self {
        Self {
            values: samples.values.clone(),
            labels: Some(samples.labels.clone()),
            keys: samples.keys.clone(),
        }
    }

    /// Returns the places of those that may be mixed into the sample with this key and label: of another class, or any
    /// other one if classes are not known.
    pub fn besides(&self, key: u64, label: usize) -> Vec<usize> {
        let other = |i: &usize| match &self.labels {
            Some(labels) => labels[*i] != label,
            None => self.keys[*i] != key,
        };
        (0..self.keys.len()).filter(other).collect()
    }
}

/// One attack run: samples, threat model, and settings of the engine.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The samples.
    pub samples: &'a Samples,
    /// Samples to attack (places in `samples`).
    pub rows: &'a [usize],
    /// Threat model: which inputs may change, and by how much.
    pub threat: &'a Threat,
    /// Criterion for success.
    pub goal: &'a dyn Criterion,
    /// The run's seed.
    pub seed: Seed,
    /// Maximum number of rows active at once, at least 1. It changes speed and memory, never a result.
    pub batch: usize,
    /// Rows per model call; the last call is padded with copies. `None` sends all active rows in one call.
    ///
    /// On the CPU a row's bits may depend on the shape of the batch it is computed in; results then repeat bit for bit
    /// only for equal tiles. For a model whose rows are independent ([`Signature::row_independent`]) the tile only says
    /// how many later restarts are begun beside the active rows: all active rows are sent in one call, without padding.
    pub tile: Option<usize>,
    /// Whether rows that are broken or invalid leave the batch at once, so that others take their place.
    pub compaction: bool,
    /// Maximum sample-forwards per row; a row that reaches it is stopped.
    pub forwards: Option<u64>,
    /// Number of broken rows that is enough: once so many are confirmed, the run ends and the other rows are stopped.
    pub enough: Option<usize>,
    /// How returned points are re-measured.
    pub judge: Judge,
    /// Called between steps; `true` ends the run with a checkpoint.
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// Checkpoint of a stopped run of the same attack on the same job, to continue from. It belongs to one run, so an
    /// attack that runs others clears it for them.
    pub resume: Option<&'a Checkpoint>,
    /// Points that earlier attacks found, for attacks that begin at one ([`Rows::starts`](crate::Rows::starts)).
    pub starts: Option<&'a Arc<Starts>>,
    /// Samples that attacks may mix into others; they must be the same for every shard of a run. `None` stands for the
    /// samples of the job.
    pub others: Option<&'a Arc<Others>>,
    /// Receives progress events.
    pub observer: &'a dyn Observer,
}

impl std::fmt::Debug for Job<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("rows", &self.rows.len())
            .field("threat", self.threat)
            .field("goal", &self.goal)
            .field("seed", &self.seed)
            .field("batch", &self.batch)
            .field("tile", &self.tile)
            .finish_non_exhaustive()
    }
}

impl<'a> Job<'a> {
    /// Default tile: large enough to keep the overhead per call low for small models, small enough that a few surviving
    /// rows need little padding.
    pub const TILE: usize = 8;

    /// Number of activations per sample from which one sample forms a tile: it keeps a thread busy, needs no padding,
    /// and lets the last rows of an attack run in parallel.
    const LARGE: usize = 1 << 17;

    /// Returns the tile for a model: one sample where tiles cost more than they bring, the default elsewhere.
    pub fn tile_for(signature: &Signature) -> usize {
        let is_large = signature.activations.is_some_and(|n| n >= Self::LARGE);
        if signature.row_independent || is_large {
            1
        } else {
            Self::TILE
        }
    }

    /// Creates a job with the usual settings: batch 64, tiles of 8, compaction on, one judge draw.
    pub fn new(
        samples: &'a Samples,
        rows: &'a [usize],
        threat: &'a Threat,
        observer: &'a dyn Observer,
    ) -> Self {
        Self {
            samples,
            rows,
            threat,
            goal: &Goal::Untargeted,
            seed: Seed(0),
            batch: 64,
            tile: Some(Self::TILE),
            compaction: true,
            forwards: None,
            enough: None,
            judge: Judge::default(),
            stop: &|| false,
            resume: None,
            starts: None,
            others: None,
            observer,
        }
    }

    /// Returns the number of classes that attacks see: those of the model, or class 0 for "not met" and one for each
    /// way to meet the criterion ([`Ways`](crate::criterion::Ways)). Attacks never use [`Signature::classes`].
    pub fn classes(&self, signature: &Signature) -> usize {
        let ways = self.goal.ways();
        ways.map_or(signature.classes, |w| 1 + w.count(signature.classes))
    }

    pub(crate) fn check(&self) -> Result<(), EngineError> {
        let zero = |name, expected: &str| {
            Err(EngineError::Parameter {
                name,
                given: "0".into(),
                expected: expected.into(),
            })
        };
        if self.batch == 0 {
            return zero("batch-size", "at least 1 row");
        }
        if self.tile == Some(0) {
            return zero("tile", "at least 1 row");
        }
        if self.enough == Some(0) {
            return zero("enough", "at least 1 row");
        }
        if self.judge.draws == 0 {
            return zero("judge draws", "at least 1");
        }
        if self.goal.needs_target() && self.samples.targets.is_none() {
            return Err(EngineError::Parameter {
                name: "goal",
                given: "targeted".into(),
                expected: "a target class per sample".into(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_and_row_independent_models_get_tiles_of_one_sample() {
        let bounds = proofmark_domain::Bounds::uniform(0.0, 1.0).unwrap();
        let modality = proofmark_domain::Modality {
            name: "x".into(),
            kind: proofmark_domain::Kind::Table,
            shape: vec![2],
            bounds,
        };
        let mut signature =
            Signature::new("model", vec![modality], 2, &burn::tensor::Device::flex()).unwrap();
        assert_eq!(Job::tile_for(&signature), Job::TILE);
        signature.activations = Some(Job::LARGE - 1);
        assert_eq!(Job::tile_for(&signature), Job::TILE);
        signature.activations = Some(Job::LARGE);
        assert_eq!(Job::tile_for(&signature), 1);
        signature.activations = None;
        signature.row_independent = true;
        assert_eq!(Job::tile_for(&signature), 1);
    }
}
