//! Runs a probe on a training set, compares the classes and ranks the samples.

use proofmark_domain::{SampleId, Seed};

use super::entry::{ClassSplit, TrainingProbe};
use super::null;
use super::report::{ClassResult, Suspect, TRAINING_REPORT_SCHEMA, TrainingReport};
use super::set::FeatureSet;
use crate::probe::input::{ProbeError, Status, require};

/// What is examined.
#[derive(Clone, Copy)]
pub struct TrainingRequest<'a> {
    /// Activations of the set.
    pub set: &'a FeatureSet,
    /// Ids of the samples.
    pub ids: &'a [SampleId],
    /// Level of the status, between 0 and 1: how often a clean set may be called poisoned. 0.02.
    pub level: f64,
    /// Seed of the run.
    pub seed: Seed,
    /// Called with the number of classes that are finished; an answer of false ends the probe.
    pub progress: &'a (dyn Fn(usize) -> bool + Sync),
}

impl std::fmt::Debug for TrainingRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrainingRequest")
            .field("samples", &self.set.len())
            .field("level", &self.level)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// Calls `split` for every class and reports progress.
pub(crate) fn each_class(
    set: &FeatureSet,
    done: &(dyn Fn(usize) -> bool + Sync),
    mut split: impl FnMut(usize) -> ClassSplit,
) -> Result<Vec<ClassSplit>, ProbeError> {
    let mut all = Vec::with_capacity(set.classes());
    for class in 0..set.classes() {
        all.push(split(class));
        if !done(class + 1) {
            return Err(ProbeError::Stopped);
        }
    }
    Ok(all)
}

/// Names the classes of a training set that stand out, and ranks its samples.
///
/// ```
/// use proofmark_backdoor::probe::input::Status;
/// use proofmark_backdoor::probe::training::{self, FeatureSet, TrainingRequest};
/// use proofmark_domain::{SampleId, Seed};
/// // Five classes of 40 samples; 8 samples of class 2 lie far from the others.
/// let value = |i: usize| ((i * 37 + i / 40 * 11) % 101) as f32 / 101.0;
/// let planted = |i: usize| i / 40 == 2 && i % 5 == 0;
/// let values: Vec<f32> = (0..200)
///     .flat_map(|i| [value(i) + if planted(i) { 9.0 } else { 0.0 }, value(3 * i + 1)])
///     .collect();
/// let labels: Vec<usize> = (0..200).map(|i| i / 40).collect();
/// let set = FeatureSet::new("penultimate", &values, &labels, 5)?;
/// let ids: Vec<SampleId> = (0..200).map(SampleId::Row).collect();
/// let probe = training::build("spectral", &Default::default())?;
/// let request = TrainingRequest { set: &set, ids: &ids, level: 0.02, seed: Seed(0), progress: &|_| true };
/// let report = training::examine(probe.as_ref(), &request)?;
/// assert_eq!((report.status, report.target, report.suspected), (Status::Found, Some(2), 8));
/// # Ok::<(), proofmark_backdoor::probe::input::ProbeError>(())
/// ```
pub fn examine(
    probe: &dyn TrainingProbe,
    request: &TrainingRequest<'_>,
) -> Result<TrainingReport, ProbeError> {
    let set = request.set;
    require(
        request.level > 0.0 && request.level < 1.0,
        "training set",
        "level",
        request.level,
        "a number between 0 and 1",
    )?;
    if request.ids.len() != set.len() {
        return Err(ProbeError::samples(
            "training set",
            format!("{} ids for {} samples", request.ids.len(), set.len()),
        ));
    }
    let splits = probe.split(set, request.seed, request.progress)?;
    let with: Vec<(usize, f64)> = splits
        .iter()
        .enumerate()
        .filter_map(|(class, s)| s.statistic.as_ref().ok().map(|v| (class, *v)))
        .collect();
    let statistics: Vec<f64> = with.iter().map(|w| w.1).collect();
    let compared = null::compare(&statistics, probe.meta().resolution);
    let mut classes: Vec<ClassResult> = splits
        .iter()
        .enumerate()
        .map(|(class, s)| ClassResult {
            class,
            n: set.rows(class).len(),
            statistic: s.statistic.as_ref().ok().copied(),
            index: None,
            p_value: None,
            reason: s.statistic.as_ref().err().cloned(),
            suspected: s.suspected.len(),
        })
        .collect();
    let mut reason = None;
    match compared {
        Err(why) => reason = Some(why),
        Ok(compared) => {
            for ((class, _), (index, p)) in with.iter().zip(compared) {
                classes[*class].index = Some(index);
                classes[*class].p_value = Some(p);
            }
        }
    }
    let most = classes
        .iter()
        .filter(|c| c.p_value.is_some())
        .max_by(|a, b| a.index.unwrap_or(0.0).total_cmp(&b.index.unwrap_or(0.0)));
    let p_value = most.and_then(|c| c.p_value);
    let stands_out = |c: &ClassResult| c.p_value.is_some_and(|p| p <= request.level);
    let target = most.filter(|c| stands_out(c)).map(|c| c.class);
    let status = match (p_value, target) {
        (None, _) => Status::CannotTell,
        (_, Some(_)) => Status::Found,
        _ => Status::None,
    };
    let samples = ranked(request, &splits, &classes, &stands_out);
    let suspected = samples.iter().filter(|s| s.suspected).count();
    let meta = probe.meta();
    Ok(TrainingReport {
        schema: TRAINING_REPORT_SCHEMA.to_owned(),
        probe: meta.id.to_owned(),
        version: meta.version,
        parameters: probe.parameters(),
        layer: set.layer().to_owned(),
        status,
        reason,
        level: request.level,
        target,
        p_value,
        n: set.len(),
        suspected,
        share: suspected as f64 / set.len() as f64,
        classes,
        samples,
    })
}

/// Ranks samples: those suspected in classes that stand out, the most unusual class first; then the suspicious parts of
/// the other classes; then the rest. Within each, by suspicion.
fn ranked(
    request: &TrainingRequest<'_>,
    splits: &[ClassSplit],
    classes: &[ClassResult],
    stands_out: &dyn Fn(&ClassResult) -> bool,
) -> Vec<Suspect> {
    let set = request.set;
    let mut all = Vec::with_capacity(set.len());
    for (split, class) in splits.iter().zip(classes) {
        let convicted = stands_out(class);
        for (row, suspicion) in set.rows(class.class).iter().zip(&split.suspicion) {
            let in_part = split.suspected.binary_search(row).is_ok();
            let order = match (convicted, in_part) {
                (true, true) => 0_u8,
                (_, true) => 1,
                (_, false) => 2,
            };
            let index = class.index.unwrap_or(f64::NEG_INFINITY);
            let suspect = Suspect {
                rank: 0,
                row: *row,
                id: request.ids[*row].clone(),
                label: class.class,
                suspicion: *suspicion,
                suspected: order == 0,
            };
            all.push((order, index, suspect));
        }
    }
    all.sort_by(|(order_a, index_a, a), (order_b, index_b, b)| {
        order_a
            .cmp(order_b)
            .then(index_b.total_cmp(index_a))
            .then(b.suspicion.total_cmp(&a.suspicion))
            .then(a.row.cmp(&b.row))
    });
    let place = |(i, (_, _, mut suspect)): (usize, (u8, f64, Suspect))| {
        suspect.rank = i + 1;
        suspect
    };
    all.into_iter().enumerate().map(place).collect()
}
