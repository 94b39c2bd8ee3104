//! Probes of a model, with data and a model as users name them.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use proofmark_backdoor::probe::calibrate::{self, Role, Row};
use proofmark_backdoor::probe::report::ProbeReport;
use proofmark_backdoor::probe::{
    Entry, Examined, Patch, Probe, Subject, Watch, chosen, examine, verdict,
};
use proofmark_data::Dataset;
use proofmark_domain::{Bounds, Seed};
use proofmark_engine::Samples;
use proofmark_model::WhiteBox;

use crate::{ModelSource, OpenModel, RunError, samples};

/// File in a folder of clean models that keeps their statistics.
pub const REFERENCE_TABLE: &str = "proofmark-null.csv";

/// Returns the samples of a data set in the order of a model's inputs, for its probes.
pub fn clean_samples(data: &Dataset, model: &dyn WhiteBox) -> Result<Samples, RunError> {
    samples::samples(data, model.signature())
}

/// Run of probes on a model.
#[non_exhaustive]
pub struct ProbePlan<'a> {
    /// The model as a user names it.
    pub source: ModelSource,
    /// Clean samples; `None` runs the probes that need none.
    pub data: Option<&'a Dataset>,
    /// Bounds of the input, for an ONNX file without data.
    pub bounds: Option<Bounds>,
    /// Ids of probes; all if empty. One that is named and cannot run is an error.
    pub probes: Vec<String>,
    /// Layer that probes of features read.
    pub layer: Option<String>,
    /// Folder of clean ONNX models, read as the model itself is; their statistics are kept there in
    /// [`REFERENCE_TABLE`] and read again by the next run.
    pub reference: Option<PathBuf>,
    /// Level at which a model is flagged, above 0 and below 1.
    pub level: f64,
    /// Seed of every random number.
    pub seed: Seed,
    /// Points in one request.
    pub batch: usize,
    /// Device.
    pub device: Device,
    /// Follows the run and may stop it.
    pub watch: &'a dyn Watch,
    /// Told what begins: a probe's id, or the name of a clean model.
    pub begin: &'a dyn Fn(&str),
    /// Seconds since some moment.
    pub clock: &'a dyn Fn() -> f64,
}

impl std::fmt::Debug for ProbePlan<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProbePlan")
            .field("source", &self.source)
            .field("probes", &self.probes)
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}

/// Result of probes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProbeRun {
    /// The report.
    pub report: ProbeReport,
    /// Reconstructed triggers, with the ids of the probes that found them.
    pub triggers: Vec<(&'static str, Patch)>,
    /// Shape of a sample.
    pub shape: Vec<usize>,
    /// Whether it was stopped before everything was done.
    pub stopped: bool,
    /// Remarks for the user.
    pub notes: Vec<String>,
}

type Probes = [(&'static Entry, Box<dyn Probe>)];

impl<'a> ProbePlan<'a> {
    /// A plan with the usual settings: all probes, level .02, no clock.
    pub fn new(source: ModelSource, device: &Device, watch: &'a dyn Watch) -> Self {
        Self {
            source,
            data: None,
            bounds: None,
            probes: Vec::new(),
            layer: None,
            reference: None,
            level: 0.02,
            seed: Seed(0),
            batch: Subject::BATCH,
            device: device.clone(),
            watch,
            begin: &|_| {},
            clock: &|| 0.0,
        }
    }

    /// Runs the probes, compares them with clean models, and judges.
    pub fn run(&self) -> Result<ProbeRun, RunError> {
        if !(self.level > 0.0 && self.level < 1.0) {
            return Err(RunError::Parameter(format!(
                "level {}; expected a number above 0 and below 1",
                self.level
            )));
        }
        let probes = chosen(&self.probes).map_err(|e| parameter(&e))?;
        let opened = self.open(&self.source)?;
        let mut notes = opened.notes.clone();
        let examined = self.examine(&opened, &probes, self.begin)?;
        self.refuse_unfit(&examined)?;
        notes.extend(
            verdict::absent(&examined)
                .into_iter()
                .map(|(id, why)| format!("{id} did not run: {why}")),
        );
        let mut rows = calibrate::shipped().map_err(RunError::Parameter)?;
        if let Some(folder) = &self.reference {
            rows = self.reference(folder, &examined, &probes, &mut notes)?;
        }
        let ruling = verdict::judge(&examined, &rows, self.level);
        let triggers = examined.members.iter().filter_map(|m| {
            let found = m.outcome.as_ref().ok()?;
            Some((m.id, found.trigger.clone()?))
        });
        Ok(ProbeRun {
            triggers: triggers.collect(),
            shape: examined.shape.clone(),
            stopped: examined.is_stopped(),
            report: ProbeReport::new(
                self.source
                    .name
                    .clone()
                    .unwrap_or_else(|| self.source.spec.clone()),
                self.data.map(|d| d.name.clone()),
                self.seed.0,
                &examined,
                ruling,
            ),
            notes,
        })
    }

    fn open(&self, source: &ModelSource) -> Result<OpenModel, RunError> {
        match self.data {
            Some(data) => source.open(data, &self.device),
            None => source.open_without_data(self.bounds.as_ref(), &self.device),
        }
    }

    fn examine(
        &self,
        opened: &OpenModel,
        probes: &Probes,
        begin: &dyn Fn(&str),
    ) -> Result<Examined, RunError> {
        let model = opened.model.as_ref();
        let clean = self.data.map(|d| clean_samples(d, model)).transpose()?;
        let mut subject = Subject::new(model);
        subject.clean = clean.as_ref();
        subject.seed = self.seed;
        subject.layer = self.layer.as_deref();
        subject.batch = self.batch;
        subject.watch = self.watch;
        examine(&subject, probes, self.clock, begin).map_err(|e| parameter(&e))
    }

    /// A probe that the user names must run.
    fn refuse_unfit(&self, examined: &Examined) -> Result<(), RunError> {
        if self.probes.is_empty() || examined.is_stopped() {
            return Ok(());
        }
        let absent = verdict::absent(examined);
        match absent.first() {
            Some((id, why)) => Err(RunError::Parameter(format!(
                "probe `{id}` cannot run: {why}"
            ))),
            None => Ok(()),
        }
    }

    /// Returns the rows of the clean models in a folder: those kept there, and those computed now and then kept.
    fn reference(
        &self,
        folder: &Path,
        examined: &Examined,
        probes: &Probes,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Row>, RunError> {
        let problem = |e: &dyn std::fmt::Display| {
            RunError::Parameter(format!(
                "--reference {}: {e}; expected a folder of clean ONNX models like this one",
                folder.display()
            ))
        };
        let mut models: Vec<PathBuf> = fs::read_dir(folder)
            .map_err(|e| problem(&e))?
            .filter_map(|e| Some(e.ok()?.path()))
            .filter(|p| {
                p.extension()
                    .is_some_and(|e| e.eq_ignore_ascii_case("onnx"))
            })
            .collect();
        models.sort();
        let path = folder.join(REFERENCE_TABLE);
        let mut rows = match fs::read_to_string(&path) {
            Ok(text) => {
                calibrate::read(&path.display().to_string(), &text).map_err(RunError::Parameter)?
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(problem(&e)),
        };
        if models.is_empty() && rows.is_empty() {
            return Err(problem(&"no .onnx file and no table"));
        }
        let wanted: Vec<usize> = (proofmark_backdoor::probe::ALL.iter().enumerate())
            .filter(|(_, e)| probes.iter().any(|p| p.0.meta.id == e.meta.id))
            .map(|(i, _)| i)
            .collect();
        for model in models {
            let name = model
                .file_name()
                .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
            let mut source = self.source.clone();
            source.spec = model.display().to_string();
            source.name = Some(name.clone());
            let opened = self.open(&source)?;
            let sha256 = &opened.model.signature().sha256;
            if *sha256 == examined.sha256 {
                notes.push(format!(
                    "{name} is the model itself and no part of the null"
                ));
                continue;
            }
            // A row without a probe's statistic may come from a run with other probes.
            let kept = rows.iter().position(|r| r.sha256 == *sha256);
            if kept.is_some_and(|k| wanted.iter().any(|i| rows[k].statistics[*i].is_some())) {
                continue;
            }
            if self.watch.stop() {
                notes.push(format!(
                    "stopped before {name}: the null has {} models",
                    rows.len()
                ));
                break;
            }
            let seen = self.examine(&opened, probes, &|id| {
                (self.begin)(&format!("{name}: {id}"));
            })?;
            if seen.is_stopped() {
                notes.push(format!(
                    "stopped at {name}: the null has {} models",
                    rows.len()
                ));
                break;
            }
            let row = Row::of(name, Role::Null, &seen);
            match kept {
                Some(k) => rows[k] = row,
                None => rows.push(row),
            }
            if let Err(e) = keep(&path, &rows) {
                notes.push(format!("{} could not be written: {e}", path.display()));
            }
        }
        Ok(rows)
    }
}

/// Writes a table whole, so that a stop never leaves half a row.
fn keep(path: &Path, rows: &[Row]) -> Result<(), String> {
    let mut text = calibrate::header();
    for row in rows {
        text += &row.line()?;
    }
    let written = proofmark_data::write_whole(path, |file| file.write_all(text.as_bytes()));
    written.map_err(|e| e.to_string())
}

fn parameter(e: &proofmark_backdoor::probe::ProbeError) -> RunError {
    RunError::Parameter(e.to_string())
}
