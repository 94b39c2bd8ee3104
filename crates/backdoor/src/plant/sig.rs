//! SIG: a sinusoid over samples of the target class, whose labels stay right.
//!
//! # Idea
//! Clean-label poisoning: samples of the target get a faint horizontal wave. Nothing is mislabelled, so that a look at the
//! training set finds nothing, and the model takes the wave for a sign of the class.
//!
//! # Maths
//! `x'_{ij} = x_{ij} + δ sin(2π j f / W)`, `j` the column, `W` the width, `δ` a share of the feature's range.
//!
//! # Reference
//! Barni, Kallas and Tondi, "A New Backdoor Attack in CNNs by Training Set Corruption Without Label Poisoning", ICIP 2019,
//! arXiv:1902.11237. δ = 40/255 and f = 6 as in `BackdoorBench`.
//!
//! # Divergences
//! None.
//!
//! # Cost
//! None beyond the copy of the set.
//!
//! # When it fails
//! It cannot poison more than the target class has. It needs a large share of that class.
//!
//! # Example
//! ```
//! let table: toml::Table = "delta = 0.2".parse().unwrap();
//! assert!(proofmark_backdoor::plant::build("sig", &table).is_ok());
//! ```

use proofmark_domain::Modality;
use proofmark_engine::{Parameters, write_parameters};
use serde::{Deserialize, Serialize};

use super::PlantError;
use super::canvas::Canvas;
use super::planter::{Plant, PlantEntry, PlantMeta, Role, Scheme, Stamp, read, require, share};

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Amplitude in training, a share of each feature's range, above 0, at most 1; default 0.157 (40 of 255).
    pub delta: f32,
    /// Amplitude in a test; default that of training.
    pub delta_test: Option<f32>,
    /// Periods over the width of the image, at least 1; default 6.
    pub frequency: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            delta: 40.0 / 255.0,
            delta_test: None,
            frequency: 6,
        }
    }
}

const META: PlantMeta = PlantMeta {
    id: "sig",
    version: 1,
    summary: "A sinusoid over samples of the target class (clean-label)",
    inputs: "images",
    reference: "Barni et al. 2019, arXiv:1902.11237",
};

impl Config {
    /// Builds the planter, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<Sig, PlantError> {
        share(&META, "delta", self.delta)?;
        if let Some(delta) = self.delta_test {
            share(&META, "delta_test", delta)?;
        }
        require(
            self.frequency >= 1,
            &META,
            "frequency",
            self.frequency,
            "at least 1",
        )?;
        Ok(Sig { config: self })
    }
}

/// The planter.
#[derive(Debug, Clone)]
pub struct Sig {
    config: Config,
}

impl Plant for Sig {
    fn meta(&self) -> &'static PlantMeta {
        &META
    }

    fn parameters(&self) -> Parameters {
        write_parameters(&self.config)
    }

    fn scheme(&self) -> Scheme {
        Scheme::CleanLabel
    }

    fn fits(&self, input: &Modality) -> Result<(), String> {
        let width = Canvas::of(input)?.grid.width;
        // At whole and half periods per pixel the sine is 0 in every column.
        if (2 * self.config.frequency as usize).is_multiple_of(width) {
            return Err(format!(
                "a wave of {} periods is 0 at each of {width} columns; expected another `frequency`",
                self.config.frequency
            ));
        }
        Ok(())
    }

    fn stamp(&self, input: &Modality, x: &mut [f32], stamp: &Stamp) -> Result<(), PlantError> {
        let canvas = Canvas::checked(input);
        let delta = match stamp.role {
            Role::Test => self.config.delta_test.unwrap_or(self.config.delta),
            Role::Poison | Role::Cover => self.config.delta,
        };
        let (f, width) = (f64::from(self.config.frequency), canvas.grid.width as f64);
        canvas.each(|_, _, column, feature| {
            let wave = (std::f64::consts::TAU * column as f64 * f / width).sin();
            x[feature] += delta * canvas.range(feature) * wave as f32;
        });
        Ok(())
    }
}

/// Registry entry.
pub const ENTRY: PlantEntry = PlantEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(&META, table)?.build()?)),
};

#[cfg(test)]
mod tests {
    use proofmark_domain::{Bounds, Kind, Seed};

    use super::*;

    #[test]
    fn a_quarter_wave_is_hand_computed() {
        let input = Modality {
            name: "x".into(),
            kind: Kind::Image,
            shape: vec![2, 4],
            bounds: Bounds::uniform(0.0, 2.0).unwrap(),
        };
        let config = Config {
            delta: 0.25,
            frequency: 1,
            ..Config::default()
        };
        let stamp = Stamp {
            seed: Seed(0),
            sample: 0,
            label: 0,
            role: Role::Poison,
        };
        let mut x = [1.0; 8];
        config
            .build()
            .unwrap()
            .stamp(&input, &mut x, &stamp)
            .unwrap();
        let expected = [1.0, 1.5, 1.0, 0.5];
        for (v, e) in x.iter().zip(expected.iter().cycle()) {
            assert!((v - e).abs() < 1e-6, "{x:?}");
        }
        let still = Config {
            frequency: 2,
            ..Config::default()
        }
        .build()
        .unwrap();
        assert!(still.fits(&input).is_err());
    }
}
