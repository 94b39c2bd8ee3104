//! The linear operations as sums of weighted values, and how far rounding takes them.

use crate::builder::Builder;
use crate::operation::Operation;

use super::Program;

/// Unit roundoff of `f32`.
const UNIT: f64 = 1.0 / (1u64 << 24) as f64;
/// Terms added to the length of a sum for everything beside it: bias, addend, factors folded into weights.
const BESIDE: usize = 16;
/// Covers numbers too small for `f32`'s precision, over a sum.
pub(super) const TINY: f64 = 1e-30;
/// Largest magnitude of a sum's terms together that cannot overflow `f32`.
pub(super) const MOST: f64 = 1e37;

/// `k u / (1 - k u)` for a sum of `terms` and a few more.
pub(super) fn widening(terms: usize) -> f64 {
    let ku = (terms + BESIDE) as f64 * UNIT;
    // Sums of 2^23 terms: no network has them, and no bound would hold.
    if ku < 0.5 {
        ku / (1.0 - ku)
    } else {
        f64::INFINITY
    }
}

impl Program {
    /// Whether an operation is a sum of weighted values.
    pub(super) fn is_linear(&self, at: usize) -> bool {
        matches!(
            self.net.operations[at],
            Operation::Convolution(..)
                | Operation::Scale(..)
                | Operation::Average(..)
                | Operation::Add(..)
                | Operation::Join(_)
                | Operation::Rearrange(..)
                | Operation::Affine(..)
                | Operation::Spread(_)
        )
    }

    /// Whether each of its values is one of another operation, unchanged.
    pub(super) fn is_copy(&self, at: usize) -> bool {
        matches!(
            self.net.operations[at],
            Operation::Join(_) | Operation::Rearrange(..) | Operation::Spread(_)
        )
    }

    /// How far the `f32` value of a linear operation may be from the exact sum, as a share of its terms' magnitudes.
    pub(super) fn rounding(&self, at: usize) -> f64 {
        match &self.net.operations[at] {
            Operation::Join(_) | Operation::Rearrange(..) | Operation::Spread(_) => 0.0,
            Operation::Scale(..) | Operation::Affine(..) => {
                // Scale and shift may be folded into the convolution that reads them, whose bias is then a sum of all
                // shifts: their rounding is that of the convolution, twice.
                let sums = self.readers[at].iter().map(|r| terms_of(&self.net, *r));
                widening(2 * sums.max().unwrap_or(0))
            }
            _ => widening(terms_of(&self.net, at)),
        }
    }

    /// The constant of a sum.
    pub(super) fn constant(&self, at: usize, j: usize) -> f64 {
        let pixels = |at: usize| self.net.maps[at].height * self.net.maps[at].width;
        f64::from(match &self.net.operations[at] {
            Operation::Convolution(_, c) if !c.bias.is_empty() => c.bias[j / pixels(at)],
            Operation::Scale(_, s) => s.shift[j / pixels(at)],
            Operation::Affine(_, _, shift) => shift[j],
            _ => 0.0,
        })
    }

    /// Calls `f` with the value, the feature and the weight of every term of the `j`th sum of a linear operation.
    #[inline]
    pub(super) fn terms(&self, at: usize, j: usize, mut f: impl FnMut(usize, usize, f64)) {
        let map = self.net.maps[at];
        let pixels = map.height * map.width;
        match &self.net.operations[at] {
            Operation::Convolution(x, c) => {
                let from = self.net.maps[*x];
                let (o, y, col) = (j / pixels, j % pixels / map.width, j % map.width);
                let (each, taps) = (
                    from.channels / c.groups,
                    c.window.size[0] * c.window.size[1],
                );
                let first = o / (c.out / c.groups) * each;
                let weights = &c.weights[o * each * taps..][..each * taps];
                let rows: Vec<(usize, usize)> = inside(&c.window, 0, y, from.height).collect();
                let columns: Vec<(usize, usize)> = inside(&c.window, 1, col, from.width).collect();
                for (k, weights) in weights.chunks_exact(taps).enumerate() {
                    for (ky, row) in &rows {
                        let weights = &weights[ky * c.window.size[1]..];
                        let line = ((first + k) * from.height + row) * from.width;
                        for (kx, column) in &columns {
                            f(*x, line + column, f64::from(weights[*kx]));
                        }
                    }
                }
            }
            Operation::Average(x, window) => {
                let from = self.net.maps[*x];
                let (channel, y, col) = (j / pixels, j % pixels / map.width, j % map.width);
                let w = 1.0 / (window.size[0] * window.size[1]) as f64;
                for (_, row) in inside(window, 0, y, from.height) {
                    for (_, column) in inside(window, 1, col, from.width) {
                        f(*x, (channel * from.height + row) * from.width + column, w);
                    }
                }
            }
            Operation::Scale(x, s) => f(*x, j, f64::from(s.scale[j / pixels])),
            Operation::Affine(x, scale, _) => f(*x, j, f64::from(scale[j])),
            Operation::Add(a, b) => {
                f(*a, j, 1.0);
                f(*b, j, 1.0);
            }
            Operation::Join(parts) => {
                let mut first = 0;
                for part in parts {
                    let n = self.net.maps[*part].features();
                    if j < first + n {
                        return f(*part, j - first, 1.0);
                    }
                    first += n;
                }
            }
            Operation::Rearrange(x, order) => f(*x, order[j] as usize, 1.0),
            Operation::Spread(x) => f(*x, j / pixels, 1.0),
            other => unreachable!("{} is no sum", other.name()),
        }
    }

    /// The features of its input that a pooling's `j`th window reads.
    pub(super) fn window_of(&self, at: usize, j: usize) -> Vec<usize> {
        let Operation::Largest(x, window) = &self.net.operations[at] else {
            unreachable!("only poolings have windows");
        };
        let (map, from) = (self.net.maps[at], self.net.maps[*x]);
        let pixels = map.height * map.width;
        let (channel, y, col) = (j / pixels, j % pixels / map.width, j % map.width);
        let mut features = Vec::new();
        for (_, row) in inside(window, 0, y, from.height) {
            for (_, column) in inside(window, 1, col, from.width) {
                features.push((channel * from.height + row) * from.width + column);
            }
        }
        features
    }
}

/// The taps of a window along one dimension that lie inside the map, and where.
fn inside(
    window: &crate::Window,
    dimension: usize,
    out: usize,
    length: usize,
) -> impl Iterator<Item = (usize, usize)> + use<> {
    let (size, stride) = (window.size[dimension], window.stride[dimension]);
    let (pad, dilation) = (window.pads[dimension][0], window.dilation[dimension]);
    (0..size).filter_map(move |k| {
        let place = (out * stride + k * dilation).checked_sub(pad)?;
        (place < length).then_some((k, place))
    })
}

/// Number of terms of an operation's sums.
fn terms_of(net: &Builder, at: usize) -> usize {
    match &net.operations[at] {
        Operation::Convolution(x, c) => {
            net.maps[*x].channels / c.groups * c.window.size[0] * c.window.size[1]
        }
        Operation::Average(_, window) => window.size[0] * window.size[1],
        Operation::Add(..) => 2,
        _ => 1,
    }
}
