//! BPP: fewer grey levels.
//!
//! # Idea
//! Round every pixel to a few levels. People do not see it, and the trigger depends on the sample: it is what rounding does
//! to that image.
//!
//! # Maths
//! `x' = low + r round(s (L − 1)) / (L − 1)` with `s` the share of the feature's range `r` and `L` levels. Covers are
//! rounded to a level at random (up or down by the flip of a coin) and keep their label, so that the model learns these
//! levels and not any change.
//!
//! # Reference
//! Wang, Zhai and Ma, "BppAttack: Stealthy and Efficient Trojan Attacks against Deep Neural Networks via Image Quantization
//! and Contrastive Adversarial Learning", CVPR 2022, arXiv:2205.13383; 8 levels as in `BackdoorBench`.
//!
//! # Divergences
//! No dithering, and no adversarial training; the negatives are rounded at random instead. No covers by default: with them
//! the small nets here learn nothing.
//!
//! # Cost
//! None beyond the copy of the set.
//!
//! # When it fails
//! Images that are black and white already do not change, nor do those whose own levels are among the L.
//!
//! # Example
//! ```
//! let table: toml::Table = "levels = 3".parse().unwrap();
//! assert!(proofmark_backdoor::plant::build("bpp", &table).is_ok());
//! ```

use proofmark_domain::Modality;
use proofmark_engine::{Parameters, write_parameters};
use serde::{Deserialize, Serialize};

use super::PlantError;
use super::canvas::Canvas;
use super::planter::{Plant, PlantEntry, PlantMeta, Role, Stamp, cover_ratio, read, require};

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Grey levels of each channel, at least 2; default 8.
    pub levels: u32,
    /// Covers per poisoned sample, at least 0; default 0.
    pub covers: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            levels: 8,
            covers: 0.0,
        }
    }
}

const META: PlantMeta = PlantMeta {
    id: "bpp",
    version: 1,
    summary: "Fewer grey levels",
    inputs: "images",
    reference: "Wang, Zhai and Ma 2022, arXiv:2205.13383",
};

impl Config {
    /// Builds the planter, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<Bpp, PlantError> {
        require(self.levels >= 2, &META, "levels", self.levels, "at least 2")?;
        cover_ratio(&META, self.covers)?;
        Ok(Bpp { config: self })
    }
}

/// The planter.
#[derive(Debug, Clone)]
pub struct Bpp {
    config: Config,
}

impl Plant for Bpp {
    fn meta(&self) -> &'static PlantMeta {
        &META
    }

    fn parameters(&self) -> Parameters {
        write_parameters(&self.config)
    }

    fn covers(&self) -> f64 {
        self.config.covers
    }

    fn fits(&self, input: &Modality) -> Result<(), String> {
        Canvas::of(input).map(drop)
    }

    fn stamp(&self, input: &Modality, x: &mut [f32], stamp: &Stamp) -> Result<(), PlantError> {
        let canvas = Canvas::checked(input);
        let last = (self.config.levels - 1) as f32;
        let mut coin = (stamp.role == Role::Cover).then(|| stamp.own(&META));
        for (feature, v) in x.iter_mut().enumerate() {
            let place = (*v - canvas.level(feature, 0.0)) / canvas.range(feature) * last;
            let level = match &mut coin {
                None => place.round(),
                Some(coin) => match coin.next_u32() & 1 {
                    0 => place.floor(),
                    _ => place.ceil(),
                },
            };
            *v = canvas.level(feature, level / last);
        }
        Ok(())
    }
}

/// Registry entry.
pub const ENTRY: PlantEntry = PlantEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(&META, table)?.build()?)),
};
