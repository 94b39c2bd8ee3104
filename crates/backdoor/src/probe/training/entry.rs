use std::fmt::Debug;

use proofmark_domain::Seed;
use serde_json::{Map, Value};

use super::FeatureSet;
use crate::probe::input::ProbeError;

/// Static facts about a probe of training sets.
#[derive(Debug, Clone, Copy)]
pub struct TrainingProbeMeta {
    /// Its id on the command line and in policies.
    pub id: &'static str,
    /// Version, increased with every change in the behaviour of its defaults; reports state it.
    pub version: u32,
    /// One-line summary for lists.
    pub summary: &'static str,
    /// What its statistic is.
    pub statistic: &'static str,
    /// Spread of the statistic among classes that counts at least: smaller differences are no evidence.
    pub resolution: f64,
    /// Source in the literature.
    pub source: &'static str,
}

/// How a probe splits one class.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassSplit {
    /// Statistic of the class, comparable among classes of other sizes; large is suspicious. `Err` says why there is
    /// none.
    pub statistic: Result<f64, String>,
    /// Rows of the set that belong to the suspicious part, in ascending order.
    pub suspected: Vec<usize>,
    /// Suspicion of each row of the class, in the order of [`FeatureSet::rows`]; larger is more suspicious. Comparable
    /// within the class.
    pub suspicion: Vec<f64>,
}

impl ClassSplit {
    /// A class without a split.
    pub(crate) fn none(why: impl Into<String>, rows: usize) -> Self {
        Self {
            statistic: Err(why.into()),
            suspected: Vec::new(),
            suspicion: vec![0.0; rows],
        }
    }
}

/// A probe of training sets with fixed parameters.
pub trait TrainingProbe: Send + Sync + Debug {
    /// Returns the static facts about the probe.
    fn meta(&self) -> &'static TrainingProbeMeta;

    /// Returns every resolved parameter, for the report.
    fn parameters(&self) -> Map<String, Value>;

    /// Splits the classes of a set, in the order of their numbers. `done` is called with the number of classes that are
    /// finished; an answer of false ends the probe.
    fn split(
        &self,
        set: &FeatureSet,
        seed: Seed,
        done: &(dyn Fn(usize) -> bool + Sync),
    ) -> Result<Vec<ClassSplit>, ProbeError>;
}

/// Entry of a probe of training sets in the registry: its facts and its constructor.
#[derive(Clone, Copy)]
pub struct TrainingProbeEntry {
    /// Static facts about the probe.
    pub meta: &'static TrainingProbeMeta,
    /// Builds the probe from parameters: missing ones take their defaults, unknown ones are errors.
    pub build: fn(&toml::Table) -> Result<Box<dyn TrainingProbe>, ProbeError>,
}

impl Debug for TrainingProbeEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TrainingProbeEntry")
            .field(&self.meta.id)
            .finish()
    }
}
