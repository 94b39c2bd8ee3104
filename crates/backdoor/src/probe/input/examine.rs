//! Runs a probe on inputs and calibrates its scores on clean samples.

use std::collections::BTreeMap;

use proofmark_domain::{SampleId, Seed};
use proofmark_engine::Samples;
use proofmark_stats::random::{Purpose, Stream, StreamKey, attack_code};
use proofmark_stats::{Conformal, clopper_pearson};

use super::ask::{self, Points};
use super::entry::{Given, InputProbe, Scored, Subject, Tail};
use super::report::{FalseAlarms, INPUT_REPORT_SCHEMA, InputReport, InputResult, Status};
use super::{ProbeError, require};

/// When an input is flagged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision {
    /// Rate of false alarms that the threshold is calibrated to, between 0 and 1; 0.05. Also the level of the status.
    pub level: f64,
    /// A threshold for the score instead of the calibrated one, such as 0.5 of `scale_up`. Its rate of false alarms is
    /// measured on the clean samples.
    pub threshold: Option<f64>,
}

impl Default for Decision {
    fn default() -> Self {
        Self {
            level: 0.05,
            threshold: None,
        }
    }
}

/// What is examined.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The model.
    pub subject: Subject<'a>,
    /// Clean samples; may be empty for a probe that needs none, if a threshold is given.
    pub clean: &'a Samples,
    /// Whether the labels of `clean` are those of the samples. Otherwise they are ignored.
    pub labelled: bool,
    /// The inputs; their labels are ignored.
    pub inputs: &'a Samples,
    /// Ids of the inputs.
    pub ids: &'a [SampleId],
    /// When an input is flagged.
    pub decision: Decision,
    /// Seed of the run.
    pub seed: Seed,
    /// Called with the number of points done so far; an answer of false ends the probe. See [`Request::points`].
    pub progress: &'a (dyn Fn(usize) -> bool + Sync),
}

impl std::fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("subject", &self.subject)
            .field("clean", &self.clean.len())
            .field("inputs", &self.inputs.len())
            .field("decision", &self.decision)
            .finish_non_exhaustive()
    }
}

impl Request<'_> {
    /// Returns the number of points that `probe` gives scores to: all inputs, and the clean samples behind p-values.
    pub fn points(&self, probe: &dyn InputProbe) -> usize {
        let (_, calibration) = self.split(probe);
        calibration.len() + self.inputs.len()
    }

    /// Splits the clean samples into those that the probe compares with and those that p-values come from: halves at
    /// random, by the samples' keys, so that their order changes nothing.
    fn split(&self, probe: &dyn InputProbe) -> (Vec<usize>, Vec<usize>) {
        let mut order: Vec<usize> = (0..self.clean.len()).collect();
        if !probe.meta().reference {
            return (Vec::new(), order);
        }
        let place = |i: &usize| {
            let key = StreamKey {
                attack: attack_code(probe.meta().id),
                ..StreamKey::new(self.seed, self.clean.keys[*i], Purpose::Subset)
            };
            let mut stream = Stream::new(&key);
            (stream.next_u32(), stream.next_u32(), self.clean.keys[*i])
        };
        order.sort_by_key(place);
        let calibration = order.split_off(order.len() / 2);
        (order, calibration)
    }

    fn check(&self) -> Result<(), ProbeError> {
        let signature = self.subject.access.signature();
        require(
            self.decision.level > 0.0 && self.decision.level < 1.0,
            "inputs",
            "level",
            self.decision.level,
            "a number between 0 and 1",
        )?;
        if let Some(threshold) = self.decision.threshold {
            require(
                threshold.is_finite(),
                "inputs",
                "threshold",
                threshold,
                "a finite number",
            )?;
        }
        for (set, samples) in [("inputs", self.inputs), ("clean samples", self.clean)] {
            let wrong = signature.modalities.len() != samples.values.len()
                || signature
                    .modalities
                    .iter()
                    .zip(&samples.values)
                    .any(|(m, v)| v.len() != samples.keys.len() * m.features());
            if wrong || samples.keys.len() != samples.len() {
                return Err(ProbeError::samples(
                    set,
                    format!(
                        "{} samples with {} labels whose values do not fit the inputs of model `{}`",
                        samples.keys.len(),
                        samples.len(),
                        signature.name
                    ),
                ));
            }
            if let Some(at) = (samples.values.iter().flatten()).position(|v| !v.is_finite()) {
                return Err(ProbeError::samples(
                    set,
                    format!("value {at} is not finite; expected finite numbers in data units"),
                ));
            }
        }
        if self.inputs.is_empty() {
            return Err(ProbeError::samples(
                "inputs",
                "there are none; expected at least one input to examine",
            ));
        }
        if self.ids.len() != self.inputs.len() {
            return Err(ProbeError::samples(
                "inputs",
                format!("{} ids for {} inputs", self.ids.len(), self.inputs.len()),
            ));
        }
        if signature.classes < 2 {
            return Err(ProbeError::samples(
                "inputs",
                format!(
                    "model `{}` has a single output; probes of inputs need a class to tell from others",
                    signature.name
                ),
            ));
        }
        Ok(())
    }
}

/// Gives every input a score, a p-value and a verdict.
///
/// What it says about an input does not depend on the other inputs; the status depends on all of them.
pub fn examine(probe: &dyn InputProbe, request: &Request<'_>) -> Result<InputReport, ProbeError> {
    request.check()?;
    let meta = probe.meta();
    let access = request.subject.access;
    access.require(meta.id, meta.needs)?;
    let (reference, calibration) = request.split(probe);
    let mut report = empty(probe, request, reference.len(), calibration.len());
    let threshold = request.decision.threshold;
    if meta.reference && reference.len() < 2 {
        return Ok(report.cannot_tell(format!(
            "{} clean samples; `{}` compares inputs with clean samples: give at least 4, better 100",
            request.clean.len(),
            meta.id
        )));
    }
    let smallest = 1.0 / (calibration.len() as f64 + 1.0);
    if threshold.is_none() && smallest > request.decision.level {
        let needed = (1.0 / request.decision.level - 1e-9).ceil() as usize - 1;
        let each = if meta.reference { 2 } else { 1 };
        return Ok(report.cannot_tell(format!(
            "{} clean samples give no p-value below {smallest:.3}, and the level is {}: give at least {} clean samples, or a threshold",
            request.clean.len(),
            request.decision.level,
            needed * each
        )));
    }
    let mut points = Points {
        values: request.clean.gather(&calibration),
        keys: calibration.iter().map(|i| request.clean.keys[*i]).collect(),
    };
    for (all, values) in points.values.iter_mut().zip(&request.inputs.values) {
        all.extend(values);
    }
    points.keys.extend(&request.inputs.keys);
    let decided = ask::decisions(access.decisions(), &points)?;
    let compared = Samples {
        modalities: request.clean.modalities.clone(),
        values: request.clean.gather(&reference),
        labels: if request.labelled {
            reference.iter().map(|i| request.clean.labels[*i]).collect()
        } else {
            vec![0; reference.len()]
        },
        targets: None,
        keys: reference.iter().map(|i| request.clean.keys[*i]).collect(),
    };
    let scored = probe.scores(&Given {
        subject: request.subject,
        reference: &compared,
        labelled: request.labelled,
        points: &points,
        decided: &decided,
        seed: request.seed,
        progress: request.progress,
    })?;
    let scores = match scored {
        Scored::Unfit(why) => return Ok(report.cannot_tell(why)),
        Scored::Each(scores) => scores,
    };
    let n = calibration.len();
    report.notes.clone_from(&scores.notes);
    let turned: Vec<f64> = scores.each.iter().map(|s| meta.tail.turned(*s)).collect();
    let given: Vec<f64> = turned[..n]
        .iter()
        .copied()
        .filter(|s| s.is_finite())
        .collect();
    if given.len() < n {
        report.notes.push(format!(
            "{} clean samples have no score, because the model's answers are not finite; they are left out",
            n - given.len()
        ));
    }
    report.calibration = given.len();
    let clean = Conformal::new(given);
    let own = &scores.each[..n];
    let level = calibrate(
        &mut report,
        clean.as_ref(),
        (own, scores.extreme),
        threshold,
        meta.tail,
    );
    judge(
        &mut report,
        clean.as_ref().zip(level),
        &scores.each[n..],
        &decided[n..],
        meta.tail,
        clean.as_ref(),
    );
    Ok(report)
}

fn empty(
    probe: &dyn InputProbe,
    request: &Request<'_>,
    reference: usize,
    calibration: usize,
) -> InputReport {
    let meta = probe.meta();
    InputReport {
        schema: INPUT_REPORT_SCHEMA.to_owned(),
        probe: meta.id.to_owned(),
        version: meta.version,
        parameters: probe.parameters(),
        status: Status::CannotTell,
        reason: None,
        p_value: None,
        level: request.decision.level,
        reference,
        calibration,
        tail: meta.tail,
        threshold: None,
        threshold_given: request.decision.threshold.is_some(),
        false_alarm_rate: None,
        n: request.inputs.len(),
        flagged: 0,
        target: None,
        flagged_by_class: BTreeMap::new(),
        notes: Vec::new(),
        inputs: request
            .ids
            .iter()
            .map(|id| InputResult {
                id: id.clone(),
                class: None,
                score: None,
                p_value: None,
                flagged: false,
            })
            .collect(),
    }
}

impl InputReport {
    fn cannot_tell(mut self, why: String) -> Self {
        self.status = Status::CannotTell;
        self.reason = Some(why);
        self
    }
}

/// Largest rate of false alarms that a probe whose scores are often the most suspicious one may have.
const MOST_FALSE: f64 = 0.25;

/// Sets the threshold and its rate of false alarms. Returns the level of the threshold; `None` if nothing can be flagged.
fn calibrate(
    report: &mut InputReport,
    clean: Option<&Conformal>,
    (own, extreme): (&[f64], Option<f64>),
    threshold: Option<f64>,
    tail: Tail,
) -> Option<f64> {
    if let Some(given) = threshold {
        report.threshold = Some(given);
        let clean = clean?;
        let n = clean.n() as u64;
        let beyond = own
            .iter()
            .filter(|s| tail.turned(**s) > tail.turned(given))
            .count() as u64;
        report.false_alarm_rate = Some(FalseAlarms {
            value: beyond as f64 / n as f64,
            ci95: clopper_pearson(beyond, n, 0.95),
        });
        // The level at which conformal p-values flag the same scores.
        return Some((beyond as f64 + 1.0) / (n as f64 + 1.0));
    }
    let clean = clean?;
    let mut level = report.level;
    if let Some(extreme) = extreme {
        let least = clean.p(tail.turned(extreme));
        if least > level {
            let share = 100.0 * (least - clean.smallest_p());
            let text = format!(
                "{share:.0} % of the clean samples already have the most suspicious score there is"
            );
            if least > MOST_FALSE {
                report.reason = Some(format!("{text}: no input can be told from them"));
                return None;
            }
            report.notes.push(format!(
                "{text}: inputs with that score are flagged, and so are as many clean ones, more than the level {level}"
            ));
            level = least;
        }
    }
    report.threshold = clean.threshold(level).map(|t| tail.turned(t));
    let k = (level * (clean.n() as f64 + 1.0) * (1.0 + 1e-12)).floor();
    report.false_alarm_rate = Some(FalseAlarms {
        value: k / (clean.n() as f64 + 1.0),
        ci95: clean.false_alarms(level, 0.95),
    });
    Some(level)
}

/// Flags inputs and judges their number.
fn judge(
    report: &mut InputReport,
    clean: Option<(&Conformal, f64)>,
    scores: &[f64],
    decided: &[Option<usize>],
    tail: Tail,
    calibration: Option<&Conformal>,
) {
    let some = |v: f64| v.is_finite().then_some(v);
    for (i, result) in report.inputs.iter_mut().enumerate() {
        result.class = decided[i];
        result.score = some(scores[i]);
        result.p_value = calibration.and_then(|c| some(c.p(tail.turned(scores[i]))));
        result.flagged = report
            .threshold
            .is_some_and(|t| tail.turned(scores[i]) > tail.turned(t));
        if result.flagged {
            report.flagged += 1;
            if let Some(class) = decided[i] {
                *report.flagged_by_class.entry(class).or_default() += 1;
            }
        }
    }
    report.target = report
        .flagged_by_class
        .iter()
        .find(|(_, n)| 2 * **n > report.flagged)
        .map(|(class, _)| *class);
    let scored = scores.iter().filter(|s| s.is_finite()).count();
    if scored < scores.len() {
        report.notes.push(format!(
            "{} of {} inputs have no score, because the model's answers are not finite; nothing is said about them",
            scores.len() - scored,
            scores.len()
        ));
    }
    if report.reason.is_some() {
        return;
    }
    let Some((clean, level)) = clean else {
        report.reason = Some(
            "without clean samples the rate of false alarms of this threshold is unknown: give some".to_owned(),
        );
        return;
    };
    if scored == 0 {
        report.reason = Some("no input has a score".to_owned());
        return;
    }
    let p = clean.flagged_p(level, report.flagged, scored);
    report.p_value = Some(p);
    if p <= report.level {
        report.status = Status::Found;
        return;
    }
    let enough = |flagged: &usize| clean.flagged_p(level, *flagged, scored) <= report.level;
    match (1..=scored).find(enough) {
        Some(least) => {
            report.status = Status::None;
            if least > 1 {
                report.notes.push(format!(
                    "{} of {scored} inputs are flagged; it takes {least} to tell them from chance",
                    report.flagged
                ));
            }
        }
        None => {
            report.reason = Some(format!(
                "{scored} inputs and {} clean samples cannot tell a trigger from chance at level {}: even if all inputs were flagged, chance would explain it; give more of either",
                clean.n(),
                report.level
            ));
        }
    }
}
