//! Attacks on models whose exact distances are known, family by family, and on models that are hard for them. One program,
//! so that burn is linked once.

mod apgd;
mod boundaries;
mod by_decisions;
mod closed_form;
mod common;
mod criteria;
mod decisions;
mod early;
mod maps;
mod matrix;
mod minimum_norm_gradient;
mod rounds;
mod scores;
mod sparse;
mod suites;
mod transfer;
mod universal;
