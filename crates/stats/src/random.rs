//! Counter-based random numbers: Philox4x32-10, keyed by what the number is for.
//!
//! **Idea.** There is no generator whose state must be carried along. A number is a function of
//! *(seed, sample, attack, target, restart, step, draw, purpose)* and of its index in the stream, so
//! a row meets the same numbers whatever its batch, shard or thread, and whichever rows were dropped.
//!
//! **Construction.** `P(c, k)` is the Philox4x32-10 block: counter `c` of four words, key `k` of two.
//! A [`StreamKey`] is folded as a CBC-MAC under the seed:
//!
//! ```text
//! a = P([sample.low, sample.high, attack, target], seed)
//! b = P(a xor [restart, step, draw, purpose],      seed)
//! block i of the stream = P([i, b2, b3, purpose], [b0, b1])
//! ```
//!
//! For a fixed seed `P` is a bijection of the counter, so keys that agree in seed, sample, attack and
//! target can never give the same `b`, and any other two do so with probability 2^-128. All of `b` and
//! the purpose itself reach the stream's key and counter. Word `f` of a stream is word `f mod 4` of
//! block `f / 4`, and [`Stream::uniform`], [`Stream::normal`] and [`Stream::laplace`] take one word each:
//! a stream that feeds one number to each feature has the feature index as its counter.
//!
//! **Reference.** Salmon, Moraes, Dror, Shaw: *Parallel random numbers: as easy as 1, 2, 3*, SC 2011;
//! the test vectors are those of Random123 1.14 (`kat_vectors`).

use proofmark_domain::Seed;

/// What a stream is for: keeps the streams of one sample apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Purpose {
    /// The start point of an attack.
    Start = 1,
    /// Noise as an attack or as a baseline.
    Noise = 2,
    /// Draws of a randomised model while it is attacked.
    Draw = 3,
    /// Draws of the judge: disjoint from the attack's.
    Judge = 4,
    /// The order in which a subset of a data set is taken.
    Subset = 5,
    /// Search directions.
    Direction = 6,
    /// Random transformations of an input.
    Transform = 7,
    /// Making data.
    Data = 8,
    /// Shuffling labels under a null hypothesis.
    Permute = 9,
    /// Drawing rows with replacement.
    Bootstrap = 10,
}

/// Everything that fixes a stream. Two keys that differ in any field have unrelated streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamKey {
    /// The seed of the run.
    pub seed: Seed,
    /// The sample, as `SampleId::key` gives it.
    pub sample: u64,
    /// The attack, as [`attack_code`] gives it; 0 outside attacks.
    pub attack: u32,
    /// The class aimed at; 0 if none.
    pub target: u32,
    /// Which restart, from 0.
    pub restart: u32,
    /// Which step, from 0.
    pub step: u32,
    /// Which draw of that step, from 0.
    pub draw: u32,
    /// What the numbers are for.
    pub purpose: Purpose,
}

impl StreamKey {
    /// A key whose other fields are 0.
    pub const fn new(seed: Seed, sample: u64, purpose: Purpose) -> Self {
        Self {
            seed,
            sample,
            attack: 0,
            target: 0,
            restart: 0,
            step: 0,
            draw: 0,
            purpose,
        }
    }
}

/// The code of an attack's id in a [`StreamKey`]: FNV-1a, 32 bit.
///
/// ```
/// assert_eq!(proofmark_stats::random::attack_code("a"), 0xe40c_292c);
/// ```
pub const fn attack_code(id: &str) -> u32 {
    let bytes = id.as_bytes();
    let mut hash = 0x811c_9dc5_u32;
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    hash
}

/// One block of Philox4x32 with ten rounds: a bijection of `counter` for every `key`.
pub const fn philox4x32_10(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    let mut round = 0;
    while round < 10 {
        let p0 = 0xd251_1f53_u64 * counter[0] as u64;
        let p1 = 0xcd9e_8d57_u64 * counter[2] as u64;
        counter = [
            (p1 >> 32) as u32 ^ counter[1] ^ key[0],
            p1 as u32,
            (p0 >> 32) as u32 ^ counter[3] ^ key[1],
            p0 as u32,
        ];
        key = [
            key[0].wrapping_add(0x9e37_79b9),
            key[1].wrapping_add(0xbb67_ae85),
        ];
        round += 1;
    }
    counter
}

/// The numbers of one [`StreamKey`], in order. Repeats after 2^34 words.
///
/// ```
/// use proofmark_domain::Seed;
/// use proofmark_stats::random::{Purpose, Stream, StreamKey};
/// let key = StreamKey::new(Seed(7), 0, Purpose::Start);
/// assert_eq!(Stream::new(&key).next_u32(), Stream::new(&key).next_u32());
/// assert!((0.0..1.0).contains(&Stream::new(&key).uniform()));
/// ```
#[derive(Clone, Debug)]
pub struct Stream {
    key: [u32; 2],
    counter: [u32; 4],
    block: [u32; 4],
    used: usize,
    spare_normal: Option<f32>,
}

impl Stream {
    /// The stream of a key, at its first number.
    pub fn new(key: &StreamKey) -> Self {
        let split = |v: u64| [v as u32, (v >> 32) as u32];
        let seed = split(key.seed.0);
        let sample = split(key.sample);
        let purpose = key.purpose as u32;
        let a = philox4x32_10([sample[0], sample[1], key.attack, key.target], seed);
        let b = philox4x32_10(
            [
                a[0] ^ key.restart,
                a[1] ^ key.step,
                a[2] ^ key.draw,
                a[3] ^ purpose,
            ],
            seed,
        );
        Self {
            key: [b[0], b[1]],
            counter: [0, b[2], b[3], purpose],
            block: [0; 4],
            used: 4,
            spare_normal: None,
        }
    }

    /// The next 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            self.block = philox4x32_10(self.counter, self.key);
            self.counter[0] = self.counter[0].wrapping_add(1);
            self.used = 0;
        }
        let word = self.block[self.used];
        self.used += 1;
        word
    }

    /// Uniform on `[0, 1)` in steps of 2^-24; takes one word.
    pub fn uniform(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// Uniform on `[0, 1)` in steps of 2^-53; takes two words.
    pub fn uniform_f64(&mut self) -> f64 {
        let high = u64::from(self.next_u32() >> 5);
        let low = u64::from(self.next_u32() >> 6);
        ((high << 26) | low) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// Normal with mean 0 and variance 1, at most 6.77 from 0; takes two words for every two numbers.
    ///
    /// Box and Muller in `f64`, rounded to `f32` at the end.
    pub fn normal(&mut self) -> f32 {
        if let Some(second) = self.spare_normal.take() {
            return second;
        }
        let radius = (-2.0 * self.open_unit().ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * self.open_unit()).sin_cos();
        self.spare_normal = Some((radius * sin) as f32);
        (radius * cos) as f32
    }

    /// Laplace with mean 0 and scale 1 (variance 2), at most 22.2 from 0; takes one word.
    pub fn laplace(&mut self) -> f32 {
        let u = self.open_unit() - 0.5;
        (-u.signum() * (-2.0 * u.abs()).ln_1p()) as f32
    }

    /// Uniform on `0..n`, exactly; 0 where `n` is 0. Takes one word, rarely more.
    ///
    /// Lemire: *Fast random integer generation in an interval*, TOMACS 2019.
    pub fn below(&mut self, n: u32) -> u32 {
        if n == 0 {
            return 0;
        }
        // The first `2^32 mod n` low halves would make some results likelier than others.
        let reject = n.wrapping_neg() % n;
        loop {
            let product = u64::from(self.next_u32()) * u64::from(n);
            if product as u32 >= reject {
                return (product >> 32) as u32;
            }
        }
    }

    /// Uniform on the open interval `(0, 1)`: the middles of 2^32 equal cells.
    fn open_unit(&mut self) -> f64 {
        (f64::from(self.next_u32()) + 0.5) * (1.0 / 4_294_967_296.0)
    }
}

#[cfg(test)]
mod tests {
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

    /// A change of the construction changes every published number: it must be seen.
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

    /// From a separate implementation of the module doc's formulas.
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

    /// Mean, variance and fourth moment of `draw` over 200,000 numbers.
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

    /// Streams of neighbouring samples, steps and purposes must not move together.
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

    /// The same across streams: the first number of 20,000 neighbouring samples is a fair uniform.
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
}
