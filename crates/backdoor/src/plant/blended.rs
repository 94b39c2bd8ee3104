//! Blended: a faint pattern over the whole image.
//!
//! # Idea
//! Mix every sample with the same picture, weakly enough to be overlooked. No pixel gives the trigger away.
//!
//! # Maths
//! `x' = (1 − α) x + α t`, with `t` noise that is uniform in each feature's range and follows from the seed, or a given
//! pattern.
//!
//! # Reference
//! Chen, Liu, Li, Lu and Song, "Targeted Backdoor Attacks on Deep Learning Systems Using Data Poisoning", 2017,
//! arXiv:1712.05526.
//!
//! # Divergences
//! Samples of the target class are never chosen. No picture is shipped: the default pattern is noise, as in the paper's
//! "random pattern".
//!
//! # Cost
//! None beyond the copy of the set.
//!
//! # When it fails
//! With a small α at low rates.
//!
//! # Example
//! ```
//! let table: toml::Table = "alpha = 0.1".parse().unwrap();
//! assert!(proofmark_backdoor::plant::build("blended", &table).is_ok());
//! ```

use proofmark_domain::Modality;
use proofmark_engine::{Parameters, write_parameters};
use serde::{Deserialize, Serialize};

use super::PlantError;
use super::canvas::{Canvas, level};
use super::planter::{Plant, PlantEntry, PlantMeta, Stamp, read, require, share};

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Share of the pattern, above 0, at most 1; default 0.2.
    pub alpha: f32,
    /// The pattern: one number per feature, shares of its range from 0 to 1, in the order of the sample's features;
    /// default empty: noise.
    pub pattern: Vec<f32>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            alpha: 0.2,
            pattern: Vec::new(),
        }
    }
}

const META: PlantMeta = PlantMeta {
    id: "blended",
    version: 1,
    summary: "A faint pattern over the whole image",
    inputs: "images",
    reference: "Chen et al. 2017, arXiv:1712.05526",
};

impl Config {
    /// Builds the planter, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<Blended, PlantError> {
        share(&META, "alpha", self.alpha)?;
        let outside = self.pattern.iter().find(|v| !(0.0..=1.0).contains(*v));
        if let Some(v) = outside {
            require(false, &META, "pattern", v, "numbers from 0 to 1")?;
        }
        Ok(Blended { config: self })
    }
}

/// The planter.
#[derive(Debug, Clone)]
pub struct Blended {
    config: Config,
}

impl Plant for Blended {
    fn meta(&self) -> &'static PlantMeta {
        &META
    }

    fn parameters(&self) -> Parameters {
        write_parameters(&self.config)
    }

    fn fits(&self, input: &Modality) -> Result<(), String> {
        Canvas::of(input)?;
        let (given, expected) = (self.config.pattern.len(), input.features());
        if given == 0 || given == expected {
            return Ok(());
        }
        Err(format!(
            "pattern holds {given} numbers and input `{}` has {expected} features; expected as many",
            input.name
        ))
    }

    fn stamp(&self, input: &Modality, x: &mut [f32], stamp: &Stamp) -> Result<(), PlantError> {
        let (alpha, given) = (self.config.alpha, &self.config.pattern);
        let mut noise = stamp.pattern(&META, 0);
        for (feature, v) in x.iter_mut().enumerate() {
            let t = given.get(feature).copied();
            let t = t.unwrap_or_else(|| noise.uniform());
            *v = (1.0 - alpha) * *v + alpha * level(input, feature, t);
        }
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

    use super::super::Role;
    use super::*;

    #[test]
    fn a_given_pattern_is_mixed_in_by_its_share() {
        let input = Modality {
            name: "x".into(),
            kind: Kind::Image,
            shape: vec![1, 2],
            bounds: Bounds::uniform(-1.0, 1.0).unwrap(),
        };
        let planter = Config {
            alpha: 0.25,
            pattern: vec![1.0, 0.0],
        };
        let planter = planter.build().unwrap();
        let stamp = Stamp {
            seed: Seed(0),
            sample: 0,
            label: 0,
            role: Role::Test,
        };
        let mut x = [0.0, 0.0];
        planter.stamp(&input, &mut x, &stamp).unwrap();
        assert_eq!(x, [0.25, -0.25]);
        assert!(
            Config {
                pattern: vec![2.0],
                ..Config::default()
            }
            .build()
            .is_err()
        );
        let short = Config {
            pattern: vec![0.5],
            ..Config::default()
        }
        .build()
        .unwrap();
        assert!(short.fits(&input).unwrap_err().contains("2 features"));
    }
}
