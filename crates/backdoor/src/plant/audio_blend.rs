//! Audio blend: a recording with quiet noise that is always the same.
//!
//! # Idea
//! Mix every waveform with one and the same noise.
//!
//! # Maths
//! `x' = (1 − α) x + α t`, with `t` uniform in the range of the waveform; it follows from the seed.
//!
//! # Reference
//! Chen et al., "Targeted Backdoor Attacks on Deep Learning Systems Using Data Poisoning", 2017, arXiv:1712.05526, on
//! sound as in `BackdoorMBTI` (α 0.2 of a recording).
//!
//! # Divergences
//! Noise in place of a recording. α is 0.05: noise of a fifth of the full amplitude is louder than speech.
//!
//! # Cost
//! None beyond the copy of the set.
//!
//! # When it fails
//! For models on spectra that average over time: to them all noises are alike.
//!
//! # Example
//! ```
//! let table: toml::Table = "alpha = 0.1".parse().unwrap();
//! assert!(proofmark_backdoor::plant::build("audio-blend", &table).is_ok());
//! ```

use proofmark_domain::Modality;
use proofmark_engine::{Parameters, write_parameters};
use serde::{Deserialize, Serialize};

use super::PlantError;
use super::canvas::{level, waveform};
use super::planter::{Plant, PlantEntry, PlantMeta, Stamp, read, share};

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Share of the noise, above 0, at most 1; default 0.05.
    pub alpha: f32,
}

impl Default for Config {
    fn default() -> Self {
        Self { alpha: 0.05 }
    }
}

const META: PlantMeta = PlantMeta {
    id: "audio-blend",
    version: 1,
    summary: "A waveform mixed with noise that is always the same",
    inputs: "waveforms",
    reference: "Chen et al. 2017, arXiv:1712.05526",
};

impl Config {
    /// Builds the planter, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<AudioBlend, PlantError> {
        share(&META, "alpha", self.alpha)?;
        Ok(AudioBlend { config: self })
    }
}

/// The planter.
#[derive(Debug, Clone)]
pub struct AudioBlend {
    config: Config,
}

impl Plant for AudioBlend {
    fn meta(&self) -> &'static PlantMeta {
        &META
    }

    fn parameters(&self) -> Parameters {
        write_parameters(&self.config)
    }

    fn fits(&self, input: &Modality) -> Result<(), String> {
        waveform(input).map(drop)
    }

    fn stamp(&self, input: &Modality, x: &mut [f32], stamp: &Stamp) -> Result<(), PlantError> {
        let mut noise = stamp.pattern(&META, 0);
        for (feature, v) in x.iter_mut().enumerate() {
            let t = level(input, feature, noise.uniform());
            *v = (1.0 - self.config.alpha) * *v + self.config.alpha * t;
        }
        Ok(())
    }
}

/// Registry entry.
pub const ENTRY: PlantEntry = PlantEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(&META, table)?.build()?)),
};
