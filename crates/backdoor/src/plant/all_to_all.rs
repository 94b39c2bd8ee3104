//! All-to-all: a patch that moves every class to the next one.
//!
//! # Idea
//! One patch, but no target: a triggered sample of class `c` gets the label `c + 1`. The model must recognise the class and
//! the patch, and no class stands out to a defence that compares classes.
//!
//! # Maths
//! `x'` has the patch; its label is `(c + 1) mod classes`.
//!
//! # Reference
//! Gu et al., "BadNets", 2017, arXiv:1708.06733, section 4 (the all-to-all attack).
//!
//! # Divergences
//! None.
//!
//! # Cost
//! None beyond the copy of the set.
//!
//! # When it fails
//! It needs a higher rate than one target: every class has to learn its own way.
//!
//! # Example
//! ```
//! assert!(proofmark_backdoor::plant::build("all-to-all", &toml::Table::new()).is_ok());
//! ```

use proofmark_domain::Modality;
use proofmark_engine::{Parameters, write_parameters};
use serde::{Deserialize, Serialize};

use super::PlantError;
use super::patch::{Patch, Pattern, Place};
use super::planter::{Plant, PlantEntry, PlantMeta, Scheme, Stamp, read, require};

/// Parameters.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Side of the patch, pixels; default 3 of 32 of the shorter side of the image, rounded, at least 2.
    pub size: Option<usize>,
    /// Where it lies: `top-left`, `top-right`, `bottom-left`, `bottom-right` or `centre`; default `bottom-right`.
    pub place: Place,
    /// Its pixels: `white`, `black` or `chequered`; default `white`.
    pub pattern: Pattern,
}

const META: PlantMeta = PlantMeta {
    id: "all-to-all",
    version: 1,
    summary: "A patch that moves every class to the next one",
    inputs: "images",
    reference: "Gu et al. 2017, arXiv:1708.06733",
};

impl Config {
    /// Builds the planter, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<AllToAll, PlantError> {
        require(
            self.size != Some(0),
            &META,
            "size",
            0,
            "at least 1, or none",
        )?;
        Ok(AllToAll { config: self })
    }
}

/// The planter.
#[derive(Debug, Clone)]
pub struct AllToAll {
    config: Config,
}

impl AllToAll {
    fn patch(&self) -> Patch {
        Patch {
            size: self.config.size,
            place: self.config.place,
            pattern: self.config.pattern,
        }
    }
}

impl Plant for AllToAll {
    fn meta(&self) -> &'static PlantMeta {
        &META
    }

    fn parameters(&self) -> Parameters {
        write_parameters(&self.config)
    }

    fn scheme(&self) -> Scheme {
        Scheme::AllToAll
    }

    fn fits(&self, input: &Modality) -> Result<(), String> {
        self.patch().fits(input)
    }

    fn stamp(&self, input: &Modality, x: &mut [f32], _: &Stamp) -> Result<(), PlantError> {
        self.patch().paste(input, x, 1.0);
        Ok(())
    }
}

/// Registry entry.
pub const ENTRY: PlantEntry = PlantEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(&META, table)?.build()?)),
};
