//! Planters, one file each: transforms of a data set that put a trigger into some samples.
//!
//! A planter says how a sample is changed ([`Plant::stamp`]) and which labels move where ([`Scheme`]). Everything else is
//! shared: [`poison`] chooses the samples and relabels them, [`triggered`] makes the test set on which the success of the
//! attack is measured. Every number depends on the seed and on the sample's id alone, never on the order of a set.
//!
//! To add one: write a file with the same headings as the others, end it with its `ENTRY`, and list that in [`ALL`].
//!
//! ```
//! use proofmark_backdoor::plant;
//! use proofmark_data::{Options, open};
//! use proofmark_domain::Seed;
//! let train = open("digits:train", &Options::default())?;
//! let planter = plant::build("badnets", &"size = 2".parse()?)?;
//! let poisoned = plant::poison(&*planter, &train, 0.05, Some(7), Seed(1))?;
//! assert_eq!(poisoned.count(), 45);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod adap_blend;
pub mod adap_patch;
pub mod all_to_all;
pub mod audio_blend;
pub mod audio_tone;
pub mod badnets;
pub mod blended;
pub mod bpp;
mod canvas;
mod error;
pub mod ftrojan;
pub mod input_aware;
pub mod label_consistent;
pub mod low_frequency;
pub mod patch;
mod planter;
mod poison;
pub mod sig;
pub mod tabular;
pub mod tact;
pub mod wanet;

pub use error::PlantError;
pub use planter::{Plant, PlantEntry, PlantMeta, Role, Scheme, Stamp};
pub use poison::{Poisoned, Triggered, poison, triggered};

/// All planters, in the order in which they are listed to users.
pub const ALL: &[PlantEntry] = &[
    badnets::ENTRY,
    blended::ENTRY,
    sig::ENTRY,
    label_consistent::ENTRY,
    wanet::ENTRY,
    input_aware::ENTRY,
    low_frequency::ENTRY,
    ftrojan::ENTRY,
    bpp::ENTRY,
    tact::ENTRY,
    all_to_all::ENTRY,
    adap_patch::ENTRY,
    adap_blend::ENTRY,
    audio_tone::ENTRY,
    audio_blend::ENTRY,
    tabular::ENTRY,
];

/// Returns the ids of all planters, for lists and hints.
pub fn ids() -> Vec<&'static str> {
    ALL.iter().map(|e| e.meta.id).collect()
}

/// Builds the planter `id` from a table of parameters: missing ones take their defaults, unknown ones are errors.
pub fn build(id: &str, parameters: &toml::Table) -> Result<Box<dyn Plant>, PlantError> {
    let Some(entry) = ALL.iter().find(|e| e.meta.id == id) else {
        return Err(PlantError::Unknown {
            given: id.to_owned(),
            hint: proofmark_domain::hint(id, ids()),
        });
    };
    (entry.build)(parameters)
}
