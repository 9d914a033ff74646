//! `UsageError`: the request is invalid; the exit code is 2.

use std::fmt;

/// An invalid flag, file or name. Commands return it inside `anyhow::Error`; `main` downcasts it.
#[derive(Debug)]
pub struct UsageError(anyhow::Error);

impl UsageError {
    /// Marks `error` as a usage error.
    pub fn new(error: impl Into<anyhow::Error>) -> Self {
        Self(error.into())
    }

    /// A usage error with `message`.
    pub fn of(message: impl fmt::Display) -> Self {
        Self(anyhow::anyhow!("{message}"))
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#}", self.0)
    }
}

impl std::error::Error for UsageError {}

/// A command ran another one, which ended with this exit code and printed its own error.
#[derive(Debug, thiserror::Error)]
#[error("it ended with exit code {0}")]
pub struct Ended(pub u8);

/// A command found what it was asked to fail on, and reported it. Exit code 3.
#[derive(Debug, thiserror::Error)]
#[error("something was found")]
pub(crate) struct FoundSomething;
