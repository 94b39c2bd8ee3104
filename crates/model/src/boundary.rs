//! Catches panics of third-party code; no other place does.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::ModelError;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is inside [`guarded`]. A panic hook can then stay silent, because the error is reported.
pub fn inside_boundary() -> bool {
    INSIDE.get()
}

/// Runs a model call; a panic inside becomes [`ModelError::Panicked`].
pub fn guarded<T>(
    model: &str,
    call: impl FnOnce() -> Result<T, ModelError>,
) -> Result<T, ModelError> {
    caught(call).unwrap_or_else(|message| {
        Err(ModelError::Panicked {
            model: model.to_owned(),
            message,
        })
    })
}

/// Runs device work outside any model (reads, projections, saving); a panic inside becomes [`ModelError::Device`].
pub fn guarded_device<T, E: From<ModelError>>(call: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    caught(call).unwrap_or_else(|message| Err(ModelError::Device { message }.into()))
}

/// Returns the result of a call, or the message of its panic.
fn caught<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    let before = INSIDE.replace(true);
    // State that a panicking call left half-done is dropped with it: callers keep no reference into it.
    let result = catch_unwind(AssertUnwindSafe(call));
    INSIDE.set(before);
    result.map_err(|payload| {
        payload
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "(no message)".to_owned())
    })
}
