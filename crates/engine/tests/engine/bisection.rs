//! The last bisection: it ends at the boundary, counts every query, and changes nothing about how rows are run.

use std::sync::atomic::{AtomicUsize, Ordering};

use proofmark_domain::{Norm, QueryCount, RunStatus};
use proofmark_engine::{
    Aim, Bisected, Checkpoint, EngineError, Job, Oracle, Outcomes, Rows, Stepper, run,
};
use proofmark_model::GradientModel;
use proofmark_threat::{Batch, Column, Columns, Step, prefixed};

use crate::attacks::MarginLoss;
use crate::common::{Case, case, results};

/// Steps farther and farther out along the gradient at the clean row, until it succeeds: rows finish at different
/// steps. If set, it gives the last bisection its direction.
#[derive(Debug)]
struct Outward(bool);

const STEPS: u32 = 6;

#[derive(Debug, Clone)]
struct Way {
    gradient: Batch,
    succeeded: Vec<u64>,
}

impl Columns for Way {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("gradient", &mut self.gradient);
        all.push(("succeeded".into(), Column::Count(&mut self.succeeded)));
        all
    }
}

impl<M: GradientModel + ?Sized> Stepper<M> for Outward {
    type State = Way;

    fn id(&self) -> &'static str {
        "outward"
    }

    fn steps(&self) -> u32 {
        STEPS
    }

    fn aim(&self) -> Aim {
        Aim::Minimise
    }

    fn start(&self, oracle: &mut Oracle<'_, M>, rows: &mut Rows) -> Result<Way, EngineError> {
        let x0 = rows.region().x0();
        let gradient = oracle.gradient(rows, &x0, &MarginLoss)?.gradient;
        let succeeded = vec![0; rows.len()];
        Ok(Way {
            gradient,
            succeeded,
        })
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        way: &mut Way,
    ) -> Result<(), EngineError> {
        let region = rows.region();
        let size: Vec<f32> = rows.steps().iter().map(|k| (k + 1) as f32).collect();
        let step = Step::new(region.column(&size)).within(region.column(&size));
        let x = region.advance(&region.x0(), &way.gradient, &step);
        let request = rows.request(&x);
        let succeeded = oracle.succeeds(rows, request)?;
        way.succeeded = succeeded.into_iter().map(u64::from).collect();
        Ok(())
    }

    fn direction(&self, way: &Way) -> Option<Batch> {
        self.0.then(|| way.gradient.clone())
    }

    fn finished(&self, _: &Rows, way: &Way) -> Option<Vec<bool>> {
        Some(way.succeeded.iter().map(|s| *s == 1).collect())
    }
}

fn outcomes(
    case: &Case,
    attack: &Bisected<Outward>,
    norm: Norm,
    change: impl FnOnce(&mut Job<'_>),
) -> Outcomes {
    let model = case.model();
    let threat = case.threat(norm, if norm == Norm::Linf { 0.05 } else { 0.15 });
    let mut job = case.job(&threat);
    change(&mut job);
    run(&model, attack, &job).unwrap()
}

fn queries(outcomes: &Outcomes) -> Vec<QueryCount> {
    outcomes.rows.iter().map(|o| o.queries).collect()
}

#[test]
fn it_ends_at_the_boundary_and_counts_its_queries() {
    let case = case(5, 60, 6);
    for norm in [Norm::Linf, Norm::L2, Norm::L1] {
        let plain = outcomes(&case, &Bisected::new(Outward(false), 0), norm, |_| {});
        let bisected = outcomes(&case, &Bisected::new(Outward(false), 10), norm, |_| {});
        let mut steps = [0; STEPS as usize + 1];
        let mut nearer = 0;
        for (before, after) in plain.rows.iter().zip(&bisected.rows) {
            let Some(from) = &before.point else {
                // Nothing found, nothing to bisect.
                assert_eq!(before.queries, after.queries);
                steps[0] += 1;
                continue;
            };
            let to = after.point.as_ref().unwrap();
            // One for the gradient, one per step, and one for the judge.
            steps[before.queries.forward as usize - 2] += 1;
            assert_eq!(before.queries.forward + 10, after.queries.forward);
            assert!(
                to.gauge <= from.gauge,
                "{norm}: {} {}",
                to.gauge,
                from.gauge
            );
            nearer += usize::from(to.gauge < 0.97 * from.gauge);
            // A little nearer to the clean row the decision is its label.
            let x0 = case.samples.sample(before.row)[0];
            let by = 1.0 - 2.0 * from.gauge / to.gauge / 1024.0;
            let inner: Vec<f32> = (x0.iter().zip(&to.x[0]))
                .map(|(a, b)| (f64::from(*a) + by * f64::from(b - a)) as f32)
                .collect();
            let scores = case.linear.scores(&[&inner]);
            let label = case.samples.labels[before.row];
            // Linf clips the largest changes first, so scaling all of them may lose less.
            if norm == Norm::L2 {
                assert!(scores.iter().all(|s| *s <= scores[label]), "{scores:?}");
            }
        }
        assert!(nearer > 10, "{norm}: {nearer}");
        assert!(
            steps[1..].iter().filter(|n| **n > 0).count() > 2,
            "{norm}: {steps:?}"
        );
    }
    let unreached = outcomes(&case, &Bisected::new(Outward(false), 10), Norm::L1, |_| {});
    assert!(unreached.rows.iter().any(|o| o.status == RunStatus::Robust));
}

/// With two classes the gradient is that of the boundary: along it, the bisection ends at the exact distance.
#[test]
fn a_direction_leads_to_the_exact_distance() {
    let case = case(2, 40, 3);
    for norm in [Norm::Linf, Norm::L2, Norm::L1] {
        let ratios = |directed: bool| -> Vec<f64> {
            let attack = Bisected::new(Outward(directed), 12);
            let rows = outcomes(&case, &attack, norm, |_| {}).rows;
            rows.iter()
                .filter_map(|o| {
                    let (x, label) = (case.samples.sample(o.row)[0], case.samples.labels[o.row]);
                    let exact = case.linear.distance(norm, x, label)?.0;
                    Some(o.point.as_ref()?.distance / exact)
                })
                .filter(|r| *r < 100.0)
                .collect()
        };
        let (with, without) = (ratios(true), ratios(false));
        assert!(with.len() > 20, "{norm}: {}", with.len());
        let largest = |all: &[f64]| all.iter().copied().fold(0.0, f64::max);
        assert!(largest(&with) <= 1.002, "{norm}: {with:?}");
        // Where bounds cut the first point, its proportions are not the best ones; in Linf they do not matter.
        let least = if norm == Norm::Linf { 1.0 } else { 1.002 };
        assert!(
            largest(&without) >= least * largest(&with),
            "{norm}: {without:?}"
        );
    }
}

#[test]
fn batches_compaction_and_stops_change_nothing() {
    let case = case(5, 50, 6);
    let attack = Bisected::new(Outward(true), 8);
    let whole = outcomes(&case, &attack, Norm::L2, |_| {});
    for compaction in [true, false] {
        for batch in [1, 6, 64] {
            let again = outcomes(&case, &attack, Norm::L2, |job| {
                (job.batch, job.compaction) = (batch, compaction);
            });
            assert_eq!(results(&again), results(&whole), "{batch} {compaction}");
            assert_eq!(queries(&again), queries(&whole), "{batch} {compaction}");
        }
    }
    for stop_at in [1, 3, 9, 20] {
        let asked = AtomicUsize::new(0);
        let stop = || asked.fetch_add(1, Ordering::Relaxed) >= stop_at;
        let model = case.model();
        let threat = case.threat(Norm::L2, 0.15);
        let mut job = case.job(&threat);
        (job.batch, job.stop) = (12, &stop);
        let checkpoint = run(&model, &attack, &job).unwrap().checkpoint.unwrap();
        let saved = Checkpoint::from_bytes(&checkpoint.to_bytes()).unwrap();
        (job.stop, job.resume) = (&|| false, Some(&saved));
        let rest = run(&model, &attack, &job).unwrap();
        assert_eq!(results(&rest), results(&whole), "stopped at {stop_at}");
        assert_eq!(queries(&rest), queries(&whole), "stopped at {stop_at}");
    }
}
