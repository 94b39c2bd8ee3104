use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proofmark::domain::{Shard, Verdict};
use proofmark::policy::render::{self, Document, DocumentKind, Renderer};
use proofmark::policy::{
    Check, DataRef, Evidence, GateReport, Measure, MergeError, ModelRef, NoRecord, PolicyError,
    Record, evidence_file, judge, merge,
};
use proofmark::{Gate, GateError, GateOptions, PreparedGate, RunCheckpoint};

use super::colour;
use crate::args;
use crate::clock;
use crate::failure::Failure;
use crate::output::{self, Target};
use crate::progress::TerminalProgress;
use crate::signals;
use crate::snippet;

/// Runs `proofmark gate` and returns the exit code.
pub(crate) fn run(args: &args::Gate, quiet: bool) -> Result<u8, Failure> {
    let format = args.format.as_deref().map(render::find).transpose();
    let format = format.map_err(Failure)?;
    if let Some(format) = format.filter(|f| !f.renders(DocumentKind::Gate)) {
        let id = format.id();
        return Err(Failure(format!(
            "--format {id}: there is no {id} of a gate report; expected json or table"
        )));
    }
    if args.batch_size == 0 {
        return Err(Failure("--batch-size 0; expected at least 1".into()));
    }
    if let Some(s) = args.time_budget.filter(|s| !(s.is_finite() && *s > 0.0)) {
        return Err(Failure(format!(
            "--time-budget {s}; expected a number of seconds above 0"
        )));
    }
    let file = args.policy.display();
    let source = fs::read(&args.policy).map_err(|e| {
        Failure(format!(
            "{file}: cannot be read: {e}; expected a policy file"
        ))
    })?;
    let wrong = |e: &PolicyError| snippet::failure(&file.to_string(), &source, e);
    let gate = Gate::read(&source, &args.policy).map_err(|e| wrong(&e))?;
    let evidence = if let Some(dir) = &args.from_evidence {
        // The files that the policy names are not opened: they need not exist here.
        let evidence = read_evidence(args, &gate, dir)?;
        keep_place(args, &gate)?;
        if !quiet {
            unpinned(&gate, &evidence);
        }
        evidence
    } else {
        let device = proofmark::device(&args.device)?;
        let ready = gate.prepare(&device).map_err(|e| match e {
            GateError::Policy(e) => wrong(&e),
            e => Failure(format!("{file}: {e}")),
        })?;
        if !quiet {
            for note in ready.notes() {
                output::tell(&format!("note: {note}"));
            }
        }
        keep_place(args, &gate)?;
        measure(args, &gate, &ready, quiet)?
    };
    if signals::interrupted() {
        output::tell(&match &args.out_dir {
            Some(dir) => format!(
                "interrupted: --resume {} reuses the finished checks and continues the one that was running",
                dir.display()
            ),
            None => "interrupted: nothing was written".to_owned(),
        });
        return Ok(signals::INTERRUPTED);
    }
    if args.shard.is_some() {
        return measured_part(&evidence, quiet);
    }
    let report = judge(gate.policy(), evidence, clock::today());
    tell(args, format, &report, quiet)
}

/// Reports the outcome of one shard and returns the exit code; judging waits until all shards are measured.
fn measured_part(evidence: &Evidence, quiet: bool) -> Result<u8, Failure> {
    let mut failed = Vec::new();
    let mut stopped = false;
    for (check, result) in evidence {
        match result {
            Err(NoRecord::Failed(why) | NoRecord::Mismatched(why)) => {
                failed.push(format!("check `{check}`: {why}"));
            }
            Err(NoRecord::Stopped) => stopped = true,
            Ok(_) => {}
        }
    }
    if !failed.is_empty() {
        return Err(Failure(failed.join("\n")));
    }
    if stopped {
        output::tell("stopped before every check had begun; go on with --resume");
        return Ok(Verdict::Inconclusive.exit_code());
    }
    if !quiet {
        output::tell("measured one part; once all are measured, judge them with --from-evidence");
    }
    Ok(0)
}

/// Prints a note for each model and data set without `sha256` in the policy: changes of its file since then go
/// unnoticed.
fn unpinned(gate: &Gate, evidence: &Evidence) {
    let mut noted = BTreeSet::new();
    for check in &gate.policy().checks {
        let named = match (check.measure(), evidence.get(&check.id)) {
            (Measure::Attack(task), Some(Ok(Record::Attack(report)))) => {
                let (model, data) = (&report.model.sha256, &report.data.sha256);
                vec![
                    ("model", task.model.name(), task.model.sha256(), model),
                    ("data", task.data.name(), task.data.sha256(), data),
                ]
            }
            (Measure::Audit(task), Some(Ok(Record::Audit(report)))) => {
                let (data, origin) = (&task.data, report.table.origin.as_ref());
                let found = origin.map(|o| &o.sha256).into_iter();
                found
                    .map(|found| ("data", data.name.as_str(), data.sha256.as_deref(), found))
                    .collect()
            }
            _ => Vec::new(),
        };
        // Shipped models and data have no file that could change.
        let shipped = |name: &&str| {
            proofmark::shipped::NAMES.contains(name) || proofmark::data::SHIPPED.contains(name)
        };
        let unpinned = named
            .into_iter()
            .filter(|(_, name, stated, _)| stated.is_none() && !shipped(name));
        for (what, name, _, found) in unpinned {
            if noted.insert((what, name)) {
                output::tell_note(&format!(
                    "{what} `{name}` was not opened, and the policy states no sha256 for it: a change of the file since the \
                     evidence was measured is not noticed; that was of sha256 = \"{found}\""
                ));
            }
        }
    }
}

/// Creates the folder for evidence, and refuses one where the policy or a file that it names would be overwritten.
fn keep_place(args: &args::Gate, gate: &Gate) -> Result<(), Failure> {
    let Some(dir) = &args.out_dir else {
        return Ok(());
    };
    fs::create_dir_all(dir).map_err(|e| {
        Failure(format!(
            "--out-dir {}: cannot be made: {e}; expected a folder",
            dir.display()
        ))
    })?;
    output::target("--out-dir", &dir.join("gate.json"))?;
    refuse_inputs(args, gate, dir)
}

fn refuse_inputs(args: &args::Gate, gate: &Gate, dir: &Path) -> Result<(), Failure> {
    let folder = gate.folder();
    let mut written = vec![dir.join("gate.json")];
    for check in &gate.policy().checks {
        let evidence = dir.join(file_name(check, args.shard));
        written.extend([
            output::samples_of(&evidence),
            checkpoint_of(&evidence),
            evidence,
        ]);
    }
    let written: Vec<Target> = written.into_iter().map(Target::File).collect();
    let named: Vec<_> = written
        .iter()
        .map(|t| ("--out-dir: the file", Some(t)))
        .collect();
    output::apart(&named, || {
        let mut read = vec![("the policy", args.policy.clone())];
        for check in &gate.policy().checks {
            match check.measure() {
                Measure::Attack(task) => {
                    if let ModelRef::Entry(entry) = &task.model {
                        let path = folder.join(&entry.path);
                        read.extend(output::model_files(&path.display().to_string()));
                    }
                    if let DataRef::Entry(entry) = &task.data {
                        let mut options = (*entry.options).clone();
                        options.labels = entry.options.labels.as_ref().map(|l| folder.join(l));
                        let path = folder.join(&entry.path).display().to_string();
                        read.extend(output::data_files("a data set", &path, &options));
                    }
                }
                Measure::Audit(task) => read.push(("a table", folder.join(&task.data.path))),
            }
        }
        read
    })
}

fn tell(
    args: &args::Gate,
    format: Option<&dyn Renderer>,
    report: &GateReport,
    quiet: bool,
) -> Result<u8, Failure> {
    let document = Document::Gate(report);
    if let Some(dir) = &args.out_dir {
        output::write(&dir.join("gate.json"), render::json(document).as_bytes())?;
    }
    if !quiet {
        output::tell(&render::table(document, colour()));
    }
    if let Some(text) = format.and_then(|f| f.render(document, false)) {
        output::write_text(&Target::Stdout, &text)?;
    }
    Ok(report.verdict.exit_code())
}

fn measure(
    args: &args::Gate,
    gate: &Gate,
    ready: &PreparedGate<'_>,
    quiet: bool,
) -> Result<Evidence, Failure> {
    // A mistyped folder would cause the whole measurement to be repeated.
    if let Some(dir) = args.resume.as_deref().filter(|d| !d.is_dir()) {
        return Err(Failure(format!(
            "--resume {}: is no folder; expected one with evidence",
            dir.display()
        )));
    }
    let shown = TerminalProgress::new(quiet);
    let began = clock::seconds();
    let stop = || {
        signals::interrupted()
            || args
                .time_budget
                .is_some_and(|s| clock::seconds() - began > s)
    };
    let Earlier {
        records,
        checkpoints,
    } = match &args.resume {
        Some(dir) => earlier(args, gate, ready, dir, quiet),
        None => Earlier::default(),
    };
    let unwritten = RefCell::new(None);
    let keep = |written: Result<(), Failure>| {
        if let Err(e) = written {
            unwritten.borrow_mut().get_or_insert(e);
        }
    };
    let place = |id: &str| {
        let check = gate.policy().checks.iter().find(|c| c.id == id)?;
        Some(args.out_dir.as_ref()?.join(file_name(check, args.shard)))
    };
    let stopped = |check: &str, checkpoint: &RunCheckpoint| {
        if let Some(evidence) = place(check) {
            let path = checkpoint_of(&evidence);
            keep(output::write(&path, &checkpoint.to_bytes()));
        }
    };
    let mut options = GateOptions::default();
    options.batch = args.batch_size;
    options.shard = args.shard;
    options.stop = &stop;
    options.resume = &checkpoints;
    options.stopped = &stopped;
    options.clock = &clock::seconds;
    options.progress = &shown;
    let evidence = ready.run(&options, &records, &mut |check, result| {
        let (Some(path), Ok(record)) = (place(check), result) else {
            return;
        };
        // Each check's evidence is written as soon as it is available, so that a later crash loses nothing.
        let finished = gate.finished(check, record);
        if finished || !signals::interrupted() {
            let written = output::write_record(&path, record);
            let done = finished && written.is_ok();
            keep(written);
            if done {
                keep(output::remove(&checkpoint_of(&path)));
            }
        }
    });
    shown.finish();
    match unwritten.take() {
        Some(e) => Err(e),
        None => Ok(evidence),
    }
}

/// Returns the path of the checkpoint of a stopped check, beside its evidence.
fn checkpoint_of(evidence: &Path) -> PathBuf {
    evidence.with_extension("checkpoint")
}

/// Returns the file name of a check's evidence. A check that is not divided has whole evidence in every shard.
fn file_name(check: &Check, shard: Option<Shard>) -> String {
    let id = &check.id;
    match shard.filter(|_| check.measure().is_divided()) {
        None => evidence_file(id),
        Some(Shard { index, count }) => format!("{id}.shard-{index}-of-{count}.json"),
    }
}

/// Evidence and checkpoints of an earlier run, by check.
#[derive(Default)]
struct Earlier {
    records: BTreeMap<String, Record>,
    checkpoints: BTreeMap<String, RunCheckpoint>,
}

/// Reads evidence and checkpoints of an earlier run. A check whose files cannot be read or belong to another run is
/// measured again, with a note.
fn earlier(
    args: &args::Gate,
    gate: &Gate,
    ready: &PreparedGate<'_>,
    dir: &Path,
    quiet: bool,
) -> Earlier {
    let note = |text: &str| {
        if !quiet {
            output::tell_note(text);
        }
    };
    let mut earlier = Earlier::default();
    for check in &gate.policy().checks {
        let id = &check.id;
        let shard = args.shard.filter(|_| check.measure().is_divided());
        let path = dir.join(file_name(check, shard));
        let unusable = if path.exists() {
            let found = output::read_record(&path).map_err(|e| e.0);
            let usable = found.and_then(|record| {
                ready.reusable(id, &record, shard, args.same_device)?;
                Ok(record)
            });
            match usable {
                Ok(record) => {
                    earlier.records.insert(id.clone(), record);
                    continue;
                }
                Err(why) => Some((&path, why)),
            }
        } else {
            None
        };
        let at = checkpoint_of(&path);
        let unusable = if at.exists() {
            match read_checkpoint(args, ready, id, &at) {
                Ok(checkpoint) => {
                    note(&format!("check `{id}` goes on from {}", at.display()));
                    earlier.checkpoints.insert(id.clone(), checkpoint);
                    continue;
                }
                Err(why) => Some((&at, why)),
            }
        } else {
            unusable
        };
        if let Some((path, why)) = unusable {
            note(&format!(
                "check `{id}` is measured again, {} is not taken over: {why}",
                path.display()
            ));
        }
    }
    earlier
}

fn read_checkpoint(
    args: &args::Gate,
    ready: &PreparedGate<'_>,
    check: &str,
    path: &Path,
) -> Result<RunCheckpoint, String> {
    let bytes = fs::read(path).map_err(|e| e.to_string())?;
    let checkpoint = RunCheckpoint::from_bytes(&bytes).map_err(|e| e.to_string())?;
    let mut options = GateOptions::default();
    options.batch = args.batch_size;
    options.shard = args.shard;
    ready.can_resume(check, &checkpoint, &options)?;
    Ok(checkpoint)
}

/// Reads the evidence of every check from a folder, and merges shards. Checks without evidence are left out: judging
/// fails closed.
fn read_evidence(args: &args::Gate, gate: &Gate, dir: &Path) -> Result<Evidence, Failure> {
    let device = if args.same_device {
        Some(proofmark::describe(&proofmark::device(&args.device)?))
    } else {
        None
    };
    let names = |e: std::io::Error| {
        Failure(format!(
            "--from-evidence {}: cannot be read: {e}; expected a folder with evidence",
            dir.display()
        ))
    };
    let mut files: Vec<String> = fs::read_dir(dir)
        .map_err(names)?
        .filter_map(Result::ok)
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    files.sort();
    let mut evidence = Evidence::new();
    for check in &gate.policy().checks {
        let prefix = format!("{}.shard-", check.id);
        let whole = evidence_file(&check.id);
        let parts: Vec<&String> = files
            .iter()
            .filter(|f| {
                f.starts_with(&prefix) && Path::new(f).extension().is_some_and(|e| e == "json")
            })
            .collect();
        let result = if files.contains(&whole) {
            output::read_record(&dir.join(&whole)).map_err(|e| NoRecord::Failed(e.0))
        } else if parts.is_empty() {
            continue;
        } else {
            parts
                .iter()
                .map(|f| output::read_report(&dir.join(f)).map_err(|e| NoRecord::Failed(e.0)))
                .collect::<Result<Vec<_>, _>>()
                .and_then(|parts| {
                    merge(parts).map_err(|e| match e {
                        MergeError::Differs { .. } | MergeError::Plan { .. } => {
                            NoRecord::Mismatched(e.to_string())
                        }
                        _ => NoRecord::Failed(e.to_string()),
                    })
                })
                .map(Record::from)
        };
        let result = result.and_then(|record| match (&device, record) {
            (Some(device), Record::Attack(report)) if report.device != *device => {
                let found = &report.device;
                let why = format!("device is {found}, expected {device}");
                Err(NoRecord::Mismatched(why))
            }
            (_, record) => Ok(record),
        });
        evidence.insert(check.id.clone(), result);
    }
    Ok(evidence)
}
