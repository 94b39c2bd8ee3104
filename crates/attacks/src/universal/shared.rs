//! What universal attacks share: how often a change succeeds on the samples of its fitting, and the best change so far.

use proofmark_domain::Norm;
use proofmark_engine::random::{Purpose, Stream, StreamKey, attack_code};
use proofmark_engine::{Change, EngineError, Fitting, Job, Meta, check_universal};
use proofmark_model::DecisionModel;

use crate::inputs;

/// Norms of universal changes.
pub(super) const NORMS: &[Norm] = &[Norm::Linf, Norm::L2];

/// Checks that a universal change can be fitted on the job: one norm that is supported, and more than one sample.
pub(super) fn check(meta: &Meta, job: &Job<'_>) -> Result<(), EngineError> {
    inputs::independent(meta, job)?;
    check_universal(job)
}

/// Returns `samples` in an order that the seed, their keys and the epoch determine.
pub(super) fn shuffled(job: &Job<'_>, id: &str, samples: &[usize], epoch: u32) -> Vec<usize> {
    let rank = |row: usize| {
        let mut key = StreamKey::new(job.seed, job.samples.keys[row], Purpose::Sequence);
        key.attack = attack_code(id);
        key.step = epoch;
        let mut stream = Stream::new(&key);
        (stream.next_u32(), stream.next_u32(), row)
    };
    let mut order = samples.to_vec();
    order.sort_by_key(|row| rank(*row));
    order
}

/// The change that succeeds on the most samples of the fitting; of equals, the last.
#[derive(Debug)]
pub(super) struct Best {
    pub(super) change: Change,
    pub(super) broken: usize,
}

impl Best {
    /// Begins with no change at all.
    pub(super) fn none(change: &[Vec<f32>]) -> Self {
        Self {
            change: change.to_vec(),
            broken: 0,
        }
    }

    /// Measures a change on the samples of the fitting, `at_once` of them per query, and keeps it if it succeeds on as
    /// many.
    pub(super) fn offer<M: DecisionModel + ?Sized>(
        &mut self,
        fitting: &mut Fitting<'_, M>,
        change: &[Vec<f32>],
        samples: &[usize],
        at_once: usize,
    ) -> Result<(), EngineError> {
        let mut broken = 0;
        for part in samples.chunks(at_once) {
            let succeeds = fitting.succeeds(part, change)?;
            broken += succeeds.into_iter().filter(|s| *s).count();
        }
        // Later changes come of smaller steps, so a tie goes to them.
        if broken >= self.broken {
            self.change = change.to_vec();
            self.broken = broken;
        }
        Ok(())
    }
}

/// Returns no change: zeros for every input.
pub(super) fn still(job: &Job<'_>) -> Change {
    let modalities = job.samples.modalities.iter();
    modalities.map(|m| vec![0.0; m.features()]).collect()
}
