//! Average and Lp pooling.
//!
//! A window is a box, so its sum is computed one axis at a time, and its number of elements is a product over the axes.

use burn::backend::Dispatch;
use burn::backend::ops::ModuleOps;
use burn::tensor::Device;
use proofmark_kernels as kernels;

use super::OperatorEntry;
use super::window::{Span, Windows, shape, spatial};
use crate::dtype::DType;
use crate::lower::{Lowering, lowering};
use crate::node::{NodeSpec, OpResult, Run, one, run};
use crate::tensor::Tensor;

/// Which elements of a window count towards the divisor of the mean.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    /// Elements of the input.
    Input,
    /// Elements of the input and of its padding.
    Padding,
    /// All elements, even those past the padding: every sum is divided by the same number.
    All,
}

fn native(x: Tensor, plane: &[Span; 2], padding: [usize; 2], include: bool) -> Tensor {
    x.with(|x| {
        <Dispatch as ModuleOps<Dispatch>>::avg_pool2d(
            x,
            plane.map(|s| s.kernel),
            plane.map(|s| s.stride),
            padding,
            include,
            false,
        )
    })
}

/// Averages along one axis of `[.., input, ..]`, for any padding and dilation.
fn along(
    x: Tensor,
    axis: usize,
    span: &Span,
    counted: Counted,
    device: &Device,
) -> OpResult<Tensor> {
    if *span == Span::every(span.input) {
        return Ok(x);
    }
    let mut shape = x.shape();
    let before: usize = shape[..axis].iter().product();
    let after: usize = shape[axis + 1..].iter().product();
    let dtype = x.dtype();
    let x = x
        .reshape(&[1, before, span.input, after])?
        .padded(&[(0, 0), (0, 0), (span.begin, span.reach), (0, 0)], 0.0)?;
    let mut y = if span.dilation == 1 {
        native(x, &[*span, Span::every(after)], [0, 0], true)
    } else {
        let reach = (span.output - 1) * span.stride + 1;
        let mut sum: Option<Tensor> = None;
        for k in 0..span.kernel {
            let from = k * span.dilation;
            let part = x.clone().slice(2, from, from + reach, span.stride as isize);
            sum = Some(match sum {
                Some(sum) => sum.add(part)?,
                None => part,
            });
        }
        sum.ok_or("a window without elements")?
            .div_scalar(span.kernel as f64)
    };
    // So far every mean divides by the whole kernel; these factors correct it.
    let shares: Vec<f32> = (0..span.output)
        .map(|o| {
            let first = o * span.stride;
            // Number of window elements at `first + k * dilation` that lie below `limit`.
            let below = |limit: usize| {
                let k = limit.saturating_sub(first).div_ceil(span.dilation);
                k.min(span.kernel)
            };
            let input = span.begin + span.input;
            let n = match counted {
                Counted::Input => below(input) - below(span.begin),
                Counted::Padding => below(input + span.end),
                Counted::All => span.kernel,
            };
            if n == 0 {
                0.0
            } else {
                span.kernel as f32 / n as f32
            }
        })
        .collect();
    if shares.iter().any(|s| *s != 1.0) {
        y = y.mul(Tensor::upload(
            shares,
            &[span.output, 1],
            DType::F32,
            device,
        )?)?;
    }
    shape[axis] = span.output;
    Ok(y.reshape(&shape)?.typed(dtype))
}

/// Returns the mean of each window.
fn means(x: Tensor, spans: &[Span], counted: Counted, device: &Device) -> OpResult<Tensor> {
    let given = x.shape();
    let (shape, empty) = shape(given[0], given[1], spans)?;
    if empty {
        return x.reshape(&shape);
    }
    // Spans that the backend pools itself, in one call.
    let plain =
        |s: &Span| s.even() == s.begin && s.begin == s.end && s.reach == s.end && s.dilation == 1;
    let plane = match spans {
        [w] => Some([Span::none(), *w]),
        [h, w] => Some([*h, *w]),
        _ => None,
    };
    match plane {
        Some(plane) if plane.iter().all(plain) => {
            let x = x.reshape(&[given[0], given[1], plane[0].input, plane[1].input])?;
            let include = counted != Counted::Input;
            native(x, &plane, plane.map(|s| s.begin), include).reshape(&shape)
        }
        _ => spans
            .iter()
            .enumerate()
            .try_fold(x, |x, (i, span)| along(x, i + 2, span, counted, device)),
    }
}

fn checked(windows: &Windows, kernel: &[usize], shape: &[usize]) -> OpResult<Vec<Span>> {
    let (_, _, lengths) = spatial(shape)?;
    if lengths.contains(&0) {
        return Err(format!("an input of shape {shape:?} has no elements"));
    }
    windows.spans(lengths, kernel)
}

/// Attributes of average pooling.
pub(super) struct AveragePool {
    windows: Windows,
    kernel: Vec<usize>,
    counted: Counted,
}

impl AveragePool {
    /// Reads and checks the attributes.
    pub(super) fn read(node: &NodeSpec<'_>) -> OpResult<Self> {
        let (windows, kernel) = Windows::pooling(node)?;
        let counted = if node.flag("count_include_pad", false)? {
            Counted::Padding
        } else {
            Counted::Input
        };
        Ok(Self {
            windows,
            kernel,
            counted,
        })
    }

    /// Returns the mean of each window.
    pub(super) fn apply(&self, x: Tensor, device: &Device) -> OpResult<Tensor> {
        let spans = checked(&self.windows, &self.kernel, &x.shape())?;
        means(x, &spans, self.counted, device)
    }
}

fn average_pool(node: &NodeSpec<'_>) -> OpResult<Run> {
    let pool = AveragePool::read(node)?;
    run(move |x| one(pool.apply(x.tensor(0)?, x.device)?))
}

/// Reads the order of a norm.
fn order(node: &NodeSpec<'_>) -> OpResult<f64> {
    // A float before version 2, an integer since.
    let p = match node.attribute("p") {
        Some(a) if a.r#type == 1 => node.float("p", 2.0)?,
        _ => node.int("p", 2)? as f64,
    };
    if p > 0.0 {
        Ok(p)
    } else {
        Err(format!("attribute `p` is {p}; expected more than 0"))
    }
}

fn power(x: Tensor, p: f64) -> OpResult<Tensor> {
    if p == 2.0 {
        x.clone().mul(x)
    } else if p == 1.0 {
        Ok(x.abs())
    } else {
        Ok(x.abs().powf_scalar(p))
    }
}

/// Returns the `p`-th root; its derivative at zero is defined as zero.
fn root(x: Tensor, p: f64) -> OpResult<Tensor> {
    if p == 1.0 {
        return Ok(x);
    }
    let zero = x.clone().equal_scalar(0.0);
    let lifted = x.clone().add(zero.clone().numbers())?;
    let roots = if p == 2.0 {
        lifted.sqrt()
    } else {
        lifted.powf_scalar(1.0 / p)
    };
    roots.mul(zero.not().numbers())
}

fn lp_pool(node: &NodeSpec<'_>) -> OpResult<Run> {
    let (windows, kernel) = Windows::pooling(node)?;
    let p = order(node)?;
    run(move |x| {
        let device = x.device;
        let input = x.tensor(0)?;
        let spans = checked(&windows, &kernel, &input.shape())?;
        let count: f64 = kernel.iter().map(|k| *k as f64).product();
        let mean = means(power(input, p)?, &spans, Counted::All, device)?;
        one(root(mean.mul_scalar(count), p)?)
    })
}

/// Reduces each channel of each sample to one value, computed by `f` from all its elements.
pub(super) fn global(x: Tensor, f: impl FnOnce(Tensor) -> OpResult<Tensor>) -> OpResult<Tensor> {
    let mut shape = x.shape();
    let (batch, channels, lengths) = spatial(&shape)?;
    let cells: usize = lengths.iter().product();
    if cells == 0 {
        return Err(format!("an input of shape {shape:?} has no elements"));
    }
    let y = f(x.reshape(&[batch, channels, cells])?)?;
    shape[2..].fill(1);
    y.reshape(&shape)
}

fn global_average_pool(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| one(global(x.tensor(0)?, |t| Ok(t.mean(&[2])))?))
}

fn global_lp_pool(node: &NodeSpec<'_>) -> OpResult<Run> {
    let p = order(node)?;
    run(move |x| one(global(x.tensor(0)?, |t| root(power(t, p)?.sum(&[2]), p))?))
}

fn lowered(node: &NodeSpec<'_>) -> OpResult<Lowering> {
    let AveragePool {
        windows,
        kernel,
        counted,
    } = AveragePool::read(node)?;
    lowering(move |x| {
        let window = windows.window(x.sample(0)?.shape(), &kernel)?;
        let spans = windows.spans(&x.sample(0)?.shape()[2..], &kernel)?;
        // The kernel divides every sum by the same number.
        let is_even = spans.iter().all(|s| match counted {
            Counted::Input => s.begin == 0 && s.reach == 0,
            Counted::Padding => s.reach == s.end,
            Counted::All => true,
        });
        if !is_even {
            return Err("windows that count fewer elements at the edge".into());
        }
        x.windowed(|net, x| net.average(x, window))
    })
}

/// What `pool` computes of one window over all of a channel.
pub(super) fn over_all(pool: Pool) -> OpResult<Lowering> {
    lowering(move |x| {
        x.windowed(|net, x| {
            let map = net.map(x);
            pool(net, x, [map.height, map.width].into())
        })
    })
}

/// A pooling of [`kernels::Builder`].
type Pool = fn(
    &mut kernels::Builder,
    kernels::Value,
    kernels::Window,
) -> Result<kernels::Value, kernels::KernelError>;

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("AveragePool", average_pool).lowered(lowered),
    OperatorEntry::new("LpPool", lp_pool),
    OperatorEntry::new("GlobalAveragePool", global_average_pool)
        .lowered(|_| over_all(kernels::Builder::average)),
    OperatorEntry::new("GlobalLpPool", global_lp_pool),
];

#[cfg(test)]
mod tests {
    use crate::check::Case;

    fn case(op: &str, x: &[usize], kernel: &[i64]) -> Case {
        Case::new(op)
            .scattered(x, -1.0, 1.0)
            .ints("kernel_shape", kernel)
    }

    #[test]
    fn gradients() {
        for include in [0, 1] {
            let case = |x: &[usize], kernel: &[i64]| {
                case("AveragePool", x, kernel).int("count_include_pad", include)
            };
            case(&[2, 2, 7], &[3])
                .ints("strides", &[2])
                .ints("pads", &[0, 2])
                .assert_gradient();
            case(&[1, 2, 6, 5], &[3, 3])
                .ints("strides", &[2, 1])
                .ints("pads", &[1, 1, 1, 1])
                .assert_gradient();
            case(&[1, 2, 6, 5], &[3, 2])
                .ints("strides", &[2, 1])
                .ints("pads", &[1, 0, 1, 1])
                .ints("dilations", &[1, 2])
                .assert_gradient();
            case(&[1, 1, 5, 5], &[2, 2])
                .ints("strides", &[2, 2])
                .int("ceil_mode", 1)
                .assert_gradient();
            case(&[1, 2, 4, 4, 3], &[2, 3, 2])
                .ints("strides", &[2, 1, 1])
                .ints("pads", &[1, 1, 0, 1, 1, 1])
                .assert_gradient();
        }
        case("LpPool", &[1, 2, 5, 4], &[2, 3])
            .ints("pads", &[1, 0, 0, 1])
            .assert_gradient();
        case("LpPool", &[1, 2, 6], &[2])
            .int("p", 3)
            .assert_gradient();
        case("LpPool", &[1, 2, 6], &[2])
            .int("p", 1)
            .assert_gradient();
        Case::new("GlobalAveragePool")
            .scattered(&[2, 2, 3, 2], -1.0, 1.0)
            .assert_gradient();
        for p in [1, 2, 3] {
            Case::new("GlobalLpPool")
                .int("p", p)
                .scattered(&[2, 2, 3, 2], -1.0, 1.0)
                .assert_gradient();
        }
    }

    fn line(f: impl Fn(Case) -> Case) -> Vec<f64> {
        let case = Case::new("AveragePool")
            .tracked(&[1, 1, 4], vec![1.0, 2.0, 4.0, 8.0])
            .ints("kernel_shape", &[3])
            .ints("strides", &[2]);
        f(case).run().unwrap()[0].to_f64().unwrap()
    }

    #[test]
    fn the_mean_divides_by_the_counted_elements() {
        let third = |x: f64| f64::from((x / 3.0) as f32);
        assert_eq!(line(|c| c), [third(7.0)]);
        // The last window holds two elements of the input and one past its end.
        assert_eq!(line(|c| c.int("ceil_mode", 1)), [third(7.0), 6.0]);
        let padded = |c: Case| c.ints("pads", &[1, 1]);
        assert_eq!(line(padded), [1.5, third(14.0)]);
        assert_eq!(
            line(|c| padded(c).int("count_include_pad", 1)),
            [1.0, third(14.0)]
        );
        let uneven = |c: Case| c.ints("pads", &[0, 1]);
        assert_eq!(line(uneven), [third(7.0), 6.0]);
        assert_eq!(
            line(|c| uneven(c).int("count_include_pad", 1)),
            [third(7.0), 4.0]
        );
        // Elements past the padding are never counted.
        let last = |c: Case| padded(c).int("ceil_mode", 1);
        assert_eq!(line(last)[2], 8.0);
        assert_eq!(line(|c| last(c).int("count_include_pad", 1))[2], 4.0);
        let past = |c: Case| c.ints("pads", &[1, 0]).int("ceil_mode", 1);
        assert_eq!(line(past), [1.5, third(14.0)]);
        assert_eq!(
            line(|c| past(c).int("count_include_pad", 1)),
            [1.0, third(14.0)]
        );
    }

    #[test]
    fn an_all_zero_window_has_norm_zero() {
        Case::new("GlobalLpPool")
            .tracked(&[1, 1, 3], vec![0.0; 3])
            .run()
            .unwrap();
        let y = Case::new("LpPool")
            .tracked(&[1, 1, 4], vec![0.0, 0.0, 3.0, 4.0])
            .ints("kernel_shape", &[2])
            .ints("strides", &[2])
            .run()
            .unwrap();
        assert_eq!(y[0].to_f64().unwrap(), [0.0, 5.0]);
    }

    #[test]
    fn invalid_shapes_and_attributes_are_errors() {
        let e = |c: Case| c.run().unwrap_err();
        assert!(e(Case::new("AveragePool").scattered(&[1, 1, 3], 0.0, 1.0)).contains("kernel"));
        assert!(e(case("AveragePool", &[1, 1, 3], &[4])).contains("spans 4"));
        assert!(e(case("AveragePool", &[3], &[1])).contains("one more dimension"));
        assert!(e(case("LpPool", &[1, 1, 3], &[1]).int("p", 0)).contains("`p`"));
        assert!(e(case("GlobalAveragePool", &[1, 1, 0], &[1])).contains("no elements"));
    }
}
