//! Convolution and its input gradient, dense layers included.
//!
//! # Idea
//! A direct convolution: sums of a few pixels times two blocks of output channels stay in registers while the taps and
//! input channels go by. A dense layer is a convolution whose window is the whole map; the input gradient is a
//! convolution of the output's gradient with the flipped weights, one per remainder of the stride.
//!
//! # Maths
//! `out[o, y, x] = sum over c, ky, kx of in[c, y s + ky d - p, x s + kx d - p] w[o, c, ky, kx]`, and
//! `gradient[c, i, j] = sum over o and all (y, ky), (x, kx) that reach (i, j) of dout[o, y, x] w[o, c, ky, kx]`.
//!
//! # Reference
//! Georganas et al., *Anatomy of High-Performance Deep Learning Convolutions on SIMD Architectures* (SC 2018): blocked
//! channels, register tiles, packed weights.
//!
//! # Divergences
//! Weights are packed for both passes when the network is built. Sums run over blocks of input channels, then taps, then
//! channels, for every output alike: the order, and so the last bit, depends on no other row.
//!
//! # Cost
//! One fused multiply-add per product and sixteen lanes; the last block of channels is computed whole.
//!
//! # When it fails
//! Groups whose channels do not fill whole blocks are computed together with their neighbours, so a value that is not a
//! number reaches these too.

use std::sync::Arc;

use rayon::prelude::*;

use super::{Back, Between, Kernel, per_isa, plain_reads};
use crate::epilogue::Epilogue;
use crate::lanes::{Isa, LANES, Lanes};
use crate::memory::{Buffer, Memory};
use crate::operation::Convolution;
use crate::shape::{Border, Map};
use crate::window::Phase;

/// Packed weights above this (in values) do not stay in the second-level cache beside a row: then all rows go through one
/// group after another, otherwise all groups through one row after another.
const STAY: usize = 1 << 16;
/// Pixels of a task that threads share; fewer pixels than that are computed together with those of other rows.
const TASK: usize = 64;

/// Weights: per group of output blocks, per block of input channels, per place in the window, per input channel, the
/// group's lanes.
#[derive(Debug)]
pub(crate) struct Packed {
    weights: Vec<f32>,
    /// Start of each group's weights.
    starts: Vec<usize>,
    /// Places in the window.
    taps: usize,
    phases: Vec<Phase>,
}

/// Which input channels an output channel reads: all of its group's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Channels {
    pub(crate) input: usize,
    pub(crate) output: usize,
    pub(crate) groups: usize,
}

impl Channels {
    /// The blocks of input channels that a block of output channels reads.
    #[inline(always)]
    fn blocks(self, output_block: usize) -> std::ops::Range<usize> {
        if self.groups == 1 {
            return 0..self.input.div_ceil(LANES);
        }
        let (each_in, each_out) = (self.input / self.groups, self.output / self.groups);
        let group = output_block * LANES / each_out;
        group * each_in / LANES..(group + 1) * each_in / LANES
    }

    /// Blocks of output channels that go together.
    fn together(self, isa: Isa) -> usize {
        let most = isa.group();
        let each = self.output / self.groups / LANES;
        if self.groups == 1 || each.is_multiple_of(most) {
            most
        } else {
            1
        }
    }
}

impl Packed {
    /// Packs weights over `input`; `weight(o, c, tap)` for output channel, input channel (of all) and place in the window.
    pub(super) fn new(
        phases: &[Phase],
        taps: usize,
        input: Map,
        channels: Channels,
        isa: Isa,
        weight: impl Fn(usize, usize, usize) -> f32,
    ) -> Arc<Self> {
        let blocks = channels.output.div_ceil(LANES);
        let (mut weights, mut starts) = (Vec::new(), Vec::new());
        let mut first = 0;
        while first < blocks {
            let n = channels.together(isa).min(blocks - first);
            starts.push(weights.len());
            for block in channels.blocks(first) {
                for tap in 0..taps {
                    for c in block * LANES..channels.input.min((block + 1) * LANES) {
                        let lanes = first * LANES..(first + n) * LANES;
                        weights.extend(lanes.map(|o| {
                            if o < channels.output {
                                weight(o, c, tap)
                            } else {
                                0.0
                            }
                        }));
                    }
                }
            }
            first += n;
        }
        let phases = phases.iter().flat_map(|p| p.parts(input, TASK)).collect();
        Arc::new(Self {
            weights,
            starts,
            taps,
            phases,
        })
    }
}

/// The kernel.
#[derive(Debug)]
pub(crate) struct Convolve {
    pub(crate) from: Buffer,
    pub(crate) to: Buffer,
    pub(crate) input: Map,
    pub(crate) channels: Channels,
    packed: Arc<Packed>,
    pub(crate) epilogue: Epilogue,
}

impl Convolve {
    /// A kernel with weights that are packed.
    pub(super) fn new(
        from: Buffer,
        to: Buffer,
        input: Map,
        channels: Channels,
        packed: Arc<Packed>,
        epilogue: Epilogue,
    ) -> Self {
        Self {
            from,
            to,
            input,
            channels,
            packed,
            epilogue,
        }
    }
}

/// The forward kernel of a convolution.
pub(crate) fn forward(
    at: Between,
    c: &Convolution,
    isa: Isa,
    epilogue: Epilogue,
) -> Box<dyn Kernel> {
    let Between {
        from,
        to,
        input,
        output,
    } = at;
    let taps = c.window.size[0] * c.window.size[1];
    let channels = Channels {
        input: input.channels,
        output: c.out,
        groups: c.groups_apart(input),
    };
    let phase = c.window.forward([output.height, output.width]);
    let packed = Packed::new(&[phase], taps, input, channels, isa, |o, i, tap| {
        c.weight(input, o, i, tap)
    });
    Box::new(Convolve::new(from, to, input, channels, packed, epilogue))
}

/// Returns the constructor of the input gradient's kernel.
pub(crate) fn back(c: &Convolution, input: Map, output: Map, isa: Isa) -> Back {
    let taps = c.window.size[0] * c.window.size[1];
    let channels = Channels {
        input: c.out,
        output: input.channels,
        groups: c.groups_apart(input),
    };
    let phases = c.window.backward(input, [output.height, output.width]);
    let packed = Packed::new(&phases, taps, output, channels, isa, |i, o, tap| {
        c.weight(input, o, i, tap)
    });
    Box::new(move |from, to, epilogue| {
        Box::new(Convolve::new(from, to, output, channels, packed, epilogue))
    })
}

impl Kernel for Convolve {
    fn reads(&self) -> Vec<(Buffer, Border)> {
        let borders = self.packed.phases.iter().map(|p| p.border(self.input));
        let border = borders.fold(Border::default(), Border::max);
        let mut reads = plain_reads(&[], &self.epilogue);
        reads.push((self.from, border));
        reads
    }

    fn writes(&self) -> Option<Buffer> {
        Some(self.to)
    }

    fn run(&self, isa: Isa, memory: &Memory<'_>, _: &[f32], _: &mut [f32]) {
        let packed = &*self.packed;
        for phase in &packed.phases {
            let pixels = phase.pixels();
            let (groups, together) = (packed.starts.len(), self.channels.together(isa));
            let task = |group: usize, first: usize, end: usize| {
                let block = group * together;
                let blocks = together.min(self.channels.output.div_ceil(LANES) - block);
                let part = Part {
                    group,
                    block,
                    blocks,
                    first,
                    end,
                };
                // SAFETY: `isa` was detected; tasks of different groups or pixels write different values.
                unsafe {
                    per_isa!(isa, part_of(k: &Convolve = self, phase: &Phase = phase, memory: &Memory<'_> = memory, part: Part = part));
                }
            };
            let all = memory.rows * pixels;
            if memory.threads > 1 {
                let tasks = all.div_ceil(TASK);
                (0..groups * tasks).into_par_iter().for_each(|i| {
                    let first = i % tasks * TASK;
                    task(i / tasks, first, all.min(first + TASK));
                });
            } else if packed.weights.len() > STAY || pixels < TASK {
                (0..groups).for_each(|group| task(group, 0, all));
            } else {
                for row in 0..memory.rows {
                    (0..groups).for_each(|group| task(group, row * pixels, (row + 1) * pixels));
                }
            }
        }
    }
}

/// Part of the work: pixels `first` to `end` of all rows, of one group of `blocks` output blocks from `block` on.
#[derive(Debug, Clone, Copy)]
struct Part {
    group: usize,
    block: usize,
    blocks: usize,
    first: usize,
    end: usize,
}

/// A pixel of the output: which row, and where in its phase.
#[derive(Debug, Clone, Copy)]
struct Pixel {
    row: usize,
    y: usize,
    x: usize,
}

impl Pixel {
    #[inline(always)]
    fn of(index: usize, phase: &Phase) -> Self {
        let (row, pixel) = (index / phase.pixels(), index % phase.pixels());
        Self {
            row,
            y: pixel / phase.size[1],
            x: pixel % phase.size[1],
        }
    }

    #[inline(always)]
    fn next(self, phase: &Phase) -> Self {
        let Self { row, y, x } = self;
        match (x + 1 < phase.size[1], y + 1 < phase.size[0]) {
            (true, _) => Self { row, y, x: x + 1 },
            (false, true) => Self {
                row,
                y: y + 1,
                x: 0,
            },
            (false, false) => Self {
                row: row + 1,
                y: 0,
                x: 0,
            },
        }
    }
}

/// # Safety
/// The processor has the instruction set of `L`; nobody else writes this part.
#[inline(always)]
unsafe fn part_of<L: Lanes>(k: &Convolve, phase: &Phase, memory: &Memory<'_>, part: Part) {
    // SAFETY: the caller's.
    unsafe {
        match (L::PIXELS, part.blocks) {
            (8, 2) => pixels_of::<L, 2, 8>(k, phase, memory, part),
            (8, _) => pixels_of::<L, 1, 8>(k, phase, memory, part),
            _ => pixels_of::<L, 1, 4>(k, phase, memory, part),
        }
    }
}

/// # Safety
/// As for [`part_of`]; the group has `N` blocks.
#[inline(always)]
unsafe fn pixels_of<L: Lanes, const N: usize, const P: usize>(
    k: &Convolve,
    phase: &Phase,
    memory: &Memory<'_>,
    part: Part,
) {
    let mut pixel = Pixel::of(part.first, phase);
    let mut left = part.end - part.first;
    // SAFETY: the caller's.
    unsafe {
        while left >= P {
            pixel = tile::<L, N, P>(k, phase, memory, part, pixel);
            left -= P;
        }
        if P > 4 && left >= 4 {
            pixel = tile::<L, N, 4>(k, phase, memory, part, pixel);
            left -= 4;
        }
        if left >= 2 {
            pixel = tile::<L, N, 2>(k, phase, memory, part, pixel);
            left -= 2;
        }
        if left >= 1 {
            tile::<L, N, 1>(k, phase, memory, part, pixel);
        }
    }
}

/// `P` pixels from `pixel` on; returns the pixel after them.
///
/// # Safety
/// As for [`pixels_of`]; there are `P` pixels left.
#[inline(always)]
unsafe fn tile<L: Lanes, const N: usize, const P: usize>(
    k: &Convolve,
    phase: &Phase,
    memory: &Memory<'_>,
    part: Part,
    mut pixel: Pixel,
) -> Pixel {
    let (packed, input) = (&*k.packed, memory.frame(k.from));
    let (plane, line) = (input.plane() as isize, input.line() as isize);
    let output = memory.frame(k.to);
    let mut pixels = [pixel; P];
    let mut from = [std::ptr::null::<f32>(); P];
    let mut to = [std::ptr::null_mut::<f32>(); P];
    for i in 0..P {
        // The pixel's position in the output.
        let Pixel { row, y, x } = pixel;
        let (at_y, at_x) = (
            y * phase.step[0] + phase.start[0],
            x * phase.step[1] + phase.start[1],
        );
        pixels[i] = Pixel {
            row,
            y: at_y,
            x: at_x,
        };
        let at = input.at(0, y * phase.stride[0], x * phase.stride[1]);
        from[i] = memory.row(k.from, row).wrapping_add(at).cast_const();
        to[i] = memory
            .row(k.to, row)
            .wrapping_add(output.at(part.block, at_y, at_x));
        pixel = pixel.next(phase);
    }
    // SAFETY: the border declared in `reads` holds whatever a tap reads outside the map; the group's weights hold `N`
    // blocks per tap and channel; pixels and blocks lie inside the output's frame.
    unsafe {
        let group = packed.weights.as_ptr().add(packed.starts[part.group]);
        let blocks = k.channels.blocks(part.block);
        let mut sums = [[L::zero(); P]; N];
        for block in blocks.clone() {
            let channels = LANES.min(k.channels.input - block * LANES);
            // All blocks before have sixteen channels.
            let block_weights = group.add((block - blocks.start) * packed.taps * LANES * N * LANES);
            for tap in &phase.taps {
                let mut weights = block_weights.add(tap.at * channels * N * LANES);
                let ahead = block as isize * plane + tap.dy * line + tap.dx * LANES as isize;
                let mut at = from;
                for p in &mut at {
                    *p = p.wrapping_offset(ahead);
                }
                for c in 0..channels {
                    let mut w = [L::zero(); N];
                    for n in 0..N {
                        w[n] = L::load(weights.add(n * LANES));
                    }
                    for i in 0..P {
                        let x = L::splat(*at[i].add(c));
                        for n in 0..N {
                            sums[n][i] = x.mul_add(w[n], sums[n][i]);
                        }
                    }
                    weights = weights.add(N * LANES);
                }
            }
        }
        if k.epilogue.is_bias_alone() {
            for n in 0..N {
                let bias = k.epilogue.bias_of::<L>(part.block + n);
                for i in 0..P {
                    let value = sums[n][i].add(bias);
                    value.store(to[i].add(n * output.plane()));
                }
            }
            return pixel;
        }
        // Sums that the loop below picks by number cannot stay in registers; these copies leave the others there.
        let mut ready = [[[0f32; LANES]; P]; N];
        for n in 0..N {
            for i in 0..P {
                sums[n][i].store(ready[n][i].as_mut_ptr());
            }
        }
        for n in 0..N {
            let mut row = pixels[0].row;
            let mut finish = k.epilogue.of::<L>(memory, k.to, row, part.block + n);
            for i in 0..P {
                if pixels[i].row != row {
                    row = pixels[i].row;
                    finish = k.epilogue.of::<L>(memory, k.to, row, part.block + n);
                }
                let value = finish.apply(L::load(ready[n][i].as_ptr()), pixels[i].y, pixels[i].x);
                value.store(to[i].add(n * output.plane()));
            }
        }
    }
    pixel
}
