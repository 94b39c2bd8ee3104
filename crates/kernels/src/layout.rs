//! Memory layout of a network's buffers and stores: values that are never alive together share memory.

use std::ops::Range;

use crate::kernel::Kernel;
use crate::memory::{Place, Places};
use crate::passes::Passes;
use crate::shape::{Border, Frame};

/// Lays out everything per row.
pub(crate) fn places(passes: &Passes) -> Places {
    let mut borders = vec![Border::default(); passes.buffers.len()];
    let mut alive: Vec<Option<Range<usize>>> = vec![None; passes.buffers.len()];
    let kernels: Vec<&dyn Kernel> = passes
        .forward
        .iter()
        .chain(&passes.backward)
        .map(AsRef::as_ref)
        .collect();
    for (at, kernel) in kernels.iter().enumerate() {
        let mut touch = |buffer: usize| {
            let range = alive[buffer].get_or_insert(at..at);
            range.end = at + 1;
        };
        for (buffer, border) in kernel.reads() {
            borders[buffer.0] = borders[buffer.0].max(border);
            touch(buffer.0);
        }
        if let Some(buffer) = kernel.writes() {
            touch(buffer.0);
        }
    }
    let frames: Vec<Frame> = passes
        .buffers
        .iter()
        .zip(borders)
        .map(|(map, border)| Frame { map: *map, border })
        .collect();
    let mut kept = 0;
    let mut keep = |values: usize| {
        let start = kept;
        kept += whole_lines(values);
        start
    };
    let stores = passes.stores.iter().map(|values| keep(*values)).collect();
    // The lowest place that is free as long as the buffer is alive.
    let mut placed: Vec<(Range<usize>, Range<usize>)> = Vec::new();
    let mut scratch = 0;
    let mut buffers = vec![Place::Scratch(0); frames.len()];
    for (i, frame) in frames.iter().enumerate() {
        let Some(when) = alive[i].clone() else {
            continue;
        };
        // The backward pass may run again and again: what it reads of the forward pass is shared with nothing.
        if when.start < passes.forward.len() && when.end > passes.forward.len() {
            buffers[i] = Place::Kept(keep(frame.len()));
            continue;
        }
        let size = whole_lines(frame.len());
        let mut busy: Vec<&Range<usize>> = placed
            .iter()
            .filter(|(other, _)| other.start < when.end && when.start < other.end)
            .map(|(_, at)| at)
            .collect();
        busy.sort_by_key(|at| at.start);
        let mut start = 0;
        for at in busy {
            if at.start >= start + size {
                break;
            }
            start = start.max(at.end);
        }
        buffers[i] = Place::Scratch(start);
        scratch = scratch.max(start + size);
        placed.push((when, start..start + size));
    }
    Places {
        frames,
        buffers,
        stores,
        kept,
        scratch,
    }
}

/// Filled up to whole cache lines.
const fn whole_lines(values: usize) -> usize {
    values.next_multiple_of(16)
}
