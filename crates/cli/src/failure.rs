use std::fmt::Display;

/// A usage, policy or input error with its whole message; exit code 2.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl<E: Display> From<E> for Failure {
    fn from(e: E) -> Self {
        Self(e.to_string())
    }
}
