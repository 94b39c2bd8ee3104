use std::sync::atomic::{AtomicU64, Ordering};

use proofmark_domain::Shard;
use proofmark_engine::{Event, Observer};
use proofmark_gate::{Limits, NoRecord, Record};

use super::GateOptions;
use crate::{Progress, RunCheckpoint};

/// A check ready to be measured: everything it names is opened and checked.
pub(super) trait Work {
    /// Returns notes on how its model is computed and its data were read.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Checks that a record is of this check as it stands, finished or not; the error says what differs.
    fn fits(&self, record: &Record, shard: Option<Shard>, same_device: bool) -> Result<(), String>;

    /// Checks that it can resume from a checkpoint; the error says why not.
    fn can_resume(
        &self,
        checkpoint: &RunCheckpoint,
        options: &GateOptions<'_>,
    ) -> Result<(), String>;

    /// Measures the check.
    fn run(&self, check: &str, turn: &Turn<'_>) -> Result<Record, NoRecord>;
}

/// Context in which a check is measured.
pub(super) struct Turn<'a> {
    pub(super) options: &'a GateOptions<'a>,
    /// Whether the run must end: it was told to, or has spent what the policy allows.
    pub(super) stop: &'a (dyn Fn() -> bool + Sync),
    pub(super) progress: &'a dyn Progress,
}

/// Counts the queries of models, for `[limits] forwards`: clean samples, attacks, baselines, probes and judging.
pub(super) struct Meter<'a> {
    progress: &'a dyn Progress,
    clock: &'a (dyn Fn() -> f64 + Sync),
    stop: &'a (dyn Fn() -> bool + Sync),
    limits: Limits,
    began: f64,
    forwards: AtomicU64,
}

impl<'a> Meter<'a> {
    pub(super) fn new(options: &'a GateOptions<'a>, limits: Limits) -> Self {
        Self {
            progress: options.progress,
            clock: options.clock,
            stop: options.stop,
            limits,
            began: (options.clock)(),
            forwards: AtomicU64::new(0),
        }
    }

    /// Whether the run must end.
    pub(super) fn is_over(&self) -> bool {
        let seconds = || (self.clock)() - self.began;
        let forwards = || self.forwards.load(Ordering::Relaxed);
        (self.stop)()
            || self.limits.seconds.is_some_and(|s| seconds() > s)
            || self.limits.forwards.is_some_and(|f| forwards() > f)
    }
}

impl Observer for Meter<'_> {
    fn event(&self, event: Event) {
        if let Event::Queried { forward, .. } = event {
            self.forwards.fetch_add(forward, Ordering::Relaxed);
        }
        self.progress.event(event);
    }
}

impl Progress for Meter<'_> {
    fn begin(&self, run: &str, samples: usize) {
        self.progress.begin(run, samples);
    }
}
