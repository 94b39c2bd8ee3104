//! Rotation and translation of an image.
//!
//! Parameters: angle, shift down and shift to the right, each in units of its limit. The value at pixel `p`, counted from
//! the centre, is that of the clean image at `R(-angle) (p - shift)`, bilinear. Source: Engstrom, Tran, Tsipras, Schmidt
//! and Madry, "Exploring the Landscape of Spatial Robustness", ICML 2019, section 2.

use proofmark_domain::{Grid, Kind, Modality, Padding};
use proofmark_stats::random::Stream;

use super::{Map, bilinear, parameters};

#[derive(Debug)]
pub(super) struct Spatial {
    parameters: Modality,
    /// Limit of the angle, in radians.
    angle: f64,
    /// Limits of the shifts, in pixels.
    shift: [f64; 2],
    padding: Padding,
    grid: Grid,
    /// Value outside the image, per feature.
    outside: Vec<f32>,
}

impl Spatial {
    pub(super) fn new(
        degrees: f64,
        shift: f64,
        padding: Padding,
        grid: Grid,
        input: &Modality,
    ) -> Self {
        let zero = |f| 0.0_f32.clamp(input.bounds.low(f), input.bounds.high(f));
        Self {
            parameters: parameters("spatial", Kind::Table, vec![3]),
            angle: degrees.to_radians(),
            shift: [shift * grid.height as f64, shift * grid.width as f64],
            padding,
            grid,
            outside: (0..input.features()).map(zero).collect(),
        }
    }

    /// Calls `with` for every pixel: its number, its source `(y, x)` in the clean image, and the derivatives of the source
    /// by the three parameters.
    fn each(&self, parameters: &[f32], mut with: impl FnMut(usize, [f64; 2], [[f64; 2]; 3])) {
        let [angle, down, right] = [0, 1, 2].map(|i| f64::from(parameters[i]));
        let (down, right) = (down * self.shift[0], right * self.shift[1]);
        let (sin, cos) = (angle * self.angle).sin_cos();
        let (height, width) = (self.grid.height, self.grid.width);
        let (cy, cx) = ((height as f64 - 1.0) / 2.0, (width as f64 - 1.0) / 2.0);
        for pixel in 0..self.grid.pixels() {
            let y = (pixel / width) as f64 - cy - down;
            let x = (pixel % width) as f64 - cx - right;
            let (v, u) = (cos * y + sin * x, cos * x - sin * y);
            let by_angle = [self.angle * u, -self.angle * v];
            let by_down = [-cos * self.shift[0], sin * self.shift[0]];
            let by_right = [-sin * self.shift[1], -cos * self.shift[1]];
            with(pixel, [v + cy, u + cx], [by_angle, by_down, by_right]);
        }
    }

    /// Returns the clean value at a corner, which may lie outside the image.
    fn value(&self, x0: &[f32], channel: usize, [y, x]: [isize; 2]) -> f32 {
        let (height, width) = (self.grid.height as isize, self.grid.width as isize);
        let is_inside = (0..height).contains(&y) && (0..width).contains(&x);
        let pixel = y.clamp(0, height - 1) * width + x.clamp(0, width - 1);
        let feature = self.grid.feature(channel, pixel as usize);
        if is_inside || self.padding == Padding::Edge {
            x0[feature]
        } else {
            self.outside[feature]
        }
    }
}

impl Map for Spatial {
    fn parameters(&self) -> &Modality {
        &self.parameters
    }

    fn apply(&self, x0: &[f32], parameters: &[f32], _: &mut Stream) -> Vec<f32> {
        let mut moved = x0.to_vec();
        self.each(parameters, |pixel, [y, x], _| {
            let corners = bilinear(y, x);
            for channel in 0..self.grid.channels {
                // Corners of weight 0 do not count: an image that stays is the same to the bit.
                let sum: f64 = corners
                    .iter()
                    .filter(|(_, w)| w[0] != 0.0)
                    .map(|(at, w)| w[0] * f64::from(self.value(x0, channel, *at)))
                    .sum();
                moved[self.grid.feature(channel, pixel)] = sum as f32;
            }
        });
        moved
    }

    fn pull_back(
        &self,
        x0: &[f32],
        parameters: &[f32],
        gradient: &[f32],
        _: &mut Stream,
    ) -> Vec<f32> {
        let mut sums = [0.0; 3];
        self.each(parameters, |pixel, [y, x], by| {
            let corners = bilinear(y, x);
            for channel in 0..self.grid.channels {
                let (mut dy, mut dx) = (0.0, 0.0);
                for (at, w) in &corners {
                    let value = f64::from(self.value(x0, channel, *at));
                    dy += w[1] * value;
                    dx += w[2] * value;
                }
                let g = f64::from(gradient[self.grid.feature(channel, pixel)]);
                for (sum, [by_y, by_x]) in sums.iter_mut().zip(by) {
                    *sum += g * (dy * by_y + dx * by_x);
                }
            }
        });
        sums.map(|s| s as f32).to_vec()
    }

    fn shown(&self, parameters: &[f32]) -> Vec<f32> {
        let limits = [self.angle.to_degrees(), self.shift[0], self.shift[1]];
        let shown = parameters.iter().zip(limits);
        shown
            .map(|(p, limit)| (f64::from(*p) * limit) as f32)
            .collect()
    }

    fn names(&self) -> &'static [&'static str] {
        &["degrees", "pixels_down", "pixels_right"]
    }
}
