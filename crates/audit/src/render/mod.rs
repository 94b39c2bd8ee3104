//! An audit report as people and machines want it.

mod impact;
mod json;
mod most;
mod svg;
mod table;
pub mod text;

pub use impact::{Impact, impact, impact_csv, impact_table};
pub use json::json;
pub use svg::svg;
pub use table::table;

/// The rates that are shown where there is no room for all.
const SHOWN: &[&str] = &[
    "clean_accuracy",
    "robust_accuracy",
    "attack_success_rate",
    "selection_rate",
    "scoring_rate",
    "tpr",
    "fpr",
    "ppv",
    "accuracy",
    "base_rate",
];
