//! Architecture tests: dependency edges, registered files and their headings, as in ARCHITECTURE.md.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns `cargo tree` of a package, one `name version features` per line.
fn tree(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--prefix", "none"])
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}

fn dependencies(package: &str) -> BTreeSet<String> {
    tree(&["-p", package, "-e", "normal"])
        .lines()
        .filter_map(|l| l.split_whitespace().next().map(str::to_owned))
        .collect()
}

#[test]
fn the_ground_floor_and_the_gate_never_see_burn() {
    for package in [
        "proofmark-domain",
        "proofmark-stats",
        "proofmark-data",
        "proofmark-audit",
        "proofmark-gate",
    ] {
        let burn: Vec<String> = dependencies(package)
            .into_iter()
            .filter(|d| d.starts_with("burn") || d.starts_with("cubecl"))
            .collect();
        assert!(burn.is_empty(), "{package} depends on {burn:?}");
    }
}

#[test]
fn lower_floors_know_nothing_of_higher_ones() {
    let forbidden: [(&str, &[&str]); 11] = [
        (
            "proofmark-testkit",
            &["proofmark-onnx", "proofmark-attacks"],
        ),
        (
            "proofmark-kernels",
            &["proofmark-domain", "proofmark-model", "proofmark-onnx"],
        ),
        (
            "proofmark-onnx",
            &[
                "proofmark-engine",
                "proofmark-attacks",
                "proofmark-gate",
                "proofmark-data",
                "proofmark",
            ],
        ),
        (
            "proofmark-domain",
            &["proofmark-stats", "proofmark-data", "proofmark-threat"],
        ),
        (
            "proofmark-threat",
            &["proofmark-model", "proofmark-engine", "proofmark-attacks"],
        ),
        (
            "proofmark-model",
            &["proofmark-engine", "proofmark-attacks", "proofmark-gate"],
        ),
        (
            "proofmark-engine",
            &[
                "proofmark-attacks",
                "proofmark-gate",
                "proofmark-data",
                "proofmark",
            ],
        ),
        (
            "proofmark-attacks",
            &["proofmark-gate", "proofmark-data", "proofmark"],
        ),
        (
            "proofmark-backdoor",
            &["proofmark-gate", "proofmark-onnx", "proofmark"],
        ),
        (
            "proofmark-audit",
            &["proofmark-gate", "proofmark-engine", "proofmark"],
        ),
        (
            "proofmark-gate",
            &["proofmark-engine", "proofmark-attacks", "proofmark"],
        ),
    ];
    for (package, above) in forbidden {
        let has = dependencies(package);
        for name in above {
            assert!(!has.contains(*name), "{package} depends on {name}");
        }
    }
}

#[test]
fn no_library_enables_a_backend_by_default() {
    for package in [
        "proofmark-threat",
        "proofmark-model",
        "proofmark-engine",
        "proofmark-attacks",
        "proofmark-backdoor",
    ] {
        assert!(
            !dependencies(package).contains("burn-flex"),
            "{package} brings a backend"
        );
    }
}

#[test]
fn running_and_testing_share_one_build_of_burn() {
    // Packages whose features differ between the two selections must not lie under burn: see crates/features.
    // `cargo run` selects all members, without their dev-dependencies.
    let set = |arguments: &[&str]| -> BTreeSet<String> {
        let mut all = arguments.to_vec();
        all.extend(["-f", "{p} {f}"]);
        tree(&all)
            .lines()
            .map(|l| l.replace(" (*)", "").replace(" (proc-macro)", ""))
            .collect()
    };
    let name = |l: &String| l.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let under_burn: BTreeSet<String> = set(&["-p", "burn", "-e", "normal,build"])
        .iter()
        .map(name)
        .collect();
    let whole = set(&["--workspace", "-e", "normal,build,dev"]);
    let mut differ = Vec::new();
    for selection in [
        "--workspace -e normal,build",
        "-p proofmark-cli -e normal,build,dev",
        "-p proofmark-threat -e normal,build,dev",
        "-p proofmark-model -e normal,build,dev",
        "-p proofmark-engine -e normal,build,dev",
        "-p proofmark-attacks -e normal,build,dev",
        "-p proofmark-onnx -e normal,build,dev",
        "-p proofmark-testkit -e normal,build,dev",
        "-p proofmark -e normal,build,dev",
    ] {
        let alone = set(&selection.split(' ').collect::<Vec<_>>());
        let other = |l: &&String| under_burn.contains(&name(l)) && !whole.contains(*l);
        differ.extend(
            alone
                .iter()
                .filter(other)
                .map(|l| format!("{selection}: {l}")),
        );
    }
    assert!(
        differ.is_empty(),
        "other features by itself than in the whole workspace: {differ:#?}"
    );
}

/// Returns every member of the workspace, from `cargo metadata`.
fn members() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--no-deps", "--format-version=1"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let all: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    all["packages"].as_array().expect("a list").clone()
}

/// Whether a member sets `publish = false`.
fn is_private(member: &Value) -> bool {
    member["publish"].as_array().is_some_and(Vec::is_empty)
}

#[test]
fn every_crate_can_be_published_but_those_for_tests() {
    let members = members();
    let private: BTreeSet<&str> = (members.iter().filter(|m| is_private(m)))
        .filter_map(|m| m["name"].as_str())
        .collect();
    assert_eq!(
        private,
        BTreeSet::from(["proofmark-features", "proofmark-testkit"])
    );
    for member in members.iter().filter(|m| !is_private(m)) {
        let name = member["name"].as_str().expect("a name");
        for field in ["description", "license", "rust_version"] {
            assert!(member[field].is_string(), "{name} has no {field}");
        }
        for field in ["keywords", "categories"] {
            let listed = member[field].as_array().map_or(0, Vec::len);
            assert!((1..=5).contains(&listed), "{name}: {listed} {field}");
        }
        for dependency in member["dependencies"].as_array().expect("a list") {
            let of_tests = dependency["kind"] == "dev";
            let on = dependency["name"].as_str().expect("a name");
            assert!(
                of_tests || !private.contains(on),
                "{name} depends on {on}, which is not published"
            );
            // Cargo drops a dev-dependency without a version, and refuses any other.
            assert!(
                of_tests || dependency["req"] != "*",
                "{name} depends on {on} without a version"
            );
        }
    }
}

#[test]
fn no_published_library_asks_for_what_only_tests_share() {
    for member in members().iter().filter(|m| !is_private(m)) {
        let name = member["name"].as_str().expect("a name");
        let own = member["dependencies"].as_array().expect("a list");
        let regex = own.iter().any(|d| d["name"] == "regex");
        assert!(!regex, "{name} depends on regex");
        assert!(
            !dependencies(name).contains("proofmark-features"),
            "{name} depends on proofmark-features"
        );
    }
}

/// A published crate is packed from its own folder: files that it embeds from outside would be missing there.
#[test]
fn what_a_crate_embeds_lies_in_its_folder() {
    fn walk(folder: &Path, all: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                walk(&path, all);
            } else if path.extension().is_some_and(|e| e == "rs") {
                all.push(path);
            }
        }
    }
    let crates = root().join("crates").canonicalize().expect("there");
    let mut sources = Vec::new();
    for folder in fs::read_dir(&crates).expect("readable") {
        walk(&folder.expect("readable").path().join("src"), &mut sources);
    }
    for source in sources {
        // Unit tests are not built from a published crate.
        if source.components().any(|c| c.as_os_str() == "tests") {
            continue;
        }
        let own = crates.join(
            source
                .strip_prefix(&crates)
                .expect("under crates")
                .iter()
                .next()
                .expect("a crate"),
        );
        let text = fs::read_to_string(&source).expect("readable");
        for embed in ["include_bytes!(\"", "include_str!(\""] {
            for rest in text.split(embed).skip(1) {
                let path = rest.split('"').next().expect("split gives one");
                let file = source.parent().expect("a folder").join(path);
                let file = file
                    .canonicalize()
                    .unwrap_or_else(|e| panic!("{path}: {e}"));
                assert!(file.starts_with(&own), "{} embeds {path}", source.display());
            }
        }
    }
}

fn files(folder: &str) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = fs::read_dir(root().join(folder))
        .unwrap_or_else(|e| panic!("{folder}: {e}"))
        .map(|e| e.expect("readable").path())
        .filter(|p| p.extension().is_some_and(|e| e == "rs"))
        .map(|p| {
            let name = p
                .file_stem()
                .expect("a file")
                .to_string_lossy()
                .into_owned();
            (name, fs::read_to_string(&p).expect("readable"))
        })
        .collect();
    all.sort();
    all
}

/// Headings of a file with an algorithm, in their order.
const HEADINGS: [&str; 7] = [
    "Idea",
    "Maths",
    "Reference",
    "Divergences",
    "Cost",
    "When it fails",
    "Example",
];

/// Checks that a file has every heading, in its place.
fn check_headings(file: &str, text: &str) {
    let mut at = 0;
    for heading in HEADINGS {
        let found = text[at..].find(&format!("//! # {heading}\n"));
        at += found.unwrap_or_else(|| panic!("{file} has no `# {heading}` in its place"));
    }
}

#[test]
fn every_planter_is_registered_and_has_its_headings() {
    let folder = "crates/backdoor/src/plant";
    let registry = fs::read_to_string(root().join(folder).join("mod.rs")).expect("readable");
    let mut registered = 0;
    for (name, text) in files(folder) {
        if text.contains("pub const ENTRY: PlantEntry") {
            registered += 1;
            let entry = format!("{name}::ENTRY");
            assert!(registry.contains(&entry), "plant/{name}.rs is not in ALL");
            check_headings(&format!("plant/{name}.rs"), &text);
        }
    }
    assert_eq!(registered, proofmark::backdoor::plant::ALL.len());
    let page = fs::read_to_string(root().join("docs/backdoor-planters.md")).expect("readable");
    for id in proofmark::backdoor::plant::ids() {
        assert!(page.contains(&format!("| `{id}` |")), "no row for {id}");
    }
}

#[test]
fn every_attack_is_registered_and_has_its_headings() {
    let registry = fs::read_to_string(root().join("crates/attacks/src/lib.rs")).expect("readable");
    let mut registered = 0;
    let folder = root().join("crates/attacks/src");
    let entries = fs::read_dir(folder).expect("readable");
    let entries = entries.filter_map(|e| Some(e.ok()?.path()).filter(|p| p.is_dir()));
    let mut families: Vec<String> = entries
        .map(|p| format!("{}/", p.file_name().expect("a name").to_string_lossy()))
        .collect();
    families.push(String::new());
    for family in families {
        let path = family.replace('/', "::");
        for (name, text) in files(&format!("crates/attacks/src/{family}")) {
            if !text.contains("pub const ENTRY: AttackEntry") {
                // Code shared by a family, or its mod.rs: no entry, no id.
                assert!(
                    !text.contains("const META"),
                    "{family}{name}.rs describes an attack and has no ENTRY"
                );
                continue;
            }
            registered += 1;
            assert!(
                registry.contains(&format!("{path}{name}::ENTRY")),
                "{family}{name}.rs is not in ALL"
            );
            check_headings(&format!("{family}{name}.rs"), &text);
        }
    }
    assert_eq!(registered, proofmark::attacks::ALL.len());
}

/// An attack on a criterion other than misclassification sees its ways to succeed in place of classes.
#[test]
fn every_probe_is_registered_and_has_its_headings() {
    let registry =
        fs::read_to_string(root().join("crates/backdoor/src/probe/mod.rs")).expect("readable");
    let mut registered = 0;
    for (name, text) in files("crates/backdoor/src/probe/") {
        if !text.contains("pub const ENTRY: Entry") {
            continue;
        }
        registered += 1;
        assert!(
            registry.contains(&format!("    {name}::ENTRY,")),
            "{name}.rs is not in ALL"
        );
        let mut at = 0;
        for heading in [
            "Idea",
            "Maths",
            "Reference",
            "Divergences",
            "Cost",
            "When it fails",
            "Example",
        ] {
            let found = text[at..].find(&format!("//! # {heading}\n"));
            at += found.unwrap_or_else(|| panic!("{name}.rs has no `# {heading}` in its place"));
        }
    }
    assert_eq!(registered, proofmark::backdoor::probe::ALL.len());
}

#[test]
fn attacks_ask_the_job_for_the_number_of_classes() {
    let mut folders = vec![root().join("crates/attacks/src")];
    let mut read = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).expect("readable");
            let own = text.contains("signature().classes");
            assert!(!own, "{} counts the model's classes", path.display());
            read += usize::from(text.contains("job.classes("));
        }
    }
    assert!(read > 5, "{read}");
}

#[test]
fn every_criterion_is_in_the_docs() {
    let page = fs::read_to_string(root().join("docs/criteria.md")).expect("readable");
    for name in proofmark::domain::CriterionSpec::NAMES {
        let rows = [format!("| `{name}` |"), format!("| `{name}=")];
        assert!(
            rows.iter().any(|row| page.contains(row)),
            "no row for {name}"
        );
    }
}

#[test]
fn every_kind_of_check_is_registered() {
    let registry =
        fs::read_to_string(root().join("crates/gate/src/kind/mod.rs")).expect("readable");
    let mut registered = 0;
    for (name, text) in files("crates/gate/src/kind") {
        if text.contains("const ENTRY: CheckKind") {
            registered += 1;
            let entry = format!("{name}::ENTRY");
            assert!(registry.contains(&entry), "kind/{name}.rs is not in ALL");
        }
    }
    assert_eq!(registered, proofmark::policy::kind::ALL.len());
}

/// Returns every `.rs` file below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("readable");
    let paths = entries.map(|e| e.expect("readable").path());
    let mut all: Vec<PathBuf> = paths
        .flat_map(|p| if p.is_dir() { sources(&p) } else { vec![p] })
        .filter(|p| p.extension().is_some_and(|e| e == "rs"))
        .collect();
    all.sort();
    all
}

/// CONTRIBUTING promises one new file and its registration. The code that registers each walk's example is in the files
/// that the walk lists, and in no others.
#[test]
fn a_walk_lists_every_file_it_touches() {
    let text = fs::read_to_string(root().join("CONTRIBUTING.md")).expect("readable");
    // By title: the code that registers the example besides its `mod` line, anywhere in the sources of any crate except
    // those for tests.
    let walks: [(&str, &[&str]); 5] = [
        ("an attack", &["mi_fgsm::ENTRY"]),
        ("a norm", &["l1::L1", "Norm::L1 =>", "Self::L1 =>"]),
        ("a metric", &["true_positive_rate::ENTRIES"]),
        ("a kind of check", &["robustness::ENTRY"]),
        ("a renderer", &["svg::Svg"]),
    ];
    assert_eq!(text.matches("\nFiles touched: new `").count(), walks.len());
    for (title, registrations) in walks {
        let walk = text
            .split("\n## Add ")
            .find(|w| w.starts_with(title))
            .unwrap_or_else(|| panic!("no walk of {title}"));
        let listed = walk
            .split("\nFiles touched: new ")
            .nth(1)
            .and_then(|l| l.split("\n\n").next())
            .unwrap_or_else(|| panic!("{title}: no files"));
        let listed: Vec<&str> = listed
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|p| Path::new(p).extension().is_some_and(|e| e == "rs"))
            .collect();
        let (new, lines) = listed.split_first().expect("a new file");
        assert!(root().join(new).is_file(), "{new}");
        let (folder, file) = new.rsplit_once('/').expect("a file in a folder");
        let module = format!("mod {};", file.trim_end_matches(".rs"));
        let mut found = BTreeSet::new();
        for source in sources(&root().join("crates")) {
            let path = source.strip_prefix(root()).expect("below the root");
            let path = path.to_str().expect("UTF-8").replace('\\', "/");
            let for_tests = path.contains("/tests/")
                || path.contains("/testkit/")
                || path.ends_with("row/reference.rs");
            // Attacks state the norms they have formulas for: a new norm needs none of them.
            let has_formula = title == "a norm" && path.contains("crates/attacks/");
            if path == *new || for_tests || has_formula {
                continue;
            }
            let source = fs::read_to_string(&source).expect("readable");
            let beside = path.rsplit_once('/').is_some_and(|(f, _)| f == folder);
            let declares = beside && source.contains(&module);
            if declares || registrations.iter().any(|r| source.contains(r)) {
                found.insert(path);
            }
        }
        let lines: BTreeSet<String> = lines.iter().map(ToString::to_string).collect();
        assert_eq!(found, lines, "what {title} touches");
    }
}

#[test]
fn only_kernels_are_unsafe_and_nothing_prints_below_the_command_line() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("readable");
    for lint in [
        "unsafe_code = \"deny\"",
        "print_stdout = \"warn\"",
        "print_stderr = \"warn\"",
    ] {
        assert!(manifest.contains(lint), "{lint}");
    }
    for crate_folder in fs::read_dir(root().join("crates")).expect("readable") {
        let manifest = crate_folder.expect("readable").path().join("Cargo.toml");
        let text = fs::read_to_string(&manifest).expect("readable");
        assert!(
            text.contains("[lints]\nworkspace = true"),
            "{} has its own lints",
            manifest.display()
        );
    }
    for source in sources(&root().join("crates")) {
        let is_kernels = source.starts_with(root().join("crates/kernels"));
        let text = fs::read_to_string(&source).expect("readable");
        assert!(
            is_kernels || !text.contains("(unsafe_code"),
            "{} allows unsafe code",
            source.display()
        );
    }
}

#[test]
fn every_invariant_names_a_test_that_exists() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("readable");
    let mut named = 0;
    for line in text.lines().filter(|l| l.contains("(test: `")) {
        for reference in line.split("(test: `").skip(1) {
            let name = reference.split('`').next().expect("split gives one");
            let (file, test) = name
                .split_once("::")
                .unwrap_or_else(|| panic!("`{name}` is not FILE::TEST"));
            let source =
                fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
            assert!(
                source.contains(&format!("fn {test}(")),
                "{file} has no test {test}"
            );
            named += 1;
        }
    }
    assert!(named >= 12, "only {named} invariants name their test");
}

#[test]
fn every_operator_is_in_the_docs() {
    let page = fs::read_to_string(root().join("docs/onnx.md")).expect("docs/onnx.md");
    let after = page
        .split("## Operators")
        .nth(1)
        .expect("its list of operators");
    let (own, rest) = after
        .split_once("### onnxruntime's own")
        .expect("its list of onnxruntime's operators");
    let (microsoft, classical) = rest
        .split_once("### Classical machine learning")
        .expect("its list of classical operators");
    for (table, domain) in [
        (own, "ai.onnx"),
        (microsoft, "com.microsoft"),
        (classical, "ai.onnx.ml"),
    ] {
        let named: BTreeSet<&str> = table
            .lines()
            .filter(|l| l.starts_with('|'))
            .filter_map(|l| l.split('|').nth(2))
            .flat_map(str::split_whitespace)
            .filter(|w| w.starts_with(char::is_uppercase))
            .collect();
        let all = proofmark::onnx::operators(domain);
        let known: BTreeSet<&str> = all.iter().copied().collect();
        assert_eq!(
            known.len(),
            all.len(),
            "an operator of {domain} is there twice"
        );
        let missing: Vec<_> = known.difference(&named).collect();
        let invented: Vec<_> = named.difference(&known).collect();
        assert!(missing.is_empty(), "not in docs/onnx.md: {missing:?}");
        assert!(
            invented.is_empty(),
            "in docs/onnx.md and not there: {invented:?}"
        );
    }
}
