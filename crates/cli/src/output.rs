//! Output: files written whole or not at all, standard output and standard error.

use std::fs;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use proofmark::audit::AuditReport;
use proofmark::audit::render::text::plain;
use proofmark::audit::report::AUDIT_SCHEMA;
use proofmark::data::{self, Options, write_whole};
use proofmark::domain::{Report, SampleRecord};
use proofmark::onnx::OnnxFile;
use proofmark::policy::Record;
use proofmark::policy::render::{self, Document};
use serde::Serialize;

use crate::failure::Failure;

/// Maximum number of samples inside a report; larger reports keep them in a separate file.
pub(crate) const SAMPLES_INLINE: usize = 10_000;

/// Prints text for people to standard error. Write errors are ignored: there is nowhere to report them.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints an error to standard error. It may quote a file, so control characters other than newlines are replaced.
pub(crate) fn tell_error(message: &str) {
    tell(&format!("error: {}", printable(message)));
}

/// Prints a note to standard error, with control characters replaced as in an error.
pub(crate) fn tell_note(message: &str) {
    tell(&format!("note: {}", printable(message)));
}

pub(crate) fn printable(message: &str) -> String {
    let lines: Vec<String> = message.lines().map(plain).collect();
    lines.join("\n")
}

/// Prints a result to standard output. A reader that closes the pipe early (`| head`) is not an error.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure(format!("cannot write to standard output: {e}")))
        }
        _ => Ok(()),
    }
}

/// Destination of an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// `-`: standard output.
    Stdout,
    File(PathBuf),
}

impl Target {
    /// Returns the file; `None` for standard output.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::Stdout => None,
            Self::File(path) => Some(path),
        }
    }

    /// Returns the file of an output that is not text; an error for standard output.
    pub(crate) fn binary(self, flag: &str) -> Result<PathBuf, Failure> {
        match self {
            Self::File(path) => Ok(path),
            Self::Stdout => Err(Failure(format!(
                "{flag} -: an .npz is no text; expected the name of a file"
            ))),
        }
    }
}

/// Resolves the value of an output flag: standard output for `-`, else a file as [`target`] resolves it.
pub(crate) fn text_target(flag: &str, path: &Path) -> Result<Target, Failure> {
    if path == Path::new("-") {
        return Ok(Target::Stdout);
    }
    target(flag, path).map(Target::File)
}

/// Input files, each with the flag that names it or a description.
pub(crate) type Inputs = Vec<(&'static str, PathBuf)>;

/// Refuses two outputs with the same destination, and an output that would overwrite an input. A folder that is read
/// stands for every file inside it. `read` is called only if an output file already exists.
pub(crate) fn apart(
    written: &[(&str, Option<&Target>)],
    read: impl FnOnce() -> Inputs,
) -> Result<(), Failure> {
    let written: Vec<(&str, &Target)> = written
        .iter()
        .filter_map(|(f, t)| Some((*f, (*t)?)))
        .collect();
    for (at, (flag, target)) in written.iter().enumerate() {
        if let Some((other, _)) = written[..at].iter().find(|w| w.1 == *target) {
            let place = match target {
                Target::Stdout => "standard output".to_owned(),
                Target::File(path) => path.display().to_string(),
            };
            return Err(Failure(format!(
                "{other} and {flag} are both {place}; expected two places"
            )));
        }
    }
    let files = written.iter().filter_map(|(f, t)| Some((f, t.file()?)));
    let there: Vec<_> = files.filter(|(_, target)| target.exists()).collect();
    if there.is_empty() {
        return Ok(());
    }
    let read = read();
    for (flag, target) in there {
        if let Some((what, _)) = read.iter().find(|(_, from)| is_within(target, from)) {
            return Err(Failure(format!(
                "{flag} {}: {what} would be written over; expected another file",
                target.display()
            )));
        }
    }
    Ok(())
}

/// Whether `file` is `other`, under whatever name, or lies inside it.
fn is_within(file: &Path, other: &Path) -> bool {
    let (Ok(a), Ok(b)) = (file.canonicalize(), other.canonicalize()) else {
        return false;
    };
    a == b || b.is_dir() && a.starts_with(&b) || is_same_inode(&a, &b)
}

#[cfg(unix)]
fn is_same_inode(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_same_inode(_: &Path, _: &Path) -> bool {
    false
}

/// Returns the files of a model: the ONNX file and its external data; none for a shipped model.
pub(crate) fn model_files(spec: &str) -> Inputs {
    let path = PathBuf::from(spec);
    if !path.is_file() {
        return Vec::new();
    }
    let external = OnnxFile::open(&path).map_or_else(|_| Vec::new(), |f| f.external_files());
    let external = external
        .into_iter()
        .map(|f| ("the model's external data", f));
    std::iter::once(("the model", path))
        .chain(external)
        .collect()
}

/// Returns the files of a data set, including each image of a folder, since each may be a link; none for a shipped set.
pub(crate) fn data_files(what: &'static str, spec: &str, options: &Options) -> Inputs {
    let files = data::files(spec, options).into_iter();
    files.map(|f| (what, f)).collect()
}

/// Resolves the value of an output flag. Refuses a bad path before any work is done: its folder must exist and be
/// writable, and an existing path must be an ordinary file, because it is replaced (`/dev/null` would be, too).
pub(crate) fn target(flag: &str, path: &Path) -> Result<PathBuf, Failure> {
    let refused = |problem: &str| Failure(format!("{flag} {}: {problem}", path.display()));
    // The canonical path shows when two flags name the same file.
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

/// Removes a file if it exists.
pub(crate) fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Failure(format!(
            "{}: cannot be removed: {e}",
            path.display()
        ))),
        _ => Ok(()),
    }
}

/// Writes text that ends with a newline to its destination.
pub(crate) fn write_text(target: &Target, text: &str) -> Result<(), Failure> {
    match target {
        Target::File(path) => write(path, text.as_bytes()),
        Target::Stdout => print(text.strip_suffix('\n').unwrap_or(text)),
    }
}

/// Writes a report to its destination; if a file gets many samples, they are written beside it.
pub(crate) fn write_report_to(target: &Target, report: &Report) -> Result<(), Failure> {
    match target {
        Target::File(path) => write_report(path, report),
        Target::Stdout => write_text(target, &render::json(Document::Attack(report))),
    }
}

/// Writes a report; if it has many samples, they are written beside it.
pub(crate) fn write_report(path: &Path, report: &Report) -> Result<(), Failure> {
    let mut report = report.clone();
    if report.samples.len() > SAMPLES_INLINE {
        report.samples_file = Some(write_beside(path, &report.samples)?);
        report.samples = Vec::new();
    }
    write(path, render::json(Document::Attack(&report)).as_bytes())
}

/// Writes samples to a file beside a report, one per line, and returns the file's name.
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

/// Returns the path of the samples file beside a report.
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

/// Writes an audit; if it has many rows, they are written beside it.
fn write_audit(path: &Path, report: &AuditReport) -> Result<(), Failure> {
    if report.samples.len() <= SAMPLES_INLINE {
        return write(path, render::json(Document::Audit(report)).as_bytes());
    }
    let mut report = report.clone();
    report.samples_file = Some(write_beside(path, &report.samples)?);
    report.samples = Vec::new();
    write(path, render::json(Document::Audit(&report)).as_bytes())
}

/// Reads the evidence of one check; its schema determines the kind.
pub(crate) fn read_record(path: &Path) -> Result<Record, Failure> {
    #[derive(serde::Deserialize)]
    struct Head {
        schema: String,
    }
    let text = read(path)?;
    let head: Result<Head, _> = serde_json::from_slice(&text);
    let schema = head.map_or_else(|_| String::new(), |h| h.schema);
    if schema.starts_with("proofmark/audit/") && schema != AUDIT_SCHEMA {
        return Err(Failure(format!(
            "{}: is an audit of schema {schema}; this version reads {AUDIT_SCHEMA}: audit the table again",
            path.display()
        )));
    }
    if schema == AUDIT_SCHEMA {
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

/// Reads a report and the samples beside it.
pub(crate) fn read_report(path: &Path) -> Result<Report, Failure> {
    let failure = |e: &dyn std::fmt::Display| Failure(format!("{}: {e}", path.display()));
    let text = read(path)?;
    let mut report: Report = serde_json::from_slice(&text)
        .map_err(|e| failure(&format!("not a proofmark report: {e}")))?;
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
