//! Measures the cost of an attack on one model: rows computed a second, peak memory, per attack and number of
//! threads.
//!
//! ```text
//! cargo bench -p proofmark --bench speed -- MODEL.onnx DATA [key=value …]
//!   attacks=fgsm,pgd,apgd-t   attacks with their defaults, PGD with 40 steps; pgd-100x5 has 100 and 5 restarts
//!   rows=64                   samples, the first of the data set
//!   threads=1,2               numbers of threads; all by default
//!   by=kernels,operators      compiled to kernels (default), operator by operator on flex
//!   rounds=3                  rounds, in which all combinations alternate
//!   eps=0.0001                Linf; small, so that hardly any row breaks and leaves early
//!   format=json               a line of JSON per run in place of text
//! ```
//!
//! `tests/peers/speed.py` runs it in alternation with the peers; `backends.rs` measures the same with statistics.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench measures time and says what it measured"
)]

use std::collections::BTreeMap;

use proofmark::OpenModel;

#[path = "run/mod.rs"]
mod run;

fn main() {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let [model, data, rest @ ..] = &arguments[..] else {
        println!("skipped: expected a model and a data set; usage: see benches/speed.rs");
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
    let by = option("by", "kernels");
    let opened: Vec<(&str, OpenModel)> = (by.split(','))
        .map(|by| (by, run::open(model, &set, by == "operators")))
        .collect();
    for round in 0..rounds {
        for attack in option("attacks", "fgsm,pgd,apgd-t").split(',') {
            for (n, (by, model)) in threads
                .iter()
                .flat_map(|n| opened.iter().map(move |m| (n, m)))
            {
                let f = run::with_threads(*n, || run::once(model, &set, attack, eps));
                let per_second = f.computed as f64 / f.seconds;
                if option("format", "text") == "json" {
                    println!(
                        "{{\"round\": {round}, \"attack\": \"{attack}\", \"by\": \"{by}\", \"threads\": {n}, \"seconds\": {}, \"rows\": {}, \"broken\": {}, \"computed\": {}, \"peak_mib\": {}}}",
                        f.seconds,
                        f.rows,
                        f.broken,
                        f.computed,
                        peak()
                    );
                } else {
                    println!(
                        "round {round}, {attack} by {by}, {n} threads: {:.3} s, {} of {} rows broken, {} rows computed, {per_second:.0} rows a second, peak {} MiB",
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

/// The process's largest resident memory so far, in MiB; 0 where the system does not say.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM:"));
    let kib = line
        .and_then(|l| l.split_whitespace().nth(1))
        .and_then(|k| k.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
