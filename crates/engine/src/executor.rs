use std::collections::{BTreeMap, BTreeSet};

use proofmark_domain::{QueryCount, RunStatus};
use proofmark_model::{DecisionModel, guarded_device};
use proofmark_stats::random::attack_code;
use proofmark_threat::{append, host, index, load, save, select};

use crate::checkpoint::{Checkpoint, as_state, of_rows, of_state, over_rows};
use crate::judge::{Candidate, Measured};
use crate::{Aim, EngineError, Event, Job, Oracle, Outcome, Outcomes, Rows, Stepper};

mod course;
mod flags;

pub(crate) use course::{Course, Ended};
use flags::Flags;

/// Share of the batch (and of a tile) that must be free before waiting rows are let in: refilling one row at a time
/// costs more than the places it fills.
const REFILL: usize = 4;

/// Runs an attack on every row of `job`.
///
/// A row's tries (restarts) count in their order, each judged before the next counts; the batch is kept full with rows
/// that wait for their turn. Where none waits, later tries of the rows at work fill what would be padding of a tile. That
/// is never visible but in [`Outcomes::computed`]: if an earlier try succeeds, they are thrown away. With
/// [`Job::resume`] the run goes on where an earlier one was stopped.
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

/// A try of a row: its place in the job, and which.
type Try = (usize, u32);

struct Execution<'a, M: ?Sized, S: Stepper<M>>
where
    M: DecisionModel,
{
    oracle: Oracle<'a, M>,
    stepper: &'a S,
    job: &'a Job<'a>,
    attack: u32,
    /// The highest try begun so far, for observers.
    round: Option<u32>,
    /// By place in the job.
    courses: Vec<Course>,
    /// Places of the rows that are not over.
    open: BTreeSet<usize>,
    /// Tries whose turn it is and that have not begun: lower tries first, then in the job's order.
    due: BTreeSet<(u32, usize)>,
    active: Option<(Rows, S::State)>,
    /// Tries at work that will never count.
    cancelled: BTreeSet<Try>,
    /// Tries that have ended and wait for the judge.
    unjudged: BTreeSet<Try>,
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
        let course = |row: &usize| {
            let outcome = Outcome {
                row: *row,
                status: RunStatus::Robust,
                point: None,
                queries: QueryCount::default(),
                observed: Vec::new(),
                reached: None,
            };
            Course::new(outcome, 0)
        };
        let places = 0..job.rows.len();
        Ok(Self {
            oracle: Oracle::new(model, job, stepper.aim()),
            stepper,
            job,
            attack: attack_code(stepper.id()),
            round: None,
            courses: job.rows.iter().map(course).collect(),
            open: places.clone().collect(),
            due: places.map(|place| (0, place)).collect(),
            active: None,
            cancelled: BTreeSet::new(),
            unjudged: BTreeSet::new(),
            place: job.rows.iter().enumerate().map(|(i, r)| (*r, i)).collect(),
        })
    }

    fn go(mut self) -> Result<Outcomes, EngineError> {
        loop {
            self.refill()?;
            let Some((mut rows, mut state)) = self.active.take() else {
                if self.unjudged.is_empty() {
                    break;
                }
                self.judge()?;
                if self.has_enough() {
                    break;
                }
                continue;
            };
            if (self.job.stop)() {
                self.active = Some((rows, state));
                return self.stopped();
            }
            self.step(&mut rows, &mut state)?;
            let active = rows.len();
            self.active = self.retire(rows, state);
            self.job.observer.event(Event::Step {
                active,
                done: self.courses.len() - self.open.len() + self.unjudged.len(),
            });
            if self.is_judging_due() {
                self.judge()?;
                if self.has_enough() {
                    break;
                }
            }
        }
        if self.has_enough() {
            if let Some((rows, _)) = self.active.take() {
                self.count_at_work(&rows);
            }
            self.leave_the_rest();
        }
        Ok(self.finish(None))
    }

    /// Adds to the ledger what tries have asked whose turn it is and that will not end.
    fn count_at_work(&mut self, rows: &Rows) {
        for i in 0..rows.len() {
            let (place, number) = self.try_of(rows, i);
            if self.is_due((place, number)) {
                self.courses[place].outcome.queries += rows.spent(i);
            }
        }
    }

    /// One step of the rows at work.
    fn step(&mut self, rows: &mut Rows, state: &mut S::State) -> Result<(), EngineError> {
        let before: Vec<QueryCount> = (0..rows.len()).map(|i| rows.spent(i)).collect();
        self.stepper.step(&mut self.oracle, rows, state)?;
        rows.advance_step();
        let counts = (0..rows.len()).filter(|i| self.is_due(self.try_of(rows, *i)));
        let asked = counts.map(|i| rows.spent(i) - before[i]);
        self.job.observer.event(Event::asked(asked));
        Ok(())
    }

    /// Which try row `i` is.
    fn try_of(&self, rows: &Rows, i: usize) -> Try {
        (self.place[&rows.sample(i)], rows.restarts()[i] as u32)
    }

    /// Whether it is a try's turn: all before it count already.
    fn is_due(&self, (place, number): Try) -> bool {
        self.courses[place].next == number
    }

    fn is_judging_due(&self) -> bool {
        match self.job.enough {
            // What was seen may be the last that is needed.
            Some(enough) => {
                let seen = |t: &&Try| self.courses[t.0].ended[&t.1].seen;
                let seen = self.unjudged.iter().filter(seen).count();
                seen > 0 && self.broken() + seen >= enough
            }
            None => self.unjudged.len() >= self.job.batch.max(self.job.tile.unwrap_or(1)),
        }
    }

    /// Rows the judge has confirmed.
    fn broken(&self) -> usize {
        let broken = |c: &&Course| c.outcome.status == RunStatus::Broken;
        self.courses.iter().filter(broken).count()
    }

    fn has_enough(&self) -> bool {
        self.job.enough.is_some_and(|n| self.broken() >= n)
    }

    /// Rows abandoned after an early stop are `Stopped`, not `Robust`.
    fn leave_the_rest(&mut self) {
        for c in &mut self.courses {
            if c.outcome.status == RunStatus::Robust {
                c.outcome.status = RunStatus::Stopped;
            }
        }
    }

    /// Lets waiting rows in where there is room.
    fn refill(&mut self) -> Result<(), EngineError> {
        let active = self.active.as_ref().map_or(0, |(r, _)| r.len());
        let room = self.job.batch - active.min(self.job.batch);
        let enough = if self.job.compaction {
            room * REFILL >= self.job.batch
        } else {
            active == 0
        };
        let mut fresh: Vec<Try> = Vec::new();
        while enough && fresh.len() < room {
            let Some((number, place)) = self.due.pop_first() else {
                break;
            };
            if self.is_exhausted(place, QueryCount::default()) {
                self.courses[place].end(RunStatus::Stopped);
                self.close(place);
            } else {
                fresh.push((place, number));
            }
        }
        if self.due.is_empty() {
            fresh.extend(self.early(active + fresh.len(), &fresh));
        }
        self.begin(&fresh)
    }

    /// Later tries of open rows, as many as are missing to a full tile beside `n` rows.
    fn early(&self, n: usize, fresh: &[Try]) -> Vec<Try> {
        let Some(tile) = self.job.tile.filter(|_| self.job.compaction) else {
            return Vec::new();
        };
        let idle = n.next_multiple_of(tile) - n;
        if n == 0 || idle * REFILL < tile || self.job.enough.is_some() {
            return Vec::new();
        }
        let mut at_work: BTreeSet<Try> = fresh.iter().copied().collect();
        if let Some((rows, _)) = &self.active {
            at_work.extend((0..rows.len()).map(|i| self.try_of(rows, i)));
        }
        let is_free = |t: &Try| {
            let course = &self.courses[t.0];
            t.1 > course.next && !course.ended.contains_key(&t.1) && !at_work.contains(t)
        };
        let hopeful = |place: &usize| {
            let course = &self.courses[*place];
            let seen = course.was_seen() && self.stepper.aim() == Aim::Within;
            !course.in_order && !seen
        };
        let places: Vec<usize> = self.open.iter().copied().filter(hopeful).collect();
        (1..self.stepper.restarts())
            .flat_map(|number| places.iter().map(move |place| (*place, number)))
            .filter(is_free)
            .take(idle)
            .collect()
    }

    /// Begins tries beside those at work.
    fn begin(&mut self, fresh: &[Try]) -> Result<(), EngineError> {
        if fresh.is_empty() {
            return Ok(());
        }
        let highest = fresh.iter().filter(|t| self.is_due(**t)).map(|t| t.1);
        let highest = highest.max();
        if highest > self.round {
            self.round = highest;
            self.job.observer.event(Event::Round {
                restart: highest.unwrap_or(0),
                rows: self.open.len(),
            });
        }
        let device = self.oracle.device().clone();
        let tries: Vec<(usize, u32)> = fresh.iter().map(|t| (self.job.rows[t.0], t.1)).collect();
        let mut rows = Rows::new(self.job, &tries, self.attack, &device)?;
        let mut state = self.stepper.start(&mut self.oracle, &mut rows)?;
        let counts = (0..rows.len()).filter(|i| self.is_due(fresh[*i]));
        let asked = Event::asked(counts.map(|i| rows.spent(i)));
        self.job.observer.event(asked);
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
        let tries: Vec<Try> = (0..rows.len()).map(|i| self.try_of(&rows, i)).collect();
        let done: Vec<Done> = (0..rows.len())
            .map(|i| self.done(&rows, &flags, i))
            .collect();
        let leaves: Vec<usize> = (0..rows.len()).filter(|i| done[*i] != Done::No).collect();
        if !leaves.is_empty() {
            let at = index(&leaves, self.oracle.device());
            let best = rows.watch.best.select(&at).to_host();
            let last = self.stepper.last(&state).map(|b| b.select(&at).to_host());
            let reached = self.stepper.reached(&state).map(|r| host(&r.select(0, at)));
            let mut refuted = vec![false; rows.len()];
            let mut gone = BTreeSet::new();
            for (k, &i) in leaves.iter().enumerate() {
                let row = rows.sample(i);
                // Seen to succeed, but only if the exact gauge agrees.
                let witness = flags.found[i]
                    .then(|| self.point(&best, k))
                    .filter(|x| self.allowed(row, x));
                refuted[i] = flags.found[i] && witness.is_none();
                if refuted[i] && done[i] == Done::Found {
                    continue;
                }
                gone.insert(i);
                let due = self.is_due(tries[i]);
                if done[i] == Done::Spent && !due {
                    // In its turn it might have stopped earlier.
                    self.courses[tries[i].0].in_order = true;
                    continue;
                }
                let seen = witness.is_some();
                let invalid = flags.invalid(i).filter(|_| !seen);
                let exhausted = done[i] == Done::Spent && !seen;
                let last = || {
                    let unjudged = invalid.is_none() && !exhausted;
                    last.as_ref().filter(|_| unjudged).map(|l| self.point(l, k))
                };
                let ended = Ended {
                    spent: rows.spent(i),
                    early: !due,
                    zero: flags.zero[i],
                    invalid,
                    exhausted,
                    reached: reached.as_ref().map(|r| r[k]),
                    candidate: witness.or_else(last).map(|x| Candidate { row, x }),
                    seen,
                    measured: None,
                };
                if ended.waits() {
                    self.unjudged.insert(tries[i]);
                }
                self.courses[tries[i].0].ended.insert(tries[i].1, ended);
            }
            if refuted.contains(&true) {
                rows.watch.forget(&refuted);
            }
            for i in &gone {
                self.settle(tries[*i].0, Some(&rows));
            }
            self.cancelled.extend(gone.iter().map(|i| tries[*i]));
        }
        self.without_cancelled(&mut rows, &mut state);
        (!rows.is_empty()).then_some((rows, state))
    }

    /// Takes out the tries that are at work for nothing.
    fn without_cancelled(&mut self, rows: &mut Rows, state: &mut S::State) {
        let cancelled = std::mem::take(&mut self.cancelled);
        let stays = |i: &usize| !cancelled.contains(&self.try_of(rows, *i));
        let stays: Vec<usize> = (0..rows.len()).filter(stays).collect();
        if stays.len() < rows.len() {
            select(rows, &stays);
            select(state, &stays);
        }
    }

    /// Lets the tries of a row count that can; `active` are the rows at work.
    fn settle(&mut self, place: usize, active: Option<&Rows>) {
        loop {
            let judging = self.job.judge.cost(&self.oracle);
            let course = &mut self.courses[place];
            let next = course.next;
            if course.over || course.ended.get(&next).is_none_or(Ended::waits) {
                return;
            }
            let Some(ended) = course.ended.remove(&next) else {
                return;
            };
            let (early, spent) = (ended.early, ended.spent);
            if early && self.is_exhausted(place, spent) {
                self.again(place, next);
                return;
            }
            let judged = ended.candidate.is_some();
            self.courses[place].count(ended, judging);
            let told = [(early, spent), (judged, judging)];
            let told = told.into_iter().filter(|t| t.0).map(|t| t.1);
            self.job.observer.event(Event::asked(told));

            if !self.courses[place].goes_on(self.stepper.aim(), self.stepper.restarts()) {
                self.close_beside(place, active);
                return;
            }
            if self.is_exhausted(place, QueryCount::default()) {
                self.courses[place].end(RunStatus::Stopped);
                self.close_beside(place, active);
                return;
            }
            self.take_up(place, active);
        }
    }

    /// The next try of a row has its turn: it has ended, is at work, or has to begin.
    fn take_up(&mut self, place: usize, active: Option<&Rows>) {
        let course = &self.courses[place];
        let next = course.next;
        if course.ended.contains_key(&next) {
            return;
        }
        let at_work = active.and_then(|rows| {
            (0..rows.len())
                .find(|i| self.try_of(rows, *i) == (place, next))
                .map(|i| rows.spent(i))
        });
        match at_work {
            Some(spent) if self.is_exhausted(place, spent) => {
                self.cancelled.insert((place, next));
                self.again(place, next);
            }
            Some(spent) => {
                let asked = Event::asked(std::iter::once(spent));
                self.job.observer.event(asked);
            }
            None => {
                self.due.insert((next, place));
            }
        }
    }

    /// A try that was run early has spent more than its turn leaves it: what it would have come to is not known.
    fn again(&mut self, place: usize, number: u32) {
        self.courses[place].in_order = true;
        self.due.insert((number, place));
    }

    /// No further try of a row counts.
    fn close(&mut self, place: usize) {
        let course = &mut self.courses[place];
        course.over = true;
        for number in std::mem::take(&mut course.ended).into_keys() {
            self.unjudged.remove(&(place, number));
        }
        self.open.remove(&place);
    }

    /// The same where some may be at work.
    fn close_beside(&mut self, place: usize, active: Option<&Rows>) {
        self.close(place);
        if let Some(rows) = active {
            let its = (0..rows.len()).map(|i| self.try_of(rows, i));
            let its: Vec<Try> = its.filter(|t| t.0 == place).collect();
            self.cancelled.extend(its);
        }
    }

    /// Whether row `i` is done, and why.
    fn done(&self, rows: &Rows, flags: &Flags, i: usize) -> Done {
        if rows.steps()[i] >= u64::from(self.stepper.steps()) {
            Done::Over
        } else if self.is_exhausted(self.place[&rows.sample(i)], rows.spent(i)) {
            Done::Spent
        } else if self.job.compaction && flags.invalid[i] {
            Done::Invalid
        } else if self.job.compaction && flags.found[i] && self.stepper.aim() == Aim::Within {
            Done::Found
        } else {
            Done::No
        }
    }

    /// Whether a row has spent the forwards it may, with what a try of it has.
    fn is_exhausted(&self, place: usize, by_try: QueryCount) -> bool {
        let spent = self.courses[place].outcome.queries.forward + by_try.forward;
        self.job.forwards.is_some_and(|limit| spent >= limit)
    }

    /// Row `k` of host values, one vector per modality.
    fn point(&self, values: &[Vec<f32>], k: usize) -> Vec<Vec<f32>> {
        values
            .iter()
            .zip(self.job.samples.modalities.iter())
            .map(|(v, m)| v[k * m.features()..(k + 1) * m.features()].to_vec())
            .collect()
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

    /// Has the points of all tries that have ended measured again, and lets count what can.
    fn judge(&mut self) -> Result<(), EngineError> {
        let tries: Vec<Try> = std::mem::take(&mut self.unjudged).into_iter().collect();
        let candidates: Vec<&Candidate> = tries
            .iter()
            .filter_map(|t| self.courses[t.0].ended[&t.1].candidate.as_ref())
            .collect();
        let (judge, job) = (self.job.judge, self.job);
        let measured: Vec<Measured> = judge.measure(&mut self.oracle, job, &candidates)?;
        for ((place, number), measured) in tries.iter().zip(measured) {
            if let Some(ended) = self.courses[*place].ended.get_mut(number) {
                ended.measured = Some(measured);
            }
        }
        let mut active = self.active.take();
        for (place, _) in &tries {
            self.settle(*place, active.as_ref().map(|(rows, _)| rows));
        }
        if let Some((rows, state)) = &mut active {
            self.without_cancelled(rows, state);
        }
        self.active = active.filter(|(rows, _)| !rows.is_empty());
        let broken = self.broken();
        self.job.observer.event(Event::Judged { broken });
        Ok(())
    }

    fn finish(self, checkpoint: Option<Checkpoint>) -> Outcomes {
        let mut rows: Vec<Outcome> = self.courses.into_iter().map(|c| c.outcome).collect();
        for o in &mut rows {
            if o.status == RunStatus::Broken {
                // Proof is proof: what the gradients did on the way no longer matters for this row.
                let no_matter = proofmark_domain::Observation::ZeroGradient;
                o.observed.retain(|x| *x != no_matter);
            }
        }
        Outcomes {
            rows,
            computed: self.oracle.computed(),
            checkpoint,
        }
    }

    fn stopped(mut self) -> Result<Outcomes, EngineError> {
        // Only what counts is kept: a later try that was run early is run again.
        let mut at_work = self.active.take();
        if let Some((rows, state)) = &mut at_work {
            let counts = |i: &usize| self.is_due(self.try_of(rows, *i));
            let counts: Vec<usize> = (0..rows.len()).filter(counts).collect();
            select(rows, &counts);
            select(state, &counts);
        }
        let mut at_work = at_work.filter(|(rows, _)| !rows.is_empty());
        let active = at_work
            .as_mut()
            .map(|(rows, state)| [of_rows(save(rows)), of_state(save(state))]);
        for c in &mut self.courses {
            let next = c.next;
            c.ended.retain(|number, _| *number == next);
        }
        self.unjudged.retain(|t| self.courses[t.0].next == t.1);
        let checkpoint = Checkpoint {
            attack: self.stepper.id().to_owned(),
            samples: self.job.samples.len(),
            next: self.courses.iter().map(|c| c.next).collect(),
            waiting: self
                .unjudged
                .iter()
                .map(|t| (t.0, self.courses[t.0].ended[&t.1].clone()))
                .collect(),
            active,
            outcomes: self.courses.iter().map(|c| c.outcome.clone()).collect(),
        };
        // What was found before the stop is proof all the same.
        self.judge()?;
        if let Some((rows, _)) = at_work {
            self.count_at_work(&rows);
        }
        self.leave_the_rest();
        Ok(self.finish(Some(checkpoint)))
    }

    fn restore(&mut self, c: Checkpoint) -> Result<(), EngineError> {
        let restarts = self.stepper.restarts();
        c.check(self.job, self.stepper.id(), restarts)?;
        let samples = c.active_samples()?;
        let begun = c.outcomes.into_iter().zip(c.next);
        self.courses = begun.map(|(o, next)| Course::new(o, next)).collect();
        self.due.clear();
        for (place, ended) in c.waiting {
            let course = &mut self.courses[place];
            self.unjudged.insert((place, course.next));
            course.ended.insert(course.next, ended);
        }
        let active: BTreeSet<usize> = samples.iter().map(|s| self.place[s]).collect();
        for place in 0..self.courses.len() {
            let course = &self.courses[place];
            if !course.goes_on(self.stepper.aim(), restarts) {
                self.close(place);
            } else if !active.contains(&place) && course.ended.is_empty() {
                self.due.insert((course.next, place));
            }
        }
        if let Some([saved_rows, saved_state]) = c.active {
            let device = self.oracle.device().clone();
            let next = |s: &usize| (*s, self.courses[self.place[s]].next);
            let tries: Vec<(usize, u32)> = samples.iter().map(next).collect();
            let fresh = |tries: &[(usize, u32)]| Rows::new(self.job, tries, self.attack, &device);
            // A state of one row shows which columns this attack has.
            let mut one = fresh(&tries[..1])?;
            let mut state = self.stepper.start(&mut self.oracle, &mut one)?;
            let mut rows = fresh(&tries)?;
            let (n, steps) = (samples.len(), u64::from(self.stepper.steps()));
            let saved_rows = over_rows(save(&mut rows), saved_rows, n, steps)?;
            let saved_state = as_state(&save(&mut state), saved_state, n)?;
            load(&mut rows, &saved_rows, &device)?;
            load(&mut state, &saved_state, &device)?;
            self.active = Some((rows, state));
        }
        Ok(())
    }
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
