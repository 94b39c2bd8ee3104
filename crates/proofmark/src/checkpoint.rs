//! Checkpoint of a stopped run, with everything needed to resume it.

use proofmark_domain::{Cost, Needs, Observation, Reading, RunOutcome, hex};
use proofmark_engine::{Checkpoint, Clean, Outcome, Point};
use proofmark_gate::difference;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{Measurement, RunError, RunPlan, device};

/// First bytes of every checkpoint, with the version of the format.
const HEAD: &[u8] = b"proofmark/checkpoint/3\n";

/// Length in bytes of the digest that follows.
const DIGEST: usize = 32;

/// Checkpoint of a [`RunPlan`] that was stopped after its clean samples were measured: the results so far, and the
/// state of the attack in progress. Passed back as [`RunPlan::resume`], the run ends with the report it would have had.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunCheckpoint {
    /// The run, as JSON: see [`RunPlan::identity`].
    identity: String,
    /// Seconds spent so far.
    pub(crate) seconds: f64,
    clean: Vec<CleanSample>,
    pub(crate) reading: Option<Reading>,
    /// Results of the finished runs.
    pub(crate) finished: Finished,
    /// State of the run in progress, if the engine was running it.
    pub(crate) at: Option<Checkpoint>,
    /// Cost of that run so far.
    pub(crate) at_cost: Cost,
    /// Places of the samples of the look in progress, first and end; absent if the number of samples is fixed.
    look: Option<(usize, usize)>,
    /// Whether anything of it was measured.
    begun: bool,
    /// Results of the looks before it.
    pub(crate) earlier: Option<Earlier>,
}

/// Results of the looks of a sequential run that are finished.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Earlier {
    /// The report, as JSON: it leaves out empty fields, which postcard cannot.
    report: String,
    adversarials: Vec<Option<Vec<Vec<f32>>>>,
}

impl Earlier {
    pub(crate) fn of(measured: &Measurement) -> Self {
        Self {
            report: json!(measured.report).to_string(),
            adversarials: measured.adversarials.clone(),
        }
    }

    fn measurement(&self) -> Result<Measurement, RunError> {
        let report = serde_json::from_str(&self.report);
        Ok(Measurement {
            report: report.map_err(|e| wrong(format!("its earlier looks: {e}")))?,
            adversarials: self.adversarials.clone(),
            // Universal attacks do not run in looks.
            universal: Vec::new(),
            map: None,
            checkpoint: None,
            is_cut: false,
        })
    }
}

/// [`Clean`] in a form that can be serialised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct CleanSample {
    row: usize,
    /// `None` if the model only decides.
    scores: Option<Vec<f32>>,
    pred: Option<usize>,
    observed: Vec<Observation>,
}

/// Results of the finished runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Finished {
    /// Cost of each run, in the order of the plan.
    pub(crate) costs: Vec<Cost>,
    /// Why each run failed, if it did.
    pub(crate) failed: Vec<Option<String>>,
    /// Outcomes of every run per sample, as JSON: it leaves out empty fields, which postcard cannot.
    outcomes: String,
    /// Adversarial of the smallest budget so far, with that budget, per sample.
    pub(crate) best: Vec<Option<(f64, Point)>>,
}

impl Finished {
    pub(crate) fn new(
        costs: Vec<Cost>,
        failed: Vec<Option<String>>,
        outcomes: &[&[RunOutcome]],
        best: Vec<Option<(f64, Point)>>,
    ) -> Self {
        Self {
            costs,
            failed,
            outcomes: json!(outcomes).to_string(),
            best,
        }
    }

    /// Returns the outcomes of every run, per sample.
    pub(crate) fn outcomes(&self) -> Result<Vec<Vec<RunOutcome>>, RunError> {
        serde_json::from_str(&self.outcomes).map_err(|e| wrong(format!("its outcomes: {e}")))
    }
}

impl RunCheckpoint {
    pub(crate) fn new(
        plan: &RunPlan<'_>,
        clean: &[Clean],
        reading: Option<Reading>,
        finished: Finished,
        at: (Option<Checkpoint>, Cost),
    ) -> Result<Self, RunError> {
        let sample = |c: &Clean| CleanSample {
            row: c.row,
            scores: c.scores.clone(),
            pred: c.pred,
            observed: c.observed.clone(),
        };
        Ok(Self {
            identity: plan.identity()?.to_string(),
            seconds: 0.0,
            clean: clean.iter().map(sample).collect(),
            reading,
            finished,
            at: at.0,
            at_cost: at.1,
            look: plan.look.as_ref().map(|l| (l.start, l.end)),
            begun: true,
            earlier: None,
        })
    }

    /// Returns the checkpoint of a sequential run that was stopped between two looks, before the one of `plan`.
    pub(crate) fn between(plan: &RunPlan<'_>, earlier: Earlier) -> Result<Self, RunError> {
        let nothing = Finished::new(Vec::new(), Vec::new(), &[], Vec::new());
        let checkpoint = Self::new(plan, &[], None, nothing, (None, Cost::default()))?;
        Ok(Self {
            begun: false,
            earlier: Some(earlier),
            ..checkpoint
        })
    }

    /// Whether anything of the look in progress was measured.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Returns the first place of the look in progress, and the results of the looks before it.
    pub(crate) fn before(&self) -> Result<(usize, Option<Measurement>), RunError> {
        let begin = self.look.map_or(0, |look| look.0);
        let earlier = self.earlier.as_ref().map(Earlier::measurement);
        Ok((begin, earlier.transpose()?))
    }

    /// Returns the clean samples, as they were measured.
    pub(crate) fn clean(&self) -> Vec<Clean> {
        let sample = |c: &CleanSample| Clean {
            row: c.row,
            scores: c.scores.clone(),
            pred: c.pred,
            observed: c.observed.clone(),
        };
        self.clean.iter().map(sample).collect()
    }

    /// Refuses a checkpoint of another plan, naming the field that differs, and one that contradicts `plan`.
    pub(crate) fn check(&self, plan: &RunPlan<'_>, samples: usize) -> Result<(), RunError> {
        let found: Value =
            serde_json::from_str(&self.identity).map_err(|e| wrong(format!("its plan: {e}")))?;
        if let Some(difference) = difference(&plan.identity()?, &found) {
            return Err(wrong(difference.to_string()));
        }
        if self.look != plan.look.as_ref().map(|l| (l.start, l.end)) {
            return Err(wrong("it is of another look".to_owned()));
        }
        if !self.begun {
            return Ok(());
        }
        let classes = plan.model.signature().classes;
        let in_order = self.clean.iter().map(|c| c.row).eq(0..samples);
        let decides = plan.model.judged().gives() == Needs::Decisions;
        let sound = |c: &CleanSample| {
            c.scores.as_ref().map_or(decides, |s| s.len() == classes)
                && c.pred.is_none_or(|p| p < classes)
        };
        if !in_order || !self.clean.iter().all(sound) {
            return Err(wrong(format!(
                "its clean samples do not fit; expected {samples} with {classes} scores each"
            )));
        }
        let inputs = plan.inputs()?;
        let sound = |(_, point): &(f64, Point)| {
            point.x.len() == inputs.len()
                && point
                    .x
                    .iter()
                    .zip(inputs.iter())
                    .all(|(x, m)| x.len() == m.features())
        };
        let best = &self.finished.best;
        if best.len() != samples || !best.iter().flatten().all(sound) {
            return Err(wrong(format!(
                "its adversarials do not fit; expected {samples} of the model's inputs"
            )));
        }
        Ok(())
    }

    /// Returns the bytes of the checkpoint: a line with the version, a digest, the content.
    pub fn to_bytes(&self) -> Vec<u8> {
        let content = postcard::to_stdvec(self).expect("plain data serialise");
        [HEAD, &Sha256::digest(&content), &content].concat()
    }

    /// Reads a checkpoint from bytes. Refuses a file that is not a checkpoint, is of another version or was changed
    /// after it was written.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RunError> {
        let Some((digest, content)) = bytes
            .strip_prefix(HEAD)
            .and_then(|rest| rest.split_at_checked(DIGEST))
        else {
            return Err(wrong(format!(
                "it does not begin with the header of this version; expected `{}`",
                String::from_utf8_lossy(HEAD).trim_end()
            )));
        };
        let found = Sha256::digest(content);
        if found.as_slice() != digest {
            return Err(wrong(format!(
                "its sha256 is {}, and it states {}: it was changed or cut short after it was written",
                hex(&found),
                hex(digest)
            )));
        }
        postcard::from_bytes(content).map_err(|e| wrong(e.to_string()))
    }
}

impl RunPlan<'_> {
    /// Returns the values that a checkpoint must agree with: the resolved plan, and everything that affects
    /// intermediate results.
    fn identity(&self) -> Result<Value, RunError> {
        let signature = self.model.signature();
        Ok(json!({
            "version": env!("CARGO_PKG_VERSION"),
            "plan": self.resolved()?.document(),
            "model": signature.name,
            "data": self.data.name,
            "shard": self.shard,
            "device": device::describe(&signature.device),
            "tile": self.settings.tile,
            "compaction": self.settings.compaction,
        }))
    }

    /// Checks that a checkpoint is of this plan, on this device; the error says what differs.
    pub fn can_resume(&self, checkpoint: &RunCheckpoint) -> Result<(), RunError> {
        let mut at = self.clone();
        // A sequential run resumes in the look that was in progress, with the report of those before it.
        if let (Some((begin, end)), Some(looks)) = (checkpoint.look, &self.looks) {
            let sizes = looks.sizes(self.data.len());
            let ends = sizes.iter().position(|size| *size == end);
            let begins = ends.map(|i| i.checked_sub(1).map_or(0, |before| sizes[before]));
            if self.shard.is_none() && begins == Some(begin) {
                at.look = Some(begin..end);
            }
        }
        checkpoint.check(&at, at.part()?.len())?;
        let (begin, earlier) = checkpoint.before()?;
        match earlier {
            None if begin == 0 => Ok(()),
            Some(earlier) if begin == earlier.report.samples.len() => {
                self.made(&earlier.report).map_err(wrong)
            }
            _ => Err(wrong("its earlier looks are incomplete".to_owned())),
        }
    }
}

/// Whether a run finished; `asked` says whether it was told to stop. Rows that stop because their own budget is spent
/// do not make it unfinished.
pub(crate) fn ended(outcomes: &[Outcome], checkpoint: Option<&Checkpoint>, asked: bool) -> bool {
    let stopped = |o: &Outcome| o.status == proofmark_domain::RunStatus::Stopped;
    checkpoint.is_none() && !(asked && outcomes.iter().any(stopped))
}

fn wrong(problem: String) -> RunError {
    RunError::Checkpoint(problem)
}
