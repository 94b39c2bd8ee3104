//! Features in another order, in a map of another shape; the input gradient is the same with the order turned round.

use std::sync::{Arc, OnceLock};

use super::{Back, Between, Kernel, Pair, per_isa};
use crate::epilogue::Epilogue;
use crate::lanes::{Isa, LANES, Lanes};
use crate::memory::{Buffer, Memory};
use crate::shape::{Border, Frame};

/// The kernel: feature `i` of the output is feature `order[i]` of the input, both counted channel by channel.
#[derive(Debug)]
pub(crate) struct Rearrange {
    pub(crate) from: Buffer,
    pub(crate) to: Buffer,
    pub(crate) order: Arc<[u32]>,
    pub(crate) epilogue: Epilogue,
    /// Where each feature lies in both rows; found at the first run, when the frames are known.
    pub(crate) places: OnceLock<Vec<(u32, u32)>>,
}

/// The kernels of an order. Only orders that name every feature once can be turned round; [`crate::Builder`] sees to it.
pub(crate) fn pair(at: Between, order: &Arc<[u32]>) -> Pair {
    let Between { from, to, .. } = at;
    let mut turned = vec![0; order.len()];
    for (i, from) in (0..).zip(order.iter()) {
        turned[*from as usize] = i;
    }
    let of = |from, to, order, epilogue| Rearrange {
        from,
        to,
        order,
        epilogue,
        places: OnceLock::new(),
    };
    let back: Back =
        Box::new(move |from, to, epilogue| Box::new(of(from, to, turned.into(), epilogue)));
    (
        Box::new(of(from, to, Arc::clone(order), Epilogue::default())),
        back,
    )
}

fn place(frame: &Frame, feature: usize) -> u32 {
    let (channel, pixel) = (feature / frame.map.pixels(), feature % frame.map.pixels());
    (frame.at(
        channel / LANES,
        pixel / frame.map.width,
        pixel % frame.map.width,
    ) + channel % LANES) as u32
}

impl Kernel for Rearrange {
    fn reads(&self) -> Vec<(Buffer, Border)> {
        let mut reads = vec![(self.from, Border::default())];
        reads.extend(self.epilogue.addend.map(|b| (b, Border::default())));
        reads
    }

    fn writes(&self) -> Option<Buffer> {
        Some(self.to)
    }

    fn run(&self, isa: Isa, memory: &Memory<'_>, _: &[f32], _: &mut [f32]) {
        let (input, output) = (memory.frame(self.from), memory.frame(self.to));
        let places = self.places.get_or_init(|| {
            let both = |(i, from): (usize, &u32)| (place(input, *from as usize), place(output, i));
            self.order.iter().enumerate().map(both).collect()
        });
        for row in 0..memory.rows {
            let (from, to) = (
                memory.row(self.from, row).cast_const(),
                memory.row(self.to, row),
            );
            for (a, b) in places {
                // SAFETY: both lie inside the row's frames.
                unsafe { to.add(*b as usize).write(from.add(*a as usize).read()) }
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

/// Applies an epilogue to a buffer that has been written.
///
/// # Safety
/// The processor has the instruction set of `L`; nobody else writes `to`.
#[inline(always)]
pub(super) unsafe fn finish<L: Lanes>(epilogue: &Epilogue, to: Buffer, memory: &Memory<'_>) {
    let output = memory.frame(to);
    for row in 0..memory.rows {
        let start = memory.row(to, row);
        for block in 0..output.map.blocks() {
            // SAFETY: pixels lie inside the frame.
            unsafe {
                let finish = epilogue.of::<L>(memory, to, row, block);
                for y in 0..output.map.height {
                    for x in 0..output.map.width {
                        let at = start.add(output.at(block, y, x));
                        finish.apply(L::load(at.cast_const()), y, x).store(at);
                    }
                }
            }
        }
    }
}
