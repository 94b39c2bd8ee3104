//! Activations that are not linear in pieces, with their derivatives.

use crate::lanes::{Lanes, erf, exp};

/// A function of one number, applied to every value.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Function {
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// `x / (1 + exp(-x))`, also called Swish.
    Silu,
    /// `x` above 0, `alpha (exp(x) - 1)` elsewhere.
    Elu {
        /// The limit below 0, negated.
        alpha: f32,
    },
    /// `min(max(alpha x + beta, 0), 1)`.
    HardSigmoid {
        /// The slope between the limits.
        alpha: f32,
        /// The value at 0.
        beta: f32,
    },
    /// `x` times the hard sigmoid of slope 1/6 and 1/2 at 0.
    HardSwish,
    /// The error function.
    Erf,
    /// `x` times the standard normal distribution function.
    Gelu,
    /// A step (a sign activation) with the derivative of its [`Self::Bend`], since its own is zero.
    Step(Step),
    /// A step with a slope: `(below + above) / 2 + (above - below) / 2 * t / (1 + |t|)` with `t = (x - at) / width`.
    Bend(Step),
}

/// Where a step lies, and its values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The threshold.
    pub at: f32,
    /// The value below the threshold.
    pub below: f32,
    /// The value on the threshold.
    pub on: f32,
    /// The value above the threshold.
    pub above: f32,
    /// Distance from the threshold at which the slope is a quarter of the steepest; above 0.
    pub width: f32,
}

impl Step {
    /// Values and derivatives with a slope.
    ///
    /// # Safety
    /// The processor has the instruction set of `L`.
    #[inline(always)]
    unsafe fn bend<L: Lanes>(self, x: L) -> (L, L) {
        // SAFETY: the caller's.
        unsafe {
            let one = L::splat(1.0);
            let centre = L::splat(self.below / 2.0 + self.above / 2.0);
            let half = L::splat(self.above / 2.0 - self.below / 2.0);
            let t = x.sub(L::splat(self.at)).mul(L::splat(self.width.recip()));
            let away = t.select(t.above(L::zero()), L::zero().sub(t));
            let share = one.div(one.add(away));
            // At infinity the quotient is 1, not infinity times zero.
            let end = one.select(t.above(L::zero()), L::splat(-1.0));
            let part = end.select(away.above(L::splat(1e30)), t.mul(share));
            let slope = half.mul(L::splat(self.width.recip()));
            (half.mul_add(part, centre), slope.mul(share.mul(share)))
        }
    }

    /// Values of the step, with the derivatives of [`Self::bend`].
    ///
    /// # Safety
    /// The processor has the instruction set of `L`.
    #[inline(always)]
    unsafe fn cut<L: Lanes>(self, x: L) -> (L, L) {
        // SAFETY: the caller's.
        unsafe {
            let at = L::splat(self.at);
            let value = L::splat(self.below).select(at.above(x), L::splat(self.on));
            let value = L::splat(self.above).select(x.above(at), value);
            (x.select(x.nans(), value), self.bend(x).1)
        }
    }
}

/// `1 / (1 + exp(-x))`.
///
/// # Safety
/// The processor has the instruction set of `L`.
#[inline(always)]
unsafe fn sigmoid<L: Lanes>(x: L) -> L {
    // SAFETY: the caller's.
    unsafe {
        let one = L::splat(1.0);
        one.div(one.add(exp(L::zero().sub(x))))
    }
}

impl Function {
    /// Values and derivatives.
    ///
    /// # Safety
    /// The processor has the instruction set of `L`.
    #[inline(always)]
    pub(super) unsafe fn at<L: Lanes>(self, x: L) -> (L, L) {
        // SAFETY: the caller's.
        unsafe {
            let (zero, one) = (L::zero(), L::splat(1.0));
            match self {
                Self::Sigmoid => {
                    let y = sigmoid(x);
                    (y, y.mul(one.sub(y)))
                }
                Self::Tanh => {
                    let two = L::splat(2.0);
                    let y = two.mul(sigmoid(x.mul(two))).sub(one);
                    (y, one.sub(y.mul(y)))
                }
                Self::Silu => {
                    let s = sigmoid(x);
                    (x.mul(s), s.mul(x.mul_add(one.sub(s), one)))
                }
                Self::Elu { alpha } => {
                    let above = x.above(zero);
                    let below = L::splat(alpha).mul(exp(x));
                    (
                        x.select(above, below.sub(L::splat(alpha))),
                        one.select(above, below),
                    )
                }
                Self::HardSigmoid { alpha, beta } => {
                    let y = L::splat(alpha).mul_add(x, L::splat(beta));
                    let (below, above) = (zero.above(y), y.above(one));
                    let slope = zero.select(below | above, L::splat(alpha));
                    (zero.select(below, one.select(above, y)), slope)
                }
                Self::HardSwish => {
                    let y = L::splat(1.0 / 6.0).mul_add(x, L::splat(0.5));
                    let (below, above) = (zero.above(y), y.above(one));
                    let slope = L::splat(1.0 / 3.0).mul_add(x, L::splat(0.5));
                    let slope = zero.select(below, one.select(above, slope));
                    (x.mul(zero.select(below, one.select(above, y))), slope)
                }
                Self::Erf => {
                    let (y, bell) = erf(x);
                    (y, bell.mul(L::splat(std::f32::consts::FRAC_2_SQRT_PI)))
                }
                Self::Gelu => {
                    let (y, bell) = erf(x.mul(L::splat(std::f32::consts::FRAC_1_SQRT_2)));
                    let cdf = y.add(one).mul(L::splat(0.5));
                    // The normal density: exp(-x^2 / 2) / sqrt(2 pi).
                    let density = bell.mul(L::splat(0.398_942_3));
                    (x.mul(cdf), x.mul_add(density, cdf))
                }
                Self::Step(step) => step.cut(x),
                Self::Bend(step) => step.bend(x),
            }
        }
    }
}
