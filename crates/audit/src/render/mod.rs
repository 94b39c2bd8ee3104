//! Renders an audit report: CSV and tables for people, JSON and SVG for files.

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

/// Rates shown where there is no room for all.
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
