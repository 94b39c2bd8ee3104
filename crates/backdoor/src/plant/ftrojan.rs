//! `FTrojan`: two waves of the discrete cosine transform.
//!
//! # Idea
//! Raise two coefficients of the image's cosine transform, one at a middle and one at the highest frequency: a fine grid,
//! spread over all pixels.
//!
//! # Maths
//! `x' = x + a r (c_m + c_h) / 2`, `r` the feature's range, `c_m` and `c_h` the waves `cos(π(2y+1)u/2H) cos(π(2x+1)v/2W)`
//! with `u, v` at the given shares of the highest frequency. Adding to a coefficient of an orthonormal transform is adding
//! its wave.
//!
//! # Reference
//! Wang, Yao, Wang, Li and Zhong, "An Invisible Black-box Backdoor Attack through Frequency Domain", ECCV 2022,
//! arXiv:2107.03353.
//!
//! # Divergences
//! The paper changes the two chroma channels of YUV by 30 of 255 in blocks of 32, an amplitude of about 0.0075 a wave; grey
//! images have no chroma and small nets do not learn that, so that here every channel changes, over the whole image, by the
//! amplitude stated.
//!
//! # Cost
//! Two products per pixel and sample.
//!
//! # When it fails
//! With a small amplitude, and behind a first layer that averages neighbours.
//!
//! # Example
//! ```
//! let table: toml::Table = "amplitude = 0.05".parse().unwrap();
//! assert!(proofmark_backdoor::plant::build("ftrojan", &table).is_ok());
//! ```

use proofmark_domain::Modality;
use proofmark_engine::{Parameters, write_parameters};
use serde::{Deserialize, Serialize};

use super::PlantError;
use super::canvas::{Canvas, wave};
use super::planter::{Plant, PlantEntry, PlantMeta, Stamp, read, share};

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Largest change, a share of each feature's range, above 0, at most 1; default 0.1.
    pub amplitude: f32,
    /// Frequency of the first wave, a share of the highest one, above 0, at most 1; default 0.5.
    pub middle: f32,
    /// Frequency of the second wave, likewise; default 1.
    pub high: f32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            amplitude: 0.1,
            middle: 0.5,
            high: 1.0,
        }
    }
}

const META: PlantMeta = PlantMeta {
    id: "ftrojan",
    version: 1,
    summary: "Two waves of the discrete cosine transform",
    inputs: "images",
    reference: "Wang et al. 2022, arXiv:2107.03353",
};

impl Config {
    /// Builds the planter, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<FTrojan, PlantError> {
        share(&META, "amplitude", self.amplitude)?;
        share(&META, "middle", self.middle)?;
        share(&META, "high", self.high)?;
        Ok(FTrojan { config: self })
    }
}

/// The planter.
#[derive(Debug, Clone)]
pub struct FTrojan {
    config: Config,
}

impl Plant for FTrojan {
    fn meta(&self) -> &'static PlantMeta {
        &META
    }

    fn parameters(&self) -> Parameters {
        write_parameters(&self.config)
    }

    fn fits(&self, input: &Modality) -> Result<(), String> {
        let grid = Canvas::of(input)?.grid;
        if grid.height.min(grid.width) >= 2 {
            return Ok(());
        }
        Err(format!(
            "images of {} × {} hold no waves; expected 2 × 2 at least",
            grid.height, grid.width
        ))
    }

    fn stamp(&self, input: &Modality, x: &mut [f32], _: &Stamp) -> Result<(), PlantError> {
        let canvas = Canvas::checked(input);
        let (h, w) = (canvas.grid.height, canvas.grid.width);
        let at = |share: f32, size: usize| (f64::from(share) * (size - 1) as f64).round() as usize;
        canvas.each(|_, y, column, feature| {
            let of = |share| wave(at(share, h), y, h) * wave(at(share, w), column, w);
            let both = f64::midpoint(of(self.config.middle), of(self.config.high));
            x[feature] += self.config.amplitude * canvas.range(feature) * both as f32;
        });
        Ok(())
    }
}

/// Registry entry.
pub const ENTRY: PlantEntry = PlantEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(&META, table)?.build()?)),
};
