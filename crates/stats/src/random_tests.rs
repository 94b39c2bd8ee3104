use proptest::prelude::*;

use super::*;

fn key() -> StreamKey {
    StreamKey::new(Seed(7), 11, Purpose::Start)
}

#[test]
fn random123_known_answers() {
    let ones = u32::MAX;
    assert_eq!(
        philox4x32_10([0; 4], [0; 2]),
        [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
    );
    assert_eq!(
        philox4x32_10([ones; 4], [ones; 2]),
        [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
    );
    assert_eq!(
        philox4x32_10(
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            [0xa409_3822, 0x299f_31d0]
        ),
        [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
    );
}

#[test]
fn fnv_known_answers() {
    assert_eq!(attack_code(""), 0x811c_9dc5);
    assert_eq!(attack_code("foobar"), 0xbf9c_f968);
}

/// A change of the construction changes every published number, so this test must fail.
#[test]
fn the_construction_is_pinned() {
    let mut stream = Stream::new(&StreamKey {
        seed: Seed(0x0123_4567_89ab_cdef),
        sample: 0xfedc_ba98_7654_3210,
        attack: attack_code("pgd"),
        target: 3,
        restart: 4,
        step: 5,
        draw: 6,
        purpose: Purpose::Judge,
    });
    let words: Vec<u32> = (0..5).map(|_| stream.next_u32()).collect();
    assert_eq!(words, PINNED);
}

/// Values from a separate implementation of the module doc's formulas.
const PINNED: [u32; 5] = [
    998_224_393,
    2_083_039_689,
    3_908_367_347,
    2_657_918_996,
    1_983_811_237,
];

#[test]
fn every_field_matters() {
    let k = key();
    let with = |change: fn(&mut StreamKey)| {
        let mut k = k;
        change(&mut k);
        k
    };
    let keys = [
        k,
        with(|k| k.seed = Seed(8)),
        with(|k| k.seed = Seed(7 + (1 << 32))),
        with(|k| k.sample = 12),
        with(|k| k.sample = 11 + (1 << 32)),
        with(|k| k.attack = 1),
        with(|k| k.target = 1),
        with(|k| k.restart = 1),
        with(|k| k.step = 1),
        with(|k| k.draw = 1),
        with(|k| k.purpose = Purpose::Noise),
    ];
    let first: std::collections::BTreeSet<[u32; 4]> = keys
        .iter()
        .map(|k| {
            let mut s = Stream::new(k);
            [(); 4].map(|()| s.next_u32())
        })
        .collect();
    assert_eq!(first.len(), keys.len());
}

/// Returns mean, variance and fourth moment of `draw` over 200,000 numbers.
fn moments(mut draw: impl FnMut(&mut Stream) -> f64) -> [f64; 3] {
    let mut stream = Stream::new(&key());
    let n = 200_000;
    let x: Vec<f64> = (0..n).map(|_| draw(&mut stream)).collect();
    let mean = x.iter().sum::<f64>() / f64::from(n);
    let central = |p: i32| x.iter().map(|v| (v - mean).powi(p)).sum::<f64>() / f64::from(n);
    [mean, central(2), central(4)]
}

/// The bands are five standard errors of each moment at 200,000 numbers.
#[test]
fn moments_are_those_of_the_distribution() {
    let near = |got: [f64; 3], want: [f64; 3], band: [f64; 3]| {
        for i in 0..3 {
            assert!(
                (got[i] - want[i]).abs() < band[i],
                "{got:?}, expected {want:?}"
            );
        }
    };
    let uniform = ([0.5, 1.0 / 12.0, 1.0 / 80.0], [0.0033, 0.0009, 0.0002]);
    near(moments(|s| f64::from(s.uniform())), uniform.0, uniform.1);
    near(moments(Stream::uniform_f64), uniform.0, uniform.1);
    near(
        moments(|s| f64::from(s.normal())),
        [0.0, 1.0, 3.0],
        [0.012, 0.016, 0.11],
    );
    near(
        moments(|s| f64::from(s.laplace())),
        [0.0, 2.0, 24.0],
        [0.016, 0.051, 2.3],
    );
}

#[test]
fn below_is_even_and_in_range() {
    let mut stream = Stream::new(&key());
    let mut counts = [0_u32; 10];
    for _ in 0..100_000 {
        counts[stream.below(10) as usize] += 1;
    }
    let chi2: f64 = counts
        .iter()
        .map(|c| (f64::from(*c) - 1e4).powi(2) / 1e4)
        .sum();
    // The 99.99 % point of chi-squared with nine degrees of freedom.
    assert!(chi2 < 33.7, "{counts:?}");
    assert_eq!((stream.below(0), stream.below(1)), (0, 0));
}

/// Streams of neighbouring samples, steps and purposes must be uncorrelated.
#[test]
fn neighbouring_keys_are_uncorrelated() {
    let base = key();
    let neighbours = [
        StreamKey {
            sample: base.sample + 1,
            ..base
        },
        StreamKey {
            seed: Seed(base.seed.0 + 1),
            ..base
        },
        StreamKey { step: 1, ..base },
        StreamKey { restart: 1, ..base },
        StreamKey { draw: 1, ..base },
        StreamKey { target: 1, ..base },
        StreamKey {
            purpose: Purpose::Noise,
            ..base
        },
    ];
    let n = 20_000;
    for other in neighbours {
        let (mut s, mut t) = (Stream::new(&base), Stream::new(&other));
        let dot: f64 = (0..n)
            .map(|_| f64::from(s.normal()) * f64::from(t.normal()))
            .sum();
        let correlation = dot / f64::from(n);
        assert!(
            correlation.abs() < 5.0 / f64::from(n).sqrt(),
            "{other:?}: {correlation}"
        );
    }
}

/// Across streams too: the first number of 20,000 neighbouring samples is uniform.
#[test]
fn first_numbers_of_neighbouring_samples_are_uniform() {
    let n = 20_000_u64;
    let first = |sample| f64::from(Stream::new(&StreamKey { sample, ..key() }).uniform()) - 0.5;
    let mean = (0..n).map(first).sum::<f64>() / n as f64;
    let lag = (0..n).map(|i| first(i) * first(i + 1)).sum::<f64>() / n as f64;
    let se = (1.0 / 12.0 / n as f64).sqrt();
    assert!(
        mean.abs() < 5.0 * se && lag.abs() < 5.0 * se / 12.0_f64.sqrt(),
        "{mean} {lag}"
    );
}

proptest! {
    #[test]
    fn ranges_hold(seed: u64, sample: u64, n in 1_u32..) {
        let mut s = Stream::new(&StreamKey::new(Seed(seed), sample, Purpose::Data));
        for _ in 0..8 {
            prop_assert!((0.0..1.0).contains(&s.uniform()));
            prop_assert!((0.0..1.0).contains(&s.uniform_f64()));
            prop_assert!(s.normal().abs() < 6.78 && s.laplace().abs() < 22.3);
            prop_assert!(s.below(n) < n);
        }
    }

    #[test]
    fn keys_do_not_share_streams(a: (u64, u64, u32, u32), b: (u64, u64, u32, u32)) {
        prop_assume!(a != b);
        let words = |(seed, sample, step, draw)| {
            let mut s = Stream::new(&StreamKey {
                step,
                draw,
                ..StreamKey::new(Seed(seed), sample, Purpose::Start)
            });
            [(); 4].map(|()| s.next_u32())
        };
        prop_assert_ne!(words(a), words(b));
    }
}
