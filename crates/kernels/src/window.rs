//! Windows that slide over a map: kernel size, stride, padding, dilation; and which pixels they read.

use crate::KernelError;
use crate::shape::{Border, Map};

/// Windows over height and width, `[height, width]` each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Window {
    /// Size, at least 1.
    pub size: [usize; 2],
    /// Pixels from a window to the next, at least 1.
    pub stride: [usize; 2],
    /// Pixels around the map, before and after.
    pub pads: [[usize; 2]; 2],
    /// Pixels from a tap to the next, at least 1.
    pub dilation: [usize; 2],
}

/// Windows of a size, stride 1, without padding.
impl From<[usize; 2]> for Window {
    fn from(size: [usize; 2]) -> Self {
        Self {
            size,
            stride: [1; 2],
            pads: [[0; 2]; 2],
            dilation: [1; 2],
        }
    }
}

/// A position of the window: for an output pixel `(y, x)` a kernel reads the pixel `(y stride + dy, x stride + dx)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tap {
    /// Its place in the window, line by line.
    pub(crate) at: usize,
    pub(crate) dy: isize,
    pub(crate) dx: isize,
}

/// Output pixels that read with the same taps: all of them in a forward pass; in an input gradient those whose place
/// agrees modulo the stride.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Phase {
    /// Its first pixel, and the step to the next, in the output.
    pub(crate) start: [usize; 2],
    pub(crate) step: [usize; 2],
    /// Output pixels down and across.
    pub(crate) size: [usize; 2],
    /// Input pixels from one output pixel to the next.
    pub(crate) stride: [usize; 2],
    pub(crate) taps: Vec<Tap>,
}

impl Window {
    /// The output's height and width.
    pub(crate) fn over(
        &self,
        operation: &'static str,
        map: Map,
    ) -> Result<[usize; 2], KernelError> {
        let lengths = [map.height, map.width];
        let mut out = [0; 2];
        for i in 0..2 {
            let span = (self.size[i].max(1) - 1) * self.dilation[i] + 1;
            let padded = lengths[i] + self.pads[i][0] + self.pads[i][1];
            if self.size[i] == 0 || self.stride[i] == 0 || self.dilation[i] == 0 || span > padded {
                return Err(KernelError::shape(
                    operation,
                    format!("windows {self:?} over {map:?}"),
                ));
            }
            out[i] = (padded - span) / self.stride[i] + 1;
        }
        Ok(out)
    }

    /// Returns the taps of the forward pass.
    pub(crate) fn forward(&self, out: [usize; 2]) -> Phase {
        let place = |i: usize, k: usize| (k * self.dilation[i]) as isize - self.pads[i][0] as isize;
        let taps = (0..self.size[0] * self.size[1])
            .map(|at| Tap {
                at,
                dy: place(0, at / self.size[1]),
                dx: place(1, at % self.size[1]),
            })
            .collect();
        Phase {
            start: [0; 2],
            step: [1; 2],
            size: out,
            stride: self.stride,
            taps,
        }
    }

    /// Returns the taps of the input gradient over the output's gradient, one phase per remainder of the stride.
    pub(crate) fn backward(&self, map: Map, out: [usize; 2]) -> Vec<Phase> {
        let lengths = [map.height, map.width];
        // A single window has no next one. With a stride beyond the map every input pixel reads the one tap that
        // reaches it, not all taps at a border of zeros.
        let mut strides = self.stride;
        for i in 0..2 {
            if out[i] == 1 {
                strides[i] = lengths[i] + self.pads[i][0] + self.pads[i][1];
            }
        }
        // Per remainder of one dimension, the taps (which, and the distance) that reach those pixels.
        let along = |i: usize, remainder: usize| -> Vec<(usize, isize)> {
            (0..self.size[i])
                .filter_map(|k| {
                    let ahead =
                        (remainder + self.pads[i][0]) as isize - (k * self.dilation[i]) as isize;
                    let stride = strides[i] as isize;
                    (ahead % stride == 0).then_some((k, ahead / stride))
                })
                .collect()
        };
        let mut phases = Vec::new();
        for a in 0..strides[0].min(lengths[0]) {
            for b in 0..strides[1].min(lengths[1]) {
                let across = along(1, b);
                let taps = along(0, a).into_iter().flat_map(|(ky, dy)| {
                    let tap = move |(kx, dx): &(usize, isize)| Tap {
                        at: ky * self.size[1] + kx,
                        dy,
                        dx: *dx,
                    };
                    across.iter().map(tap).collect::<Vec<_>>()
                });
                phases.push(Phase {
                    start: [a, b],
                    step: strides,
                    size: [
                        (lengths[0] - a).div_ceil(strides[0]),
                        (lengths[1] - b).div_ceil(strides[1]),
                    ],
                    stride: [1; 2],
                    taps: taps.collect(),
                });
            }
        }
        phases
    }
}

impl Phase {
    /// The same pixels in parts, each with the taps that reach the map: those at its edge skip what reads the border.
    ///
    /// Only small maps are cut up, whose pixels are computed together with those of other rows: with so few pixels at
    /// the edge of a large map there would be too little to compute at once.
    pub(crate) fn parts(&self, input: Map, large: usize) -> Vec<Self> {
        let lengths = [input.height, input.width];
        let ahead = |t: &Tap, i: usize| if i == 0 { t.dy } else { t.dx };
        let reaches = |t: &Tap, i: usize, o: usize| {
            let at = (o * self.stride[i]) as isize + ahead(t, i);
            (0..lengths[i] as isize).contains(&at)
        };
        // Along one dimension, runs of pixels that the same taps reach.
        let runs = |i: usize| -> Vec<(usize, usize)> {
            let reached =
                |o: usize| -> Vec<bool> { self.taps.iter().map(|t| reaches(t, i, o)).collect() };
            let mut runs: Vec<(usize, usize)> = Vec::new();
            for o in 0..self.size[i] {
                match runs.last_mut() {
                    Some((first, n)) if self.pixels() >= large || reached(*first) == reached(o) => {
                        *n += 1;
                    }
                    _ => runs.push((o, 1)),
                }
            }
            runs
        };
        let across = runs(1);
        let mut parts = Vec::new();
        for (y, rows) in runs(0) {
            for (x, columns) in &across {
                let reached = |t: &&Tap| {
                    (y..y + rows).any(|o| reaches(t, 0, o))
                        && (*x..x + columns).any(|o| reaches(t, 1, o))
                };
                let moved = |t: &Tap| Tap {
                    at: t.at,
                    dy: t.dy + (y * self.stride[0]) as isize,
                    dx: t.dx + (x * self.stride[1]) as isize,
                };
                parts.push(Self {
                    start: [
                        self.start[0] + y * self.step[0],
                        self.start[1] + x * self.step[1],
                    ],
                    step: self.step,
                    size: [rows, *columns],
                    stride: self.stride,
                    taps: self.taps.iter().filter(reached).map(moved).collect(),
                });
            }
        }
        parts
    }

    /// The border that the input needs so that every tap reads inside it.
    pub(crate) fn border(&self, input: Map) -> Border {
        let reach = |d: fn(&Tap) -> isize, i: usize, length: usize| {
            let least = self.taps.iter().map(d).min().unwrap_or(0);
            let most = self.taps.iter().map(d).max().unwrap_or(0);
            let last = (self.size[i].saturating_sub(1) * self.stride[i]) as isize + most;
            (
                (-least).max(0) as usize,
                (last - (length as isize - 1)).max(0) as usize,
            )
        };
        let (top, bottom) = reach(|t| t.dy, 0, input.height);
        let (left, right) = reach(|t| t.dx, 1, input.width);
        Border {
            top,
            left,
            bottom,
            right,
        }
    }

    #[inline(always)]
    pub(crate) fn pixels(&self) -> usize {
        self.size[0] * self.size[1]
    }
}
