//! Properties of the shipped data and models: attacks in the right order of strength, and the cost of compaction.

use proofmark::attacks;
use proofmark::domain::{Epsilon, Norm, Report, Role, RunStatus};
use proofmark::{BurnModel, Dataset, RunPlan, ThreatPlan};

/// Budget, fixed beforehand, at which the two models are compared everywhere.
const EPS: f64 = 0.15;

fn model(name: &str) -> BurnModel {
    proofmark::model(name, &proofmark::device("cpu").unwrap()).unwrap()
}

fn report(model: &BurnModel, data: &Dataset, asked: &[(&str, &str)], compaction: bool) -> Report {
    let built: Vec<_> = asked
        .iter()
        .map(|(id, p)| attacks::build(id, &p.parse().unwrap()).unwrap())
        .collect();
    let threat = ThreatPlan::new(Norm::Linf, Epsilon::new(EPS).unwrap());
    let mut plan = RunPlan::new(model, data, &built, vec![threat]);
    plan.settings.trust = false;
    plan.settings.compaction = compaction;
    plan.run().unwrap().report
}

#[test]
fn stronger_attacks_find_more() {
    let data = proofmark::open("digits").unwrap();
    let asked = [
        ("uniform-noise", "draws = 10"),
        ("fgsm", ""),
        ("pgd", "steps = 10"),
        ("pgd", "steps = 100\nrestarts = 3"),
    ];
    let report = report(&model("digits-standard"), &data, &asked, true);
    let mut last = report.clean.correct;
    for attack in &report.attacks {
        assert!(
            attack.correct <= last,
            "{} keeps {} and the weaker one {last}",
            attack.key,
            attack.correct
        );
        last = attack.correct;
    }
    let (noise, strong) = (&report.attacks[0], &report.attacks[3]);
    assert!(
        noise.ci95.low > strong.ci95.high,
        "{:?} {:?}",
        noise.ci95,
        strong.ci95
    );
    // A baseline is marked as one.
    assert_eq!((noise.role, strong.role), (Role::Baseline, Role::Attack));
}

#[test]
fn the_robust_model_is_more_robust_than_the_standard_one() {
    let data = proofmark::open("digits").unwrap();
    let asked = [
        ("pgd", "steps = 40\nrestarts = 2"),
        ("pgd", "steps = 40\nloss = \"margin\""),
    ];
    let robust = report(&model("digits-robust"), &data, &asked, true);
    let standard = report(&model("digits-standard"), &data, &asked, true);
    assert!(robust.clean.ci95.low >= 0.90, "{:?}", robust.clean);
    assert!(
        robust.worst_case.ci95.low >= 0.50,
        "{:?}",
        robust.worst_case
    );
    assert!(robust.worst_case.correct >= 3 * standard.worst_case.correct);
}

#[test]
fn compaction_halves_the_price_of_a_long_attack_and_changes_nothing_else() {
    let data = proofmark::open("digits")
        .unwrap()
        .limit(150, Default::default());
    let asked = [("pgd", "steps = 100")];
    let model = model("digits-standard");
    let with = report(&model, &data, &asked, true);
    let without = report(&model, &data, &asked, false);
    assert!(2 * with.attacks[0].forward <= without.attacks[0].forward);
    for (a, b) in with.samples.iter().zip(&without.samples) {
        assert_eq!(
            (a.runs[0].status, a.gauge, a.adv_pred),
            (b.runs[0].status, b.gauge, b.adv_pred)
        );
    }
}

#[test]
fn every_returned_point_is_inside_and_misclassified_when_queried_again() {
    use proofmark::models::{DecisionModel, Query, ScoreModel};
    use proofmark::threats::{Batch, host};
    let data = proofmark::open("digits")
        .unwrap()
        .limit(100, Default::default());
    let model = model("digits-standard");
    for (norm, eps) in [(Norm::Linf, 0.15), (Norm::L2, 0.8), (Norm::L1, 3.0)] {
        let built = [attacks::build("pgd", &toml::Table::new()).unwrap()];
        let threat = ThreatPlan::new(norm, Epsilon::new(eps).unwrap());
        let measured = RunPlan::new(&model, &data, &built, vec![threat])
            .run()
            .unwrap();
        let mut broken = 0;
        for (sample, x) in measured.report.samples.iter().zip(&measured.adversarials) {
            let Some(x) = x else { continue };
            broken += 1;
            let row = data.ids.iter().position(|id| *id == sample.id).unwrap();
            let clean = data.modalities[0].values.row(row);
            let delta = x[0]
                .iter()
                .zip(clean)
                .map(|(a, b)| f64::from(*a) - f64::from(*b));
            assert!(norm.of(delta) <= eps * (1.0 + 1e-12), "{norm}");
            assert!(x[0].iter().all(|v| (0.0..=1.0).contains(v)));
            let signature = DecisionModel::signature(&model);
            let batch =
                Batch::from_host(signature.modalities.clone(), x.clone(), &signature.device)
                    .unwrap();
            let scores = host(&model.scores(&Query::one_per_row(batch, &[0])).unwrap());
            let best = (0..10)
                .max_by(|a, b| scores[*a].total_cmp(&scores[*b]))
                .unwrap();
            assert_ne!(best, sample.label);
        }
        assert!(broken > 20, "{norm}: {broken}");
        let statuses = measured.report.samples.iter().map(|s| s.runs[0].status);
        assert_eq!(statuses.filter(|s| *s == RunStatus::Broken).count(), broken);
    }
}
