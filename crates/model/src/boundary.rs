//! The one place where a panic of somebody else's code stops.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::ModelError;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is inside [`guarded`]: a panic hook can then stay silent, the error is reported.
pub fn inside_boundary() -> bool {
    INSIDE.get()
}

/// Runs a model or device call; a panic inside becomes [`ModelError::Panicked`].
pub fn guarded<T>(
    model: &str,
    call: impl FnOnce() -> Result<T, ModelError>,
) -> Result<T, ModelError> {
    let before = INSIDE.replace(true);
    // Whatever a panicking call left half-done is dropped with it: callers keep no reference into it.
    let result = catch_unwind(AssertUnwindSafe(call));
    INSIDE.set(before);
    result.unwrap_or_else(|payload| {
        let message = payload
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "(no message)".to_owned());
        Err(ModelError::Panicked {
            model: model.to_owned(),
            message,
        })
    })
}
