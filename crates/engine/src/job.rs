use std::collections::BTreeMap;
use std::sync::Arc;

use proofmark_domain::{Modality, Seed};
use proofmark_threat::Threat;

use crate::{Checkpoint, Criterion, EngineError, Goal, Judge, Observer};

/// The samples of a run, on the host.
#[derive(Debug, Clone)]
pub struct Samples {
    /// The model's inputs.
    pub modalities: Arc<[Modality]>,
    /// Per modality: `n * features` values in C order, data units.
    pub values: Vec<Vec<f32>>,
    /// What each sample is judged against: its class, or whatever the [`Criterion`] numbers.
    pub labels: Vec<usize>,
    /// The class each sample is to be taken for, if targeted.
    pub targets: Option<Vec<usize>>,
    /// The key of each sample's random streams.
    pub keys: Vec<u64>,
}

impl Samples {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The values of sample `i`, one slice per modality.
    pub fn sample(&self, i: usize) -> Vec<&[f32]> {
        self.values
            .iter()
            .zip(self.modalities.iter())
            .map(|(v, m)| &v[i * m.features()..(i + 1) * m.features()])
            .collect()
    }

    /// The values of samples `at` side by side, per modality.
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
/// one.
pub type Starts = BTreeMap<usize, Arc<[Vec<f32>]>>;

/// One attack run: what to attack, within what, and how the engine goes about it.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The samples.
    pub samples: &'a Samples,
    /// Which of them to attack (places in `samples`).
    pub rows: &'a [usize],
    /// What may change, by how much.
    pub threat: &'a Threat,
    /// What success is.
    pub goal: &'a dyn Criterion,
    /// The run's seed.
    pub seed: Seed,
    /// Rows at work at once, at least 1. Changes speed and memory, never a result.
    pub batch: usize,
    /// Rows per model call; tails are padded with copies. `None` sends whatever is at work in one call.
    ///
    /// On the CPU a row's bits depend on the shape of the batch it is computed in, so results repeat
    /// bit for bit only for equal tiles.
    pub tile: Option<usize>,
    /// Whether rows that are already broken leave at once (and others take their place).
    pub compaction: bool,
    /// Sample-forwards one row may spend on its attack; a row that reaches it is stopped.
    pub forwards: Option<u64>,
    /// Broken rows that are enough: once so many are confirmed the run ends and the others are stopped.
    pub enough: Option<usize>,
    /// How returned points are measured again.
    pub judge: Judge,
    /// Asked between steps; `true` ends the run with a checkpoint.
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// Where a stopped run of the same attack on the same job is to go on. An attack that runs others takes it out
    /// for them, as it is of one run.
    pub resume: Option<&'a Checkpoint>,
    /// Points that earlier attacks found, for attacks that begin at one ([`Rows::starts`](crate::Rows::starts)).
    pub starts: Option<&'a Arc<Starts>>,
    /// Told about progress.
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
    /// The default tile: large enough that small models do not pay for their calls, small enough that a handful of
    /// surviving rows does not pay for many copies.
    pub const TILE: usize = 8;

    /// Activations of a sample from which it is a tile by itself: it keeps a thread busy, no place is padding, and the
    /// last rows of an attack run beside each other.
    const LARGE: usize = 1 << 17;

    /// The tile for a model of so many activations per sample, where they are known.
    pub fn tile_for(activations: Option<usize>) -> usize {
        match activations {
            Some(n) if n >= Self::LARGE => 1,
            _ => Self::TILE,
        }
    }

    /// A job over all samples with the usual settings: batch 64, tiles of 8, compaction on, one judge draw.
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
            observer,
        }
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
        if self.goal.targeted() && self.samples.targets.is_none() {
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
    fn large_models_are_asked_one_sample_at_a_time() {
        assert_eq!(Job::tile_for(None), Job::TILE);
        assert_eq!(Job::tile_for(Some(Job::LARGE - 1)), Job::TILE);
        assert_eq!(Job::tile_for(Some(Job::LARGE)), 1);
    }
}
