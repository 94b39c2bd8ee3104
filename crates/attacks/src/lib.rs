//! Attacks, one file each.
//!
//! To add one: write a file in `gradient/`, `sparse/`, `score/`, `decision/`, `universal/` or `baseline/` (or a new family) with the
//! same headings as the others, end it with its `ENTRY`, and list that in [`ALL`]. CONTRIBUTING.md walks through a real one.

pub mod baseline;
mod config;
pub mod decision;
pub mod gradient;
mod inputs;
pub mod loss;
mod ranges;
mod schedule;
pub mod score;
pub mod sparse;
pub mod suite;
pub mod universal;
pub mod update;
pub mod view;

use proofmark_engine::{Attack, AttackEntry, BuildError};

/// All attacks, in the order in which they are listed to users.
pub const ALL: &[AttackEntry] = &[
    gradient::fgsm::ENTRY,
    gradient::r_fgsm::ENTRY,
    gradient::bim::ENTRY,
    gradient::pgd::ENTRY,
    gradient::mi_fgsm::ENTRY,
    gradient::di_fgsm::ENTRY,
    gradient::ti_fgsm::ENTRY,
    gradient::admix::ENTRY,
    gradient::adam_pgd::ENTRY,
    gradient::apgd::ENTRY,
    gradient::apgd_t::ENTRY,
    gradient::apgd_mt::ENTRY,
    gradient::fmn::ENTRY,
    gradient::fab::ENTRY,
    gradient::fab_t::ENTRY,
    gradient::deepfool::ENTRY,
    gradient::ddn::ENTRY,
    gradient::cw::ENTRY,
    gradient::ead::ENTRY,
    gradient::pdpgd::ENTRY,
    sparse::sigma_zero::ENTRY,
    score::square::ENTRY,
    score::simba::ENTRY,
    score::nes::ENTRY,
    score::spsa::ENTRY,
    score::sparse_rs::ENTRY,
    decision::hopskipjump::ENTRY,
    decision::rays::ENTRY,
    decision::surfree::ENTRY,
    decision::boundary::ENTRY,
    decision::grid::ENTRY,
    universal::uap::ENTRY,
    universal::uap_pgd::ENTRY,
    suite::proofmark::ENTRY,
    suite::autoattack::ENTRY,
    suite::listed::ENTRY,
    baseline::uniform_noise::ENTRY,
    baseline::gaussian_noise::ENTRY,
    baseline::salt_and_pepper::ENTRY,
];

/// Returns the ids of all attacks, for lists and hints.
pub fn ids() -> Vec<&'static str> {
    ALL.iter().map(|e| e.meta.id).collect()
}

/// Names that stand for the present version of a suite. Reports name the version.
pub const ALIASES: &[(&str, &str)] =
    &[("proofmark", "proofmark-1"), ("autoattack", "autoattack-1")];

/// Builds the attack `id`, or the one it is an alias of, from a table of parameters.
pub fn build(id: &str, parameters: &toml::Table) -> Result<Box<dyn Attack>, BuildError> {
    let alias = ALIASES.iter().find(|a| a.0 == id);
    let own = alias.map_or(id, |a| a.1);
    let Some(entry) = ALL.iter().find(|e| e.meta.id == own) else {
        let aliases = ALIASES.iter().map(|a| a.0);
        let hint = proofmark_domain::hint(id, ids().into_iter().chain(aliases));
        return Err(BuildError {
            attack: id.to_owned(),
            field: None,
            problem: format!("no such attack{hint}; `proofmark list attacks` names them all"),
        });
    };
    (entry.build)(parameters)
}
