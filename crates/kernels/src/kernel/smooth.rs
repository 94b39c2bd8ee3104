//! Activations whose derivative takes more than a bit: the forward pass stores it, the input gradient multiplies by it.

use super::{Back, Between, Kernel, Pair, per_isa};
use crate::epilogue::Epilogue;
use crate::lanes::{Isa, LANES, Lanes};
use crate::memory::{Buffer, Memory, Store};
use crate::shape::{Border, Map};

/// A function of one number, applied to every value.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Function {
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// `x / (1 + exp(-x))`, also called Swish.
    Silu,
    /// `x` above 0, `alpha (exp(x) - 1)` elsewhere.
    Elu {
        /// The limit below 0, negated.
        alpha: f32,
    },
}

impl Function {
    /// Value and derivative.
    fn at(self, x: f32) -> (f32, f32) {
        match self {
            Self::Sigmoid => {
                let y = sigmoid(x);
                (y, y * (1.0 - y))
            }
            Self::Tanh => {
                let y = x.tanh();
                (y, 1.0 - y * y)
            }
            Self::Silu => {
                let s = sigmoid(x);
                (x * s, s * (1.0 + x * (1.0 - s)))
            }
            Self::Elu { alpha } => {
                if x > 0.0 {
                    (x, 1.0)
                } else {
                    (alpha * x.exp_m1(), alpha * x.exp())
                }
            }
        }
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Values per row of a store with one value per value of a map.
pub(crate) const fn slopes_len(map: Map) -> usize {
    map.blocks() * map.pixels() * LANES
}

/// The kernels of an activation, with the store of its derivative.
pub(crate) fn pair(at: Between, function: Function, slopes: Store) -> Pair {
    let Between { from, to, .. } = at;
    let back: Back = Box::new(move |from, to, epilogue| {
        Box::new(SmoothBack {
            from,
            to,
            slopes,
            epilogue,
        })
    });
    (
        Box::new(Smooth {
            from,
            to,
            function,
            slopes,
        }),
        back,
    )
}

/// The forward pass.
#[derive(Debug)]
pub(crate) struct Smooth {
    pub(crate) from: Buffer,
    pub(crate) to: Buffer,
    pub(crate) function: Function,
    pub(crate) slopes: Store,
}

impl Kernel for Smooth {
    fn reads(&self) -> Vec<(Buffer, Border)> {
        vec![(self.from, Border::default())]
    }

    fn writes(&self) -> Option<Buffer> {
        Some(self.to)
    }

    fn run(&self, _: Isa, memory: &Memory<'_>, _: &[f32], _: &mut [f32]) {
        let (input, output) = (memory.frame(self.from), memory.frame(self.to));
        for row in 0..memory.rows {
            let (from, to) = (memory.row(self.from, row), memory.row(self.to, row));
            let mut slopes = memory.store(self.slopes, row, slopes_len(output.map));
            for block in 0..output.map.blocks() {
                for y in 0..output.map.height {
                    for x in 0..output.map.width {
                        for lane in 0..LANES {
                            // SAFETY: the pixel lies inside both frames, the store has a value for each.
                            unsafe {
                                let given = from.add(input.at(block, y, x) + lane).read();
                                let (value, slope) = self.function.at(given);
                                to.add(output.at(block, y, x) + lane).write(value);
                                slopes.write(slope);
                                slopes = slopes.add(1);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The input gradient.
#[derive(Debug)]
pub(crate) struct SmoothBack {
    pub(crate) from: Buffer,
    pub(crate) to: Buffer,
    pub(crate) slopes: Store,
    pub(crate) epilogue: Epilogue,
}

impl Kernel for SmoothBack {
    fn reads(&self) -> Vec<(Buffer, Border)> {
        let mut reads = vec![(self.from, Border::default())];
        reads.extend(self.epilogue.addend.map(|b| (b, Border::default())));
        reads
    }

    fn writes(&self) -> Option<Buffer> {
        Some(self.to)
    }

    fn run(&self, isa: Isa, memory: &Memory<'_>, _: &[f32], _: &mut [f32]) {
        // SAFETY: `isa` was detected, and nobody else writes `to`.
        unsafe {
            per_isa!(isa, backward(k: &SmoothBack = self, memory: &Memory<'_> = memory));
        }
    }
}

/// # Safety
/// The processor has the instruction set of `L`; nobody else writes `to`.
#[inline(always)]
unsafe fn backward<L: Lanes>(k: &SmoothBack, memory: &Memory<'_>) {
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
