use proofmark_domain::hint;

use super::{Renderer, json, svg, table};

/// Every format, in the order they are listed to users.
pub const ALL: &[&dyn Renderer] = &[&json::Json, &table::Table, &svg::Svg];

/// Returns the format of that name; the error says what is wrong with the name.
pub fn find(id: &str) -> Result<&'static dyn Renderer, String> {
    let found = ALL.iter().copied().find(|r| r.id() == id);
    found.ok_or_else(|| {
        let known: Vec<&str> = ALL.iter().map(|r| r.id()).collect();
        let hint = hint(id, known.iter().copied());
        format!(
            "unknown format `{id}`{hint}; this version writes {}",
            known.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use proofmark_domain::RunStatus::Broken;

    use super::super::{Document, DocumentKind};
    use super::*;
    use crate::trust::fixture::{attack, report, sample};

    #[test]
    fn formats_are_found_or_guessed() {
        assert_eq!(find("json").unwrap().id(), "json");
        assert!(find("jsno").unwrap_err().contains("did you mean `json`"));
        assert!(!find("hologram").unwrap_err().contains("did you mean"));
    }

    /// A file in this folder that the list above does not name would be unused.
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

    #[test]
    fn a_format_renders_a_document_whole_or_says_that_it_has_none() {
        let report = report(vec![attack("pgd", 0.1)], vec![sample(0, &[Broken])]);
        for renderer in ALL {
            let document = Document::Attack(&report);
            let text = renderer.render(document, false);
            let id = renderer.id();
            assert_eq!(text.is_some(), renderer.renders(document.kind()), "{id}");
            let whole = |t: String| t.len() > 1 && t.ends_with('\n');
            assert!(text.is_none_or(whole), "{id}");
        }
        assert!(!svg::Svg.renders(DocumentKind::Gate));
    }
}
