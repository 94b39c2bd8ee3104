//! `WaNet`: a smooth warp.
//!
//! # Idea
//! Move the pixels a little, by a field that is the same for every sample and changes smoothly over the image. The result
//! looks like a photograph of the same thing.
//!
//! # Maths
//! A field of `k × k` vectors, uniform in `[−1, 1]` and divided by their mean absolute value, is upsampled to the image by
//! bicubic interpolation. A pixel takes the value at its place plus `s / size` of the field, in coordinates from −1 to 1,
//! by bilinear interpolation; places are clamped to the image. In noise mode covers are warped by the field plus noise that
//! is uniform in `± 1 / size` for every sample and pixel, and keep their label.
//!
//! # Reference
//! Nguyen and Tran, "WaNet: Imperceptible Warping-based Backdoor Attack", ICLR 2021, arXiv:2102.10369, and the authors'
//! code: s = 0.5, k = 4, two covers per poisoned sample.
//!
//! # Divergences
//! The authors' training loop draws new samples to poison in every epoch; here they are chosen once, so that the set can be
//! handed on. `size` of each axis is its own length.
//!
//! # Cost
//! The field once per sample, 16 products per pixel.
//!
//! # When it fails
//! At the paper's strength pixels move by a quarter of one on average: small nets learn it at high rates only, and blank
//! images have nothing to warp.
//!
//! # Example
//! ```
//! let table: toml::Table = "strength = 2.0\ncovers = 0.0".parse().unwrap();
//! assert!(proofmark_backdoor::plant::build("wanet", &table).is_ok());
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
    /// Strength s: the mean shift is s/2 pixels along each axis; above 0; default 0.5.
    pub strength: f32,
    /// Vectors along each axis of the field, at least 2; default 4.
    pub k: usize,
    /// Covers per poisoned sample, warped with noise (noise mode), at least 0; default 2.
    pub covers: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            strength: 0.5,
            k: 4,
            covers: 2.0,
        }
    }
}

const META: PlantMeta = PlantMeta {
    id: "wanet",
    version: 1,
    summary: "A smooth warp, with covers warped at random",
    inputs: "images",
    reference: "Nguyen and Tran 2021, arXiv:2102.10369",
};

impl Config {
    /// Builds the planter, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<WaNet, PlantError> {
        let ok = self.strength.is_finite() && self.strength > 0.0;
        require(
            ok,
            &META,
            "strength",
            self.strength,
            "a finite number above 0",
        )?;
        require(self.k >= 2, &META, "k", self.k, "at least 2")?;
        cover_ratio(&META, self.covers)?;
        Ok(WaNet { config: self })
    }
}

/// The planter.
#[derive(Debug, Clone)]
pub struct WaNet {
    config: Config,
}

/// Returns the value at a pixel of a field `k × k` that is stretched over the image, corners on corners, by Keys' cubic
/// convolution with a = −0.75, as `PyTorch` does it; places outside take the nearest value.
fn upsampled(field: &[f64], k: usize, pixel: [usize; 2], size: [usize; 2]) -> f64 {
    let axis = |at: usize, size: usize| {
        let place = at as f64 * (k - 1) as f64 / (size - 1).max(1) as f64;
        let first = place.floor();
        let t = place - first;
        let cell = move |i: i64| (first as i64 + i).clamp(0, k as i64 - 1) as usize;
        [-1, 0, 1, 2].map(|i| (cell(i), cubic(i as f64 - t)))
    };
    let (rows, columns) = (axis(pixel[0], size[0]), axis(pixel[1], size[1]));
    let mut sum = 0.0;
    for (y, wy) in rows {
        for (x, wx) in columns {
            sum += wy * wx * field[y * k + x];
        }
    }
    sum
}

/// Keys' kernel, a = −0.75.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.75;
    let x = x.abs();
    if x <= 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        A * (((x - 5.0) * x + 8.0) * x - 4.0)
    } else {
        0.0
    }
}

impl Plant for WaNet {
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
        if grid.height.min(grid.width) >= 2 {
            return Ok(());
        }
        Err(format!(
            "images of {} × {} cannot be warped; expected 2 × 2 at least",
            grid.height, grid.width
        ))
    }

    fn stamp(&self, input: &Modality, x: &mut [f32], stamp: &Stamp) -> Result<(), PlantError> {
        let canvas = Canvas::checked(input);
        let (h, w) = (canvas.grid.height, canvas.grid.width);
        let k = self.config.k;
        let field: Vec<Vec<f64>> = (0..2)
            .map(|axis| {
                let mut stream = stamp.pattern(&META, axis);
                (0..k * k)
                    .map(|_| 2.0 * f64::from(stream.uniform()) - 1.0)
                    .collect()
            })
            .collect();
        let sum: f64 = field.iter().flatten().map(|v| v.abs()).sum();
        let mean = sum / (2 * k * k) as f64;
        let mut noise = (stamp.role == Role::Cover).then(|| stamp.own(&META));
        let from = x.to_vec();
        // One place per axis, in pixels: half the side is one unit of the paper's coordinates.
        let mut place = |axis: usize, y: usize, column: usize| {
            let (at, size) = [(y, h), (column, w)][axis];
            let v = upsampled(&field[axis], k, [y, column], [h, w]);
            let mut shift = f64::from(self.config.strength) * v / mean / size as f64;
            if let Some(stream) = &mut noise {
                shift += (2.0 * f64::from(stream.uniform()) - 1.0) / size as f64;
            }
            let last = (size - 1) as f64;
            (at as f64 + shift * last / 2.0).clamp(0.0, last)
        };
        for y in 0..h {
            for column in 0..w {
                let (py, px) = (place(0, y, column), place(1, y, column));
                let (y0, x0) = (py.floor(), px.floor());
                let (fy, fx) = ((py - y0) as f32, (px - x0) as f32);
                let (y0, x0) = (y0 as usize, x0 as usize);
                let (y1, x1) = ((y0 + 1).min(h - 1), (x0 + 1).min(w - 1));
                for channel in 0..canvas.grid.channels {
                    let at = |y: usize, x: usize| from[canvas.grid.feature(channel, y * w + x)];
                    let top = (1.0 - fx) * at(y0, x0) + fx * at(y0, x1);
                    let bottom = (1.0 - fx) * at(y1, x0) + fx * at(y1, x1);
                    x[canvas.grid.feature(channel, y * w + column)] =
                        (1.0 - fy) * top + fy * bottom;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_passes_through_its_own_vectors_and_keeps_constants() {
        let field: Vec<f64> = (0..16).map(|i| f64::from(i * i % 7)).collect();
        for (y, x) in [(0, 0), (3, 1), (2, 2), (1, 3)] {
            // On a grid of 10, every third pixel lies on a vector of the field.
            let v = upsampled(&field, 4, [3 * y, 3 * x], [10, 10]);
            assert!((v - field[4 * y + x]).abs() < 1e-12);
        }
        let constant = [2.0; 16];
        for at in 0..7 {
            let v = upsampled(&constant, 4, [at, 6 - at], [7, 7]);
            assert!((v - 2.0).abs() < 1e-12);
        }
        // torch.nn.functional.interpolate([[0, 1, 0, 0]], 7, bicubic, align_corners): the value half-way.
        let row: Vec<f64> = [0.0, 1.0, 0.0, 0.0].repeat(4);
        let v = upsampled(&row, 4, [0, 1], [7, 7]);
        assert!((v - 0.59375).abs() < 1e-12, "{v}");
    }
}
