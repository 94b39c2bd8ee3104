//! Chooses the members of a suite by measurement: greedily, by samples broken per unit of cost, over a pool of models.
//!
//! ```text
//! cargo run --release --example choose_suite -- MODEL=DATA:NORM:EPS[:ROWS[:MEAN:STD]] …
//! ```
//!
//! Every candidate attacks every sample of every pair by itself. Then the candidate is taken that breaks most of what is
//! left per forward and two backwards that it would spend on what is left, counted as a share of each pair's samples;
//! and so on, until no candidate breaks anything more (`AutoAE`, arXiv:2211.12713). Prints the table, and what is left of
//! each pair after each member. Models that a suite is compared on are no part of the pool.

#![expect(clippy::print_stdout, reason = "an example prints its table")]

use proofmark::domain::{Epsilon, Norm, RunStatus};
use proofmark::{Dataset, ModelSource, RunPlan, ThreatPlan};

/// Attacks to choose from: ids, and parameters in TOML.
const CANDIDATES: &[(&str, &str)] = &[
    ("fgsm", ""),
    ("pgd", "loss = \"margin\"\nsteps = 10\nrestarts = 1"),
    ("apgd", "loss = \"ce\"\nsteps = 10"),
    ("apgd", "loss = \"ce\"\nsteps = 100"),
    ("apgd", "loss = \"dlr\"\nsteps = 10"),
    ("apgd", "loss = \"dlr\"\nsteps = 50"),
    ("apgd", "loss = \"margin\"\nsteps = 10"),
    ("apgd", "loss = \"margin\"\nsteps = 30"),
    ("apgd", "loss = \"margin\"\nsteps = 100"),
    ("apgd-t", "targets = 3\nsteps = 20"),
    ("apgd-t", "targets = 9\nsteps = 20"),
    ("apgd-t", "targets = 9\nsteps = 50"),
    ("apgd-t", "targets = 9\nsteps = 100"),
    ("apgd-mt", "rounds = [[9, 10], [3, 20], [1, 50]]"),
    ("apgd-mt", "rounds = [[9, 20], [3, 50], [1, 100]]"),
    ("apgd-mt", "rounds = [[9, 30], [3, 60], [2, 100]]"),
    ("apgd-mt", "rounds = [[3, 20], [2, 50], [1, 100]]"),
    ("apgd-mt", "rounds = [[9, 20], [3, 100]]"),
    ("apgd-mt", "rounds = [[9, 50], [3, 100], [1, 200]]"),
    ("fab-t", "targets = 3\nsteps = 30"),
    ("fab-t", "targets = 9\nsteps = 30"),
    ("fmn", "steps = 50"),
    ("fmn", "steps = 200"),
    ("square", "queries = 300"),
    ("square", "queries = 1000"),
];

/// A model with samples and a budget.
struct Pair {
    text: String,
    /// Per candidate and sample: whether it breaks the sample, and forwards plus twice the backwards.
    outcomes: Vec<Vec<(bool, u64)>>,
    /// Samples classified correctly.
    correct: Vec<bool>,
}

fn main() {
    let pairs: Vec<Pair> = std::env::args().skip(1).map(|a| measured(&a)).collect();
    if pairs.is_empty() {
        println!("usage: see examples/choose_suite.rs");
        return;
    }
    let mut left: Vec<Vec<bool>> = pairs.iter().map(|p| p.correct.clone()).collect();
    println!("| member | parameters | newly broken | cost on what was left | left |");
    println!("|---|---|---|---|---|");
    let mut taken = Vec::new();
    loop {
        let rated = (0..CANDIDATES.len())
            .filter(|c| !taken.contains(c))
            .map(|c| (c, gain_and_cost(&pairs, &left, c)));
        let best = rated.max_by(|(_, a), (_, b)| (a.0 / a.1).total_cmp(&(b.0 / b.1)));
        let Some((c, (gain, cost))) = best.filter(|(_, (gain, _))| *gain > 0.0) else {
            break;
        };
        taken.push(c);
        let mut rest = Vec::new();
        for (pair, left) in pairs.iter().zip(&mut left) {
            for (sample, alive) in left.iter_mut().enumerate() {
                *alive &= !pair.outcomes[c][sample].0;
            }
            let count = left.iter().filter(|l| **l).count();
            rest.push(format!("{count} of {}", left.len()));
        }
        let (id, table) = CANDIDATES[c];
        println!(
            "| {id} | {} | {:.2} % | {:.0} | {} |",
            table.replace('\n', ", "),
            100.0 * gain / pairs.len() as f64,
            cost / pairs.len() as f64,
            rest.join(", ")
        );
    }
    for (c, (id, table)) in CANDIDATES.iter().enumerate() {
        let alone = pairs.iter().map(|p| {
            let broken = p.outcomes[c].iter().zip(&p.correct);
            let broken = broken.filter(|(o, correct)| o.0 && **correct).count();
            let robust = p.correct.iter().filter(|c| **c).count() - broken;
            format!("{:.1}", 100.0 * robust as f64 / p.correct.len() as f64)
        });
        let alone: Vec<String> = alone.collect();
        println!("{id} {}: {}", table.replace('\n', ", "), alone.join(", "));
    }
    for pair in &pairs {
        println!("{}", pair.text);
    }
}

/// Shares of samples that a candidate breaks of what is left, and its mean cost per sample there, summed over pairs.
fn gain_and_cost(pairs: &[Pair], left: &[Vec<bool>], candidate: usize) -> (f64, f64) {
    let mut sums = (0.0, 1e-9);
    for (pair, left) in pairs.iter().zip(left) {
        let own = pair.outcomes[candidate].iter().zip(left);
        for ((broken, cost), _) in own.filter(|(_, left)| **left) {
            let share = 1.0 / left.len() as f64;
            sums.0 += f64::from(u8::from(*broken)) * share;
            sums.1 += *cost as f64 * share;
        }
    }
    sums
}

fn measured(argument: &str) -> Pair {
    let (model, rest) = argument
        .split_once('=')
        .expect("MODEL=DATA:NORM:EPS[:ROWS[:MEAN:STD]]");
    let parts: Vec<&str> = rest.split(':').collect();
    let [data, norm, eps, rows @ ..] = &parts[..] else {
        panic!("{argument}: expected MODEL=DATA:NORM:EPS[:ROWS[:MEAN:STD]]");
    };
    let norm: Norm = norm.parse().expect("a norm");
    let eps: Epsilon = eps.parse().expect("an epsilon");
    let number = |i: usize, default: f32| {
        rows.get(i)
            .map_or(default, |r| r.parse().expect("a number"))
    };
    let set: Dataset = proofmark::open(data).expect(data);
    let set = set
        .range(0..number(0, 200.0) as usize)
        .expect("as many rows");
    let device = proofmark::device("cpu").expect("a CPU");
    let mut source = ModelSource::new(model);
    if rows.len() == 3 {
        source.preprocess.mean = vec![number(1, 0.0)];
        source.preprocess.std = vec![number(2, 1.0)];
    }
    let opened = source.open(&set, &device).expect(model);
    let attacks: Vec<_> = (CANDIDATES.iter())
        .map(|(id, table)| {
            proofmark::attacks::build(id, &table.parse().expect("TOML")).expect("an attack")
        })
        .collect();
    let budget = ThreatPlan::new(norm, eps);
    let mut plan = RunPlan::new(opened.model.access(), &set, &attacks, vec![budget]);
    plan.settings.trust = false;
    let report = plan.run().expect("a run").report;
    let outcomes = (0..attacks.len()).map(|c| {
        let own = report.samples.iter().map(|s| {
            let run = &s.runs[c];
            let spent = run.forward + 2 * run.backward;
            (run.status == RunStatus::Broken, spent)
        });
        own.collect()
    });
    Pair {
        text: format!(
            "{argument}: {} of {} correct",
            report.clean.correct, report.clean.n
        ),
        outcomes: outcomes.collect(),
        correct: report.samples.iter().map(|s| s.clean_correct).collect(),
    }
}
