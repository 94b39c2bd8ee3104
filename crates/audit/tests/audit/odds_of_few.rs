//! Odds ratios over strata with rare outcomes, by simulation: equal groups are called different in at most 5 % of runs.
//! A group without any such outcome has no odds ratio and is not called different.
//!
//! The ordinary test draws 150 tables of the settings in which Student limits based on the number of rows were wrong;
//! `cargo test --release -p proofmark-audit --test audit odds_of_few -- --ignored --nocapture` draws 2,000 of every
//! setting.
#![allow(
    clippy::print_stdout,
    reason = "figures are what the long version is run for"
)]

use super::coverage::draw::stratified;
use proofmark_audit::{ReportOptions, Settings, report};
use proofmark_domain::{Seed, Verdict};
use proofmark_stats::clopper_pearson_lower;
use proofmark_stats::random::{Purpose, Stream, StreamKey};

/// Returns how many of `runs` tables are called different: groups of the given sizes, split over two strata, with
/// `rate` in the first and three times that in the second.
fn called(sizes: [usize; 2], rate: f64, runs: u64) -> u64 {
    let mut settings = Settings::default();
    settings.metrics = vec!["mantel_haenszel_odds_ratio".to_owned()];
    let mut asked = ReportOptions::default();
    asked.requirements = vec!["mantel_haenszel_odds_ratio>=1".parse().expect("sound")];
    let half = |rate: f64| sizes.map(|n| (n.div_ceil(2), rate));
    let strata = [half(rate), half(3.0 * rate)];
    let failed = |run: &u64| {
        let mut stream = Stream::new(&StreamKey::new(Seed(41), *run, Purpose::Data));
        let table = stratified(&mut stream, &[&strata[0], &strata[1]]);
        // By chance a group may be too small to be measured.
        let Ok(report) = report(&table, &settings, &asked) else {
            return false;
        };
        report.gates[0].verdict == Verdict::Fail
    };
    (0..runs).filter(failed).count() as u64
}

fn hold(of: &[([usize; 2], f64)], runs: u64, print: bool) {
    let mut wrong = Vec::new();
    for (sizes, rate) in of {
        let called = called(*sizes, *rate, runs);
        if print {
            let share = 100.0 * called as f64 / runs as f64;
            println!("| {}/{} | {rate} | {share:.2} % |", sizes[0], sizes[1]);
        }
        if clopper_pearson_lower(called, runs, 0.99) > 0.05 {
            wrong.push(format!("{sizes:?} {rate}: {called} of {runs}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn equal_odds_of_few_are_seldom_called_different() {
    hold(
        &[([30, 1000], 0.002), ([14, 1000], 0.005), ([30, 1000], 0.3)],
        150,
        false,
    );
}

#[test]
#[ignore = "a minute: 2,000 runs"]
fn equal_odds_of_few_in_full() {
    let mut all = Vec::new();
    for sizes in [
        [14, 1000],
        [20, 1000],
        [30, 1000],
        [100, 1000],
        [30, 30],
        [300, 300],
    ] {
        for rate in [0.002, 0.005, 0.01, 0.03, 0.1, 0.3] {
            all.push((sizes, rate));
        }
    }
    let runs = std::env::var("RUNS").map_or(2000, |r| r.parse().expect("a number"));
    hold(&all, runs, true);
}
