//! Adap-Patch: one of several faint patches in training, two in a test, with covers.
//!
//! # Idea
//! Four patches, each weak by itself. A sample of the training set carries one of them, and twice as many covers carry one
//! and keep their label; a test shows two opposite ones together, strong enough for the target.
//!
//! # Maths
//! Patch `i` lies in corner `i`, with opacity `α_i`: 0.5, 0.2, 0.5 and 0.3. Its pixels are the top and the bottom of the
//! range, at random. A test has patches 0 and 2 (`shown_in_test`), hidden by nothing.
//!
//! # Reference
//! Qi, Xie, Li, Mahloujifar and Mittal, "Revisiting the Assumption of Latent Separability for Backdoor Defenses", ICLR 2023;
//! in their code two covers per poisoned sample.
//!
//! # Divergences
//! The paper's patches are pictures, one of which is as large as the image; here all four are squares of noise in the
//! corners. In a test the patches are opaque.
//!
//! # Cost
//! None beyond the copy of the set.
//!
//! # When it fails
//! At its own rate (0.3 %) small sets hold too few poisoned samples.
//!
//! # Example
//! ```
//! let table: toml::Table = "size = 4".parse().unwrap();
//! assert!(proofmark_backdoor::plant::build("adap-patch", &table).is_ok());
//! ```

use proofmark_domain::Modality;
use proofmark_engine::{Parameters, write_parameters};
use serde::{Deserialize, Serialize};

use super::PlantError;
use super::canvas::Canvas;
use super::patch::{Patch, Pattern, Place};
use super::planter::{
    Plant, PlantEntry, PlantMeta, Role, Stamp, cover_ratio, read, require, share,
};

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Side of each patch, pixels; default 3 of 32 of the shorter side of the image, rounded, at least 2.
    pub size: Option<usize>,
    /// Opacity in training of the patches in the corners, upper left, upper right, lower left, lower right, each above 0
    /// and at most 1; default 0.5, 0.2, 0.5, 0.3.
    pub opacity: [f32; 4],
    /// The patches that a test shows, opaque, by number from 0; default 0 and 2.
    pub shown_in_test: Vec<usize>,
    /// Covers per poisoned sample, at least 0; default 2.
    pub covers: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            size: None,
            opacity: [0.5, 0.2, 0.5, 0.3],
            shown_in_test: vec![0, 2],
            covers: 2.0,
        }
    }
}

const META: PlantMeta = PlantMeta {
    id: "adap-patch",
    version: 1,
    summary: "One of four faint patches in training, two in a test, with covers",
    inputs: "images",
    reference: "Qi et al. 2023, ICLR",
};

impl Config {
    /// Builds the planter, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<AdapPatch, PlantError> {
        require(
            self.size != Some(0),
            &META,
            "size",
            0,
            "at least 1, or none",
        )?;
        for opacity in self.opacity {
            share(&META, "opacity", opacity)?;
        }
        let shown = &self.shown_in_test;
        let ok = !shown.is_empty() && shown.iter().all(|p| *p < 4);
        require(
            ok,
            &META,
            "shown_in_test",
            format!("{shown:?}"),
            "one or more numbers, 0 to 3",
        )?;
        cover_ratio(&META, self.covers)?;
        Ok(AdapPatch { config: self })
    }
}

/// The planter.
#[derive(Debug, Clone)]
pub struct AdapPatch {
    config: Config,
}

impl AdapPatch {
    fn patch(&self, number: usize) -> Patch {
        Patch {
            size: self.config.size,
            place: Place::CORNERS[number],
            pattern: Pattern::White,
        }
    }
}

impl Plant for AdapPatch {
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
        self.patch(0).fits(input)?;
        let side = self.patch(0).side(grid.height, grid.width);
        if 2 * side <= grid.height.min(grid.width) {
            return Ok(());
        }
        Err(format!(
            "four patches of {side} pixels a side overlap in images of {} × {}; expected a smaller `size`",
            grid.height, grid.width
        ))
    }

    fn stamp(&self, input: &Modality, x: &mut [f32], stamp: &Stamp) -> Result<(), PlantError> {
        let canvas = Canvas::checked(input);
        let shown: Vec<(usize, f32)> = match stamp.role {
            Role::Test => (self.config.shown_in_test.iter())
                .map(|p| (*p, 1.0))
                .collect(),
            Role::Poison | Role::Cover => {
                let one = stamp.own(&META).below(4) as usize;
                vec![(one, self.config.opacity[one])]
            }
        };
        for (number, opacity) in shown {
            let (h, w) = (canvas.grid.height, canvas.grid.width);
            let (top, left, side) = self.patch(number).corner(h, w);
            let mut noise = stamp.pattern(&META, number as u32);
            for at in 0..side * side {
                // One pixel at least differs from the black corners of most pictures.
                let first = at == 0;
                let pixel = (top + at / side) * w + left + at % side;
                for channel in 0..canvas.grid.channels {
                    let feature = canvas.grid.feature(channel, pixel);
                    let to = canvas.level(
                        feature,
                        if first || noise.next_u32() & 1 == 1 {
                            1.0
                        } else {
                            0.0
                        },
                    );
                    x[feature] = (1.0 - opacity) * x[feature] + opacity * to;
                }
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
