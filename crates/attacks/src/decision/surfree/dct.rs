//! Low frequencies of images: the orthonormal two-dimensional cosine transform (DCT-II) of each channel, restricted to
//! the lowest frequencies of each axis.

use std::f64::consts::PI;

use proofmark_domain::Grid;
use proofmark_stats::random::Stream;

/// Smallest amplitude of a frequency, so that a sample without structure still gets directions.
const FAINTEST: f64 = 0.01;

/// Cosines of one axis: `[frequency][position]`, the lowest frequencies only.
#[derive(Debug)]
struct Axis {
    length: usize,
    waves: Vec<f64>,
}

impl Axis {
    fn new(length: usize, share: f64) -> Self {
        let kept = ((length as f64 * share).ceil() as usize).clamp(1, length);
        let n = length as f64;
        let wave = |f: usize| {
            let scale = if f == 0 { 1.0 / n } else { 2.0 / n }.sqrt();
            (0..length).map(move |x| scale * (PI * (x as f64 + 0.5) * f as f64 / n).cos())
        };
        Self {
            length,
            waves: (0..kept).flat_map(wave).collect(),
        }
    }

    fn kept(&self) -> usize {
        self.waves.len() / self.length
    }

    fn wave(&self, f: usize) -> &[f64] {
        &self.waves[f * self.length..(f + 1) * self.length]
    }
}

/// The low frequencies of the channels of an image.
#[derive(Debug)]
pub(super) struct Frequencies {
    grid: Grid,
    down: Axis,
    across: Axis,
}

impl Frequencies {
    /// Keeps this share of the frequencies of each axis of an image, at least one.
    pub(super) fn new(grid: Grid, share: f64) -> Self {
        Self {
            down: Axis::new(grid.height, share),
            across: Axis::new(grid.width, share),
            grid,
        }
    }

    /// Draws a direction: each frequency has a random sign or is 0, and the amplitude `tanh(|X| / range)`, where `X` is
    /// its coefficient in the sample.
    pub(super) fn draw(&self, x0: &[f32], range: f64, stream: &mut Stream) -> Vec<f32> {
        let mut direction = vec![0.0; x0.len()];
        for channel in 0..self.grid.channels {
            let at = |pixel| self.grid.feature(channel, pixel);
            let plane: Vec<f32> = (0..self.grid.pixels()).map(|p| x0[at(p)]).collect();
            let mut coefficients = self.transform(&plane);
            for c in &mut coefficients {
                let amplitude = (c.abs() / range).tanh().max(FAINTEST);
                *c = amplitude * (f64::from(stream.below(3)) - 1.0);
            }
            for (pixel, value) in self.inverse(&coefficients).into_iter().enumerate() {
                direction[at(pixel)] = value as f32;
            }
        }
        direction
    }

    /// Returns the low frequencies of one channel, `[down][across]`.
    fn transform(&self, plane: &[f32]) -> Vec<f64> {
        let (rows, columns) = (self.down.kept(), self.across.kept());
        let mut all = vec![0.0; rows * columns];
        for (y, line) in plane.chunks(self.across.length).enumerate() {
            for g in 0..columns {
                let wave = self.across.wave(g);
                let sum: f64 = line.iter().zip(wave).map(|(p, w)| f64::from(*p) * w).sum();
                for f in 0..rows {
                    all[f * columns + g] += sum * self.down.wave(f)[y];
                }
            }
        }
        all
    }

    /// Returns the channel that consists of these frequencies.
    fn inverse(&self, coefficients: &[f64]) -> Vec<f64> {
        let width = self.across.length;
        // First every line of frequencies across, then down.
        let lines: Vec<Vec<f64>> = (coefficients.chunks(self.across.kept()))
            .map(|line| {
                let mut sum = vec![0.0; width];
                for (g, c) in line.iter().enumerate() {
                    for (s, w) in sum.iter_mut().zip(self.across.wave(g)) {
                        *s += c * w;
                    }
                }
                sum
            })
            .collect();
        let mut plane = vec![0.0; self.down.length * width];
        for (f, line) in lines.iter().enumerate() {
            for (out, wave) in plane.chunks_mut(width).zip(self.down.wave(f)) {
                for (o, l) in out.iter_mut().zip(line) {
                    *o += wave * l;
                }
            }
        }
        plane
    }
}

#[cfg(test)]
mod tests {
    use proofmark_domain::Seed;
    use proofmark_stats::random::{Purpose, StreamKey};

    use super::*;

    #[test]
    fn all_frequencies_give_the_image_back() {
        let all = Frequencies::new(Grid::channels_first([1, 3, 5]), 1.0);
        let image: Vec<f32> = (0..15_u8).map(|i| f32::from(i * i % 11) / 11.0).collect();
        let back = all.inverse(&all.transform(&image));
        for (a, b) in image.iter().zip(back) {
            assert!((f64::from(*a) - b).abs() < 1e-6);
        }
        // A constant image has the mean frequency alone: its value times √(3 · 5).
        let flat = all.transform(&[2.0; 15]);
        assert!((flat[0] - 2.0 * 15_f64.sqrt()).abs() < 1e-9);
        assert!(flat[1..].iter().all(|c| c.abs() < 1e-9));
    }

    #[test]
    fn directions_have_low_frequencies_only() {
        let grid = Grid::channels_first([2, 4, 8]);
        let (low, all) = (Frequencies::new(grid, 0.5), Frequencies::new(grid, 1.0));
        let x0: Vec<f32> = (0..64_u16).map(|i| f32::from(i * 7 % 13) / 13.0).collect();
        let key = StreamKey::new(Seed(1), 2, Purpose::Direction);
        let direction = low.draw(&x0, 1.0, &mut Stream::new(&key));
        for channel in direction.chunks(32) {
            let spectrum = all.transform(channel);
            assert!(spectrum.iter().any(|c| c.abs() > 1e-3));
            for (i, c) in spectrum.iter().enumerate() {
                assert!(i / 8 < 2 && i % 8 < 4 || c.abs() < 1e-5, "{i}: {c}");
            }
        }
        // The same image with its channels last has the same direction, in that order.
        let turned = |x: &[f32]| -> Vec<f32> { (0..64).map(|f| x[f % 2 * 32 + f / 2]).collect() };
        let last = Frequencies::new(Grid::channels_last([4, 8, 2]), 0.5);
        let of_turned = last.draw(&turned(&x0), 1.0, &mut Stream::new(&key));
        assert_eq!(of_turned, turned(&direction));
    }
}
