//! Max pooling.
//!
//! The maximum over three dimensions is the maximum over the first of the maxima over the other two, so backends only
//! need to pool planes.

use burn::backend::Dispatch;
use burn::backend::IntDType;
use burn::backend::ops::ModuleOps;
use burn::tensor::Device;
use proofmark_kernels as kernels;

use super::OperatorEntry;
use super::average_pool::over_all;
use super::window::{Span, Windows, evened, shape, spatial};
use crate::dtype::DType;
use crate::lower::{Lowering, lowering};
use crate::node::{NodeSpec, OpResult, Run, one, run};
use crate::tensor::{Indices, Tensor};

type Plane = [Span; 2];

struct Arguments {
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
}

impl Arguments {
    fn of(plane: &Plane) -> Self {
        Self {
            kernel: plane.map(|s| s.kernel),
            stride: plane.map(|s| s.stride),
            padding: plane.map(|s| s.even()),
            dilation: plane.map(|s| s.dilation),
        }
    }
}

/// Returns the maximum of each window over the last two of four dimensions.
fn largest(x: Tensor, plane: &Plane) -> OpResult<Tensor> {
    let a = Arguments::of(plane);
    Ok(evened(x, plane, f64::NEG_INFINITY)?.with(|x| {
        <Dispatch as ModuleOps<Dispatch>>::max_pool2d(
            x, a.kernel, a.stride, a.padding, a.dilation, false,
        )
    }))
}

/// Like [`largest`], and returns for each maximum its `place`, a function of its two coordinates.
fn largest_with_place(
    x: Tensor,
    plane: &Plane,
    device: &Device,
    place: impl Fn(usize, usize) -> usize,
) -> OpResult<(Tensor, Tensor)> {
    let a = Arguments::of(plane);
    let x = evened(x, plane, f64::NEG_INFINITY)?;
    let dtype = x.dtype();
    let lengths = &x.shape()[2..];
    // Burn's indices also count the padding that `evened` added.
    let put = plane.map(|s| s.begin - s.even());
    let mut places = Vec::with_capacity(lengths.iter().product());
    for i in 0..lengths[0] {
        for j in 0..lengths[1] {
            let inside = |k: usize, s: &Span, put: usize| k.saturating_sub(put).min(s.input - 1);
            places.push(place(inside(i, &plane[0], put[0]), inside(j, &plane[1], put[1])) as f32);
        }
    }
    let table = Tensor::upload(places, &[lengths.iter().product()], DType::I64, device)?;
    let found = <Dispatch as ModuleOps<Dispatch>>::max_pool2d_with_indices(
        x.into_dispatch(),
        a.kernel,
        a.stride,
        a.padding,
        a.dilation,
        false,
        IntDType::I32,
    );
    let y = Tensor::from_dispatch(found.output).typed(dtype);
    let shape = y.shape();
    let flat = Indices::from_dispatch(found.indices).reshape(&[shape.iter().product()]);
    let at = table.select(0, flat).reshape(&shape)?;
    Ok((y, at))
}

/// Returns the maximum of each window and, if `order` is given, its position in its sample's channel. `order` holds the
/// distance between neighbours along each dimension.
fn pooled(
    x: Tensor,
    spans: &[Span],
    order: Option<&[usize]>,
    device: &Device,
) -> OpResult<(Tensor, Option<Tensor>)> {
    let given = x.shape();
    let (batch, channels) = (given[0], given[1]);
    let (shape, empty) = shape(batch, channels, spans)?;
    if empty {
        let y = x.reshape(&shape)?;
        let at = order.map(|_| y.clone().typed(DType::I64));
        return Ok((y, at));
    }
    let (depth, plane) = match spans {
        [w] => (None, [Span::none(), *w]),
        [h, w] => (None, [*h, *w]),
        [d, h, w] => (Some(*d), [*h, *w]),
        _ => return Err("windows over more than 3 dimensions".into()),
    };
    let layers = depth.map_or(1, |d| d.input);
    let x = x.reshape(&[batch, channels * layers, plane[0].input, plane[1].input])?;
    let cells = plane[0].output * plane[1].output;
    let columns = depth.map(|d| [d, Span::every(cells)]);
    let between = [batch, channels, layers, cells];
    let Some(order) = order else {
        let y = largest(x, &plane)?;
        let y = match columns {
            Some(columns) => largest(y.reshape(&between)?, &columns)?,
            None => y,
        };
        return Ok((y.reshape(&shape)?, None));
    };
    let apart = match order {
        [w] => [0, *w],
        [.., h, w] => [*h, *w],
        [] => [0, 0],
    };
    let (y, at) = largest_with_place(x, &plane, device, |i, j| i * apart[0] + j * apart[1])?;
    let (y, at) = match columns {
        Some(columns) => {
            let (y, at) = (y.reshape(&between)?, at.reshape(&between)?);
            let (y, from) = largest_with_place(y, &columns, device, |i, j| i * cells + j)?;
            let count = columns[0].output * cells;
            // The layer of each maximum, and its position in that layer.
            let layer = from.clone().div_scalar(cells as f64).floor();
            let from = from.reshape(&[batch, channels, count])?.indices();
            let at = at
                .reshape(&[batch, channels, layers * cells])?
                .gather(2, from);
            let layer = layer.reshape(&[batch, channels, count])?;
            (y, layer.mul_scalar(order[0] as f64).add(at)?)
        }
        None => (y, at),
    };
    Ok((y.reshape(&shape)?, Some(at.reshape(&shape)?)))
}

fn max_pool(node: &NodeSpec<'_>) -> OpResult<Run> {
    let (windows, kernel) = Windows::pooling(node)?;
    let by_column = node.flag("storage_order", false)?;
    let wants_places = node.wants(1);
    run(move |x| {
        let device = x.device;
        let input = x.tensor(0)?;
        let shape = input.shape();
        let (batch, channels, lengths) = spatial(&shape)?;
        let spans = windows.spans(lengths, &kernel)?;
        if lengths.contains(&0) {
            return Err(format!("an input of shape {shape:?} has no elements"));
        }
        if !wants_places {
            return one(pooled(input, &spans, None, device)?.0);
        }
        let cells: usize = lengths.iter().product();
        let mut order = vec![1; lengths.len()];
        if by_column {
            for i in 1..lengths.len() {
                order[i] = order[i - 1] * lengths[i - 1];
            }
        } else {
            for i in (0..lengths.len() - 1).rev() {
                order[i] = order[i + 1] * lengths[i + 1];
            }
        }
        let (y, at) = pooled(input, &spans, Some(&order), device)?;
        let starts: Vec<f32> = (0..batch * channels).map(|i| (i * cells) as f32).collect();
        let mut wide = vec![1; shape.len()];
        (wide[0], wide[1]) = (batch, channels);
        let starts = Tensor::upload(starts, &wide, DType::I64, device)?;
        let at = at.ok_or("no places were found")?.add(starts)?;
        Ok(vec![y.into(), at.typed(DType::I64).into()])
    })
}

fn global_max_pool(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        let input = x.tensor(0)?;
        let mut shape = input.shape();
        let (batch, channels, lengths) = spatial(&shape)?;
        let cells = lengths.iter().product();
        if cells == 0 {
            return Err(format!("an input of shape {shape:?} has no elements"));
        }
        let y = input.reshape(&[batch, channels, cells])?.max(&[2]);
        shape[2..].fill(1);
        one(y.reshape(&shape)?)
    })
}

fn lowered(node: &NodeSpec<'_>) -> OpResult<Lowering> {
    let (windows, kernel) = Windows::pooling(node)?;
    lowering(move |x| {
        let window = windows.window(x.sample(0)?.shape(), &kernel)?;
        x.windowed(|net, x| net.largest(x, window))
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("MaxPool", max_pool).lowered(lowered),
    OperatorEntry::new("GlobalMaxPool", global_max_pool)
        .lowered(|_| over_all(kernels::Builder::largest)),
];

#[cfg(test)]
mod tests {
    use crate::array::Array;
    use crate::check::Case;
    use crate::dtype::DType;

    fn case(x: &[usize], kernel: &[i64]) -> Case {
        Case::new("MaxPool")
            .scattered(x, -1.0, 1.0)
            .ints("kernel_shape", kernel)
    }

    #[test]
    fn gradients() {
        case(&[2, 2, 7], &[3])
            .ints("strides", &[2])
            .ints("pads", &[0, 1])
            .assert_gradient();
        case(&[1, 2, 6, 5], &[3, 2])
            .ints("strides", &[2, 1])
            .ints("pads", &[1, 0, 1, 1])
            .ints("dilations", &[1, 2])
            .assert_gradient();
        case(&[1, 2, 5, 5], &[2, 2])
            .ints("strides", &[2, 2])
            .int("ceil_mode", 1)
            .assert_gradient();
        case(&[1, 2, 4, 4, 5], &[2, 2, 3])
            .ints("strides", &[2, 1, 2])
            .ints("pads", &[1, 0, 1, 0, 1, 0])
            .assert_gradient();
        Case::new("GlobalMaxPool")
            .scattered(&[2, 2, 3, 3], -1.0, 1.0)
            .assert_gradient();
    }

    /// Compares both storage orders with a brute-force search.
    #[test]
    fn indices_point_to_the_maxima() {
        let (lengths, kernel, stride, begin, end) = (
            [3usize, 4, 3],
            [2usize, 2, 2],
            2usize,
            [1usize, 0, 1],
            [0usize, 1, 1],
        );
        let n: usize = lengths.iter().product();
        let values: Vec<f64> = (0..2 * n).map(|i| ((i * 37 + 11) % 101) as f64).collect();
        for by_column in [false, true] {
            let pads: Vec<i64> = begin.iter().chain(&end).map(|p| *p as i64).collect();
            let y = Case::new("MaxPool")
                .tracked(&[1, 2, 3, 4, 3], values.clone())
                .ints("kernel_shape", &kernel.map(|k| k as i64))
                .ints("strides", &[2, 2, 2])
                .ints("pads", &pads)
                .int("storage_order", i64::from(by_column))
                .outputs(2)
                .run()
                .unwrap();
            let (found, at) = (y[0].to_f64().unwrap(), y[1].to_ints().unwrap());
            assert_eq!(y[1].dtype(), DType::I64);
            let out: Vec<usize> = (0..3)
                .map(|i| (lengths[i] + begin[i] + end[i] - kernel[i]) / stride + 1)
                .collect();
            assert_eq!(y[0].shape()[2..], out);
            let mut k = 0;
            for c in 0..2 {
                for o in 0..out.iter().product() {
                    let o = [o / (out[1] * out[2]), o / out[2] % out[1], o % out[2]];
                    let mut best = (f64::NEG_INFINITY, 0);
                    for w in 0..8 {
                        let p: Vec<usize> = (0..3)
                            .map(|i| (o[i] * stride + (w >> (2 - i) & 1)).wrapping_sub(begin[i]))
                            .collect();
                        if (0..3).all(|i| p[i] < lengths[i]) {
                            let row = (p[0] * 4 + p[1]) * 3 + p[2];
                            let named = if by_column {
                                p[0] + 3 * (p[1] + 4 * p[2])
                            } else {
                                row
                            };
                            let v = values[c * n + row];
                            if v > best.0 {
                                best = (v, (c * n + named) as i64);
                            }
                        }
                    }
                    assert_eq!((found[k], at[k]), best);
                    k += 1;
                }
            }
        }
    }

    #[test]
    fn a_window_may_lie_in_the_padding() {
        let far = |c: Case| c.ints("pads", &[2, 2]).ints("strides", &[2]);
        let y = far(case(&[1, 1, 3], &[2])).run().unwrap();
        assert_eq!(y[0].shape(), [1, 1, 3]);
        assert_eq!(y[0].to_f64().unwrap()[0], f64::NEG_INFINITY);
        let g = far(case(&[1, 1, 3], &[2])).gradient();
        assert_eq!(g[0].iter().filter(|g| **g != 0.0).count(), 2);
    }

    #[test]
    fn integers_keep_their_type_and_values() {
        let y = Case::new("MaxPool")
            .host(Array::new([1, 1, 3], vec![-3i8, -5, -4]))
            .ints("kernel_shape", &[2])
            .ints("pads", &[1, 0])
            .run()
            .unwrap();
        assert_eq!(y[0], Array::new([1, 1, 3], vec![-3i8, -3, -4]));
    }

    #[test]
    fn invalid_shapes_and_attributes_are_errors() {
        let e = |c: Case| c.run().unwrap_err();
        assert!(e(Case::new("MaxPool").scattered(&[1, 1, 3], 0.0, 1.0)).contains("kernel_shape"));
        assert!(e(case(&[1, 1, 3], &[0])).contains("kernel_shape"));
        assert!(e(case(&[1, 1, 3], &[4])).contains("spans 4"));
        assert!(e(case(&[1, 1, 3], &[2, 2])).contains("2 dimensions"));
        assert!(e(case(&[1, 1, 0], &[1]).ints("pads", &[1, 1])).contains("no elements"));
        assert!(e(case(&[1, 1, 1, 1, 1, 1], &[1; 4])).contains("1, 2 and 3"));
    }
}
