//! Low-frequency: a smooth pattern over the whole image.
//!
//! # Idea
//! Add a pattern that has only the lowest frequencies. Most triggers betray themselves in the high frequencies of an
//! image; this one has none.
//!
//! # Maths
//! `x' = x + a r p / max |p|`, `r` the feature's range and `p` a sum of cosine waves (the basis of the DCT-II) with
//! frequencies `0 ≤ u, v < cutoff`, not both 0, and normal coefficients that follow from the seed.
//!
//! # Reference
//! Zeng, Park, Mao and Jia, "Rethinking the Backdoor Attacks' Triggers: A Frequency Perspective", ICCV 2021,
//! arXiv:2104.03413.
//!
//! # Divergences
//! The paper optimises its pattern against a model under a low-pass filter; this one is drawn at random below the cut-off.
//!
//! # Cost
//! `cutoff²` products per pixel and sample.
//!
//! # When it fails
//! With a small amplitude at low rates, and where clean images vary as smoothly.
//!
//! # Example
//! ```
//! let table: toml::Table = "cutoff = 4".parse().unwrap();
//! assert!(proofmark_backdoor::plant::build("low-frequency", &table).is_ok());
//! ```

use proofmark_domain::Modality;
use proofmark_engine::{Parameters, write_parameters};
use serde::{Deserialize, Serialize};

use super::PlantError;
use super::canvas::{Canvas, wave};
use super::planter::{Plant, PlantEntry, PlantMeta, Stamp, read, require, share};

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Largest change, a share of each feature's range, above 0, at most 1; default 0.2.
    pub amplitude: f32,
    /// Frequencies below this, in half periods over each side, at least 2; default 3.
    pub cutoff: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            amplitude: 0.2,
            cutoff: 3,
        }
    }
}

const META: PlantMeta = PlantMeta {
    id: "low-frequency",
    version: 1,
    summary: "A smooth pattern over the whole image",
    inputs: "images",
    reference: "Zeng et al. 2021, arXiv:2104.03413",
};

impl Config {
    /// Builds the planter, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<LowFrequency, PlantError> {
        share(&META, "amplitude", self.amplitude)?;
        require(self.cutoff >= 2, &META, "cutoff", self.cutoff, "at least 2")?;
        Ok(LowFrequency { config: self })
    }
}

/// The planter.
#[derive(Debug, Clone)]
pub struct LowFrequency {
    config: Config,
}

impl Plant for LowFrequency {
    fn meta(&self) -> &'static PlantMeta {
        &META
    }

    fn parameters(&self) -> Parameters {
        write_parameters(&self.config)
    }

    fn fits(&self, input: &Modality) -> Result<(), String> {
        let grid = Canvas::of(input)?.grid;
        if self.config.cutoff < grid.height.min(grid.width) {
            return Ok(());
        }
        Err(format!(
            "images of {} × {} hold no frequencies up to {}; expected a smaller `cutoff`",
            grid.height, grid.width, self.config.cutoff
        ))
    }

    fn stamp(&self, input: &Modality, x: &mut [f32], stamp: &Stamp) -> Result<(), PlantError> {
        let canvas = Canvas::checked(input);
        let (h, w, cutoff) = (canvas.grid.height, canvas.grid.width, self.config.cutoff);
        let mut pattern = vec![0.0_f64; canvas.grid.pixels()];
        let mut stream = stamp.pattern(&META, 0);
        for (u, v) in (0..cutoff).flat_map(|u| (0..cutoff).map(move |v| (u, v))) {
            let coefficient = f64::from(stream.normal());
            if (u, v) == (0, 0) {
                continue;
            }
            for (pixel, p) in pattern.iter_mut().enumerate() {
                *p += coefficient * wave(u, pixel / w, h) * wave(v, pixel % w, w);
            }
        }
        let most = pattern.iter().fold(0.0_f64, |m, p| m.max(p.abs()));
        canvas.each(|_, y, column, feature| {
            let share = pattern[y * w + column] / most;
            x[feature] += self.config.amplitude * canvas.range(feature) * share as f32;
        });
        Ok(())
    }
}

/// Registry entry.
pub const ENTRY: PlantEntry = PlantEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(&META, table)?.build()?)),
};
