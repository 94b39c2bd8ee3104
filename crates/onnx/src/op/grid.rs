//! Sampling at the positions of a grid.

use super::OperatorEntry;
use crate::array::Array;
use crate::node::{NodeSpec, OpResult, Run, one, run};
use crate::room;
use crate::tensor::Tensor;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Nearest,
    Linear,
    Cubic,
}

/// Padding mode: how positions outside the input are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outside {
    Zeros,
    Border,
    Reflection,
}

/// The input positions along one dimension that a value depends on: integer coordinates and weights, each
/// `[batch, points]`.
type Taps = Vec<(Tensor, Tensor)>;

struct Sampler {
    mode: Mode,
    outside: Outside,
    align: bool,
}

impl Sampler {
    /// Maps -1 to 1 to the coordinates of a dimension.
    fn coordinate(&self, x: Tensor, length: f64) -> Tensor {
        if self.align {
            x.add_scalar(1.0).mul_scalar((length - 1.0) / 2.0)
        } else {
            x.add_scalar(1.0).mul_scalar(length / 2.0).sub_scalar(0.5)
        }
    }

    /// Moves coordinates inside the input, according to the padding mode.
    fn inside(&self, x: Tensor, length: f64) -> OpResult<Tensor> {
        let bounded = |x: Tensor| x.clamp_min(0.0).clamp_max(length - 1.0);
        match self.outside {
            Outside::Zeros => Ok(x),
            Outside::Border => Ok(bounded(x)),
            Outside::Reflection => {
                let (low, high) = if self.align {
                    (0.0, length - 1.0)
                } else {
                    (-0.5, length - 0.5)
                };
                let range = high - low;
                if range == 0.0 {
                    return Ok(x.mul_scalar(0.0));
                }
                let from = x.sub_scalar(low).abs();
                let folds = from.clone().div_scalar(range).floor().detach();
                let rest = from.sub(folds.clone().mul_scalar(range))?;
                let odd = folds
                    .clone()
                    .sub(folds.div_scalar(2.0).floor().mul_scalar(2.0))?;
                // rest + low, or high - rest after an odd number of folds.
                let turned = rest
                    .clone()
                    .neg()
                    .mul_scalar(2.0)
                    .add_scalar(range)
                    .mul(odd)?;
                Ok(bounded(rest.add(turned)?.add_scalar(low)))
            }
        }
    }

    fn taps(&self, x: Tensor, length: f64) -> OpResult<Taps> {
        let x = self.coordinate(x, length);
        let weighed = |at: Tensor, weight: Option<Tensor>| -> OpResult<(Tensor, Tensor)> {
            let at = if self.mode == Mode::Cubic {
                self.inside(at, length)?.round()
            } else {
                at
            };
            let there = at
                .clone()
                .greater_equal_scalar(0.0)
                .and(at.clone().lower_equal_scalar(length - 1.0))?
                .numbers();
            let weight = match weight {
                Some(w) => w.mul(there)?,
                None => there,
            };
            Ok((at.clamp_min(0.0).clamp_max(length - 1.0).detach(), weight))
        };
        match self.mode {
            Mode::Nearest => {
                let x = self.inside(x, length)?;
                Ok(vec![weighed(x.round().detach(), None)?])
            }
            Mode::Linear => {
                let x = self.inside(x, length)?;
                let floor = x.clone().floor().detach();
                let right = x.sub(floor.clone())?;
                let left = right.clone().neg().add_scalar(1.0);
                Ok(vec![
                    weighed(floor.clone(), Some(left))?,
                    weighed(floor.add_scalar(1.0), Some(right))?,
                ])
            }
            Mode::Cubic => {
                let floor = x.clone().floor().detach();
                let t = x.sub(floor.clone())?;
                (-1..3)
                    .map(|k| {
                        let k = f64::from(k);
                        let distance = t.clone().sub_scalar(k).abs();
                        weighed(floor.clone().add_scalar(k), Some(cubic(&distance, k)?))
                    })
                    .collect()
            }
        }
    }
}

/// Returns the weight of an element at distance `t`; `k` is -1 or 2 for the two outer ones.
fn cubic(t: &Tensor, k: f64) -> OpResult<Tensor> {
    const A: f64 = -0.75;
    let polynomial = |c: [f64; 4]| -> OpResult<Tensor> {
        let y = t.clone().mul_scalar(c[3]).add_scalar(c[2]);
        let y = y.mul(t.clone())?.add_scalar(c[1]);
        Ok(y.mul(t.clone())?.add_scalar(c[0]))
    };
    if (0.0..2.0).contains(&k) {
        polynomial([1.0, 0.0, -(A + 3.0), A + 2.0])
    } else {
        polynomial([-4.0 * A, 8.0 * A, -5.0 * A, A])
    }
}

fn grid_sample(node: &NodeSpec<'_>) -> OpResult<Run> {
    let sampler = Sampler {
        mode: match node.text("mode", "linear")?.as_str() {
            "linear" | "bilinear" => Mode::Linear,
            "nearest" => Mode::Nearest,
            "cubic" | "bicubic" => Mode::Cubic,
            other => {
                return Err(format!(
                    "attribute `mode` is `{other}`; expected linear, nearest or cubic"
                ));
            }
        },
        outside: match node.text("padding_mode", "zeros")?.as_str() {
            "zeros" => Outside::Zeros,
            "border" => Outside::Border,
            "reflection" => Outside::Reflection,
            other => {
                return Err(format!(
                    "attribute `padding_mode` is `{other}`; expected zeros, border or reflection"
                ));
            }
        },
        align: node.flag("align_corners", false)?,
    };
    run(move |x| {
        let (input, grid) = (x.tensor(0)?, x.tensor(1)?);
        let (shape, places) = (input.shape(), grid.shape());
        let n = shape.len().saturating_sub(2);
        if !(1..=3).contains(&n)
            || places.len() != n + 2
            || places[n + 1] != n
            || places[0] != shape[0]
            || shape[2..].contains(&0)
        {
            return Err(format!(
                "an input of shape {shape:?} and a grid of shape {places:?}"
            ));
        }
        let (batch, channels) = (shape[0], shape[1]);
        let points: usize = places[1..=n].iter().product();
        let cells: usize = shape[2..].iter().product();
        let mut output = vec![batch, channels];
        output.extend(&places[1..=n]);
        if room::elements(&output)? == 0 {
            return Err(format!("a grid of shape {places:?} names no places"));
        }
        let dtype = input.dtype();
        let grid = grid.reshape(&[batch, points, n])?;
        let input = input.reshape(&[batch, channels, cells])?;
        // Every combination of one position per dimension: its index among all cells, and its weight.
        let mut corners: Vec<(Tensor, Option<Tensor>)> = Vec::new();
        for d in 0..n {
            // The grid holds the coordinate of the last dimension first.
            let along = grid
                .clone()
                .narrow(2, n - 1 - d, 1)
                .reshape(&[batch, points])?;
            let taps = sampler.taps(along, shape[d + 2] as f64)?;
            let step = shape[d + 3..].iter().product::<usize>() as f64;
            let mut next = Vec::new();
            for (at, weight) in taps {
                let at = at.mul_scalar(step);
                if corners.is_empty() {
                    next.push((at, Some(weight)));
                    continue;
                }
                for (so_far, w) in &corners {
                    let w = match w {
                        Some(w) => w.clone().mul(weight.clone())?,
                        None => weight.clone(),
                    };
                    next.push((so_far.clone().add(at.clone())?, Some(w)));
                }
            }
            corners = next;
        }
        let mut sum: Option<Tensor> = None;
        for (at, weight) in corners {
            let at = at
                .reshape(&[batch, 1, points])?
                .expand(&[batch, channels, points])?
                .indices();
            let mut part = input.clone().gather(2, at);
            if let Some(w) = weight {
                part = part.mul(w.reshape(&[batch, 1, points])?)?;
            }
            sum = Some(match sum {
                Some(sum) => sum.add(part)?,
                None => part,
            });
        }
        let y = sum.ok_or("no places to sample")?;
        one(y.reshape(&output)?.typed(dtype))
    })
}

fn affine_grid(node: &NodeSpec<'_>) -> OpResult<Run> {
    let align = node.flag("align_corners", false)?;
    run(move |x| {
        let theta = x.tensor(0)?;
        let size = x
            .ints(1)?
            .into_iter()
            .map(|d| usize::try_from(d).map_err(|_| format!("a size of {d}")))
            .collect::<OpResult<Vec<_>>>()?;
        let n = size.len().saturating_sub(2);
        if !(2..=3).contains(&n) || theta.shape() != [size[0], n, n + 1] {
            return Err(format!(
                "transforms of shape {:?} for an output of shape {size:?}",
                theta.shape()
            ));
        }
        let lengths = &size[2..];
        let points = room::elements(lengths)?;
        room::elements(&[size[0], points, n + 1])?;
        let mut base = Vec::with_capacity(points * (n + 1));
        for at in 0..points {
            let mut rest = at;
            // The last dimension comes first in the grid.
            for d in lengths.iter().rev() {
                let i = (rest % d) as f64;
                rest /= d;
                let length = *d as f64;
                let place = if !align {
                    (2.0 * i + 1.0) / length - 1.0
                } else if *d == 1 {
                    0.0
                } else {
                    2.0 * i / (length - 1.0) - 1.0
                };
                base.push(place as f32);
            }
            base.push(1.0);
        }
        let base = Array::try_new([points, n + 1], base)?.on(x.device)?;
        let grid = base.matmul(theta.transposed())?;
        let mut shape = vec![size[0]];
        shape.extend(lengths);
        shape.push(n);
        one(grid.reshape(&shape)?)
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("GridSample", grid_sample),
    OperatorEntry::new("AffineGrid", affine_grid),
];

#[cfg(test)]
mod tests {
    use crate::array::Array;
    use crate::check::Case;

    fn case(mode: &str, padding: &str, align: i64) -> Case {
        Case::new("GridSample")
            .text("mode", mode)
            .text("padding_mode", padding)
            .int("align_corners", align)
    }

    #[test]
    fn gradients() {
        for mode in ["linear", "nearest", "cubic"] {
            for padding in ["zeros", "border", "reflection"] {
                for align in [0, 1] {
                    case(mode, padding, align)
                        .scattered(&[2, 2, 3, 4], -1.0, 1.0)
                        .scattered(&[2, 2, 3, 2], -1.7, 1.6)
                        .assert_gradient();
                }
            }
        }
        case("linear", "zeros", 0)
            .scattered(&[1, 2, 2, 3, 2], -1.0, 1.0)
            .scattered(&[1, 1, 2, 2, 3], -1.0, 1.0)
            .assert_gradient();
        Case::new("AffineGrid")
            .scattered(&[2, 2, 3], -1.0, 1.0)
            .host(Array::list(vec![2, 1, 2, 3]))
            .assert_gradient();
    }

    #[test]
    fn hand_computed() {
        let at = |mode: &str, padding: &str, align: i64, x: f64| {
            case(mode, padding, align)
                .tracked(&[1, 1, 1, 4], vec![1.0, 2.0, 4.0, 8.0])
                .tracked(&[1, 1, 1, 2], vec![x, 0.0])
                .run()
                .unwrap()[0]
                .to_f64()
                .unwrap()[0]
        };
        assert_eq!(at("linear", "zeros", 0, 0.0), 3.0);
        assert_eq!(at("linear", "zeros", 1, 1.0), 8.0);
        assert_eq!(at("linear", "zeros", 0, 1.0), 4.0);
        assert_eq!(at("linear", "border", 0, 1.5), 8.0);
        // Half a cell outside reflects onto the last cell, one and a half onto the one before.
        assert_eq!(at("nearest", "reflection", 0, 1.25), 8.0);
        assert_eq!(at("nearest", "reflection", 0, 1.75), 4.0);
        // Reflected at one end, then at both.
        assert_eq!(at("nearest", "reflection", 0, 2.75), 1.0);
        assert_eq!(at("nearest", "reflection", 0, 4.75), 8.0);
        assert_eq!(at("nearest", "zeros", 0, 1.5), 0.0);
        assert_eq!(at("cubic", "border", 0, -0.75), 1.0);
    }

    #[test]
    fn the_identity_keeps_an_image() {
        for align in [0, 1] {
            let grid = Case::new("AffineGrid")
                .tracked(&[1, 2, 3], vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
                .host(Array::list(vec![1, 1, 3, 2]))
                .int("align_corners", align)
                .run()
                .unwrap();
            let image: Vec<f64> = (0..6).map(f64::from).collect();
            let y = case("linear", "zeros", align)
                .tracked(&[1, 1, 3, 2], image.clone())
                .tracked(&[1, 3, 2, 2], grid[0].to_f64().unwrap())
                .run()
                .unwrap();
            for (a, b) in y[0].to_f64().unwrap().iter().zip(&image) {
                assert!((a - b).abs() < 1e-5, "{a} and {b}");
            }
        }
    }

    #[test]
    fn invalid_shapes_are_errors() {
        let sample = |x: &[usize], g: &[usize]| {
            let c = Case::new("GridSample").scattered(x, 0.0, 1.0);
            c.scattered(g, 0.0, 1.0).run().unwrap_err()
        };
        assert!(sample(&[1, 1, 2, 2], &[1, 1, 1, 3]).contains("a grid"));
        assert!(sample(&[1, 1, 2, 2], &[2, 1, 1, 2]).contains("a grid"));
        assert!(sample(&[2], &[2]).contains("a grid"));
        let e = Case::new("AffineGrid")
            .scattered(&[2, 2, 3], 0.0, 1.0)
            .host(Array::list(vec![2, 1, -1, 3]));
        assert!(e.run().unwrap_err().contains("size of -1"));
    }
}
