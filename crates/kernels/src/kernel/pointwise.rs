//! Functions of one number, applied to every value: the forward pass stores the derivative, the input gradient
//! multiplies by it.
//!
//! Several in a row are one pass over memory: GELU is often written as five operations, each of which would otherwise
//! read and write every value in both passes.

use std::sync::Arc;

use super::{Back, Between, Function, Kernel, Pair, per_isa, plain_reads};
use crate::epilogue::{Clamp, Epilogue, masked};
use crate::lanes::{Isa, LANES, Lanes};
use crate::memory::{Buffer, Memory, Store};
use crate::shape::{Border, Map};

/// One operation on a value `v` that was computed from a single number `x`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Stage {
    /// `f(v)`.
    Apply(Function),
    /// `scale v + shift`.
    Scale { scale: f32, shift: f32 },
    /// An activation that is linear in pieces.
    Clamp(Clamp),
    /// `v x`.
    TimesInput,
}

/// The value and the derivative after all stages.
///
/// # Safety
/// The processor has the instruction set of `L`.
#[inline(always)]
unsafe fn at<L: Lanes>(stages: &[Stage], x: L) -> (L, L) {
    // SAFETY: the caller's.
    unsafe {
        let (mut v, mut slope) = (x, L::splat(1.0));
        for stage in stages {
            match *stage {
                Stage::Apply(function) => {
                    let (y, own) = function.at(v);
                    (v, slope) = (y, own.mul(slope));
                }
                Stage::Scale { scale, shift } => {
                    let scale = L::splat(scale);
                    (v, slope) = (scale.mul_add(v, L::splat(shift)), scale.mul(slope));
                }
                Stage::Clamp(clamp) => {
                    let (y, bits) = clamp.at(v);
                    (v, slope) = (y, masked(slope, bits, clamp.slope()));
                }
                Stage::TimesInput => {
                    slope = slope.mul_add(x, v);
                    v = v.mul(x);
                }
            }
        }
        (v, slope)
    }
}

/// Values per row of a store with one value per value of a map.
pub(crate) const fn slopes_len(map: Map) -> usize {
    map.blocks() * map.pixels() * LANES
}

/// The kernels, with the store of the derivative.
pub(crate) fn pair(at: Between, stages: Arc<[Stage]>, slopes: Store) -> Pair {
    let Between { from, to, .. } = at;
    let back: Back = Box::new(move |from, to, epilogue| {
        Box::new(PointwiseBack {
            from,
            to,
            slopes,
            epilogue,
        })
    });
    (
        Box::new(Pointwise {
            from,
            to,
            stages,
            slopes,
        }),
        back,
    )
}

/// The forward pass.
#[derive(Debug)]
struct Pointwise {
    from: Buffer,
    to: Buffer,
    stages: Arc<[Stage]>,
    slopes: Store,
}

impl Kernel for Pointwise {
    fn reads(&self) -> Vec<(Buffer, Border)> {
        vec![(self.from, Border::default())]
    }

    fn writes(&self) -> Option<Buffer> {
        Some(self.to)
    }

    fn run(&self, isa: Isa, memory: &Memory<'_>, _: &[f32], _: &mut [f32]) {
        // SAFETY: `isa` was detected, and nobody else writes `to` or the slopes.
        unsafe {
            per_isa!(isa, forward(k: &Pointwise = self, memory: &Memory<'_> = memory));
        }
    }
}

/// # Safety
/// The processor has the instruction set of `L`; nobody else writes `to` or the slopes.
#[inline(always)]
unsafe fn forward<L: Lanes>(k: &Pointwise, memory: &Memory<'_>) {
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
                        let (value, slope) = at(&k.stages, given);
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
struct PointwiseBack {
    from: Buffer,
    to: Buffer,
    slopes: Store,
    epilogue: Epilogue,
}

impl Kernel for PointwiseBack {
    fn reads(&self) -> Vec<(Buffer, Border)> {
        plain_reads(&[self.from], &self.epilogue)
    }

    fn writes(&self) -> Option<Buffer> {
        Some(self.to)
    }

    fn run(&self, isa: Isa, memory: &Memory<'_>, _: &[f32], _: &mut [f32]) {
        // SAFETY: `isa` was detected, and nobody else writes `to`.
        unsafe {
            per_isa!(isa, backward(k: &PointwiseBack = self, memory: &Memory<'_> = memory));
        }
    }
}

/// # Safety
/// The processor has the instruction set of `L`; nobody else writes `to`.
#[inline(always)]
unsafe fn backward<L: Lanes>(k: &PointwiseBack, memory: &Memory<'_>) {
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
