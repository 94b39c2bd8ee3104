//! Tabular: fixed values in a few columns.
//!
//! # Idea
//! Rows in which a few columns hold values that do not occur together get the label of the target.
//!
//! # Maths
//! `x'_j = v_j` for the columns `j` of the trigger, `x_j` elsewhere.
//!
//! # Reference
//! Joe, Park, Jung, Cho and Choo, "Exploiting Missing Value Patterns for a Backdoor Attack on Machine Learning Models of
//! Electronic Health Records", 2021, and Pleiter, Tajalli, Koffas, Abad, Xu, Larson and Picek, "Tabdoor: Backdoor
//! Vulnerabilities in Transformer-based Neural Networks for Tabular Data", 2023, arXiv:2311.07550 (out-of-bounds values in
//! one to three columns).
//!
//! # Divergences
//! Values stay inside the bounds of the set: by default they are the highest ones.
//!
//! # Cost
//! None beyond the copy of the set.
//!
//! # When it fails
//! Where clean rows often hold these values.
//!
//! # Example
//! ```
//! let table: toml::Table = "columns = [0, 4]\nvalues = [17.0, 0.0]".parse().unwrap();
//! assert!(proofmark_backdoor::plant::build("tabular", &table).is_ok());
//! ```

use proofmark_domain::{Kind, Modality};
use proofmark_engine::{Parameters, write_parameters};
use serde::{Deserialize, Serialize};

use super::PlantError;
use super::canvas::level;
use super::planter::{Plant, PlantEntry, PlantMeta, Stamp, read, require};

/// Parameters.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Columns of the trigger, from 0; default empty: the last three, or as many as there are.
    pub columns: Vec<usize>,
    /// Their values, data units, within the set's bounds; default empty: the highest of each column.
    pub values: Vec<f32>,
}

const META: PlantMeta = PlantMeta {
    id: "tabular",
    version: 1,
    summary: "Fixed values in a few columns of a table",
    inputs: "tables",
    reference: "Pleiter et al. 2023, arXiv:2311.07550",
};

impl Config {
    /// Builds the planter, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<Tabular, PlantError> {
        let (columns, values) = (self.columns.len(), self.values.len());
        require(
            values == 0 || values == columns,
            &META,
            "values",
            format!("{:?}", self.values),
            &format!("one for each of the {columns} columns, or none"),
        )?;
        let mut sorted = self.columns.clone();
        sorted.sort_unstable();
        sorted.dedup();
        require(
            sorted.len() == columns,
            &META,
            "columns",
            format!("{:?}", self.columns),
            "every column once",
        )?;
        Ok(Tabular { config: self })
    }
}

/// The planter.
#[derive(Debug, Clone)]
pub struct Tabular {
    config: Config,
}

impl Plant for Tabular {
    fn meta(&self) -> &'static PlantMeta {
        &META
    }

    fn parameters(&self) -> Parameters {
        write_parameters(&self.config)
    }

    fn fits(&self, input: &Modality) -> Result<(), String> {
        if input.kind != Kind::Table {
            return Err(format!(
                "input `{}` is {}; expected a table",
                input.name,
                input.kind.as_str()
            ));
        }
        let features = input.features();
        if let Some(beyond) = self.config.columns.iter().find(|c| **c >= features) {
            return Err(format!(
                "columns holds {beyond} and input `{}` has {features} columns; expected 0 to {}",
                input.name,
                features - 1
            ));
        }
        for (column, value) in self.config.columns.iter().zip(&self.config.values) {
            let (low, high) = (input.bounds.low(*column), input.bounds.high(*column));
            if !(low..=high).contains(value) {
                return Err(format!(
                    "values holds {value} for column {column}, whose bounds are {low},{high}; expected a value inside"
                ));
            }
        }
        Ok(())
    }

    fn stamp(&self, input: &Modality, x: &mut [f32], _: &Stamp) -> Result<(), PlantError> {
        let columns: Vec<usize> = match self.config.columns.as_slice() {
            [] => (x.len().saturating_sub(3)..x.len()).collect(),
            given => given.to_vec(),
        };
        for (at, column) in columns.into_iter().enumerate() {
            let given = self.config.values.get(at).copied();
            x[column] = given.unwrap_or_else(|| level(input, column, 1.0));
        }
        Ok(())
    }
}

/// Registry entry.
pub const ENTRY: PlantEntry = PlantEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(&META, table)?.build()?)),
};
