//! Backdoors: [`plant`] puts triggers into data sets, [`probe`] looks for them in models and training sets.

pub mod plant;
pub mod probe;
