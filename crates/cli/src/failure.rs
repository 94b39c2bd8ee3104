use std::fmt::Display;

/// A usage, policy or input error, told in one go: exit code 2.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl<E: Display> From<E> for Failure {
    fn from(e: E) -> Self {
        Self(e.to_string())
    }
}
