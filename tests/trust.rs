//! Checks of the attack itself, on nets of several kinds: none may be raised where nothing is hidden, and each where its
//! failure was made.

use std::collections::BTreeSet;
use std::path::Path;

use proofmark::domain::{Epsilon, Norm, Report, Role, RunStatus, TrustCode, TrustFlag, Verdict};
use proofmark::models::{DecisionModel, Network};
use proofmark::policy::{Metric, assess};
use proofmark::{BurnModel, Dataset, ModelSource, RunPlan, ThreatPlan};
use proofmark_testkit::masked::{Mask, Masked};
use proofmark_testkit::trained::{Kind, trained};

const EPS: f64 = 0.1;

fn data() -> Dataset {
    proofmark::open("digits")
        .unwrap()
        .limit(100, Default::default())
}

/// A net of this kind, trained on the shipped digits of the first `classes` classes.
fn net_of(kind: Kind, classes: usize) -> BurnModel {
    let train = first_classes(&proofmark::open("digits:train").unwrap(), classes);
    let column = &train.modalities[0];
    let rows: Vec<f32> = column.values.iter().copied().collect();
    let labels = train.labels.as_ref().unwrap();
    trained(kind, &column.modality, &rows, labels, classes, 200).unwrap()
}

fn net(kind: Kind) -> BurnModel {
    net_of(kind, 10)
}

fn first_classes(data: &Dataset, classes: usize) -> Dataset {
    let labels = data.labels.as_ref().unwrap();
    let rows = (0..data.len()).filter(|r| labels[*r] < classes);
    data.select(&rows.collect::<Vec<_>>())
}

fn shipped(name: &str) -> BurnModel {
    proofmark::model(name, &proofmark::device("cpu").unwrap()).unwrap()
}

/// The codes that are raised and not cured.
fn codes(report: &Report) -> Vec<TrustCode> {
    let raised = report.trust.iter().filter(|f| !f.cured);
    raised.map(|f| f.code).collect()
}

fn flag(report: &Report, code: TrustCode) -> Option<&TrustFlag> {
    report.trust.iter().find(|f| f.code == code)
}

/// How many samples had an adversarial planted, and how many of these the attack found.
fn planted(report: &Report) -> [usize; 2] {
    let run = report.attacks.iter().position(|a| a.role == Role::Planted);
    let run = run.expect("a planted run");
    let statuses: Vec<RunStatus> = report.samples.iter().map(|s| s.runs[run].status).collect();
    let count = |of: &[RunStatus]| statuses.iter().filter(|s| of.contains(s)).count();
    let found = count(&[RunStatus::Broken]);
    [
        found + count(&[RunStatus::Robust, RunStatus::Invalid]),
        found,
    ]
}

/// No requirement passes on a report with a code that is not cured.
fn passes(report: &Report) -> bool {
    assess(report, Metric::RobustAccuracy, 0.0001, 0.95).verdict == Verdict::Pass
}

fn report(model: &impl Network, data: &Dataset, attacks: &[(&str, &str)]) -> Report {
    under(model, data, attacks, Norm::Linf, EPS)
}

fn under(
    model: &impl Network,
    data: &Dataset,
    attacks: &[(&str, &str)],
    norm: Norm,
    eps: f64,
) -> Report {
    let built: Vec<_> = attacks
        .iter()
        .map(|(id, p)| proofmark::attacks::build(id, &p.parse().unwrap()).unwrap())
        .collect();
    let threat = ThreatPlan::new(norm, Epsilon::new(eps).unwrap());
    RunPlan::new(model, data, &built, vec![threat])
        .run()
        .unwrap()
        .report
}

#[test]
fn nothing_is_raised_on_nets_that_hide_nothing() {
    let data = data();
    let pgd = [("pgd", "")];
    let clean = |name: &str, report: &Report| {
        assert_eq!(report.trust, [], "{name}");
        assert_eq!(report.trust_not_applicable, [], "{name}");
        let [n, found] = planted(report);
        assert!(
            n >= 24 && found * 10 >= n * 9,
            "{name}: {found} of {n} planted"
        );
    };
    for kind in [
        Kind::Linear,
        Kind::Relu,
        Kind::DeepRelu,
        Kind::Tanh,
        Kind::Sigmoid,
        Kind::Conv,
    ] {
        clean(&format!("{kind:?}"), &report(&net(kind), &data, &pgd));
    }
    for name in ["digits-standard", "digits-robust"] {
        let model = shipped(name);
        clean(name, &report(&model, &data, &pgd));
        // Attacks on scores beside it find a sample or two more; the other norms have balls of other shapes.
        let both = report(
            &model,
            &data,
            &[("pgd", "steps = 40"), ("square", "queries = 1000")],
        );
        assert_eq!(both.trust, [], "{name} with square");
        clean(name, &under(&model, &data, &pgd, Norm::L2, 0.5));
        clean(name, &under(&model, &data, &pgd, Norm::L1, 2.0));
    }
}

#[test]
fn nothing_is_raised_on_two_classes() {
    let data = first_classes(&proofmark::open("digits").unwrap(), 2).limit(60, Default::default());
    // One start of APGD misses some of what is planted near a net with kinks.
    for (kind, restarts) in [(Kind::Linear, 1), (Kind::Relu, 5)] {
        let table = format!("loss = \"dlr\"\nrestarts = {restarts}");
        let report = report(&net_of(kind, 2), &data, &[("apgd", &table)]);
        assert_eq!(report.trust, [], "{kind:?}");
        assert_eq!(report.trust_not_applicable, []);
    }
}

#[test]
fn an_attack_that_misses_what_was_planted_is_void() {
    let code = TrustCode::PlantedAdversarialMissed;
    for mask in [
        Mask::GradientKiller,
        Mask::Quantiser,
        Mask::ReversedGradient,
    ] {
        let model = Masked::new(shipped("digits-robust"), mask);
        let report = report(&model, &data(), &[("pgd", "")]);
        let flag = flag(&report, code).unwrap_or_else(|| panic!("{mask:?}: {:?}", report.trust));
        let [n, found] = planted(&report);
        assert!(flag.message.contains(&format!("on {found} of {n} samples")));
        assert!(!passes(&report), "{mask:?}");
    }
}

#[test]
fn without_the_layer_before_the_scores_nothing_is_planted_and_the_report_says_so() {
    let model = shipped("digits-robust");
    let signature = DecisionModel::signature(&model).clone();
    let hidden = BurnModel::closure(
        signature.modalities.to_vec(),
        10,
        &signature.device,
        move |x| {
            let batch = proofmark::threats::Batch::new(signature.modalities.clone(), x.to_vec());
            let keys = vec![0; x[0].dims()[0]];
            let query = proofmark::models::Query::one_per_row(batch.unwrap(), &keys);
            model.forward(&query).unwrap()
        },
    );
    let report = report(&hidden.unwrap(), &data(), &[("pgd", "")]);
    let code = TrustCode::PlantedAdversarialMissed;
    assert_eq!(
        (&report.trust[..], &report.trust_not_applicable[..]),
        (&[][..], &[code][..])
    );
    assert!(report.attacks.iter().all(|a| a.role != Role::Planted));
}

#[test]
fn an_onnx_file_shows_the_layer_before_its_scores() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../datasets/digits/digits-robust.onnx")
        .display()
        .to_string();
    let data = data();
    let model = ModelSource::new(file)
        .open(&data, &proofmark::device("cpu").unwrap())
        .unwrap();
    let attacks = [proofmark::attacks::build("pgd", &Default::default()).unwrap()];
    let threat = ThreatPlan::new(Norm::Linf, Epsilon::new(EPS).unwrap());
    let file = RunPlan::new(&*model.model, &data, &attacks, vec![threat])
        .run()
        .unwrap()
        .report;
    assert_eq!(
        (&file.trust[..], &file.trust_not_applicable[..]),
        (&[][..], &[][..])
    );
    // The same net, so the same adversarials are planted, but for rounding.
    let net = report(&shipped("digits-robust"), &data, &[("pgd", "")]);
    let ([n, found], [also, _]) = (planted(&file), planted(&net));
    assert!(
        n >= 24 && n.abs_diff(also) <= 1 && found * 10 >= n * 9,
        "{found} of {n}, {also}"
    );
}

#[test]
fn a_straight_through_gradient_that_an_attack_on_scores_confirms_is_a_note() {
    let code = TrustCode::ApproximateGradients;
    let model = Masked::new(shipped("digits-robust"), Mask::StraightThrough);
    let pgd = ("pgd", "steps = 40");
    let alone = report(&model, &data(), &[pgd]);
    assert_eq!(codes(&alone), [code], "{:?}", alone.trust);
    assert!(!passes(&alone));
    let few = report(&model, &data(), &[pgd, ("square", "queries = 100")]);
    assert_eq!(codes(&few), [code], "{:?}", few.trust);
    let both = report(&model, &data(), &[pgd, ("square", "queries = 1000")]);
    assert_eq!(codes(&both), [], "{:?}", both.trust);
    assert!(flag(&both, code).is_some_and(|f| f.message.contains("square@linf:0.1")));
    assert!(passes(&both));
}

#[test]
fn an_attack_that_was_still_climbing_is_incomplete() {
    let model = shipped("digits-robust");
    let report = under(
        &model,
        &data(),
        &[("bim", "steps = 20\nstep_size = 0.001")],
        Norm::Linf,
        0.15,
    );
    let raised = codes(&report);
    assert!(
        raised.contains(&TrustCode::IncompleteOptimisation),
        "{:?}",
        report.trust
    );
    // Steps that do not reach the end of the budget do not reach what was planted there either.
    assert!(
        raised.contains(&TrustCode::PlantedAdversarialMissed),
        "{:?}",
        report.trust
    );
    assert!(!passes(&report));
}

#[test]
fn an_adversarial_of_the_gradient_path_alone_is_a_transfer_failure() {
    let model = shipped("digits-robust");
    let signature = DecisionModel::signature(&model).clone();
    // Where gradients are asked for, the scores of the classes are in the opposite order.
    let two = BurnModel::closure(signature.modalities.to_vec(), 10, &signature.device, |x| {
        let scores = x[0].clone().slice([0..x[0].dims()[0], 20..30]);
        if scores.is_autodiff() {
            scores.neg()
        } else {
            scores
        }
    });
    let mut data = data();
    let labels = (data.modalities[0].values.rows().into_iter())
        .map(|row| {
            let scores: Vec<f32> = (20..30).map(|f| row[f]).collect();
            proofmark::engine::predict(&scores).unwrap()
        })
        .collect();
    data.labels = Some(labels);
    let raised = codes(&report(&two.unwrap(), &data, &[("pgd", "")]));
    assert!(raised.contains(&TrustCode::TransferFailure), "{raised:?}");
    assert!(
        raised.contains(&TrustCode::TrackedLogitsDiffer),
        "{raised:?}"
    );
    assert!(!raised.contains(&TrustCode::SilentSuccess), "{raised:?}");
}

#[test]
fn a_net_whose_scores_jump_is_flagged() {
    let report = report(&net(Kind::WinnersTakeAll), &data(), &[("pgd", "")]);
    let raised = codes(&report);
    assert!(
        raised.contains(&TrustCode::ApproximateGradients),
        "{:?}",
        report.trust
    );
}

#[test]
fn every_code_is_on_its_page_with_what_to_do_next() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/trust.md");
    let page = std::fs::read_to_string(page).unwrap();
    let headings: Vec<&str> = page
        .lines()
        .filter_map(|l| l.strip_prefix("### "))
        .collect();
    let expected: Vec<String> = TrustCode::ALL.iter().map(|c| format!("`{c}`")).collect();
    assert_eq!(headings, expected);
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let sections: BTreeSet<String> = page.split("### ").map(words).collect();
    for code in TrustCode::ALL {
        let section = sections
            .iter()
            .find(|s| s.starts_with(&format!("`{code}`")))
            .unwrap();
        let next = format!("**Next:** {}.", code.remediation());
        assert!(section.ends_with(&next), "{code}: {next}");
    }
}
