//! The VNN-COMP instances of `../shared/data` (or `$PROOFMARK_DATA`) whose answer is known: the search finds every
//! counterexample that exists within four levels of effort, and finds none where verifiers have proven that there is
//! none.
#![expect(clippy::print_stderr, reason = "a test that is skipped says why")]

use std::path::{Path, PathBuf};

use proofmark::data::vnnlib;
use proofmark::engine::Access;
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
