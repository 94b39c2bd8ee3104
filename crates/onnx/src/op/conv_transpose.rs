//! Transposed convolution over 1, 2 and 3 dimensions.

use burn::backend::Dispatch;
use burn::backend::ops::{ConvTransposeOptions, ModuleOps};

use super::OperatorEntry;
use super::conv::{check_bias, check_kernel, groups};
use super::window::{Padding, Windows, per_axis, spatial};
use crate::node::{NodeSpec, OpResult, Run, one, run};
use crate::room;
use crate::tensor::Tensor;

struct Transposed {
    windows: Windows,
    groups: usize,
    output_padding: Option<Vec<usize>>,
    output_shape: Option<Vec<usize>>,
}

/// Geometry of one axis: the lengths cut off both sides of the full result, and the length appended to it.
#[derive(Clone, Copy)]
struct Axis {
    stride: usize,
    dilation: usize,
    /// Length before cutting, `extra` included.
    full: usize,
    extra: usize,
    begin: usize,
    end: usize,
}

impl Transposed {
    fn axes(&self, input: &[usize], kernel: &[usize]) -> OpResult<Vec<Axis>> {
        let n = input.len();
        if kernel.len() != n || !(1..=3).contains(&n) {
            return Err(format!(
                "a kernel with {} dimensions over an input with {n}; 1 to 3 are supported",
                kernel.len()
            ));
        }
        let strides = per_axis(self.windows.strides.as_ref(), 1, n, "strides")?;
        let dilations = per_axis(self.windows.dilations.as_ref(), 1, n, "dilations")?;
        let extras = per_axis(self.output_padding.as_ref(), 0, n, "output_padding")?;
        let wanted = match &self.output_shape {
            // Some exporters write the whole shape.
            Some(s) if s.len() == n + 2 => Some(s[2..].to_vec()),
            Some(s) => Some(per_axis(Some(s), 0, n, "output_shape")?),
            None => None,
        };
        (0..n)
            .map(|i| {
                let (stride, dilation) = (strides[i], dilations[i]);
                let length = || {
                    let steps = input[i].checked_sub(1)?.checked_mul(stride)?;
                    let extent = kernel[i].checked_sub(1)?.checked_mul(dilation)?;
                    steps
                        .checked_add(extent)?
                        .checked_add(1)?
                        .checked_add(extras[i])
                };
                let full = length().ok_or_else(|| {
                    format!("a kernel {kernel:?} cannot be laid over an input {input:?}")
                })?;
                let target = match (&wanted, &self.windows.padding) {
                    (Some(w), _) => Some(w[i]),
                    (None, Padding::Given(_)) => None,
                    (None, _) => Some(input[i].saturating_mul(stride)),
                };
                let (mut extra, mut full) = (extras[i], full);
                let (begin, end) = match (target, &self.windows.padding) {
                    (Some(target), padding) => {
                        // A target beyond the reach of the kernels is filled like output padding.
                        let missing = target.saturating_sub(full);
                        extra += missing;
                        full += missing;
                        let total = full - target;
                        match padding {
                            Padding::SameUpper => (total / 2, total - total / 2),
                            _ => (total - total / 2, total / 2),
                        }
                    }
                    (None, Padding::Given(pads)) => {
                        let pads = per_axis(pads.as_ref(), 0, 2 * n, "pads")?;
                        (pads[i], pads[i + n])
                    }
                    (None, _) => (0, 0),
                };
                if begin.saturating_add(end) > full {
                    return Err(format!(
                        "{begin} and {end} elements to be cut off a result of {full}"
                    ));
                }
                Ok(Axis {
                    stride,
                    dilation,
                    full,
                    extra,
                    begin,
                    end,
                })
            })
            .collect()
    }

    fn apply(&self, x: Tensor, w: Tensor, bias: Option<Tensor>) -> OpResult<Tensor> {
        let (given, weights) = (x.shape(), w.shape());
        let (batch, channels, lengths) = spatial(&given)?;
        let (into, per_group, kernel) = spatial(&weights)?;
        check_kernel(self.windows.kernel.as_ref(), kernel)?;
        let out = per_group.saturating_mul(self.groups);
        if into != channels || channels % self.groups != 0 || channels == 0 || out == 0 {
            return Err(format!(
                "weights of shape {weights:?} in {} groups over an input of shape {given:?}",
                self.groups
            ));
        }
        check_bias(bias.as_ref(), out)?;
        let axes = self.axes(lengths, kernel)?;
        let mut full = vec![batch, out];
        full.extend(axes.iter().map(|a| a.full));
        room::elements(&full)?;
        let shape: Vec<usize> = [batch, out]
            .into_iter()
            .chain(axes.iter().map(|a| a.full - a.begin - a.end))
            .collect();
        if batch == 0 {
            // The batch is empty, and the backends need at least one sample.
            return x.reshape(&shape);
        }
        if shape.contains(&0) {
            return Err(format!("padding cuts off all of a result of {full:?}"));
        }
        let (w, b) = (w.into_dispatch(), bias.map(Tensor::into_dispatch));
        let g = self.groups;
        let mut y = x.with(|x| match axes.len() {
            1 => <Dispatch as ModuleOps<Dispatch>>::conv_transpose1d(x, w, b, options(&axes, g)),
            2 => <Dispatch as ModuleOps<Dispatch>>::conv_transpose2d(x, w, b, options(&axes, g)),
            _ => <Dispatch as ModuleOps<Dispatch>>::conv_transpose3d(x, w, b, options(&axes, g)),
        });
        for (i, a) in axes.iter().enumerate() {
            y = y.narrow(i + 2, a.begin - even(a), shape[i + 2]);
        }
        Ok(y)
    }
}

/// Returns the length cut off both sides, which Burn cuts itself.
fn even(a: &Axis) -> usize {
    a.begin.min(a.end)
}

fn options<const N: usize>(axes: &[Axis], groups: usize) -> ConvTransposeOptions<N> {
    let of = |f: fn(&Axis) -> usize| std::array::from_fn(|i| f(&axes[i]));
    ConvTransposeOptions::new(
        of(|a| a.stride),
        of(even),
        of(|a| a.extra),
        of(|a| a.dilation),
        groups,
    )
}

fn conv_transpose(node: &NodeSpec<'_>) -> OpResult<Run> {
    let transposed = Transposed {
        windows: Windows::read(node)?,
        groups: groups(node)?,
        output_padding: node.sizes("output_padding")?,
        output_shape: node.sizes("output_shape")?,
    };
    run(move |x| {
        let (input, w, b) = (x.tensor(0)?, x.tensor(1)?, x.tensor_opt(2)?);
        one(transposed.apply(input, w, b)?)
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[OperatorEntry::new("ConvTranspose", conv_transpose)];

#[cfg(test)]
mod tests {
    use crate::array::Array;
    use crate::check::Case;

    fn case(x: &[usize], w: &[usize]) -> Case {
        Case::new("ConvTranspose")
            .scattered(x, -1.0, 1.0)
            .scattered(w, -1.0, 1.0)
    }

    #[test]
    fn gradients() {
        case(&[2, 2, 4], &[2, 3, 3])
            .scattered(&[3], -1.0, 1.0)
            .ints("strides", &[2])
            .ints("output_padding", &[1])
            .assert_gradient();
        case(&[1, 4, 3, 4], &[4, 1, 3, 2])
            .int("group", 2)
            .scattered(&[2], -1.0, 1.0)
            .ints("strides", &[2, 1])
            .ints("dilations", &[1, 2])
            .ints("pads", &[1, 0, 0, 2])
            .assert_gradient();
        case(&[1, 1, 3, 3], &[1, 2, 3, 3])
            .ints("strides", &[3, 2])
            .ints("output_shape", &[10, 8])
            .assert_gradient();
        case(&[1, 1, 3, 3], &[1, 2, 3, 3])
            .ints("strides", &[2, 2])
            .text("auto_pad", "SAME_UPPER")
            .assert_gradient();
        case(&[1, 2, 2, 3, 2], &[2, 1, 2, 2, 2])
            .ints("strides", &[1, 2, 1])
            .assert_gradient();
    }

    fn line(attributes: impl Fn(Case) -> Case) -> Vec<f64> {
        let case = Case::new("ConvTranspose")
            .tracked(&[1, 1, 2], vec![1.0, 2.0])
            .host(Array::new([1, 1, 3], vec![1.0f32, 10.0, 100.0]))
            .host(Array::new([1], vec![0.5f32]))
            .ints("strides", &[2]);
        attributes(case).run().unwrap()[0].to_f64().unwrap()
    }

    #[test]
    fn each_side_is_cut_by_its_own_padding() {
        assert_eq!(line(|c| c), [1.5, 10.5, 102.5, 20.5, 200.5]);
        assert_eq!(
            line(|c| c.ints("pads", &[1, 0])),
            [10.5, 102.5, 20.5, 200.5]
        );
        // Output padding at the end holds only the bias.
        assert_eq!(
            line(|c| c.ints("output_padding", &[1])),
            [1.5, 10.5, 102.5, 20.5, 200.5, 0.5]
        );
        assert_eq!(
            line(|c| c.text("auto_pad", "SAME_UPPER")),
            [1.5, 10.5, 102.5, 20.5]
        );
        assert_eq!(
            line(|c| c.text("auto_pad", "SAME_LOWER")),
            [10.5, 102.5, 20.5, 200.5]
        );
        assert_eq!(
            line(|c| c.ints("output_shape", &[4])),
            [10.5, 102.5, 20.5, 200.5]
        );
        assert_eq!(line(|c| c.ints("output_shape", &[7]))[5..], [0.5, 0.5]);
    }

    #[test]
    fn invalid_shapes_and_attributes_are_errors() {
        let e = |c: Case| c.run().unwrap_err();
        assert!(e(case(&[1, 3, 4], &[2, 2, 2])).contains("in 1 groups"));
        assert!(e(case(&[1, 2, 4], &[2, 2, 2]).int("group", 3)).contains("in 3 groups"));
        assert!(e(case(&[1, 2, 4], &[2, 2, 2]).ints("pads", &[4, 4])).contains("cut off"));
        assert!(
            e(case(&[1, 2, 4], &[2, 2, 2]).ints("output_padding", &[1, 1]))
                .contains("output_padding")
        );
        let huge = case(&[1, 2, 4], &[2, 2, 2]).ints("output_padding", &[i64::MAX]);
        assert!(!e(huge).contains("panicked"));
    }
}
