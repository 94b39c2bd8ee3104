//! Operations computed channel by channel: depthwise convolutions, scale and shift, averages over windows, sums of two
//! values, activations that no other kernel can take along; and the input gradients of all of them.
//!
//! # Idea
//! All are a sum over taps of a pixel's block times a block of weights, so one kernel serves them. Scale and shift have
//! one tap; averages have equal weights; a sum is a value times 1 with the other as addend.
//!
//! # Cost
//! Taps times values, bound by memory.

use std::sync::Arc;

use super::{Back, Between, Kernel, Pair, per_isa, plain_reads};
use crate::epilogue::Epilogue;
use crate::lanes::{Isa, LANES, Lanes};
use crate::memory::{Buffer, Memory};
use crate::shape::{Border, Map};
use crate::window::{Phase, Window};

/// Weights of one phase: per block, per tap, sixteen channels.
#[derive(Debug)]
pub(crate) struct Taps {
    pub(crate) phase: Phase,
    weights: Vec<f32>,
}

impl Taps {
    /// Packs weights; `weight(c, tap)` for channel and place in the window.
    pub(crate) fn new(phase: Phase, map: Map, weight: impl Fn(usize, usize) -> f32) -> Self {
        let mut weights = Vec::with_capacity(map.blocks() * phase.taps.len() * LANES);
        for block in 0..map.blocks() {
            for tap in &phase.taps {
                let lanes = block * LANES..(block + 1) * LANES;
                weights.extend(lanes.map(|c| {
                    if c < map.channels {
                        weight(c, tap.at)
                    } else {
                        0.0
                    }
                }));
            }
        }
        Self { phase, weights }
    }
}

/// The kernel.
#[derive(Debug)]
pub(crate) struct Channelwise {
    pub(crate) from: Buffer,
    pub(crate) to: Buffer,
    pub(crate) input: Map,
    pub(crate) phases: Arc<[Taps]>,
    pub(crate) epilogue: Epilogue,
}

/// The kernels of an operation whose window has a weight per channel and tap.
pub(crate) fn pair(
    at: Between,
    window: Window,
    weight: &dyn Fn(usize, usize) -> f32,
    epilogue: Epilogue,
) -> Pair {
    let Between {
        from,
        to,
        input,
        output,
    } = at;
    let out = [output.height, output.width];
    let taps = Taps::new(window.forward(out), output, weight);
    let forward = Channelwise {
        from,
        to,
        input,
        phases: [taps].into(),
        epilogue,
    };
    let phases: Arc<[Taps]> = window
        .backward(input, out)
        .into_iter()
        .map(|p| Taps::new(p, input, weight))
        .collect();
    let back: Back = Box::new(move |from, to, epilogue| {
        Box::new(Channelwise {
            from,
            to,
            input: output,
            phases,
            epilogue,
        })
    });
    (Box::new(forward), back)
}

/// The kernels that give every pixel of the output the only pixel of the input: those of a sum over all pixels, the other
/// way round.
pub(crate) fn spread(at: Between, epilogue: Epilogue) -> Pair {
    let Between {
        from,
        to,
        input,
        output,
    } = at;
    let window = Window::from([output.height, output.width]);
    let phases = window.backward(output, [1, 1]).into_iter();
    let phases = phases.map(|p| Taps::new(p, output, |_, _| 1.0)).collect();
    let forward = Channelwise {
        from,
        to,
        input,
        phases,
        epilogue,
    };
    let back: Back = Box::new(move |from, to, epilogue| {
        let taps = Taps::new(window.forward([1, 1]), input, |_, _| 1.0);
        Box::new(Channelwise {
            from,
            to,
            input: output,
            phases: [taps].into(),
            epilogue,
        })
    });
    (Box::new(forward), back)
}

impl Kernel for Channelwise {
    fn reads(&self) -> Vec<(Buffer, Border)> {
        let border = self
            .phases
            .iter()
            .map(|p| p.phase.border(self.input))
            .fold(Border::default(), Border::max);
        let mut reads = plain_reads(&[], &self.epilogue);
        reads.push((self.from, border));
        reads
    }

    fn writes(&self) -> Option<Buffer> {
        Some(self.to)
    }

    fn run(&self, isa: Isa, memory: &Memory<'_>, _: &[f32], _: &mut [f32]) {
        // SAFETY: `isa` was detected, and nobody else writes `to`.
        unsafe {
            per_isa!(isa, all(k: &Channelwise = self, memory: &Memory<'_> = memory));
        }
    }
}

/// # Safety
/// The processor has the instruction set of `L`; nobody else writes `to`.
#[inline(always)]
unsafe fn all<L: Lanes>(k: &Channelwise, memory: &Memory<'_>) {
    let (input, output) = (memory.frame(k.from), memory.frame(k.to));
    let line = input.line() as isize;
    for row in 0..memory.rows {
        let (from, to) = (memory.row(k.from, row), memory.row(k.to, row));
        for block in 0..output.map.blocks() {
            // SAFETY: the border declared in `reads` holds whatever a tap reads outside the map; pixels and blocks lie
            // inside the output's frame, weights hold sixteen values per block and tap.
            unsafe {
                let finish = k.epilogue.of::<L>(memory, k.to, row, block);
                for taps in k.phases.iter() {
                    let Phase {
                        start,
                        step,
                        size,
                        stride,
                        ..
                    } = taps.phase;
                    let count = taps.phase.taps.len();
                    let weights = taps.weights.as_ptr().add(block * count * LANES);
                    for y in 0..size[0] {
                        for x in 0..size[1] {
                            let at = from
                                .wrapping_add(input.at(block, y * stride[0], x * stride[1]))
                                .cast_const();
                            let mut sum = L::zero();
                            for (i, tap) in taps.phase.taps.iter().enumerate() {
                                let ahead = tap.dy * line + tap.dx * LANES as isize;
                                let w = L::load(weights.add(i * LANES));
                                sum = L::load(at.wrapping_offset(ahead)).mul_add(w, sum);
                            }
                            let (y, x) = (y * step[0] + start[0], x * step[1] + start[1]);
                            finish
                                .apply(sum, y, x)
                                .store(to.add(output.at(block, y, x)));
                        }
                    }
                }
            }
        }
    }
}
