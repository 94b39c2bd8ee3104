//! Counter-based random numbers: Philox4x32-10, keyed by the purpose of the number.
//!
//! **Idea.** There is no generator state to carry along. A number is a function of *(seed, sample, attack, target,
//! restart, step, draw, purpose)* and of its index in the stream, so a row gets the same numbers whatever its batch,
//! shard or thread, and whichever rows were dropped.
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

/// Purpose of a stream; keeps the streams of one sample apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Purpose {
    /// Start point of an attack.
    Start = 1,
    /// Noise as an attack or as a baseline.
    Noise = 2,
    /// Draws of a randomised model while it is attacked.
    Draw = 3,
    /// Draws of the judge: disjoint from the attack's.
    Judge = 4,
    /// Order in which a subset of a data set is taken.
    Subset = 5,
    /// Search directions.
    Direction = 6,
    /// Random transformations of an input.
    Transform = 7,
    /// Generation of data.
    Data = 8,
    /// Shuffling labels under a null hypothesis.
    Permute = 9,
    /// Drawing rows with replacement.
    Bootstrap = 10,
    /// Order in which a sequential run takes its samples.
    Sequence = 11,
    /// Points around a sample, for checks of the attack.
    Plant = 12,
    /// Noise of randomized smoothing.
    Smoothing = 13,
}

/// All fields that determine a stream. Two keys that differ in any field have unrelated streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamKey {
    /// Seed of the run.
    pub seed: Seed,
    /// The sample, as returned by `SampleId::key`.
    pub sample: u64,
    /// Code of the attack, or of an audit's metric or scan target, from [`attack_code`]; 0 if there is none.
    pub attack: u32,
    /// Target class plus 1; 0 if there is none.
    pub target: u32,
    /// Restart, from 0.
    pub restart: u32,
    /// Step, from 0.
    pub step: u32,
    /// Draw within that step, from 0.
    pub draw: u32,
    /// Purpose of the numbers.
    pub purpose: Purpose,
}

impl StreamKey {
    /// Creates a key whose other fields are 0.
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

/// Returns the code of an attack's id in a [`StreamKey`]: FNV-1a, 32 bit.
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

/// Computes one block of Philox4x32 with ten rounds: a bijection of `counter` for every `key`.
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

/// The stream of numbers of one [`StreamKey`]. It repeats after 2^34 words.
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
    /// Creates the stream of a key, at its first number.
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

    /// Returns the next 32 random bits.
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

    /// Draws uniformly from `[0, 1)` in steps of 2^-24; takes one word.
    pub fn uniform(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// Draws uniformly from `[0, 1)` in steps of 2^-53; takes two words.
    pub fn uniform_f64(&mut self) -> f64 {
        let high = u64::from(self.next_u32() >> 5);
        let low = u64::from(self.next_u32() >> 6);
        ((high << 26) | low) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// Draws from the normal distribution with mean 0 and variance 1, at most 6.77 from 0; takes two words for every
    /// two numbers.
    ///
    /// Uses Box and Muller's method in `f64`, rounded to `f32` at the end.
    pub fn normal(&mut self) -> f32 {
        if let Some(second) = self.spare_normal.take() {
            return second;
        }
        let radius = (-2.0 * self.open_unit().ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * self.open_unit()).sin_cos();
        self.spare_normal = Some((radius * sin) as f32);
        (radius * cos) as f32
    }

    /// Draws from the Laplace distribution with mean 0 and scale 1 (variance 2), at most 22.2 from 0; takes one word.
    pub fn laplace(&mut self) -> f32 {
        let u = self.open_unit() - 0.5;
        (-u.signum() * (-2.0 * u.abs()).ln_1p()) as f32
    }

    /// Draws uniformly from `0..n`, exactly; 0 if `n` is 0. Takes one word, rarely more.
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

    /// Draws uniformly from the open interval `(0, 1)`: the midpoints of 2^32 equal cells.
    fn open_unit(&mut self) -> f64 {
        (f64::from(self.next_u32()) + 0.5) * (1.0 / 4_294_967_296.0)
    }
}

#[cfg(test)]
#[path = "random_tests.rs"]
mod tests;
