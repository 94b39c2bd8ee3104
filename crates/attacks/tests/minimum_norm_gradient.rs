//! Minimum-norm gradient attacks on linear models, whose exact distance is known, and on models that are hard for them.

use burn::tensor::{Device, Tensor, TensorData};
use proofmark_domain::{Coupling, Epsilon, Norm, RunStatus};
use proofmark_engine::{Access, Checkpoint, Goal, Job, Outcome, Outcomes, Samples, Silent};
use proofmark_model::BurnModel;
use proofmark_testkit::linear::Linear;
use proofmark_threat::{Budget, Radius, Threat};

/// Each attack with parameters for tests, in a norm it works in.
const ATTACKS: [(&str, &str, Norm); 7] = [
    ("ddn", "steps = 200", Norm::L2),
    ("cw", "", Norm::L2),
    ("ead", "", Norm::L1),
    ("pdpgd", "", Norm::L1),
    ("pdpgd", "", Norm::L2),
    ("pdpgd", "", Norm::Linf),
    ("pdpgd", "", Norm::L0),
];

struct Case {
    linear: Linear,
    model: BurnModel,
    samples: Samples,
}

impl Case {
    fn new(features: usize, classes: usize, n: usize, seed: u64) -> Self {
        Self::of(Linear::new(&[features], classes, seed), n, seed)
    }

    fn of(linear: Linear, n: usize, seed: u64) -> Self {
        let (values, labels) = linear.samples(n, seed);
        Self {
            model: linear.model(&Device::flex()).unwrap(),
            samples: Samples {
                modalities: linear.modalities.clone().into(),
                values,
                labels,
                targets: None,
                keys: (0..n as u64).collect(),
            },
            linear,
        }
    }

    fn run<'a>(
        &'a self,
        (id, parameters): (&str, &str),
        threat: &'a Threat,
        rows: &'a [usize],
        change: impl FnOnce(&mut Job<'a>),
    ) -> Outcomes {
        let attack = proofmark_attacks::build(id, &parameters.parse().unwrap()).unwrap();
        let mut job = Job::new(&self.samples, rows, threat, &Silent);
        if self.samples.targets.is_some() {
            job.goal = &Goal::Targeted;
        }
        change(&mut job);
        attack.run(Access::Gradients(&self.model), &job).unwrap()
    }

    fn all(&self, attack: (&str, &str), threat: &Threat) -> Outcomes {
        let rows: Vec<usize> = (0..self.samples.len()).collect();
        self.run(attack, threat, &rows, |_| {})
    }

    fn exact(&self, norm: Norm) -> Vec<(f64, usize)> {
        let distance = |i: usize| {
            let row = self.samples.sample(i)[0];
            self.linear.distance(norm, row, self.samples.labels[i])
        };
        (0..self.samples.len())
            .map(|i| distance(i).expect("reachable"))
            .collect()
    }

    fn threat(&self, norm: Norm, eps: f64, mask: Option<Vec<bool>>) -> Threat {
        let budget = Budget {
            modality: "x".into(),
            norm,
            radius: Radius::Uniform(Epsilon::new(eps).unwrap()),
            mask: mask.map(Into::into),
        };
        let modalities = &self.linear.modalities;
        Threat::new(
            modalities,
            vec![budget],
            Coupling::Independent,
            self.samples.len(),
        )
        .unwrap()
    }

    /// Returns each row's distance divided by the exact one, sorted.
    fn ratios(&self, norm: Norm, outcomes: &Outcomes) -> Vec<f64> {
        let exact = self.exact(norm);
        let ratio = |o: &Outcome| {
            let point = o.point.as_ref().expect("some change succeeds");
            point.distance / exact[o.row].0
        };
        let mut all: Vec<f64> = outcomes.rows.iter().map(ratio).collect();
        all.sort_by(f64::total_cmp);
        all
    }
}

/// Returns the share of `ratios` that is at most `limit`.
fn share(ratios: &[f64], limit: f64) -> f64 {
    ratios.iter().filter(|r| **r <= limit).count() as f64 / ratios.len() as f64
}

#[test]
fn every_attack_gets_within_a_hundredth_of_the_exact_distance() {
    for (seed, classes) in [(1, 2), (2, 3), (3, 10), (4, 10)] {
        for (id, parameters, norm) in ATTACKS {
            let mut case = Case::new(20, classes, 40, seed);
            let threat = case.threat(norm, 1.0, None);
            let free = case.ratios(norm, &case.all((id, parameters), &threat));
            // The budget of a target is the nearest class, which the attack alone cannot know.
            case.samples.targets = Some(case.exact(norm).iter().map(|(_, c)| *c).collect());
            let told_outcomes = case.all((id, parameters), &threat);
            let told = case.ratios(norm, &told_outcomes);
            let queries: u64 = told_outcomes.rows.iter().map(|o| o.queries.forward).sum();
            println!(
                "{id} {norm} {classes} classes: free {:.4} {:.4} {:.4}, {:.2} at 1.01; told {:.4} {:.4} {:.4}; {} forwards",
                free[20],
                free[36],
                free[39],
                share(&free, 1.01),
                told[20],
                told[36],
                told[39],
                queries / 40
            );
            assert!(
                told[0] >= 1.0 - 1e-3 && free[0] >= 1.0 - 1e-3,
                "{id} {norm}"
            );
        }
    }
}

#[test]
fn a_restart_per_class_finds_the_nearest_boundary() {
    for (id, parameters, norm) in ATTACKS {
        let case = Case::new(20, 10, 40, 3);
        let threat = case.threat(norm, 1.0, None);
        let table = format!("{parameters}\ntargets = 9");
        let table = if id == "cw" {
            format!("{table}\nsteps = 500")
        } else {
            table
        };
        let outcomes = case.all((id, &table), &threat);
        let ratios = case.ratios(norm, &outcomes);
        println!(
            "{id} {norm}: {:.4} {:.4} {:.4}, {}",
            ratios[20],
            ratios[36],
            ratios[39],
            share(&ratios, 1.01)
        );
    }
}
