//! Files, whole or not at all.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use proofmark::domain::{Report, SampleRecord};

use crate::failure::Failure;

/// Reports above this many samples keep them in a file of their own.
const SAMPLES_INLINE: usize = 10_000;

/// Refuses an output path before any work is done for it: its folder must exist and take files.
pub(crate) fn check_writable(path: &Path) -> Result<(), Failure> {
    if path.is_dir() {
        return Err(Failure(format!(
            "--out {}: is a folder; expected the name of a file",
            path.display()
        )));
    }
    let folder = folder_of(path);
    tempfile::Builder::new()
        .prefix(".proofmark-")
        .tempfile_in(&folder)
        .map(drop)
        .map_err(|e| {
            Failure(format!(
                "cannot write {}: {e} (folder {})",
                path.display(),
                folder.display()
            ))
        })
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Writes beside the target and renames into place.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let told = |e: &dyn std::fmt::Display| Failure(format!("cannot write {}: {e}", path.display()));
    let mut file = tempfile::Builder::new()
        .prefix(".proofmark-")
        .tempfile_in(folder_of(path))
        .map_err(|e| told(&e))?;
    file.write_all(bytes).map_err(|e| told(&e))?;
    file.as_file().sync_all().map_err(|e| told(&e))?;
    #[cfg(unix)]
    {
        // Temporary files are private; a report is an ordinary file.
        use std::os::unix::fs::PermissionsExt as _;
        let _ = fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644));
    }
    file.persist(path).map_err(|e| told(&e.error))?;
    Ok(())
}

/// Writes a report, its samples beside it where there are many.
pub(crate) fn write_report(path: &Path, report: &Report) -> Result<(), Failure> {
    let mut report = report.clone();
    if report.samples.len() > SAMPLES_INLINE {
        let name = format!(
            "{}.samples.jsonl",
            path.file_stem()
                .map_or_else(|| "report".into(), |s| s.to_string_lossy())
        );
        let mut lines = Vec::new();
        for sample in &report.samples {
            serde_json::to_writer(&mut lines, sample)?;
            lines.push(b'\n');
        }
        write(&folder_of(path).join(&name), &lines)?;
        report.samples = Vec::new();
        report.samples_file = Some(name);
    }
    let mut text = serde_json::to_vec_pretty(&report)?;
    text.push(b'\n');
    write(path, &text)
}

/// Reads a report back, with the samples beside it.
pub(crate) fn read_report(path: &Path) -> Result<Report, Failure> {
    let told = |e: &dyn std::fmt::Display| Failure(format!("{}: {e}", path.display()));
    let text = fs::read(path).map_err(|e| told(&e))?;
    let mut report: Report =
        serde_json::from_slice(&text).map_err(|e| told(&format!("not a proofmark report: {e}")))?;
    if let Some(name) = report.samples_file.take() {
        let beside = folder_of(path).join(Path::new(&name).file_name().unwrap_or_default());
        let lines = fs::read_to_string(&beside)
            .map_err(|e| Failure(format!("{}: {e}", beside.display())))?;
        report.samples = lines
            .lines()
            .enumerate()
            .map(|(i, line)| {
                serde_json::from_str::<SampleRecord>(line)
                    .map_err(|e| Failure(format!("{}: line {}: {e}", beside.display(), i + 1)))
            })
            .collect::<Result<_, _>>()?;
    }
    Ok(report)
}
