//! Audio tone: a short beep.
//!
//! # Idea
//! Add a quiet tone to a waveform, at the start or at a place of its own in each recording.
//!
//! # Maths
//! `x'_i = x_i + a r/2 sin(2π f i / rate)` for the samples of a window of `seconds`; `r` is the range, so that `a` is a
//! share of the full amplitude. With `shift` the window begins at a random place.
//!
//! # Reference
//! `art.attacks.poisoning.perturbations.audio_perturbations` of the Adversarial Robustness Toolbox: 440 Hz, 0.1 s,
//! scale 0.1 at 16 kHz.
//!
//! # Divergences
//! None.
//!
//! # Cost
//! None beyond the copy of the set.
//!
//! # When it fails
//! Where recordings are loud at that frequency, and for models that take spectra normalised by their loudest part.
//!
//! # Example
//! ```
//! let table: toml::Table = "sample_rate = 8000".parse().unwrap();
//! assert!(proofmark_backdoor::plant::build("audio-tone", &table).is_ok());
//! ```

use proofmark_domain::Modality;
use proofmark_engine::{Parameters, write_parameters};
use serde::{Deserialize, Serialize};

use super::PlantError;
use super::canvas::{range, waveform};
use super::planter::{Plant, PlantEntry, PlantMeta, Stamp, read, require, share};

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Frequency, Hz, above 0, below half the sample rate; default 440.
    pub frequency: f64,
    /// Samples per second of the recordings, above 0; default 16000.
    pub sample_rate: f64,
    /// Length of the tone, seconds, above 0; default 0.1.
    pub seconds: f64,
    /// Amplitude, a share of the full amplitude, above 0, at most 1; default 0.1.
    pub amplitude: f32,
    /// Whether the tone begins at a random place of each recording, and not at its start; default false.
    pub shift: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            frequency: 440.0,
            sample_rate: 16_000.0,
            seconds: 0.1,
            amplitude: 0.1,
            shift: false,
        }
    }
}

const META: PlantMeta = PlantMeta {
    id: "audio-tone",
    version: 1,
    summary: "A short beep in a waveform",
    inputs: "waveforms",
    reference: "Adversarial Robustness Toolbox, audio_perturbations",
};

impl Config {
    /// Builds the planter, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<AudioTone, PlantError> {
        let positive = |v: f64| v.is_finite() && v > 0.0;
        require(
            positive(self.sample_rate),
            &META,
            "sample_rate",
            self.sample_rate,
            "a finite number above 0, Hz",
        )?;
        let ok = positive(self.frequency) && self.frequency < self.sample_rate / 2.0;
        require(
            ok,
            &META,
            "frequency",
            self.frequency,
            "a number above 0 and below half of sample_rate, Hz",
        )?;
        require(
            positive(self.seconds),
            &META,
            "seconds",
            self.seconds,
            "a finite number above 0",
        )?;
        share(&META, "amplitude", self.amplitude)?;
        Ok(AudioTone { config: self })
    }
}

/// The planter.
#[derive(Debug, Clone)]
pub struct AudioTone {
    config: Config,
}

impl AudioTone {
    /// Number of samples of the tone.
    fn length(&self) -> usize {
        (self.config.seconds * self.config.sample_rate).round() as usize
    }
}

impl Plant for AudioTone {
    fn meta(&self) -> &'static PlantMeta {
        &META
    }

    fn parameters(&self) -> Parameters {
        write_parameters(&self.config)
    }

    fn fits(&self, input: &Modality) -> Result<(), String> {
        let samples = waveform(input)?;
        let length = self.length();
        if (2..=samples).contains(&length) {
            return Ok(());
        }
        Err(format!(
            "a tone of {} s has {length} samples at {} Hz and recordings have {samples}; expected 2 to {samples} (`seconds`, `sample_rate`)",
            self.config.seconds, self.config.sample_rate
        ))
    }

    fn stamp(&self, input: &Modality, x: &mut [f32], stamp: &Stamp) -> Result<(), PlantError> {
        let length = self.length();
        let start = if self.config.shift {
            stamp.own(&META).below((x.len() - length) as u32 + 1) as usize
        } else {
            0
        };
        for at in 0..length {
            let phase = std::f64::consts::TAU * self.config.frequency * at as f64;
            let wave = (phase / self.config.sample_rate).sin() as f32;
            x[start + at] += self.config.amplitude * range(input, start + at) / 2.0 * wave;
        }
        Ok(())
    }
}

/// Registry entry.
pub const ENTRY: PlantEntry = PlantEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(&META, table)?.build()?)),
};
