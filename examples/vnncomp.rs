//! Runs the counterexample search on the instances of VNN-COMP whose answer is known.
//!
//! ```text
//! cargo run -p proofmark --example vnncomp -- [--timeout SECONDS] [--seed S] [--only TEXT] [FOLDER]
//! ```
//!
//! FOLDER holds `instances.csv` (benchmark, model, vnnlib, verdict, …) and the files it names; the default is the
//! folder `vnn` of `../shared/data` (or `$PROOFMARK_DATA`). `--only` keeps the instances whose line contains TEXT.
//! Prints a line per instance on standard error and a table on standard output. Exits 1 if an instance failed or the
//! search found a point where verifiers have proven that there is none.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program talks to whoever runs it"
)]
#![expect(clippy::disallowed_methods, reason = "a program may look at the clock")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use proofmark::data::vnnlib;
use proofmark::domain::Seed;
use proofmark::engine::Access;
use proofmark::{Falsified, Falsify, ModelSource};

/// One line of `instances.csv`.
struct Instance {
    benchmark: String,
    model: PathBuf,
    property: PathBuf,
    verdict: String,
}

/// Results on the instances of one benchmark.
#[derive(Default)]
struct Tally {
    /// Number of instances and of points found, by verdict.
    sat: (usize, usize),
    unsat: (usize, usize),
    unknown: (usize, usize),
    failed: usize,
    /// Seconds of the satisfiable instances that were found.
    seconds: Vec<f64>,
}

fn main() -> ExitCode {
    match compare() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::from(2)
        }
    }
}

fn compare() -> Result<bool, Box<dyn Error>> {
    let (mut timeout, mut seed, mut only, mut folder) = (60.0, 0, String::new(), None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--timeout" => timeout = value()?.parse()?,
            "--seed" => seed = value()?.parse()?,
            "--only" => only = value()?,
            _ => folder = Some(PathBuf::from(argument)),
        }
    }
    let Some(folder) = folder.or_else(|| proofmark_testkit::shared("vnn")) else {
        eprintln!("skipped: there is no ../shared/data/vnn (or $PROOFMARK_DATA)");
        return Ok(true);
    };
    let table = folder.join("instances.csv");
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    for line in std::fs::read_to_string(&table)?.lines().skip(1) {
        if !line.contains(&only) {
            continue;
        }
        let cells: Vec<&str> = line.split(',').collect();
        let instance = Instance {
            benchmark: cells[0].to_owned(),
            model: folder.join(cells[1]),
            property: folder.join(cells[2]),
            verdict: cells[3].to_owned(),
        };
        let began = Instant::now();
        let result = search(&instance, timeout, seed);
        let seconds = began.elapsed().as_secs_f64();
        let tally = tallies.entry(instance.benchmark.clone()).or_default();
        tell(&instance, &result, seconds);
        let Ok(result) = result else {
            tally.failed += 1;
            continue;
        };
        let found = result.counterexample.is_some();
        let counts = match instance.verdict.as_str() {
            "sat" => &mut tally.sat,
            "unsat" => &mut tally.unsat,
            _ => &mut tally.unknown,
        };
        counts.0 += 1;
        counts.1 += usize::from(found);
        if found && instance.verdict == "sat" {
            tally.seconds.push(seconds);
        }
    }
    print(&tallies);
    Ok(tallies.values().all(|t| t.unsat.1 == 0 && t.failed == 0))
}

fn search(instance: &Instance, timeout: f64, seed: u64) -> Result<Falsified, Box<dyn Error>> {
    let began = Instant::now();
    let spec = vnnlib::open(&instance.property)?;
    let source = ModelSource::new(instance.model.display().to_string());
    let opened = source.open_property(&spec, &proofmark::device("cpu")?)?;
    let stop = || began.elapsed().as_secs_f64() >= timeout;
    let mut search = Falsify::new(Access::Gradients(opened.model.as_ref()), &spec);
    search.seed = Seed(seed);
    search.levels = None;
    search.stop = &stop;
    Ok(search.run()?)
}

fn tell(instance: &Instance, result: &Result<Falsified, Box<dyn Error>>, seconds: f64) {
    let name = |path: &Path| {
        let stem = path.file_stem().unwrap_or_default();
        stem.to_string_lossy().into_owned()
    };
    let (model, property) = (name(&instance.model), name(&instance.property));
    let told = match result {
        Err(e) => format!("error: {e}"),
        Ok(r) => match (&r.counterexample, r.nearest) {
            (Some(c), _) => format!("sat, margin {:.3e}", c.margin),
            (None, Some(near)) => format!("unknown, nearest {near:.3e}"),
            (None, None) => "unknown".to_owned(),
        },
    };
    let levels = result.as_ref().map_or(0, |r| r.levels);
    eprintln!(
        "{} {model} {property}: {} is {told} ({seconds:.1} s, level {levels})",
        instance.benchmark, instance.verdict
    );
}

fn print(tallies: &BTreeMap<String, Tally>) {
    println!(
        "| benchmark | sat: found of | unsat: found of | unknown: found of | median s | slowest s | failed |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (benchmark, t) in tallies {
        let mut seconds = t.seconds.clone();
        seconds.sort_by(f64::total_cmp);
        let shown = |s: Option<&f64>| s.map_or("-".to_owned(), |s| format!("{s:.2}"));
        println!(
            "| {benchmark} | {} of {} | {} of {} | {} of {} | {} | {} | {} |",
            t.sat.1,
            t.sat.0,
            t.unsat.1,
            t.unsat.0,
            t.unknown.1,
            t.unknown.0,
            shown(seconds.get(seconds.len().saturating_sub(1) / 2)),
            shown(seconds.last()),
            t.failed
        );
    }
}
