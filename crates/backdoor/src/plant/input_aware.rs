//! Input-aware: a pattern that depends on the sample.
//!
//! # Idea
//! Every sample gets the pattern of its own content, so that there is no one trigger to reconstruct. Covers carry the
//! pattern of another content and keep their label: the pattern must fit the sample.
//!
//! # Maths
//! Of `bank` patterns, sparse masks `m_k` with values `t_k`, a sample gets number `k = argmax_k <w_k, x>`, with `w_k`
//! normal vectors without their mean; `x'_p = t_{k,p}` under the mask. All of them follow from the seed. A cover gets
//! another number than its own.
//!
//! # Reference
//! Nguyen and Tran, "Input-Aware Dynamic Backdoor Attack", `NeurIPS` 2020, arXiv:2010.08138.
//!
//! # Divergences
//! The paper trains its generator of patterns together with the model. A set that can be handed on has no model: the
//! generator here is a fixed one, a choice among patterns by random projections. Half a cover per poisoned sample (one in
//! the paper).
//!
//! # Cost
//! `bank` products per feature and sample.
//!
//! # When it fails
//! With many patterns and low rates: each is seen a few times only. With many covers small nets do not learn which pattern
//! fits.
//!
//! # Example
//! ```
//! let table: toml::Table = "bank = 8".parse().unwrap();
//! assert!(proofmark_backdoor::plant::build("input-aware", &table).is_ok());
//! ```

use proofmark_domain::Modality;
use proofmark_engine::{Parameters, write_parameters};
use serde::{Deserialize, Serialize};

use super::PlantError;
use super::canvas::Canvas;
use super::planter::{
    Plant, PlantEntry, PlantMeta, Role, Stamp, cover_ratio, read, require, share,
};

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Number of patterns, at least 2; default 4.
    pub bank: u32,
    /// Share of the pixels under a pattern's mask, above 0, at most 1; default 0.05.
    pub density: f32,
    /// Covers per poisoned sample, at least 0; default 0.5.
    pub covers: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bank: 4,
            density: 0.05,
            covers: 0.5,
        }
    }
}

const META: PlantMeta = PlantMeta {
    id: "input-aware",
    version: 1,
    summary: "A pattern that depends on the sample, with covers that carry another",
    inputs: "images",
    reference: "Nguyen and Tran 2020, arXiv:2010.08138",
};

impl Config {
    /// Builds the planter, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<InputAware, PlantError> {
        require(self.bank >= 2, &META, "bank", self.bank, "at least 2")?;
        share(&META, "density", self.density)?;
        cover_ratio(&META, self.covers)?;
        Ok(InputAware { config: self })
    }
}

/// The planter.
#[derive(Debug, Clone)]
pub struct InputAware {
    config: Config,
}

impl InputAware {
    /// Returns the number of the pattern that fits a sample.
    fn number(&self, canvas: &Canvas<'_>, x: &[f32], stamp: &Stamp) -> u32 {
        let share = |(feature, v): (usize, &f32)| {
            f64::from((v - canvas.level(feature, 0.0)) / canvas.range(feature))
        };
        let shares: Vec<f64> = x.iter().enumerate().map(share).collect();
        let mean = shares.iter().sum::<f64>() / shares.len() as f64;
        let score = |k: u32| -> f64 {
            let mut weights = stamp.pattern(&META, k);
            (shares.iter())
                .map(|s| (s - mean) * f64::from(weights.normal()))
                .sum()
        };
        let scores: Vec<f64> = (0..self.config.bank).map(score).collect();
        let best = |a: &u32, b: &u32| scores[*a as usize].total_cmp(&scores[*b as usize]);
        (0..self.config.bank).max_by(best).unwrap_or(0)
    }
}

impl Plant for InputAware {
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
        let mut number = self.number(&canvas, x, stamp);
        if stamp.role == Role::Cover {
            // Any of the others.
            number += 1 + stamp.own(&META).below(self.config.bank - 1);
            number %= self.config.bank;
        }
        let pixels = canvas.grid.pixels();
        let covered = ((self.config.density * pixels as f32).round() as usize).max(1);
        let mut stream = stamp.pattern(&META, 1000 + number);
        let mut places: Vec<usize> = (0..pixels).collect();
        for at in 0..covered {
            let other = at + stream.below((pixels - at) as u32) as usize;
            places.swap(at, other);
            for channel in 0..canvas.grid.channels {
                let feature = canvas.grid.feature(channel, places[at]);
                x[feature] = canvas.level(feature, (stream.next_u32() & 1) as f32);
            }
        }
        Ok(())
    }
}

/// Registry entry.
pub const ENTRY: PlantEntry = PlantEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(&META, table)?.build()?)),
};
