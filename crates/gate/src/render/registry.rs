use proofmark_domain::{Report, nearest};

use super::{json, table};
use crate::GateReport;

/// One output format.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Its name on the command line.
    pub id: &'static str,
    /// What it is for, in one line.
    pub description: &'static str,
    /// A gate report as text; `true` asks for colour, where the format has any.
    pub gate: fn(&GateReport, bool) -> String,
    /// An attack report as text; `true` asks for colour, where the format has any.
    pub report: fn(&Report, bool) -> String,
}

/// Every format, in the order they are listed to users.
pub const ALL: &[Entry] = &[json::ENTRY, table::ENTRY];

/// The format of that name; else the nearest name, if one is close.
pub fn find(id: &str) -> Result<&'static Entry, Option<&'static str>> {
    ALL.iter()
        .find(|e| e.id == id)
        .ok_or_else(|| nearest(id, ALL.iter().map(|e| e.id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_found_or_guessed() {
        assert_eq!(find("json").unwrap().id, "json");
        assert_eq!(find("jsno").unwrap_err(), Some("json"));
        assert_eq!(find("hologram").unwrap_err(), None);
    }

    /// A file in this folder that the list above does not name would be dead.
    #[test]
    fn every_file_here_is_registered() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/render");
        for file in std::fs::read_dir(folder).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            let id = name.trim_end_matches(".rs");
            assert!(
                ["mod", "registry"].contains(&id) || find(id).is_ok(),
                "{name}"
            );
        }
    }
}
