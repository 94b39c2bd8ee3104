//! How much memory one value may take.
//!
//! A few bytes of a file can ask for a constant of a trillion elements. Whatever makes a value larger than its
//! inputs asks here first.

use std::cell::Cell;

/// Elements of one value while a model runs (8 GiB of `f32`).
const WHILE_RUNNING: usize = 1 << 31;
/// Elements of one value while a file is loaded and tried out (512 MiB of `f32`).
const WHILE_LOADING: usize = 1 << 27;

/// Elements of one value computed ahead of time (128 MiB of `f32`): larger ones are left to when they are needed.
const WHILE_FOLDING: usize = 1 << 25;

/// Rounds of one loop while a model runs.
const ROUNDS_WHILE_RUNNING: u64 = 1 << 24;
/// Rounds of all loops of a file together while it is loaded and tried out.
const ROUNDS_WHILE_LOADING: u64 = 1 << 18;

thread_local! {
    static LIMIT: Cell<usize> = const { Cell::new(WHILE_RUNNING) };
    static ROUNDS: Cell<u64> = const { Cell::new(ROUNDS_WHILE_LOADING) };
}

/// A new file: its loops may turn again.
pub(crate) fn refuel() {
    ROUNDS.set(ROUNDS_WHILE_LOADING);
}

/// Asked before round `i` of a loop, which a few bytes can make endless. `size`: how many values its body has.
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

/// Runs `work` under the tighter limit that holds before a file is trusted.
pub(crate) fn while_loading<T>(work: impl FnOnce() -> T) -> T {
    under(WHILE_LOADING, work)
}

/// Runs `work` under the limit for what is computed ahead of time.
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
