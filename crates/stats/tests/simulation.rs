//! Simulates the guarantees about many groups: a gap is called settled by chance in at most 5 % of runs, whether groups
//! are equal or exactly as far apart as the tolerance; intervals cover; they are hardly wider than Newcombe's.
//!
//! The ordinary tests draw 200 runs of each setting; `cargo test -p proofmark-stats --release -- --ignored --nocapture`
//! draws 2,000 and prints the figures.
#![allow(
    clippy::print_stdout,
    clippy::type_complexity,
    clippy::same_item_push,
    reason = "figures are what it is run for; settings are tables"
)]

use proofmark_domain::{Interval, Seed};
use proofmark_stats::random::{Purpose, Stream, StreamKey};
use proofmark_stats::{Arm, Contrasts, Scale, clopper_pearson_lower, newcombe};

const LEVEL: f64 = 0.95;

/// Rates and sizes of the groups.
struct Setting {
    name: String,
    groups: Vec<(f64, u32)>,
}

impl Setting {
    fn truth(&self, scale: Scale) -> f64 {
        let rates = || self.groups.iter().map(|g| g.0);
        let (high, low) = (rates().fold(0.0, f64::max), rates().fold(1.0, f64::min));
        match scale {
            Scale::Difference => high - low,
            Scale::Ratio => low / high,
        }
    }

    fn draw(&self, run: u64) -> Vec<(u32, u32)> {
        let mut stream = Stream::new(&StreamKey::new(Seed(20), run, Purpose::Data));
        self.groups
            .iter()
            .map(|(p, n)| {
                (
                    (0..*n).filter(|_| stream.uniform_f64() < *p).count() as u32,
                    *n,
                )
            })
            .collect()
    }

    fn interval(&self, scale: Scale, run: u64) -> Interval {
        contrasts(&self.draw(run)).extreme(scale, LEVEL)
    }
}

fn contrasts(counts: &[(u32, u32)]) -> Contrasts {
    let arm = |(x, n): &(u32, u32)| Arm::rate(f64::from(*x), f64::from(*n)).expect("a rate");
    Contrasts::Within(counts.iter().map(arm).collect())
}

/// Successes and sizes.
type Counts = [(u32, u32)];

/// Returns settings with half of the groups at each rate, and with one group apart from all others.
fn settings(k: usize, sizes: &[u32], low: f64, high: f64) -> Vec<Setting> {
    let name = sizes
        .iter()
        .map(u32::to_string)
        .collect::<Vec<_>>()
        .join("/");
    let of = |shape: &str, at: usize| Setting {
        name: format!("{k:2} groups of {name:8} {low:.3} {high:.3} {shape}"),
        groups: (0..k)
            .map(|i| (if i < at { low } else { high }, sizes[i % sizes.len()]))
            .collect(),
    };
    if low == high {
        vec![of("equal", 0)]
    } else if k == 2 {
        vec![of("apart", 1)]
    } else {
        vec![of("halves", k / 2), of("one apart", k - 1)]
    }
}

/// Number of runs in which the interval lies wholly beyond the truth, wholly short of it, and not around it.
#[derive(Debug, Clone, Copy)]
struct Rates {
    false_fail: u64,
    false_pass: u64,
    missed: u64,
}

fn simulate(setting: &Setting, scale: Scale, runs: u64) -> Rates {
    let truth = setting.truth(scale);
    let mut rates = Rates {
        false_fail: 0,
        false_pass: 0,
        missed: 0,
    };
    for run in 0..runs {
        let i = setting.interval(scale, run);
        let (above, below) = (i.low > truth + 1e-12, i.high < truth - 1e-12);
        let (fail, pass) = match scale {
            Scale::Difference => (above, below),
            Scale::Ratio => (below, above),
        };
        rates.false_fail += u64::from(fail);
        rates.false_pass += u64::from(pass);
        rates.missed += u64::from(above || below);
    }
    rates
}

/// Returns whether the count is consistent with at most `share`: its one-sided 99 % lower bound is no more.
fn consistent(count: u64, runs: u64, share: f64) -> bool {
    clopper_pearson_lower(count, runs, 0.99) <= share
}

fn check(setting: &Setting, scale: Scale, runs: u64) -> Rates {
    let r = simulate(setting, scale, runs);
    let name = &setting.name;
    assert!(
        consistent(r.false_fail, runs, 0.05),
        "{name} {scale:?}: {r:?}"
    );
    assert!(
        consistent(r.false_pass, runs, 0.05),
        "{name} {scale:?}: {r:?}"
    );
    assert!(consistent(r.missed, runs, 0.07), "{name} {scale:?}: {r:?}");
    r
}

/// Checks every setting: equal groups, and groups exactly a tolerance apart, on both scales.
fn every(runs: u64, print: bool) {
    let mut worst = [[0_u64; 3]; 2];
    for k in [2, 5, 10] {
        for sizes in [&[30][..], &[100], &[1000], &[30, 1000]] {
            let mut of_size = [[0_u64; 3]; 2];
            for (low, high) in [
                (0.05, 0.05),
                (0.3, 0.3),
                (0.5, 0.5),
                (0.8, 0.8),
                (0.02, 0.12),
                (0.3, 0.35),
                (0.3, 0.4),
                (0.4, 0.5),
                (0.24, 0.3),
                (0.64, 0.8),
                (0.6, 0.9),
            ] {
                for setting in settings(k, sizes, low, high) {
                    for scale in [Scale::Difference, Scale::Ratio] {
                        let r = check(&setting, scale, runs);
                        let row = usize::from(low != high);
                        for (w, c) in
                            of_size[row]
                                .iter_mut()
                                .zip([r.false_fail, r.false_pass, r.missed])
                        {
                            *w = (*w).max(c);
                        }
                        if print {
                            println!("{} {scale:?}: {r:?}", setting.name);
                        }
                    }
                }
            }
            let percent = |c: u64| 100.0 * c as f64 / runs as f64;
            if print {
                println!(
                    "WORST {k} {sizes:?}: equal, false alarms {:.2} %; apart, false fails {:.2} %, passes {:.2} %, missed {:.2} %",
                    percent(of_size[0][0]),
                    percent(of_size[1][0]),
                    percent(of_size[1][1]),
                    percent(of_size[1][2]),
                );
            }
            for (w, o) in worst.iter_mut().flatten().zip(of_size.iter().flatten()) {
                *w = (*w).max(*o);
            }
        }
    }
    if print {
        println!("WORST of all, of {runs}: {worst:?}");
    }
}

/// Checks the hardest settings quickly in the ordinary tests.
#[test]
fn chance_is_not_called_a_gap() {
    for (k, sizes) in [(2, 30), (2, 100), (5, 30), (10, 30), (10, 1000)] {
        for (low, high) in [(0.3, 0.3), (0.3, 0.4), (0.64, 0.8)] {
            for setting in settings(k, &[sizes], low, high) {
                for scale in [Scale::Difference, Scale::Ratio] {
                    check(&setting, scale, 200);
                }
            }
        }
    }
}

#[test]
#[ignore = "minutes: 2,000 runs of every setting"]
fn chance_is_not_called_a_gap_in_full() {
    every(2000, true);
}

/// Median width for two groups divided by the median width of Newcombe's interval for the difference.
#[test]
fn two_groups_are_hardly_wider_than_newcombes() {
    for n in [30, 100, 1000] {
        for (low, high) in [(0.05, 0.05), (0.3, 0.3), (0.3, 0.4), (0.5, 0.5), (0.6, 0.9)] {
            let median = |width: &dyn Fn(&Counts) -> f64| {
                let setting = &settings(2, &[n], low, high)[0];
                let mut all: Vec<f64> = (0..201).map(|run| width(&setting.draw(run))).collect();
                all.sort_by(f64::total_cmp);
                all[100]
            };
            let ours = median(&|counts| {
                let i = contrasts(counts).intervals(Scale::Difference, LEVEL)[0];
                i.high - i.low
            });
            let his = median(&|counts| {
                let [(x, n), (y, m)] =
                    [counts[0], counts[1]].map(|(x, n)| (u64::from(x), u64::from(n)));
                let i = newcombe((x, n), (y, m), LEVEL);
                i.high - i.low
            });
            let ratio = ours / his;
            println!("{n} {low} {high}: {ratio:.4}");
            assert!(ratio <= 1.15, "{n} {low} {high}: {ratio}");
        }
    }
}

/// A gap of .10 between two groups of 1000 is detected at a tolerance of 0.
#[test]
fn a_real_gap_is_detected() {
    let setting = &settings(2, &[1000], 0.3, 0.4)[0];
    let runs = 300;
    let failed = (0..runs)
        .filter(|run| setting.interval(Scale::Difference, *run).low > 0.0)
        .count();
    println!("{failed} of {runs}");
    assert!(failed as f64 >= 0.9 * runs as f64, "{failed}");
}

/// Two groups, summed over every possible table, without randomness.
#[test]
fn two_groups_exactly() {
    for (n, m) in [(30_u32, 30_u32), (30, 100), (100, 100)] {
        let mut intervals = Vec::new();
        for x in 0..=n {
            for y in 0..=m {
                let i = contrasts(&[(x, n), (y, m)]).extreme(Scale::Difference, LEVEL);
                intervals.push(i);
            }
        }
        for tolerance in [0.0, 0.1, 0.2] {
            for step in 1..20 {
                let p = f64::from(step) / 20.0;
                if p + tolerance > 1.0 {
                    continue;
                }
                let (a, b) = (binomial(n, p), binomial(m, p + tolerance));
                let (mut fail, mut pass) = (0.0, 0.0);
                for (at, i) in intervals.iter().enumerate() {
                    let weight = a[at / b.len()] * b[at % b.len()];
                    fail += if i.low > tolerance + 1e-12 {
                        weight
                    } else {
                        0.0
                    };
                    pass += if i.high < tolerance - 1e-12 {
                        weight
                    } else {
                        0.0
                    };
                }
                // Counts are whole, so 5 % cannot be met exactly; the worst of these is 5.2 %.
                assert!(
                    fail < 0.053 && pass < 0.053,
                    "{n} {m} {p} {tolerance}: {fail} {pass}"
                );
                assert!(
                    fail + pass < 0.053,
                    "{n} {m} {p} {tolerance}: {fail} {pass}"
                );
            }
        }
    }
}

/// Returns the probabilities of 0 to n successes.
fn binomial(n: u32, p: f64) -> Vec<f64> {
    let mut weights = vec![0.0_f64; n as usize + 1];
    weights[0] = 1.0;
    for _ in 0..n {
        for i in (0..weights.len()).rev() {
            weights[i] = weights[i] * (1.0 - p) + if i > 0 { weights[i - 1] * p } else { 0.0 };
        }
    }
    weights
}
