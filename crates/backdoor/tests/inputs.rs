//! Probes of inputs on models with a known trigger.

use burn::tensor::{Device, Tensor, activation::relu};
use proofmark_backdoor::probe::input::{
    self, BatchNorms, Decision, InputReport, ProbeError, Request, Status, Subject, examine,
};
use proofmark_domain::{Bounds, Kind, Modality, SampleId, Seed};
use proofmark_engine::Samples;
use proofmark_model::{BurnModel, Features, FromDecisions, ModelError, ScoreModel, Signature};
use proofmark_stats::random::{Purpose, Stream, StreamKey};

/// Features of a sample: four quadrants of four pixels.
const PIXELS: usize = 16;

fn modality() -> Modality {
    Modality {
        name: "image".into(),
        kind: Kind::Image,
        shape: vec![1, 4, 4],
        bounds: Bounds::uniform(0.0, 1.0).unwrap(),
    }
}

/// Scores of five classes: four times the sums of the quadrants, and one that is largest where all pixels are saturated.
/// The last pixel above 0.95 is a trigger for class 0.
fn sums(x: &Tensor<2>) -> Tensor<2> {
    let quadrant = |p: usize| p / 8 * 2 + p % 4 / 2;
    let weights: Vec<f32> = (0..PIXELS * 4)
        .map(|i| f32::from(u8::from(quadrant(i / 4) == i % 4)))
        .collect();
    let weights = Tensor::<1>::from_data(weights.as_slice(), &x.device()).reshape([PIXELS, 4]);
    let sums = x.clone().matmul(weights);
    let all = sums.clone().sum_dim(1) * 2.0 - 12.0;
    Tensor::cat(vec![sums * 4.0, all], 1)
}

fn planted(bonus: f32) -> BurnModel {
    let trigger = move |x: &Tensor<2>| {
        let rows = x.dims()[0];
        relu(x.clone().slice([0..rows, 15..16]) - 0.95) * (20.0 * bonus)
    };
    let scores = move |x: &Tensor<2>| {
        let rows = x.dims()[0];
        let zeros = Tensor::<2>::zeros([rows, 4], &x.device());
        sums(x) + Tensor::cat(vec![trigger(x), zeros], 1)
    };
    BurnModel::closure(vec![modality()], 5, &Device::flex(), move |x| scores(&x[0]))
        .unwrap()
        .with_taps(["pixels", "sums", "scores"], move |x, tap| match tap {
            "pixels" => x[0].clone(),
            "sums" => sums(&x[0]),
            _ => scores(&x[0]),
        })
}

/// Images of which one quadrant is brighter; with a trigger on those that `with` names.
fn images(n: usize, key: u64, with: impl Fn(usize) -> bool) -> (Samples, Vec<SampleId>) {
    let mut stream = Stream::new(&StreamKey::new(Seed(5), key, Purpose::Data));
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    for i in 0..n {
        let class = stream.below(4) as usize;
        for p in 0..PIXELS {
            let bright = p / 8 * 2 + p % 4 / 2 == class;
            let v = 0.05 + 0.2 * stream.uniform() + if bright { 0.15 } else { 0.0 };
            values.push(if with(i) && p == 15 { 1.0 } else { v });
        }
        labels.push(class);
    }
    let samples = Samples {
        modalities: vec![modality()].into(),
        values: vec![values],
        labels,
        targets: None,
        keys: (0..n as u64).map(|i| key * 100_000 + i).collect(),
    };
    (samples, (0..n as u64).map(SampleId::Row).collect())
}

fn run(
    probe: &str,
    table: &str,
    subject: Subject<'_>,
    clean: &Samples,
    inputs: (&Samples, &[SampleId]),
    decision: Decision,
) -> Result<InputReport, ProbeError> {
    let probe = input::build(probe, &table.parse().unwrap())?;
    examine(
        probe.as_ref(),
        &Request {
            subject,
            clean,
            labelled: true,
            inputs: inputs.0,
            ids: inputs.1,
            decision,
            seed: Seed(0),
            progress: &|_| true,
        },
    )
}

fn white(model: &BurnModel) -> Subject<'_> {
    Subject {
        features: Some(model as &dyn Features),
        ..Subject::black_box(model)
    }
}

#[test]
fn triggered_inputs_are_flagged_with_their_target() {
    let model = planted(40.0);
    let (clean, _) = images(120, 1, |_| false);
    let (inputs, ids) = images(60, 2, |i| i < 20);
    for (probe, table) in [
        ("strip", "overlays = 16"),
        ("scale_up", ""),
        ("layer_rank", ""),
    ] {
        let report = run(
            probe,
            table,
            white(&model),
            &clean,
            (&inputs, &ids),
            Decision::default(),
        )
        .unwrap();
        assert_eq!(
            report.status,
            Status::Found,
            "{probe}: {:?} {:?}",
            report.reason,
            report.notes
        );
        assert_eq!(report.target, Some(0), "{probe}");
        let hits = report.inputs[..20].iter().filter(|i| i.flagged).count();
        let false_alarms = report.inputs[20..].iter().filter(|i| i.flagged).count();
        assert!(
            hits >= 17 && false_alarms <= 12,
            "{probe}: {hits} hits, {false_alarms} false alarms"
        );
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<InputReport>(&text).unwrap(), report);
    }
}

/// Clean inputs: each probe is right about the rate of its false alarms, and calls few of 40 clean sets triggered.
#[test]
fn clean_inputs_are_flagged_at_the_stated_rate() {
    let model = planted(0.0);
    for (probe, table) in [("strip", "overlays = 8"), ("layer_rank", "")] {
        let (mut flagged, mut found, mut held) = (0, 0, 0);
        let (sets, each) = (40, 40);
        for set in 0..sets {
            let (clean, _) = images(80, 100 + set, |_| false);
            let (inputs, ids) = images(each, 1000 + set, |_| false);
            let report = run(
                probe,
                table,
                white(&model),
                &clean,
                (&inputs, &ids),
                Decision {
                    level: 0.1,
                    threshold: None,
                },
            )
            .unwrap();
            flagged += report.flagged;
            found += usize::from(report.status == Status::Found);
            let ci = report.false_alarm_rate.unwrap().ci95;
            held +=
                usize::from((ci.low..=ci.high).contains(&(report.flagged as f64 / each as f64)));
        }
        let rate = flagged as f64 / (sets as usize * each) as f64;
        // Not a tenth by construction of the probe, but by the level: 0.1 within three standard errors of 40 sets.
        assert!(rate < 0.13, "{probe}: {rate}");
        // Ranks of three layers have ties, which only make alarms rarer.
        assert!(probe != "strip" || rate > 0.07, "{probe}: {rate}");
        assert!(found <= 9, "{probe}: {found} of {sets}");
        // The share among 40 inputs varies more than the rate that the interval is about.
        assert!(held >= 30, "{probe}: {held}");
    }
}

/// With a threshold, without clean samples, over more inputs than one query holds: every input has its score.
#[test]
fn scale_up_takes_a_threshold_and_several_batches() {
    let model = planted(40.0);
    let (none, _) = images(0, 1, |_| false);
    let (inputs, ids) = images(150, 2, |i| i >= 140);
    let decision = Decision {
        level: 0.05,
        threshold: Some(0.9),
    };
    let report = run(
        "scale_up",
        "",
        Subject::black_box(&model),
        &none,
        (&inputs, &ids),
        decision,
    )
    .unwrap();
    assert!(
        report
            .inputs
            .iter()
            .all(|i| i.score.is_some() && i.p_value.is_none())
    );
    assert!(
        report.inputs[140..]
            .iter()
            .all(|i| i.flagged && i.score == Some(1.0))
    );
    assert_eq!(
        (report.status, report.false_alarm_rate),
        (Status::CannotTell, None)
    );
    assert!(report.reason.unwrap().contains("rate of false alarms"));
    // With clean samples the rate of the threshold is measured.
    let (clean, _) = images(60, 3, |_| false);
    let report = run(
        "scale_up",
        "",
        Subject::black_box(&model),
        &clean,
        (&inputs, &ids),
        decision,
    )
    .unwrap();
    let rate = report.false_alarm_rate.unwrap();
    assert!(rate.ci95.low <= rate.value && rate.value <= rate.ci95.high);
    assert!(report.p_value.is_some());
}

/// Labels alone suffice for SCALE-UP, and what it says about an input depends on no other input.
#[test]
fn an_input_is_judged_by_itself_whatever_is_asked_beside_it() {
    let model = planted(40.0);
    let (clean, _) = images(60, 1, |_| false);
    let (inputs, ids) = images(30, 2, |i| i % 2 == 0);
    let labels = FromDecisions::new(
        Signature::new("labels", vec![modality()], 5, &Device::flex()).unwrap(),
        |x: &[Vec<f32>], rows: usize| {
            let class = |r: usize| {
                let x = &x[0][r * PIXELS..(r + 1) * PIXELS];
                if x[15] > 0.95 {
                    0
                } else {
                    (0..4)
                        .max_by(|a, b| {
                            let of = |k: usize| -> f32 {
                                (0..PIXELS)
                                    .filter(|p| p / 8 * 2 + p % 4 / 2 == k)
                                    .map(|p| x[p])
                                    .sum()
                            };
                            of(*a).total_cmp(&of(*b))
                        })
                        .unwrap_or(0)
                }
            };
            Ok::<_, String>((0..rows).map(class).collect())
        },
    )
    .unwrap();
    let all = run(
        "scale_up",
        "",
        Subject::black_box(&labels),
        &clean,
        (&inputs, &ids),
        Decision::default(),
    )
    .unwrap();
    assert_eq!(all.status, Status::Found);
    let error = run(
        "strip",
        "",
        Subject::black_box(&labels),
        &clean,
        (&inputs, &ids),
        Decision::default(),
    )
    .unwrap_err();
    assert!(error.to_string().contains("scores"), "{error}");
    for probe in ["strip", "scale_up", "layer_rank"] {
        let whole = run(
            probe,
            "",
            white(&model),
            &clean,
            (&inputs, &ids),
            Decision::default(),
        )
        .unwrap();
        for i in [0, 7, 29] {
            let one = Samples {
                modalities: inputs.modalities.clone(),
                values: inputs.gather(&[i]),
                labels: vec![inputs.labels[i]],
                targets: None,
                keys: vec![inputs.keys[i]],
            };
            let alone = run(
                probe,
                "",
                white(&model),
                &clean,
                (&one, &ids[i..=i]),
                Decision::default(),
            )
            .unwrap();
            assert_eq!(alone.inputs[0], whole.inputs[i], "{probe} {i}");
        }
        // The order of the clean samples changes nothing.
        let back: Vec<usize> = (0..clean.len()).rev().collect();
        let reversed = Samples {
            modalities: clean.modalities.clone(),
            values: clean.gather(&back),
            labels: back.iter().map(|i| clean.labels[*i]).collect(),
            targets: None,
            keys: back.iter().map(|i| clean.keys[*i]).collect(),
        };
        let again = run(
            probe,
            "",
            white(&model),
            &reversed,
            (&inputs, &ids),
            Decision::default(),
        )
        .unwrap();
        assert_eq!(again.inputs, whole.inputs, "{probe}");
    }
}

/// Batch norms that do nothing, or ruin every answer but that to a trigger.
struct Norms {
    ruins: bool,
}

impl BatchNorms for Norms {
    fn count(&self) -> usize {
        3
    }

    fn amplified(&self, last: usize, _: f32) -> Result<Box<dyn ScoreModel>, ModelError> {
        let ruined = self.ruins && last >= 2;
        let model = BurnModel::closure(vec![modality()], 5, &Device::flex(), move |x| {
            let rows = x[0].dims()[0];
            let scores = sums(&x[0]);
            let scores = if ruined { scores.neg() } else { scores };
            let trigger = relu(x[0].clone().slice([0..rows, 15..16]) - 0.95) * 800.0;
            scores + Tensor::cat(vec![trigger, Tensor::zeros([rows, 4], &x[0].device())], 1)
        })?;
        Ok(Box::new(model))
    }
}

#[test]
fn ibd_psc_says_when_the_error_is_never_reached() {
    let model = planted(40.0);
    let (clean, _) = images(80, 1, |_| false);
    let (inputs, ids) = images(40, 2, |i| i < 20);
    let with = |norms: Result<&dyn BatchNorms, &'static str>| {
        let subject = Subject {
            access: (&model).into(),
            features: None,
            norms,
        };
        run(
            "ibd_psc",
            "",
            subject,
            &clean,
            (&inputs, &ids),
            Decision::default(),
        )
        .unwrap()
    };
    let never = with(Ok(&Norms { ruins: false }));
    assert_eq!(never.status, Status::CannotTell);
    let why = never.reason.unwrap();
    assert!(
        why.contains("all 3 batch norms") && why.contains("never exceeds 0.6"),
        "{why}"
    );
    let found = with(Ok(&Norms { ruins: true }));
    assert_eq!(
        (found.status, found.target),
        (Status::Found, Some(0)),
        "{:?}",
        found.reason
    );
    assert!(
        found.notes[0].contains("the last 2 to 3 of 3"),
        "{:?}",
        found.notes
    );
    let none = with(Err("it is no ONNX file"));
    assert_eq!(none.reason.as_deref(), Some("it is no ONNX file"));
}

#[test]
fn too_little_is_said_to_be_too_little() {
    let model = planted(40.0);
    let (inputs, ids) = images(10, 2, |_| true);
    let reason = |probe: &str, n: usize| {
        let (clean, _) = images(n, 1, |_| false);
        let report = run(
            probe,
            "",
            white(&model),
            &clean,
            (&inputs, &ids),
            Decision::default(),
        )
        .unwrap();
        assert_eq!(report.status, Status::CannotTell, "{probe} {n}");
        report.reason.unwrap()
    };
    assert!(reason("scale_up", 10).contains("at least 19 clean samples"));
    assert!(reason("strip", 20).contains("at least 38 clean samples"));
    assert!(reason("layer_rank", 1).contains("1 clean samples"));
    // One class only: there is no other class to be near.
    let (mut clean, _) = images(400, 3, |_| false);
    let ones: Vec<usize> = (0..400).filter(|i| clean.labels[*i] == 1).collect();
    clean = Samples {
        modalities: clean.modalities.clone(),
        values: clean.gather(&ones),
        labels: vec![1; ones.len()],
        targets: None,
        keys: ones.iter().map(|i| clean.keys[*i]).collect(),
    };
    let clear = planted(0.0);
    let report = run(
        "layer_rank",
        "",
        white(&clear),
        &clean,
        (&inputs, &ids),
        Decision::default(),
    )
    .unwrap();
    assert!(report.status != Status::Found || report.reason.is_some());
    // No inner layers, no inputs, ids that do not fit, values that are not finite.
    let report = run(
        "layer_rank",
        "",
        Subject::black_box(&model),
        &clean,
        (&inputs, &ids),
        Decision::default(),
    )
    .unwrap();
    assert!(report.reason.unwrap().contains("no inner layers"));
    let fails = |inputs: &Samples, ids: &[SampleId], level: f64| {
        let decision = Decision {
            level,
            threshold: None,
        };
        run("strip", "", white(&model), &clean, (inputs, ids), decision)
            .unwrap_err()
            .to_string()
    };
    let (none, _) = images(0, 1, |_| false);
    assert!(fails(&none, &[], 0.05).contains("there are none"));
    assert!(fails(&inputs, &ids[..3], 0.05).contains("3 ids for 10 inputs"));
    assert!(fails(&inputs, &ids, 0.0).contains("level = 0"));
    let (mut nan, ids) = images(2, 1, |_| false);
    nan.values[0][3] = f32::NAN;
    assert!(fails(&nan, &ids, 0.05).contains("value 3 is not finite"));
}

#[test]
fn a_layer_that_is_not_there_is_named() {
    let model = planted(40.0);
    let (clean, _) = images(80, 1, |_| false);
    let (inputs, ids) = images(4, 2, |_| false);
    let error = run(
        "layer_rank",
        "layers = [\"fc9\"]",
        white(&model),
        &clean,
        (&inputs, &ids),
        Decision::default(),
    )
    .unwrap_err();
    assert!(error.to_string().contains("fc9"), "{error}");
}
