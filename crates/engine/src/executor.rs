use std::collections::{BTreeMap, BTreeSet};

use proofmark_domain::{QueryCount, RunStatus};
use proofmark_model::{DecisionModel, guarded_device};
use proofmark_stats::random::attack_code;
use proofmark_threat::{host, index, load, save};

use crate::checkpoint::{Checkpoint, as_state, of_rows, of_state, over_rows};
use crate::judge::{Candidate, Measured};
use crate::{Aim, EngineError, Event, Job, Oracle, Outcome, Outcomes, Rows, Stepper};

mod course;
mod flags;
mod lanes;

pub(crate) use course::{Course, Ended, Fault};
use flags::Flags;
use lanes::Lanes;

/// Waiting rows enter only if at least `1 / REFILL` of the batch is free, and early restarts only if they fill at least
/// `1 / REFILL` of a tile: refilling one row at a time costs more than the freed places gain.
const REFILL: usize = 4;

/// Places that early restarts may fill to keep all threads busy if tiles are small. Their results are discarded if an
/// earlier restart succeeds.
const EARLY: usize = 8;

/// Runs an attack on every row of `job`.
///
/// The restarts of a row count in order: each is judged before the next one counts. The batch is kept full with waiting
/// rows. If none waits, later restarts of the active rows fill places of a tile that would be padding. This affects
/// only [`Outcomes::computed`]: if an earlier restart succeeds, the later ones are discarded. With [`Job::resume`] the
/// run continues where an earlier one was stopped.
pub fn run<M, S>(model: &M, stepper: &S, job: &Job<'_>) -> Result<Outcomes, EngineError>
where
    M: DecisionModel + ?Sized,
    S: Stepper<M>,
{
    // Device work outside the model (reads, judging, saving) can fail too, so one guard covers all of it.
    guarded_device(|| {
        let mut execution = Execution::new(model, stepper, job)?;
        if let Some(checkpoint) = job.resume {
            execution.restore(checkpoint.clone())?;
        }
        execution.go()
    })
}

/// One restart of a row: the row's place in the job and the restart's number.
type Try = (usize, u32);

struct Execution<'a, M: ?Sized, S: Stepper<M>>
where
    M: DecisionModel,
{
    oracle: Oracle<'a, M>,
    stepper: &'a S,
    job: &'a Job<'a>,
    attack: u32,
    threads: usize,
    /// Highest restart begun in its turn so far, for observers.
    round: Option<u32>,
    /// One per row, by place in the job.
    courses: Vec<Course>,
    /// Places of the rows that are not finished.
    open: BTreeSet<usize>,
    /// Restarts whose turn it is and that have not begun: lower restarts first, then in the job's order.
    due: BTreeSet<(u32, usize)>,
    /// Restarts that have begun and not ended, with the queries they have used.
    begun: BTreeMap<Try, QueryCount>,
    /// Rows that the next step moves.
    active: Option<Lanes<S::State>>,
    /// Restarts begun early that would now cost more than padding.
    parked: Option<Lanes<S::State>>,
    /// Restarts that have ended and wait for the judge.
    unjudged: BTreeSet<Try>,
    /// Maps a place in the samples to a place in the job.
    place: BTreeMap<usize, usize>,
}

impl<'a, M, S> Execution<'a, M, S>
where
    M: DecisionModel + ?Sized,
    S: Stepper<M>,
{
    fn new(model: &'a M, stepper: &'a S, job: &'a Job<'a>) -> Result<Self, EngineError> {
        job.check()?;
        job.goal.check(model.signature().classes)?;
        let course = |row: &usize| Course::new(Outcome::new(*row, RunStatus::Robust), 0);
        let places = 0..job.rows.len();
        Ok(Self {
            oracle: Oracle::new(model, job, stepper.aim()),
            stepper,
            job,
            attack: attack_code(stepper.id()),
            threads: rayon::current_num_threads(),
            round: None,
            courses: job.rows.iter().map(course).collect(),
            open: places.clone().collect(),
            due: places.map(|place| (0, place)).collect(),
            begun: BTreeMap::new(),
            active: None,
            parked: None,
            unjudged: BTreeSet::new(),
            place: job.rows.iter().enumerate().map(|(i, r)| (*r, i)).collect(),
        })
    }

    fn go(mut self) -> Result<Outcomes, EngineError> {
        while !self.has_enough() {
            self.refill()?;
            if self.active.is_some() && (self.job.stop)() {
                return self.stopped();
            }
            let Some(lanes) = self.active.take() else {
                if self.unjudged.is_empty() {
                    break;
                }
                self.judge()?;
                continue;
            };
            let at_work = lanes.rows.len();
            self.active = self.step(lanes)?;
            self.job.observer.event(Event::Step {
                active: at_work,
                done: self.courses.len() - self.open.len() + self.unjudged.len(),
            });
            if self.is_judging_due() {
                self.judge()?;
            }
        }
        if self.has_enough() {
            self.leave_the_rest();
        }
        Ok(self.finish(None))
    }

    /// Runs one step of the active rows and returns those that remain.
    fn step(&mut self, mut lanes: Lanes<S::State>) -> Result<Option<Lanes<S::State>>, EngineError> {
        let Lanes { rows, state } = &mut lanes;
        self.stepper.step(&mut self.oracle, rows, state)?;
        rows.advance_step();
        rows.note_progress(self.stepper.steps());
        self.note_queries(rows);
        Ok(self.retire(lanes))
    }

    /// Records the queries that restarts have used, and reports those of restarts in their turn to the observer.
    fn note_queries(&mut self, rows: &Rows) {
        let mut queries = QueryCount::default();
        for i in 0..rows.len() {
            let (its, spent) = (self.try_of(rows, i), rows.spent(i));
            let before = self.begun.insert(its, spent).unwrap_or_default();
            if self.is_due(its) {
                queries += spent - before;
            }
        }
        self.job.observer.event(Event::queried(queries));
    }

    /// Returns the restart that row `i` runs.
    fn try_of(&self, rows: &Rows, i: usize) -> Try {
        (self.place[&rows.sample(i)], rows.restarts()[i] as u32)
    }

    /// Returns whether it is a restart's turn: all earlier ones already count.
    fn is_due(&self, (place, number): Try) -> bool {
        self.courses[place].next == number
    }

    fn is_judging_due(&self) -> bool {
        match self.job.enough {
            // The points seen so far may already be enough.
            Some(enough) => {
                let seen = |t: &&Try| self.courses[t.0].ended[&t.1].seen;
                let seen = self.unjudged.iter().filter(seen).count();
                seen > 0 && self.broken() + seen >= enough
            }
            None => self.unjudged.len() >= self.job.batch.max(self.job.tile.unwrap_or(1)),
        }
    }

    /// Returns the number of rows that the judge has confirmed as broken.
    fn broken(&self) -> usize {
        let broken = |c: &&Course| c.outcome.status == RunStatus::Broken;
        self.courses.iter().filter(broken).count()
    }

    fn has_enough(&self) -> bool {
        self.job.enough.is_some_and(|n| self.broken() >= n)
    }

    /// Rows abandoned after an early stop are `Stopped`, not `Robust`; their queries still count.
    fn leave_the_rest(&mut self) {
        for (its, spent) in std::mem::take(&mut self.begun) {
            if self.is_due(its) {
                self.courses[its.0].outcome.queries += spent;
            }
        }
        for (place, c) in self.courses.iter_mut().enumerate() {
            let unfinished = self.open.contains(&place) || c.outcome.status == RunStatus::Robust;
            if unfinished && c.outcome.without_point == RunStatus::Robust {
                c.end(RunStatus::Stopped);
            }
        }
    }

    /// Fills free places: with restarts whose turn it is, then with later restarts as far as a tile would be padded.
    fn refill(&mut self) -> Result<(), EngineError> {
        self.park();
        let active = self.active.as_ref().map_or(0, |l| l.rows.len());
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
            let idle = self.idle(active + fresh.len());
            let resumed = self.unpark(idle);
            fresh.extend(self.early(idle - resumed, &fresh));
        }
        self.begin(&fresh)
    }

    /// Returns how many places beside `n` rows cost no time: padding of a tile, and tiles for threads that would be
    /// idle.
    fn idle(&self, n: usize) -> usize {
        match self.job.tile.filter(|_| self.job.compaction) {
            Some(tile) => {
                let tiles = (EARLY / tile).clamp(1, self.threads);
                n.next_multiple_of(tile * tiles) - n
            }
            None => 0,
        }
    }

    /// Sets aside the early restarts that exceed the padding, the latest first, and takes back those whose turn has
    /// come.
    fn park(&mut self) {
        let turn = |execution: &Self, rows: &Rows| -> Vec<usize> {
            let due = |i: &usize| execution.is_due(execution.try_of(rows, *i));
            (0..rows.len()).filter(due).collect()
        };
        if let Some(parked) = self.parked.take() {
            let due = turn(self, &parked.rows);
            let [due, rest] = parked.split(&due);
            self.parked = rest;
            self.active = Lanes::and(self.active.take(), due);
        }
        let Some(active) = self.active.take() else {
            return;
        };
        let mut stays = turn(self, &active.rows);
        let mut early: Vec<usize> = (0..active.rows.len()).collect();
        early.retain(|i| stays.binary_search(i).is_err());
        early.sort_by_key(|i| {
            let (place, number) = self.try_of(&active.rows, *i);
            (number, place)
        });
        early.truncate(self.idle(stays.len()));
        stays.extend(early);
        stays.sort_unstable();
        let [stays, parked] = active.split(&stays);
        self.active = stays;
        self.parked = Lanes::and(self.parked.take(), parked);
    }

    /// Takes back at most `idle` parked restarts, the earliest first, and returns their number.
    fn unpark(&mut self, idle: usize) -> usize {
        let Some(parked) = self.parked.take_if(|_| idle > 0) else {
            return 0;
        };
        let mut at: Vec<usize> = (0..parked.rows.len()).collect();
        at.sort_by_key(|i| {
            let (place, number) = self.try_of(&parked.rows, *i);
            (number, place)
        });
        at.truncate(idle);
        at.sort_unstable();
        let [resumed, rest] = parked.split(&at);
        self.parked = rest;
        self.active = Lanes::and(self.active.take(), resumed);
        at.len()
    }

    /// Returns later restarts of open rows to begin in `idle` places of a tile; none if the places are too few to be
    /// worth it.
    fn early(&self, idle: usize, fresh: &[Try]) -> Vec<Try> {
        if idle * REFILL < self.job.tile.unwrap_or(usize::MAX) || self.job.enough.is_some() {
            return Vec::new();
        }
        let is_free = |t: &Try| {
            let course = &self.courses[t.0];
            let ended = course.ended.contains_key(&t.1);
            t.1 > course.next && !ended && !self.begun.contains_key(t) && !fresh.contains(t)
        };
        let is_hopeful = |place: &usize| {
            let course = &self.courses[*place];
            let seen = course.was_seen() && self.stepper.aim() == Aim::Within;
            !course.in_order && !seen
        };
        let places: Vec<usize> = self.open.iter().copied().filter(is_hopeful).collect();
        (1..self.stepper.restarts())
            .flat_map(|number| places.iter().map(move |place| (*place, number)))
            .filter(is_free)
            .take(idle)
            .collect()
    }

    /// Begins restarts beside the active ones.
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
        let state = self.stepper.start(&mut self.oracle, &mut rows)?;
        self.note_queries(&rows);
        self.active = Lanes::and(self.active.take(), Some(Lanes { rows, state }));
        Ok(())
    }

    /// Removes the rows that are done.
    fn retire(&mut self, mut lanes: Lanes<S::State>) -> Option<Lanes<S::State>> {
        let Lanes { rows, state } = &mut lanes;
        let flags = Flags::read(rows);
        let tries: Vec<Try> = (0..rows.len()).map(|i| self.try_of(rows, i)).collect();
        let finished = self.stepper.finished(rows, state);
        let done: Vec<Done> = (0..rows.len())
            .map(|i| match &finished {
                Some(finished) if finished[i] => Done::Over,
                _ => self.done(rows, &flags, i),
            })
            .collect();
        let leaves: Vec<usize> = (0..rows.len()).filter(|i| done[*i] != Done::No).collect();
        if leaves.is_empty() {
            return Some(lanes);
        }
        let at = index(&leaves, self.oracle.device());
        let best = rows.watch.best.select(&at).to_host();
        let last = self.stepper.last(state).map(|b| b.select(&at).to_host());
        let reached = self.stepper.reached(state).map(|r| host(&r.select(0, at)));
        let is_transfer = self.oracle.is_transfer();
        let mut refuted = vec![false; rows.len()];
        let mut gone = Vec::new();
        for (k, &i) in leaves.iter().enumerate() {
            let row = rows.sample(i);
            // An adversarial was seen, but it counts only if the exact gauge agrees.
            let witness = flags.found[i]
                .then(|| self.point(&best, k))
                .filter(|x| self.allowed(row, x));
            refuted[i] = flags.found[i] && witness.is_none();
            if refuted[i] && done[i] == Done::Found {
                continue;
            }
            gone.push(tries[i]);
            self.begun.remove(&tries[i]);
            // A success on the surrogate is none yet.
            let seen = witness.is_some() && !is_transfer;
            let fault = match flags.invalid(i) {
                Some(what) if !seen => Some(Fault::Invalid(what)),
                _ => (done[i] == Done::Spent).then_some(Fault::Exhausted),
            };
            let last = || {
                let last = last.as_ref().filter(|_| fault.is_none());
                last.map(|l| self.point(l, k))
            };
            let ended = Ended {
                spent: rows.spent(i),
                early: !self.is_due(tries[i]),
                zero: flags.zero[i],
                rising: flags.rising[i] && done[i] == Done::Over,
                fault,
                reached: reached.as_ref().map(|r| r[k]),
                candidate: if is_transfer {
                    last().or(witness)
                } else {
                    witness.or_else(last)
                }
                .map(|x| Candidate { row, x }),
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
        for (place, _) in gone {
            self.settle(place);
        }
        self.still_begun(lanes)
    }

    /// Keeps the rows whose restart has neither ended nor been given up.
    fn still_begun(&self, lanes: Lanes<S::State>) -> Option<Lanes<S::State>> {
        let begun = |i: &usize| self.begun.contains_key(&self.try_of(&lanes.rows, *i));
        let at: Vec<usize> = (0..lanes.rows.len()).filter(begun).collect();
        lanes.keep(&at)
    }

    /// Counts the ended restarts of a row whose turn has come.
    fn settle(&mut self, place: usize) {
        let judging = self.job.judge.cost(&self.oracle);
        loop {
            let course = &mut self.courses[place];
            let next = course.next;
            let waits = course.ended.get(&next).is_none_or(Ended::waits);
            if waits || !self.open.contains(&place) {
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
            let mut queries = QueryCount::default();
            if early {
                queries += spent;
            }
            if ended.candidate.is_some() {
                queries += judging;
            }
            self.courses[place].count(ended, judging);
            self.job.observer.event(Event::queried(queries));

            if !self.courses[place].goes_on(self.stepper.aim(), self.stepper.restarts()) {
                self.close(place);
                return;
            }
            if self.is_exhausted(place, QueryCount::default()) {
                self.courses[place].end(RunStatus::Stopped);
                self.close(place);
                return;
            }
            self.take_up(place);
        }
    }

    /// Gives the next restart of a row its turn: it may have ended already, be running, or still have to begin.
    fn take_up(&mut self, place: usize) {
        let course = &self.courses[place];
        let next = course.next;
        if course.ended.contains_key(&next) {
            return;
        }
        match self.begun.get(&(place, next)).copied() {
            Some(spent) if self.is_exhausted(place, spent) => {
                self.begun.remove(&(place, next));
                self.again(place, next);
            }
            Some(spent) => self.job.observer.event(Event::queried(spent)),
            None => {
                self.due.insert((next, place));
            }
        }
    }

    /// Queues a restart again, in order: run early, it used more queries than the row has left, so its result is not
    /// valid.
    fn again(&mut self, place: usize, number: u32) {
        self.courses[place].in_order = true;
        self.due.insert((number, place));
    }

    /// Finishes a row: no further restart of it counts.
    fn close(&mut self, place: usize) {
        for number in std::mem::take(&mut self.courses[place].ended).into_keys() {
            self.unjudged.remove(&(place, number));
        }
        let begun = self.begun.range((place, 0)..=(place, u32::MAX));
        for its in begun.map(|(its, _)| *its).collect::<Vec<_>>() {
            self.begun.remove(&its);
        }
        self.open.remove(&place);
    }

    /// Returns whether row `i` is done, and why.
    fn done(&self, rows: &Rows, flags: &Flags, i: usize) -> Done {
        if rows.steps()[i] >= u64::from(self.stepper.steps()) {
            Done::Over
        } else if self.is_exhausted(self.place[&rows.sample(i)], rows.spent(i)) {
            Done::Spent
        } else if self.job.compaction && flags.invalid[i] {
            Done::Invalid
        } else if self.job.compaction
            && flags.found[i]
            && self.stepper.aim() == Aim::Within
            && !self.oracle.is_transfer()
        {
            Done::Found
        } else {
            Done::No
        }
    }

    /// Returns whether a row has used up its forwards, including those of a restart that do not count yet.
    fn is_exhausted(&self, place: usize, by_try: QueryCount) -> bool {
        let spent = self.courses[place].outcome.queries.forward + by_try.forward;
        self.job.forwards.is_some_and(|limit| spent >= limit)
    }

    /// Returns row `k` of host values, one vector per modality.
    fn point(&self, values: &[Vec<f32>], k: usize) -> Vec<Vec<f32>> {
        values
            .iter()
            .zip(self.job.samples.modalities.iter())
            .map(|(v, m)| v[k * m.features()..(k + 1) * m.features()].to_vec())
            .collect()
    }

    /// Returns whether a point is inside the bounds and, unless the attack minimises, within the budget; in `f64`.
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

    /// Re-measures the points of all ended restarts and counts those whose turn has come.
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
        for (place, _) in &tries {
            self.settle(*place);
        }
        self.active = self.active.take().and_then(|l| self.still_begun(l));
        self.parked = self.parked.take().and_then(|l| self.still_begun(l));
        let broken = self.broken();
        self.job.observer.event(Event::Judged { broken });
        Ok(())
    }

    fn finish(self, checkpoint: Option<Checkpoint>) -> Outcomes {
        Outcomes {
            rows: self.courses.into_iter().map(|c| c.outcome).collect(),
            computed: self.oracle.computed(),
            checkpoint,
            ..Outcomes::default()
        }
    }

    fn stopped(mut self) -> Result<Outcomes, EngineError> {
        // Keep only restarts whose turn has come; a resumed run begins the early ones again.
        self.parked = None;
        self.begun.retain(|t, _| self.courses[t.0].next == t.1);
        let active = self.active.take().and_then(|l| self.still_begun(l));
        let active = active.map(|mut l| [of_rows(save(&mut l.rows)), of_state(save(&mut l.state))]);
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
            parts: Vec::new(),
        };
        // Points found before the stop still count as proof.
        self.judge()?;
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
            // The state of one row shows which columns this attack has.
            let mut one = fresh(&tries[..1])?;
            let mut state = self.stepper.start(&mut self.oracle, &mut one)?;
            let mut rows = fresh(&tries)?;
            let (n, steps) = (samples.len(), u64::from(self.stepper.steps()));
            let saved_rows = over_rows(save(&mut rows), saved_rows, n, steps)?;
            let saved_state = as_state(&save(&mut state), saved_state, n)?;
            load(&mut rows, &saved_rows, &device)?;
            load(&mut state, &saved_state, &device)?;
            for i in 0..rows.len() {
                self.begun.insert(self.try_of(&rows, i), rows.spent(i));
            }
            self.active = Some(Lanes { rows, state });
        }
        Ok(())
    }
}

/// Whether and why a row is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    /// Not done.
    No,
    /// All its steps are done.
    Over,
    /// Its query budget is used up.
    Spent,
    /// Scores or a gradient were not finite.
    Invalid,
    /// An adversarial was found.
    Found,
}
