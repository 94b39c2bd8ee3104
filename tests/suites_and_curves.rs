//! Suites attack the samples that are left, and every member has its own record; a minimum-norm attack runs once for
//! all budgets.

use std::sync::atomic::{AtomicUsize, Ordering};

use proofmark::attacks::build;
use proofmark::domain::{Epsilon, Norm, Report, RunStatus};
use proofmark::engine::{Access, Attack, EngineError, Job, Meta, Outcomes, Parameters, run_all};
use proofmark::models::ModelError;
use proofmark::{BurnModel, Dataset, Measurement, RunCheckpoint, RunPlan, ThreatPlan};

fn model() -> BurnModel {
    proofmark::model("digits-standard", &proofmark::device("cpu").unwrap()).unwrap()
}

fn data() -> Dataset {
    proofmark::open("digits")
        .unwrap()
        .limit(60, Default::default())
}

fn attack(id: &str, table: &str) -> Box<dyn Attack> {
    build(id, &table.parse().unwrap()).unwrap()
}

fn linf(eps: f64) -> ThreatPlan {
    ThreatPlan::new(Norm::Linf, Epsilon::new(eps).unwrap())
}

/// Returns the statuses of a run, by sample.
fn statuses(report: &Report, key: &str) -> Vec<RunStatus> {
    let run = report.attacks.iter().position(|a| a.key == key);
    let run = run.unwrap_or_else(|| panic!("no run `{key}`"));
    report.samples.iter().map(|s| s.runs[run].status).collect()
}

fn forwards(report: &Report, key: &str) -> Vec<u64> {
    let run = report.attacks.iter().position(|a| a.key == key).unwrap();
    report.samples.iter().map(|s| s.runs[run].forward).collect()
}

const SUITE: &str = r#"attacks = ["fgsm", { id = "pgd", steps = 8, restarts = 3 }]"#;

#[test]
fn later_attacks_of_a_suite_see_what_is_left() {
    let (model, data) = (model(), data());
    let suite = [attack("suite", SUITE)];
    let alone = [attack("fgsm", ""), attack("pgd", "steps = 8\nrestarts = 3")];
    let report = |attacks: &[Box<dyn Attack>]| {
        RunPlan::new(&model, &data, attacks, vec![linf(0.08)])
            .run()
            .unwrap()
            .report
    };
    let (together, alone) = (report(&suite), report(&alone));
    let all = statuses(&together, "suite@linf:0.08");
    let fgsm = statuses(&together, "suite/fgsm@linf:0.08");
    let pgd = statuses(&together, "suite/pgd@linf:0.08");
    assert_eq!(fgsm, statuses(&alone, "fgsm@linf:0.08"));
    let expected = statuses(&alone, "pgd@linf:0.08");
    let mut left = 0;
    for i in 0..all.len() {
        if fgsm[i] == RunStatus::Broken {
            assert_eq!(
                (pgd[i], all[i]),
                (RunStatus::BrokenBefore, RunStatus::Broken)
            );
            assert_eq!(forwards(&together, "suite/pgd@linf:0.08")[i], 0);
        } else {
            // The result of pgd on a sample does not depend on the others that it attacks.
            assert_eq!((pgd[i], all[i]), (expected[i], expected[i]));
            left += usize::from(fgsm[i] == RunStatus::Robust && expected[i] == RunStatus::Broken);
        }
    }
    assert!(left > 0, "pgd breaks some that fgsm does not");
    // Samples left after the attack, not only among those that it attacked.
    let figure = |key: &str| {
        together
            .attacks
            .iter()
            .find(|a| a.key == key)
            .unwrap()
            .correct
    };
    assert_eq!(figure("suite/pgd@linf:0.08"), figure("suite@linf:0.08"));
    assert!(figure("suite/fgsm@linf:0.08") > figure("suite@linf:0.08"));
    let asked = |r: &Report, key: &str| forwards(r, key).iter().sum::<u64>();
    assert!(asked(&together, "suite/pgd@linf:0.08") < asked(&alone, "pgd@linf:0.08"));
}

#[test]
fn a_suite_names_what_is_wrong_with_an_attack_of_it() {
    let refused = |table: &str| {
        let refused = build("suite", &table.parse().unwrap());
        refused.expect_err(table).to_string()
    };
    assert!(refused("attacks = []").contains("at least one"));
    assert!(refused("attacks = ['pdg']").contains("did you mean `pgd`"));
    assert!(refused("attacks = [{ id = 'pgd', steps = 0 }]").contains("steps = 0"));
    assert!(refused("attacks = [{ steps = 1 }]").contains("without an id"));
    assert!(refused("attacks = ['suite']").contains("holds the suite `suite`"));
}

/// An attack that always fails.
#[derive(Debug)]
struct Fails;

impl Attack for Fails {
    fn meta(&self) -> &'static Meta {
        const META: Meta = Meta {
            id: "fails",
            version: 1,
            summary: "fails",
            role: proofmark::domain::Role::Attack,
            needs: proofmark::domain::Needs::Gradients,
            norms: &[Norm::Linf],
            reference: "none",
        };
        &META
    }

    fn parameters(&self) -> Parameters {
        Parameters::new()
    }

    fn run(&self, _: Access<'_>, _: &Job<'_>) -> Result<Outcomes, EngineError> {
        Err(ModelError::Device {
            message: "lost".into(),
        }
        .into())
    }
}

/// A user-defined suite.
#[derive(Debug)]
struct Chain(Vec<Box<dyn Attack>>);

impl Attack for Chain {
    fn meta(&self) -> &'static Meta {
        const META: Meta = Meta {
            id: "chain",
            version: 1,
            summary: "a suite",
            role: proofmark::domain::Role::Attack,
            needs: proofmark::domain::Needs::Gradients,
            norms: &[Norm::Linf],
            reference: "none",
        };
        &META
    }

    fn parameters(&self) -> Parameters {
        Parameters::new()
    }

    fn members(&self) -> &[Box<dyn Attack>] {
        &self.0
    }

    fn run(&self, access: Access<'_>, job: &Job<'_>) -> Result<Outcomes, EngineError> {
        let members: Vec<&dyn Attack> = self.0.iter().map(AsRef::as_ref).collect();
        run_all(&members, access, job)
    }
}

#[test]
fn an_attack_that_fails_loses_nothing_of_the_others() {
    let (model, data) = (model(), data());
    let chain = Chain(vec![
        attack("fgsm", ""),
        Box::new(Fails),
        attack("pgd", "steps = 8"),
    ]);
    let attacks: [Box<dyn Attack>; 3] = [Box::new(chain), Box::new(Fails), attack("fgsm", "")];
    let report = RunPlan::new(&model, &data, &attacks, vec![linf(0.08)])
        .run()
        .unwrap()
        .report;
    let failed = |key: &str| {
        let of = report.attacks.iter().find(|a| a.key == key).unwrap();
        of.failed.clone()
    };
    for key in ["fails@linf:0.08", "chain/fails@linf:0.08"] {
        assert!(failed(key).unwrap().contains("lost"), "{key}");
        assert!(!statuses(&report, key).contains(&RunStatus::Robust));
    }
    for key in [
        "chain/fgsm@linf:0.08",
        "chain/pgd@linf:0.08",
        "fgsm@linf:0.08",
    ] {
        assert_eq!(failed(key), None);
        let broken = |s: &&RunStatus| **s == RunStatus::Broken;
        assert!(
            statuses(&report, key).iter().filter(broken).count() > 0,
            "{key}"
        );
    }
    // Samples that no attack broke are not robust: one attack never ran on them.
    let all = statuses(&report, "chain@linf:0.08");
    assert!(!all.contains(&RunStatus::Robust) && all.contains(&RunStatus::Stopped));
    assert_eq!(
        report.worst_case.invalid,
        all.iter().filter(|s| **s == RunStatus::Stopped).count()
    );
}

fn stopped(plan: &RunPlan<'_>, resume: Option<&RunCheckpoint>, at: usize) -> Measurement {
    let asked = AtomicUsize::new(0);
    let stop = || asked.fetch_add(1, Ordering::Relaxed) >= at;
    let mut again: RunPlan<'_> = plan.clone();
    again.stop = &stop;
    again.resume = resume;
    again.run().unwrap()
}

#[test]
fn a_stopped_suite_and_a_stopped_curve_end_with_the_report_of_the_whole() {
    let (model, data) = (model(), data());
    let attacks = [attack("suite", SUITE), attack("fmn", "steps = 12")];
    let plan = RunPlan::new(&model, &data, &attacks, vec![linf(0.04), linf(0.08)]);
    let results = |m: &Measurement| {
        let mut report = m.report.clone();
        for a in &mut report.attacks {
            a.cost = Default::default();
        }
        (
            serde_json::to_string(&report).unwrap(),
            m.adversarials.clone(),
        )
    };
    let whole = results(&plan.run().unwrap());
    for every in [5, 13] {
        let mut part = stopped(&plan, None, every);
        let mut stops = 0;
        while let Some(checkpoint) = part.checkpoint.take() {
            let read = RunCheckpoint::from_bytes(&checkpoint.to_bytes()).unwrap();
            part = stopped(&plan, Some(&read), every);
            stops += 1;
            assert!(stops < 200, "it never ends");
        }
        assert!(stops > 3);
        assert_eq!(results(&part), whole, "every {every}");
    }
}

#[test]
fn a_minimum_norm_attack_runs_once_for_the_whole_curve() {
    let (model, data) = (model(), data());
    let attacks = [attack("fmn", "steps = 40"), attack("fgsm", "")];
    let budgets = [0.02, 0.05, 0.1, 0.2];
    let report = RunPlan::new(&model, &data, &attacks, budgets.map(linf).to_vec());
    let report = report.run().unwrap().report;
    let fmn: Vec<_> = report.attacks.iter().filter(|a| a.id == "fmn").collect();
    assert_eq!(fmn.len(), budgets.len());
    assert!(fmn[0].forward > 0 && fmn[1..].iter().all(|a| a.forward == 0));
    assert!(fmn.windows(2).all(|w| w[0].correct >= w[1].correct));
    assert!(fmn[0].correct > fmn[3].correct);
    for (eps, of) in budgets.iter().zip(&fmn) {
        // A broken sample has its nearest point inside the budget.
        let run = report.attacks.iter().position(|a| a.key == of.key).unwrap();
        for s in report.samples.iter().filter(|s| s.clean_correct) {
            let r = &s.runs[run];
            if r.status == RunStatus::Broken {
                let distance = r.distance.unwrap();
                assert!(distance <= *eps);
                assert!((r.gauge.unwrap() - distance / eps).abs() < 1e-6);
            }
        }
        // The attack alone at this budget breaks as many samples, plus or minus one.
        let alone = RunPlan::new(&model, &data, &attacks[..1], vec![linf(*eps)]);
        let alone = alone.run().unwrap().report;
        assert!(
            alone.attacks[0].correct.abs_diff(of.correct) <= 1,
            "eps {eps}"
        );
    }
    // Minimum-norm attacks do not run without a budget.
    let probe = report.attacks.iter().find(|a| a.key.contains("unbounded"));
    assert_eq!(probe.unwrap().id, "pgd");
}
