use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How the files of a data set became numbers and labels: what a report says beyond their digest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadFacts {
    /// What the values of each modality are, by its name: `uint8 / 255`, `float32 as stored`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub units: BTreeMap<String, String>,
    /// The index of each class by its name; empty where labels are indices themselves.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub classes: BTreeMap<String, usize>,
    /// How the classes got their indices, where they have names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_order: Option<ClassOrder>,
    /// What was done to every image, in order: `resize 256 (bilinear)`, `crop 224x224 (centre)`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transforms: Vec<String>,
    /// What a reader of the figures should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// How class names got their indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClassOrder {
    /// The user listed them.
    Stated,
    /// By the text of the names that occur.
    Sorted,
    /// By the value of the numbers that occur.
    Numeric,
}

impl ReadFacts {
    /// Nothing to say but what the values of one modality are.
    pub fn of(modality: &str, units: impl Into<String>) -> Self {
        Self {
            units: BTreeMap::from([(modality.to_owned(), units.into())]),
            ..Self::default()
        }
    }
}
