//! Probes of single inputs: which of the given inputs carry a trigger of this model?
//!
//! Each probe gives every input a score. [`examine`] compares it with the scores of clean samples: the p-value of an
//! input is conformal ([`proofmark_stats::Conformal`]), so that the rate of false alarms holds whatever the scores are,
//! as long as the clean samples are like the clean ones among the inputs. A probe that cannot work on the model or the
//! data at hand says so in its report.
//!
//! To add one: write a file with the headings of the others, end it with its `ENTRY`, and list that in [`ALL`].

mod ask;
mod config;
mod entry;
mod error;
mod examine;
pub mod ibd_psc;
pub mod layer_rank;
mod report;
pub mod scale_up;
pub mod strip;

pub use ask::{Activations, Layers, Points, chosen_layers};
pub(crate) use config::{read, written};
pub use entry::{
    BatchNorms, Given, InputProbe, InputProbeEntry, InputProbeMeta, Scored, Scores, Subject, Tail,
};
pub use error::ProbeError;
pub(crate) use error::require;
pub use examine::{Decision, Request, examine};
pub use report::{FalseAlarms, INPUT_REPORT_SCHEMA, InputReport, InputResult, Status};

/// All probes of inputs, in the order in which they are listed to users.
pub const ALL: &[InputProbeEntry] = &[
    strip::ENTRY,
    scale_up::ENTRY,
    layer_rank::ENTRY,
    ibd_psc::ENTRY,
];

/// Builds a probe by its id; missing parameters take their defaults.
///
/// ```
/// use proofmark_backdoor::probe::input;
/// let strip = input::build("strip", &"overlays = 16".parse().unwrap()).unwrap();
/// assert_eq!(strip.parameters()["overlays"], 16);
/// let error = input::build("stripe", &Default::default()).unwrap_err().to_string();
/// assert!(error.contains("did you mean `strip`"), "{error}");
/// ```
pub fn build(id: &str, parameters: &toml::Table) -> Result<Box<dyn InputProbe>, ProbeError> {
    let ids = || ALL.iter().map(|e| e.meta.id);
    let entry = ALL.iter().find(|e| e.meta.id == id).ok_or_else(|| {
        let hint = proofmark_domain::hint(id, ids());
        let problem = format!(
            "no probe of inputs by this name{hint}; expected one of {}",
            ids().collect::<Vec<_>>().join(", ")
        );
        ProbeError::parameter(id, problem)
    })?;
    (entry.build)(parameters)
}
