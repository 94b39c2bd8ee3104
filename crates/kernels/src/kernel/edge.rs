//! The edges of a pass: rows as they are handed over, channel by channel, into blocks and back.

use super::Kernel;
use crate::lanes::{Isa, LANES};
use crate::memory::{Buffer, Memory};
use crate::shape::Border;

/// Rows `[rows, features]` into a buffer.
#[derive(Debug)]
pub(crate) struct Enter {
    pub(crate) to: Buffer,
}

impl Kernel for Enter {
    fn reads(&self) -> Vec<(Buffer, Border)> {
        Vec::new()
    }

    fn writes(&self) -> Option<Buffer> {
        Some(self.to)
    }

    fn run(&self, _: Isa, memory: &Memory<'_>, given: &[f32], _: &mut [f32]) {
        let frame = memory.frame(self.to);
        let map = frame.map;
        for (row, values) in given.chunks_exact(map.features()).enumerate() {
            let to = memory.row(self.to, row);
            for (c, channel) in values.chunks_exact(map.pixels()).enumerate() {
                for (y, line) in channel.chunks_exact(map.width).enumerate() {
                    let at = frame.at(c / LANES, y, 0) + c % LANES;
                    for (x, value) in line.iter().enumerate() {
                        // SAFETY: the pixel lies inside the row's frame.
                        unsafe { to.add(at + x * LANES).write(*value) }
                    }
                }
            }
        }
    }
}

/// A buffer into rows `[rows, features]`.
#[derive(Debug)]
pub(crate) struct Leave {
    pub(crate) from: Buffer,
}

impl Kernel for Leave {
    fn reads(&self) -> Vec<(Buffer, Border)> {
        vec![(self.from, Border::default())]
    }

    fn writes(&self) -> Option<Buffer> {
        None
    }

    fn run(&self, _: Isa, memory: &Memory<'_>, _: &[f32], taken: &mut [f32]) {
        let frame = memory.frame(self.from);
        let map = frame.map;
        for (row, values) in taken.chunks_exact_mut(map.features()).enumerate() {
            let from = memory.row(self.from, row).cast_const();
            for (c, channel) in values.chunks_exact_mut(map.pixels()).enumerate() {
                for (y, line) in channel.chunks_exact_mut(map.width).enumerate() {
                    let at = frame.at(c / LANES, y, 0) + c % LANES;
                    for (x, value) in line.iter_mut().enumerate() {
                        // SAFETY: the pixel lies inside the row's frame.
                        *value = unsafe { from.add(at + x * LANES).read() };
                    }
                }
            }
        }
    }
}
