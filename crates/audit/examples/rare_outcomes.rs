//! Measures how often audits are wrong when outcomes are rare; prints the tables of `docs/audit-statistics.md`.
//!
//! ```console
//! $ cargo run --release -p proofmark-audit --example rare_outcomes -- means 2000
//! $ cargo run --release -p proofmark-audit --example rare_outcomes -- metrics 500
//! ```
//!
//! Every draw is keyed by its run, so the tables are the same on every machine. A number from 0 to 5 after the number
//! of runs limits `means` or `weighted` to that population.
#![allow(clippy::print_stdout, reason = "the tables are what it is run for")]

use std::collections::BTreeMap;

use proofmark_audit::metric::{self, Ideal};
use proofmark_audit::{
    Bound, By, Columns, Comparison, Estimate, Figure, Groups, Requirement, Settings, Table, judge,
    measure,
};
use proofmark_domain::{Interval, Seed};
use proofmark_stats::random::{Purpose, Stream, StreamKey};
use proofmark_stats::{Arm, Pair, Scale, normal_critical};

const LEVEL: f64 = 0.95;
const UNIT: Interval = Interval {
    low: 0.0,
    high: 1.0,
};

fn main() {
    let mut args = std::env::args().skip(1);
    let what = args.next().unwrap_or_default();
    let mut number = || args.next().and_then(|n| n.parse().ok());
    let runs = number().unwrap_or(200);
    let only = number();
    match what.as_str() {
        "means" => means(runs, only, false),
        "weighted" => means(runs, only, true),
        "metrics" => metrics(runs),
        _ => println!("expected `means`, `weighted` or `metrics`, then the number of runs"),
    }
}

/// A distribution of values in `[0, 1]`, and its mean.
struct Population {
    name: &'static str,
    draw: fn(&mut Stream) -> f64,
    mean: f64,
}

/// Draws a value from 0.01 to 1 with a tail of exponent 1.2, clipped at 1.
fn heavy(s: &mut Stream) -> f64 {
    (0.01 * (1.0 - s.uniform_f64()).powf(-1.0 / 1.2)).min(1.0)
}

fn populations() -> [Population; 6] {
    let a = 1.2_f64;
    let end = 0.01_f64.powf(a);
    // The integral of the tail up to 1, plus the probability of the values clipped to 1.
    let heavy_mean = a / (a - 1.0) * (0.01 - end) + end;
    [
        Population {
            name: "0 or 1, 1 % ones",
            draw: |s| f64::from(s.uniform_f64() < 0.01),
            mean: 0.01,
        },
        Population {
            name: "rare loss: 0.94 in 3 %, else 0.001",
            draw: |s| if s.uniform_f64() < 0.03 { 0.94 } else { 0.001 },
            mean: 0.03 * 0.94 + 0.97 * 0.001,
        },
        Population {
            name: "skewed: u^8",
            draw: |s| s.uniform_f64().powi(8),
            mean: 1.0 / 9.0,
        },
        Population {
            name: "heavy tail, cut at 1",
            draw: heavy,
            mean: heavy_mean,
        },
        Population {
            name: "even",
            draw: Stream::uniform_f64,
            mean: 0.5,
        },
        Population {
            name: "bell, sd 0.1",
            draw: |s| {
                let sum: f64 = (0..8).map(|_| s.uniform_f64()).sum();
                sum / 8.0
            },
            mean: 0.5,
        },
    ]
}

const SIZES: [(usize, usize); 8] = [
    (10, 10),
    (30, 30),
    (100, 100),
    (300, 300),
    (2000, 2000),
    (10, 1000),
    (30, 1000),
    (100, 2000),
];

/// Share of the moved group's values that are replaced by 1, to create a gap between the groups.
const MOVED: f64 = 0.1;

/// Number of runs in which an event occurred, by this crate's limits and by Student's.
#[derive(Default, Clone, Copy)]
struct Count {
    ours: u64,
    students: u64,
}

impl Count {
    fn add(&mut self, ours: bool, students: bool) {
        self.ours += u64::from(ours);
        self.students += u64::from(students);
    }

    fn show(self, runs: u64) -> String {
        let share = |n: u64| 100.0 * n as f64 / runs as f64;
        format!("{:5.1} {:5.1}", share(self.students), share(self.ours))
    }
}

fn groups(
    s: &mut Stream,
    p: &Population,
    sizes: [usize; 2],
    moved: Option<usize>,
    weighted: bool,
) -> Table {
    let mut rows = Vec::new();
    for (group, n) in sizes.into_iter().enumerate() {
        for _ in 0..n {
            let value = (p.draw)(s);
            let moved = moved == Some(group) && s.uniform_f64() < MOVED;
            let weight = if weighted {
                0.2 + 1.6 * s.uniform_f64()
            } else {
                1.0
            };
            rows.push((group, if moved { 1.0 } else { value }, weight));
        }
    }
    let names: Vec<String> = rows.iter().map(|r| format!("g{}", r.0)).collect();
    // A constant score column would be treated as a constant of the model; the last row, which is in no group, prevents
    // that.
    let last = [("", 0.5, 1e-9)];
    let rows = rows
        .iter()
        .map(|r| (r.1, r.2))
        .chain(last.map(|l| (l.1, l.2)));
    let (scores, weights): (Vec<f64>, Vec<f64>) = rows.unzip();
    let columns = Columns::new("t")
        .score(scores)
        .attribute("a", names.iter().map(String::as_str).chain([""]));
    let columns = if weighted {
        columns.weights(weights)
    } else {
        columns
    };
    columns.build().expect("fits")
}

fn figure(table: &Table, id: &str, settings: &Settings) -> Figure {
    let groups = Groups::new(table, &[0], settings).expect("groups");
    let figures = metric::find(id)
        .expect("a metric")
        .figures(&groups, settings);
    figures.into_iter().next_back().expect("a headline")
}

/// Computes intervals only: point rules need no p-values, which are expensive.
fn intervals(figures: &[Figure]) -> Vec<Option<Interval>> {
    let point = |f: &Figure| Requirement {
        metric: f.metric.to_owned(),
        attribute: None,
        bound: Bound::AtMost,
        tolerance: 0.0,
        by: By::Point,
    };
    let rules: Vec<Requirement> = figures.iter().map(point).collect();
    let judged = judge(figures, &rules, LEVEL, 0);
    judged.into_iter().map(|j| j.interval).collect()
}

/// Returns Student's arms of the groups of a figure.
fn students(figure: &Figure) -> Vec<Arm> {
    let parts = figure.basis.families.iter().flat_map(|f| &f.parts);
    let arm = |p: &proofmark_audit::Part| match &p.estimate {
        Estimate::Mean(m) => Arm::student(m.value, m.variance?, m.denominator.effective(), UNIT),
        _ => None,
    };
    parts.filter_map(arm).collect()
}

fn means(runs: u64, only: Option<u64>, weighted: bool) {
    println!("per cent of {runs} runs, Student's then ours; widths over Student's");
    println!(
        "| values | rows | mean missed | equal: called different | at the tolerance: failed | passed | width |"
    );
    println!("|---|---|---|---|---|---|---|");
    let settings = Settings::default();
    let z = normal_critical(LEVEL);
    for (at, p) in populations().into_iter().enumerate() {
        if only.is_some_and(|only| only != at as u64) {
            continue;
        }
        for (small, large) in SIZES {
            let [mut missed, mut different, mut failed, mut passed] = [Count::default(); 4];
            let (mut width, mut theirs) = (0.0, 0.0);
            for run in 0..runs {
                let mut stream = Stream::new(&StreamKey::new(Seed(2026), run, Purpose::Data));
                let table = groups(&mut stream, &p, [small, large], None, weighted);
                let equal = figure(&table, "mean_score_difference", &settings);
                let arms = students(&equal);
                let pair = Pair::new(arms[0].clone(), arms[1].clone());
                let old = Scale::Difference.ends(pair.interval(Scale::Difference, z));
                let i = intervals(std::slice::from_ref(&equal))[0].expect("an interval");
                different.add(i.low > 1e-14, old.0 > 1e-14);
                width += i.high - i.low;
                theirs += old.1 - old.0.max(0.0);
                // The smaller group by itself.
                let own = metric::find("mean_score").expect("a metric");
                let by_group = Groups::new(&table, &[0], &settings).expect("groups");
                let own = own.figures(&by_group, &settings).into_iter();
                let own: Vec<Figure> = own.filter(|f| f.groups == ["g0"]).collect();
                let j = intervals(&own)[0].expect("an interval");
                let out = |i: Interval| p.mean < i.low - 1e-12 || p.mean > i.high + 1e-12;
                missed.add(out(j), out(arms[0].limits(z)));

                // Runs alternate between a larger mean in the smaller and in the larger group.
                let moved = Some((run % 2) as usize);
                let table = groups(&mut stream, &p, [small, large], moved, weighted);
                let apart = figure(&table, "mean_score_difference", &settings);
                let gap = MOVED * (1.0 - p.mean);
                let arms = students(&apart);
                let pair = Pair::new(arms[0].clone(), arms[1].clone());
                let old = Scale::Difference.ends(pair.interval(Scale::Difference, z));
                let i = intervals(std::slice::from_ref(&apart))[0].expect("an interval");
                failed.add(i.low > gap + 1e-12, old.0 > gap + 1e-12);
                passed.add(i.high < gap - 1e-12, old.1 < gap - 1e-12);
            }
            println!(
                "| {} | {small}/{large} | {} | {} | {} | {} | {:.2} |",
                p.name,
                missed.show(runs),
                different.show(runs),
                failed.show(runs),
                passed.show(runs),
                width / theirs
            );
        }
    }
}

/// Draws calibrated scores with mean 0.03, decisions and labels at the rates of the scores, rare regression errors and
/// two strata.
fn people(s: &mut Stream, sizes: [usize; 2]) -> Table {
    let mut rows = Vec::new();
    for (group, n) in sizes.into_iter().enumerate() {
        for _ in 0..n {
            let score = 0.01 + 0.06 * s.uniform_f64().powi(2);
            let label = s.uniform_f64() < score;
            let decision = s.uniform_f64() < score;
            let error = if s.uniform_f64() < 0.03 {
                0.5
            } else {
                0.01 * s.uniform_f64()
            };
            let stratum = if s.uniform_f64() < 0.5 { "s" } else { "t" };
            let feature = s.uniform_f64();
            rows.push((group, score, label, decision, error, stratum, feature));
        }
    }
    let names: Vec<String> = rows.iter().map(|r| format!("g{}", r.0)).collect();
    Columns::new("t")
        .score(rows.iter().map(|r| r.1))
        .label(rows.iter().map(|r| r.2))
        .decision(rows.iter().map(|r| r.3))
        .target(rows.iter().map(|r| r.1 + r.4))
        .stratum("s", rows.iter().map(|r| r.5))
        .attribute("a", names.iter().map(String::as_str))
        .build()
        .expect("fits")
}

/// Draws `n` pairs whose two variants are favoured at the same rate.
fn pairs(s: &mut Stream, n: usize) -> Table {
    let mut rows = Vec::new();
    for id in 0..n {
        let (a, b) = (s.uniform_f64() < 0.03, s.uniform_f64() < 0.03);
        rows.push((id.to_string(), "x", a));
        rows.push((id.to_string(), "y", b));
    }
    Columns::new("t")
        .id(rows.iter().map(|r| r.0.as_str()))
        .variant("v", rows.iter().map(|r| r.1))
        .decision(rows.iter().map(|r| r.2))
        .build()
        .expect("fits")
}

#[derive(Default)]
struct Outcome {
    called: u64,
    open: u64,
}

fn metrics(runs: u64) {
    let mut settings = Settings::default();
    settings.min_n = 1;
    settings.reference = vec![("a".to_owned(), "g1".to_owned())];
    settings.score_range = Some(Interval {
        low: 0.001,
        high: 0.999,
    });
    settings.target_range = Some(Interval {
        low: 0.0,
        high: 2.0,
    });
    let mut found: BTreeMap<(usize, &str), Outcome> = BTreeMap::new();
    for (at, small) in [10, 30].into_iter().enumerate() {
        for run in 0..runs {
            let mut stream = Stream::new(&StreamKey::new(Seed(2027), run, Purpose::Data));
            let tables = [
                people(&mut stream, [small, 1000]),
                pairs(&mut stream, small),
            ];
            for (paired, table) in tables.iter().enumerate() {
                let settings = if paired == 1 {
                    let mut settings = Settings::default();
                    settings.min_n = 1;
                    settings
                } else {
                    settings.clone()
                };
                let measured = measure(table, &settings).expect("measures");
                let heads: Vec<Figure> = measured
                    .figures
                    .into_iter()
                    .filter(|f| f.comparison.is_headline())
                    // Most metrics of a whole table are not 0 when groups are equal; `WHOLE` lists those that are.
                    .filter(|f| f.comparison != Comparison::Whole || WHOLE.contains(&f.metric))
                    .collect();
                for (f, i) in heads.iter().zip(intervals(&heads)) {
                    let entry = metric::find(f.metric).expect("a metric");
                    let outcome = found.entry((at, entry.id)).or_default();
                    outcome.called += u64::from(i.is_some_and(|i| match entry.ideal {
                        Ideal::One => i.high < 1.0 - 1e-12,
                        _ if i.high < 0.0 => true,
                        _ => i.low > 1e-12,
                    }));
                    outcome.open += u64::from(i.is_none());
                }
            }
        }
    }
    println!(
        "equal groups called different, in per cent of {runs} runs (no value, or no interval)"
    );
    println!("| metric | 10/1000 | 30/1000 |");
    println!("|---|---|---|");
    let share = |n: u64| 100.0 * n as f64 / runs as f64;
    let mut rows: Vec<(f64, String)> = Vec::new();
    for entry in metric::all() {
        let of = |at: usize| found.get(&(at, entry.id));
        let (Some(a), Some(b)) = (of(0), of(1)) else {
            continue;
        };
        rows.push((
            share(a.called.max(b.called)),
            format!(
                "| {} | {:.1} ({:.0}) | {:.1} ({:.0}) |",
                entry.id,
                share(a.called),
                share(a.open),
                share(b.called),
                share(b.open)
            ),
        ));
    }
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (_, row) in rows {
        println!("{row}");
    }
}

/// Metrics of a whole table or grouping that are 0 when groups are equal.
const WHOLE: [&str; 6] = [
    "between_group_generalized_entropy",
    "between_group_theil",
    "bias_amplification",
    "differential_fairness_bias_amplification",
    "conditional_demographic_disparity",
    "counterfactual_gap",
];
