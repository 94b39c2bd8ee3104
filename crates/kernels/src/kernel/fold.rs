//! The input gradient of a convolution over few channels: the first one of a network, over colours.
//!
//! # Idea
//! A gradient of three channels would fill three of sixteen lanes. So every pixel of the output's gradient is multiplied
//! with all weights at once, a dense product whose lanes are columns of the window times channels, and the products are
//! added up where the window lies. With channels side by side in each pixel, a line of the window is one stretch of memory.
//!
//! # Maths
//! `gradient[c, y s + ky - p, x s + kx - p] += sum over o of dout[o, y, x] w[o, c, ky, kx]` for all `y, x, ky, kx`.
//!
//! # Reference
//! Chellapilla et al., *High Performance Convolutional Neural Networks for Document Processing* (2006): col2im.
//!
//! # Divergences
//! Sums run in an order that depends on the shapes alone.
//!
//! # Cost
//! As the convolution; a line of the window is filled up to whole blocks.

use super::convolve::{Channels, Convolve, Packed};
use super::{Back, Kernel, per_isa, plain_reads};
use crate::epilogue::Epilogue;
use crate::lanes::{Isa, LANES, Lanes};
use crate::memory::{Buffer, Memory, Store};
use crate::operation::Convolution;
use crate::shape::{Border, Map};
use crate::window::Window;

/// Channels at most: with more the lanes of a plain input gradient are filled well enough.
const FEW: usize = 4;

/// The kernel.
#[derive(Debug)]
struct Fold {
    products: Convolve,
    patches: Buffer,
    to: Buffer,
    window: Window,
    /// The gradient with its padding, channels side by side.
    sums: Store,
    epilogue: Epilogue,
}

/// Blocks of a line of the window.
fn blocks_of_line(window: &Window, channels: usize) -> usize {
    (window.size[1] * channels).div_ceil(LANES)
}

/// Whether a convolution's input gradient is computed here.
pub(crate) fn takes(c: &Convolution, input: Map) -> bool {
    let taps = c.window.size[0] * c.window.size[1];
    c.groups == 1
        && input.channels <= FEW
        && taps > 1
        && c.window.dilation[1] == 1
        && input.pixels() > taps
}

/// The shape of the products of one row.
pub(crate) fn patches(c: &Convolution, input: Map, output: Map) -> Map {
    let lanes = c.window.size[0] * blocks_of_line(&c.window, input.channels) * LANES;
    Map::new(lanes, output.height, output.width)
}

/// Values of a line of the sums. A last pixel is read whole.
fn line(window: &Window, map: Map) -> usize {
    (map.width + window.pads[1][0] + window.pads[1][1]) * map.channels + 2 * LANES
}

fn lines(window: &Window, map: Map) -> usize {
    map.height + window.pads[0][0] + window.pads[0][1]
}

/// Values per row of the store of sums.
pub(crate) fn sums_len(window: &Window, map: Map) -> usize {
    line(window, map) * lines(window, map)
}

/// Returns the constructor of the input gradient's kernel, with a buffer for the products and a store for the sums.
pub(crate) fn back(
    c: &Convolution,
    input: Map,
    output: Map,
    isa: Isa,
    patches_buffer: Buffer,
    sums: Store,
) -> Back {
    let window = c.window;
    let map = patches(c, input, output);
    let [rows, columns] = window.size;
    let width = blocks_of_line(&window, input.channels) * LANES;
    let channels = Channels {
        input: c.out,
        output: map.channels,
        groups: 1,
    };
    let pixel = Window::from([1, 1]).forward([output.height, output.width]);
    let packed = Packed::new(&[pixel], 1, output, channels, isa, |lane, o, _| {
        let (ky, at) = (lane / width, lane % width);
        let (kx, channel) = (at / input.channels, at % input.channels);
        if kx < columns {
            c.weight(input, o, channel, ky * columns + kx)
        } else {
            0.0
        }
    });
    debug_assert_eq!(map.channels, rows * width);
    Box::new(move |from, to, epilogue| {
        let epilogue_of_products = Epilogue::default();
        let products = Convolve::new(
            from,
            patches_buffer,
            output,
            channels,
            packed,
            epilogue_of_products,
        );
        Box::new(Fold {
            products,
            patches: patches_buffer,
            to,
            window,
            sums,
            epilogue,
        })
    })
}

impl Kernel for Fold {
    fn reads(&self) -> Vec<(Buffer, Border)> {
        let mut reads = self.products.reads();
        reads.extend(plain_reads(&[self.patches], &self.epilogue));
        reads
    }

    fn writes(&self) -> Option<Buffer> {
        Some(self.to)
    }

    fn run(&self, isa: Isa, memory: &Memory<'_>, given: &[f32], taken: &mut [f32]) {
        self.products.run(isa, memory, given, taken);
        // SAFETY: `isa` was detected, and nobody else writes `to` or the sums.
        unsafe {
            per_isa!(isa, fold(k: &Fold = self, memory: &Memory<'_> = memory));
        }
    }
}

/// # Safety
/// The processor has the instruction set of `L`; nobody else writes `to` or the sums.
#[inline(always)]
unsafe fn fold<L: Lanes>(k: &Fold, memory: &Memory<'_>) {
    let (products, output) = (memory.frame(k.patches), memory.frame(k.to));
    let (map, window) = (output.map, &k.window);
    let line = line(window, map);
    let blocks = blocks_of_line(window, map.channels);
    // Windows so far apart do not overlap: a sum is not read again while it is still on its way to memory.
    let apart = (blocks * LANES).div_ceil(map.channels * window.stride[1]);
    for row in 0..memory.rows {
        // SAFETY: a window's line begins inside the padded map and reaches at most two blocks beyond its end, which the
        // line of sums has room for.
        unsafe {
            let sums = memory.store(k.sums, row, sums_len(window, map));
            sums.write_bytes(0, sums_len(window, map));
            let from = memory.row(k.patches, row).cast_const();
            for y in 0..products.map.height {
                for ky in 0..window.size[0] {
                    let to = sums.add((y * window.stride[0] + ky * window.dilation[0]) * line);
                    for first in 0..apart.min(products.map.width) {
                        for x in (first..products.map.width).step_by(apart) {
                            let to = to.add(x * window.stride[1] * map.channels);
                            for block in 0..blocks {
                                let patch = from.add(products.at(ky * blocks + block, y, x));
                                let at = to.add(block * LANES);
                                L::load(at.cast_const()).add(L::load(patch)).store(at);
                            }
                        }
                    }
                }
            }
            let finish = k.epilogue.of::<L>(memory, k.to, row, 0);
            let to = memory.row(k.to, row);
            for y in 0..map.height {
                for x in 0..map.width {
                    let at =
                        (y + window.pads[0][0]) * line + (x + window.pads[1][0]) * map.channels;
                    let value = finish.apply(L::load(sums.add(at).cast_const()), y, x);
                    value.store(to.add(output.at(0, y, x)));
                }
            }
        }
    }
}
