//! Attacks on linear models, whose exact distance to the boundary is known: at a budget just above it every row must
//! break, just below it no row can.

use burn::tensor::{Device, Tensor, TensorData};
use proofmark_domain::{Coupling, Epsilon, Norm, RunStatus};
use proofmark_engine::{Access, Goal, Job, Outcomes, Silent};
use proofmark_model::{BurnModel, DecisionModel, ModelError, Network, Query, Signature};
use proofmark_testkit::JointCoupling;
use proofmark_testkit::linear::Linear;
use proofmark_threat::{Batch, Budget, Radius, Threat, host};

use crate::common::{Case, broken};

#[test]
fn pgd_breaks_every_row_just_above_the_exact_distance_and_none_below() {
    for (seed, classes) in [(1, 2), (2, 3), (3, 10)] {
        for norm in [Norm::Linf, Norm::L2, Norm::L1] {
            let mut case = Case::new(&[20], classes, 40, seed);
            // Target the class that is nearest in this norm; PGD cannot know which class that is.
            case.samples.targets = Some(case.exact(norm).iter().map(|(_, c)| *c).collect());
            let parameters = "steps = 100\nrandom_start = false\nloss = \"margin\"";
            let above = case.attack("pgd", parameters, &case.at(norm, 1.01));
            assert_eq!(broken(&above), 40, "{norm} above, {classes} classes");
            for o in &above.rows {
                let p = o.point.as_ref().unwrap();
                assert!(p.gauge <= 1.0 && p.gauge > 0.98, "{norm} {}", p.gauge);
            }
            case.samples.targets = None;
            let below = case.attack("pgd", "steps = 100\nrestarts = 3", &case.at(norm, 0.99));
            assert_eq!(broken(&below), 0, "{norm} below, {classes} classes");
        }
    }
}

#[test]
fn pgd_with_random_starts_needs_no_target() {
    for norm in [Norm::Linf, Norm::L2, Norm::L1] {
        let case = Case::new(&[20], 10, 40, 4);
        let parameters = "steps = 100\nrestarts = 10\nloss = \"margin\"";
        let found = broken(&case.attack("pgd", parameters, &case.at(norm, 1.05)));
        assert!(
            found >= 38,
            "{norm}: {found} of 40 at 1.05 times the exact distance"
        );
    }
}

#[test]
fn every_gradient_attack_breaks_two_classes_just_above_and_never_below() {
    // With two classes the gradient has the same direction everywhere: one step from the sample is exact.
    let case = Case::new(&[30], 2, 30, 7);
    for norm in [Norm::Linf, Norm::L2, Norm::L1] {
        for id in [
            "fgsm", "r-fgsm", "bim", "pgd", "mi-fgsm", "adam-pgd", "admix",
        ] {
            let (parameters, factor) = if id.ends_with("fgsm") && id != "mi-fgsm" {
                ("", 1.001)
            } else {
                ("steps = 100", 1.02)
            };
            let above = broken(&case.attack(id, parameters, &case.at(norm, factor)));
            // Outside Linf the random step uses up budget, and one step makes up for only most of it.
            if id != "r-fgsm" || norm == Norm::Linf {
                assert_eq!(above, 30, "{id} {norm} above");
            }
            let below = broken(&case.attack(id, parameters, &case.at(norm, 0.99)));
            assert_eq!(below, 0, "{id} {norm} below");
        }
    }
}

#[test]
fn step_sizes_fall_from_four_epsilon_or_stay_as_given() {
    let case = Case::new(&[3], 2, 1, 0);
    let eps = Epsilon::new(0.4).unwrap();
    let threat = Threat::uniform(&case.linear.modalities, Norm::L2, &eps).record();
    let steps = |id: &str, parameters: &str| {
        let attack = proofmark_attacks::build(id, &parameters.parse().unwrap()).unwrap();
        let sizes = attack.step_sizes(&threat);
        sizes.iter().map(|s| (s.first, s.last)).collect::<Vec<_>>()
    };
    for id in ["bim", "pgd", "mi-fgsm", "adam-pgd"] {
        assert_eq!(steps(id, "steps = 8"), [(1.6, 0.025)], "{id}");
        let given = steps(id, "step_size = 0.25");
        assert!(
            given
                .iter()
                .all(|s| (s.0 - 0.25).abs() < 1e-12 && s.0 == s.1),
            "{given:?}"
        );
    }
    let third = |norm: Norm, parameters: &str| {
        let attack = proofmark_attacks::build("pgd", &parameters.parse().unwrap()).unwrap();
        let threat = Threat::uniform(&case.linear.modalities, norm, &eps).record();
        attack.step_sizes(&threat)[0].every_third_try
    };
    assert_eq!(third(Norm::Linf, "restarts = 3"), Some(0.4));
    assert_eq!(third(Norm::Linf, "restarts = 2"), None);
    assert_eq!(third(Norm::L2, "restarts = 3"), None);
    assert_eq!(third(Norm::Linf, "restarts = 3\nstep_size = 0.1"), None);
    assert_eq!(steps("fgsm", ""), [(0.4, 0.4)]);
    assert_eq!(steps("uniform-noise", ""), []);
}

#[test]
fn noise_breaks_only_rows_within_reach() {
    let case = Case::new(&[10], 3, 30, 5);
    for id in ["uniform-noise", "gaussian-noise", "salt-and-pepper"] {
        for norm in Norm::ALL {
            let below = case.attack(id, "draws = 20", &case.at(norm, 0.99));
            assert_eq!(broken(&below), 0, "{id} {norm}");
        }
        let wide = case.attack(id, "draws = 50", &case.at(Norm::Linf, 10.0));
        assert!(
            broken(&wide) > 10,
            "{id} finds what is easy: {}",
            broken(&wide)
        );
    }
}

fn joint(
    case: &Case,
    norms: [Norm; 2],
    eps: [f64; 2],
    factor: &[f64],
    coupling: Coupling,
) -> Threat {
    let budgets = (0..2)
        .map(|m| Budget {
            modality: format!("m{m}"),
            norm: norms[m],
            radius: Radius::PerSample(factor.iter().map(|f| f * eps[m]).collect()),
            mask: None,
        })
        .collect();
    Threat::new(&case.linear.modalities, budgets, coupling, factor.len()).unwrap()
}

#[test]
fn budgets_of_two_inputs_break_just_above_the_exact_gauge_and_not_below() {
    let case = Case::new(&[12, 8], 2, 25, 11);
    let pairs = [
        ([Norm::Linf, Norm::L2], [0.1, 0.4]),
        ([Norm::L2, Norm::L1], [0.3, 0.8]),
        ([Norm::Linf, Norm::Linf], [0.05, 0.2]),
    ];
    let couplings = [
        (Coupling::Independent, JointCoupling::Independent),
        (
            Coupling::Shared { q: 1.0 },
            JointCoupling::Shared { q: 1.0 },
        ),
        (
            Coupling::Shared { q: 2.0 },
            JointCoupling::Shared { q: 2.0 },
        ),
    ];
    for (norms, eps) in pairs {
        for (coupling, exact) in couplings {
            let gauges: Vec<f64> = (0..25)
                .map(|i| {
                    let budgets = [(norms[0], eps[0]), (norms[1], eps[1])];
                    let row = case.samples.sample(i);
                    case.linear
                        .joint_gauge(&budgets, exact, &row, case.samples.labels[i])
                        .unwrap()
                })
                .collect();
            let at = |f: f64| {
                let factors: Vec<f64> = gauges.iter().map(|g| f * g).collect();
                broken(&case.attack(
                    "pgd",
                    "steps = 300\nrandom_start = false\nloss = \"margin\"",
                    &joint(&case, norms, eps, &factors, coupling),
                ))
            };
            assert_eq!(at(1.01), 25, "{norms:?} {coupling:?} above");
            assert_eq!(at(0.99), 0, "{norms:?} {coupling:?} below");
        }
    }
}

#[test]
fn one_step_equals_the_hand_computed_point() {
    // z = (x·w, 0) with w = (1, -2, 0): label 0 wins, and the margin falls along -w.
    let linear = Linear {
        modalities: Linear::new(&[3], 2, 0).modalities,
        weights: vec![vec![vec![1.0, 0.0], vec![-2.0, 0.0], vec![0.0, 0.0]]],
        classes: 2,
    };
    let case = Case::of(linear, vec![vec![0.9, 0.4, 0.5]], vec![0]);
    let eps = |norm, e: f64| {
        let e: Epsilon = Epsilon::new(e).unwrap();
        Threat::uniform(&case.linear.modalities, norm, &e)
    };
    let point = |outcomes: Outcomes| outcomes.rows[0].point.clone().expect("broken").x[0].clone();
    let close = |a: &[f32], b: &[f32]| {
        assert!(
            a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6),
            "{a:?} {b:?}"
        );
    };
    // Linf 0.1: both weighted features move against the margin 0.9 - 0.8 = 0.1; the third has a zero gradient.
    close(
        &point(case.attack("fgsm", "loss = \"margin\"", &eps(Norm::Linf, 0.1))),
        &[0.8, 0.5, 0.5],
    );
    close(
        &point(case.attack(
            "pgd",
            "steps = 1\nstep_size = 0.1\nrandom_start = false",
            &eps(Norm::Linf, 0.1),
        )),
        &[0.8, 0.5, 0.5],
    );
    // L2 0.1: along (-1, 2, 0) / sqrt(5).
    let u = 0.1 / 5.0_f32.sqrt();
    close(
        &point(case.attack("fgsm", "loss = \"margin\"", &eps(Norm::L2, 0.1))),
        &[0.9 - u, 0.4 + 2.0 * u, 0.5],
    );
    // L1 0.1: the whole step goes to the heaviest feature.
    close(
        &point(case.attack("fgsm", "loss = \"margin\"", &eps(Norm::L1, 0.1))),
        &[0.9, 0.5, 0.5],
    );
    // R-FGSM without its random part is FGSM.
    close(
        &point(case.attack("r-fgsm", "alpha = 0.0", &eps(Norm::Linf, 0.1))),
        &[0.8, 0.5, 0.5],
    );
}

#[test]
fn targeted_attacks_succeed_only_on_their_target() {
    let mut case = Case::new(&[20], 5, 20, 9);
    case.samples.targets = Some(case.samples.labels.iter().map(|l| (l + 1) % 5).collect());
    let model = case.linear.model(&Device::flex()).unwrap();
    let rows: Vec<usize> = (0..20).collect();
    let threat = Threat::uniform(
        &case.linear.modalities,
        Norm::Linf,
        &Epsilon::new(0.5).unwrap(),
    );
    let mut job = Job::new(&case.samples, &rows, &threat, &Silent);
    job.goal = &Goal::Targeted;
    for loss in ["ce", "margin", "dlr"] {
        let table = format!("steps = 50\nloss = \"{loss}\"").parse().unwrap();
        let attack = proofmark_attacks::build("pgd", &table).unwrap();
        let outcomes = attack.run(Access::Gradients(&model), &job).unwrap();
        assert!(broken(&outcomes) >= 15, "{loss}: {}", broken(&outcomes));
        for o in outcomes
            .rows
            .iter()
            .filter(|o| o.status == RunStatus::Broken)
        {
            assert_eq!(
                Some(o.point.as_ref().unwrap().pred),
                case.samples.targets.as_ref().map(|t| t[o.row])
            );
        }
    }
}

/// Rounds the scores to whole steps but keeps their gradients: an int8 model with straight-through gradients.
struct InSteps(BurnModel, f32);

impl InSteps {
    fn rounded(&self, scores: &Tensor<2>) -> Tensor<2> {
        (scores.clone() / self.1).round() * self.1
    }
}

impl Network for InSteps {
    fn signature(&self) -> &Signature {
        DecisionModel::signature(&self.0)
    }

    fn forward(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
        let scores = self.0.forward(query)?;
        let by = (self.rounded(&scores) - scores.clone()).detach();
        Ok(scores + by)
    }
}

#[test]
fn pgd_breaks_models_with_rounded_scores() {
    const EPS: f32 = 0.05;
    let (mut reachable, mut found) = (0, 0);
    for seed in 0..6 {
        let mut case = Case::new(&[4], 2, 300, seed);
        let model = InSteps(case.linear.model(&Device::flex()).unwrap(), 0.2);
        let classes = |points: Vec<f32>| -> Vec<usize> {
            let n = points.len() / 4;
            let x = Tensor::<2>::from_data(TensorData::new(points, [n, 4]), &Device::flex());
            let batch = Batch::new(case.linear.modalities.clone().into(), vec![x]).unwrap();
            let keys: Vec<u64> = (0..n as u64).collect();
            let scores = model.forward(&Query::one_per_row(batch, &keys)).unwrap();
            let class = |z: &[f32]| proofmark_engine::predict(z).unwrap();
            host(&scores).chunks(2).map(class).collect()
        };
        let values = case.samples.values[0].clone();
        let labels = classes(values.clone());
        // Try every corner of every sample's box.
        let corners = (0..16).map(|c| {
            let by = |i: usize| if c >> (i % 4) & 1 == 1 { EPS } else { -EPS };
            let at = |(i, v): (usize, &f32)| (v + by(i)).clamp(0.0, 1.0);
            classes(values.iter().enumerate().map(at).collect())
        });
        let corners: Vec<Vec<usize>> = corners.collect();
        let breakable = |i: &usize| corners.iter().any(|c| c[*i] != labels[*i]);
        case.samples.labels = labels.clone();
        let threat = Threat::uniform(
            &case.linear.modalities,
            Norm::Linf,
            &Epsilon::new(0.05).unwrap(),
        );
        let rows: Vec<usize> = (0..300).filter(breakable).collect();
        let job = Job::new(&case.samples, &rows, &threat, &Silent);
        let parameters = "steps = 50\nrestarts = 6\nloss = \"margin\"";
        let attack = proofmark_attacks::build("pgd", &parameters.parse().unwrap()).unwrap();
        let outcomes = attack.run(Access::Gradients(&model), &job).unwrap();
        reachable += rows.len();
        found += broken(&outcomes);
    }
    // Without the restarts that wander it finds 281 of 299.
    assert!(found + 1 >= reachable, "{found} of {reachable}");
}

/// The nearest boundary belongs to one of the target classes, each of which gets its own restart.
#[test]
fn apgd_t_breaks_every_row_just_above_the_exact_distance_and_none_below() {
    for norm in [Norm::Linf, Norm::L2] {
        let case = Case::new(&[40], 10, 60, 5);
        let table = "steps = 60";
        let above = case.attack("apgd-t", table, &case.at(norm, 1.02));
        assert_eq!(broken(&above), 60, "{norm}");
        let below = case.attack("apgd-t", table, &case.at(norm, 0.99));
        assert_eq!(broken(&below), 0, "{norm}");
        for o in &below.rows {
            // Nine restarts, each with the clean scores, the steps and the judge.
            assert_eq!(o.queries.forward, 9 * 62);
        }
    }
}

/// Three classes leave two targets; a target set by the user leaves one.
#[test]
fn apgd_t_has_one_restart_per_target_class() {
    let mut case = Case::new(&[40], 3, 20, 5);
    let threat = case.at(Norm::Linf, 0.9);
    let per_try = |o: &Outcomes| o.rows[0].queries.forward / 12;
    assert_eq!(per_try(&case.attack("apgd-t", "steps = 10", &threat)), 2);
    let twice = case.attack("apgd-t", "steps = 10\nrestarts = 2", &threat);
    assert_eq!(per_try(&twice), 4);
    case.samples.targets = Some(case.samples.labels.iter().map(|l| (l + 1) % 3).collect());
    let targeted = case.attack("apgd-t", "steps = 10", &threat);
    // A target set by the user needs no clean scores.
    assert_eq!(targeted.rows[0].queries.forward, 11);
}

#[test]
fn fmn_stops_within_a_hundredth_of_the_exact_distance() {
    for (seed, classes) in [(1, 2), (2, 3), (3, 10)] {
        for norm in [Norm::Linf, Norm::L2, Norm::L1] {
            let mut case = Case::new(&[20], classes, 40, seed);
            // The budget is the exact distance, so a gauge of 1 is optimal.
            let threat = case.at(norm, 1.0);
            let gauges = |case: &Case| -> Vec<f64> {
                let outcomes = case.attack("fmn", "", &threat);
                let points = outcomes.rows.iter().map(|o| o.point.as_ref());
                points
                    .map(|p| p.expect("some change succeeds").gauge)
                    .collect()
            };
            let free = gauges(&case);
            // Scores are `f32`: the nearer the boundary, the larger the share of rounding in a distance.
            assert!(free.iter().all(|g| *g >= 1.0 - 1e-4), "{norm} {free:?}");
            // FMN cannot know which class is nearest: it descends to one close by.
            let near = free.iter().filter(|g| **g <= 1.01).count();
            assert!(near >= 20, "{norm}, {classes} classes: {near} of 40");
            case.samples.targets = Some(case.exact(norm).iter().map(|(_, c)| *c).collect());
            let told = gauges(&case);
            assert!(
                told.iter().all(|g| *g <= 1.01),
                "{norm}, {classes} classes: {told:?}"
            );
        }
    }
}

#[test]
fn fmn_moves_away_from_samples_with_tied_scores() {
    let mut case = Case::new(&[4], 2, 60, 3);
    let model = InSteps(case.linear.model(&Device::flex()).unwrap(), 4.0);
    let (mut ties, mut rows) = (0, Vec::new());
    for i in 0..60 {
        let x = Tensor::from_data(
            TensorData::new(case.samples.sample(i)[0].to_vec(), [1, 4]),
            &Device::flex(),
        );
        let batch = Batch::new(case.linear.modalities.clone().into(), vec![x]).unwrap();
        let scores = model.forward(&Query::one_per_row(batch, &[0])).unwrap();
        let scores = host(&scores);
        case.samples.labels[i] = proofmark_engine::predict(&scores).unwrap();
        if scores[0] == scores[1] {
            ties += 1;
            rows.push(i);
        }
    }
    assert!(ties >= 10, "{ties}");
    let threat = Threat::uniform(
        &case.linear.modalities,
        Norm::Linf,
        &Epsilon::new(1.0).unwrap(),
    );
    let job = Job::new(&case.samples, &rows, &threat, &Silent);
    let attack = |id: &str| {
        let attack = proofmark_attacks::build(id, &toml::Table::new()).unwrap();
        broken(&attack.run(Access::Gradients(&model), &job).unwrap())
    };
    let (ours, pgd) = (attack("fmn"), attack("pgd"));
    // Without an initial ball FMN would break none.
    assert!(
        pgd > 40 && 10 * ours >= 9 * pgd,
        "{ours} of {pgd} that pgd breaks"
    );
}
