use std::fmt::Debug;

use proofmark_domain::{Needs, Seed};
use proofmark_engine::Samples;
use proofmark_model::{Access, Features, ModelError, ScoreModel};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Points, ProbeError};

/// Which end of a probe's scores is suspicious.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tail {
    /// Low scores are suspicious.
    Low,
    /// High scores are suspicious.
    High,
}

impl Tail {
    /// Returns the score turned so that larger is more suspicious, or back.
    pub(crate) fn turned(self, score: f64) -> f64 {
        match self {
            Self::Low => -score,
            Self::High => score,
        }
    }
}

/// Static facts about a probe of inputs.
#[derive(Debug, Clone, Copy)]
pub struct InputProbeMeta {
    /// Its id on the command line and in policies.
    pub id: &'static str,
    /// Version, increased with every change in the behaviour of its defaults; reports state it.
    pub version: u32,
    /// One-line summary for lists.
    pub summary: &'static str,
    /// Access to the model that it needs, beside layers or batch norms.
    pub needs: Needs,
    /// Which scores are suspicious.
    pub tail: Tail,
    /// Whether it compares inputs with clean samples, which are then set aside and not used for p-values.
    pub reference: bool,
    /// Source in the literature.
    pub source: &'static str,
}

/// A model whose batch norms can be amplified.
pub trait BatchNorms: Send + Sync {
    /// Returns the number of batch norms.
    fn count(&self) -> usize;

    /// Returns the model with scale and shift of its `last` last batch norms, in the order of computation, multiplied by
    /// `factor`.
    fn amplified(&self, last: usize, factor: f32) -> Result<Box<dyn ScoreModel>, ModelError>;
}

/// The model that inputs are given to, as far as it can be looked into.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The model.
    pub access: Access<'a>,
    /// Its inner layers, if they can be read.
    pub features: Option<&'a dyn Features>,
    /// Its batch norms: `Err` says why they cannot be amplified.
    pub norms: Result<&'a dyn BatchNorms, &'a str>,
}

impl Debug for Subject<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject")
            .field("access", &self.access)
            .field("features", &self.features.is_some())
            .field("norms", &self.norms.map(BatchNorms::count))
            .finish()
    }
}

impl<'a> Subject<'a> {
    /// A model of which nothing but its answers is used.
    pub fn black_box(access: impl Into<Access<'a>>) -> Self {
        Self {
            access: access.into(),
            features: None,
            norms: Err("the model is asked for its answers alone"),
        }
    }
}

/// What a probe is given.
pub struct Given<'a> {
    /// The model.
    pub subject: Subject<'a>,
    /// Clean samples to compare with; empty for a probe that needs none.
    pub reference: &'a Samples,
    /// Whether the labels of `reference` are those of the samples. Otherwise they are all 0.
    pub labelled: bool,
    /// The points to give scores to.
    pub points: &'a Points,
    /// Decision of the model for each point.
    pub decided: &'a [Option<usize>],
    /// Seed of the run.
    pub seed: Seed,
    /// Called with the number of points done; an answer of false ends the probe.
    pub progress: &'a (dyn Fn(usize) -> bool + Sync),
}

impl Debug for Given<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Given")
            .field("subject", &self.subject)
            .field("reference", &self.reference.len())
            .field("points", &self.n())
            .finish_non_exhaustive()
    }
}

impl Given<'_> {
    /// Returns the number of points.
    pub fn n(&self) -> usize {
        self.points.keys.len()
    }

    /// Reports progress; an error if the caller wants no more.
    pub fn done(&self, points: usize) -> Result<(), ProbeError> {
        if (self.progress)(points) {
            Ok(())
        } else {
            Err(ProbeError::Stopped)
        }
    }
}

/// Scores of the points, and the most suspicious score that any point could have, if there is one.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// A score per point; NaN where the model gave no answer.
    pub each: Vec<f64>,
    /// The most suspicious possible score.
    pub extreme: Option<f64>,
    /// What a reader of the report should know about this run: layers read, models used.
    pub notes: Vec<String>,
}

/// Answer of a probe.
#[derive(Debug, Clone, PartialEq)]
pub enum Scored {
    /// Scores.
    Each(Scores),
    /// Why the probe does not suit this model or these samples.
    Unfit(String),
}

/// A probe of inputs with fixed parameters.
pub trait InputProbe: Send + Sync + Debug {
    /// Returns the static facts about the probe.
    fn meta(&self) -> &'static InputProbeMeta;

    /// Returns every resolved parameter, for the report.
    fn parameters(&self) -> Map<String, Value>;

    /// Returns a score for each point. It may depend on the point, the model and the reference, never on other points.
    fn scores(&self, given: &Given<'_>) -> Result<Scored, ProbeError>;
}

/// Entry of a probe of inputs in the registry: its facts and its constructor.
#[derive(Clone, Copy)]
pub struct InputProbeEntry {
    /// Static facts about the probe.
    pub meta: &'static InputProbeMeta,
    /// Builds the probe from parameters: missing ones take their defaults, unknown ones are errors.
    pub build: fn(&toml::Table) -> Result<Box<dyn InputProbe>, ProbeError>,
}

impl Debug for InputProbeEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("InputProbeEntry")
            .field(&self.meta.id)
            .finish()
    }
}
