//! The guarantee of intervals over several looks, computed exactly: the distribution of the count is carried from look to
//! look, so nothing is drawn. And what ending early saves.
//!
//! `cargo test -p proofmark-stats --test sequential -- --ignored --nocapture` prints the table of `docs/sequential.md`.
#![allow(clippy::print_stdout, reason = "the table is what it is run for")]

use proofmark_domain::{Interval, Seed};
use proofmark_stats::random::{Purpose, Stream, StreamKey};
use proofmark_stats::{clopper_pearson, doubling_looks, level_at_look};

/// Where samples come from.
#[derive(Clone, Copy)]
enum Source {
    /// A population, of which this share is right.
    Population(f64),
    /// A set of this many samples, of which so many are right, without replacement.
    Set { n: usize, right: usize },
}

impl Source {
    fn rate(self) -> f64 {
        match self {
            Self::Population(p) => p,
            Self::Set { n, right } => right as f64 / n as f64,
        }
    }

    /// Probability of `more` right ones among the next `m`, after `right` of `n`.
    fn step(self, logs: &Logs, n: usize, right: usize, m: usize, more: usize) -> f64 {
        match self {
            Self::Population(p) if p <= 0.0 => f64::from(u8::from(more == 0)),
            Self::Population(p) if p >= 1.0 => f64::from(u8::from(more == m)),
            Self::Population(p) => {
                let (hits, misses) = (more as f64 * p.ln(), (m - more) as f64 * (-p).ln_1p());
                (logs.choose(m, more) + hits + misses).exp()
            }
            Self::Set { n: all, right: of } => {
                let left = of.saturating_sub(right);
                let wrong = all - of - (n - right);
                if right > of || more > left || m - more > wrong {
                    return 0.0;
                }
                let ways = logs.choose(left, more) + logs.choose(wrong, m - more);
                (ways - logs.choose(all - n, m)).exp()
            }
        }
    }
}

/// Logarithms of factorials.
struct Logs(Vec<f64>);

impl Logs {
    fn new(n: usize) -> Self {
        let mut sum = 0.0;
        let log = |i: usize| {
            sum += if i == 0 { 0.0 } else { (i as f64).ln() };
            sum
        };
        Self((0..=n).map(log).collect())
    }

    fn choose(&self, n: usize, k: usize) -> f64 {
        self.0[n] - self.0[k] - self.0[n - k]
    }
}

/// Ends of a run: probabilities that it ends above and below, and the expected number of samples.
#[derive(Default)]
struct Ends {
    above: f64,
    below: f64,
    samples: f64,
}

/// Counts at a look from which on the interval lies above a rate, and from which on it is not below.
type Bounds<'a> = &'a dyn Fn(usize) -> (usize, usize);

/// Follows a run that ends at the first look whose interval lies above or below `rate`.
fn follow(source: Source, rate: f64, looks: &[usize], level: f64) -> Ends {
    let bounds = |k: usize| {
        let (n, own) = (looks[k], level_at_look(level, looks, k));
        let interval = |right: usize| clopper_pearson(right as u64, n as u64, own);
        bounds_of(n, rate, interval)
    };
    follow_bounds(source, looks, &bounds)
}

/// The ends of an interval increase with the count.
fn bounds_of(n: usize, rate: f64, interval: impl Fn(usize) -> Interval) -> (usize, usize) {
    let above = first(n, |right| interval(right).low >= rate && rate > 0.0);
    (above, first(n, |right| interval(right).high >= rate))
}

/// Follows a run that ends at the first look whose count is at a bound or beyond.
fn follow_bounds(source: Source, looks: &[usize], bounds: Bounds<'_>) -> Ends {
    let most = looks[looks.len() - 1];
    let logs = Logs::new(most.max(match source {
        Source::Population(_) => 0,
        Source::Set { n, .. } => n,
    }));
    let mut at = vec![1.0];
    let mut before = 0;
    let mut ends = Ends::default();
    for (k, size) in looks.iter().copied().enumerate() {
        let (first_above, first_not_below) = bounds(k);
        let m = size - before;
        let mut next = vec![0.0; size + 1];
        // For a population the steps are the same from every count.
        let same: Option<Vec<f64>> = matches!(source, Source::Population(_)).then(|| {
            (0..=m)
                .map(|more| source.step(&logs, 0, 0, m, more))
                .collect()
        });
        for (right, p) in at.iter().enumerate().filter(|(_, p)| **p > 1e-18) {
            for more in 0..=m {
                let step = match &same {
                    Some(steps) => steps[more],
                    None => source.step(&logs, before, right, m, more),
                };
                next[right + more] += p * step;
            }
        }
        for (right, p) in next.iter_mut().enumerate() {
            let ended = if right >= first_above {
                ends.above += *p;
                true
            } else if right < first_not_below {
                ends.below += *p;
                true
            } else {
                k + 1 == looks.len()
            };
            if ended {
                ends.samples += *p * size as f64;
                *p = 0.0;
            }
        }
        at = next;
        before = size;
    }
    ends
}

/// Returns the first count up to `n` for which `holds`, which it does from there on; `n + 1` if there is none.
fn first(n: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, n + 1);
    while low < high {
        let middle = usize::midpoint(low, high);
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

fn schedules(n: usize) -> Vec<Vec<usize>> {
    let every = |d: usize| (1..n.div_ceil(d)).map(|i| i * d).chain([n]).collect();
    vec![
        doubling_looks(n),
        vec![n],
        // Thirty looks at a small set, eight at others.
        every(n.div_ceil(if n <= 60 { 40 } else { 8 })),
        [5, n - 1, n].into(),
        [1, n].into(),
    ]
}

const RATES: [f64; 13] = [
    0.0005, 0.001, 0.01, 0.02, 0.05, 0.3, 0.5, 0.65, 0.9, 0.97, 0.99, 0.999, 0.9995,
];

/// Whatever a run ends for, and whenever: the probability that the interval of any look misses the true rate is at most
/// the stated error, half on each side. So a requirement that is missed passes with at most half of it.
#[test]
fn the_intervals_of_all_looks_hold_at_once() {
    for n in [60, 150, 700] {
        for looks in schedules(n) {
            for level in [0.8, 0.95, 0.99] {
                for rate in RATES {
                    let ends = follow(Source::Population(rate), rate, &looks, level);
                    let side = (1.0 - level) / 2.0 + 1e-9;
                    let told = format!("n {n}, {looks:?}, level {level}, rate {rate}");
                    assert!(ends.above <= side, "{told}: {} above", ends.above);
                    assert!(ends.below <= side, "{told}: {} below", ends.below);
                }
            }
        }
    }
}

/// The same for the share in a set whose samples are taken in random order, down to one wrong one and up to one right.
#[test]
fn they_hold_for_the_set_that_samples_are_drawn_from() {
    for n in [60, 200] {
        for looks in schedules(n) {
            for right in [1, 2, 5, n / 3, n / 2, n * 9 / 10, n - 2, n - 1] {
                let source = Source::Set { n, right };
                let ends = follow(source, source.rate(), &looks, 0.95);
                // Half the error, and its square where fewer than one sample is expected.
                let side = 0.025 + 0.025 * 0.025;
                let told = format!("n {n}, {looks:?}, {right} right");
                assert!(ends.above <= side, "{told}: {} above", ends.above);
                assert!(ends.below <= side, "{told}: {} below", ends.below);
            }
        }
    }
}

/// A threshold just above or below the true rate, near and far: the wrong verdict is as rare as stated.
#[test]
fn wrong_verdicts_are_as_rare_as_stated() {
    let looks = doubling_looks(600);
    for rate in RATES {
        for distance in [1e-6, 0.01, 0.1, 0.3] {
            for (threshold, wrong) in [(rate + distance, true), (rate - distance, false)] {
                if !(0.0..=1.0).contains(&threshold) {
                    continue;
                }
                let ends = follow(Source::Population(rate), threshold, &looks, 0.95);
                let wrong = if wrong { ends.above } else { ends.below };
                assert!(wrong <= 0.025 + 1e-9, "{rate} at {threshold}: {wrong}");
            }
        }
    }
}

/// The error is spent: at a rate on the threshold it is not far below what is allowed. A sequence that is wider than it
/// need be would fail this.
#[test]
fn the_stated_error_is_used() {
    let looks = doubling_looks(1797);
    let ends = follow(Source::Population(0.65), 0.65, &looks, 0.95);
    let error = ends.above + ends.below;
    assert!((0.033..0.05).contains(&error), "{error}");
}

/// As if the number of samples had been fixed, Clopper and Pearson's interval at every look: more than twice the error.
#[test]
fn fixed_intervals_at_every_look_would_not_hold() {
    const RUNS: u64 = 2_000;
    let looks = doubling_looks(1797);
    let mut missed = 0;
    for run in 0..RUNS {
        let mut stream = Stream::new(&StreamKey::new(Seed(1), run, Purpose::Data));
        let mut right = 0;
        let mut n = 0;
        let misses = |i: Interval| i.low > 0.65 || i.high < 0.65;
        missed += u32::from(looks.iter().any(|size| {
            while n < *size {
                right += u64::from(stream.uniform() < 0.65);
                n += 1;
            }
            misses(clopper_pearson(right, n as u64, 0.95))
        }));
    }
    let error = f64::from(missed) / RUNS as f64;
    assert!(error > 0.1, "{error}");
}

/// A set of many classes, each all right or all wrong, in plain random order: the binomial bounds still hold.
#[test]
fn classes_that_are_all_right_or_all_wrong_change_nothing() {
    const N: usize = 400;
    const RUNS: u64 = 2_000;
    let looks = doubling_looks(N);
    let mut missed = 0;
    for run in 0..RUNS {
        let mut stream = Stream::new(&StreamKey::new(Seed(2), run, Purpose::Data));
        // 100 classes of 4, of which 35 are wrong.
        let mut right: Vec<bool> = (0..N).map(|i| i / 4 >= 35).collect();
        for i in (1..N).rev() {
            right.swap(i, (stream.uniform() * (i + 1) as f32) as usize % (i + 1));
        }
        let misses = |(k, size): (usize, &usize)| {
            let hits = right[..*size].iter().filter(|r| **r).count() as u64;
            let i = clopper_pearson(hits, *size as u64, level_at_look(0.95, &looks, k));
            i.low > 0.65 || i.high < 0.65
        };
        missed += u32::from(looks.iter().enumerate().any(misses));
    }
    // 100 expected at most, with a standard deviation below 10.
    assert!(missed < 130, "{missed} of {RUNS}");
}

/// True rate, then expected samples and probability of a verdict at each number of samples.
type Row = (f64, [(f64, f64); 2]);

fn table(threshold: f64, rates: &[f64]) -> Vec<Row> {
    let of = |rate: &f64| {
        let each = [500, 1797].map(|n| {
            let ends = follow(
                Source::Population(*rate),
                threshold,
                &doubling_looks(n),
                0.95,
            );
            (ends.samples, ends.above + ends.below)
        });
        (*rate, each)
    };
    rates.iter().map(of).collect()
}

#[test]
fn ending_early_saves_what_the_page_says() {
    for (rate, [_, (samples, decided)]) in table(0.65, &[0.9, 0.75, 0.5]) {
        assert!(samples < 320.0, "{rate}: {samples}");
        assert!(decided > 0.9999, "{rate}: {decided}");
    }
    let [(_, [_, near])] = table(0.65, &[0.68])[..] else {
        panic!("one row");
    };
    assert!(near.0 < 1_520.0 && near.1 > 0.67, "{near:?}");
}

/// Other sequences with the same guarantee, for the comparison on the page.
mod others {
    use super::{Ends, Logs, Source, THRESHOLD, bounds_of, clopper_pearson, first, follow_bounds};

    /// The same share of the error at every look.
    pub(super) fn equal_shares(rate: f64, looks: &[usize]) -> Ends {
        let level = 1.0 - 0.05 / looks.len() as f64;
        let bounds = |k: usize| {
            let interval = |right: usize| clopper_pearson(right as u64, looks[k] as u64, level);
            bounds_of(looks[k], THRESHOLD, interval)
        };
        follow_bounds(Source::Population(rate), looks, &bounds)
    }

    /// The beta-binomial mixture (Robbins), which holds at every number of samples: a likelihood ratio above 1 / error,
    /// averaged over a Beta distribution with the threshold as its mean.
    pub(super) fn mixture(rate: f64, looks: &[usize]) -> Ends {
        let logs = Logs::new(looks[looks.len() - 1] + 20);
        // Of whole numbers: 20 times the threshold and the rest.
        let (a, b) = (13, 7);
        let beta = |a: usize, b: usize| logs.0[a - 1] + logs.0[b - 1] - logs.0[a + b - 1];
        let rejected = |right: usize, n: usize| {
            let (hits, misses) = (right as f64, (n - right) as f64);
            let null = hits * THRESHOLD.ln() + misses * (1.0 - THRESHOLD).ln();
            beta(right + a, n - right + b) - beta(a, b) - null >= (1.0 / 0.05_f64).ln()
        };
        let bounds = |k: usize| {
            let n = looks[k];
            let middle = (n as f64 * THRESHOLD) as usize;
            let above = first(n, |right| right > middle && rejected(right, n));
            (
                above,
                first(n, |right| right > middle || !rejected(right, n)),
            )
        };
        follow_bounds(Source::Population(rate), looks, &bounds)
    }

    /// The error of a side spent in the same proportions, by the exact probability that a look is the first to decide.
    pub(super) fn exact(rate: f64, looks: &[usize]) -> Ends {
        let n = looks[looks.len() - 1];
        let spend = |of: f64| {
            let logs = Logs::new(n);
            let source = Source::Population(of);
            let (mut at, mut before, mut left) = (vec![1.0], 0, 0.0);
            let each = |size: &usize| {
                let m = size - before;
                left += 0.025 * m as f64 / n as f64;
                let mut next = vec![0.0; size + 1];
                let steps: Vec<f64> = (0..=m).map(|k| source.step(&logs, 0, 0, m, k)).collect();
                for (right, p) in at.iter().enumerate().filter(|(_, p)| **p > 1e-18) {
                    for (more, step) in steps.iter().enumerate() {
                        next[right + more] += p * step;
                    }
                }
                let mut bound = size + 1;
                while bound > 0 && next[bound - 1] <= left {
                    left -= next[bound - 1];
                    next[bound - 1] = 0.0;
                    bound -= 1;
                }
                at.clone_from(&next);
                before = *size;
                bound
            };
            looks.iter().map(each).collect::<Vec<usize>>()
        };
        let (above, below) = (spend(THRESHOLD), spend(1.0 - THRESHOLD));
        let bounds = |k: usize| (above[k], looks[k] + 1 - below[k]);
        follow_bounds(Source::Population(rate), looks, &bounds)
    }
}

const THRESHOLD: f64 = 0.65;

/// What the choice rests on: next to the threshold the mixture decides much less often, and equal shares less often.
/// Exact boundaries are a little better, and have no interval for other figures than counts.
#[test]
fn other_sequences_decide_less_often_or_little_more() {
    let looks = doubling_looks(1797);
    let decided = |e: Ends| e.above + e.below;
    let own = decided(follow(Source::Population(0.68), THRESHOLD, &looks, 0.95));
    assert!(decided(others::mixture(0.68, &looks)) < own - 0.3);
    assert!(decided(others::equal_shares(0.68, &looks)) < own - 0.1);
    let exact = decided(others::exact(0.68, &looks));
    assert!(own < exact && exact < own + 0.05, "{own} {exact}");
    // They keep the same guarantee.
    for other in [others::mixture, others::equal_shares, others::exact] {
        let ends = other(THRESHOLD, &looks);
        assert!(ends.above + ends.below <= 0.05);
    }
}

#[test]
#[ignore = "prints the tables of docs/sequential.md"]
fn print_the_comparison() {
    type Other = fn(f64, &[usize]) -> Ends;
    let own: Other = |rate, looks| follow(Source::Population(rate), THRESHOLD, looks, 0.95);
    let fixed: Other = |rate, looks| {
        let all = &looks[looks.len() - 1..];
        follow(Source::Population(rate), THRESHOLD, all, 0.95)
    };
    let rules: [(&str, Other); 5] = [
        ("fixed number", fixed),
        ("shares by samples", own),
        ("equal shares", others::equal_shares),
        ("exact boundaries", others::exact),
        ("beta-binomial mixture", others::mixture),
    ];
    let looks = doubling_looks(1797);
    for (name, rule) in rules {
        print!("| {name}");
        for rate in [0.8, 0.7, 0.68] {
            let ends = rule(rate, &looks);
            print!(
                " | {:.0} | {:.1} %",
                ends.samples,
                100.0 * (ends.above + ends.below)
            );
        }
        println!(" |");
    }
}

#[test]
#[ignore = "prints the tables of docs/sequential.md"]
fn print_the_table() {
    for (threshold, rates) in [
        (0.65, &[0.9, 0.8, 0.75, 0.7, 0.68, 0.65, 0.6, 0.5][..]),
        (0.9, &[1.0, 0.99, 0.97, 0.95, 0.93, 0.9, 0.88, 0.8]),
    ] {
        for (rate, each) in table(threshold, rates) {
            print!("| {threshold} | {rate}");
            for (n, (samples, decided)) in [500, 1797].into_iter().zip(each) {
                let fixed = follow(Source::Population(rate), threshold, &[n], 0.95);
                let fixed = fixed.above + fixed.below;
                print!(
                    " | {samples:.0} | {:.1} % | {:.1} %",
                    100.0 * decided,
                    100.0 * fixed
                );
            }
            println!(" |");
        }
    }
}
