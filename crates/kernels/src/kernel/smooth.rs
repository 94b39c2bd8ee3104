//! Activations whose derivative takes more than a bit: the forward pass stores it, the input gradient multiplies by it.

use super::{Back, Between, Kernel, Pair, per_isa, plain_reads};
use crate::epilogue::Epilogue;
use crate::lanes::{Isa, LANES, Lanes, erf, exp};
use crate::memory::{Buffer, Memory, Store};
use crate::shape::{Border, Map};

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
    unsafe fn at<L: Lanes>(self, x: L) -> (L, L) {
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
            }
        }
    }
}

/// Values per row of a store with one value per value of a map.
pub(crate) const fn slopes_len(map: Map) -> usize {
    map.blocks() * map.pixels() * LANES
}

/// The kernels of an activation, with the store of its derivative.
pub(crate) fn pair(at: Between, function: Function, slopes: Store) -> Pair {
    let Between { from, to, .. } = at;
    let back: Back = Box::new(move |from, to, epilogue| {
        Box::new(SmoothBack {
            from,
            to,
            slopes,
            epilogue,
        })
    });
    (
        Box::new(Smooth {
            from,
            to,
            function,
            slopes,
        }),
        back,
    )
}

/// The forward pass.
#[derive(Debug)]
struct Smooth {
    from: Buffer,
    to: Buffer,
    function: Function,
    slopes: Store,
}

impl Kernel for Smooth {
    fn reads(&self) -> Vec<(Buffer, Border)> {
        vec![(self.from, Border::default())]
    }

    fn writes(&self) -> Option<Buffer> {
        Some(self.to)
    }

    fn run(&self, isa: Isa, memory: &Memory<'_>, _: &[f32], _: &mut [f32]) {
        // SAFETY: `isa` was detected, and nobody else writes `to` or the slopes.
        unsafe {
            per_isa!(isa, forward(k: &Smooth = self, memory: &Memory<'_> = memory));
        }
    }
}

/// # Safety
/// The processor has the instruction set of `L`; nobody else writes `to` or the slopes.
#[inline(always)]
unsafe fn forward<L: Lanes>(k: &Smooth, memory: &Memory<'_>) {
    let (input, output) = (memory.frame(k.from), memory.frame(k.to));
    for row in 0..memory.rows {
        let (from, to) = (memory.row(k.from, row), memory.row(k.to, row));
        let mut slopes = memory.store(k.slopes, row, slopes_len(output.map));
        for block in 0..output.map.blocks() {
            for y in 0..output.map.height {
                for x in 0..output.map.width {
                    // SAFETY: the pixel lies inside both frames, the store has a value for each.
                    unsafe {
                        let given = L::load(from.add(input.at(block, y, x)).cast_const());
                        let (value, slope) = k.function.at(given);
                        value.store(to.add(output.at(block, y, x)));
                        slope.store(slopes);
                        slopes = slopes.add(LANES);
                    }
                }
            }
        }
    }
}

/// The input gradient.
#[derive(Debug)]
struct SmoothBack {
    from: Buffer,
    to: Buffer,
    slopes: Store,
    epilogue: Epilogue,
}

impl Kernel for SmoothBack {
    fn reads(&self) -> Vec<(Buffer, Border)> {
        plain_reads(&[self.from], &self.epilogue)
    }

    fn writes(&self) -> Option<Buffer> {
        Some(self.to)
    }

    fn run(&self, isa: Isa, memory: &Memory<'_>, _: &[f32], _: &mut [f32]) {
        // SAFETY: `isa` was detected, and nobody else writes `to`.
        unsafe {
            per_isa!(isa, backward(k: &SmoothBack = self, memory: &Memory<'_> = memory));
        }
    }
}

/// # Safety
/// The processor has the instruction set of `L`; nobody else writes `to`.
#[inline(always)]
unsafe fn backward<L: Lanes>(k: &SmoothBack, memory: &Memory<'_>) {
    let (input, output) = (memory.frame(k.from), memory.frame(k.to));
    for row in 0..memory.rows {
        let (from, to) = (memory.row(k.from, row), memory.row(k.to, row));
        let mut slopes = memory
            .store(k.slopes, row, slopes_len(output.map))
            .cast_const();
        for block in 0..output.map.blocks() {
            // SAFETY: pixels lie inside both frames, the store has a value for each.
            unsafe {
                let finish = k.epilogue.of::<L>(memory, k.to, row, block);
                for y in 0..output.map.height {
                    for x in 0..output.map.width {
                        let gradient = L::load(from.add(input.at(block, y, x)).cast_const());
                        let value = finish.apply(gradient.mul(L::load(slopes)), y, x);
                        value.store(to.add(output.at(block, y, x)));
                        slopes = slopes.add(LANES);
                    }
                }
            }
        }
    }
}
