//! Features in another order, in a map of another shape; the input gradient is the same with the order turned round.

use std::sync::{Arc, OnceLock};

use super::{Back, Between, Kernel, Pair, per_isa, plain_reads};
use crate::epilogue::Epilogue;
use crate::lanes::{Isa, LANES, Lanes};
use crate::memory::{Buffer, Memory};
use crate::shape::{Border, Frame};

/// In place of a feature: nothing, which is 0.
const NOTHING: u32 = u32::MAX;

/// Values that lie side by side in both rows.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// [`NOTHING`] for zeros.
    from: u32,
    to: u32,
    count: u32,
}

/// The kernel: feature `i` of the output is feature `order[i]` of the input, both counted channel by channel, or 0.
#[derive(Debug)]
struct Rearrange {
    from: Buffer,
    to: Buffer,
    order: Arc<[u32]>,
    epilogue: Epilogue,
    /// Positions of the features; computed at the first run, when the frames are known.
    runs: OnceLock<Vec<Run>>,
}

/// The kernels of an order that takes features of `at.input`, none of them twice.
pub(crate) fn pair(at: Between, order: &Arc<[u32]>) -> Pair {
    let Between {
        from, to, input, ..
    } = at;
    let mut turned = vec![NOTHING; input.features()];
    for (i, from) in (0..).zip(order.iter()) {
        turned[*from as usize] = i;
    }
    let of = |from, to, order, epilogue| Rearrange {
        from,
        to,
        order,
        epilogue,
        runs: OnceLock::new(),
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

/// The runs, in the order in which the output lies in memory.
fn runs(input: &Frame, output: &Frame, order: &[u32]) -> Vec<Run> {
    let map = output.map;
    let mut runs: Vec<Run> = Vec::new();
    for block in 0..map.blocks() {
        for pixel in 0..map.pixels() {
            for channel in block * LANES..map.channels.min((block + 1) * LANES) {
                let feature = channel * map.pixels() + pixel;
                let to = place(output, feature);
                let from = match order[feature] {
                    NOTHING => NOTHING,
                    own => place(input, own as usize),
                };
                match runs.last_mut() {
                    Some(r)
                        if r.to + r.count == to
                            && (r.from == NOTHING && from == NOTHING
                                || r.from != NOTHING && r.from + r.count == from) =>
                    {
                        r.count += 1;
                    }
                    _ => runs.push(Run { from, to, count: 1 }),
                }
            }
        }
    }
    runs
}

impl Kernel for Rearrange {
    fn reads(&self) -> Vec<(Buffer, Border)> {
        plain_reads(&[self.from], &self.epilogue)
    }

    fn writes(&self) -> Option<Buffer> {
        Some(self.to)
    }

    fn run(&self, isa: Isa, memory: &Memory<'_>, _: &[f32], _: &mut [f32]) {
        let (input, output) = (memory.frame(self.from), memory.frame(self.to));
        let runs = self.runs.get_or_init(|| runs(input, output, &self.order));
        for row in 0..memory.rows {
            let (from, to) = (
                memory.row(self.from, row).cast_const(),
                memory.row(self.to, row),
            );
            for run in runs {
                // SAFETY: both ends lie inside the row's frames.
                unsafe {
                    let to = to.add(run.to as usize);
                    match (run.from, run.count) {
                        (NOTHING, n) => to.write_bytes(0, n as usize),
                        (from_at, 1) => to.write(from.add(from_at as usize).read()),
                        (from_at, n) => {
                            to.copy_from_nonoverlapping(from.add(from_at as usize), n as usize);
                        }
                    }
                }
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
