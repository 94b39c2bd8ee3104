//! Softmax over the channels of each pixel, or its logarithm.
//!
//! # Maths
//! `y_i = exp(x_i - m) / sum_j exp(x_j - m)` with the largest value `m`; the input gradient of `dy` is
//! `y_i (dy_i - sum_j dy_j y_j)`, for the logarithm `dy_i - exp(y_i) sum_j dy_j`. `x` is a number times the input, as in
//! attention, and the gradient is times that number too.
//!
//! # Cost
//! An exponential per value, two for the logarithm.

use super::{Back, Between, Kernel, Pair, per_isa, plain_reads};
use crate::epilogue::Epilogue;
use crate::lanes::{Isa, LANES, Lanes, exp, only};
use crate::memory::{Buffer, Memory};
use crate::shape::Border;

/// The forward pass.
#[derive(Debug)]
struct Softmax {
    from: Buffer,
    to: Buffer,
    is_log: bool,
    factor: f32,
}

/// The input gradient.
#[derive(Debug)]
struct SoftmaxBack {
    from: Buffer,
    /// Output of the forward pass.
    output: Buffer,
    to: Buffer,
    is_log: bool,
    factor: f32,
    epilogue: Epilogue,
}

/// The kernels.
pub(crate) fn pair(at: Between, is_log: bool, factor: f32) -> Pair {
    let Between {
        from, to: output, ..
    } = at;
    let back: Back = Box::new(move |from, to, epilogue| {
        Box::new(SoftmaxBack {
            from,
            output,
            to,
            is_log,
            factor,
            epilogue,
        })
    });
    (
        Box::new(Softmax {
            from,
            to: output,
            is_log,
            factor,
        }),
        back,
    )
}

impl Kernel for Softmax {
    fn reads(&self) -> Vec<(Buffer, Border)> {
        vec![(self.from, Border::default())]
    }

    fn writes(&self) -> Option<Buffer> {
        Some(self.to)
    }

    fn run(&self, isa: Isa, memory: &Memory<'_>, _: &[f32], _: &mut [f32]) {
        // SAFETY: `isa` was detected, and nobody else writes `to`.
        unsafe {
            per_isa!(isa, forward(k: &Softmax = self, memory: &Memory<'_> = memory));
        }
    }
}

/// A block of a pixel times the factor, with what is no channel as negative infinity.
///
/// # Safety
/// The processor has the instruction set of `L`; the pixel has that block.
#[inline(always)]
unsafe fn value<L: Lanes>(
    factor: f32,
    pixel: *const f32,
    plane: usize,
    block: usize,
    channels: usize,
) -> L {
    // SAFETY: the caller's.
    unsafe {
        only(
            L::load(pixel.add(block * plane)).mul(L::splat(factor)),
            channels - block * LANES,
            f32::NEG_INFINITY,
        )
    }
}

/// # Safety
/// The processor has the instruction set of `L`; nobody else writes `to`.
#[inline(always)]
unsafe fn forward<L: Lanes>(k: &Softmax, memory: &Memory<'_>) {
    let (input, output) = (memory.frame(k.from), memory.frame(k.to));
    let (blocks, channels) = (output.map.blocks(), output.map.channels);
    for row in 0..memory.rows {
        let (from, to) = (memory.row(k.from, row).cast_const(), memory.row(k.to, row));
        for y in 0..output.map.height {
            for x in 0..output.map.width {
                // SAFETY: pixels lie inside both frames.
                unsafe {
                    let pixel = from.add(input.at(0, y, x));
                    let mut most = value::<L>(k.factor, pixel, input.plane(), 0, channels);
                    for block in 1..blocks {
                        let own = value::<L>(k.factor, pixel, input.plane(), block, channels);
                        most = own.select(own.above(most) | own.nans(), most);
                    }
                    let most = L::splat(most.largest());
                    let mut sum = L::zero();
                    for block in 0..blocks {
                        let own = value::<L>(k.factor, pixel, input.plane(), block, channels);
                        let power = exp(own.sub(most));
                        power.store(to.add(output.at(block, y, x)));
                        sum = sum.add(power);
                    }
                    let sum = sum.total();
                    let share = L::splat(1.0 / sum);
                    let level = if k.is_log {
                        most.add(L::splat(sum.ln()))
                    } else {
                        most
                    };
                    for block in 0..blocks {
                        let at = to.add(output.at(block, y, x));
                        if k.is_log {
                            value::<L>(k.factor, pixel, input.plane(), block, channels)
                                .sub(level)
                                .store(at);
                        } else {
                            L::load(at.cast_const()).mul(share).store(at);
                        }
                    }
                }
            }
        }
    }
}

impl Kernel for SoftmaxBack {
    fn reads(&self) -> Vec<(Buffer, Border)> {
        plain_reads(&[self.from, self.output], &self.epilogue)
    }

    fn writes(&self) -> Option<Buffer> {
        Some(self.to)
    }

    fn run(&self, isa: Isa, memory: &Memory<'_>, _: &[f32], _: &mut [f32]) {
        // SAFETY: `isa` was detected, and nobody else writes `to`.
        unsafe {
            per_isa!(isa, backward(k: &SoftmaxBack = self, memory: &Memory<'_> = memory));
        }
    }
}

/// # Safety
/// The processor has the instruction set of `L`; nobody else writes `to`.
#[inline(always)]
unsafe fn backward<L: Lanes>(k: &SoftmaxBack, memory: &Memory<'_>) {
    let (input, given, output) = (
        memory.frame(k.from),
        memory.frame(k.output),
        memory.frame(k.to),
    );
    let (blocks, channels) = (output.map.blocks(), output.map.channels);
    for row in 0..memory.rows {
        let (from, own) = (
            memory.row(k.from, row).cast_const(),
            memory.row(k.output, row).cast_const(),
        );
        let to = memory.row(k.to, row);
        for y in 0..output.map.height {
            for x in 0..output.map.width {
                // SAFETY: pixels lie inside all frames.
                unsafe {
                    let mut sum = L::zero();
                    for block in 0..blocks {
                        let gradient = L::load(from.add(input.at(block, y, x)));
                        let share = L::load(own.add(given.at(block, y, x)));
                        let part = if k.is_log {
                            gradient
                        } else {
                            gradient.mul(share)
                        };
                        sum = sum.add(only(part, channels - block * LANES, 0.0));
                    }
                    let sum = L::splat(sum.total());
                    for block in 0..blocks {
                        let gradient = L::load(from.add(input.at(block, y, x)));
                        let share = L::load(own.add(given.at(block, y, x)));
                        let value = if k.is_log {
                            gradient.sub(exp(share).mul(sum))
                        } else {
                            share.mul(gradient.sub(sum))
                        };
                        let value = value.mul(L::splat(k.factor));
                        let finish = k.epilogue.of::<L>(memory, k.to, row, block);
                        finish
                            .apply(value, y, x)
                            .store(to.add(output.at(block, y, x)));
                    }
                }
            }
        }
    }
}
