//! A number times every value plus another, one of each per feature: a mean image, an embedding of positions.

use std::sync::Arc;

use super::{Back, Between, Kernel, Pair, per_isa, plain_reads};
use crate::epilogue::Epilogue;
use crate::lanes::{Isa, LANES, Lanes};
use crate::memory::{Buffer, Memory};
use crate::shape::{Border, Map};

/// The kernel.
#[derive(Debug)]
struct Affine {
    from: Buffer,
    to: Buffer,
    /// Per block, pixel and lane.
    scale: Arc<[f32]>,
    shift: Option<Arc<[f32]>>,
    epilogue: Epilogue,
}

/// Numbers per feature, channel by channel, as blocks.
fn blocked(map: Map, numbers: &[f32]) -> Arc<[f32]> {
    let mut all = vec![0.0; map.blocks() * map.pixels() * LANES];
    for (i, number) in numbers.iter().enumerate() {
        let (channel, pixel) = (i / map.pixels(), i % map.pixels());
        all[(channel / LANES * map.pixels() + pixel) * LANES + channel % LANES] = *number;
    }
    all.into()
}

/// The kernels, with one factor and one summand per feature.
pub(crate) fn pair(at: Between, scale: &[f32], shift: &[f32], epilogue: Epilogue) -> Pair {
    let Between {
        from, to, input, ..
    } = at;
    let scale = blocked(input, scale);
    let forward = Affine {
        from,
        to,
        scale: Arc::clone(&scale),
        shift: Some(blocked(input, shift)),
        epilogue,
    };
    let back: Back = Box::new(move |from, to, epilogue| {
        Box::new(Affine {
            from,
            to,
            scale,
            shift: None,
            epilogue,
        })
    });
    (Box::new(forward), back)
}

impl Kernel for Affine {
    fn reads(&self) -> Vec<(Buffer, Border)> {
        plain_reads(&[self.from], &self.epilogue)
    }

    fn writes(&self) -> Option<Buffer> {
        Some(self.to)
    }

    fn run(&self, isa: Isa, memory: &Memory<'_>, _: &[f32], _: &mut [f32]) {
        // SAFETY: `isa` was detected, and nobody else writes `to`.
        unsafe {
            per_isa!(isa, all(k: &Affine = self, memory: &Memory<'_> = memory));
        }
    }
}

/// # Safety
/// The processor has the instruction set of `L`; nobody else writes `to`.
#[inline(always)]
unsafe fn all<L: Lanes>(k: &Affine, memory: &Memory<'_>) {
    let (input, output) = (memory.frame(k.from), memory.frame(k.to));
    for row in 0..memory.rows {
        let (from, to) = (memory.row(k.from, row), memory.row(k.to, row));
        let mut at = 0;
        for block in 0..output.map.blocks() {
            // SAFETY: pixels lie inside both frames, and there are sixteen numbers for each.
            unsafe {
                let finish = k.epilogue.of::<L>(memory, k.to, row, block);
                for y in 0..output.map.height {
                    for x in 0..output.map.width {
                        let value = L::load(from.add(input.at(block, y, x)).cast_const());
                        let shift = k
                            .shift
                            .as_ref()
                            .map_or(L::zero(), |s| L::load(s.as_ptr().add(at)));
                        let value = value.mul_add(L::load(k.scale.as_ptr().add(at)), shift);
                        finish
                            .apply(value, y, x)
                            .store(to.add(output.at(block, y, x)));
                        at += LANES;
                    }
                }
            }
        }
    }
}
