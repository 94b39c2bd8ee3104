use super::*;

fn places() -> Places {
    Places::new(1)
}

fn walk(config: &Config, norm: Norm, features: usize) -> Walk<'_> {
    Walk {
        config,
        norm,
        free: vec![true; features],
        features,
        range: 2.0,
    }
}

#[test]
fn constants_are_those_of_the_paper() {
    let config = Config::default();
    let points: Vec<u64> = [1, 2, 3, 4, 16, 20_000]
        .map(|t| config.estimate(t))
        .to_vec();
    assert_eq!(points, [100, 141, 173, 200, 400, 10_000]);
    let (l2, linf) = (walk(&config, Norm::L2, 100), walk(&config, Norm::Linf, 100));
    assert!((l2.theta() - 1e-3).abs() < 1e-12 && (linf.theta() - 1e-4).abs() < 1e-12);
    let mut host = places();
    host.estimate(0);
    // A tenth of the range; then √d θ r and d θ r, here of a distance of 3 budgets of 0.5.
    assert!((l2.delta(&host, 0, 0.5) - 0.2).abs() < 1e-12);
    host.estimate(0);
    host.brackets.reached[0] = 3.0;
    assert!((l2.delta(&host, 0, 0.5) - 10.0 * 1e-3 * 1.5).abs() < 1e-12);
    assert!((linf.delta(&host, 0, 0.5) - 100.0 * 1e-4 * 1.5).abs() < 1e-12);
}

/// Walks from a start of gauge 8 to the boundary at 3, to within a quarter of 8.
#[test]
fn one_walk_by_hand() {
    let config = Config {
        gamma: 0.25,
        first_estimate: 3,
        ..Config::default()
    };
    let walk = walk(&config, Norm::L2, 1);
    let mut host = places();
    // Of two starts that succeed, the nearer one is taken.
    let taken = walk.take(&mut host, 0, &[false, true, true], &[1.0, 9.0, 8.0]);
    assert_eq!(
        (taken, host.phase(0), host.brackets.high[0]),
        (Some(2), Phase::Bisect, 8.0)
    );
    // 4 succeeds, 2 does not: the bracket is 2 wide, a quarter of 8.
    assert_eq!(walk.take(&mut host, 0, &[true], &[4.0]), Some(0));
    assert_eq!(
        (host.brackets.low[0], host.brackets.high[0], host.phase(0)),
        (0.0, 4.0, Phase::Bisect)
    );
    assert_eq!(walk.take(&mut host, 0, &[false], &[2.0]), None);
    assert_eq!(
        (host.brackets.low[0], host.brackets.high[0], host.phase(0)),
        (2.0, 4.0, Phase::Estimate)
    );
    // Three points, queried in two parts.
    assert_eq!(walk.points(&host, 0, 100), 3);
    assert_eq!(walk.take(&mut host, 0, &[true, false], &[4.0; 2]), None);
    assert_eq!(
        (walk.points(&host, 0, 100), host.phase(0)),
        (1, Phase::Estimate)
    );
    assert_eq!(walk.take(&mut host, 0, &[true], &[4.0]), None);
    assert_eq!(
        (host.successes[0], host.done[0], host.phase(0)),
        (2, 3, Phase::Jump)
    );
    host.done[0] = 0;
    // The jump is halved once, then succeeds.
    assert_eq!(walk.take(&mut host, 0, &[false], &[6.0]), None);
    assert_eq!((host.done[0], host.phase(0)), (1, Phase::Jump));
    assert_eq!(walk.take(&mut host, 0, &[true], &[5.0]), Some(0));
    assert_eq!(
        (
            host.phase(0),
            host.brackets.high[0],
            host.brackets.reached[0]
        ),
        (Phase::Bisect, 5.0, 5.0)
    );
    // The remaining queries limit every part.
    assert_eq!(walk.points(&host, 0, 0), 0);
}

#[test]
fn a_row_without_a_start_gives_up_after_its_tries() {
    let config = Config {
        tries: 10,
        ..Config::default()
    };
    let walk = walk(&config, Norm::L2, 4);
    let mut host = places();
    assert_eq!(walk.points(&host, 0, 100), start::AT_ONCE);
    walk.take(
        &mut host,
        0,
        &[false; start::AT_ONCE],
        &[1.0; start::AT_ONCE],
    );
    assert_eq!(walk.points(&host, 0, 100), 2);
    walk.take(&mut host, 0, &[false; 2], &[1.0; 2]);
    assert_eq!(
        (host.phase(0), walk.points(&host, 0, 100)),
        (Phase::Over, 0)
    );
}
