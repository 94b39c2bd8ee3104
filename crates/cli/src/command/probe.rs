use std::fmt::Write as _;
use std::path::Path;

use proofmark::backdoor::probe::report::{MemberReport, MemberStatus, ProbeReport};
use proofmark::backdoor::probe::{Patch, Watch};
use proofmark::data::ndarray::ArrayD;
use proofmark::data::npz::{self, NpzArray};
use proofmark::data::{self, Dataset, Rows};
use proofmark::domain::Seed;
use proofmark::engine::{Event, Observer as _};
use proofmark::{ProbePlan, ProbeRun, Progress as _};

use crate::args::probe::Probe;
use crate::clock;
use crate::failure::Failure;
use crate::output::{self, Target};
use crate::progress::TerminalProgress;
use crate::signals;

/// Runs `proofmark probe` and returns the exit code.
pub(crate) fn run(args: &Probe, quiet: bool) -> Result<u8, Failure> {
    checked(args)?;
    let (out, save) = written(args)?;
    let data = dataset(args, quiet)?;
    let options = args.reading.read()?;
    let shown = TerminalProgress::counting(quiet, "steps");
    let watch = Watched {
        shown: &shown,
        until: args.time_budget.map(|s| clock::seconds() + s),
    };
    let begin = |what: &str| shown.begin(what, 1);
    let mut source = args.onnx.source(&args.model)?;
    source.preprocess = args.preprocess.preprocess();
    let device = proofmark::device(&args.device)?;
    let mut plan = ProbePlan::new(source, &device, &watch);
    plan.data = data.as_ref();
    plan.bounds = options.bounds;
    plan.probes.clone_from(&args.probes);
    plan.layer.clone_from(&args.layer);
    plan.reference.clone_from(&args.reference);
    plan.level = args.level;
    plan.seed = Seed(args.seed);
    plan.batch = args.batch_size;
    plan.begin = &begin;
    plan.clock = &clock::seconds;
    let ran = plan.run();
    shown.finish();
    let ran = ran?;
    if let Some(target) = &out {
        output::write_text(target, &(serde_json::to_string_pretty(&ran.report)? + "\n"))?;
    }
    let saved = save_trigger(save.as_deref(), &ran)?;
    if !quiet {
        for note in ran.notes.iter().chain(&saved) {
            output::tell_note(note);
        }
        output::tell(table(&ran.report).trim_end());
    }
    if signals::interrupted() {
        return Ok(signals::INTERRUPTED);
    }
    Ok(ran.report.verdict.status.exit_code())
}

fn checked(args: &Probe) -> Result<(), Failure> {
    let at_least_one = [("limit", args.limit), ("batch-size", args.batch_size)];
    if let Some((flag, _)) = at_least_one.iter().find(|(_, n)| *n == 0) {
        return Err(Failure(format!("--{flag} 0; expected at least 1")));
    }
    let positive = |s: f64| s > 0.0 && s.is_finite();
    if let Some(s) = args.time_budget.filter(|s| !positive(*s)) {
        return Err(Failure(format!(
            "--time-budget {s}; expected seconds, above 0"
        )));
    }
    if !(args.level > 0.0 && args.level < 1.0) {
        return Err(Failure(format!(
            "--level {}; expected a number above 0 and below 1",
            args.level
        )));
    }
    Ok(())
}

/// Returns where report and trigger are written; refuses to overwrite what is read.
fn written(args: &Probe) -> Result<(Option<Target>, Option<std::path::PathBuf>), Failure> {
    let target = |flag: &str, path: &Option<std::path::PathBuf>| {
        let path = path.as_deref();
        path.map(|p| output::text_target(flag, p)).transpose()
    };
    let (out, save) = (target("--out", &args.out)?, target("--save", &args.save)?);
    let options = args.reading.read()?;
    output::apart(
        &[("--out", out.as_ref()), ("--save", save.as_ref())],
        || {
            let mut read = output::model_files(&args.model);
            if let Some(data) = &args.data {
                read.extend(output::data_files("--data", data, &options));
            }
            if let Some(folder) = &args.reference {
                read.push(("--reference", folder.clone()));
            }
            read
        },
    )?;
    Ok((out, save.map(|t| t.binary("--save")).transpose()?))
}

fn dataset(args: &Probe, quiet: bool) -> Result<Option<Dataset>, Failure> {
    let Some(spec) = &args.data else {
        return Ok(None);
    };
    let mut options = args.reading.read()?;
    options.select.seed = Seed(args.seed);
    options.select.rows = Rows::Limit(args.limit);
    let data = data::open(spec, &options)?;
    if !quiet {
        for note in &data.read_as.notes {
            output::tell(&format!("note: {}: {note}", data.name));
        }
    }
    Ok(Some(data))
}

/// Shows progress, and stops at a signal or when the time is over.
struct Watched<'a> {
    shown: &'a TerminalProgress,
    until: Option<f64>,
}

impl Watch for Watched<'_> {
    fn step(&self, done: usize, all: usize) {
        self.shown.total(all);
        self.shown.event(Event::Step { active: 1, done });
    }

    fn stop(&self) -> bool {
        signals::interrupted() || self.until.is_some_and(|u| clock::seconds() >= u)
    }
}

/// Writes the trigger of the last probe that found one, and says so.
fn save_trigger(path: Option<&Path>, ran: &ProbeRun) -> Result<Option<String>, Failure> {
    let Some(path) = path else { return Ok(None) };
    let Some((probe, patch)) = ran.triggers.last() else {
        return Ok(Some(
            "--save: no probe reconstructed a trigger, so nothing was written".to_owned(),
        ));
    };
    write_trigger(path, patch, &ran.shape)?;
    Ok(Some(format!(
        "the trigger that {probe} reconstructed is in {}",
        path.display()
    )))
}

fn write_trigger(path: &Path, patch: &Patch, shape: &[usize]) -> Result<(), Failure> {
    let array =
        |values: &[f32], shape: &[usize]| ArrayD::from_shape_vec(shape.to_vec(), values.to_vec());
    let pattern = array(&patch.pattern, shape)?;
    // A mask has a share per pixel.
    let side = match shape {
        [c, h, w] if c * patch.mask.len() == patch.pattern.len() => vec![*h, *w],
        [h, w, c] if c * patch.mask.len() == patch.pattern.len() => vec![*h, *w],
        _ => vec![patch.mask.len()],
    };
    let mask = array(&patch.mask, &side)?;
    let class = ArrayD::from_shape_vec(vec![1], vec![patch.class as i64])?;
    Ok(npz::write(
        path,
        &[
            ("mask", NpzArray::F32(mask.view())),
            ("pattern", NpzArray::F32(pattern.view())),
            ("y", NpzArray::I64(class.view())),
        ],
    )?)
}

/// Returns the verdict and a line per probe.
fn table(report: &ProbeReport) -> String {
    let verdict = &report.verdict;
    let mut text = format!(
        "{:<15} {:>9} {:>8} {:>6} {:>7}\n",
        "probe", "statistic", "p", "class", "seconds"
    );
    for member in &report.members {
        text += &line(member);
    }
    for trigger in report.members.iter().filter_map(|m| m.trigger.as_ref()) {
        let _ = write!(
            text,
            "trigger to class {}: {:.1} of {} positions; moves {:.0} % of the samples it was fitted on",
            trigger.class,
            trigger.size,
            trigger.positions,
            100.0 * trigger.reached
        );
        if let Some(share) = trigger.held_out_success {
            let n = trigger.held_out_samples;
            let _ = write!(text, " and {:.0} % of {n} others", 100.0 * share);
        }
        text += "\n";
    }
    if let Some(rate) = &verdict.false_alarm_rate {
        let _ = writeln!(
            text,
            "false alarms: {:.1} % of {} clean models (95 % interval {:.1} to {:.1} %)",
            100.0 * rate.value,
            rate.models,
            100.0 * rate.ci95[0],
            100.0 * rate.ci95[1]
        );
    }
    text + &format!("{}: {}\n", verdict.status.as_str(), verdict.reason)
}

fn line(member: &MemberReport) -> String {
    let number =
        |v: Option<f64>, digits: usize| v.map_or("-".to_owned(), |v| format!("{v:.digits$}"));
    let class = member.target.map_or("-".to_owned(), |c| c.to_string());
    let status = match member.status {
        MemberStatus::Done => "",
        MemberStatus::Unfit => "  cannot run",
        MemberStatus::Stopped => "  stopped",
    };
    format!(
        "{:<15} {:>9} {:>8} {class:>6} {:>7.1}{status}\n",
        member.id,
        number(member.statistic, 4),
        number(member.p_value, 4),
        member.seconds
    )
}
