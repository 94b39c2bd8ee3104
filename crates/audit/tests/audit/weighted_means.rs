//! Means with weights that correlate with the values, by simulation: in at most 5 % of runs each, the interval of a
//! group's own mean misses the truth, equal groups are called different, and groups exactly as far apart as the
//! tolerance are failed or passed.
//!
//! The ordinary test draws 60 tables of a few populations;
//! `cargo test --release -p proofmark-audit --test audit weighted_means -- --ignored --nocapture` draws 2,000 of every
//! population and prints the figures.
#![allow(
    clippy::print_stdout,
    reason = "figures are what the long version is run for"
)]

use proofmark_audit::{
    Bound, By, Columns, Figure, Groups, Requirement, Settings, Table, judge, metric,
};
use proofmark_domain::{Interval, Seed};
use proofmark_stats::clopper_pearson_lower;
use proofmark_stats::random::{Purpose, Stream, StreamKey};

/// Values in `[0, 1]`, and their mean in the population that the rows represent.
#[derive(Clone, Copy)]
struct Values {
    name: &'static str,
    draw: fn(&mut Stream) -> f64,
    mean: f64,
}

static VALUES: [Values; 4] = [
    Values {
        name: "even",
        draw: Stream::uniform_f64,
        mean: 0.5,
    },
    Values {
        name: "bell, sd 0.1",
        draw: |s| (0..8).map(|_| s.uniform_f64()).sum::<f64>() / 8.0,
        mean: 0.5,
    },
    Values {
        name: "skewed: u^8",
        draw: |s| s.uniform_f64().powi(8),
        mean: 1.0 / 9.0,
    },
    Values {
        name: "rare loss: 0.94 in 3 %, else 0.001",
        draw: |s| if s.uniform_f64() < 0.03 { 0.94 } else { 0.001 },
        mean: 0.03 * 0.94 + 0.97 * 0.001,
    },
];

/// Mean weight of a row by its value; the row is sampled with probability inversely proportional to it.
#[derive(Clone, Copy)]
struct Weights {
    name: &'static str,
    of: fn(f64) -> f64,
    least: f64,
    /// Relative spread: weights are uniform between `1 - spread` and `1 + spread` times the mean weight.
    spread: f64,
}

static WEIGHTS: [Weights; 5] = [
    Weights {
        name: "1 to 5, rising",
        of: |v| 1.0 + 4.0 * v,
        least: 1.0,
        spread: 0.0,
    },
    Weights {
        name: "5 to 1, falling",
        of: |v| 5.0 - 4.0 * v,
        least: 1.0,
        spread: 0.0,
    },
    Weights {
        name: "10 below a half, else 1",
        of: |v| if v < 0.5 { 10.0 } else { 1.0 },
        least: 1.0,
        spread: 0.0,
    },
    Weights {
        name: "1 below a half, else 10",
        of: |v| if v < 0.5 { 1.0 } else { 10.0 },
        least: 1.0,
        spread: 0.0,
    },
    Weights {
        name: "1 to 3, rising, spread",
        of: |v| 1.0 + 2.0 * v,
        least: 1.0,
        spread: 0.8,
    },
];

/// Share of one group whose value is replaced by 1, to create a gap between the groups.
const MOVED: f64 = 0.1;

fn draw(
    stream: &mut Stream,
    values: Values,
    weights: Weights,
    sizes: [usize; 2],
    moved: Option<usize>,
) -> Table {
    let mut rows = Vec::new();
    for (group, n) in sizes.into_iter().enumerate() {
        let mut taken = 0;
        while taken < n {
            let mut value = (values.draw)(stream);
            if moved == Some(group) && stream.uniform_f64() < MOVED {
                value = 1.0;
            }
            let mean = (weights.of)(value);
            if stream.uniform_f64() < weights.least / mean {
                let weight = mean * (1.0 + weights.spread * (2.0 * stream.uniform_f64() - 1.0));
                rows.push((["a", "b"][group], value, weight));
                taken += 1;
            }
        }
    }
    // The last row belongs to a third group and has the largest weight possible: no limit can account for an unseen row
    // heavier than all seen ones. It also keeps a column from having one value only, which would count as a constant of
    // the model.
    let heaviest = [0.0, 1.0].map(weights.of).into_iter().fold(0.0, f64::max);
    rows.push(("", 0.5, heaviest * (1.0 + weights.spread)));
    Columns::new("t")
        .score(rows.iter().map(|r| r.1))
        .weights(rows.iter().map(|r| r.2))
        .attribute("group", rows.iter().map(|r| r.0))
        .build()
        .expect("fits")
}

/// Returns the 95 % interval of the first group's mean, or of the difference. The point rule avoids computing p-values.
fn interval(table: &Table, id: &str) -> Interval {
    let settings = Settings::default();
    let groups = Groups::new(table, &[0], &settings).expect("groups");
    let figures = metric::find(id)
        .expect("a metric")
        .figures(&groups, &settings);
    let own = |f: &Figure| f.groups == ["a"] || f.groups.len() == 2;
    let figure = figures.into_iter().find(own).expect("there");
    let rule = Requirement {
        metric: id.to_owned(),
        attribute: None,
        bound: Bound::AtMost,
        tolerance: 0.0,
        by: By::Point,
    };
    let judged = judge(&[figure], &[rule], 0.95, 0);
    judged[0].interval.expect("has one")
}

/// Counts the runs in which the mean of the first group is missed, equal groups are called different, a gap at the
/// tolerance fails, and such a gap passes.
fn found(values: Values, weights: Weights, sizes: [usize; 2], runs: u64) -> [u64; 4] {
    let mut found = [0; 4];
    for run in 0..runs {
        let mut stream = Stream::new(&StreamKey::new(Seed(77), run, Purpose::Data));
        let table = draw(&mut stream, values, weights, sizes, None);
        let own = interval(&table, "mean_score");
        found[0] += u64::from(values.mean < own.low - 1e-12 || values.mean > own.high + 1e-12);
        let gap = interval(&table, "mean_score_difference");
        found[1] += u64::from(gap.low > 1e-14);
        // The first and the second group have the larger mean in turn.
        let moved = Some((run % 2) as usize);
        let table = draw(&mut stream, values, weights, sizes, moved);
        let gap = interval(&table, "mean_score_difference");
        let truth = MOVED * (1.0 - values.mean);
        found[2] += u64::from(gap.low > truth + 1e-12);
        found[3] += u64::from(gap.high < truth - 1e-12);
    }
    found
}

fn hold(of: &[(Values, Weights, [usize; 2])], runs: u64, print: bool) {
    let mut wrong = Vec::new();
    for (values, weights, sizes) in of.iter().copied() {
        let found = found(values, weights, sizes, runs);
        let name = format!(
            "{} | {} | {}/{}",
            values.name, weights.name, sizes[0], sizes[1]
        );
        if print {
            let [a, b, c, d] = found.map(|n| 100.0 * n as f64 / runs as f64);
            println!("| {name} | {a:.1} % | {b:.1} % | {c:.1} % | {d:.1} % |");
        }
        if found
            .iter()
            .any(|n| clopper_pearson_lower(*n, runs, 0.99) > 0.05)
        {
            wrong.push(format!("{name}: {found:?} of {runs}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn weights_that_go_with_the_values_miss_no_more_often() {
    let of = |values: usize, weights: usize, sizes| (VALUES[values], WEIGHTS[weights], sizes);
    hold(
        &[
            of(0, 0, [100, 100]),
            of(0, 2, [30, 300]),
            of(2, 3, [100, 300]),
            of(3, 1, [300, 300]),
        ],
        60,
        false,
    );
}

#[test]
#[ignore = "minutes: 2,000 runs"]
fn weights_that_correlate_with_the_values_in_full() {
    let mut all = Vec::new();
    for values in VALUES {
        for weights in WEIGHTS {
            for sizes in [[30, 30], [100, 100], [1000, 1000], [30, 1000]] {
                all.push((values, weights, sizes));
            }
        }
    }
    let runs = std::env::var("RUNS").map_or(2000, |r| r.parse().expect("a number"));
    hold(&all, runs, true);
}
