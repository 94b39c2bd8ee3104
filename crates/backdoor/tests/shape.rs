//! Every probe file is registered and has its headings.

use std::path::Path;

use proofmark_backdoor::probe::{input, training};

const HEADINGS: [&str; 7] = [
    "Idea",
    "Maths",
    "Reference",
    "Divergences",
    "Cost",
    "When it fails",
    "Example",
];

fn registered(folder: &str, entry: &str, ids: &[&str]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let registry = std::fs::read_to_string(folder.join("mod.rs")).unwrap();
    let mut found = 0;
    for file in std::fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        if !text.contains(&format!("pub const ENTRY: {entry}")) {
            continue;
        }
        found += 1;
        assert!(
            registry.contains(&format!("{name}::ENTRY")),
            "{name} is not in ALL"
        );
        assert!(
            ids.contains(&name.as_str()),
            "{name}.rs does not bear its id"
        );
        let mut at = 0;
        for heading in HEADINGS {
            let next = text[at..].find(&format!("//! # {heading}\n"));
            at += next.unwrap_or_else(|| panic!("{name}.rs has no `# {heading}` in its place"));
        }
    }
    assert_eq!(found, ids.len());
}

#[test]
fn every_probe_of_inputs_is_registered_and_has_its_headings() {
    let ids: Vec<&str> = input::ALL.iter().map(|e| e.meta.id).collect();
    registered("src/probe/input", "InputProbeEntry", &ids);
}

#[test]
fn every_probe_of_training_sets_is_registered_and_has_its_headings() {
    let ids: Vec<&str> = training::ALL.iter().map(|e| e.meta.id).collect();
    registered("src/probe/training", "TrainingProbeEntry", &ids);
}

/// Every probe is on the page about them.
#[test]
fn every_probe_is_in_the_docs() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/backdoor-inputs.md");
    let page = std::fs::read_to_string(page).unwrap();
    let ids = (input::ALL.iter().map(|e| e.meta.id)).chain(training::ALL.iter().map(|e| e.meta.id));
    for id in ids {
        assert!(page.contains(&format!("| `{id}` |")), "no row for {id}");
    }
}
