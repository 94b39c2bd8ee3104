//! Report of a probed model.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::calibrate::VERSION;
use super::verdict::Ruling;
use super::{Examined, Found, Member, Patch, ProbeError};

/// Name and version of the report's format.
pub const SCHEMA: &str = "proofmark/probe/1";

/// What probes found in a model, and the verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// [`SCHEMA`].
    pub schema: String,
    /// Version of the statistics.
    pub probes: u32,
    /// The model.
    pub model: Probed,
    /// The clean samples; absent if there were none.
    pub data: Option<CleanData>,
    /// Seed of every random number.
    pub seed: u64,
    /// The verdict.
    pub verdict: Ruling,
    /// Every probe that was run, in the order in which they ran.
    pub members: Vec<MemberReport>,
}

/// The model of a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probed {
    /// Name on the command line.
    pub name: String,
    /// Digest.
    pub sha256: String,
    /// Shape of a sample.
    pub shape: Vec<usize>,
    /// Number of classes.
    pub classes: usize,
}

/// The clean samples of a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CleanData {
    /// Name on the command line.
    pub name: String,
    /// Labelled samples that probes could use.
    pub samples: usize,
}

/// Whether a probe gave a statistic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberStatus {
    /// It did.
    Done,
    /// It cannot run on this model or these samples.
    Unfit,
    /// It was stopped.
    Stopped,
}

/// A probe's part of a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberReport {
    /// Id of the probe.
    pub id: String,
    /// Whether it gave a statistic.
    pub status: MemberStatus,
    /// Why it gave none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Statistic of the whole model.
    pub statistic: Option<f64>,
    /// p-value of that statistic by itself among the null models; absent without a null.
    pub p_value: Option<f64>,
    /// Class that it suspects.
    pub target: Option<usize>,
    /// Seconds it took.
    pub seconds: f64,
    /// Value per class, as the probe's page says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub per_class: Vec<f64>,
    /// Further figures by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, f64>,
    /// Reconstructed trigger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<TriggerReport>,
}

/// A reconstructed trigger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TriggerReport {
    /// Class that it leads to.
    pub class: usize,
    /// Positions covered; partly covered ones count by their share.
    pub size: f64,
    /// All positions.
    pub positions: usize,
    /// Share of the samples it was fitted on that it moves to the class.
    pub reached: f64,
    /// Share of samples that it was not fitted on; absent if there were none.
    pub held_out_success: Option<f64>,
    /// Number of those.
    pub held_out_samples: usize,
}

impl ProbeReport {
    /// Makes the report of an examined model.
    pub fn new(
        name: impl Into<String>,
        data: Option<String>,
        seed: u64,
        examined: &Examined,
        verdict: Ruling,
    ) -> Self {
        let p = verdict.members.iter().copied();
        let members = examined
            .members
            .iter()
            .zip(p.chain(std::iter::repeat(None)));
        Self {
            schema: SCHEMA.to_owned(),
            probes: VERSION,
            model: Probed {
                name: name.into(),
                sha256: examined.sha256.clone(),
                shape: examined.shape.clone(),
                classes: examined.classes,
            },
            data: data.map(|name| CleanData {
                name,
                samples: examined.samples,
            }),
            seed,
            members: members.map(|(m, p)| member(m, p)).collect(),
            verdict,
        }
    }
}

fn member(member: &Member, p_value: Option<f64>) -> MemberReport {
    let nothing = Found::default();
    let (found, status, reason) = match &member.outcome {
        Ok(found) => (found, MemberStatus::Done, None),
        Err(ProbeError::Stopped) => (
            &nothing,
            MemberStatus::Stopped,
            Some(ProbeError::Stopped.to_string()),
        ),
        Err(e) => (&nothing, MemberStatus::Unfit, Some(e.to_string())),
    };
    let figures = found.figures.iter().filter(|(_, v)| v.is_finite());
    MemberReport {
        id: member.id.to_owned(),
        status,
        reason,
        statistic: member.statistic(),
        p_value,
        target: found.target,
        seconds: member.seconds,
        per_class: found.per_class.clone(),
        figures: figures.map(|(k, v)| ((*k).to_owned(), *v)).collect(),
        trigger: found.trigger.as_ref().map(trigger),
    }
}

fn trigger(patch: &Patch) -> TriggerReport {
    TriggerReport {
        class: patch.class,
        size: patch.size(),
        positions: patch.mask.len(),
        reached: patch.reached,
        held_out_success: patch.held_out.map(|h| h.0),
        held_out_samples: patch.held_out.map_or(0, |h| h.1),
    }
}
