//! Convolution over 1, 2 and 3 dimensions.

use burn::backend::Dispatch;
use burn::backend::ops::{ConvOptions, ModuleOps};
use proofmark_kernels as kernels;

use super::OperatorEntry;
use super::window::{Span, Windows, evened, shape, spatial};
use crate::lower::{Lowering, floats, lowering};
use crate::node::{NodeSpec, OpResult, Run, one, run};
use crate::tensor::Tensor;

/// The attributes of a convolution.
#[derive(Debug, Clone)]
pub(super) struct Convolution {
    windows: Windows,
    groups: usize,
}

/// Reads the attribute `group`.
pub(super) fn groups(node: &NodeSpec<'_>) -> OpResult<usize> {
    let groups = node.int("group", 1)?;
    usize::try_from(groups)
        .ok()
        .filter(|g| *g > 0)
        .ok_or_else(|| format!("attribute `group` is {groups}; expected at least 1"))
}

/// Checks that a kernel has the dimensions that `kernel_shape` announces.
pub(super) fn check_kernel(declared: Option<&Vec<usize>>, kernel: &[usize]) -> OpResult<()> {
    match declared {
        Some(d) if d != kernel => Err(format!(
            "attribute `kernel_shape` is {d:?}; the weights have {kernel:?}"
        )),
        _ => Ok(()),
    }
}

/// Checks that there is one bias per channel.
pub(super) fn check_bias(bias: Option<&Tensor>, channels: usize) -> OpResult<()> {
    match bias {
        Some(b) if b.shape() != [channels] => Err(format!(
            "a bias of shape {:?} for {channels} channels",
            b.shape()
        )),
        _ => Ok(()),
    }
}

fn options<const N: usize>(spans: &[Span], groups: usize) -> ConvOptions<N> {
    let of = |f: fn(&Span) -> usize| std::array::from_fn(|i| f(&spans[i]));
    ConvOptions::new(of(|s| s.stride), of(Span::even), of(|s| s.dilation), groups)
}

impl Convolution {
    /// Reads and checks the attributes.
    pub(super) fn read(node: &NodeSpec<'_>) -> OpResult<Self> {
        Ok(Self {
            windows: Windows::read(node)?,
            groups: groups(node)?,
        })
    }

    /// Convolves `x` with the weights `w` and adds the bias.
    pub(super) fn apply(&self, x: Tensor, w: Tensor, bias: Option<Tensor>) -> OpResult<Tensor> {
        let (given, weights) = (x.shape(), w.shape());
        let (batch, channels, lengths) = spatial(&given)?;
        let (out, per_group, kernel) = spatial(&weights)?;
        check_kernel(self.windows.kernel.as_ref(), kernel)?;
        if per_group.checked_mul(self.groups) != Some(channels)
            || out % self.groups != 0
            || channels == 0
            || out == 0
        {
            return Err(format!(
                "weights of shape {weights:?} in {} groups over an input of shape {given:?}",
                self.groups
            ));
        }
        check_bias(bias.as_ref(), out)?;
        let spans = self.windows.spans(lengths, kernel)?;
        let (shape, empty) = shape(batch, out, &spans)?;
        if empty {
            // The batch is empty, and the backends need at least one sample.
            return x.reshape(&shape);
        }
        let x = evened(x, &spans, 0.0)?;
        let (w, bias) = (w.into_dispatch(), bias.map(Tensor::into_dispatch));
        let groups = self.groups;
        Ok(x.with(|x| match spans.len() {
            1 => <Dispatch as ModuleOps<Dispatch>>::conv1d(x, w, bias, options(&spans, groups)),
            2 => <Dispatch as ModuleOps<Dispatch>>::conv2d(x, w, bias, options(&spans, groups)),
            _ => <Dispatch as ModuleOps<Dispatch>>::conv3d(x, w, bias, options(&spans, groups)),
        }))
    }
}

fn conv(node: &NodeSpec<'_>) -> OpResult<Run> {
    let convolution = Convolution::read(node)?;
    run(move |x| {
        let (input, w, b) = (x.tensor(0)?, x.tensor(1)?, x.tensor_opt(2)?);
        one(convolution.apply(input, w, b)?)
    })
}

fn lowered(node: &NodeSpec<'_>) -> OpResult<Lowering> {
    let Convolution { windows, groups } = Convolution::read(node)?;
    lowering(move |x| {
        let weights = x.constant(1)?;
        let (out, _, kernel) = spatial(weights.shape())?;
        let window = windows.window(x.sample(0)?.shape(), kernel)?;
        let mut convolution = kernels::Convolution::new(floats(weights)?, out, window);
        convolution.bias = x.numbers(2)?.unwrap_or_default();
        convolution.groups = groups;
        x.windowed(|net, x| net.convolution(x, convolution))
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[OperatorEntry::new("Conv", conv).lowered(lowered)];

#[cfg(test)]
mod tests {
    use crate::array::Array;
    use crate::check::Case;

    fn case(x: &[usize], w: &[usize]) -> Case {
        Case::new("Conv")
            .scattered(x, -1.0, 1.0)
            .scattered(w, -1.0, 1.0)
    }

    #[test]
    fn gradients() {
        case(&[2, 2, 6], &[3, 2, 3])
            .scattered(&[3], -1.0, 1.0)
            .assert_gradient();
        case(&[1, 4, 7], &[4, 2, 2])
            .int("group", 2)
            .ints("strides", &[2])
            .ints("pads", &[0, 1])
            .assert_gradient();
        case(&[2, 2, 5, 4], &[3, 2, 3, 2])
            .scattered(&[3], -1.0, 1.0)
            .ints("strides", &[2, 1])
            .ints("dilations", &[1, 2])
            .ints("pads", &[1, 0, 0, 2])
            .assert_gradient();
        case(&[1, 2, 6, 6], &[4, 1, 3, 3])
            .int("group", 2)
            .ints("strides", &[2, 2])
            .text("auto_pad", "SAME_UPPER")
            .assert_gradient();
        case(&[1, 1, 5, 5], &[1, 1, 2, 2])
            .text("auto_pad", "SAME_LOWER")
            .assert_gradient();
        case(&[1, 2, 3, 4, 3], &[2, 1, 2, 2, 2])
            .int("group", 2)
            .ints("strides", &[1, 2, 1])
            .ints("pads", &[1, 0, 0, 0, 1, 1])
            .assert_gradient();
    }

    #[test]
    fn asymmetric_padding_is_applied_per_side() {
        let y = Case::new("Conv")
            .tracked(&[1, 1, 3], vec![1.0, 2.0, 3.0])
            .host(Array::new([1, 1, 2], vec![10.0f32, 1.0]))
            .ints("pads", &[2, 1])
            .run()
            .unwrap();
        assert_eq!(
            y[0],
            Array::new([1, 1, 5], vec![0.0f32, 1.0, 12.0, 23.0, 30.0])
        );
    }

    #[test]
    fn no_samples_give_no_outputs() {
        let y = Case::new("Conv")
            .tracked(&[0, 1, 3], vec![])
            .host(Array::new([2, 1, 2], vec![1.0f32; 4]))
            .run()
            .unwrap();
        assert_eq!(y[0].shape(), [0, 2, 2]);
    }

    #[test]
    fn invalid_shapes_and_attributes_are_errors() {
        let e = |c: Case| c.run().unwrap_err();
        assert!(e(case(&[1, 3, 4], &[2, 2, 2])).contains("in 1 groups"));
        assert!(e(case(&[1, 2, 4], &[2, 2, 5])).contains("spans 5"));
        assert!(e(case(&[1, 2], &[2, 2])).contains("one more dimension"));
        assert!(e(case(&[1, 2, 4], &[2, 2, 2]).int("group", 0)).contains("`group`"));
        assert!(e(case(&[1, 2, 4], &[2, 2, 2]).ints("strides", &[0])).contains("`strides`"));
        assert!(e(case(&[1, 2, 4], &[2, 2, 2]).ints("pads", &[1])).contains("`pads`"));
        assert!(e(case(&[1, 2, 4], &[2, 2, 2]).ints("pads", &[-1, 0])).contains("`pads`"));
        assert!(e(case(&[1, 2, 4], &[2, 2, 2]).ints("kernel_shape", &[3])).contains("weights"));
        assert!(e(case(&[1, 2, 4], &[2, 2, 2]).text("auto_pad", "SAME")).contains("auto_pad"));
        assert!(e(case(&[1, 2, 4], &[2, 2, 2]).scattered(&[3], 0.0, 1.0)).contains("bias"));
        let huge = case(&[1, 2, 4], &[2, 2, 2]).ints("pads", &[i64::from(i32::MAX); 2]);
        assert!(e(huge).contains("elements"));
    }
}
