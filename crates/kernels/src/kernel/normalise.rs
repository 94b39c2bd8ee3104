//! Layer normalisation: the channels of each pixel, brought to mean 0 and variance 1.
//!
//! # Maths
//! `y = (x - m) / sqrt(v + epsilon)` with mean `m` and variance `v` over the channels. The input gradient of `dy` is
//! `(dy - mean(dy) - y mean(dy y)) / sqrt(v + epsilon)`.
//!
//! # Reference
//! Ba et al., arXiv:1607.06450.
//!
//! # Divergences
//! Scale and shift are an operation of their own. The backward pass computes mean and variance again.
//!
//! # Cost
//! Three passes over the channels of a pixel, in the cache.

use super::{Back, Between, Kernel, Pair, per_isa, plain_reads};
use crate::epilogue::Epilogue;
use crate::lanes::{Isa, LANES, Lanes, only};
use crate::memory::{Buffer, Memory};
use crate::shape::Border;

/// The kernel of either pass.
#[derive(Debug)]
struct Normalise {
    /// The values to normalise.
    values: Buffer,
    /// The output's gradient, in the backward pass.
    gradient: Option<Buffer>,
    to: Buffer,
    epsilon: f32,
    epilogue: Epilogue,
}

/// The kernels.
pub(crate) fn pair(at: Between, epsilon: f32) -> Pair {
    let Between {
        from: values, to, ..
    } = at;
    let back: Back = Box::new(move |from, to, epilogue| {
        Box::new(Normalise {
            values,
            gradient: Some(from),
            to,
            epsilon,
            epilogue,
        })
    });
    (
        Box::new(Normalise {
            values,
            gradient: None,
            to,
            epsilon,
            epilogue: Epilogue::default(),
        }),
        back,
    )
}

impl Kernel for Normalise {
    fn reads(&self) -> Vec<(Buffer, Border)> {
        let mut reads = plain_reads(&[self.values], &self.epilogue);
        reads.extend(self.gradient.map(|b| (b, Border::default())));
        reads
    }

    fn writes(&self) -> Option<Buffer> {
        Some(self.to)
    }

    fn run(&self, isa: Isa, memory: &Memory<'_>, _: &[f32], _: &mut [f32]) {
        // SAFETY: `isa` was detected, and nobody else writes `to`.
        unsafe {
            per_isa!(isa, all(k: &Normalise = self, memory: &Memory<'_> = memory));
        }
    }
}

/// A pixel of a row: its blocks lie a plane apart.
#[derive(Clone, Copy)]
struct Pixel {
    start: *const f32,
    plane: usize,
}

impl Pixel {
    #[inline(always)]
    unsafe fn block<L: Lanes>(self, block: usize) -> L {
        // SAFETY: the caller's: the pixel has that block.
        unsafe { L::load(self.start.add(block * self.plane)) }
    }
}

/// The values of a pixel, brought to mean 0 and variance 1.
#[derive(Clone, Copy)]
struct Normal<L> {
    pixel: Pixel,
    mean: L,
    share: L,
}

impl<L: Lanes> Normal<L> {
    #[inline(always)]
    unsafe fn of(pixel: Pixel, channels: usize, epsilon: f32) -> Self {
        let (blocks, n) = (channels.div_ceil(LANES), channels as f32);
        // SAFETY: the caller's.
        unsafe {
            let mut sum = L::zero();
            for block in 0..blocks {
                sum = sum.add(only(pixel.block::<L>(block), channels - block * LANES, 0.0));
            }
            let mean = L::splat(sum.total() / n);
            let mut squares = L::zero();
            for block in 0..blocks {
                let d = only(
                    pixel.block::<L>(block).sub(mean),
                    channels - block * LANES,
                    0.0,
                );
                squares = d.mul_add(d, squares);
            }
            let share = L::splat(1.0 / (squares.total() / n + epsilon).sqrt());
            Self { pixel, mean, share }
        }
    }

    #[inline(always)]
    unsafe fn block(self, block: usize) -> L {
        // SAFETY: the caller's.
        unsafe { self.pixel.block::<L>(block).sub(self.mean).mul(self.share) }
    }
}

/// # Safety
/// The processor has the instruction set of `L`; nobody else writes `to`.
#[inline(always)]
unsafe fn all<L: Lanes>(k: &Normalise, memory: &Memory<'_>) {
    let (input, output) = (memory.frame(k.values), memory.frame(k.to));
    let (blocks, channels) = (output.map.blocks(), output.map.channels);
    let n = channels as f32;
    for row in 0..memory.rows {
        let (from, to) = (
            memory.row(k.values, row).cast_const(),
            memory.row(k.to, row),
        );
        for y in 0..output.map.height {
            for x in 0..output.map.width {
                // SAFETY: pixels lie inside all frames.
                unsafe {
                    let pixel = Pixel {
                        start: from.add(input.at(0, y, x)),
                        plane: input.plane(),
                    };
                    let normal = Normal::<L>::of(pixel, channels, k.epsilon);
                    let Some(gradient) = k.gradient else {
                        for block in 0..blocks {
                            normal.block(block).store(to.add(output.at(block, y, x)));
                        }
                        continue;
                    };
                    let frame = memory.frame(gradient);
                    let start = memory
                        .row(gradient, row)
                        .add(frame.at(0, y, x))
                        .cast_const();
                    let given = Pixel {
                        start,
                        plane: frame.plane(),
                    };
                    let (mut level, mut along) = (L::zero(), L::zero());
                    for block in 0..blocks {
                        let own = only(given.block::<L>(block), channels - block * LANES, 0.0);
                        level = level.add(own);
                        along = along.add(only(
                            own.mul(normal.block(block)),
                            channels - block * LANES,
                            0.0,
                        ));
                    }
                    let (level, along) = (L::splat(level.total() / n), L::splat(along.total() / n));
                    for block in 0..blocks {
                        let finish = k.epilogue.of::<L>(memory, k.to, row, block);
                        let left = given
                            .block::<L>(block)
                            .sub(level)
                            .sub(normal.block(block).mul(along));
                        finish
                            .apply(left.mul(normal.share), y, x)
                            .store(to.add(output.at(block, y, x)));
                    }
                }
            }
        }
    }
}
