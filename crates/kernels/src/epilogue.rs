//! Final operations on a kernel's sums before they are stored: bias, addition of another value, activation, mask.
//!
//! Doing it while the sums are in registers saves a pass over memory for each of them.

use crate::lanes::{LANES, Lanes};
use crate::memory::{Buffer, Memory, Store};
use crate::shape::Map;

/// An activation that is linear in pieces. Its derivative is 1 or `slope`, so a bit per value is all that the backward
/// pass needs. NaN stays NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Clamp {
    /// `x` above 0, `slope x` elsewhere; a slope of 0 is `ReLU`. The derivative at 0 is `slope`.
    Leaky {
        /// The slope below 0.
        slope: f32,
    },
    /// `min(max(x, low), high)`. The derivative at the limits is 1, or 0 if the limits cross.
    Clip {
        /// The least value.
        low: f32,
        /// The largest value.
        high: f32,
    },
}

impl Clamp {
    /// `max(x, 0)`.
    pub const RELU: Self = Self::Leaky { slope: 0.0 };

    /// Values, and a bit per lane: whether the derivative there is 1.
    ///
    /// # Safety
    /// The processor has the instruction set of `L`.
    #[inline(always)]
    pub(crate) unsafe fn at<L: Lanes>(self, value: L) -> (L, u16) {
        // SAFETY: the caller's.
        unsafe {
            match self {
                Self::Leaky { slope } => {
                    let bits = value.above(L::zero());
                    if slope == 0.0 {
                        (value.relu(), bits)
                    } else {
                        (value.select(bits, value.mul(L::splat(slope))), bits)
                    }
                }
                Self::Clip { low, high } => {
                    let (low, high) = (L::splat(low), L::splat(high));
                    let below = low.above(value);
                    let raised = low.select(below, value);
                    let above = raised.above(high);
                    (high.select(above, raised), !(below | above))
                }
            }
        }
    }

    /// The derivative where it is not 1.
    pub(crate) const fn slope(self) -> f32 {
        match self {
            Self::Leaky { slope } => slope,
            Self::Clip { .. } => 0.0,
        }
    }
}

/// Gradients times the derivative of a [`Clamp`]: 1 where the bit is set, `slope` elsewhere.
///
/// # Safety
/// The processor has the instruction set of `L`.
#[inline(always)]
pub(crate) unsafe fn masked<L: Lanes>(gradient: L, bits: u16, slope: f32) -> L {
    // SAFETY: the caller's.
    unsafe {
        let other = if slope == 0.0 {
            L::zero()
        } else {
            gradient.mul(L::splat(slope))
        };
        gradient.select(bits, other)
    }
}

/// Operation after bias and addition.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) enum After {
    #[default]
    Nothing,
    /// An activation; where its derivative is 1 is stored.
    Clamp(Clamp, Store),
    /// Times the derivative that an activation has stored: 1 where the bit is set, `slope` elsewhere.
    Mask { store: Store, slope: f32 },
}

/// Operations on sums before they are stored, in this order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Epilogue {
    /// One per channel, filled up to whole blocks.
    pub(crate) bias: Option<Vec<f32>>,
    /// A value of the same shape.
    pub(crate) addend: Option<Buffer>,
    pub(crate) after: After,
}

/// Values per row of a store with a bit per value of a map.
pub(crate) const fn bits_len(map: Map) -> usize {
    (map.blocks() * map.pixels()).div_ceil(2)
}

impl Epilogue {
    /// Whether sums are stored as they are.
    pub(crate) fn is_nothing(&self) -> bool {
        self.bias.is_none() && self.addend.is_none() && self.after == After::Nothing
    }

    /// Whether nothing but a bias is added to sums, if that.
    pub(crate) fn is_bias_alone(&self) -> bool {
        self.addend.is_none() && self.after == After::Nothing
    }

    /// The bias of a block, 0 if there is none.
    ///
    /// # Safety
    /// The processor has the instruction set of `L`.
    #[inline(always)]
    pub(crate) unsafe fn bias_of<L: Lanes>(&self, block: usize) -> L {
        // SAFETY: bias has a value per lane of every block.
        unsafe {
            match &self.bias {
                Some(bias) => L::load(bias.as_ptr().add(block * LANES)),
                None => L::zero(),
            }
        }
    }

    /// The same with a bias per channel of `map`, or none.
    pub(crate) fn biased(mut self, bias: &[f32], map: Map) -> Self {
        if !bias.is_empty() {
            let mut whole = bias.to_vec();
            whole.resize(map.blocks() * LANES, 0.0);
            self.bias = Some(whole);
        }
        self
    }

    /// The epilogue for one block of one row of `to`.
    ///
    /// # Safety
    /// The processor has the instruction set of `L`.
    #[inline(always)]
    pub(crate) unsafe fn of<'a, L: Lanes>(
        &'a self,
        memory: &'a Memory<'_>,
        to: Buffer,
        row: usize,
        block: usize,
    ) -> Finish<L> {
        let frame = memory.frame(to);
        let map = frame.map;
        // SAFETY: offsets stay inside the row's frame or store.
        unsafe {
            let bias = self.bias_of(block);
            let mut addend = (std::ptr::null(), 0);
            if let Some(other) = self.addend {
                let frame = memory.frame(other);
                addend = (
                    memory
                        .row(other, row)
                        .add(frame.at(block, 0, 0))
                        .cast_const(),
                    frame.line(),
                );
            }
            let store = match self.after {
                After::Nothing => None,
                After::Clamp(_, store) | After::Mask { store, .. } => Some(store),
            };
            let bits = match store {
                Some(store) => {
                    let row = memory.store(store, row, bits_len(map)).cast::<u16>();
                    row.add(block * map.pixels())
                }
                None => std::ptr::null_mut(),
            };
            Finish {
                bias,
                addend,
                bits,
                width: map.width,
                after: self.after,
            }
        }
    }
}

/// An [`Epilogue`] for one block of one row.
#[derive(Clone, Copy)]
pub(crate) struct Finish<L> {
    bias: L,
    addend: (*const f32, usize),
    bits: *mut u16,
    width: usize,
    after: After,
}

impl<L: Lanes> Finish<L> {
    /// The value to store at a pixel.
    ///
    /// # Safety
    /// The processor has the instruction set of `L`; the pixel lies inside the map.
    #[inline(always)]
    pub(crate) unsafe fn apply(&self, sum: L, y: usize, x: usize) -> L {
        // SAFETY: the pixel lies inside the map, so inside the addend's frame and the store.
        unsafe {
            let mut value = sum.add(self.bias);
            if !self.addend.0.is_null() {
                value = value.add(L::load(self.addend.0.add(y * self.addend.1 + x * LANES)));
            }
            match self.after {
                After::Nothing => value,
                After::Clamp(clamp, _) => {
                    let (value, bits) = clamp.at(value);
                    self.bits.add(y * self.width + x).write(bits);
                    value
                }
                After::Mask { slope, .. } => {
                    masked(value, self.bits.add(y * self.width + x).read(), slope)
                }
            }
        }
    }
}
