//! The largest value of each window, and its input gradient.
//!
//! # Idea
//! The forward pass stores a bit per tap and value: whether that tap won. The input gradient sums, for every input
//! pixel, the gradients of the windows that it won.
//!
//! # Divergences
//! Of equal values the first wins; NaN wins over everything, as in `PyTorch`. Pixels outside the map never win.
//!
//! # Cost
//! Taps times values, bound by memory.

use super::{Back, Between, Kernel, Pair, per_isa, plain_reads};
use crate::epilogue::Epilogue;
use crate::lanes::{Isa, Lanes};
use crate::memory::{Buffer, Memory, Store};
use crate::shape::{Border, Map};
use crate::window::{Phase, Window};

/// Values per row of a store with a bit per tap and value of the output.
pub(crate) const fn bits_of_windows(out: Map, window: &Window) -> usize {
    (out.blocks() * out.pixels() * window.size[0] * window.size[1]).div_ceil(2)
}

/// Taps of a window at most: each has a bit mask in registers or on the stack.
pub(crate) const MOST_TAPS: usize = 64;

/// The kernels of a pooling, with the store of its winners.
pub(crate) fn pair(at: Between, window: Window, winners: Store) -> Pair {
    let Between {
        from,
        to,
        input,
        output,
    } = at;
    let out = [output.height, output.width];
    let phases = window.backward(input, out);
    let back: Back = Box::new(move |from, to, epilogue| {
        Box::new(MaxPoolBack {
            from,
            to,
            window,
            phases,
            winners,
            epilogue,
        })
    });
    (
        Box::new(MaxPool {
            from,
            to,
            window,
            phase: window.forward(out),
            winners,
        }),
        back,
    )
}

/// The forward pass.
#[derive(Debug)]
pub(crate) struct MaxPool {
    pub(crate) from: Buffer,
    pub(crate) to: Buffer,
    pub(crate) window: Window,
    pub(crate) phase: Phase,
    pub(crate) winners: Store,
}

impl Kernel for MaxPool {
    fn reads(&self) -> Vec<(Buffer, Border)> {
        vec![(self.from, Border::default())]
    }

    fn writes(&self) -> Option<Buffer> {
        Some(self.to)
    }

    fn run(&self, isa: Isa, memory: &Memory<'_>, _: &[f32], _: &mut [f32]) {
        // SAFETY: `isa` was detected, and nobody else writes `to` or the winners.
        unsafe {
            per_isa!(isa, forward(k: &MaxPool = self, memory: &Memory<'_> = memory));
        }
    }
}

/// # Safety
/// The processor has the instruction set of `L`; nobody else writes `to` or the winners.
#[inline(always)]
unsafe fn forward<L: Lanes>(k: &MaxPool, memory: &Memory<'_>) {
    let (input, output) = (memory.frame(k.from), memory.frame(k.to));
    let Map { height, width, .. } = input.map;
    let taps = &k.phase.taps;
    let len = bits_of_windows(output.map, &k.window);
    for row in 0..memory.rows {
        let (from, to) = (memory.row(k.from, row), memory.row(k.to, row));
        let mut won = memory.store(k.winners, row, len).cast::<u16>();
        for block in 0..output.map.blocks() {
            for y in 0..output.map.height {
                for x in 0..output.map.width {
                    let mut bits = [0u16; MOST_TAPS];
                    // SAFETY: only pixels inside the map are read; the store holds a mask per tap and pixel.
                    unsafe {
                        let mut best = L::zero();
                        let mut any = false;
                        for (i, tap) in taps.iter().enumerate() {
                            let iy = (y * k.window.stride[0]) as isize + tap.dy;
                            let ix = (x * k.window.stride[1]) as isize + tap.dx;
                            if iy < 0 || ix < 0 || iy >= height as isize || ix >= width as isize {
                                continue;
                            }
                            let value = L::load(
                                from.add(input.at(block, iy as usize, ix as usize))
                                    .cast_const(),
                            );
                            let wins = if any {
                                value.above(best) | value.nans()
                            } else {
                                u16::MAX
                            };
                            any = true;
                            best = value.select(wins, best);
                            for earlier in &mut bits[..i] {
                                *earlier &= !wins;
                            }
                            bits[i] = wins;
                        }
                        best.store(to.add(output.at(block, y, x)));
                        for mask in &bits[..taps.len()] {
                            won.write(*mask);
                            won = won.add(1);
                        }
                    }
                }
            }
        }
    }
}

/// The input gradient.
#[derive(Debug)]
pub(crate) struct MaxPoolBack {
    pub(crate) from: Buffer,
    pub(crate) to: Buffer,
    pub(crate) window: Window,
    /// As [`Window::backward`] gives them.
    pub(crate) phases: Vec<Phase>,
    pub(crate) winners: Store,
    pub(crate) epilogue: Epilogue,
}

impl Kernel for MaxPoolBack {
    fn reads(&self) -> Vec<(Buffer, Border)> {
        plain_reads(&[self.from], &self.epilogue)
    }

    fn writes(&self) -> Option<Buffer> {
        Some(self.to)
    }

    fn run(&self, isa: Isa, memory: &Memory<'_>, _: &[f32], _: &mut [f32]) {
        // SAFETY: `isa` was detected, and nobody else writes `to`.
        unsafe {
            per_isa!(isa, backward(k: &MaxPoolBack = self, memory: &Memory<'_> = memory));
        }
    }
}

/// # Safety
/// The processor has the instruction set of `L`; nobody else writes `to`.
#[inline(always)]
unsafe fn backward<L: Lanes>(k: &MaxPoolBack, memory: &Memory<'_>) {
    let (pooled, output) = (memory.frame(k.from), memory.frame(k.to));
    let Map { height, width, .. } = pooled.map;
    let taps = k.window.size[0] * k.window.size[1];
    let len = bits_of_windows(pooled.map, &k.window);
    for row in 0..memory.rows {
        let (from, to) = (memory.row(k.from, row), memory.row(k.to, row));
        let won = memory.store(k.winners, row, len).cast::<u16>().cast_const();
        for block in 0..output.map.blocks() {
            // SAFETY: only pixels inside the pooled map are read, and masks that the forward pass has written.
            unsafe {
                let finish = k.epilogue.of::<L>(memory, k.to, row, block);
                for phase in &k.phases {
                    for y in 0..phase.size[0] {
                        for x in 0..phase.size[1] {
                            let mut sum = L::zero();
                            for tap in &phase.taps {
                                let (oy, ox) = (y as isize + tap.dy, x as isize + tap.dx);
                                if oy < 0 || ox < 0 || oy >= height as isize || ox >= width as isize
                                {
                                    continue;
                                }
                                let (oy, ox) = (oy as usize, ox as usize);
                                let gradient =
                                    L::load(from.add(pooled.at(block, oy, ox)).cast_const());
                                let window = (block * height + oy) * width + ox;
                                let bits = won.add(window * taps + tap.at).read();
                                sum = sum.add(gradient.select(bits, L::zero()));
                            }
                            let (y, x) = (
                                y * phase.step[0] + phase.start[0],
                                x * phase.step[1] + phase.start[1],
                            );
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
