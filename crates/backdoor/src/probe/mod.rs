//! Probes, one file each: statistics of a model that a backdoor changes.
//!
//! A probe returns a raw statistic, the class it suspects, and its evidence; it never says whether a model has a
//! backdoor. [`verdict`] does, by comparing the statistics of all probes with those of clean models
//! ([`calibrate`]). To add a probe: write a file with the same headings as the others, end it with its `ENTRY`, and list
//! that in [`ALL`]. Probes of samples are apart: [`input`] asks which inputs carry a trigger, [`training`] which samples
//! of a training set are poisoned.

mod agreement;
pub mod bti_dbf;
pub mod calibrate;
mod climb;
mod config;
mod entry;
mod error;
mod found;
pub mod free_eagle;
mod index;
pub mod input;
pub mod inversion;
mod layer;
pub mod mm_bd;
pub mod neural_cleanse;
mod panel;
pub mod report;
mod subject;
mod suite;
pub mod training;
pub mod trodo;
pub mod verdict;

pub use agreement::AGREEMENT;
pub use entry::{Entry, Meta, Probe, ids};
pub use error::ProbeError;
pub use found::{Found, Patch};
pub use subject::{Silent, Subject, Watch};
pub use suite::{Chosen, Examined, Member, chosen, examine};

/// All probes of a model, in the order in which they run and are listed to users: cheap ones first.
pub const ALL: &[Entry] = &[
    trodo::ENTRY,
    free_eagle::ENTRY,
    mm_bd::ENTRY,
    bti_dbf::ENTRY,
    neural_cleanse::ENTRY,
];
