//! Measures the cost of a few surviving rows: PGD with 100 steps and 5 restarts on the first 100 images of a CIFAR-10
//! test set, Linf 1/255, on a model that breaks on almost all of them. Prints rows computed beside rows asked for, and
//! the seconds with one thread and with all threads, in alternation.
//!
//! ```text
//! cargo bench -p proofmark --bench survivors -- MODEL.onnx TEST.bin [ROUNDS] [TILE,…]
//! BASELINE=path/to/an/older/proofmark cargo bench …    the same run of another binary, in the same alternation
//! ```

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench measures time and says what it measured"
)]

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use proofmark::domain::{Epsilon, Norm};
use proofmark::{Access, Dataset, ModelSource, RunPlan, ThreatPlan};

fn main() {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let [model, data, rest @ ..] = &arguments[..] else {
        println!("skipped: expected a model and a data set; usage: see benches/survivors.rs");
        return;
    };
    let rounds = rest.first().map_or(3, |r| r.parse().expect("a number"));
    let tiles: Vec<Option<usize>> = rest.get(1).map_or(vec![None], |t| {
        let tile = |t: &str| Some(t.parse().expect("a number"));
        t.split(',').map(tile).collect()
    });
    let set = proofmark::open(data).expect("a data set");
    let set = set.range(0..100).expect("100 images");
    let device = proofmark::device("cpu").expect("a CPU");
    let opened = ModelSource::new(model.as_str())
        .open(&set, &device)
        .expect("a model");
    let threads = rayon::current_num_threads();
    for round in 0..rounds {
        if let Ok(binary) = std::env::var("BASELINE") {
            println!(
                "round {round}, baseline: {:.2} s",
                baseline(&binary, model, data)
            );
        }
        for tile in &tiles {
            for n in [1, threads] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build();
                let figures = pool
                    .expect("threads")
                    .install(|| once(opened.model.access(), &set, *tile));
                println!("round {round}, tile {tile:?}, {n} threads: {figures}");
            }
        }
    }
}

/// Runs PGD once, without the attacks of the trust checks.
fn once(model: Access<'_>, data: &Dataset, tile: Option<usize>) -> String {
    let table = "steps = 100\nrestarts = 5".parse().expect("TOML");
    let attacks = vec![proofmark::attacks::build("pgd", &table).expect("pgd")];
    let eps = ThreatPlan::new(Norm::Linf, Epsilon::new(1.0 / 255.0).expect("positive"));
    let mut plan = RunPlan::new(model, data, &attacks, vec![eps]);
    plan.settings.tile = tile;
    plan.settings.trust = false;
    let began = Instant::now();
    let clock = || began.elapsed().as_secs_f64();
    plan.clock = &clock;
    let report = plan.run().expect("a run").report;
    let pgd = &report.attacks[0];
    format!(
        "{} of {} left, asked {}, computed {} ({:.2} times), {:.2} s",
        pgd.correct,
        pgd.n,
        pgd.forward,
        pgd.cost.computed,
        pgd.cost.computed as f64 / pgd.forward as f64,
        pgd.cost.seconds
    )
}

/// Returns the seconds that another binary reports for the same attack.
fn baseline(binary: &str, model: &str, data: &str) -> f64 {
    let out = std::env::temp_dir().join(format!("survivors-{}.json", std::process::id()));
    let status = Command::new(Path::new(binary))
        .args([
            "attack", model, "--data", data, "--range", "0..100", "--attack", "pgd",
        ])
        .args([
            "--steps",
            "100",
            "--restarts",
            "5",
            "--norm",
            "linf",
            "--eps",
            "1/255",
        ])
        .args(["--device", "cpu", "--quiet", "--out"])
        .arg(&out)
        .status()
        .expect("the baseline runs");
    assert!(status.success(), "the baseline: {status}");
    let text = std::fs::read_to_string(&out).expect("its report");
    let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    report["attacks"][0]["seconds"].as_f64().expect("seconds")
}
