use std::collections::BTreeMap;

use proofmark_domain::{Observation, QueryCount, RunStatus};
use serde::{Deserialize, Serialize};

use crate::judge::{Candidate, Measured};
use crate::{Aim, Outcome};

/// Reason why a restart ended early without success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fault {
    /// Scores or a gradient were not finite.
    Invalid(Observation),
    /// The row's query budget is used up.
    Exhausted,
}

/// Result of one restart of a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts about a restart that do not depend on each other"
)]
pub(crate) struct Ended {
    /// Queries it used.
    pub(crate) spent: QueryCount,
    /// Whether it ended before an earlier restart did: its queries do not count for the row yet.
    #[serde(skip)]
    pub(crate) early: bool,
    /// Whether at least half of its gradients were exactly zero.
    pub(crate) zero: bool,
    /// Whether it made all its steps, without success, and its loss was still rising over the last of them.
    pub(crate) rising: bool,
    /// Fault that ended it, if neither its last step nor a success did.
    pub(crate) fault: Option<Fault>,
    /// Best value it reached of the quantity that the attack maximises.
    pub(crate) reached: Option<f32>,
    /// Point for the judge.
    pub(crate) candidate: Option<Candidate>,
    /// Whether the oracle saw that point succeed, in which case a rejection is reported.
    pub(crate) seen: bool,
    /// Result of the judge.
    #[serde(skip)]
    pub(crate) measured: Option<Measured>,
}

impl Ended {
    /// Returns whether the judge must measure its point first.
    pub(crate) fn waits(&self) -> bool {
        self.candidate.is_some() && self.measured.is_none()
    }
}

/// Progress of a row through the restarts of an attack.
///
/// Restarts count in order: the first that succeeds ends the row, and the results of later ones are discarded. They may
/// still run out of order, in places that would otherwise be padding.
#[derive(Debug)]
pub(crate) struct Course {
    /// Outcome of the restarts that count so far.
    pub(crate) outcome: Outcome,
    /// Lowest restart that does not count yet.
    pub(crate) next: u32,
    /// Ended restarts from `next` on.
    pub(crate) ended: BTreeMap<u32, Ended>,
    /// Whether its restarts run only in order, because a restart run early would exceed the row's query budget.
    pub(crate) in_order: bool,
}

impl Course {
    pub(crate) fn new(outcome: Outcome, next: u32) -> Self {
        Self {
            outcome,
            next,
            ended: BTreeMap::new(),
            in_order: false,
        }
    }

    /// Returns whether another restart may follow the outcome so far.
    pub(crate) fn goes_on(&self, aim: Aim, restarts: u32) -> bool {
        let unfinished = match self.outcome.status {
            RunStatus::Robust => true,
            RunStatus::Broken => aim == Aim::Minimise,
            _ => false,
        };
        unfinished && self.next < restarts
    }

    /// Returns whether a restart was seen to succeed, so that later ones will hardly count.
    pub(crate) fn was_seen(&self) -> bool {
        self.ended.values().any(|e| e.seen)
    }

    /// Ends the row without a result; a row proven broken stays broken.
    pub(crate) fn end(&mut self, status: RunStatus) {
        self.outcome.without_point = status;
        if self.outcome.status != RunStatus::Broken {
            self.outcome.status = status;
        }
    }

    /// Counts the next restart; `judging` is the query cost of judging its point.
    pub(crate) fn count(&mut self, ended: Ended, judging: QueryCount) {
        self.next += 1;
        self.outcome.queries += ended.spent;
        if let Some(reached) = ended.reached {
            let best = &mut self.outcome.reached;
            // `f32::max` ignores a NaN.
            *best = Some(best.unwrap_or(f32::NEG_INFINITY).max(reached));
        }
        if ended.zero && !ended.seen {
            self.outcome.observe(Observation::ZeroGradient);
        }
        // One try that came to its end is enough.
        if !ended.rising || ended.seen {
            let observed = &mut self.outcome.observed;
            observed.retain(|o| *o != Observation::StillRising);
        } else if self.next == 1 {
            self.outcome.observe(Observation::StillRising);
        }
        if let Some(measured) = ended.measured {
            self.outcome.queries += judging;
            self.judged(measured, ended.seen);
        }
        // A point outside the budget does not make up for a search that was cut short.
        match ended.fault {
            Some(Fault::Invalid(what)) => {
                self.outcome.observe(what);
                self.end(RunStatus::Invalid);
            }
            Some(Fault::Exhausted) if self.outcome.without_point == RunStatus::Robust => {
                self.end(RunStatus::Stopped);
            }
            Some(Fault::Exhausted) | None => {}
        }
    }

    fn judged(&mut self, measured: Measured, seen: bool) {
        let Measured::Adversarial(point) = measured else {
            if seen {
                self.outcome.observe(Observation::WitnessRejected);
            }
            if matches!(measured, Measured::Undecided) {
                self.outcome.observe(Observation::NonFiniteScores);
                self.end(RunStatus::Invalid);
            }
            return;
        };
        let best = &mut self.outcome.point;
        if best.as_ref().is_none_or(|p| point.gauge < p.gauge) {
            if point.gauge <= 1.0 {
                self.outcome.status = RunStatus::Broken;
            }
            *best = Some(point);
        }
    }
}
