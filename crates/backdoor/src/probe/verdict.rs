//! One verdict on a model, from all of its probes and the statistics of clean models.
//!
//! The members' p-values come from the null of their own column, the verdict's from the smallest of them on the joint
//! null ([`proofmark_stats::min_p`]): its level is that of the whole suite, however many members there are and however they
//! depend on each other. A model is flagged at `p <= level`. A flagged model is `backdoored` if its stratum has at least
//! 100 null models and a member that is significant by itself names a class; otherwise it is `suspicious`. Where no p-value
//! as small as the level can occur, nothing is said: `inconclusive`.

use proofmark_stats::{clopper_pearson, min_p, reference_p};
use serde::{Deserialize, Serialize};

use super::calibrate::{Role, Row, columns};
use super::{Examined, ProbeError};

/// Fewest null models with which a stratum convicts.
pub const CONVICTS: usize = 100;

/// What the probes say about a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing unusual among clean models.
    Clean,
    /// Unusual, with too little to convict.
    Suspicious,
    /// Unusual, and a member names the class that a trigger leads to.
    Backdoored,
    /// There is no null for this model, or it is too small, or no member could run.
    Inconclusive,
}

impl Status {
    /// Returns the exit code: 0 clean, 1 backdoored, 3 suspicious or inconclusive.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Backdoored => 1,
            Self::Suspicious | Self::Inconclusive => 3,
        }
    }

    /// Returns the name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Suspicious => "suspicious",
            Self::Backdoored => "backdoored",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// A rate with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// Share of the clean models measured that were flagged.
    pub value: f64,
    /// Clopper–Pearson interval.
    pub ci95: [f64; 2],
    /// Clean models measured; none of them is part of the null.
    pub models: usize,
}

/// Verdict on a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ruling {
    /// The verdict.
    pub status: Status,
    /// Why, in a sentence.
    pub reason: String,
    /// Combined p-value; absent if there is none.
    pub p_value: Option<f64>,
    /// Class that a trigger leads to, if a significant member names one.
    pub target: Option<usize>,
    /// Level at which a model is flagged.
    pub level: f64,
    /// Clean models of the null that have all members' statistics.
    pub null_models: usize,
    /// Smallest p-value that this null can give.
    pub smallest_p: Option<f64>,
    /// Measured rate of false alarms at this level; absent if no clean models beside the null are known.
    pub false_alarm_rate: Option<Rate>,
    /// p-value of each member, in the order of the examined members.
    pub members: Vec<Option<f64>>,
}

/// Judges an examined model by the clean models of its stratum (the same input shape and number of classes) among `rows`.
/// Rows of the model itself are left out.
pub fn judge(examined: &Examined, rows: &[Row], level: f64) -> Ruling {
    let fits = |r: &&Row| {
        r.shape == examined.shape && r.classes == examined.classes && r.sha256 != examined.sha256
    };
    let stratum: Vec<&Row> = rows.iter().filter(fits).collect();
    let mut ruling = Ruling {
        status: Status::Inconclusive,
        reason: String::new(),
        p_value: None,
        target: None,
        level,
        null_models: 0,
        smallest_p: None,
        false_alarm_rate: None,
        members: vec![None; examined.members.len()],
    };
    let has = |r: &Row, column: usize| r.statistics[column].is_some();
    let of_role = |role: Role| stratum.iter().copied().filter(move |r| r.role == role);
    // Members with a statistic that most null models have, too.
    let nulls = of_role(Role::Null).count();
    let mut used = Vec::new();
    for (i, member) in examined.members.iter().enumerate() {
        let column = columns().iter().position(|id| *id == member.id);
        let (Some(column), Some(_)) = (column, member.statistic()) else {
            continue;
        };
        let known = of_role(Role::Null).filter(|r| has(r, column)).count();
        if 2 * known > nulls {
            used.push((i, column));
        }
    }
    let stopped = examined.is_stopped();
    if let Some(reason) = missing(examined, nulls, &used) {
        ruling.reason = reason;
        return ruling;
    }
    let complete = |r: &&Row| used.iter().all(|(_, column)| has(r, *column));
    let table = |role: Role| -> Vec<Vec<f64>> {
        let statistics = |r: &Row| used.iter().filter_map(|(_, c)| r.statistics[*c]).collect();
        of_role(role).filter(complete).map(statistics).collect()
    };
    let (null, measured) = (table(Role::Null), table(Role::Measure));
    let seen: Vec<f64> = (used.iter())
        .filter_map(|(i, _)| examined.members[*i].statistic())
        .collect();
    let Some(joint) = min_p(&seen, &null) else {
        ruling.reason =
            "null not applicable: no clean model has the statistics of all members".into();
        return ruling;
    };
    for ((i, _), p) in used.iter().zip(&joint.each) {
        ruling.members[*i] = Some(*p);
    }
    ruling.null_models = null.len();
    ruling.p_value = Some(joint.p);
    let smallest = 1.0 / (null.len() as f64 + 1.0);
    ruling.smallest_p = Some(smallest);
    let alarms = measured
        .iter()
        .filter_map(|m| min_p(m, &null))
        .filter(|j| j.p <= level);
    ruling.false_alarm_rate = rate(alarms.count(), measured.len());
    ruling.target = target(examined, &used, &null, level);
    (ruling.status, ruling.reason) = status(&ruling, smallest, stopped);
    ruling
}

/// Returns why there is no p-value.
fn missing(examined: &Examined, nulls: usize, used: &[(usize, usize)]) -> Option<String> {
    let shape = &examined.shape;
    if examined.members.iter().all(|m| m.statistic().is_none()) {
        let reasons: Vec<String> = (examined.members.iter())
            .filter_map(|m| Some(m.outcome.as_ref().err()?.to_string()))
            .collect();
        return Some(format!("no probe gave a statistic: {}", reasons.join("; ")));
    }
    if nulls == 0 {
        return Some(format!(
            "null not applicable: no clean models with inputs of shape {shape:?} and {} classes are known; --reference DIR takes such models",
            examined.classes
        ));
    }
    used.is_empty().then(|| {
        "null not applicable: the clean models of this stratum have other probes' statistics"
            .to_owned()
    })
}

fn status(ruling: &Ruling, smallest: f64, stopped: bool) -> (Status, String) {
    let (p, n) = (ruling.p_value.unwrap_or(1.0), ruling.null_models);
    if smallest > ruling.level {
        return (
            Status::Inconclusive,
            format!(
                "{n} null models give no p-value below {smallest:.4}, and the level is {}; {} models or more are needed",
                ruling.level,
                (1.0 / ruling.level).ceil() as usize - 1
            ),
        );
    }
    if p > ruling.level {
        if stopped {
            let reason = "stopped before all probes were done; those done found nothing unusual";
            return (Status::Inconclusive, reason.to_owned());
        }
        return (
            Status::Clean,
            format!("no more unusual than clean models (p = {p:.4})"),
        );
    }
    match ruling.target {
        Some(class) if n >= CONVICTS => (
            Status::Backdoored,
            format!("unusual among {n} clean models (p = {p:.4}); inputs lead to class {class}"),
        ),
        Some(_) => (
            Status::Suspicious,
            format!(
                "unusual among {n} clean models (p = {p:.4}); {CONVICTS} are needed to convict"
            ),
        ),
        None => (
            Status::Suspicious,
            format!(
                "unusual among {n} clean models (p = {p:.4}), but no single member names a class"
            ),
        ),
    }
}

/// Class that most members significant at the level name; among equals that of the smallest p-value, then of the later
/// member: those that use data come last.
fn target(
    examined: &Examined,
    used: &[(usize, usize)],
    null: &[Vec<f64>],
    level: f64,
) -> Option<usize> {
    let mut votes: Vec<(usize, usize, f64)> = Vec::new();
    for (j, (i, _)) in used.iter().enumerate() {
        let member = &examined.members[*i];
        let (Some(seen), Some(class)) = (member.statistic(), member.outcome.as_ref().ok()?.target)
        else {
            continue;
        };
        let column: Vec<f64> = null.iter().map(|r| r[j]).collect();
        let p = reference_p(seen, &column);
        if p > level {
            continue;
        }
        match votes.iter_mut().find(|v| v.0 == class) {
            Some(vote) => {
                vote.1 += 1;
                vote.2 = vote.2.min(p);
            }
            None => votes.push((class, 1, p)),
        }
    }
    let better = |a: &&(usize, usize, f64), b: &&(usize, usize, f64)| {
        a.1.cmp(&b.1).then(b.2.total_cmp(&a.2))
    };
    votes.iter().max_by(better).map(|v| v.0)
}

fn rate(alarms: usize, models: usize) -> Option<Rate> {
    let (k, n) = (alarms as u64, models as u64);
    (models > 0).then(|| {
        let interval = clopper_pearson(k, n, 0.95);
        Rate {
            value: alarms as f64 / models as f64,
            ci95: [interval.low, interval.high],
            models,
        }
    })
}

/// Returns the members that could not run, with their reasons.
pub fn absent(examined: &Examined) -> Vec<(&'static str, String)> {
    let reason = |m: &super::Member| match &m.outcome {
        Err(e @ (ProbeError::Unfit(_) | ProbeError::Stopped)) => Some((m.id, e.to_string())),
        _ => None,
    };
    examined.members.iter().filter_map(reason).collect()
}
