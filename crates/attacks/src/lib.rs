//! Attacks, one file each.
//!
//! To add one: write a file in `gradient/`, `decision/` or `baseline/` (or a new family) with the same headings as the
//! others, end it with its `ENTRY`, and list that in [`ALL`]. CONTRIBUTING.md walks through a real one.

pub mod baseline;
mod config;
pub mod decision;
pub mod gradient;
pub mod loss;
pub mod suite;
pub mod update;

use proofmark_engine::{Attack, AttackEntry, BuildError};

/// All attacks, in the order in which they are listed to users.
pub const ALL: &[AttackEntry] = &[
    gradient::fgsm::ENTRY,
    gradient::r_fgsm::ENTRY,
    gradient::bim::ENTRY,
    gradient::pgd::ENTRY,
    gradient::mi_fgsm::ENTRY,
    gradient::adam_pgd::ENTRY,
    gradient::apgd_t::ENTRY,
    gradient::fmn::ENTRY,
    decision::hopskipjump::ENTRY,
    suite::ENTRY,
    baseline::uniform_noise::ENTRY,
    baseline::gaussian_noise::ENTRY,
    baseline::salt_and_pepper::ENTRY,
    gradient::apgd::ENTRY,
];

/// Returns the ids of all attacks, for lists and hints.
pub fn ids() -> Vec<&'static str> {
    ALL.iter().map(|e| e.meta.id).collect()
}

/// Builds the attack `id` from a table of parameters.
pub fn build(id: &str, parameters: &toml::Table) -> Result<Box<dyn Attack>, BuildError> {
    let Some(entry) = ALL.iter().find(|e| e.meta.id == id) else {
        let hint = proofmark_domain::hint(id, ids());
        return Err(BuildError {
            attack: id.to_owned(),
            field: None,
            problem: format!("no such attack{hint}; `proofmark list attacks` names them all"),
        });
    };
    (entry.build)(parameters)
}
