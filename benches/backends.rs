//! Measures the cost of an attack on one model: rows computed a second, peak memory, per attack and number of
//! threads.
//!
//! ```text
//! cargo bench -p proofmark --bench backends -- MODEL.onnx DATA [key=value …]
//!   attacks=fgsm,pgd,apgd-t   attacks with their defaults, PGD with 40 steps
//!   rows=64                   samples, the first of the data set
//!   threads=1,2               numbers of threads; all by default
//!   rounds=3                  rounds, in which all combinations alternate
//!   eps=0.0001                Linf; small, so that hardly any row breaks and leaves early
//!   format=json               a line of JSON per run in place of text
//! ```
//!
//! `tests/peers/speed.py` runs it in alternation with the peers.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench measures time and says what it measured"
)]

use std::collections::BTreeMap;
use std::time::Instant;

use proofmark::domain::{Epsilon, Norm};
use proofmark::{Dataset, Labels, ModelSource, OpenModel, RunPlan, ThreatPlan};

/// One run, measured.
struct Figures {
    seconds: f64,
    rows: u64,
    broken: u64,
    computed: u64,
}

fn main() {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let [model, data, rest @ ..] = &arguments[..] else {
        println!("skipped: expected a model and a data set; usage: see benches/backends.rs");
        return;
    };
    let options: BTreeMap<&str, &str> = rest
        .iter()
        .map(|a| a.split_once('=').expect("key=value"))
        .collect();
    let option = |name: &str, default: &'static str| {
        options.get(name).copied().unwrap_or(default).to_owned()
    };
    let all = rayon::current_num_threads().to_string();
    let threads = options.get("threads").map_or(all, |t| (*t).to_owned());
    let threads: Vec<usize> = threads
        .split(',')
        .map(|t| t.parse().expect("a number"))
        .collect();
    let rows: usize = option("rows", "64").parse().expect("a number");
    let rounds: usize = option("rounds", "3").parse().expect("a number");
    let eps: f64 = option("eps", "0.0001").parse().expect("a number");
    let set = proofmark::open(data).expect("a data set");
    let set = set.range(0..rows).expect("as many rows");
    let device = proofmark::device("cpu").expect("a CPU");
    let opened = ModelSource::new(model.as_str())
        .open(&set, &device)
        .expect("a model");
    for round in 0..rounds {
        for attack in option("attacks", "fgsm,pgd,apgd-t").split(',') {
            for n in &threads {
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(*n)
                    .build()
                    .expect("threads");
                let f = pool.install(|| once(&opened, &set, attack, eps));
                let per_second = f.computed as f64 / f.seconds;
                if option("format", "text") == "json" {
                    println!(
                        "{{\"round\": {round}, \"attack\": \"{attack}\", \"threads\": {n}, \"seconds\": {}, \"rows\": {}, \"broken\": {}, \"computed\": {}, \"peak_mib\": {}}}",
                        f.seconds,
                        f.rows,
                        f.broken,
                        f.computed,
                        peak()
                    );
                } else {
                    println!(
                        "round {round}, {attack}, {n} threads: {:.3} s, {} of {} rows broken, {} rows computed, {per_second:.0} rows a second, peak {} MiB",
                        f.seconds,
                        f.broken,
                        f.rows,
                        f.computed,
                        peak()
                    );
                }
            }
        }
    }
}

/// One run without the trust checks' own attacks.
fn once(opened: &OpenModel, data: &Dataset, attack: &str, eps: f64) -> Figures {
    let table = if attack == "pgd" {
        "steps = 40\nrestarts = 1"
    } else {
        ""
    };
    let attacks =
        vec![proofmark::attacks::build(attack, &table.parse().expect("TOML")).expect("an attack")];
    let budget = ThreatPlan::new(Norm::Linf, Epsilon::new(eps).expect("above 0"));
    let mut plan = RunPlan::new(opened.model.access(), data, &attacks, vec![budget]);
    plan.labels = Labels::Predicted;
    plan.settings.trust = false;
    let began = Instant::now();
    let report = plan.run().expect("a run").report;
    let seconds = began.elapsed().as_secs_f64();
    let run = &report.attacks[0];
    Figures {
        seconds,
        rows: run.n as u64,
        broken: (run.n - run.correct) as u64,
        computed: run.cost.computed,
    }
}

/// The process's largest resident memory so far, in MiB; 0 where the system does not say.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM:"));
    let kib = line
        .and_then(|l| l.split_whitespace().nth(1))
        .and_then(|k| k.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
