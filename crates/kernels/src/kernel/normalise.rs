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

use super::{Back, Between, Kernel, Pair, per_isa};
use crate::epilogue::Epilogue;
use crate::lanes::{Isa, LANES, Lanes, only, total};
use crate::memory::{Buffer, Memory};
use crate::shape::{Border, Frame};

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
        let reads = [Some(self.values), self.gradient, self.epilogue.addend];
        reads
            .into_iter()
            .flatten()
            .map(|b| (b, Border::default()))
            .collect()
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

/// The sum over the channels of a pixel of what `of` gives per block.
///
/// # Safety
/// The processor has the instruction set of `L`.
#[inline(always)]
unsafe fn sum<L: Lanes>(frame: &Frame, of: impl Fn(usize) -> L) -> f32 {
    // SAFETY: the caller's.
    unsafe {
        let mut sum = L::zero();
        for block in 0..frame.map.blocks() {
            sum = sum.add(only(of(block), frame.map.channels - block * LANES, 0.0));
        }
        total(sum)
    }
}

/// # Safety
/// The processor has the instruction set of `L`; nobody else writes `to`.
#[inline(always)]
unsafe fn all<L: Lanes>(k: &Normalise, memory: &Memory<'_>) {
    let (input, output) = (memory.frame(k.values), memory.frame(k.to));
    let n = output.map.channels as f32;
    for row in 0..memory.rows {
        let (from, to) = (
            memory.row(k.values, row).cast_const(),
            memory.row(k.to, row),
        );
        for y in 0..output.map.height {
            for x in 0..output.map.width {
                // SAFETY: pixels lie inside all frames.
                unsafe {
                    let value = |block: usize| L::load(from.add(input.at(block, y, x)));
                    let mean = L::splat(sum(input, value) / n);
                    let variance = sum(input, |b| {
                        let d = value(b).sub(mean);
                        d.mul(d)
                    });
                    let share = L::splat(1.0 / (variance / n + k.epsilon).sqrt());
                    let normal = |block: usize| value(block).sub(mean).mul(share);
                    let Some(gradient) = k.gradient else {
                        for block in 0..output.map.blocks() {
                            normal(block).store(to.add(output.at(block, y, x)));
                        }
                        continue;
                    };
                    let (own, frame) = (
                        memory.row(gradient, row).cast_const(),
                        memory.frame(gradient),
                    );
                    let given = |block: usize| L::load(own.add(frame.at(block, y, x)));
                    let level = L::splat(sum(frame, given) / n);
                    let along = L::splat(sum(frame, |b| given(b).mul(normal(b))) / n);
                    for block in 0..output.map.blocks() {
                        let finish = k.epilogue.of::<L>(memory, k.to, row, block);
                        let left = given(block).sub(level).sub(normal(block).mul(along));
                        finish
                            .apply(left.mul(share), y, x)
                            .store(to.add(output.at(block, y, x)));
                    }
                }
            }
        }
    }
}
