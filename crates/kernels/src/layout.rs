//! Memory layout of a network's buffers and stores: values that are never alive together share memory.

use std::ops::Range;

use crate::kernel::Kernel;
use crate::memory::Places;
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
    // Forward values that the backward pass reads stay until the end, so that the backward pass can run again.
    for range in alive.iter_mut().flatten() {
        if range.start < passes.forward.len() && range.end > passes.forward.len() {
            range.end = kernels.len();
        }
    }
    let frames: Vec<Frame> = passes
        .buffers
        .iter()
        .zip(borders)
        .map(|(map, border)| Frame { map: *map, border })
        .collect();
    let mut len = 0;
    let stores = passes.stores.iter().map(|values| {
        let start = len;
        len += whole_lines(*values);
        start
    });
    let stores: Vec<usize> = stores.collect();
    // The lowest place that is free as long as the buffer is alive.
    let mut placed: Vec<(Range<usize>, Range<usize>)> = Vec::new();
    let mut buffers = vec![len; frames.len()];
    let stored = len;
    for (i, frame) in frames.iter().enumerate() {
        let Some(when) = alive[i].clone() else {
            continue;
        };
        let size = whole_lines(frame.len());
        let mut busy: Vec<&Range<usize>> = placed
            .iter()
            .filter(|(other, _)| other.start < when.end && when.start < other.end)
            .map(|(_, at)| at)
            .collect();
        busy.sort_by_key(|at| at.start);
        let mut start = stored;
        for at in busy {
            if at.start >= start + size {
                break;
            }
            start = start.max(at.end);
        }
        buffers[i] = start;
        len = len.max(start + size);
        placed.push((when, start..start + size));
    }
    Places {
        frames,
        buffers,
        stores,
        len,
    }
}

/// Filled up to whole cache lines.
const fn whole_lines(values: usize) -> usize {
    values.next_multiple_of(16)
}
