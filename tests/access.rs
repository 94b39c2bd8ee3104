//! One call evaluates every model: gradients, scores or decisions, from a Burn module, an ONNX file or a closure over
//! arrays.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use proofmark::data::Dataset;
use proofmark::domain::{
    Epsilon, Modality, Needs, Norm, Observation, Report, RunStatus, SampleRecord, Seed, TrustCode,
};
use proofmark::engine::predict;
use proofmark::models::{DecisionModel, Query, ScoreModel};
use proofmark::policy::merge;
use proofmark::policy::render::{self, Document};
use proofmark::threats::{Batch, host};
use proofmark::{
    Access, BurnModel, FromDecisions, FromScores, ModelSource, RunPlan, Signature, Subject, Target,
    ThreatPlan, evaluate,
};

const NOISE: [&str; 2] = ["uniform-noise", "salt-and-pepper"];

fn data() -> Dataset {
    proofmark::open("digits")
        .unwrap()
        .limit(100, Default::default())
}

fn burn() -> BurnModel {
    proofmark::model("digits-standard", &proofmark::device("cpu").unwrap()).unwrap()
}

fn signature(name: &str) -> Signature {
    let inputs: Vec<Modality> = data()
        .modalities
        .iter()
        .map(|c| c.modality.clone())
        .collect();
    Signature::new(name, inputs, 10, &proofmark::device("cpu").unwrap()).unwrap()
}

/// Returns the scores of the shipped network for arrays on the host.
fn scored(model: &BurnModel, x: &[Vec<f32>], rows: usize) -> Vec<f32> {
    let signature = DecisionModel::signature(model);
    let x = Batch::from_host(signature.modalities.clone(), x.to_vec(), &signature.device).unwrap();
    let query = Query::one_per_row(x, &vec![0; rows]);
    host(&model.scores(&query).unwrap())
}

fn scoring() -> FromScores {
    let net = burn();
    FromScores::new(signature("scoring"), move |x, rows| {
        Ok::<_, String>(scored(&net, x, rows))
    })
    .unwrap()
}

fn decided(net: &BurnModel, x: &[Vec<f32>], rows: usize) -> Vec<usize> {
    let scores = scored(net, x, rows);
    scores.chunks(10).map(|s| predict(s).unwrap()).collect()
}

fn deciding() -> FromDecisions {
    let net = burn();
    FromDecisions::new(signature("deciding"), move |x, rows| {
        Ok::<_, String>(decided(&net, x, rows))
    })
    .unwrap()
}

fn report<'a>(model: impl Into<Subject<'a>>, data: &'a Dataset) -> Report {
    let result = evaluate(model, data).linf(0.2).attacks(NOISE).seed(3).run();
    result.unwrap().report().clone()
}

/// Outcome of a sample: clean prediction, then status and adversarial prediction of each run.
type Fate = (Option<usize>, Vec<(RunStatus, Option<usize>)>);

/// Returns the outcomes without observations and queries: two models with the same decisions share them.
fn outcomes(report: &Report) -> Vec<Fate> {
    let fate = |s: &SampleRecord| {
        let runs = s.runs.iter().map(|r| (r.status, r.adv_pred)).collect();
        (s.clean_pred, runs)
    };
    report.samples.iter().map(fate).collect()
}

#[test]
fn one_call_attacks_a_burn_module_an_onnx_file_and_closures_over_scores_and_decisions() {
    let data = data();
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../datasets/digits/digits-standard.onnx")
        .display()
        .to_string();
    let device = proofmark::device("cpu").unwrap();
    let onnx = ModelSource::new(file).open(&data, &device).unwrap();

    let burn = report(&burn(), &data);
    let broken = burn.worst_case;
    assert!(
        burn.clean.accuracy > 0.9 && broken.robust_accuracy < burn.clean.accuracy,
        "noise does something: {broken:?}"
    );
    assert_eq!(
        (burn.model.gives, burn.trust_not_applicable.len()),
        (Needs::Gradients, 0)
    );
    let onnx = report(&onnx, &data);
    assert_eq!(onnx.model.gives, Needs::Gradients);
    let (scores, decisions) = (report(&scoring(), &data), report(&deciding(), &data));
    assert_eq!(scores.model.gives, Needs::Scores);
    assert_eq!(decisions.model.gives, Needs::Decisions);
    for other in [&onnx, &scores, &decisions] {
        let name = &other.model.name;
        assert_eq!(outcomes(&burn), outcomes(other), "{name}");
        assert_eq!(burn.worst_case, other.worst_case, "{name}");
    }
}

#[test]
fn what_a_model_does_not_give_is_not_applicable_and_not_passed() {
    let data = data();
    for report in [report(&scoring(), &data), report(&deciding(), &data)] {
        let codes = &report.trust_not_applicable;
        for code in TrustCode::ALL {
            let about_gradients = code.needs() == Needs::Gradients;
            assert_eq!(codes.contains(&code), about_gradients, "{code}");
        }
        assert!(codes.contains(&TrustCode::TrackedLogitsDiffer));
        assert!(!codes.contains(&TrustCode::RandomisedOutputs));
        assert!(report.trust.iter().all(|f| !codes.contains(&f.code)));

        let text = render::table(Document::Attack(&report), false);
        let told = format!(
            "not applicable (this model gives {}, no gradients): zero-gradients, ",
            report.model.gives
        );
        assert!(text.contains(&told), "{text}");
        let json = render::json(Document::Attack(&report));
        let back: Report = serde_json::from_str(&json).unwrap();
        assert_eq!(back, report);
    }
    let json = render::json(Document::Attack(&report(&burn(), &data)));
    assert!(!json.contains("not_applicable") && !json.contains("\"gives\""));
}

/// The default suite holds members for every access: a model of scores or decisions runs those for it.
#[test]
fn the_default_suite_suits_what_a_model_gives() {
    let (data, net) = (data().limit(4, Default::default()), burn());
    let deciding = FromDecisions::new(signature("deciding"), move |x, rows| {
        Ok::<_, String>(decided(&net, x, rows))
    })
    .unwrap();
    let ran = |model: Access<'_>| -> Vec<String> {
        let result = evaluate(model, &data).linf(0.3).run().unwrap();
        let report = result.report();
        let broken = |s: &&SampleRecord| s.runs.iter().any(|r| r.status == RunStatus::Broken);
        assert!(report.samples.iter().filter(broken).count() >= 3);
        report.attacks.iter().map(|a| a.key.clone()).collect()
    };
    let has = |keys: &[String], id: &str| keys.iter().any(|k| k.contains(id));
    let keys = ran(Access::from(&scoring()));
    assert!(has(&keys, "square") && !has(&keys, "fgsm"), "{keys:?}");
    let keys = ran(Access::from(&deciding));
    assert!(
        has(&keys, "hopskipjump") && !has(&keys, "square"),
        "{keys:?}"
    );
}

#[test]
fn attacks_that_need_more_are_refused_before_the_first_query() {
    let data = data();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = |signature: Signature| {
        let (net, asked) = (burn(), asked.clone());
        FromDecisions::new(signature, move |x, rows| {
            asked.fetch_add(rows, Ordering::Relaxed);
            Ok::<_, String>(decided(&net, x, rows))
        })
        .unwrap()
    };
    let mut known = signature("counted");
    known.sha256 = "ab".repeat(32);
    let model = counted(known);
    assert_eq!(
        asked.load(Ordering::Relaxed),
        0,
        "a model with a digest is not asked for one"
    );
    for attacks in [vec!["pgd"], vec!["uniform-noise", "fgsm"]] {
        let last = attacks[attacks.len() - 1];
        let refused = evaluate(&model, &data).linf(0.1).attacks(attacks).run();
        assert_eq!(
            refused.unwrap_err().to_string(),
            format!("attack `{last}` needs gradients; model `counted` gives decisions")
        );
    }
    let refused = evaluate(&scoring(), &data)
        .linf(0.1)
        .attacks(["pgd"])
        .run()
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "attack `pgd` needs gradients; model `scoring` gives scores"
    );

    let attacks = [proofmark::attacks::build("uniform-noise", &Default::default()).unwrap()];
    let threats = || vec![ThreatPlan::new(Norm::Linf, Epsilon::new(0.1).unwrap())];
    let mut plan = RunPlan::new(&model, &data, &attacks, threats());
    plan.target = Some(Target::LeastLikely);
    let refused = plan.run().unwrap_err().to_string();
    assert_eq!(
        refused,
        "target least-likely needs scores; model `counted` gives decisions"
    );
    assert_eq!(asked.load(Ordering::Relaxed), 0);

    plan.target = Some(Target::Next);
    let next = plan.run().unwrap().report;
    assert!(
        next.samples
            .iter()
            .all(|s| s.target == Some((s.label + 1) % 10))
    );
    let scoring = scoring();
    let mut plan = RunPlan::new(&scoring, &data, &attacks, threats());
    plan.target = Some(Target::LeastLikely);
    let found = plan.run().unwrap().report;
    let burn = burn();
    let mut plan = RunPlan::new(&burn, &data, &attacks, threats());
    plan.target = Some(Target::LeastLikely);
    let expected = plan.run().unwrap().report;
    let targets = |r: &Report| r.samples.iter().map(|s| s.target).collect::<Vec<_>>();
    assert_eq!(targets(&found), targets(&expected));
    assert!(targets(&found).iter().any(Option::is_some));
}

#[test]
fn any_model_can_be_attacked_as_one_that_only_decides() {
    let (data, model) = (data(), burn());
    let whole = report(&model, &data);
    let hidden = report(Access::Decisions(&model), &data);
    assert_eq!(hidden.model.gives, Needs::Decisions);
    assert_eq!(outcomes(&whole), outcomes(&hidden));
    assert!(hidden.samples.iter().all(|s| s.observed.is_empty()));
    let refused = evaluate(Access::Scores(&model), &data)
        .linf(0.1)
        .attacks(["bim"])
        .run()
        .unwrap_err()
        .to_string();
    assert!(refused.ends_with("gives scores"), "{refused}");
    // The access differs, so neither run is evidence for the other.
    assert_ne!(whole.config["plan_sha256"], hidden.config["plan_sha256"]);
    assert_eq!(hidden.config["plan"]["model"]["gives"], "decisions");
    assert_eq!(whole.config["plan"]["model"].get("gives"), None);
}

#[test]
fn shards_of_a_model_that_only_decides_merge_into_the_whole() {
    let (data, model) = (data(), deciding());
    let attacks = [proofmark::attacks::build("uniform-noise", &Default::default()).unwrap()];
    let run = |shard| {
        let threat = ThreatPlan::new(Norm::Linf, Epsilon::new(0.2).unwrap());
        let mut plan = RunPlan::new(&model, &data, &attacks, vec![threat]);
        plan.shard = shard;
        plan.settings.seed = Seed(3);
        plan.run().unwrap().report
    };
    let shard = |index| run(Some(proofmark::domain::Shard { index, count: 2 }));
    let merged = merge(vec![shard(0), shard(1)]).unwrap();
    let whole = run(None);
    assert_eq!(merged.samples, whole.samples);
    assert_eq!(merged.trust_not_applicable, whole.trust_not_applicable);
    assert_eq!(merged.model, whole.model);
}

#[test]
fn decisions_that_change_are_reported() {
    let net = burn();
    let mut known = signature("fickle");
    known.sha256 = "ab".repeat(32);
    let data = data();
    let pixels = data.modalities[0].values.ncols();
    // Some samples get another decision whenever they are queried again. Tiles are queried at the same time, so a count
    // of calls would not identify them.
    let bits = |row: &[f32]| row.iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
    let mut fickle: BTreeMap<Vec<u32>, usize> = BTreeMap::new();
    for row in data.modalities[0].values.rows().into_iter().step_by(15) {
        fickle.insert(bits(&row.to_vec()), 0);
    }
    let expected = fickle.len();
    let asked = Mutex::new(fickle);
    let model = FromDecisions::new(known, move |x, rows| {
        let mut asked = asked.lock().unwrap();
        let decide = |(row, class): (&[f32], usize)| match asked.get_mut(&bits(row)) {
            Some(times) => {
                *times += 1;
                (class + *times - 1) % 10
            }
            None => class,
        };
        let decisions = decided(&net, x, rows);
        Ok::<_, String>(x[0].chunks(pixels).zip(decisions).map(decide).collect())
    })
    .unwrap();
    let report = report(&model, &data);
    let seen =
        |s: &&proofmark::domain::SampleRecord| s.observed.contains(&Observation::OutputChanged);
    assert_eq!(report.samples.iter().filter(seen).count(), expected);
    let codes: Vec<TrustCode> = report.trust.iter().map(|f| f.code).collect();
    assert!(codes.contains(&TrustCode::RandomisedOutputs), "{codes:?}");
}

/// Returns the error of this closure over scores at its first query.
fn refused(
    ask: impl Fn(&[Vec<f32>], usize) -> Result<Vec<f32>, String> + Send + Sync + 'static,
) -> String {
    let made = FromScores::new(signature("mine"), ask);
    made.unwrap_err().to_string()
}

#[test]
fn invalid_answers_are_errors_that_name_the_model() {
    assert_eq!(
        refused(|_, rows| Ok(vec![0.0; rows * 9])),
        "model `mine` failed: 72 scores for 8 rows; expected 80"
    );
    assert_eq!(
        refused(|_, _| Err("no session".into())),
        "model `mine` failed: no session"
    );
    assert_eq!(
        refused(|_, _| panic!("lost")),
        "model `mine` panicked: lost"
    );
    let deciding = |class: usize, surplus: usize| {
        let ask = move |_: &[Vec<f32>], rows| Ok::<_, String>(vec![class; rows + surplus]);
        FromDecisions::new(signature("mine"), ask).map(|_| ())
    };
    assert_eq!(
        deciding(10, 0).unwrap_err().to_string(),
        "model `mine` failed: class 10 for row 0; expected 0 to 9"
    );
    assert_eq!(
        deciding(9, 1).unwrap_err().to_string(),
        "model `mine` failed: 65 decisions for 64 rows; expected 64"
    );
    assert!(deciding(9, 0).is_ok());
    let none = Signature::new("none", Vec::new(), 10, &proofmark::device("cpu").unwrap());
    assert!(none.unwrap_err().to_string().contains("no inputs"));
}

#[test]
fn a_failure_in_the_middle_of_a_run_ends_it_and_nan_scores_are_invalid() {
    let data = data();
    let left = AtomicUsize::new(5);
    let net = burn();
    let model = FromScores::new(signature("mine"), move |x, rows| {
        if left.load(Ordering::Relaxed) == 0 {
            return Err("connection closed");
        }
        left.fetch_sub(1, Ordering::Relaxed);
        Ok(scored(&net, x, rows))
    })
    .unwrap();
    let ended = evaluate(&model, &data).linf(0.1).attacks(NOISE).run();
    assert_eq!(
        ended.unwrap_err().to_string(),
        "model `mine` failed: connection closed"
    );

    let net = burn();
    let model = FromScores::new(signature("mine"), move |x, rows| {
        let mut scores = scored(&net, x, rows);
        for (row, pixels) in x[0].chunks(64).enumerate() {
            // The image is dark in the middle.
            if pixels[27] < 0.2 {
                scores[10 * row + 4] = f32::NAN;
            }
        }
        Ok::<_, String>(scores)
    })
    .unwrap();
    let report = report(&model, &data);
    let dark = data.modalities[0].values.rows().into_iter();
    let dark = dark.filter(|r| r[27] < 0.2).count();
    assert!(dark > 0);
    assert_eq!(report.clean.invalid, dark);
    let codes: Vec<TrustCode> = report.trust.iter().map(|f| f.code).collect();
    assert!(codes.contains(&TrustCode::NonFiniteScores), "{codes:?}");
}

#[test]
fn digests_follow_the_answers_and_a_stated_one_is_kept() {
    let sha = |m: &dyn DecisionModel| m.signature().sha256.clone();
    assert_eq!(sha(&scoring()), sha(&scoring()));
    let other = FromScores::new(signature("other"), |_, rows| {
        Ok::<_, String>(vec![0.0; rows * 10])
    });
    assert_ne!(sha(&scoring()), sha(&other.unwrap()));
    let class = |class: usize| {
        let ask = move |_: &[Vec<f32>], rows| Ok::<_, String>(vec![class; rows]);
        FromDecisions::new(signature("constant"), ask).unwrap()
    };
    assert_eq!(sha(&class(1)), sha(&class(1)));
    assert_ne!(sha(&class(1)), sha(&class(2)));
    let mut stated = signature("stated");
    stated.sha256 = "cd".repeat(32);
    let stated = FromScores::new(stated, |_, _| Err("never asked")).unwrap();
    assert_eq!(sha(&stated), "cd".repeat(32));
}

#[test]
fn an_opened_model_keeps_its_layers_behind_preprocessing() {
    let (data, device) = (data(), proofmark::device("cpu").unwrap());
    let plain = ModelSource::new("digits-standard");
    let mut scaled = plain.clone();
    scaled.preprocess.scale = Some(0.5);
    let (plain, scaled) = (
        plain.open(&data, &device).unwrap().model,
        scaled.open(&data, &device).unwrap().model,
    );
    let taps = plain.taps();
    assert!(!taps.is_empty());
    assert_eq!(scaled.taps(), taps);
    let read = |model: &dyn proofmark::models::WhiteBox, factor: f32| {
        let signature = model.signature();
        let values: Vec<f32> = (0..128).map(|i| (i % 17) as f32 / 16.0 * factor).collect();
        let modalities = signature.modalities.clone();
        let x = Batch::from_host(modalities, vec![values], &signature.device).unwrap();
        let taps: Vec<&str> = taps.iter().map(String::as_str).collect();
        let layers = model.features(&Query::one_per_row(x, &[0, 1]), &taps);
        layers.unwrap().iter().flat_map(host).collect::<Vec<f32>>()
    };
    assert_eq!(read(&*scaled, 1.0), read(&*plain, 0.5));
    assert_ne!(read(&*scaled, 1.0), read(&*plain, 1.0));
}
