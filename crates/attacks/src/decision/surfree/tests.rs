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
    let config = Config::default();
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
