//! The VNN-COMP instances of `../shared/data` (or `$PROOFMARK_DATA`) whose answer is known: the search finds every
//! counterexample that exists within four levels of effort, and finds none where verifiers have proven that there is
//! none. Bounds prove some of the latter and none of the former.
#![expect(clippy::print_stderr, reason = "a test that is skipped says why")]

use std::path::{Path, PathBuf};

use proofmark::data::vnnlib;
use proofmark::engine::Access;
use proofmark::kernels::{BoundError, Method};
use proofmark::{Falsified, Falsify, ModelSource};

fn folder() -> Option<PathBuf> {
    let found = proofmark_testkit::shared("vnn");
    if found.is_none() {
        eprintln!("SKIPPED: no ../shared/data/vnn (or $PROOFMARK_DATA)");
    }
    found
}

/// Searches every instance with this verdict.
fn searched(folder: &Path, verdict: &str, levels: u32) -> Vec<(String, Falsified)> {
    let device = proofmark::device("cpu").unwrap();
    let table = std::fs::read_to_string(folder.join("instances.csv")).unwrap();
    let rows = table
        .lines()
        .skip(1)
        .map(|l| l.split(',').collect::<Vec<_>>());
    rows.filter(|cells| cells[3] == verdict)
        .map(|cells| {
            let spec = vnnlib::open(&folder.join(cells[2])).unwrap();
            let source = ModelSource::new(folder.join(cells[1]).display().to_string());
            let opened = source.open_property(&spec, &device).unwrap();
            let mut search = Falsify::new(Access::Gradients(opened.model.as_ref()), &spec);
            search.levels = Some(levels);
            (format!("{} {}", cells[1], cells[2]), search.run().unwrap())
        })
        .collect()
}

#[test]
fn every_counterexample_that_exists_is_found() {
    let Some(folder) = folder() else { return };
    let all = searched(&folder, "sat", 4);
    let missed: Vec<&String> = all
        .iter()
        .filter(|(_, result)| result.counterexample.is_none())
        .map(|(name, _)| name)
        .collect();
    assert_eq!(all.len(), 65);
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn no_counterexample_is_found_where_none_exists() {
    let Some(folder) = folder() else { return };
    let all = searched(&folder, "unsat", 1);
    let wrong: Vec<&String> = all
        .iter()
        .filter(|(_, result)| result.counterexample.is_some())
        .map(|(name, _)| name)
        .collect();
    assert_eq!(all.len(), 60);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Whether bounds rule out every case of an instance; why there are none, if there are none.
fn proven(folder: &Path, cells: &[&str], method: Method) -> Result<bool, String> {
    let device = proofmark::device("cpu").unwrap();
    let spec = vnnlib::open(&folder.join(cells[2])).unwrap();
    let source = ModelSource::new(folder.join(cells[1]).display().to_string());
    let opened = source.open_property(&spec, &device).unwrap();
    let program = Access::from(&*opened.model).decisions().program()?;
    for case in &spec.cases {
        // One function of the outputs per constraint; a point of the case keeps each of them at most `at_most`.
        let mut functions = vec![0.0; case.constraints.len() * spec.outputs];
        for (row, c) in functions.chunks_mut(spec.outputs).zip(&case.constraints) {
            for (j, a) in &c.terms {
                row[*j] += a;
            }
        }
        let lower = program.lower(&case.inputs.low, &case.inputs.high, &functions, method);
        let lower = lower.map_err(|e: BoundError| e.to_string())?;
        let ruled_out = case
            .constraints
            .iter()
            .zip(lower)
            .any(|(c, l)| l > c.at_most);
        if !ruled_out {
            return Ok(false);
        }
    }
    Ok(true)
}

#[test]
fn bounds_prove_no_instance_with_a_counterexample_and_some_without() {
    let Some(folder) = folder() else { return };
    let table = std::fs::read_to_string(folder.join("instances.csv")).unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .skip(1)
        .map(|l| l.split(',').collect())
        .collect();
    for method in [Method::Interval, Method::Linear] {
        let mut counts = std::collections::BTreeMap::new();
        // Linear bounds of the larger networks take minutes.
        let small = ["acasxu", "rl_benchmarks", "verivital"];
        let is_long = |cells: &Vec<&str>| method == Method::Linear && !small.contains(&cells[0]);
        for cells in rows.iter().filter(|c| !is_long(c)) {
            let result = proven(&folder, cells, method);
            let name = format!("{} {}", cells[1], cells[2]);
            assert!(
                cells[3] != "sat" || result != Ok(true),
                "{method:?} proves {name}, which has a counterexample"
            );
            let (n, k, none): &mut (usize, usize, usize) =
                counts.entry((cells[3], cells[0])).or_default();
            *n += 1;
            *k += usize::from(result == Ok(true));
            *none += usize::from(result.is_err());
            if let Err(why) = result {
                eprintln!("{name}: {why}");
            }
        }
        eprintln!("{method:?}: instances, proven, without bounds: {counts:?}");
        let unsat = counts
            .iter()
            .filter(|((verdict, _), _)| *verdict == "unsat");
        let proven: usize = unsat.map(|(_, c)| c.1).sum();
        assert!(
            method == Method::Interval || proven > 0,
            "linear bounds prove none of 60"
        );
    }
}
