use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How the files of a data set were converted to numbers and labels. A report shows this beside their digest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadFacts {
    /// Unit of each modality's values, by modality name: `uint8 / 255`, `float32 as stored`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub units: BTreeMap<String, String>,
    /// Index of each class, by class name; empty if labels are already indices.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub classes: BTreeMap<String, usize>,
    /// How the classes got their indices, if they have names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_order: Option<ClassOrder>,
    /// Transforms applied to every image, in order: `resize 256 (bilinear)`, `crop 224x224 (centre)`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transforms: Vec<String>,
    /// Notes for readers of the figures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// How class names got their indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClassOrder {
    /// The user listed the classes.
    Stated,
    /// The names that occur, sorted as text.
    Sorted,
    /// The numbers that occur, sorted by value.
    Numeric,
}

impl ReadFacts {
    /// Creates facts that state only the unit of one modality.
    pub fn of(modality: &str, units: impl Into<String>) -> Self {
        Self {
            units: BTreeMap::from([(modality.to_owned(), units.into())]),
            ..Self::default()
        }
    }
}
