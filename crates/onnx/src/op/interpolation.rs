//! Interpolation along one axis: the inputs that each output is computed from, and their weights.

use burn::tensor::Device;

use crate::array::Array;
use crate::dtype::DType;
use crate::node::OpResult;
use crate::room;
use crate::tensor::{Indices, Tensor};

/// From this input length on, the few inputs of each output are gathered; below it a small matrix is faster.
const LONG: usize = 64;
/// Tolerance within which a fractional part is one half, as in onnxruntime.
const HALF: f64 = 1e-6;
/// Maximum output length of an axis.
const LONGEST: usize = 1 << 24;

/// How a coordinate is rounded to an integer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rounding {
    Floor,
    Ceil,
    PreferFloor,
    PreferCeil,
    /// Down if the output is larger, up if it is smaller, as old versions did.
    BySize,
}

/// Interpolation method.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kernel {
    Nearest(Rounding),
    Linear,
    Cubic(f64),
}

/// Transformation from output to input coordinates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Coordinates {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    HalfPixelForNearest,
    Crop,
}

/// Interpolation settings of an operator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Style {
    pub(super) kernel: Kernel,
    pub(super) coordinates: Coordinates,
    pub(super) exclude_outside: bool,
    pub(super) antialias: bool,
}

/// One axis to resize.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    pub(super) input: usize,
    pub(super) output: usize,
    pub(super) scale: f64,
    /// Start and end of the crop, relative to the input's length.
    pub(super) crop: (f64, f64),
}

/// How an axis is computed.
#[derive(Debug)]
pub(super) enum Plan {
    Same,
    /// Repeats every element this many times.
    Repeat(usize),
    /// Picks these elements.
    Pick(Vec<usize>),
    /// The same number of inputs for every output: their positions, and their weights `[output, 1]`.
    Few(Vec<(Vec<usize>, Array)>),
    /// Weights `[output, input]`.
    Matrix(Array),
}

impl Axis {
    /// Returns the input coordinate of output `at`. Computes in single precision and in onnxruntime's order: in double
    /// precision a coordinate sometimes lands on the other side of a whole number or a half, and another input is
    /// picked.
    fn coordinate(&self, at: usize, style: &Style) -> f64 {
        let (x, scale) = (at as f32, self.scale as f32);
        let (input, output) = (self.input as f32, self.output as f32);
        f64::from(match style.coordinates {
            // As in ONNX's text and onnxruntime; ONNX's reference implementation uses -0.5 for `PytorchHalfPixel`.
            Coordinates::PytorchHalfPixel | Coordinates::AlignCorners if self.output == 1 => 0.0,
            Coordinates::HalfPixel | Coordinates::PytorchHalfPixel => (x + 0.5) / scale - 0.5,
            Coordinates::HalfPixelSymmetric => {
                // Output lengths are rounded down; both ends share the loss.
                let adjustment = output / (scale * input);
                let offset = input / 2.0 * (1.0 - adjustment);
                let place = (f64::from(x) + 0.5) / f64::from(scale);
                (f64::from(offset) + place - 0.5) as f32
            }
            // Uses the actual length, as onnxruntime and PyTorch do; ONNX's reference uses `scale * input`.
            Coordinates::AlignCorners => x * (input - 1.0) / (output - 1.0),
            Coordinates::Asymmetric => x / scale,
            Coordinates::HalfPixelForNearest => (x + 0.5) / scale,
            Coordinates::Crop => {
                let (start, end) = (self.crop.0 as f32, self.crop.1 as f32);
                let last = input - 1.0;
                if self.output == 1 {
                    (0.5 * f64::from(start + end) * f64::from(last)) as f32
                } else {
                    start * last + x * (end - start) * last / (output - 1.0)
                }
            }
        })
    }

    /// Whether the requested length is fractional, so that it is rounded down.
    pub(super) fn is_fractional(&self) -> bool {
        let length = self.scale * self.input as f64;
        // Scales are in single precision.
        (length - length.round()).abs() > 1e-6 * length.max(1.0)
    }

    /// Returns which outputs lie outside the input when cropping.
    pub(super) fn outside(&self, style: &Style) -> Vec<bool> {
        (0..self.output)
            .map(|o| {
                let x = self.coordinate(o, style);
                style.coordinates == Coordinates::Crop && (x < 0.0 || x > (self.input - 1) as f64)
            })
            .collect()
    }

    /// Returns the positions and weights of the inputs of every output, one output after another, and their number per
    /// output.
    fn taps(&self, style: &Style) -> (Vec<(usize, f64)>, usize) {
        let mut all = Vec::new();
        for o in 0..self.output {
            self.add_taps(self.coordinate(o, style), style, &mut all);
        }
        let count = all.len() / self.output.max(1);
        (all, count)
    }

    fn add_taps(&self, x: f64, style: &Style, all: &mut Vec<(usize, f64)>) {
        let last = self.input as f64 - 1.0;
        let inside = |at: f64| at.clamp(0.0, last) as usize;
        let (support, cubic) = match style.kernel {
            Kernel::Nearest(rounding) => {
                let is_half = (x - x.floor() - 0.5).abs() < HALF;
                let at = match rounding {
                    Rounding::Ceil => x.ceil(),
                    Rounding::PreferFloor if is_half => x.floor(),
                    Rounding::PreferCeil if is_half => x.ceil(),
                    Rounding::PreferFloor | Rounding::PreferCeil => x.round(),
                    Rounding::BySize if self.scale < 1.0 => x.ceil(),
                    Rounding::Floor | Rounding::BySize => x.floor(),
                };
                all.push((inside(at), 1.0));
                return;
            }
            Kernel::Linear => (1.0, None),
            Kernel::Cubic(a) => (2.0, Some(a)),
        };
        let weight = |t: f64| {
            let t = t.abs();
            match cubic {
                None => (1.0 - t).max(0.0),
                Some(a) if t <= 1.0 => ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0,
                Some(a) if t < 2.0 => ((a * t - 5.0 * a) * t + 8.0 * a) * t - 4.0 * a,
                Some(_) => 0.0,
            }
        };
        let scale = if style.antialias {
            self.scale.min(1.0)
        } else {
            1.0
        };
        let reach = support / scale;
        // The same number of inputs for every output, since they are stored in columns.
        let first = x.floor() - reach.ceil() + 1.0;
        let count = 2 * reach.ceil() as usize;
        let start = all.len();
        all.extend((0..count).map(|k| {
            let at = first + k as f64;
            let excluded = style.exclude_outside && (at < 0.0 || at > last);
            let w = if excluded {
                0.0
            } else {
                weight((at - x) * scale)
            };
            (inside(at), w)
        }));
        if style.antialias || style.exclude_outside {
            let sum: f64 = all[start..].iter().map(|t| t.1).sum();
            if sum != 0.0 {
                for tap in &mut all[start..] {
                    tap.1 /= sum;
                }
            }
        }
    }

    /// Chooses how to compute the axis. An error if a length is 0 or the output is longer than [`LONGEST`].
    pub(super) fn plan(&self, style: &Style) -> OpResult<Plan> {
        if self.input == 0 || self.output == 0 {
            return Err(format!("length {} resized to {}", self.input, self.output));
        }
        if self.output > LONGEST {
            return Err(format!(
                "length {} resized to {}; at most {LONGEST}",
                self.input, self.output
            ));
        }
        let (taps, count) = self.taps(style);
        let rows = || taps.chunks(count);
        // Position of the input of each output that copies a single input.
        let picked: Vec<usize> = rows()
            .map_while(|row| {
                let mut used = row.iter().filter(|t| t.1 != 0.0);
                let only = used.next().filter(|t| t.1 == 1.0)?;
                used.next().is_none().then_some(only.0)
            })
            .collect();
        if picked.len() == self.output {
            if picked.iter().copied().eq(0..self.input) {
                return Ok(Plan::Same);
            }
            let times = self.output / self.input;
            let repeated = self.output.is_multiple_of(self.input)
                && picked.iter().enumerate().all(|(o, i)| o / times == *i);
            return Ok(if repeated {
                Plan::Repeat(times)
            } else {
                Plan::Pick(picked)
            });
        }
        if self.input >= LONG && count <= 4 {
            return (0..count)
                .map(|k| {
                    let places = rows().map(|row| row[k].0).collect();
                    let weights: Vec<f32> = rows().map(|row| row[k].1 as f32).collect();
                    Ok((places, Array::try_new([self.output, 1], weights)?))
                })
                .collect::<OpResult<_>>()
                .map(Plan::Few);
        }
        let mut matrix = vec![0.0; room::elements(&[self.output, self.input])?];
        for (o, row) in rows().enumerate() {
            for (i, w) in row {
                matrix[o * self.input + i] += w;
            }
        }
        let matrix: Vec<f32> = matrix.into_iter().map(|w: f64| w as f32).collect();
        Array::try_new([self.output, self.input], matrix).map(Plan::Matrix)
    }

    /// Returns the position of the input of each output, where each output is one input.
    pub(super) fn places(&self, style: &Style) -> Vec<usize> {
        self.taps(style).0.iter().map(|t| t.0).collect()
    }
}

impl Plan {
    /// Resizes dimension `axis`.
    pub(super) fn apply(&self, x: Tensor, axis: usize, device: &Device) -> OpResult<Tensor> {
        let mut shape = x.shape();
        let dtype = x.dtype();
        let input = shape[axis];
        let before: usize = shape[..axis].iter().product();
        let after: usize = shape[axis + 1..].iter().product();
        let pick = |x: Tensor, places: &[usize]| {
            x.select(1, Indices::upload(places, &[places.len()], device))
        };
        let y = match self {
            Self::Same => return Ok(x),
            Self::Repeat(times) => {
                shape[axis] = input * times;
                x.reshape(&[before, input, 1, after])?
                    .expand(&[before, input, *times, after])?
            }
            Self::Pick(places) => {
                shape[axis] = places.len();
                room::elements(&shape)?;
                pick(x.reshape(&[before, input, after])?, places)
            }
            Self::Few(taps) => {
                let x = x.reshape(&[before, input, after])?;
                let mut sum: Option<Tensor> = None;
                for (places, weights) in taps {
                    shape[axis] = places.len();
                    room::elements(&shape)?;
                    let part = pick(x.clone(), places).mul(weights.on(device)?)?;
                    sum = Some(match sum {
                        Some(sum) => sum.add(part)?,
                        None => part,
                    });
                }
                sum.ok_or("no inputs for an output")?
            }
            Self::Matrix(weights) => {
                shape[axis] = weights.shape()[0];
                let w = weights.on(device)?;
                if after == 1 {
                    x.reshape(&[before, input])?.matmul(w.transposed())?
                } else {
                    w.matmul(x.reshape(&[before, input, after])?)?
                }
            }
        };
        Ok(y.reshape(&shape)?.typed(dtype))
    }
}

/// Returns a mask that is 1 where an output lies outside along any axis; `None` if no output does.
pub(super) fn outside(axes: &[Vec<bool>]) -> OpResult<Option<Array>> {
    if !axes.iter().flatten().any(|o| *o) {
        return Ok(None);
    }
    let shape: Vec<usize> = axes.iter().map(Vec::len).collect();
    let n = room::elements(&shape)?;
    let values: Vec<bool> = (0..n)
        .map(|at| {
            let mut rest = at;
            axes.iter().rev().any(|a| {
                let here = rest % a.len();
                rest /= a.len();
                a[here]
            })
        })
        .collect();
    let values: Vec<f32> = values.into_iter().map(|o| f32::from(u8::from(o))).collect();
    Array::try_new(shape, values).map(Some)
}

/// Replaces the elements of `x` that lie outside by `value`.
pub(super) fn filled(x: Tensor, outside: &Array, value: f64, device: &Device) -> OpResult<Tensor> {
    let mask = outside.on(device)?.truth();
    let value = Tensor::upload(vec![value as f32], &[], DType::F32, device)?;
    let dtype = x.dtype();
    Ok(mask.choose(value.at_rank(x.rank()), x)?.typed(dtype))
}
