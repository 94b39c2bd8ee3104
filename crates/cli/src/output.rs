//! Files, whole or not at all, and the two streams.

use std::fs;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use proofmark::audit::report::AUDIT_SCHEMA;
use proofmark::audit::{AuditReport, render};
use proofmark::data::write_whole;
use proofmark::domain::{Report, SampleRecord};
use proofmark::policy::Record;
use serde::Serialize;

use crate::failure::Failure;

/// Reports above this many samples keep them in a file of their own.
pub(crate) const SAMPLES_INLINE: usize = 10_000;

/// Text for people, on standard error. Where nobody reads it, there is nobody to tell.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// An error, on standard error. It may quote a file: what steers a terminal is not let through, line ends apart.
pub(crate) fn tell_error(message: &str) {
    let lines: Vec<String> = message.lines().map(render::text::plain).collect();
    tell(&format!("error: {}", lines.join("\n")));
}

/// A result, on standard output. A reader that has seen enough (`| head`) is no error.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure(format!("cannot write to standard output: {e}")))
        }
        _ => Ok(()),
    }
}

/// Where the value of an output flag leads. Refused before any work is done for it: its folder must exist and
/// take files, and what is there already must be an ordinary file, as it is replaced (`/dev/null` would be, too).
pub(crate) fn target(flag: &str, path: &Path) -> Result<PathBuf, Failure> {
    let refused = |problem: &str| Failure(format!("{flag} {}: {problem}", path.display()));
    // One file has one name, so that two flags cannot mean the same one.
    let target = fs::canonicalize(path).unwrap_or_else(|_| {
        match (fs::canonicalize(folder_of(path)), path.file_name()) {
            (Ok(folder), Some(name)) => folder.join(name),
            _ => path.to_path_buf(),
        }
    });
    if target.is_dir() {
        return Err(refused("it is a folder; expected the name of a file"));
    }
    if target.exists() && !target.is_file() {
        return Err(refused(
            "it is a device or pipe; expected the name of a file",
        ));
    }
    let folder = folder_of(&target);
    let probe = tempfile::Builder::new()
        .prefix(".proofmark-")
        .tempfile_in(&folder);
    match probe {
        Ok(_) => Ok(target),
        Err(e) => Err(refused(&format!(
            "cannot write to folder {}: {}",
            folder.display(),
            e.kind()
        ))),
    }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Writes a file whole or not at all.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    Ok(write_whole(path, |file| file.write_all(bytes))?)
}

/// Writes a report, its samples beside it where there are many.
pub(crate) fn write_report(path: &Path, report: &Report) -> Result<(), Failure> {
    let mut report = report.clone();
    if report.samples.len() > SAMPLES_INLINE {
        report.samples_file = Some(write_beside(path, &report.samples)?);
        report.samples = Vec::new();
    }
    let mut text = serde_json::to_vec_pretty(&report)?;
    text.push(b'\n');
    write(path, &text)
}

/// Writes samples to a file beside a report, one to a line, and returns its name.
pub(crate) fn write_beside<S: Serialize>(
    path: &Path,
    samples: impl IntoIterator<Item = S>,
) -> Result<String, Failure> {
    let beside = samples_of(path);
    write_whole(&beside, |file| {
        let mut lines = BufWriter::new(file);
        for sample in samples {
            serde_json::to_writer(&mut lines, &sample)?;
            lines.write_all(b"\n")?;
        }
        lines.flush()
    })?;
    let name = beside.file_name().unwrap_or_default();
    Ok(name.to_string_lossy().into_owned())
}

/// Where the samples of a report go if there are too many for it.
pub(crate) fn samples_of(report: &Path) -> PathBuf {
    let stem = report.file_stem();
    let stem = stem.map_or_else(|| "report".into(), |s| s.to_string_lossy());
    folder_of(report).join(format!("{stem}.samples.jsonl"))
}

/// Writes the evidence of one check.
pub(crate) fn write_record(path: &Path, record: &Record) -> Result<(), Failure> {
    match record {
        Record::Attack(report) => write_report(path, report),
        Record::Audit(report) => write_audit(path, report),
    }
}

/// Writes an audit, its rows beside it where there are many.
fn write_audit(path: &Path, report: &AuditReport) -> Result<(), Failure> {
    if report.samples.len() <= SAMPLES_INLINE {
        return write(path, render::json(report).as_bytes());
    }
    let mut report = report.clone();
    report.samples_file = Some(write_beside(path, &report.samples)?);
    report.samples = Vec::new();
    write(path, render::json(&report).as_bytes())
}

/// Reads the evidence of one check back, of the kind that its schema says.
pub(crate) fn read_record(path: &Path) -> Result<Record, Failure> {
    #[derive(serde::Deserialize)]
    struct Head {
        schema: String,
    }
    let text = read(path)?;
    let head: Result<Head, _> = serde_json::from_slice(&text);
    if head.is_ok_and(|h| h.schema == AUDIT_SCHEMA) {
        let report: AuditReport = serde_json::from_slice(&text)
            .map_err(|e| Failure(format!("{}: not a proofmark audit: {e}", path.display())))?;
        return Ok(report.into());
    }
    Ok(read_report(path)?.into())
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|e| {
        Failure(format!(
            "{}: cannot be read: {e}; expected a report",
            path.display()
        ))
    })
}

/// Reads a report back, with the samples beside it.
pub(crate) fn read_report(path: &Path) -> Result<Report, Failure> {
    let told = |e: &dyn std::fmt::Display| Failure(format!("{}: {e}", path.display()));
    let text = read(path)?;
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
