//! Rows a second that attacks compute, per model, attack, number of threads, and with kernels or operator by operator.
//!
//! ```text
//! cargo bench -p proofmark --bench backends                 the shipped digits
//! MODELS=DIR cargo bench -p proofmark --bench backends      also each DIR/NAME.onnx with DIR/NAME.npz
//! ```
//!
//! `tests/peers/speed.py --make` writes such a folder. Times against other tools are measured in alternation, by that
//! script with `speed.rs`.

#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use proofmark::{Dataset, OpenModel};

#[path = "run/mod.rs"]
mod run;

/// Samples attacked at once.
const ROWS: usize = 64;

/// Small, so that hardly any row breaks and leaves early.
const EPS: f64 = 1e-4;

fn rows(source: &str) -> Dataset {
    let set = proofmark::open(source).expect("a data set");
    set.range(0..ROWS).expect("64 samples")
}

/// The shipped net as a file.
const DIGITS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../datasets/digits/digits-standard.onnx"
);

fn backends(criterion: &mut Criterion) {
    let set = rows("digits");
    let mut ways = by_file(DIGITS, &set).to_vec();
    ways.push((
        "burn module",
        Arc::new(run::open("digits-standard", &set, false)),
    ));
    measure(criterion, "digits", &ways, &set);
    let Ok(folder) = std::env::var("MODELS") else {
        return;
    };
    let entries = std::fs::read_dir(&folder).expect("MODELS names a folder");
    let mut models: Vec<_> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    models.retain(|p| p.extension().is_some_and(|e| e == "onnx"));
    models.sort();
    for model in models {
        let text = |p: &Path| p.to_str().expect("a name in UTF-8").to_owned();
        let name = text(Path::new(model.file_stem().expect("a name")));
        let set = rows(&text(&model.with_extension("npz")));
        measure(criterion, &name, &by_file(&text(&model), &set), &set);
    }
}

type Way = (&'static str, Arc<OpenModel>);

fn by_file(model: &str, set: &Dataset) -> [Way; 2] {
    [("kernels", false), ("operators", true)]
        .map(|(by, by_operator)| (by, Arc::new(run::open(model, set, by_operator))))
}

fn measure(criterion: &mut Criterion, name: &str, ways: &[Way], set: &Dataset) {
    let mut threads = vec![1, 2, rayon::current_num_threads()];
    threads.sort_unstable();
    threads.dedup();
    for attack in ["fgsm", "pgd", "apgd-t"] {
        let mut group = criterion.benchmark_group(format!("{name}/{attack}"));
        group.sample_size(10);
        for n in &threads {
            for (by, opened) in ways {
                let once = || run::with_threads(*n, || run::once(opened, set, attack, EPS));
                let figures = once();
                assert!(
                    figures.broken < figures.rows / 2,
                    "rows that break leave early, and too many do"
                );
                group.throughput(Throughput::Elements(figures.computed));
                group.bench_function(format!("{by}, {n} threads"), |bench| {
                    bench.iter_custom(|times| {
                        let seconds: f64 = (0..times).map(|_| once().seconds).sum();
                        Duration::from_secs_f64(seconds)
                    });
                });
            }
        }
    }
}

criterion_group!(benches, backends);
criterion_main!(benches);
