//! Verdicts on made-up statistics.

use proofmark_backdoor::probe::calibrate::{Role, Row, columns};
use proofmark_backdoor::probe::verdict::{Status, judge};
use proofmark_backdoor::probe::{Examined, Found, Member, ProbeError};
use proofmark_domain::Seed;
use proofmark_engine::random::{Purpose, Stream, StreamKey};

/// Statistics of one model: dependent, one of them skewed.
fn statistics(stream: &mut Stream) -> Vec<Option<f64>> {
    let common = f64::from(stream.normal());
    (0..columns().len())
        .map(|i| {
            let v = common + f64::from(stream.normal());
            Some(if i % 2 == 0 { v } else { v.exp() })
        })
        .collect()
}

fn row(i: u64, role: Role) -> Row {
    let mut stream = Stream::new(&StreamKey::new(Seed(4), i, Purpose::Data));
    Row {
        net: format!("net{i}"),
        sha256: format!("{i}"),
        role,
        shape: vec![1, 28, 28],
        classes: 10,
        samples: 100,
        statistics: statistics(&mut stream),
    }
}

fn rows(null: u64, measure: u64) -> Vec<Row> {
    let measured = (null..null + measure).map(|i| row(i, Role::Measure));
    (0..null)
        .map(|i| row(i, Role::Null))
        .chain(measured)
        .collect()
}

fn examined(values: &[Option<f64>], target: Option<usize>) -> Examined {
    let member = |(id, value): (&'static str, &Option<f64>)| Member {
        id,
        outcome: value.map_or(Err(ProbeError::Stopped), |statistic| {
            Ok(Found {
                statistic,
                target,
                ..Found::default()
            })
        }),
        seconds: 0.0,
    };
    Examined {
        members: columns().into_iter().zip(values).map(member).collect(),
        shape: vec![1, 28, 28],
        classes: 10,
        sha256: "new".into(),
        samples: 100,
    }
}

fn usual() -> Vec<Option<f64>> {
    vec![Some(0.0); columns().len()]
}

fn unusual() -> Vec<Option<f64>> {
    let mut values = usual();
    *values.last_mut().unwrap() = Some(1e6);
    values
}

#[test]
fn a_null_of_another_kind_of_model_does_not_apply() {
    let mut other = examined(&unusual(), Some(3));
    other.shape = vec![3, 32, 32];
    let ruling = judge(&other, &rows(200, 0), 0.02);
    assert_eq!(ruling.status, Status::Inconclusive);
    assert!(ruling.reason.contains("null not applicable") && ruling.reason.contains("--reference"));
    assert_eq!(ruling.p_value, None);
    let mut other = examined(&unusual(), Some(3));
    other.classes = 43;
    assert_eq!(
        judge(&other, &rows(200, 0), 0.02).status,
        Status::Inconclusive
    );
}

#[test]
fn only_a_hundred_models_convict() {
    let ruling = |n| judge(&examined(&unusual(), Some(3)), &rows(n, 0), 0.02);
    assert_eq!(ruling(100).status, Status::Backdoored);
    assert_eq!(ruling(100).target, Some(3));
    assert_eq!(ruling(99).status, Status::Suspicious);
    // 1 / 49 is above the level: nothing can be said.
    assert_eq!(ruling(48).status, Status::Inconclusive);
    assert!(ruling(48).reason.contains("49 models or more"));
    assert_eq!(ruling(49).status, Status::Suspicious);
    let smallest = ruling(100).smallest_p.unwrap();
    assert!((smallest - 1.0 / 101.0).abs() < 1e-12);
}

#[test]
fn a_model_like_the_others_is_clean_and_one_without_a_class_is_suspicious() {
    let clean = judge(&examined(&usual(), Some(1)), &rows(150, 0), 0.02);
    assert_eq!((clean.status, clean.target), (Status::Clean, None));
    assert_eq!(clean.status.exit_code(), 0);
    let nameless = judge(&examined(&unusual(), None), &rows(150, 0), 0.02);
    assert_eq!(nameless.status, Status::Suspicious);
    assert_eq!(nameless.status.exit_code(), 3);
}

#[test]
fn a_stopped_run_is_never_clean() {
    let mut values = usual();
    values[0] = None;
    assert_eq!(
        judge(&examined(&values, None), &rows(150, 0), 0.02).status,
        Status::Inconclusive
    );
    // What is found by then counts.
    let mut values = unusual();
    values[0] = None;
    assert_eq!(
        judge(&examined(&values, Some(2)), &rows(150, 0), 0.02).status,
        Status::Backdoored
    );
}

#[test]
fn a_model_is_no_part_of_its_own_null() {
    let mut all = rows(120, 0);
    let mut own = all[0].clone();
    own.sha256 = "new".into();
    own.statistics = unusual();
    all.push(own);
    let ruling = judge(&examined(&unusual(), Some(3)), &all, 0.02);
    assert_eq!(ruling.null_models, 120);
    assert_eq!(ruling.status, Status::Backdoored);
}

/// 400 clean models, half for the null and half measured: the rate of false alarms is that of the level.
#[test]
fn the_rate_of_false_alarms_is_measured_on_models_beside_the_null() {
    let rate = judge(&examined(&usual(), None), &rows(200, 400), 0.02)
        .false_alarm_rate
        .unwrap();
    assert_eq!(rate.models, 400);
    assert!(rate.ci95[0] <= 0.02 && rate.value <= 0.05, "{rate:?}");
    assert!(
        judge(&examined(&usual(), None), &rows(200, 0), 0.02)
            .false_alarm_rate
            .is_none()
    );
}

#[test]
fn a_member_that_the_null_does_not_have_is_left_out() {
    let mut all = rows(150, 0);
    for row in &mut all {
        *row.statistics.last_mut().unwrap() = None;
    }
    let ruling = judge(&examined(&unusual(), Some(3)), &all, 0.02);
    assert_eq!(ruling.members.last(), Some(&None));
    assert_eq!(ruling.status, Status::Clean);
}
