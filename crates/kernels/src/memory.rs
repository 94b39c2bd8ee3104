//! Memory of a running network: one allocation for all values, made once and reused.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use crate::lanes::LANES;
use crate::shape::{Border, Frame, Map};

/// A value that is alive while a pass needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Buffer(pub(crate) usize);

/// Data that the forward pass stores for the backward pass; alive in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Store(pub(crate) usize);

/// Bytes of a cache line, to which everything is aligned.
const LINE: usize = 64;

/// Aligned memory, zero at first.
#[derive(Debug)]
pub(crate) struct Arena {
    start: NonNull<f32>,
    layout: Layout,
}

// SAFETY: it owns its memory, and only whoever borrows it mutably (a `Memory`) writes to it.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

impl Arena {
    /// Room for so many values.
    pub(crate) fn new(values: usize) -> Self {
        let layout = Layout::array::<f32>(values.max(1))
            .and_then(|l| l.align_to(LINE))
            .expect("it fits into memory");
        // SAFETY: the layout has a size above 0.
        let start = unsafe { alloc_zeroed(layout) };
        let start = NonNull::new(start.cast()).unwrap_or_else(|| handle_alloc_error(layout));
        Self { start, layout }
    }

    /// How many values fit.
    pub(crate) fn len(&self) -> usize {
        self.layout.size() / size_of::<f32>()
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and nothing borrows it any more.
        unsafe { dealloc(self.start.as_ptr().cast(), self.layout) }
    }
}

/// Position of a buffer, in values per row.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    /// In memory that the gradient needs after the forward pass.
    Kept(usize),
    /// In memory of a single pass.
    Scratch(usize),
}

/// Positions of a network's buffers and stores, per row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    pub(crate) frames: Vec<Frame>,
    pub(crate) buffers: Vec<Place>,
    /// Start of each store, in values per row; all are kept.
    pub(crate) stores: Vec<usize>,
    /// Values per row that the gradient needs after the forward pass.
    pub(crate) kept: usize,
    /// Values per row that a single pass needs.
    pub(crate) scratch: usize,
}

/// The memory of some rows that go through a network together.
pub(crate) struct Memory<'a> {
    pub(crate) rows: usize,
    /// Threads that a kernel may use.
    pub(crate) threads: usize,
    kept: *mut f32,
    scratch: *mut f32,
    places: &'a Places,
}

// SAFETY: kernels that share it among threads write disjoint parts (each says which).
unsafe impl Send for Memory<'_> {}
// SAFETY: as above.
unsafe impl Sync for Memory<'_> {}

impl<'a> Memory<'a> {
    /// Two arenas as the memory of `rows` rows.
    pub(crate) fn new(
        kept: &'a mut Arena,
        scratch: &'a mut Arena,
        places: &'a Places,
        rows: usize,
        threads: usize,
    ) -> Self {
        let fits = kept.len() >= rows * places.kept && scratch.len() >= rows * places.scratch;
        assert!(fits, "an arena is too small");
        Self {
            rows,
            threads,
            kept: kept.start.as_ptr(),
            scratch: scratch.start.as_ptr(),
            places,
        }
    }

    #[inline(always)]
    pub(crate) fn frame(&self, buffer: Buffer) -> &'a Frame {
        &self.places.frames[buffer.0]
    }

    /// Returns the start of a row of a buffer; [`Frame::len`] values belong to it.
    #[inline(always)]
    pub(crate) fn row(&self, buffer: Buffer, row: usize) -> *mut f32 {
        assert!(row < self.rows);
        let (base, start) = match self.places.buffers[buffer.0] {
            Place::Kept(start) => (self.kept, start),
            Place::Scratch(start) => (self.scratch, start),
        };
        // SAFETY: inside the arena, whose length was checked.
        unsafe { base.add(start * self.rows + row * self.frame(buffer).len()) }
    }

    /// Returns the start of a row of a store with `len` values per row.
    #[inline(always)]
    pub(crate) fn store(&self, store: Store, row: usize, len: usize) -> *mut f32 {
        assert!(row < self.rows);
        let from = self.places.stores[store.0] * self.rows + row * len;
        // SAFETY: inside the arena, whose length was checked.
        unsafe { self.kept.add(from) }
    }

    /// Sets the border of a buffer to 0.
    pub(crate) fn clear_border(&self, buffer: Buffer) {
        let frame = self.frame(buffer);
        let Border {
            top,
            left,
            bottom,
            right,
        } = frame.border;
        if frame.border == Border::default() {
            return;
        }
        let Map { height, width, .. } = frame.map;
        let line = frame.line();
        let zero = |at: *mut f32, values: usize| {
            // SAFETY: the caller's range lies inside the frame.
            unsafe { at.write_bytes(0, values) }
        };
        for row in 0..self.rows {
            for block in 0..frame.map.blocks() {
                // SAFETY: all offsets lie inside the block's plane.
                unsafe {
                    let plane = self.row(buffer, row).add(block * frame.plane());
                    zero(plane, top * line);
                    for y in top..top + height {
                        zero(plane.add(y * line), left * LANES);
                        zero(plane.add(y * line + (left + width) * LANES), right * LANES);
                    }
                    zero(plane.add((top + height) * line), bottom * line);
                }
            }
        }
    }
}
