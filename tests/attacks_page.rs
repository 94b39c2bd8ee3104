//! The table of attacks in `docs/attacks.md` is what their files say.
//!
//! `UPDATE=1 cargo test -p proofmark --test attacks_page` writes it anew.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use proofmark::attacks::ALL;
use proofmark::domain::Role;

const BEGIN: &str = "<!-- the table below is generated: tests/attacks_page.rs -->\n";
const END: &str = "<!-- end of the table -->\n";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("readable");
    let paths = entries.map(|e| e.expect("readable").path());
    paths
        .flat_map(|p| {
            if p.is_dir() {
                files(&p)
            } else {
                vec![fs::read_to_string(&p).expect("readable")]
            }
        })
        .collect()
}

/// The first paragraph under a heading of a file's page, in one line.
fn under(page: &str, heading: &str) -> String {
    let from = page
        .split(&format!("//! # {heading}\n"))
        .nth(1)
        .expect("the heading is there");
    let lines = from.lines().map(|l| l.trim_start_matches("//!").trim());
    let first: Vec<&str> = lines.take_while(|l| !l.is_empty()).collect();
    let mut text = first.join(" ").replace('|', "\\|");
    // Links to items mean nothing outside the code: their text stays.
    while let Some((before, (own, after))) = text
        .split_once("[`")
        .and_then(|(before, rest)| Some((before, rest.split_once("`](")?)))
        .and_then(|(before, (own, rest))| Some((before, (own, rest.split_once(')')?.1))))
    {
        text = format!("{before}`{own}`{after}");
    }
    text
}

fn table() -> String {
    let pages = files(&root().join("crates/attacks/src"));
    let mut text = String::from(
        "| attack | needs | norms | idea | cost | source |\n|---|---|---|---|---|---|\n",
    );
    for entry in ALL {
        let meta = entry.meta;
        let own = format!("id: \"{}\",", meta.id);
        let page = pages
            .iter()
            .find(|p| p.contains(&own) && p.contains("pub const ENTRY: AttackEntry"))
            .expect("every attack has a file");
        let needs = if meta.role == Role::Baseline {
            "a baseline".to_owned()
        } else {
            serde_json::to_value(meta.needs)
                .expect("a word")
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let norms: Vec<&str> = meta.norms.iter().map(|n| n.as_str()).collect();
        writeln!(
            text,
            "| `{}` | {needs} | {} | {} | {} | {} |",
            meta.id,
            norms.join(", "),
            under(page, "Idea"),
            under(page, "Cost"),
            meta.reference
        )
        .expect("text grows");
    }
    text
}

#[test]
fn the_table_of_attacks_is_what_their_files_say() {
    let path = root().join("docs/attacks.md");
    let page = fs::read_to_string(&path).expect("docs/attacks.md");
    let (head, rest) = page.split_once(BEGIN).expect("the table's begin");
    let (old, tail) = rest.split_once(END).expect("the table's end");
    let new = table();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, format!("{head}{BEGIN}{new}{END}{tail}")).expect("written");
        return;
    }
    assert!(
        old == new,
        "docs/attacks.md is out of date: UPDATE=1 cargo test -p proofmark --test attacks_page"
    );
}
