use super::*;

fn search(config: &Config, features: usize) -> Search<'_> {
    Search {
        config,
        limits: Limits {
            tries: 10,
            tolerance: config.tolerance,
        },
        place: Vec::new(),
        features,
    }
}

#[test]
fn blocks_are_halved_after_every_sweep() {
    let config = Config::default();
    let search = search(&config, 6);
    assert_eq!(
        [0, 1, 2, 3, 4, 90].map(|k| search.size(k)),
        [6, 3, 2, 1, 1, 1]
    );
    let mut host = Places::new(1);
    search.take(&mut host, 0, &[true], &[8.0]);
    while host.approach.stage(0) == Stage::Back {
        search.take(&mut host, 0, &[false], &[0.0]);
    }
    // No flip succeeds: 1 + 2 + 3 blocks, then sweeps of 6 single features.
    let mut asked = 0;
    while !search.is_over(&host, 0) {
        asked += 1;
        search.take(&mut host, 0, &[false], &[8.0]);
    }
    assert_eq!((asked, host.sweep[0]), (1 + 2 + 3 + 2 * 6, 5));
}

#[test]
fn a_flip_that_succeeds_is_kept_and_followed_back() {
    let config = Config {
        tolerance: 0.125,
        ..Config::default()
    };
    let search = search(&config, 4);
    let mut host = Places::new(1);
    host.approach.retreat(0, 8.0, 1.0);
    assert_eq!(search.take(&mut host, 0, &[false], &[7.0]), None);
    assert_eq!(host.approach.stage(0), Stage::There);
    assert_eq!(search.take(&mut host, 0, &[true], &[8.0]), Some(0));
    assert_eq!((host.sweep[0], host.block[0], host.gained[0]), (1, 0, 0));
    // Back from 8 by 1, then by 1 more, which does not succeed.
    assert_eq!(search.take(&mut host, 0, &[true], &[7.0]), Some(0));
    assert_eq!(search.take(&mut host, 0, &[false], &[6.0]), None);
    assert_eq!(host.approach.stage(0), Stage::Back);
    assert_eq!(search.take(&mut host, 0, &[false], &[6.5]), None);
    assert_eq!(
        (host.approach.stage(0), host.approach.gauge(0)),
        (Stage::There, 7.0)
    );
    assert_eq!(host.gained[0], 1);
}
