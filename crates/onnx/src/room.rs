//! Limits on the memory of one value.
//!
//! A few bytes of a file can ask for a constant of a trillion elements. Code that makes a value larger than its inputs
//! checks these limits first.

use std::cell::Cell;

/// Maximum elements of one value while a model runs (8 GiB of `f32`).
const WHILE_RUNNING: usize = 1 << 31;
/// Maximum elements of one value while a file is loaded and tried out (512 MiB of `f32`).
const WHILE_LOADING: usize = 1 << 27;

/// Maximum elements of one value computed when the graph is built (128 MiB of `f32`); larger ones are computed when
/// they are needed.
const WHILE_FOLDING: usize = 1 << 25;

/// Maximum rounds of one loop while a model runs.
const ROUNDS_WHILE_RUNNING: u64 = 1 << 24;
/// Maximum rounds of all loops of a file together while it is loaded and tried out.
const ROUNDS_WHILE_LOADING: u64 = 1 << 18;

thread_local! {
    static LIMIT: Cell<usize> = const { Cell::new(WHILE_RUNNING) };
    static ROUNDS: Cell<u64> = const { Cell::new(ROUNDS_WHILE_LOADING) };
}

/// Resets the budget of loop rounds for a new file.
pub(crate) fn refuel() {
    ROUNDS.set(ROUNDS_WHILE_LOADING);
}

/// Checks the limit before round `i` of a loop, which a few bytes can make endless. `size`: number of values in the
/// loop's body.
pub(crate) fn round(i: u64, size: usize) -> Result<(), String> {
    if loading() {
        let left = ROUNDS.get().saturating_sub(1 + size as u64 / 16);
        ROUNDS.set(left);
        return if left > 0 {
            Ok(())
        } else {
            Err("too many rounds of loops while the file is tried out".into())
        };
    }
    if i < ROUNDS_WHILE_RUNNING {
        Ok(())
    } else {
        Err(format!("more than {ROUNDS_WHILE_RUNNING} rounds of a loop"))
    }
}

/// Runs `work` under the tighter limit for files that are not trusted yet.
pub(crate) fn while_loading<T>(work: impl FnOnce() -> T) -> T {
    under(WHILE_LOADING, work)
}

/// Runs `work` under the limit for constants computed when the graph is built.
pub(crate) fn while_folding<T>(work: impl FnOnce() -> T) -> T {
    under(WHILE_FOLDING, work)
}

fn under<T>(limit: usize, work: impl FnOnce() -> T) -> T {
    let before = LIMIT.replace(limit);
    let result = work();
    LIMIT.set(before);
    result
}

/// Whether a file is being tried out.
pub(crate) fn loading() -> bool {
    LIMIT.get() <= WHILE_LOADING
}

/// Maximum product of the other dimensions of a shape that contains a zero, so that later code cannot overflow.
const AROUND_ZERO: usize = 1 << 48;

/// Returns the number of elements of a shape; an error if it exceeds the limit.
pub(crate) fn elements(shape: &[usize]) -> Result<usize, String> {
    // A zero dimension makes the value empty, whatever the other dimensions are (up to a limit).
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
