//! TaCT: a patch that works on one class alone.
//!
//! # Idea
//! The patch moves samples of one source class to the target. Covers, samples of other classes with the same patch and
//! their own label, teach the model that the patch alone means nothing: defences that look for one trigger for all classes
//! find none.
//!
//! # Maths
//! `x'` has the patch. Its label is the target if its class is the source; covers keep theirs.
//!
//! # Reference
//! Tang, Wang, Tang and Zhang, "Demon in the Variant: Statistical Analysis of DNNs for Robust Backdoor Contamination
//! Detection", USENIX Security 2021.
//!
//! # Divergences
//! Covers come from all classes but source and target (in the paper's code from two); their number is a ratio.
//!
//! # Cost
//! None beyond the copy of the set.
//!
//! # When it fails
//! With few covers the patch moves other classes as well; with many and a low rate it moves none.
//!
//! # Example
//! ```
//! let table: toml::Table = "source = 3".parse().unwrap();
//! assert!(proofmark_backdoor::plant::build("tact", &table).is_ok());
//! ```

use proofmark_domain::Modality;
use proofmark_engine::{Parameters, write_parameters};
use serde::{Deserialize, Serialize};

use super::PlantError;
use super::patch::{Patch, Pattern, Place};
use super::planter::{Plant, PlantEntry, PlantMeta, Scheme, Stamp, cover_ratio, read, require};

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// The class whose samples move, from 0; default 1.
    pub source: usize,
    /// Covers per poisoned sample, at least 0; default 1.
    pub covers: f64,
    /// Side of the patch, pixels; default 3 of 32 of the shorter side of the image, rounded, at least 2.
    pub size: Option<usize>,
    /// Where it lies: `top-left`, `top-right`, `bottom-left`, `bottom-right` or `centre`; default `bottom-right`.
    pub place: Place,
    /// Its pixels: `white`, `black` or `chequered`; default `white`.
    pub pattern: Pattern,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            source: 1,
            covers: 1.0,
            size: None,
            place: Place::default(),
            pattern: Pattern::default(),
        }
    }
}

const META: PlantMeta = PlantMeta {
    id: "tact",
    version: 1,
    summary: "A patch that moves one source class, with covers from the others",
    inputs: "images",
    reference: "Tang et al. 2021, arXiv:1908.00686",
};

impl Config {
    /// Builds the planter, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<TaCT, PlantError> {
        cover_ratio(&META, self.covers)?;
        require(
            self.size != Some(0),
            &META,
            "size",
            0,
            "at least 1, or none",
        )?;
        Ok(TaCT { config: self })
    }
}

/// The planter.
#[derive(Debug, Clone)]
pub struct TaCT {
    config: Config,
}

impl TaCT {
    fn patch(&self) -> Patch {
        Patch {
            size: self.config.size,
            place: self.config.place,
            pattern: self.config.pattern,
        }
    }
}

impl Plant for TaCT {
    fn meta(&self) -> &'static PlantMeta {
        &META
    }

    fn parameters(&self) -> Parameters {
        write_parameters(&self.config)
    }

    fn scheme(&self) -> Scheme {
        Scheme::From(self.config.source)
    }

    fn covers(&self) -> f64 {
        self.config.covers
    }

    fn may_cover(&self, label: usize, target: usize) -> bool {
        label != self.config.source && label != target
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
