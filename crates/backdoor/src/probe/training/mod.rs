//! Probes of training sets: which samples of a labelled set were poisoned?
//!
//! Each probe looks at the activations that the model at hand gives to the samples of one class, and splits them in two.
//! [`examine`] compares the classes with one another: in a clean set their statistics differ little, and the class with
//! poisoned samples stands out. The p-value of a class is that of its anomaly index among so many classes, so that it
//! accounts for looking at all of them. Samples are ranked by suspicion, for a person to review.
//!
//! To add one: write a file with the headings of the others, end it with its `ENTRY`, and list that in [`ALL`].

pub mod activation_clustering;
mod entry;
mod examine;
mod linear;
mod null;
mod report;
mod review;
pub mod scan;
mod set;
pub mod spectral;
mod split;

pub use entry::{ClassSplit, TrainingProbe, TrainingProbeEntry, TrainingProbeMeta};
pub use examine::{TrainingRequest, examine};
pub use report::{ClassResult, Suspect, TRAINING_REPORT_SCHEMA, TrainingReport};
pub use review::review_csv;
pub use set::{FeatureSet, LEAST, WIDEST};

use super::input::ProbeError;

/// All probes of training sets, in the order in which they are listed to users.
pub const ALL: &[TrainingProbeEntry] =
    &[spectral::ENTRY, activation_clustering::ENTRY, scan::ENTRY];

/// Builds a probe by its id; missing parameters take their defaults.
///
/// ```
/// use proofmark_backdoor::probe::training;
/// assert_eq!(training::build("scan", &Default::default()).unwrap().meta().id, "scan");
/// assert!(training::build("spectral", &"dims = 3".parse().unwrap()).is_err());
/// ```
pub fn build(id: &str, parameters: &toml::Table) -> Result<Box<dyn TrainingProbe>, ProbeError> {
    let ids = || ALL.iter().map(|e| e.meta.id);
    let entry = ALL.iter().find(|e| e.meta.id == id).ok_or_else(|| {
        let hint = proofmark_domain::hint(id, ids());
        let problem = format!(
            "no probe of training sets by this name{hint}; expected one of {}",
            ids().collect::<Vec<_>>().join(", ")
        );
        ProbeError::parameter(id, problem)
    })?;
    (entry.build)(parameters)
}
