use std::fmt::Debug;
use std::sync::Arc;

use proofmark_domain::{Modality, Seed};
use proofmark_engine::{BadParameter, Parameters, read_parameters};
use proofmark_model::GradientModel;
use proofmark_stats::random::{Purpose, Stream, StreamKey, attack_code};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::PlantError;

/// Static facts about a planter.
#[derive(Debug)]
pub struct PlantMeta {
    /// Its id on the command line. It keys random numbers: renaming a planter changes what it plants.
    pub id: &'static str,
    /// Version, increased with every change in the behaviour of its defaults.
    pub version: u32,
    /// One-line summary for lists.
    pub summary: &'static str,
    /// Inputs that it can change, in words.
    pub inputs: &'static str,
    /// Source in the literature.
    pub reference: &'static str,
}

/// Which samples are poisoned, and which label they get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Samples of every class but the target get the target's label.
    AllToOne,
    /// Samples of the target class alone, which keep their label.
    CleanLabel,
    /// Samples of every class get the label of the next class; the last class that of the first. There is no target.
    AllToAll,
    /// Samples of this class get the target's label.
    From(usize),
}

impl Scheme {
    /// Whether a sample of this label may be poisoned in training.
    pub(crate) fn may_poison(self, label: usize, target: usize) -> bool {
        match self {
            Self::AllToOne => label != target,
            Self::CleanLabel => label == target,
            Self::AllToAll => true,
            Self::From(source) => label == source,
        }
    }

    /// Returns the class that a model with the backdoor gives a triggered sample of this label; `None` if the backdoor
    /// promises nothing for it.
    pub fn expected(self, label: usize, target: usize, classes: usize) -> Option<usize> {
        match self {
            Self::AllToOne | Self::CleanLabel => (label != target).then_some(target),
            Self::AllToAll => Some((label + 1) % classes),
            Self::From(source) => (label == source).then_some(target),
        }
    }
}

/// What a stamped sample is for. Some planters use a weaker trigger in training than in a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A poisoned sample of the training set.
    Poison,
    /// A sample of the training set that is changed and keeps its label, so that the backdoor reacts to nothing else.
    Cover,
    /// A test of the backdoor.
    Test,
}

/// What a planter knows about the sample that it changes.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    /// Seed of the backdoor: patterns follow from it.
    pub seed: Seed,
    /// Key of the sample, as returned by `SampleId::key`.
    pub sample: u64,
    /// True class of the sample.
    pub label: usize,
    /// What it is for.
    pub role: Role,
}

impl Stamp {
    /// Returns numbers that are the same for every sample: patterns. `part` tells several patterns of a planter apart.
    pub(crate) fn pattern(&self, meta: &PlantMeta, part: u32) -> Stream {
        Stream::new(&StreamKey {
            attack: attack_code(meta.id),
            step: part,
            ..StreamKey::new(self.seed, 0, Purpose::Data)
        })
    }

    /// Returns numbers of this sample in this role.
    pub(crate) fn own(&self, meta: &PlantMeta) -> Stream {
        Stream::new(&StreamKey {
            attack: attack_code(meta.id),
            step: self.role as u32,
            ..StreamKey::new(self.seed, self.sample, Purpose::Transform)
        })
    }
}

/// A planter with fixed parameters, as an object-safe trait.
pub trait Plant: Send + Sync + Debug {
    /// Returns the static facts about the planter.
    fn meta(&self) -> &'static PlantMeta;

    /// Returns the resolved parameters.
    fn parameters(&self) -> Parameters;

    /// Returns which samples are poisoned and how they are relabelled.
    fn scheme(&self) -> Scheme {
        Scheme::AllToOne
    }

    /// Returns the number of cover samples per poisoned one.
    fn covers(&self) -> f64 {
        0.0
    }

    /// Whether a sample of this label that was not poisoned may be a cover.
    fn may_cover(&self, label: usize, target: usize) -> bool {
        let _ = (label, target);
        true
    }

    /// Checks that samples of this input can carry the trigger; the error says what was expected.
    fn fits(&self, input: &Modality) -> Result<(), String>;

    /// Puts the trigger on the features `x` of one sample of an input that [`Plant::fits`]. The caller clamps to the
    /// input's bounds, and rounds where the set holds whole numbers.
    fn stamp(&self, input: &Modality, x: &mut [f32], stamp: &Stamp) -> Result<(), PlantError>;

    /// Returns this planter with a model whose gradients it may use; an error if it uses none.
    fn with_model(
        self: Box<Self>,
        model: Arc<dyn GradientModel>,
    ) -> Result<Box<dyn Plant>, PlantError> {
        drop(model);
        Err(PlantError::Parameter {
            planter: self.meta().id,
            bad: BadParameter {
                field: None,
                problem: "uses no model; leave the model out (`label-consistent` uses one)".into(),
            },
        })
    }
}

/// Entry of a planter in the registry: its facts and its constructor.
#[derive(Clone, Copy)]
pub struct PlantEntry {
    /// Static facts about the planter.
    pub meta: &'static PlantMeta,
    /// Builds the planter from parameters: missing ones take their defaults, unknown ones are errors.
    pub build: fn(&toml::Table) -> Result<Box<dyn Plant>, PlantError>,
}

impl Debug for PlantEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PlantEntry").field(&self.meta.id).finish()
    }
}

/// Reads the parameters of a planter.
pub(crate) fn read<C: DeserializeOwned + Serialize + Default>(
    meta: &'static PlantMeta,
    parameters: &toml::Table,
) -> Result<C, PlantError> {
    read_parameters(parameters).map_err(|bad| PlantError::Parameter {
        planter: meta.id,
        bad,
    })
}

/// Returns an error that names the field, the value and the expected range unless `ok`.
pub(crate) fn require(
    ok: bool,
    meta: &'static PlantMeta,
    field: &str,
    given: impl std::fmt::Display,
    expected: &str,
) -> Result<(), PlantError> {
    BadParameter::unless(ok, field, given, expected).map_err(|bad| PlantError::Parameter {
        planter: meta.id,
        bad,
    })
}

/// Returns an error unless a share is above 0 and at most 1.
pub(crate) fn share(meta: &'static PlantMeta, field: &str, given: f32) -> Result<(), PlantError> {
    let ok = given > 0.0 && given <= 1.0;
    require(ok, meta, field, given, "a number above 0 and at most 1")
}

/// Returns an error unless a number of covers per poisoned sample is finite and at least 0.
pub(crate) fn cover_ratio(meta: &'static PlantMeta, given: f64) -> Result<(), PlantError> {
    let ok = given.is_finite() && given >= 0.0;
    require(ok, meta, "covers", given, "a finite number of at least 0")
}
