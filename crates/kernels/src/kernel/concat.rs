//! Values beside each other along their channels, and the parts of such a value.

use super::rearrange::finish;
use super::{Kernel, per_isa, plain_reads};
use crate::epilogue::Epilogue;
use crate::lanes::{Isa, LANES};
use crate::memory::{Buffer, Memory};
use crate::shape::{Border, Frame};

/// Several buffers into one, in their order.
#[derive(Debug)]
pub(crate) struct Join {
    pub(crate) from: Vec<Buffer>,
    pub(crate) to: Buffer,
}

/// Copies channels of one row: `count` from `first` of `a` on, to `start` of `b` on.
///
/// # Safety
/// Both rows hold their frames, with those channels.
unsafe fn copy(
    from: *const f32,
    a: &Frame,
    first: usize,
    to: *mut f32,
    b: &Frame,
    start: usize,
    count: usize,
) {
    for i in 0..count {
        let (c, d) = (first + i, start + i);
        for y in 0..b.map.height {
            for x in 0..b.map.width {
                // SAFETY: the pixels lie inside both frames.
                unsafe {
                    let value = from.add(a.at(c / LANES, y, x) + c % LANES).read();
                    to.add(b.at(d / LANES, y, x) + d % LANES).write(value);
                }
            }
        }
    }
}

impl Kernel for Join {
    fn reads(&self) -> Vec<(Buffer, Border)> {
        self.from.iter().map(|b| (*b, Border::default())).collect()
    }

    fn writes(&self) -> Option<Buffer> {
        Some(self.to)
    }

    fn run(&self, _: Isa, memory: &Memory<'_>, _: &[f32], _: &mut [f32]) {
        let output = memory.frame(self.to);
        for row in 0..memory.rows {
            let mut start = 0;
            for from in &self.from {
                let input = memory.frame(*from);
                // SAFETY: the output has the channels of all inputs.
                unsafe {
                    let (a, b) = (
                        memory.row(*from, row).cast_const(),
                        memory.row(self.to, row),
                    );
                    copy(a, input, 0, b, output, start, input.map.channels);
                }
                start += input.map.channels;
            }
        }
    }
}

/// The channels from `first` on, as many as the output has: the input gradient of a [`Join`].
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) from: Buffer,
    pub(crate) first: usize,
    pub(crate) to: Buffer,
    pub(crate) epilogue: Epilogue,
}

impl Kernel for Part {
    fn reads(&self) -> Vec<(Buffer, Border)> {
        plain_reads(&[self.from], &self.epilogue)
    }

    fn writes(&self) -> Option<Buffer> {
        Some(self.to)
    }

    fn run(&self, isa: Isa, memory: &Memory<'_>, _: &[f32], _: &mut [f32]) {
        let (input, output) = (memory.frame(self.from), memory.frame(self.to));
        for row in 0..memory.rows {
            // SAFETY: the input has the output's channels from `first` on.
            unsafe {
                let (a, b) = (
                    memory.row(self.from, row).cast_const(),
                    memory.row(self.to, row),
                );
                copy(a, input, self.first, b, output, 0, output.map.channels);
            }
        }
        if !self.epilogue.is_nothing() {
            // SAFETY: `isa` was detected, and nobody else writes `to`.
            unsafe {
                per_isa!(isa, finish(epilogue: &Epilogue = &self.epilogue, to: Buffer = self.to, memory: &Memory<'_> = memory));
            }
        }
    }
}
