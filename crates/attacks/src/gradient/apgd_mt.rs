//! Auto-PGD towards many classes, with most of the steps towards those that come closest.
//!
//! # Idea
//! Which class a sample can be moved to is hard to tell beforehand, but easy to tell after a few steps. Order the other
//! classes by the distance of their linearised boundaries, ascend shortly towards each, then longer towards the few that
//! came closest, and longest towards the closest one. An attack that takes all its steps towards every class
//! ([`apgd-t`](super::apgd_t)) spends most of them where nothing can be reached.
//!
//! # Maths
//! Class `k` has the rank of `(z_y − z_k)(x₀) / ‖∇(z_k − z_y)(x₀)‖_*`, in the dual norm of the budget and inside the
//! bounds, among the `ranked` classes with the highest clean scores. Round `r` ascends from a random point, with the
//! steps of [`apgd`](super::apgd) on the margin of the target over the label, towards the first `targets` classes in
//! turn, `steps` steps each. After it, these classes are sorted by the highest loss that they have reached.
//!
//! # Reference
//! The order of classes: Melamed, Yehudai, Vardi, "MALT Powers Up Adversarial Attacks", `NeurIPS` 2024. A class each:
//! Gowal, Uesato, Qin, Huang, Mann, Kohli, "An Alternative Surrogate Loss for PGD-based Adversarial Testing" (`MultiTargeted`),
//! 2019. More steps for fewer candidates: Karnin, Koren, Somekh, "Almost Optimal Exploration in Multi-Armed Bandits"
//! (successive halving), ICML 2013. The ascent: Croce and Hein, ICML 2020.
//!
//! # Divergences
//! MALT ranks by an unbounded distance, and then takes all steps of APGD towards each of nine classes. Successive
//! halving continues its candidates; here each round begins anew at another random point, and no point is kept from one
//! round to the next. The ascent diverges as [`apgd`](super::apgd) does. A target class set by the user is the only one tried.
//!
//! # Cost
//! Per sample: one forward, `ranked` forwards and backwards (at most one per other class), the sum of `targets · steps`
//! over rounds in forwards and backwards, all but the first times `eot`, and one forward to judge. The default costs 360
//! steps with ten classes, where `apgd-t` costs 900. A sample stops once it breaks.
//!
//! # When it fails
//! Where gradients are zero, saturated or misleading, like every gradient attack; where the first steps towards a class
//! do not tell how far it can be reached.
//!
//! # Example
//! ```
//! let table: toml::Table = "rounds = [[9, 10], [2, 40]]".parse().unwrap();
//! let attack = proofmark_attacks::build("apgd-mt", &table).unwrap();
//! assert_eq!(attack.parameters()["ranked"], 30);
//! ```

use proofmark_domain::{Norm, Role, StepRecord, ThreatRecord};
use proofmark_engine::{
    Access, Attack, AttackEntry, BuildError, EngineError, Job, Meta, Needs, Oracle, Outcomes,
    Parameters, Rows, Stepper, check_norms, run,
};
use proofmark_model::GradientModel;
use proofmark_stats::random::Purpose;
use proofmark_threat::{Batch, Column, Columns};
use serde::{Deserialize, Serialize};

use super::auto_path::{self, At, Path, Schedule, is_sparse};
use super::boundary::{Candidates, by_distance};
use super::fallback::WithFallback;
use crate::config::{at_least_one, read, written};
use crate::loss::LossKind;

/// Parameters of multi-targeted APGD.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Rounds, each a pair: the number of target classes (no more than in the round before; all other classes, if there
    /// are fewer) and the steps towards each; both at least 1. Default `[[9, 15], [3, 25], [2, 25], [2, 25], [1, 50]]`.
    pub rounds: Vec<[u32; 2]>,
    /// Number of likeliest classes among which the nearest boundaries are found, at least the targets of the first
    /// round; default 30. At 0 classes are taken by score.
    pub ranked: u32,
    /// Loss: `ce`, `margin` or `dlr`; default `margin`.
    pub loss: LossKind,
    /// Draws of a random model that each gradient is the mean of, at least 1; default 1.
    pub eot: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rounds: vec![[9, 15], [3, 25], [2, 25], [2, 25], [1, 50]],
            ranked: 30,
            loss: LossKind::Margin,
            eot: 1,
        }
    }
}

const META: Meta = Meta {
    id: "apgd-mt",
    version: 1,
    summary: "Auto-PGD towards many classes, most steps towards those that come closest",
    role: Role::Attack,
    needs: Needs::Gradients,
    norms: &[Norm::Linf, Norm::L2, Norm::L1],
    reference: "Melamed et al. 2024 (MALT); Gowal et al. 2019, arXiv:1910.09338; Croce and Hein 2020, arXiv:2003.01690",
};

/// Multi-targeted APGD with its parameters checked.
#[derive(Debug)]
pub struct MultiTargeted {
    config: Config,
    parameters: Parameters,
}

/// The attack for a model and a threat.
#[derive(Debug)]
struct Climb {
    loss: WithFallback,
    draws: u32,
    ranked: usize,
    rounds: Vec<Round>,
}

/// Ascents of `steps` steps towards each of `targets` classes, beginning at step `from` of a row.
#[derive(Debug)]
struct Round {
    targets: u64,
    steps: u64,
    from: u64,
    schedule: Schedule,
}

/// Where a row is.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    round: &'a Round,
    /// Rank of the class it ascends to.
    rank: usize,
    /// Step of the ascent.
    step: u64,
}

/// State of each row.
#[derive(Debug, Clone)]
struct State {
    path: Path,
    /// Classes, the most promising first.
    classes: Candidates,
    /// Highest loss that the present round has reached towards each of them.
    reached: Vec<Vec<f64>>,
    /// 1 if the row climbs the second loss ([`WithFallback`]).
    on_fallback: Vec<u64>,
}

impl Columns for State {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = self.path.columns();
        all.extend(proofmark_threat::prefixed("class", &mut self.classes));
        let reached = self.reached.iter_mut().enumerate();
        all.extend(reached.map(|(rank, v)| (format!("reached.{rank}"), Column::Real(v))));
        all.push(("on_fallback".into(), Column::Count(&mut self.on_fallback)));
        all
    }
}

impl State {
    /// Keeps the highest loss that row `i` has reached in this round towards the class of this rank.
    fn note(&mut self, i: usize, rank: usize, loss: f64) {
        let reached = &mut self.reached[rank][i];
        *reached = reached.max(loss);
    }

    /// Sorts the classes of row `i` by the loss that they reached in a round with these targets, and forgets it.
    fn sort(&mut self, i: usize, targets: usize) {
        let mut order: Vec<usize> = (0..targets).collect();
        order.sort_by(|a, b| self.reached[*b][i].total_cmp(&self.reached[*a][i]));
        self.classes.reorder(i, &order);
        for reached in &mut self.reached {
            reached[i] = f64::NEG_INFINITY;
        }
    }
}

impl Climb {
    fn place(&self, step: u64) -> Place<'_> {
        let round = self.rounds.iter().rfind(|r| r.from <= step);
        let round = round.unwrap_or(&self.rounds[0]);
        let within = step - round.from;
        Place {
            round,
            rank: (within / round.steps).min(round.targets - 1) as usize,
            step: within % round.steps,
        }
    }

    /// Begins the ascents of the rows that are at the first step of one, other than the very first.
    fn begin(&self, rows: &Rows, places: &[Place<'_>], state: &mut State) {
        let due: Vec<usize> = (0..rows.len())
            .filter(|i| places[*i].step == 0 && rows.steps()[*i] > 0)
            .collect();
        if due.is_empty() {
            return;
        }
        for i in &due {
            state.on_fallback[*i] = 0;
            let round = places[*i].round;
            if places[*i].rank == 0 {
                let before = self.place(round.from - 1).round;
                state.sort(*i, before.targets as usize);
            }
        }
        let keys = rows.streams(Purpose::Start, 0);
        let keys: Vec<_> = due.iter().map(|i| keys[*i]).collect();
        let schedules: Vec<&Schedule> = due.iter().map(|i| &places[*i].round.schedule).collect();
        let fresh = Path::begin(&rows.region().at(&due), &keys, &schedules);
        state.path.replace(&due, fresh);
    }
}

impl<M: GradientModel + ?Sized> Stepper<M> for Climb {
    type State = State;

    fn id(&self) -> &'static str {
        META.id
    }

    fn steps(&self) -> u32 {
        let all: u64 = self.rounds.iter().map(|r| r.targets * r.steps).sum();
        u32::try_from(all).unwrap_or(u32::MAX)
    }

    fn start(&self, oracle: &mut Oracle<'_, M>, rows: &mut Rows) -> Result<State, EngineError> {
        let targets = self.rounds[0].targets as usize;
        let focus = rows.focus();
        let classes = if let Some(target) = focus.target() {
            Candidates::given(target)
        } else {
            let x0 = rows.region().x0();
            let clean = rows.request(&x0);
            let scores = oracle.mean_scores(rows, clean, self.draws)?;
            let among = self.ranked.max(targets).min(oracle.classes() - 1);
            let likeliest = Candidates::likeliest(&scores, focus.label(), among);
            if self.ranked == 0 || among == 1 {
                likeliest
            } else {
                by_distance(oracle, rows, &x0, &likeliest)?.first(targets)
            }
        };
        let keys = rows.streams(Purpose::Start, 0);
        let schedules = vec![&self.rounds[0].schedule; rows.len()];
        Ok(State {
            path: Path::begin(rows.region(), &keys, &schedules),
            reached: vec![vec![f64::NEG_INFINITY; rows.len()]; targets],
            classes,
            on_fallback: vec![0; rows.len()],
        })
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        state: &mut State,
    ) -> Result<(), EngineError> {
        let places: Vec<Place<'_>> = rows.steps().iter().map(|k| self.place(*k)).collect();
        self.begin(rows, &places, state);
        let target = state.classes.at(|i| places[i].rank);
        let (x, on_fallback) = (state.path.x(), &mut state.on_fallback);
        let answer = (self.loss).gradient(oracle, rows, x, Some(&target), on_fallback)?;
        for (i, place) in places.iter().enumerate() {
            state.note(i, place.rank, answer.loss[i]);
        }
        let at = places.iter().map(|p| At {
            step: p.step,
            schedule: &p.round.schedule,
        });
        let at: Vec<At<'_>> = at.collect();
        state.path.step(rows, &answer, &at);
        Ok(())
    }

    fn last(&self, state: &State) -> Option<Batch> {
        Some(state.path.x().clone())
    }
}

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<MultiTargeted, BuildError> {
        let error = |problem: String| BuildError {
            attack: META.id.to_owned(),
            field: Some("rounds".to_owned()),
            problem,
        };
        if self.rounds.is_empty() {
            return Err(error(
                "`rounds` is empty, expected pairs of targets and steps, as in [[9, 20], [1, 100]]"
                    .into(),
            ));
        }
        for (i, [targets, steps]) in self.rounds.iter().enumerate() {
            if *targets == 0 || *steps == 0 {
                return Err(error(format!(
                    "`rounds` has [{targets}, {steps}], expected at least 1 target and 1 step"
                )));
            }
            if i > 0 && *targets > self.rounds[i - 1][0] {
                return Err(error(format!(
                    "`rounds` has {targets} targets after a round with {}, expected no more than before",
                    self.rounds[i - 1][0]
                )));
            }
        }
        at_least_one(META.id, "eot", self.eot)?;
        Ok(MultiTargeted {
            parameters: written(&self),
            config: self,
        })
    }
}

impl Attack for MultiTargeted {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn parameters(&self) -> Parameters {
        self.parameters.clone()
    }

    fn step_sizes(&self, threat: &ThreatRecord) -> Vec<StepRecord> {
        auto_path::step_sizes(threat, true)
    }

    fn check(&self, job: &Job<'_>) -> Result<(), EngineError> {
        check_norms(&META, job)?;
        is_sparse(META.id, job).map(|_| ())
    }

    fn run(&self, access: Access<'_>, job: &Job<'_>) -> Result<Outcomes, EngineError> {
        self.check(job)?;
        let classes = job.classes(access.signature());
        let most = if job.goal.targeted() {
            1
        } else {
            classes as u64 - 1
        };
        let mut rounds = Vec::new();
        let mut from = 0;
        for [targets, steps] in &self.config.rounds {
            let (targets, steps) = (u64::from(*targets).min(most), u64::from(*steps));
            rounds.push(Round {
                targets,
                steps,
                from,
                schedule: Schedule::of(META.id, job, steps as u32, true)?,
            });
            from += targets * steps;
        }
        let climb = Climb {
            loss: WithFallback::new(self.config.loss, classes, true, self.config.eot),
            draws: self.config.eot,
            ranked: self.config.ranked as usize,
            rounds,
        };
        run(access.gradients(META.id)?, &climb, job)
    }
}

/// Registry entry of multi-targeted APGD.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};

#[cfg(test)]
mod tests {
    use super::super::halving::Intervals;
    use super::*;

    fn climb(rounds: &[[u64; 2]]) -> Climb {
        let mut from = 0;
        let rounds = rounds.iter().map(|[targets, steps]| {
            let round = Round {
                targets: *targets,
                steps: *steps,
                from,
                schedule: Schedule::Halving(Intervals::of(*steps as u32)),
            };
            from += targets * steps;
            round
        });
        Climb {
            rounds: rounds.collect(),
            loss: WithFallback::new(LossKind::Dlr, 10, true, 1),
            draws: 1,
            ranked: 30,
        }
    }

    #[test]
    fn rounds_follow_one_another() {
        let climb = climb(&[[3, 2], [1, 4]]);
        let places: Vec<(u64, usize, u64)> = (0..10)
            .map(|k| climb.place(k))
            .map(|p| (p.round.from, p.rank, p.step))
            .collect();
        let first = [
            (0, 0, 0),
            (0, 0, 1),
            (0, 1, 0),
            (0, 1, 1),
            (0, 2, 0),
            (0, 2, 1),
        ];
        let second = [(6, 0, 0), (6, 0, 1), (6, 0, 2), (6, 0, 3)];
        assert_eq!(places, [&first[..], &second[..]].concat());
    }

    #[test]
    fn classes_that_came_closest_are_first() {
        let x = || {
            let table = proofmark_domain::Modality {
                name: "x".into(),
                kind: proofmark_domain::Kind::Table,
                shape: vec![1],
                bounds: proofmark_domain::Bounds::uniform(0.0, 1.0).unwrap(),
            };
            let device = burn::tensor::Device::flex();
            let threat = proofmark_threat::Threat::uniform(
                std::slice::from_ref(&table),
                Norm::Linf,
                &proofmark_domain::Epsilon::new(0.1).unwrap(),
            );
            let values = [vec![0.5; 2]];
            proofmark_threat::Region::new(&threat, &vec![table].into(), &values, &[0, 1], &device)
        };
        let climb = climb(&[[3, 2], [1, 4]]);
        let keys = [0, 1].map(|key| {
            proofmark_stats::random::StreamKey::new(proofmark_domain::Seed(0), key, Purpose::Start)
        });
        let mut state = State {
            path: Path::begin(&x(), &keys, &[&climb.rounds[0].schedule; 2]),
            classes: Candidates::of(vec![vec![4, 1], vec![5, 2], vec![6, 3]]),
            reached: vec![
                vec![-2.0, -1.0],
                vec![-3.0, f64::NEG_INFINITY],
                vec![-1.0, -1.0],
            ],
            on_fallback: vec![0; 2],
        };
        // A later, lower loss does not take back what was reached.
        state.note(0, 2, -9.0);
        state.sort(0, 3);
        assert_eq!(state.classes.at(|i| i), [6, 2]);
        assert_eq!(state.classes.at(|_| 1), [4, 2]);
        assert!(state.reached.iter().all(|r| r[0] == f64::NEG_INFINITY));
        assert_eq!(state.reached[0][1], -1.0);
        // Ties stay in their order, and classes of a shorter round stay behind it.
        state.sort(1, 2);
        assert_eq!(
            [0, 1, 2].map(|rank| state.classes.at(|_| rank)[1]),
            [1, 2, 3]
        );
    }
}
