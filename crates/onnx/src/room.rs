//! How much memory one value may take.
//!
//! A few bytes of a file can ask for a constant of a trillion elements. Whatever makes a value larger than its
//! inputs asks here first.

use std::cell::Cell;

/// Elements of one value while a model runs (8 GiB of `f32`).
const WHILE_RUNNING: usize = 1 << 31;
/// Elements of one value while a file is loaded and tried out (512 MiB of `f32`).
const WHILE_LOADING: usize = 1 << 27;

thread_local! {
    static LIMIT: Cell<usize> = const { Cell::new(WHILE_RUNNING) };
}

/// Runs `work` under the tighter limit that holds before a file is trusted.
pub(crate) fn while_loading<T>(work: impl FnOnce() -> T) -> T {
    let before = LIMIT.replace(WHILE_LOADING);
    let result = work();
    LIMIT.set(before);
    result
}

/// Whether a file is being tried out.
pub(crate) fn loading() -> bool {
    LIMIT.get() == WHILE_LOADING
}

/// Product of the other dimensions of a shape with a zero in it: nobody has to think about overflow.
const AROUND_ZERO: usize = 1 << 48;

/// The number of elements of a shape, if there is room for that many.
pub(crate) fn elements(shape: &[usize]) -> Result<usize, String> {
    // A zero anywhere makes the value empty, whatever the other dimensions claim (within reason).
    let empty = shape.contains(&0);
    let limit = if empty { AROUND_ZERO } else { LIMIT.get() };
    shape
        .iter()
        .filter(|d| **d != 0)
        .try_fold(1usize, |n, d| n.checked_mul(*d))
        .filter(|n| *n <= limit)
        .map(|n| if empty { 0 } else { n })
        .ok_or_else(|| format!("a value of shape {shape:?} has more than {limit} elements"))
}
