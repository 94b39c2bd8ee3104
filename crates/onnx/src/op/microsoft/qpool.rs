//! Average pooling of quantised values.

use super::super::average_pool::{AveragePool, global};
use super::super::{Gradient, OperatorEntry};
use super::qlinear::{Quantised, Target};
use crate::node::{NodeSpec, OpResult, Run, one, run};
use crate::tensor::Tensor;

/// Moves the channels from the last place to the second if `first`, and back otherwise.
fn channels(t: Tensor, first: bool) -> Tensor {
    let rank = t.rank();
    if rank < 3 {
        return t;
    }
    let mut axes: Vec<usize> = (0..rank).collect();
    if first {
        axes.remove(rank - 1);
        axes.insert(1, rank - 1);
    } else {
        axes.remove(1);
        axes.push(1);
    }
    t.permute(&axes)
}

/// Applies a function of `[batch, channels, ..]`, wherever the channels are.
fn pooled(
    t: Tensor,
    channels_last: bool,
    f: impl FnOnce(Tensor) -> OpResult<Tensor>,
) -> OpResult<Tensor> {
    if channels_last {
        Ok(channels(f(channels(t, true))?, false))
    } else {
        f(t)
    }
}

/// Builds `QLinearAveragePool`: averages real numbers and adds the zero point before rounding.
fn average(node: &NodeSpec<'_>) -> OpResult<Run> {
    let pool = AveragePool::read(node)?;
    let last = node.flag("channels_last", false)?;
    run(move |x| {
        let a = Quantised::read(x, 0)?;
        let y = Target::read(x, 3, a.dtype())?;
        let device = x.device;
        let mean = pooled(a.real(), last, |t| pool.apply(t, device))?;
        let quanta = mean.div_scalar(y.scale.into());
        one(y.moved_first(quanta.add_scalar(y.zero.into()))?)
    })
}

/// Builds `QLinearGlobalAveragePool`: sums integers, scales once and adds the zero point after rounding.
fn global_average(node: &NodeSpec<'_>) -> OpResult<Run> {
    let last = node.flag("channels_last", false)?;
    run(move |x| {
        let a = Quantised::read(x, 0)?;
        let y = Target::read(x, 3, a.dtype())?;
        let (of_x, elements) = (a.scale, a.values.shape().iter().product::<usize>());
        let sums = pooled(a.centred(), last, |t| global(t, |t| Ok(t.sum(&[2]))))?;
        let cells = elements / sums.shape().iter().product::<usize>().max(1);
        let factor = of_x / (y.scale * cells as f32);
        one(y.rounded_first(sums.mul_scalar(factor.into()))?)
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("QLinearAveragePool", average).gradient(Gradient::StraightThrough),
    OperatorEntry::new("QLinearGlobalAveragePool", global_average)
        .gradient(Gradient::StraightThrough),
];

#[cfg(test)]
mod tests {
    use crate::check::{Case, byte, computed, number, weight};

    fn of(op: &str, shape: &[usize]) -> Case {
        Case::microsoft(op)
            .tracked(shape, vec![3.0, 4.0, 5.0, 8.0])
            .host(number(0.5))
            .host(byte(3))
            .host(number(0.25))
            .host(byte(7))
    }

    #[test]
    fn means_of_all() {
        // 0, 1, 2 and 5 have the mean 2; times 0.5 in units of 0.25 is 4.
        let case = of("QLinearGlobalAveragePool", &[1, 1, 2, 2]);
        assert_eq!(computed(&case).to_f64().unwrap(), [11.0]);
        for g in case.gradient().remove(0) {
            assert!((g - weight(0, 0) * 0.5).abs() < 1e-6);
        }
        // Two channels on the last axis.
        let case = of("QLinearGlobalAveragePool", &[1, 2, 1, 2]).int("channels_last", 1);
        let y = computed(&case);
        assert_eq!(y.shape(), [1, 1, 1, 2]);
        // Means of 1 and 3, times 0.5 / 0.25, plus 7.
        assert_eq!(y.to_f64().unwrap(), [9.0, 13.0]);
    }

    #[test]
    fn means_of_windows() {
        let case = of("QLinearAveragePool", &[1, 1, 2, 2]).ints("kernel_shape", &[1, 2]);
        // Means of 0.5 and 3.5, times 2, plus 7: 8 and 14.
        assert_eq!(computed(&case).to_f64().unwrap(), [8.0, 14.0]);
        let gradient = case.gradient().remove(0);
        for (i, g) in gradient.iter().enumerate() {
            assert!((g - weight(0, i / 2)).abs() < 1e-6, "{gradient:?}");
        }
        let case = of("QLinearAveragePool", &[1, 2, 1, 2])
            .ints("kernel_shape", &[2, 1])
            .int("channels_last", 1);
        assert_eq!(computed(&case).shape(), [1, 1, 1, 2]);
    }
}
