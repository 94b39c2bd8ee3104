//! Robustness bias: joins an attack report, sample by sample, with the groups of its samples.

use std::collections::{BTreeSet, HashMap};

use proofmark_domain::{Report, RunStatus, SampleRecord};

use crate::metric::Rows;
use crate::table::{Field, Loader, Place};
use crate::{AuditError, Coded, Columns, Options, Outcome, Share, Table, UNKNOWN};

/// The same samples clean and under attack, with their groups.
#[derive(Debug, Clone, PartialEq)]
pub struct Attacked {
    /// Decisions without the attack, and the outcome of each sample.
    pub clean: Table,
    /// Decisions under attack, and the outcome of each sample.
    pub attacked: Table,
    /// Samples left out because the report could not judge them.
    pub unjudged: usize,
    /// Samples left out because their table's filters exclude them, or because their label is the attack's target
    /// class.
    pub filtered: usize,
    /// Name of the attacked model.
    pub model: String,
    /// SHA-256 digest of the model, in hex.
    pub model_sha256: String,
    /// SHA-256 digest of the attacked data set, in hex.
    pub data_sha256: String,
    /// Keys of the runs that count.
    pub runs: Vec<String>,
    /// The class that is a favourable decision, if one is.
    pub favourable: Option<usize>,
    /// Trust codes of the report or run that are not cured.
    pub distrust: Vec<String>,
}

/// Returns the groups that the samples of a report carry, as a table for [`join`]: those named in the options, or all.
pub fn carried(report: &Report, options: &Options) -> Result<Table, AuditError> {
    refuse_unusable(report)?;
    let attributes: BTreeSet<&str> = report
        .samples
        .iter()
        .flat_map(|s| s.groups.keys().map(String::as_str))
        .collect();
    if attributes.is_empty() {
        return Err(AuditError::Report(
            "its samples carry no groups; expected a table that gives them, or an attack on a set with arrays `group_*`"
                .to_owned(),
        ));
    }
    let mut id = "id".to_owned();
    while attributes.contains(id.as_str()) {
        id.push('_');
    }
    let mut names = vec![id.clone()];
    names.extend(attributes.iter().map(|a| (*a).to_owned()));
    let mut options = Options {
        id: Some(id),
        groups_only: true,
        ..options.clone()
    };
    if options.groups.is_empty() {
        options.groups = names[1..].to_vec();
    }
    let mut loader = Loader::new("report", "sample", &names, &options)?;
    for (row, sample) in report.samples.iter().enumerate() {
        let id = sample.id.to_string();
        loader.push(row as u64, |place| {
            let group = || sample.groups.get(&names[place]).map_or("", String::as_str);
            Field::Text(if place == 0 { &id } else { group() }.trim())
        })?;
    }
    loader.finish()
}

/// Returns the class whose prediction is a favourable decision: the one given, or class 1 of two; `None` if there are
/// others, or none.
fn favourable_class(
    report: &Report,
    favourable: Option<usize>,
) -> Result<Option<usize>, AuditError> {
    if let Some(class) = favourable.filter(|c| *c >= report.model.classes) {
        return Err(AuditError::Report(format!(
            "the favourable class {class} is none of its {} classes, counted from 0",
            report.model.classes
        )));
    }
    let outputs = report.model.outputs;
    if let Some(class) = favourable.filter(|_| !outputs.is_classes()) {
        return Err(AuditError::Report(format!(
            "its model's outputs are {outputs}, so no class {class} is favourable; leave it out: outcomes are compared without"
        )));
    }
    let is_binary = outputs.is_classes() && report.model.classes == 2;
    Ok(favourable.or(is_binary.then_some(1)))
}

/// Joins the samples of a report with their groups.
///
/// `groups` holds the attributes, and either ids (`id`) or one row per row of the attacked set, in its order. If a
/// `favourable` class is given, or there are two classes (then class 1 is favourable), both tables have decisions and
/// labels, and every rate can be compared clean and under attack. The outcomes work for any number of classes. If a
/// `run` is given, only that attack counts; otherwise all attacks count except probes.
pub fn join(
    report: &Report,
    groups: &Table,
    favourable: Option<usize>,
    run: Option<&str>,
) -> Result<Attacked, AuditError> {
    refuse_unusable(report)?;
    if let Some(run) = run.filter(|r| report.attacks.iter().all(|a| a.key != **r)) {
        return Err(AuditError::Report(format!(
            "has no run `{run}`{}",
            AuditError::hint(run, report.attacks.iter().map(|a| a.key.as_str()))
        )));
    }
    let favourable = favourable_class(report, favourable)?;
    let places = Places::new(groups);
    let mut rows = Vec::new();
    let mut samples = Vec::new();
    let (mut unjudged, mut filtered) = (0, 0);
    for sample in &report.samples {
        let Place::Row(row) = places.row(sample, groups)? else {
            filtered += 1;
            continue;
        };
        // A targeted attack gains nothing on a sample whose label is already the target class.
        if sample.is_of_target() {
            filtered += 1;
            continue;
        }
        match outcome(report, sample, run) {
            None => unjudged += 1,
            Some(outcome) => {
                rows.push(row);
                samples.push((sample, outcome));
            }
        }
    }
    if samples.is_empty() && unjudged > 0 {
        return Err(AuditError::Report(format!(
            "none of its {unjudged} samples was judged{}; expected at least one",
            run.map_or_else(String::new, |r| format!(" by `{r}`"))
        )));
    }
    let ids: Vec<String> = samples.iter().map(|s| s.0.id.to_string()).collect();
    let build = |pred: &dyn Fn(&SampleRecord) -> Option<usize>| {
        let mut columns = Columns::new(groups.source())
            .filtered(filtered as u64)
            .id(ids.iter().map(String::as_str))
            .outcome(samples.iter().map(|s| s.1));
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
        let mut table = columns.build()?;
        table.origin.clone_from(&groups.origin);
        table.missing.clone_from(&groups.missing);
        table.notes.clone_from(&groups.notes);
        Ok::<Table, AuditError>(table)
    };
    let attacked = |sample: &SampleRecord| match run {
        None => sample.adv_pred.or(sample.clean_pred),
        Some(run) => {
            let outcome = sample.runs.iter().find(|r| r.run == run);
            outcome.and_then(|r| r.adv_pred).or(sample.clean_pred)
        }
    };
    let counted = report.attacks.iter().filter(|a| match run {
        Some(run) => a.key == run,
        None => a.role.counts(),
    });
    // The figures of a single run rest on that run alone.
    let own = report.attacks.iter().filter(|a| run == Some(&*a.key));
    let distrust: BTreeSet<_> = report
        .trust
        .iter()
        .chain(own.flat_map(|a| &a.trust))
        .filter(|t| !t.cured)
        .map(|t| t.code)
        .collect();
    Ok(Attacked {
        clean: build(&|s| s.clean_pred)?,
        attacked: build(&attacked)?,
        unjudged,
        filtered,
        model: report.model.name.clone(),
        model_sha256: report.model.sha256.clone(),
        data_sha256: report.data.sha256.clone(),
        runs: counted.map(|a| a.key.clone()).collect(),
        favourable,
        distrust: distrust.iter().map(ToString::to_string).collect(),
    })
}

/// Refuses a report whose samples are in a separate file that has not been read.
fn refuse_unusable(report: &Report) -> Result<(), AuditError> {
    if report.sampling.is_some() {
        return Err(AuditError::Report(
            "its sampling is sequential: it could end as soon as its requirement was decided, and then the intervals of an audit, \
             which take the number of samples as fixed, do not hold; attack with a fixed number of samples"
                .to_owned(),
        ));
    }
    let elsewhere = report.samples_file.as_ref();
    match elsewhere.filter(|_| report.samples.is_empty()) {
        None => Ok(()),
        Some(file) => Err(AuditError::Report(format!(
            "its samples are in `{file}`; read them into the report first"
        ))),
    }
}

/// Rows of the samples in the table of groups.
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

    fn row(&self, sample: &SampleRecord, groups: &Table) -> Result<Place, AuditError> {
        let id = sample.id.to_string();
        let found = match &self.by_id {
            Some(places) => match places.get(id.as_str()) {
                Some(row) => Some(Place::Row(*row)),
                None => groups.dropped.contains(&id).then_some(Place::LeftOut),
            },
            None => id.parse().ok().and_then(|row| groups.place(row)),
        };
        found.ok_or_else(|| {
            AuditError::Report(format!(
                "sample {id} has no row in {}; expected the groups of every sample, by `id` or by row",
                groups.source()
            ))
        })
    }
}

/// Returns the outcome of a sample. `None` if it could not be judged.
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
            .any(|a| a.key == key && a.role.counts()),
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
            broken if broken.is_broken() => return Some(Outcome::Broken),
            RunStatus::Robust => {}
            _ => open = true,
        }
    }
    (!open).then_some(Outcome::Robust)
}

/// Returns the share of outcomes that satisfy `counted` among those that satisfy `among`.
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
