//! Sequential runs: look by look, until what they are for is decided.

use std::collections::BTreeMap;

use proofmark_domain::{Report, SampleId};
use proofmark_gate::extend;

use super::{Measurement, RunPlan};
use crate::checkpoint::Earlier;
use crate::{RunCheckpoint, RunError};

impl RunPlan<'_> {
    /// Runs the plan look by look: all attacks on the samples of a look, then `decided` on the report of all samples so
    /// far. Ends at the first look at which it holds ([`is_decided`](proofmark_gate::is_decided) says when requirements
    /// are), at the last, or when an attack failed. The samples come in a plain random order that depends on seed and
    /// ids alone, and the looks are declared beforehand ([`RunPlan::looks`]), so the result depends neither on batch
    /// size nor on threads. The report is that of the samples of the looks made.
    ///
    /// Without looks, and for a shard, this is [`RunPlan::run`]: a shard cannot know what the others find, so it
    /// measures all of its samples, and judging the merged report drops those beyond the deciding look.
    pub fn run_until(&self, decided: &dyn Fn(&Report) -> bool) -> Result<Measurement, RunError> {
        let looks = self.looks.as_ref().filter(|_| self.shard.is_none());
        let sizes = looks.map_or_else(Vec::new, |looks| looks.sizes(self.data.len()));
        if sizes.is_empty() {
            return self.run();
        }
        let mut done: Option<Measurement> = None;
        let mut resume = None;
        let mut begin = 0;
        if let Some(checkpoint) = self.resume {
            self.can_resume(checkpoint)?;
            (begin, done) = checkpoint.before()?;
            resume = Some(checkpoint).filter(|c| c.has_begun());
        }
        for end in sizes {
            if end <= begin {
                continue;
            }
            let mut at = self.clone();
            at.look = Some(begin..end);
            at.resume = resume.take();
            if at.resume.is_none()
                && (self.stop)()
                && let Some(so_far) = done
            {
                return at.stopped_between(so_far);
            }
            let mut measured = at.run()?;
            let is_cut = measured.is_cut;
            if is_cut && let Some(so_far) = done {
                // Stopped before its first attack: nothing of this look is worth keeping.
                return at.stopped_between(so_far);
            }
            let mut checkpoint = measured.checkpoint.take();
            if let Some(checkpoint) = &mut checkpoint {
                checkpoint.earlier = done.as_ref().map(Earlier::of);
            }
            let mut all = join(done, measured);
            let failed = all.report.attacks.iter().any(|a| a.failed.is_some());
            if checkpoint.is_some() || failed || is_cut || decided(&all.report) {
                all.checkpoint = checkpoint;
                return Ok(all);
            }
            begin = end;
            done = Some(all);
        }
        // Every look was made; there is at least one.
        done.map_or_else(|| self.run(), Ok)
    }

    /// Returns the looks made so far, with a checkpoint at the beginning of this one.
    fn stopped_between(&self, mut so_far: Measurement) -> Result<Measurement, RunError> {
        let earlier = Earlier::of(&so_far);
        so_far.checkpoint = Some(RunCheckpoint::between(self, earlier)?);
        Ok(so_far)
    }
}

/// Joins the looks so far with the next.
fn join(done: Option<Measurement>, next: Measurement) -> Measurement {
    let Some(done) = done else {
        return next;
    };
    let ids = |m: &Measurement| -> Vec<SampleId> {
        m.report.samples.iter().map(|s| s.id.clone()).collect()
    };
    let ids = [ids(&done), ids(&next)].concat();
    let found = done.adversarials.into_iter().chain(next.adversarials);
    let by_id: BTreeMap<SampleId, _> = ids.into_iter().zip(found).collect();
    Measurement {
        // A report's samples are in the order of their ids.
        report: extend(done.report, next.report),
        adversarials: by_id.into_values().collect(),
        // Universal attacks do not run in looks.
        universal: Vec::new(),
        map: None,
        checkpoint: None,
        is_cut: false,
    }
}
