use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proofmark::data::Options;
use proofmark::domain::{Shard, Verdict};
use proofmark::policy::{
    DataRef, Evidence, GateReport, MergeError, ModelRef, NoRecord, Record, Task, evidence_file,
    judge, merge,
};
use proofmark::{Gate, GateOptions, RunCheckpoint};

use super::{colour, renderer};
use crate::args;
use crate::clock;
use crate::failure::Failure;
use crate::output::{self, Target};
use crate::progress::Shown;
use crate::signals;

/// `proofmark gate`.
pub(crate) fn run(args: &args::Gate, quiet: bool) -> Result<u8, Failure> {
    let format = args.format.as_deref().map(renderer).transpose()?;
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
    let folder = args.policy.parent().unwrap_or(Path::new(""));
    let device = proofmark::device(&args.device)?;
    let gate =
        Gate::prepare(&source, folder, &device).map_err(|e| Failure(format!("{file}: {e}")))?;
    if !quiet {
        for note in gate.notes() {
            output::tell(&format!("note: {note}"));
        }
    }
    let kept = args.from_evidence.as_deref();
    let mut kept = kept.map(|dir| read_evidence(&gate, dir)).transpose()?;
    if let Some(evidence) = &mut kept {
        gate.refuse_stale(evidence, args.same_device);
    }
    if let Some(dir) = &args.out_dir {
        fs::create_dir_all(dir).map_err(|e| {
            Failure(format!(
                "--out-dir {}: cannot be made: {e}; expected a folder",
                dir.display()
            ))
        })?;
        output::target("--out-dir", &dir.join("gate.json"))?;
        refuse_inputs(args, &gate, folder, dir)?;
    }
    let evidence = match kept {
        Some(evidence) => evidence,
        None => measure(args, &gate, quiet)?,
    };
    if signals::interrupted() {
        output::tell(&match &args.out_dir {
            Some(dir) => format!(
                "interrupted: --resume {} takes over the checks that had finished and goes on with the one at work",
                dir.display()
            ),
            None => "interrupted: nothing was written".to_owned(),
        });
        return Ok(signals::INTERRUPTED);
    }
    if args.shard.is_some() {
        let mut failed = Vec::new();
        let mut stopped = false;
        for (check, result) in &evidence {
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
            output::tell("measured one part; when all are there, judge them with --from-evidence");
        }
        return Ok(0);
    }
    let report = judge(gate.policy(), evidence, clock::today());
    tell(args, format, &report, quiet)
}

/// Refuses a folder in which the policy, or what it names, would be written over.
fn refuse_inputs(args: &args::Gate, gate: &Gate, folder: &Path, dir: &Path) -> Result<(), Failure> {
    let mut written = vec![dir.join("gate.json")];
    for check in &gate.policy().checks {
        let whole = matches!(check.task, Task::Audit(_));
        let evidence = dir.join(file_name(&check.id, args.shard, whole));
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
            match &check.task {
                Task::Attack(task) => {
                    if let ModelRef::Entry(entry) = &task.model {
                        let path = folder.join(&entry.path);
                        read.extend(output::model_files(&path.display().to_string()));
                    }
                    if let DataRef::Entry(entry) = &task.data {
                        let options = Options {
                            labels: entry.options.labels.as_ref().map(|l| folder.join(l)),
                            ..(*entry.options).clone()
                        };
                        let path = folder.join(&entry.path).display().to_string();
                        read.extend(output::data_files("a data set", &path, &options));
                    }
                }
                Task::Audit(task) => read.push(("a table", folder.join(&task.data.path))),
            }
        }
        read
    })
}

fn tell(
    args: &args::Gate,
    format: Option<&proofmark::policy::render::Entry>,
    report: &GateReport,
    quiet: bool,
) -> Result<u8, Failure> {
    if let Some(dir) = &args.out_dir {
        output::write(
            &dir.join("gate.json"),
            (renderer("json")?.gate)(report, false).as_bytes(),
        )?;
    }
    if !quiet {
        output::tell(&(renderer("table")?.gate)(report, colour()));
    }
    if let Some(format) = format {
        output::print(&(format.gate)(report, false))?;
    }
    Ok(report.verdict.exit_code())
}

fn measure(args: &args::Gate, gate: &Gate, quiet: bool) -> Result<Evidence, Failure> {
    // A name mistyped would cost the whole measurement again.
    if let Some(dir) = args.resume.as_deref().filter(|d| !d.is_dir()) {
        return Err(Failure(format!(
            "--resume {}: is no folder; expected one with evidence",
            dir.display()
        )));
    }
    let shown = Shown::new(quiet);
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
        Some(dir) => earlier(args, gate, dir, quiet),
        None => Earlier::default(),
    };
    let unwritten = RefCell::new(None);
    let keep = |written: Result<(), Failure>| {
        if let Err(e) = written {
            unwritten.borrow_mut().get_or_insert(e);
        }
    };
    let stopped = |check: &str, checkpoint: &RunCheckpoint| {
        if let Some(dir) = &args.out_dir {
            let path = checkpoint_of(&dir.join(file_name(check, args.shard, false)));
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
    let evidence = gate.run(&options, &records, &mut |check, result| {
        let (Some(dir), Ok(record)) = (&args.out_dir, result) else {
            return;
        };
        // Each check's evidence is kept as soon as it is there: a later crash loses nothing.
        let whole = matches!(record, Record::Audit(_));
        let path = dir.join(file_name(check, args.shard, whole));
        let finished = Gate::finished(record);
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

/// Where a check that was stopped goes on, beside its evidence.
fn checkpoint_of(evidence: &Path) -> PathBuf {
    evidence.with_extension("checkpoint")
}

/// A table is not divided: its evidence is whole whatever the shard.
fn file_name(check: &str, shard: Option<Shard>, whole: bool) -> String {
    match shard.filter(|_| !whole) {
        None => evidence_file(check),
        Some(Shard { index, count }) => format!("{check}.shard-{index}-of-{count}.json"),
    }
}

/// What an earlier run left, by check.
#[derive(Default)]
struct Earlier {
    records: BTreeMap<String, Record>,
    checkpoints: BTreeMap<String, RunCheckpoint>,
}

/// Evidence and checkpoints of an earlier run; what cannot be read or is of another run is measured again, and said to
/// be.
fn earlier(args: &args::Gate, gate: &Gate, dir: &Path, quiet: bool) -> Earlier {
    let note = |text: &str| {
        if !quiet {
            output::tell_note(text);
        }
    };
    let mut earlier = Earlier::default();
    for check in &gate.policy().checks {
        let id = &check.id;
        let whole = matches!(check.task, Task::Audit(_));
        let shard = args.shard.filter(|_| !whole);
        let path = dir.join(file_name(id, shard, whole));
        let unusable = if path.exists() {
            let found = output::read_record(&path).map_err(|e| e.0);
            let usable = found.and_then(|record| {
                gate.reusable(id, &record, shard, args.same_device)?;
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
            match read_checkpoint(args, gate, id, &at) {
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
    gate: &Gate,
    check: &str,
    path: &Path,
) -> Result<RunCheckpoint, String> {
    let bytes = fs::read(path).map_err(|e| e.to_string())?;
    let checkpoint = RunCheckpoint::from_bytes(&bytes).map_err(|e| e.to_string())?;
    let mut options = GateOptions::default();
    options.batch = args.batch_size;
    options.shard = args.shard;
    gate.can_resume(check, &checkpoint, &options)?;
    Ok(checkpoint)
}

/// The evidence of every check in a folder, shards merged. What is not there stays out: judging fails closed.
fn read_evidence(gate: &Gate, dir: &Path) -> Result<Evidence, Failure> {
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
        evidence.insert(check.id.clone(), result);
    }
    Ok(evidence)
}
