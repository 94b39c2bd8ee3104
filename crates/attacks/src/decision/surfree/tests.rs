use burn::tensor::Device;
use proofmark_domain::Epsilon;
use proofmark_engine::{RowId, Samples, Silent};
use proofmark_testkit::linear::Linear;
use proofmark_threat::{Threat, host};

use super::*;

fn turns(config: &Config) -> Turns<'_> {
    Turns {
        config,
        limits: Limits {
            tries: 10,
            tolerance: 0.25,
        },
        space: Space {
            free: vec![true; 4],
            low: None,
            basis: 3,
        },
    }
}

/// A row at the boundary, at gauge 8.
fn at_the_boundary() -> Places {
    let mut host = Places::new(1, 0.6);
    let limits = Limits {
        tries: 1,
        tolerance: 0.9,
    };
    host.approach.retreat(0, 8.0, 1.0);
    host.approach.take(0, &[false], &[0.0], &limits);
    assert!(host.is_fresh(0));
    host
}

#[test]
fn both_sides_are_tried_from_wide_to_narrow() {
    let config = Config {
        parts: 3,
        ..Config::default()
    };
    let turns = turns(&config);
    let mut host = at_the_boundary();
    for angle in [0.6, -0.6, 0.4, -0.4, 0.2, -0.2] {
        assert!((turns.angle(&host, 0) - angle).abs() < 1e-12);
        assert_eq!(turns.take(&mut host, 0, false, 0.0), Turn::On);
    }
    assert!(host.is_fresh(0), "the next direction");
    assert!((host.widest[0] - 0.6 * 0.95).abs() < 1e-12);
}

#[test]
fn the_angle_is_bisected_and_the_row_goes_back() {
    let config = Config {
        bisections: 2,
        parts: 3,
        ..Config::default()
    };
    let turns = turns(&config);
    let mut host = at_the_boundary();
    for _ in 0..3 {
        turns.take(&mut host, 0, false, 0.0);
    }
    // −0.4 succeeds, −0.6 did not: −0.5 does, −0.55 does not.
    assert_eq!(turns.take(&mut host, 0, true, 7.0), Turn::On);
    assert!((turns.angle(&host, 0) + 0.5).abs() < 1e-12);
    assert_eq!(turns.take(&mut host, 0, true, 6.5), Turn::On);
    assert!((turns.angle(&host, 0) + 0.55).abs() < 1e-12);
    assert_eq!(turns.take(&mut host, 0, false, 0.0), Turn::Done);
    assert_eq!(host.approach.stage(0), Stage::Back);
    assert!((host.approach.gauge(0) - 6.5).abs() < 1e-12);
    assert!((host.widest[0] - 0.6 / 0.95).abs() < 1e-12);
}

#[test]
fn an_angle_that_succeeds_at_once_grows_until_one_does_not() {
    let config = Config {
        bisections: 1,
        ..Config::default()
    };
    let turns = turns(&config);
    let mut host = at_the_boundary();
    turns.take(&mut host, 0, true, 7.0);
    assert!((turns.angle(&host, 0) - 0.9).abs() < 1e-12);
    turns.take(&mut host, 0, true, 6.0);
    assert!((turns.angle(&host, 0) - 1.35).abs() < 1e-12);
    turns.take(&mut host, 0, false, 0.0);
    assert!((turns.angle(&host, 0) - 1.125).abs() < 1e-12);
    assert_eq!(turns.take(&mut host, 0, true, 5.0), Turn::Done);
    // The widest turn ends the search by itself.
    let mut host = at_the_boundary();
    for _ in 0..3 {
        assert_eq!(turns.take(&mut host, 0, true, 7.0), Turn::On);
    }
    turns.take(&mut host, 0, true, 6.0);
    assert_eq!(host.approach.stage(0), Stage::Back);
}

#[test]
fn directions_are_orthogonal_to_the_way_and_to_each_other() {
    let linear = Linear::new(&[6], 2, 5);
    let (values, labels) = linear.samples(3, 5);
    let samples = Samples {
        modalities: linear.modalities.clone().into(),
        values: values.clone(),
        labels,
        targets: None,
        keys: vec![0, 1, 2],
    };
    let threat = Threat::uniform(&linear.modalities, Norm::L2, &Epsilon::new(1.0).unwrap());
    let (places, device) = ([0, 1, 2], Device::flex());
    let job = Job::new(&samples, &places, &threat, &Silent);
    // These rows have the clean sample 0.
    let ids = places.map(RowId::Sample);
    let mut rows = Rows::of(&ids, &job, META.id, &device).unwrap();
    let x = Batch::from_host(samples.modalities.clone(), values, &device).unwrap();
    let space = Space {
        free: vec![true; 6],
        low: None,
        basis: Space::basis(100, 6),
    };
    assert_eq!(
        (space.basis, Space::basis(3, 6), Space::basis(9, 0)),
        (5, 3, 0)
    );
    let mut directions = Directions::new(&rows, &space);
    let mut before: Vec<Batch> = Vec::new();
    for _ in 0..5 {
        next_step(&mut rows);
        directions.renew(&rows, &space, &x, &[0, 2], |_| 1.0);
        let now = &directions.now;
        assert_eq!(host(&dot(now, now))[1], 0.0, "row 1 keeps its place");
        for i in [0, 2] {
            assert!((host(&dot(now, now))[i] - 1.0).abs() < 1e-5);
            assert!(host(&dot(now, &x))[i].abs() < 1e-4);
            assert!(before.iter().all(|b| host(&dot(now, b))[i].abs() < 1e-4));
        }
        before.push(now.clone());
    }
    // Six features have no sixth direction: a new basis begins, orthogonal to the way alone.
    next_step(&mut rows);
    directions.renew(&rows, &space, &x, &[0, 2], |_| 1.0);
    let now = &directions.now;
    for i in [0, 2] {
        assert!((host(&dot(now, now))[i] - 1.0).abs() < 1e-5);
        assert!(host(&dot(now, &x))[i].abs() < 1e-4);
        assert!(before.iter().any(|b| host(&dot(now, b))[i].abs() > 1e-2));
    }
}

/// Steps determine the random directions.
fn next_step(rows: &mut Rows) {
    for (name, column) in rows.columns() {
        if let ("step", Column::Count(steps)) = (name.as_str(), column) {
            for step in steps.iter_mut() {
                *step += 1;
            }
        }
    }
}
