//! Steps with a slope: what sign activations and comparisons with a threshold are rewritten to
//! ([`crate::surrogate`]). Not part of ONNX, and refused in files.

use proofmark_kernels::{Function, Step};

use super::activation::each;
use super::{Gradient, OperatorEntry};
use crate::lower::lowering;
use crate::node::{NodeSpec, OpResult};
use crate::tensor::Tensor;

/// The domain of operators that exist only inside this crate.
pub(crate) const OWN: &str = "proofmark.internal";

/// Name of the step whose gradient is that of its bend.
pub(crate) const STEP: &str = "Step";

/// Name of the bend: a step with a slope.
pub(crate) const BEND: &str = "Bend";

/// Reads where a step lies.
fn read(node: &NodeSpec<'_>) -> OpResult<Step> {
    let number = |name: &str| node.float(name, 0.0).map(|v| v as f32);
    Ok(Step {
        at: number("at")?,
        below: number("below")?,
        on: number("on")?,
        above: number("above")?,
        width: number("width")?,
    })
}

fn bend(x: Tensor, step: Step) -> OpResult<Tensor> {
    let half = f64::from(step.above / 2.0 - step.below / 2.0);
    let centre = f64::from(step.below / 2.0 + step.above / 2.0);
    // Without the clamp, infinity would be divided by infinity.
    let t = x
        .sub_scalar(step.at.into())
        .mul_scalar(step.width.recip().into())
        .clamp_min(-1e30)
        .clamp_max(1e30);
    let share = t.clone().abs().add_scalar(1.0).recip();
    Ok(t.mul(share)?.mul_scalar(half).add_scalar(centre))
}

fn cut(x: Tensor, step: Step) -> OpResult<Tensor> {
    let sloped = bend(x.clone(), step)?;
    let x = x.detach();
    let (above, below) = (
        x.clone().greater_scalar(step.at.into()),
        x.clone().lower_scalar(step.at.into()),
    );
    // Infinity times zero would not be zero.
    let zero = x.clone().clamp_min(-1.0).clamp_max(1.0).mul_scalar(0.0);
    let value = |v: f32| zero.clone().add_scalar(v.into());
    let flat = above.choose(
        value(step.above),
        below.choose(value(step.below), value(step.on))?,
    )?;
    // The difference is zero; only its gradient counts.
    x.clone()
        .is_nan()
        .choose(x, flat)?
        .add(sloped.clone().sub(sloped.detach())?)
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new(STEP, |node| {
        let step = read(node)?;
        each(move |x| cut(x, step))
    })
    .lowered(|node| {
        let step = read(node)?;
        lowering(move |x| x.elementwise(|net, x| net.smooth(x, Function::Step(step))))
    })
    .gradient(Gradient::StraightThrough),
    OperatorEntry::new(BEND, |node| {
        let step = read(node)?;
        each(move |x| bend(x, step))
    })
    .lowered(|node| {
        let step = read(node)?;
        lowering(move |x| x.elementwise(|net, x| net.smooth(x, Function::Bend(step))))
    }),
];
