//! Shapes of one row's values, and how they lie in memory.

use crate::lanes::LANES;

/// The shape of a value of one row: channels times height times width. A plain vector has height and width 1, a
/// sequence has height 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Map {
    /// Channels, or features of a vector.
    pub channels: usize,
    /// Height.
    pub height: usize,
    /// Width.
    pub width: usize,
}

impl Map {
    /// A map of this shape.
    pub const fn new(channels: usize, height: usize, width: usize) -> Self {
        Self {
            channels,
            height,
            width,
        }
    }

    /// Number of values.
    #[inline(always)]
    pub const fn features(self) -> usize {
        self.channels * self.height * self.width
    }

    #[inline(always)]
    pub(crate) const fn blocks(self) -> usize {
        self.channels.div_ceil(LANES)
    }

    #[inline(always)]
    pub(crate) const fn pixels(self) -> usize {
        self.height * self.width
    }
}

/// Pixels around a map that hold 0, so that windows at its edge need no special case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Border {
    pub(crate) top: usize,
    pub(crate) left: usize,
    pub(crate) bottom: usize,
    pub(crate) right: usize,
}

impl Border {
    /// The wider of both on every side.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            top: self.top.max(other.top),
            left: self.left.max(other.left),
            bottom: self.bottom.max(other.bottom),
            right: self.right.max(other.right),
        }
    }
}

/// A map in memory: blocks of sixteen channels, each with its pixels line by line, each pixel with the sixteen channels
/// beside each other. Lanes beyond the last channel hold anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) map: Map,
    pub(crate) border: Border,
}

impl Frame {
    /// Values from a pixel to the one below it.
    #[inline(always)]
    pub(crate) const fn line(&self) -> usize {
        (self.border.left + self.map.width + self.border.right) * LANES
    }

    /// Values from a block to the next.
    #[inline(always)]
    pub(crate) const fn plane(&self) -> usize {
        (self.border.top + self.map.height + self.border.bottom) * self.line()
    }

    /// Values of one row.
    #[inline(always)]
    pub(crate) const fn len(&self) -> usize {
        self.map.blocks() * self.plane()
    }

    /// Returns the start of the top left pixel of the first block.
    #[inline(always)]
    pub(crate) const fn origin(&self) -> usize {
        self.border.top * self.line() + self.border.left * LANES
    }

    /// Returns the start of a pixel of a block.
    #[inline(always)]
    pub(crate) const fn at(&self, block: usize, y: usize, x: usize) -> usize {
        self.origin() + block * self.plane() + y * self.line() + x * LANES
    }
}
