//! Orthonormal directions over the inputs of a model, in passes: each pass has every direction of its basis once.

use std::f64::consts::PI;

use proofmark_threat::Draw;
use serde::{Deserialize, Serialize};

use super::canvas::Canvas;

/// Basis from which the directions are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Basis {
    /// Single features.
    #[default]
    Pixel,
    /// Low frequencies of the discrete cosine transform.
    Dct,
}

/// Least number of frequencies along a side, if it has so many.
const FREQUENCIES: usize = 4;

/// The directions of all inputs, pass by pass.
#[derive(Debug)]
pub(super) struct Directions {
    pub(super) basis: Basis,
    /// Share of the frequencies along each side that the first pass takes.
    pub(super) frequencies: f64,
    /// One per modality; `None` if it may not change.
    pub(super) canvases: Vec<Option<Canvas>>,
}

/// A direction of the basis: a modality, a channel, and a cell or a pair of frequencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Direction {
    pub(super) modality: usize,
    channel: usize,
    place: [usize; 2],
}

/// Returns entry `i` of cosine direction `frequency` of a side with `n` cells for each `i`: an orthonormal basis.
fn cosines(frequency: usize, n: usize) -> Vec<f64> {
    let (n_f, k) = (n as f64, frequency as f64);
    let scale = (if frequency == 0 { 1.0 } else { 2.0 } / n_f).sqrt();
    // cos((2i + 1) φ) by the recurrence of Chebyshev; two numbers before the first are equal by symmetry.
    let angle = PI * k / (2.0 * n_f);
    let (mut before, mut now) = (angle.cos(), angle.cos());
    let twice = 2.0 * (2.0 * angle).cos();
    (0..n)
        .map(|_| {
            let value = scale * now;
            (before, now) = (now, twice * now - before);
            value
        })
        .collect()
}

impl Directions {
    /// Returns the number of places along each side of a canvas in pass `pass` (from 0).
    fn places(&self, canvas: &Canvas, pass: u64) -> [usize; 2] {
        canvas.sides().map(|side| match self.basis {
            Basis::Pixel => side,
            Basis::Dct => {
                let share = self.frequencies * 2.0_f64.powi(pass.min(64) as i32);
                let wanted = (side as f64 * share.min(1.0)).ceil() as usize;
                wanted.max(FREQUENCIES).min(side)
            }
        })
    }

    /// Returns the number of directions of pass `pass`.
    pub(super) fn count(&self, pass: u64) -> usize {
        let canvases = self.canvases.iter().flatten();
        canvases
            .map(|c| {
                let [rows, columns] = self.places(c, pass);
                rows * columns * c.channels()
            })
            .sum()
    }

    /// Returns the pass that direction `at` (from 0) belongs to, its place in it, and the length of that pass.
    pub(super) fn pass(&self, at: u64) -> (u64, usize, usize) {
        let (mut pass, mut left) = (0, at);
        loop {
            let count = self.count(pass) as u64;
            // From some pass on all have the same length.
            if count == self.count(pass + 1) as u64 && self.count(64) as u64 == count {
                return (pass + left / count, (left % count) as usize, count as usize);
            }
            if left < count {
                return (pass, left as usize, count as usize);
            }
            (pass, left) = (pass + 1, left - count);
        }
    }

    /// Returns direction `item` of pass `pass`.
    pub(super) fn direction(&self, pass: u64, mut item: usize) -> Option<Direction> {
        for (modality, canvas) in self.canvases.iter().enumerate() {
            let Some(canvas) = canvas else { continue };
            let [rows, columns] = self.places(canvas, pass);
            let count = rows * columns * canvas.channels();
            if item < count {
                let (channel, place) = (item / (rows * columns), item % (rows * columns));
                return Some(Direction {
                    modality,
                    channel,
                    place: [place / columns, place % columns],
                });
            }
            item -= count;
        }
        None
    }

    /// Moves a row by `length` along a direction, within the bounds. Returns whether it moved.
    pub(super) fn shift(&self, draws: &mut [Draw<'_>], to: Direction, length: f64) -> bool {
        let (draw, Some(canvas)) = (&mut draws[to.modality], &self.canvases[to.modality]) else {
            return false;
        };
        let mut moved = false;
        let mut add = |f: usize, by: f64| {
            let value = (f64::from(draw.x[f]) + by) as f32;
            let value = value.clamp(draw.lower[f], draw.upper[f]);
            moved |= value != draw.x[f];
            draw.x[f] = value;
        };
        let [row, column] = to.place;
        if self.basis == Basis::Pixel {
            add(canvas.feature(row, column, to.channel), length);
            return moved;
        }
        let [height, width] = canvas.sides();
        let (down, across) = (cosines(row, height), cosines(column, width));
        let entries = down.iter().flat_map(|d| across.iter().map(move |a| d * a));
        for (f, q) in canvas.features(canvas.whole(), to.channel).zip(entries) {
            add(f, length * q);
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use proofmark_domain::{Bounds, Kind, Modality};

    use super::*;

    fn directions(basis: Basis, shapes: &[[usize; 3]]) -> Directions {
        let canvas = |shape: &[usize; 3]| {
            let modality = Modality {
                name: "x".into(),
                kind: Kind::Image,
                shape: shape.to_vec(),
                bounds: Bounds::uniform(0.0, 1.0).unwrap(),
            };
            Canvas::new(&modality, None)
        };
        Directions {
            basis,
            frequencies: 0.125,
            canvases: shapes.iter().map(canvas).collect(),
        }
    }

    #[test]
    fn cosine_directions_are_orthonormal() {
        for n in [1, 2, 5, 64] {
            let all: Vec<Vec<f64>> = (0..n).map(|k| cosines(k, n)).collect();
            for (i, a) in all.iter().enumerate() {
                for (j, b) in all.iter().enumerate() {
                    let dot: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                    let expected = f64::from(u8::from(i == j));
                    assert!((dot - expected).abs() < 1e-10, "{n} {i} {j}: {dot}");
                }
            }
        }
        // Frequency 1 of three cells: cos 30°, cos 90°, cos 150°, times √(2/3).
        let by_hand = [0.5_f64.sqrt(), 0.0, -0.5_f64.sqrt()];
        let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-12;
        assert!(cosines(1, 3).iter().zip(&by_hand).all(close));
    }

    #[test]
    fn every_pass_takes_every_direction_once() {
        let pixels = directions(Basis::Pixel, &[[2, 3, 4], [1, 2, 2]]);
        assert_eq!(pixels.count(0), 28);
        assert_eq!(pixels.pass(0), (0, 0, 28));
        assert_eq!(pixels.pass(27), (0, 27, 28));
        assert_eq!(pixels.pass(28), (1, 0, 28));
        assert_eq!(pixels.pass(28_000_003), (1_000_000, 3, 28));
        let all: Vec<Direction> = (0..28).filter_map(|i| pixels.direction(3, i)).collect();
        let mut unique = all.clone();
        unique.dedup();
        assert_eq!((all.len(), unique.len()), (28, 28));
        let expected = Direction {
            modality: 1,
            channel: 0,
            place: [1, 1],
        };
        assert_eq!(all[27], expected);
        assert_eq!(pixels.direction(0, 28), None);
    }

    /// 64 cells a side: 8, 16, 32 and 64 frequencies, then always 64.
    #[test]
    fn frequencies_double_from_pass_to_pass() {
        let waves = directions(Basis::Dct, &[[3, 64, 64]]);
        let lengths: Vec<usize> = (0..5).map(|p| waves.count(p)).collect();
        assert_eq!(lengths, [192, 768, 3072, 12_288, 12_288]);
        assert_eq!(waves.pass(191), (0, 191, 192));
        assert_eq!(waves.pass(192), (1, 0, 768));
        let before: u64 = lengths[..3].iter().map(|l| *l as u64).sum();
        assert_eq!(waves.pass(before), (3, 0, 12_288));
        assert_eq!(waves.pass(before + 12_288), (4, 0, 12_288));
        // A side with fewer than four cells has them all at once.
        assert_eq!(directions(Basis::Dct, &[[1, 2, 3]]).count(0), 6);
    }
}
