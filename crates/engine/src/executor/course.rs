use std::collections::BTreeMap;

use proofmark_domain::{Observation, QueryCount, RunStatus};
use serde::{Deserialize, Serialize};

use crate::judge::{Candidate, Measured};
use crate::{Aim, Outcome};

/// What ends a try before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fault {
    /// Something was not finite.
    Invalid(Observation),
    /// The row's budget of queries is spent.
    Exhausted,
}

/// What one try of a row came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// What it asked.
    pub(crate) spent: QueryCount,
    /// Whether it ended before the tries before it had: its queries are no part of the row's yet.
    #[serde(skip)]
    pub(crate) early: bool,
    /// Whether at least half of its gradients were exactly zero.
    pub(crate) zero: bool,
    /// What ended it, if not its last step or a success.
    pub(crate) fault: Option<Fault>,
    /// The best value it reached of what the attack maximises.
    pub(crate) reached: Option<f32>,
    /// The point that the judge is to look at.
    pub(crate) candidate: Option<Candidate>,
    /// Whether the oracle saw that point succeed: a rejection is then worth telling.
    pub(crate) seen: bool,
    /// What the judge said.
    #[serde(skip)]
    pub(crate) measured: Option<Measured>,
}

impl Ended {
    /// Whether the judge has to look at it first.
    pub(crate) fn waits(&self) -> bool {
        self.candidate.is_some() && self.measured.is_none()
    }
}

/// A row's way through the tries of an attack.
///
/// Tries count in order: the first that succeeds ends the row, and what later ones did is thrown away. They may be run
/// out of order all the same, in places that would be padding.
#[derive(Debug)]
pub(crate) struct Course {
    /// What the tries that count so far came to.
    pub(crate) outcome: Outcome,
    /// The lowest try that does not count yet.
    pub(crate) next: u32,
    /// Tries from that one on that have ended.
    pub(crate) ended: BTreeMap<u32, Ended>,
    /// Whether its tries are run in their order only: a try run early would have spent the row's budget in its middle.
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

    /// Whether another try may follow what the row came to so far.
    pub(crate) fn goes_on(&self, aim: Aim, restarts: u32) -> bool {
        let unfinished = match self.outcome.status {
            RunStatus::Robust => true,
            RunStatus::Broken => aim == Aim::Minimise,
            _ => false,
        };
        unfinished && self.next < restarts
    }

    /// Whether a try of it was seen to succeed, so that later ones will hardly count.
    pub(crate) fn was_seen(&self) -> bool {
        self.ended.values().any(|e| e.seen)
    }

    /// Ends the row without a result; what is proven broken stays so.
    pub(crate) fn end(&mut self, status: RunStatus) {
        self.outcome.without_point = status;
        if self.outcome.status != RunStatus::Broken {
            self.outcome.status = status;
        }
    }

    /// Lets the next try count; `judging` is what the judge's look at its point cost.
    pub(crate) fn count(&mut self, ended: Ended, judging: QueryCount) {
        self.next += 1;
        self.outcome.queries += ended.spent;
        if let Some(reached) = ended.reached {
            let best = &mut self.outcome.reached;
            // `max` passes a NaN by.
            *best = Some(best.unwrap_or(f32::NEG_INFINITY).max(reached));
        }
        if ended.zero && !ended.seen {
            self.outcome.observe(Observation::ZeroGradient);
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
