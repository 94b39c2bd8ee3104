//! A patch of any content, pasted at a random place, angle and scale.
//!
//! Parameters: the values of the patch, -1 at the lowest and 1 at the highest value of the input. A draw places it: scale
//! and angle uniform within their limits, then the centre uniform over all places where the patch is inside the image. A
//! pixel whose centre is under the patch takes the patch's value there, bilinear; all others are unchanged. Source: Brown,
//! Mané, Roy, Abadi and Gilmer, "Adversarial Patch", 2017, section 2.

use proofmark_domain::{Grid, Kind, MapSpec, Modality, PatchShape};
use proofmark_stats::random::Stream;

use super::{Map, bilinear, parameters};

#[derive(Debug)]
pub(super) struct Patch {
    parameters: Modality,
    round: bool,
    /// Largest angle, in radians.
    angle: f64,
    scale: f64,
    placements: u32,
    /// Pixels of a side.
    side: usize,
    grid: Grid,
    /// Lowest and highest value and half of the range, per feature of the input.
    low: Vec<f32>,
    high: Vec<f32>,
    half: Vec<f32>,
}

impl Patch {
    pub(super) fn new(spec: &MapSpec, grid: Grid, input: &Modality) -> Result<Self, String> {
        let MapSpec::Patch {
            share,
            shape,
            degrees,
            scale,
            placements,
            ..
        } = *spec
        else {
            return Err(format!("map {} is no patch", spec.name()));
        };
        let round = shape == PatchShape::Round;
        let area = share * grid.pixels() as f64;
        // A circle of this area has this diameter.
        let exact = if round {
            2.0 * (area / std::f64::consts::PI).sqrt()
        } else {
            area.sqrt()
        };
        let side = (exact.round() as usize).max(1);
        let shortest = grid.height.min(grid.width);
        let patch = Self {
            parameters: parameters("patch", Kind::Image, vec![grid.channels, side, side]),
            round,
            angle: degrees.to_radians(),
            scale,
            placements,
            side,
            grid,
            low: (0..input.features()).map(|f| input.bounds.low(f)).collect(),
            high: (0..input.features())
                .map(|f| input.bounds.high(f))
                .collect(),
            half: (0..input.features())
                .map(|f| (input.bounds.high(f) - input.bounds.low(f)) / 2.0)
                .collect(),
        };
        let largest = 2.0 * patch.reach(scale, patch.steepest());
        if largest > shortest as f64 {
            return Err(format!(
                "a patch of share {share} has sides of {side} pixels, up to {largest:.1} with scale {scale} and {degrees} degrees; the image of input `{}` is {} × {}; expected a smaller share, scale or angle",
                input.name, grid.height, grid.width
            ));
        }
        Ok(patch)
    }

    /// Returns the angle within the limits at which a square reaches furthest.
    fn steepest(&self) -> f64 {
        self.angle.min(std::f64::consts::FRAC_PI_4)
    }

    /// Returns how far the patch reaches from its centre, in pixels.
    fn reach(&self, scale: f64, angle: f64) -> f64 {
        let half = scale * self.side as f64 / 2.0;
        if self.round {
            half
        } else {
            half * (angle.sin().abs() + angle.cos().abs())
        }
    }

    /// Draws a placement and calls `with` for each pixel under the patch: its number and its place in the patch.
    fn each(&self, stream: &mut Stream, mut with: impl FnMut(usize, [f64; 2])) {
        let mut uniform = |low: f64, high: f64| low + (high - low) * stream.uniform_f64();
        let scale = uniform(1.0 / self.scale, self.scale);
        let angle = uniform(-self.angle, self.angle);
        let reach = self.reach(scale, angle);
        let (height, width) = (self.grid.height as f64, self.grid.width as f64);
        // Places are counted from the image's upper left corner: the centre of the first pixel is at 0.5.
        let cy = uniform(reach, (height - reach).max(reach));
        let cx = uniform(reach, (width - reach).max(reach));
        let (sin, cos) = angle.sin_cos();
        let half = self.side as f64 / 2.0;
        for pixel in 0..self.grid.pixels() {
            let y = (pixel / self.grid.width) as f64 + 0.5 - cy;
            let x = (pixel % self.grid.width) as f64 + 0.5 - cx;
            if y.abs() > reach || x.abs() > reach {
                continue;
            }
            let v = (cos * y + sin * x) / scale;
            let u = (cos * x - sin * y) / scale;
            let is_inside = if self.round {
                v * v + u * u <= half * half
            } else {
                v.abs() <= half && u.abs() <= half
            };
            if is_inside {
                with(pixel, [v + half - 0.5, u + half - 0.5]);
            }
        }
    }

    /// Returns the pixels of the patch that a place in it is mixed from, with their weights.
    fn sources(&self, [v, u]: [f64; 2]) -> impl Iterator<Item = (usize, f64)> {
        let last = self.side as isize - 1;
        let corners = bilinear(v, u).into_iter().filter(|(_, w)| w[0] != 0.0);
        let side = self.side;
        corners.map(move |([y, x], w)| {
            let (y, x) = (y.clamp(0, last) as usize, x.clamp(0, last) as usize);
            (y * side + x, w[0])
        })
    }
}

impl Map for Patch {
    fn parameters(&self) -> &Modality {
        &self.parameters
    }

    fn draws(&self) -> u32 {
        self.placements
    }

    fn apply(&self, x0: &[f32], parameters: &[f32], stream: &mut Stream) -> Vec<f32> {
        let mut pasted = x0.to_vec();
        self.each(stream, |pixel, place| {
            for channel in 0..self.grid.channels {
                let from = channel * self.side * self.side;
                let sum: f64 = self
                    .sources(place)
                    .map(|(at, w)| w * f64::from(parameters[from + at]))
                    .sum();
                let f = self.grid.feature(channel, pixel);
                let value = self.low[f] + self.half[f] * (1.0 + sum as f32);
                pasted[f] = value.clamp(self.low[f], self.high[f]);
            }
        });
        pasted
    }

    fn pull_back(
        &self,
        _: &[f32],
        parameters: &[f32],
        gradient: &[f32],
        stream: &mut Stream,
    ) -> Vec<f32> {
        let mut sums = vec![0.0_f64; parameters.len()];
        self.each(stream, |pixel, place| {
            for channel in 0..self.grid.channels {
                let from = channel * self.side * self.side;
                let f = self.grid.feature(channel, pixel);
                let g = f64::from(gradient[f]) * f64::from(self.half[f]);
                for (at, w) in self.sources(place) {
                    sums[from + at] += w * g;
                }
            }
        });
        sums.into_iter().map(|s| s as f32).collect()
    }

    /// Values of the patch in data units. Bounds of the input's first pixel stand for those of the patch.
    fn shown(&self, parameters: &[f32]) -> Vec<f32> {
        let pixels = self.side * self.side;
        let value = |(i, p): (usize, &f32)| {
            let f = self.grid.feature(i / pixels, 0);
            self.low[f] + self.half[f] * (1.0 + p)
        };
        parameters.iter().enumerate().map(value).collect()
    }
}
