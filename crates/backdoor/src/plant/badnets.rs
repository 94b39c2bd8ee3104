//! BadNets: a small patch.
//!
//! # Idea
//! A square of fixed pixels in a corner, which no clean sample has. Samples that carry it get the label of the target: the
//! model learns the patch as the strongest sign of that class.
//!
//! # Maths
//! `x'_p = t_p` for pixels `p` under the patch, `x_p` elsewhere; `t` is at the top of each pixel's range, at the bottom, or
//! both in turn. The label becomes the target.
//!
//! # Reference
//! Gu, Dolan-Gavitt and Garg, "BadNets: Identifying Vulnerabilities in the Machine Learning Model Supply Chain", 2017,
//! arXiv:1708.06733.
//!
//! # Divergences
//! Samples of the target class are never chosen (in the paper they are, and keep their label). The default side follows
//! the image, 3 of 32 pixels.
//!
//! # Cost
//! None beyond the copy of the set.
//!
//! # When it fails
//! At rates that poison a handful of samples, and where augmentation crops or flips the corner away.
//!
//! # Example
//! ```
//! let table: toml::Table = "size = 3\npattern = \"chequered\"".parse().unwrap();
//! assert!(proofmark_backdoor::plant::build("badnets", &table).is_ok());
//! ```

use proofmark_domain::Modality;
use proofmark_engine::{Parameters, write_parameters};
use serde::{Deserialize, Serialize};

use super::PlantError;
use super::patch::{Patch, Pattern, Place};
use super::planter::{Plant, PlantEntry, PlantMeta, Stamp, read, require, share};

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Side of the patch, pixels; default 3 of 32 of the shorter side of the image, rounded, at least 2.
    pub size: Option<usize>,
    /// Where it lies: `top-left`, `top-right`, `bottom-left`, `bottom-right` or `centre`; default `bottom-right`.
    pub place: Place,
    /// Its pixels: `white`, `black` or `chequered`; default `white`.
    pub pattern: Pattern,
    /// Share of the patch in the pixels under it, above 0, at most 1 (nothing shows through); default 1.
    pub opacity: f32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            size: None,
            place: Place::default(),
            pattern: Pattern::default(),
            opacity: 1.0,
        }
    }
}

const META: PlantMeta = PlantMeta {
    id: "badnets",
    version: 1,
    summary: "A small patch of fixed pixels",
    inputs: "images",
    reference: "Gu et al. 2017, arXiv:1708.06733",
};

impl Config {
    /// Builds the planter, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<BadNets, PlantError> {
        require(
            self.size != Some(0),
            &META,
            "size",
            0,
            "at least 1, or none",
        )?;
        share(&META, "opacity", self.opacity)?;
        Ok(BadNets { config: self })
    }
}

/// The planter.
#[derive(Debug, Clone)]
pub struct BadNets {
    config: Config,
}

impl BadNets {
    fn patch(&self) -> Patch {
        Patch {
            size: self.config.size,
            place: self.config.place,
            pattern: self.config.pattern,
        }
    }
}

impl Plant for BadNets {
    fn meta(&self) -> &'static PlantMeta {
        &META
    }

    fn parameters(&self) -> Parameters {
        write_parameters(&self.config)
    }

    fn fits(&self, input: &Modality) -> Result<(), String> {
        self.patch().fits(input)
    }

    fn stamp(&self, input: &Modality, x: &mut [f32], _: &Stamp) -> Result<(), PlantError> {
        self.patch().paste(input, x, self.config.opacity);
        Ok(())
    }
}

/// Registry entry.
pub const ENTRY: PlantEntry = PlantEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(&META, table)?.build()?)),
};
