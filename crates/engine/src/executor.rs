use std::collections::{BTreeMap, VecDeque};

use burn::tensor::Tensor;
use proofmark_domain::{Observation, QueryCount, RunStatus};
use proofmark_model::{DecisionModel, guarded_device};
use proofmark_stats::random::attack_code;
use proofmark_threat::{append, host, index, load, save, select};

use crate::checkpoint::{Checkpoint, as_state, of_rows, of_state, over_rows};
use crate::judge::{Candidate, Measured};
use crate::{Aim, EngineError, Event, Job, Oracle, Outcome, Outcomes, Rows, Stepper};

/// Share of the batch that must be free before waiting rows are let in: refilling one row at a time costs
/// more than the places it fills.
const REFILL: usize = 4;

/// Runs an attack on every row of `job`.
///
/// Each restart is a round over the rows not yet broken; within a round the batch is kept full. At the end of
/// a round the judge measures what was found, and what is rejected goes on to the next. With [`Job::resume`] it goes on
/// where an earlier run was stopped.
pub fn run<M, S>(model: &M, stepper: &S, job: &Job<'_>) -> Result<Outcomes, EngineError>
where
    M: DecisionModel + ?Sized,
    S: Stepper<M>,
{
    // Device work outside the model (reads, judging, saving) can fail too: one boundary around all of it.
    guarded_device(|| {
        let mut execution = Execution::new(model, stepper, job)?;
        if let Some(checkpoint) = job.resume {
            execution.restore(checkpoint.clone())?;
        }
        execution.go()
    })
}

/// A point waiting for the judge.
struct Waiting {
    candidate: Candidate,
    /// Whether the oracle saw it succeed: a rejection is then worth telling.
    seen: bool,
}

struct Execution<'a, M: ?Sized, S: Stepper<M>>
where
    M: DecisionModel,
{
    oracle: Oracle<'a, M>,
    stepper: &'a S,
    job: &'a Job<'a>,
    attack: u32,
    round: u32,
    pending: VecDeque<usize>,
    active: Option<(Rows, S::State)>,
    waiting: Vec<Waiting>,
    /// By place in the job.
    outcomes: Vec<Outcome>,
    /// From place in the samples to place in the job.
    place: BTreeMap<usize, usize>,
}

impl<'a, M, S> Execution<'a, M, S>
where
    M: DecisionModel + ?Sized,
    S: Stepper<M>,
{
    fn new(model: &'a M, stepper: &'a S, job: &'a Job<'a>) -> Result<Self, EngineError> {
        job.check()?;
        let outcome = |row: &usize| Outcome {
            row: *row,
            status: RunStatus::Robust,
            point: None,
            queries: QueryCount::default(),
            observed: Vec::new(),
            reached: None,
        };
        Ok(Self {
            oracle: Oracle::new(model, job, stepper.aim()),
            stepper,
            job,
            attack: attack_code(stepper.id()),
            round: 0,
            pending: job.rows.iter().copied().collect(),
            active: None,
            waiting: Vec::new(),
            outcomes: job.rows.iter().map(outcome).collect(),
            place: job.rows.iter().enumerate().map(|(i, r)| (*r, i)).collect(),
        })
    }

    fn go(mut self) -> Result<Outcomes, EngineError> {
        loop {
            self.job.observer.event(Event::Round {
                restart: self.round,
                rows: self.pending.len() + self.active.as_ref().map_or(0, |(r, _)| r.len()),
            });
            let ended = self.one_round()?;
            if ended == Ended::Stopped {
                return self.stopped();
            }
            self.judge()?;
            if self.job.enough.is_some_and(|n| self.broken() >= n) {
                self.leave_the_rest();
                break;
            }
            if ended == Ended::Enough {
                // The judge disagreed: the round goes on.
                continue;
            }
            self.round += 1;
            if self.round >= self.stepper.restarts() {
                break;
            }
            let again = |o: &&Outcome| match self.stepper.aim() {
                Aim::Within => o.status == RunStatus::Robust,
                Aim::Minimise => matches!(o.status, RunStatus::Robust | RunStatus::Broken),
            };
            self.pending = self.outcomes.iter().filter(again).map(|o| o.row).collect();
            if self.pending.is_empty() {
                break;
            }
        }
        Ok(self.finish(None))
    }

    /// One restart of every pending row, or as much of it as there is need and time for.
    fn one_round(&mut self) -> Result<Ended, EngineError> {
        loop {
            self.refill()?;
            let Some((mut rows, mut state)) = self.active.take() else {
                return Ok(Ended::Over);
            };
            if (self.job.stop)() {
                self.active = Some((rows, state));
                return Ok(Ended::Stopped);
            }
            self.stepper.step(&mut self.oracle, &mut rows, &mut state)?;
            rows.advance_step();
            let active = rows.len();
            self.active = self.retire(rows, state);
            self.job.observer.event(Event::Step {
                active,
                done: self.waiting.len(),
            });
            let seen = self.waiting.iter().filter(|w| w.seen).count();
            if seen > 0 && self.job.enough.is_some_and(|n| self.broken() + seen >= n) {
                return Ok(Ended::Enough);
            }
        }
    }

    /// Rows the judge has confirmed.
    fn broken(&self) -> usize {
        let broken = |o: &&Outcome| o.status == RunStatus::Broken;
        self.outcomes.iter().filter(broken).count()
    }

    /// Rows abandoned after an early stop are `Stopped`, not `Robust`.
    fn leave_the_rest(&mut self) {
        for o in &mut self.outcomes {
            if o.status == RunStatus::Robust {
                o.status = RunStatus::Stopped;
            }
        }
    }

    /// Lets waiting rows in where there is room.
    fn refill(&mut self) -> Result<(), EngineError> {
        let active = self.active.as_ref().map_or(0, |(r, _)| r.len());
        let room = self.job.batch - active.min(self.job.batch);
        let due = if self.job.compaction {
            room * REFILL >= self.job.batch
        } else {
            active == 0
        };
        if !due || room == 0 || self.pending.is_empty() {
            return Ok(());
        }
        let mut fresh: Vec<usize> = Vec::with_capacity(room);
        while fresh.len() < room {
            let Some(row) = self.pending.pop_front() else {
                break;
            };
            // An earlier round and its judging may have spent all a row has.
            if self.exhausted(row) {
                self.end(row, RunStatus::Stopped);
            } else {
                fresh.push(row);
            }
        }
        if fresh.is_empty() {
            return Ok(());
        }
        let device = self.oracle.device().clone();
        let mut rows = Rows::new(self.job, &fresh, self.round, self.attack, &device)?;
        let mut state = self.stepper.start(&mut self.oracle, &mut rows)?;
        match &mut self.active {
            None => self.active = Some((rows, state)),
            Some((r, s)) => {
                append(r, &mut rows);
                append(s, &mut state);
            }
        }
        Ok(())
    }

    /// Takes out the rows that are done.
    fn retire(&mut self, mut rows: Rows, mut state: S::State) -> Option<(Rows, S::State)> {
        let flags = Flags::read(&rows);
        let done: Vec<Done> = (0..rows.len())
            .map(|i| self.done(&rows, &flags, i))
            .collect();
        let leaves: Vec<usize> = (0..rows.len()).filter(|i| done[*i] != Done::No).collect();
        if leaves.is_empty() {
            return Some((rows, state));
        }
        let at = index(&leaves, self.oracle.device());
        let best = rows.watch.best.select(&at).to_host();
        let last = self.stepper.last(&state).map(|b| b.select(&at).to_host());
        let reached = self.stepper.reached(&state).map(|r| host(&r.select(0, at)));
        let samples = rows.samples();
        let mut gone = vec![false; rows.len()];
        let mut refuted = vec![false; rows.len()];
        for (k, &i) in leaves.iter().enumerate() {
            // Seen to succeed, but only if the exact gauge agrees.
            let witness = flags.found[i]
                .then(|| self.point(&best, k))
                .filter(|x| self.allowed(samples[i], x));
            refuted[i] = flags.found[i] && witness.is_none();
            if refuted[i] && done[i] == Done::Found {
                continue;
            }
            gone[i] = true;
            if let Some(reached) = &reached {
                let best = &mut self.outcomes[self.place[&samples[i]]].reached;
                // `max` passes a NaN by.
                *best = Some(best.unwrap_or(f32::NEG_INFINITY).max(reached[k]));
            }
            let last = last.as_ref().map(|l| self.point(l, k));
            self.leave(samples[i], done[i], witness, last, flags.of(i));
        }
        if refuted.contains(&true) {
            rows.watch.forget(&refuted);
        }
        let stays: Vec<usize> = (0..rows.len()).filter(|i| !gone[*i]).collect();
        if stays.is_empty() {
            return None;
        }
        if stays.len() < rows.len() {
            select(&mut rows, &stays);
            select(&mut state, &stays);
        }
        Some((rows, state))
    }

    /// Whether row `i` is done, and why.
    fn done(&self, rows: &Rows, flags: &Flags, i: usize) -> Done {
        if rows.steps()[i] >= u64::from(self.stepper.steps()) {
            Done::Over
        } else if self.exhausted(rows.sample(i)) {
            Done::Spent
        } else if self.job.compaction && flags.invalid[i] {
            Done::Invalid
        } else if self.job.compaction && flags.found[i] && self.stepper.aim() == Aim::Within {
            Done::Found
        } else {
            Done::No
        }
    }

    /// Whether a row has spent the forwards it may.
    fn exhausted(&self, row: usize) -> bool {
        self.job
            .forwards
            .is_some_and(|limit| self.oracle.spent(row).forward >= limit)
    }

    /// Row `k` of host values, one vector per modality.
    fn point(&self, values: &[Vec<f32>], k: usize) -> Vec<Vec<f32>> {
        values
            .iter()
            .zip(self.job.samples.modalities.iter())
            .map(|(v, m)| v[k * m.features()..(k + 1) * m.features()].to_vec())
            .collect()
    }

    /// Ends a row without a result, unless an earlier round has proven it broken.
    fn end(&mut self, row: usize, status: RunStatus) {
        let outcome = &mut self.outcomes[self.place[&row]];
        if outcome.status != RunStatus::Broken {
            outcome.status = status;
        }
    }

    /// Writes down what became of a row that leaves.
    fn leave(
        &mut self,
        row: usize,
        done: Done,
        witness: Option<Vec<Vec<f32>>>,
        last: Option<Vec<Vec<f32>>>,
        flags: RowFlags,
    ) {
        let outcome = &mut self.outcomes[self.place[&row]];
        if let Some(x) = witness {
            self.waiting.push(Waiting {
                candidate: Candidate { row, x },
                seen: true,
            });
            return;
        }
        if flags.zero {
            add(&mut outcome.observed, Observation::ZeroGradient);
        }
        if let Some(what) = flags.invalid {
            add(&mut outcome.observed, what);
            self.end(row, RunStatus::Invalid);
        } else if done == Done::Spent {
            self.end(row, RunStatus::Stopped);
        } else if let Some(x) = last {
            self.waiting.push(Waiting {
                candidate: Candidate { row, x },
                seen: false,
            });
        }
    }

    /// Whether a point is inside bounds and (for attacks that must be) within the budget, in `f64`.
    fn allowed(&self, row: usize, x: &[Vec<f32>]) -> bool {
        let x0 = self.job.samples.sample(row);
        let gauge = self
            .job
            .threat
            .gauge(&self.job.samples.modalities, row, x, &x0);
        match self.stepper.aim() {
            Aim::Within => gauge.is_some_and(|g| g <= 1.0),
            Aim::Minimise => gauge.is_some(),
        }
    }

    /// Has this round's points measured again.
    fn judge(&mut self) -> Result<(), EngineError> {
        let mut waiting = std::mem::take(&mut self.waiting);
        // Rows leave in an order that depends on the batch; the judge sees them by sample.
        waiting.sort_by_key(|w| w.candidate.row);
        let (candidates, seen): (Vec<Candidate>, Vec<bool>) =
            waiting.into_iter().map(|w| (w.candidate, w.seen)).unzip();
        let measured = self
            .job
            .judge
            .measure(&mut self.oracle, self.job, &candidates)?;
        for ((candidate, seen), measured) in candidates.iter().zip(seen).zip(measured) {
            let outcome = &mut self.outcomes[self.place[&candidate.row]];
            let Measured::Adversarial(point) = measured else {
                if seen {
                    add(&mut outcome.observed, Observation::WitnessRejected);
                }
                if matches!(measured, Measured::Undecided) {
                    add(&mut outcome.observed, Observation::NonFiniteScores);
                    self.end(candidate.row, RunStatus::Invalid);
                }
                continue;
            };
            if outcome.point.as_ref().is_none_or(|p| point.gauge < p.gauge) {
                if point.gauge <= 1.0 {
                    outcome.status = RunStatus::Broken;
                }
                outcome.point = Some(point);
            }
        }
        let broken = self.broken();
        self.job.observer.event(Event::Judged { broken });
        Ok(())
    }

    fn finish(mut self, checkpoint: Option<Checkpoint>) -> Outcomes {
        for o in &mut self.outcomes {
            o.queries = self.oracle.spent(o.row);
            if o.status == RunStatus::Broken {
                // Proof is proof: what the gradients did on the way no longer matters for this row.
                o.observed.retain(|x| *x != Observation::ZeroGradient);
            }
        }
        Outcomes {
            rows: self.outcomes,
            checkpoint,
        }
    }

    fn stopped(mut self) -> Result<Outcomes, EngineError> {
        let active = self
            .active
            .take()
            .map(|(mut rows, mut state)| [of_rows(save(&mut rows)), of_state(save(&mut state))]);
        let checkpoint = Checkpoint {
            attack: self.stepper.id().to_owned(),
            round: self.round,
            pending: self.pending.iter().copied().collect(),
            active,
            waiting: self
                .waiting
                .iter()
                .map(|w| (w.candidate.row, w.candidate.x.clone(), w.seen))
                .collect(),
            outcomes: self.outcomes.clone(),
            ledger: self.oracle.ledger_mut().clone(),
        };
        // What was found before the stop is proof all the same.
        self.judge()?;
        self.leave_the_rest();
        Ok(self.finish(Some(checkpoint)))
    }

    fn restore(&mut self, c: Checkpoint) -> Result<(), EngineError> {
        c.check(self.job, self.stepper.id(), self.stepper.restarts())?;
        let samples = c.active_samples()?;
        self.round = c.round;
        self.pending = c.pending.into();
        self.waiting = c
            .waiting
            .into_iter()
            .map(|(row, x, seen)| Waiting {
                candidate: Candidate { row, x },
                seen,
            })
            .collect();
        self.outcomes = c.outcomes;
        if let Some([saved_rows, saved_state]) = c.active {
            let device = self.oracle.device().clone();
            let fresh =
                |samples: &[usize]| Rows::new(self.job, samples, c.round, self.attack, &device);
            // A state of one row shows which columns this attack has.
            let mut one = fresh(&samples[..1])?;
            let mut state = self.stepper.start(&mut self.oracle, &mut one)?;
            let mut rows = fresh(&samples)?;
            let (n, steps) = (samples.len(), u64::from(self.stepper.steps()));
            let saved_rows = over_rows(save(&mut rows), saved_rows, n, steps)?;
            let saved_state = as_state(&save(&mut state), saved_state, n)?;
            load(&mut rows, &saved_rows, &device)?;
            load(&mut state, &saved_state, &device)?;
            self.active = Some((rows, state));
        }
        *self.oracle.ledger_mut() = c.ledger;
        Ok(())
    }
}

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// Every row came to its end.
    Over,
    /// As many were seen to succeed as are enough.
    Enough,
    /// It was asked to.
    Stopped,
}

/// Why a row is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    /// It is not.
    No,
    /// Its steps are over.
    Over,
    /// Its query budget is spent.
    Spent,
    /// Something was not finite.
    Invalid,
    /// An adversarial was found.
    Found,
}

/// What the oracle has marked, read back in one go.
struct Flags {
    found: Vec<bool>,
    invalid: Vec<bool>,
    by_gradient: Vec<bool>,
    /// At least half of the gradients were exactly zero.
    zero: Vec<bool>,
}

/// The marks of one row that its outcome keeps.
#[derive(Clone, Copy)]
struct RowFlags {
    invalid: Option<Observation>,
    zero: bool,
}

impl Flags {
    fn read(rows: &Rows) -> Self {
        let w = &rows.watch;
        let columns = [&w.found, &w.invalid, &w.zero, &w.gradients].map(Clone::clone);
        let all = host(&Tensor::stack::<2>(columns.to_vec(), 0));
        let n = rows.len();
        let [found, invalid, zero, gradients] = [0, 1, 2, 3].map(|c| &all[c * n..(c + 1) * n]);
        Self {
            found: found.iter().map(|v| *v > 0.5).collect(),
            invalid: invalid.iter().map(|v| *v > 0.5).collect(),
            by_gradient: invalid.iter().map(|v| *v > 1.5).collect(),
            zero: zero
                .iter()
                .zip(gradients)
                .map(|(z, g)| *g > 0.0 && 2.0 * z >= *g)
                .collect(),
        }
    }

    fn of(&self, i: usize) -> RowFlags {
        let what = if self.by_gradient[i] {
            Observation::NonFiniteGradient
        } else {
            Observation::NonFiniteScores
        };
        RowFlags {
            invalid: self.invalid[i].then_some(what),
            zero: self.zero[i],
        }
    }
}

fn add(observed: &mut Vec<Observation>, what: Observation) {
    if let Err(at) = observed.binary_search(&what) {
        observed.insert(at, what);
    }
}
