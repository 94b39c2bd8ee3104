//! A value times another of the same shape; its input gradients are the same with the output's gradient as one of both.

use super::{Back, Between, Kernel, per_isa, plain_reads};
use crate::epilogue::Epilogue;
use crate::lanes::{Isa, Lanes};
use crate::memory::{Buffer, Memory};
use crate::shape::Border;

/// The kernel.
#[derive(Debug)]
struct Multiply {
    from: Buffer,
    by: Buffer,
    to: Buffer,
    epilogue: Epilogue,
}

/// The forward kernel.
pub(crate) fn forward(at: Between, by: Buffer) -> Box<dyn Kernel> {
    Box::new(Multiply {
        from: at.from,
        by,
        to: at.to,
        epilogue: Epilogue::default(),
    })
}

/// Returns the constructor of one factor's gradient, given the other factor.
pub(crate) fn back(by: Buffer) -> Back {
    Box::new(move |from, to, epilogue| {
        Box::new(Multiply {
            from,
            by,
            to,
            epilogue,
        })
    })
}

impl Kernel for Multiply {
    fn reads(&self) -> Vec<(Buffer, Border)> {
        plain_reads(&[self.from, self.by], &self.epilogue)
    }

    fn writes(&self) -> Option<Buffer> {
        Some(self.to)
    }

    fn run(&self, isa: Isa, memory: &Memory<'_>, _: &[f32], _: &mut [f32]) {
        // SAFETY: `isa` was detected, and nobody else writes `to`.
        unsafe {
            per_isa!(isa, all(k: &Multiply = self, memory: &Memory<'_> = memory));
        }
    }
}

/// # Safety
/// The processor has the instruction set of `L`; nobody else writes `to`.
#[inline(always)]
unsafe fn all<L: Lanes>(k: &Multiply, memory: &Memory<'_>) {
    let (a, b, output) = (memory.frame(k.from), memory.frame(k.by), memory.frame(k.to));
    for row in 0..memory.rows {
        let (from, by, to) = (
            memory.row(k.from, row),
            memory.row(k.by, row),
            memory.row(k.to, row),
        );
        for block in 0..output.map.blocks() {
            // SAFETY: pixels lie inside all three frames.
            unsafe {
                let finish = k.epilogue.of::<L>(memory, k.to, row, block);
                for y in 0..output.map.height {
                    for x in 0..output.map.width {
                        let left = L::load(from.add(a.at(block, y, x)).cast_const());
                        let right = L::load(by.add(b.at(block, y, x)).cast_const());
                        finish
                            .apply(left.mul(right), y, x)
                            .store(to.add(output.at(block, y, x)));
                    }
                }
            }
        }
    }
}
