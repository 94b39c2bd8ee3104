//! Products of two values' matrices, one per line of their maps: what attention is made of.
//!
//! # Idea
//! A map `[k, lines, m]` holds a matrix of `m` rows and `k` columns per line: pixels are rows, channels columns. Rows of
//! the left factor are multiplied with the blocks of the right one as a convolution multiplies pixels with its weights.
//!
//! # Maths
//! `out = A B` per line; `dA = dout B^T`, `dB = A^T dout`. `A^T` is read where `A` lies; `B` is transposed first, as its
//! lanes must be columns.
//!
//! # Cost
//! One fused multiply-add per product and sixteen lanes; a transposition for the left gradient.

use super::{Back, Between, Kernel, per_isa, plain_reads};
use crate::epilogue::Epilogue;
use crate::lanes::{Isa, LANES, Lanes};
use crate::memory::{Buffer, Memory};
use crate::shape::{Border, Frame, Map};

/// The kernel.
#[derive(Debug)]
struct Product {
    left: Buffer,
    right: Buffer,
    to: Buffer,
    /// Whether rows and columns of the left factor are exchanged.
    is_turned: bool,
    epilogue: Epilogue,
}

/// A product whose right factor is transposed first.
#[derive(Debug)]
struct Transposed {
    from: Buffer,
    /// Buffer for the transposed factor.
    into: Buffer,
    product: Product,
}

/// The shape of a value with rows and columns of its matrices exchanged.
pub(crate) const fn transposed(map: Map) -> Map {
    Map::new(map.width, map.height, map.channels)
}

/// The forward kernel.
pub(crate) fn forward(at: Between, right: Buffer) -> Box<dyn Kernel> {
    Box::new(Product {
        left: at.from,
        right,
        to: at.to,
        is_turned: false,
        epilogue: Epilogue::default(),
    })
}

/// Returns the constructor of the left factor's gradient; `into` has the shape of the right factor, transposed.
pub(crate) fn back_of_left(right: Buffer, into: Buffer) -> Back {
    Box::new(move |gradient, to, epilogue| {
        let product = Product {
            left: gradient,
            right: into,
            to,
            is_turned: false,
            epilogue,
        };
        Box::new(Transposed {
            from: right,
            into,
            product,
        })
    })
}

/// Returns the constructor of the right factor's gradient.
pub(crate) fn back_of_right(left: Buffer) -> Back {
    Box::new(move |right, to, epilogue| {
        Box::new(Product {
            left,
            right,
            to,
            is_turned: true,
            epilogue,
        })
    })
}

impl Kernel for Product {
    fn reads(&self) -> Vec<(Buffer, Border)> {
        plain_reads(&[self.left, self.right], &self.epilogue)
    }

    fn writes(&self) -> Option<Buffer> {
        Some(self.to)
    }

    fn run(&self, isa: Isa, memory: &Memory<'_>, _: &[f32], _: &mut [f32]) {
        // SAFETY: `isa` was detected, and nobody else writes `to`.
        unsafe {
            per_isa!(isa, all(k: &Product = self, memory: &Memory<'_> = memory));
        }
    }
}

impl Kernel for Transposed {
    fn reads(&self) -> Vec<(Buffer, Border)> {
        let mut reads = self.product.reads();
        reads.push((self.from, Border::default()));
        reads
    }

    fn writes(&self) -> Option<Buffer> {
        Some(self.product.to)
    }

    fn run(&self, isa: Isa, memory: &Memory<'_>, given: &[f32], taken: &mut [f32]) {
        // SAFETY: `isa` was detected, and nobody else writes `into`.
        unsafe {
            per_isa!(isa, turn(k: &Transposed = self, memory: &Memory<'_> = memory));
        }
        self.product.run(isa, memory, given, taken);
    }
}

/// Exchanges rows and columns: sixteen times sixteen at once where there are so many.
///
/// # Safety
/// The processor has the instruction set of `L`; nobody else writes `into`.
#[inline(always)]
unsafe fn turn<L: Lanes>(k: &Transposed, memory: &Memory<'_>) {
    let (input, output) = (memory.frame(k.from), memory.frame(k.into));
    let Map {
        channels, width, ..
    } = input.map;
    for row in 0..memory.rows {
        let (from, to) = (
            memory.row(k.from, row).cast_const(),
            memory.row(k.into, row),
        );
        for y in 0..input.map.height {
            for c in (0..channels).step_by(LANES) {
                for x in (0..width).step_by(LANES) {
                    // SAFETY: channel and pixel exchanged lie inside the other frame.
                    unsafe {
                        let from = from.add(input.at(c / LANES, y, x));
                        let to = to.add(output.at(x / LANES, y, c));
                        if channels - c >= LANES && width - x >= LANES {
                            L::transpose(from, LANES, to, LANES);
                            continue;
                        }
                        for c in 0..LANES.min(channels - c) {
                            for x in 0..LANES.min(width - x) {
                                to.add(c * LANES + x).write(from.add(x * LANES + c).read());
                            }
                        }
                    }
                }
            }
        }
    }
}

/// # Safety
/// The processor has the instruction set of `L`; nobody else writes `to`.
#[inline(always)]
unsafe fn all<L: Lanes>(k: &Product, memory: &Memory<'_>) {
    let output = memory.frame(k.to);
    let blocks = output.map.blocks();
    for row in 0..memory.rows {
        for y in 0..output.map.height {
            let mut block = 0;
            while block < blocks {
                // SAFETY: the caller's.
                unsafe {
                    if L::GROUP == 2 && blocks - block >= 2 {
                        line::<L, 2>(k, memory, row, y, block);
                        block += 2;
                    } else {
                        line::<L, 1>(k, memory, row, y, block);
                        block += 1;
                    }
                }
            }
        }
    }
}

/// All pixels of a line, `N` blocks.
///
/// # Safety
/// As for [`all`].
#[inline(always)]
unsafe fn line<L: Lanes, const N: usize>(
    k: &Product,
    memory: &Memory<'_>,
    row: usize,
    y: usize,
    block: usize,
) {
    let width = memory.frame(k.to).map.width;
    let mut x = 0;
    // SAFETY: the caller's; there are so many pixels left.
    unsafe {
        while L::PIXELS == 8 && width - x >= 8 {
            tile::<L, N, 8>(k, memory, row, y, x, block);
            x += 8;
        }
        while width - x >= 4 {
            tile::<L, N, 4>(k, memory, row, y, x, block);
            x += 4;
        }
        while x < width {
            tile::<L, N, 1>(k, memory, row, y, x, block);
            x += 1;
        }
    }
}

/// `P` pixels from `x` on.
///
/// # Safety
/// As for [`line`].
#[inline(always)]
unsafe fn tile<L: Lanes, const N: usize, const P: usize>(
    k: &Product,
    memory: &Memory<'_>,
    row: usize,
    y: usize,
    x: usize,
    block: usize,
) {
    let (left, right): (&Frame, &Frame) = (memory.frame(k.left), memory.frame(k.right));
    let output = memory.frame(k.to);
    // SAFETY: channels of the left factor are pixels of the right one; pixels and blocks lie inside the frames.
    unsafe {
        let (a, b) = (
            memory.row(k.left, row).cast_const(),
            memory.row(k.right, row).cast_const(),
        );
        let mut sums = [[L::zero(); P]; N];
        let mut weights = [b; N];
        for n in 0..N {
            weights[n] = b.add(right.at(block + n, y, 0));
        }
        // A row of the left factor is a pixel, or a channel where it is turned; eight of those lie in one block.
        let (step, deep) = if k.is_turned {
            (1, left.map.width)
        } else {
            (LANES, left.map.channels)
        };
        let mut done = 0;
        while done < deep {
            let (from, count) = if k.is_turned {
                (a.add(left.at(x / LANES, y, 0) + x % LANES), deep)
            } else {
                (a.add(left.at(done / LANES, y, x)), LANES.min(deep - done))
            };
            let next = if k.is_turned { LANES } else { 1 };
            for c in 0..count {
                let mut w = [L::zero(); N];
                for n in 0..N {
                    w[n] = L::load(weights[n]);
                    weights[n] = weights[n].add(LANES);
                }
                for i in 0..P {
                    let value = L::splat(*from.add(i * step + c * next));
                    for n in 0..N {
                        sums[n][i] = value.mul_add(w[n], sums[n][i]);
                    }
                }
            }
            done += count;
        }
        if k.epilogue.is_nothing() {
            let to = memory.row(k.to, row);
            for n in 0..N {
                let to = to.add(output.at(block + n, y, x));
                for i in 0..P {
                    sums[n][i].store(to.add(i * LANES));
                }
            }
            return;
        }
        // As in a convolution: what is picked by number below cannot stay in registers.
        let mut ready = [[[0f32; LANES]; P]; N];
        for n in 0..N {
            for i in 0..P {
                sums[n][i].store(ready[n][i].as_mut_ptr());
            }
        }
        for n in 0..N {
            let finish = k.epilogue.of::<L>(memory, k.to, row, block + n);
            for i in 0..P {
                let value = finish.apply(L::load(ready[n][i].as_ptr()), y, x + i);
                value.store(memory.row(k.to, row).add(output.at(block + n, y, x + i)));
            }
        }
    }
}
