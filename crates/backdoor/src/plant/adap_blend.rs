//! Adap-Blend: pieces of a faint pattern, with covers.
//!
//! # Idea
//! In training a sample carries only some pieces of the pattern, and about as many covers carry pieces and keep their
//! label: the features of poisoned samples do not separate from the others. A test shows the whole pattern.
//!
//! # Maths
//! The image is cut into `pieces × pieces` tiles. In training each sample has its own random half of them (`kept` of all):
//! `x' = (1 − α) x + α t` there, `x` elsewhere. A test mixes all tiles with `alpha_test`.
//!
//! # Reference
//! Qi, Xie, Li, Mahloujifar and Mittal, "Revisiting the Assumption of Latent Separability for Backdoor Defenses", ICLR
//! 2023; α 0.15 in training, 0.2 in a test, 4 × 4 tiles, half of them, one cover per poisoned sample.
//!
//! # Divergences
//! The pattern is noise that follows from the seed. Poisoned samples are not of the target class.
//!
//! # Cost
//! None beyond the copy of the set.
//!
//! # When it fails
//! At its own rate (0.3 %) small sets hold too few poisoned samples.
//!
//! # Example
//! ```
//! let table: toml::Table = "alpha = 0.2\nalpha_test = 0.3".parse().unwrap();
//! assert!(proofmark_backdoor::plant::build("adap-blend", &table).is_ok());
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
    /// Share of the pattern in training, above 0, at most 1; default 0.15.
    pub alpha: f32,
    /// Share of the pattern in a test, above 0, at most 1; default 0.2.
    pub alpha_test: f32,
    /// Tiles along each side, at least 1; default 4.
    pub pieces: usize,
    /// Share of the tiles that a sample carries in training, above 0, at most 1; default 0.5.
    pub kept: f32,
    /// Covers per poisoned sample, at least 0; default 1.
    pub covers: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            alpha: 0.15,
            alpha_test: 0.2,
            pieces: 4,
            kept: 0.5,
            covers: 1.0,
        }
    }
}

const META: PlantMeta = PlantMeta {
    id: "adap-blend",
    version: 1,
    summary: "Pieces of a faint pattern in training, the whole in a test, with covers",
    inputs: "images",
    reference: "Qi et al. 2023, ICLR",
};

impl Config {
    /// Builds the planter, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<AdapBlend, PlantError> {
        share(&META, "alpha", self.alpha)?;
        share(&META, "alpha_test", self.alpha_test)?;
        share(&META, "kept", self.kept)?;
        require(self.pieces >= 1, &META, "pieces", self.pieces, "at least 1")?;
        cover_ratio(&META, self.covers)?;
        Ok(AdapBlend { config: self })
    }
}

/// The planter.
#[derive(Debug, Clone)]
pub struct AdapBlend {
    config: Config,
}

impl Plant for AdapBlend {
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
        let grid = Canvas::of(input)?.grid;
        if self.config.pieces <= grid.height.min(grid.width) {
            return Ok(());
        }
        Err(format!(
            "images of {} × {} cannot be cut into {} tiles a side; expected fewer `pieces`",
            grid.height, grid.width, self.config.pieces
        ))
    }

    fn stamp(&self, input: &Modality, x: &mut [f32], stamp: &Stamp) -> Result<(), PlantError> {
        let canvas = Canvas::checked(input);
        let side = self.config.pieces;
        let alpha = match stamp.role {
            Role::Test => self.config.alpha_test,
            Role::Poison | Role::Cover => self.config.alpha,
        };
        let mut shown = vec![true; side * side];
        if stamp.role != Role::Test {
            let keep = ((self.config.kept * shown.len() as f32).round() as usize).max(1);
            let mut order: Vec<usize> = (0..shown.len()).collect();
            let mut own = stamp.own(&META);
            for last in (1..order.len()).rev() {
                order.swap(last, own.below(last as u32 + 1) as usize);
            }
            for tile in &order[keep..] {
                shown[*tile] = false;
            }
        }
        let (h, w) = (canvas.grid.height, canvas.grid.width);
        let mut noise = stamp.pattern(&META, 0);
        canvas.each(|_, y, column, feature| {
            let t = canvas.level(feature, noise.uniform());
            if shown[y * side / h * side + column * side / w] {
                x[feature] = (1.0 - alpha) * x[feature] + alpha * t;
            }
        });
        Ok(())
    }
}

/// Registry entry.
pub const ENTRY: PlantEntry = PlantEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(&META, table)?.build()?)),
};
