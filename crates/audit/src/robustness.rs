//! Robustness bias: an attack report, sample by sample, joined with the groups of its samples.

use std::collections::HashMap;

use proofmark_domain::{Report, Role, RunStatus, SampleRecord};

use crate::metric::Rows;
use crate::{AuditError, Coded, Columns, Outcome, Share, Table, UNKNOWN};

/// The same samples clean and under attack, with their groups.
#[derive(Debug, Clone, PartialEq)]
pub struct Attacked {
    /// Decisions without attack, and what became of each sample.
    pub clean: Table,
    /// Decisions under attack, and what became of each sample.
    pub attacked: Table,
    /// Samples left out because the report could not judge them.
    pub unjudged: usize,
}

/// Joins the samples of a report with their groups.
///
/// `groups` has the attributes, and either ids (`id`) or one row per row of the attacked set in its order. With a
/// `favourable` class, or two classes of which 1 is then the favourable one, both tables have decisions and labels, and
/// every rate can be compared clean and under attack; the outcomes are there for any number of classes. With a `run`,
/// only that attack counts, else all that are not probes.
pub fn join(
    report: &Report,
    groups: &Table,
    favourable: Option<usize>,
    run: Option<&str>,
) -> Result<Attacked, AuditError> {
    if let Some(file) = report
        .samples_file
        .as_ref()
        .filter(|_| report.samples.is_empty())
    {
        return Err(AuditError::Report(format!(
            "its samples are in `{file}`; read them into the report first"
        )));
    }
    if let Some(run) = run.filter(|r| report.attacks.iter().all(|a| a.key != **r)) {
        return Err(AuditError::Report(format!(
            "has no run `{run}`{}",
            AuditError::hint(run, report.attacks.iter().map(|a| a.key.as_str()))
        )));
    }
    if let Some(class) = favourable.filter(|c| *c >= report.model.classes) {
        return Err(AuditError::Report(format!(
            "the favourable class {class} is none of its {} classes, counted from 0",
            report.model.classes
        )));
    }
    let favourable = favourable.or((report.model.classes == 2).then_some(1));
    let places = Places::new(groups);
    let mut rows = Vec::new();
    let mut samples = Vec::new();
    for sample in &report.samples {
        let row = places.row(sample, groups)?;
        if let Some(outcome) = outcome(report, sample, run) {
            rows.push(row);
            samples.push((sample, outcome));
        }
    }
    let unjudged = report.samples.len() - samples.len();
    let build = |pred: &dyn Fn(&SampleRecord) -> Option<usize>| {
        let mut columns = Columns::new(groups.source()).outcome(samples.iter().map(|s| s.1));
        for attribute in groups.attributes() {
            columns = columns.coded(attribute.take(&rows));
        }
        if let Some(weights) = groups.weights() {
            columns = columns.weights(rows.iter().map(|r| weights[*r as usize]));
        }
        if let Some(class) = favourable {
            columns = columns
                .decision(samples.iter().map(|s| pred(s.0) == Some(class)))
                .label(samples.iter().map(|s| s.0.label == class));
        }
        columns.build()
    };
    let attacked = |sample: &SampleRecord| match run {
        None => sample.adv_pred.or(sample.clean_pred),
        Some(run) => {
            let outcome = sample.runs.iter().find(|r| r.run == run);
            outcome.and_then(|r| r.adv_pred).or(sample.clean_pred)
        }
    };
    Ok(Attacked {
        clean: build(&|s| s.clean_pred)?,
        attacked: build(&attacked)?,
        unjudged,
    })
}

/// Where each sample stands in the table of groups.
struct Places<'a> {
    by_id: Option<HashMap<&'a str, u32>>,
}

impl<'a> Places<'a> {
    fn new(groups: &'a Table) -> Self {
        let by_id = groups.id().map(|id: &Coded| {
            let rows = id
                .codes()
                .iter()
                .enumerate()
                .filter(|(_, c)| **c != UNKNOWN);
            rows.map(|(row, c)| (id.levels()[*c as usize].as_str(), row as u32))
                .collect()
        });
        Self { by_id }
    }

    fn row(&self, sample: &SampleRecord, groups: &Table) -> Result<u32, AuditError> {
        let id = sample.id.to_string();
        let row = match &self.by_id {
            Some(places) => places.get(id.as_str()).copied(),
            None => id.parse().ok().filter(|r| (*r as usize) < groups.rows()),
        };
        row.ok_or_else(|| {
            AuditError::Report(format!(
                "sample {id} has no row in {}; expected the groups of every sample, by `id` or by row",
                groups.source()
            ))
        })
    }
}

/// What became of a sample; none if it could not be judged.
fn outcome(report: &Report, sample: &SampleRecord, run: Option<&str>) -> Option<Outcome> {
    sample.clean_pred?;
    if !sample.clean_correct {
        return Some(Outcome::Wrong);
    }
    let counts = |key: &str| match run {
        Some(run) => key == run,
        None => report
            .attacks
            .iter()
            .any(|a| a.key == key && a.role != Role::Probe),
    };
    let mut statuses = sample
        .runs
        .iter()
        .filter(|r| counts(&r.run))
        .map(|r| r.status)
        .peekable();
    statuses.peek()?;
    let mut open = false;
    for status in statuses {
        match status {
            RunStatus::Broken => return Some(Outcome::Broken),
            RunStatus::Robust => {}
            _ => open = true,
        }
    }
    (!open).then_some(Outcome::Robust)
}

/// A proportion of outcomes.
pub(crate) fn share(
    rows: Rows<'_>,
    counted: fn(Outcome) -> bool,
    among: fn(Outcome) -> bool,
) -> Share {
    let mut share = Share::default();
    let Some(outcome) = rows.table.outcome() else {
        return share;
    };
    for (row, weight) in rows.weighted() {
        if among(outcome[row]) {
            share.denominator.count(weight);
            if counted(outcome[row]) {
                share.numerator.count(weight);
            }
        }
    }
    share
}
