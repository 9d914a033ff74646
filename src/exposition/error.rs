//! What can be wrong with a page, and where.

use std::fmt;

/// A fault of a page and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Line on the page, from 1.
    pub line: usize,
    /// Byte in the line, from 1.
    pub column: usize,
    /// What is wrong there.
    pub kind: ErrorKind,
    /// What was found there, in words or in backticks.
    pub found: Box<str>,
}

impl std::error::Error for ParseError {}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            column,
            kind,
            found,
        } = self;
        write!(f, "line {line}, column {column}: {kind}, found {found}")
    }
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Reading stopped: the page exceeds [`Limits::page_bytes`](super::Limits::page_bytes).
    #[error("page too large")]
    PageTooLarge,
    /// Reading stopped: a line exceeds [`Limits::line_bytes`](super::Limits::line_bytes).
    #[error("line too long")]
    LineTooLong,
    /// Reading stopped: the page exceeds [`Limits::series`](super::Limits::series).
    #[error("too many series")]
    TooManySeries,
    /// The page is not text.
    #[error("expected UTF-8")]
    NotUtf8,
    /// A metric name is missing or has a foreign character.
    #[error("expected a metric name")]
    MetricName,
    /// A label name is missing or has a foreign character.
    #[error("expected a label name")]
    LabelName,
    /// A label name is not followed by `="`.
    #[error("expected `=` and a quoted label value")]
    LabelValue,
    /// A label value has no closing quote; the place is its opening one.
    #[error("expected a closing quote")]
    ClosingQuote,
    /// A label value has a backslash before a foreign character.
    #[error("expected one of the escapes `\\\\`, `\\\"` and `\\n`")]
    Escape,
    /// A label is followed by neither `,` nor `}`.
    #[error("expected `,` or `}}`")]
    LabelEnd,
    /// A value is missing or not a number.
    #[error("expected a number")]
    Value,
    /// A timestamp is not a whole number.
    #[error("expected a timestamp in whole milliseconds")]
    Timestamp,
    /// More words than the line can have.
    #[error("expected the end of the line")]
    LineEnd,
    /// A `# TYPE` line names no type.
    #[error("expected a metric type")]
    Type,
    /// A family has a second `# TYPE` line.
    #[error("duplicate type")]
    DuplicateType,
    /// A label name stands twice in one series.
    #[error("duplicate label")]
    DuplicateLabel,
    /// A series stands twice on one page, its labels in whatever order.
    #[error("duplicate series")]
    DuplicateSeries,
}

impl ErrorKind {
    /// Whether reading stopped because the page breaks one of the [`Limits`](super::Limits).
    #[must_use]
    pub const fn is_limit(self) -> bool {
        matches!(
            self,
            Self::PageTooLarge | Self::LineTooLong | Self::TooManySeries
        )
    }
}

/// `text` quoted, cut where it grows long, and safe to print.
pub(super) fn excerpt(text: &str) -> Box<str> {
    const LONG: usize = 80;
    if text.is_empty() {
        return "the end of the line".into();
    }
    let printable = |char: char| if char.is_control() { '\u{fffd}' } else { char };
    let start: String = text.chars().take(LONG).map(printable).collect();
    let cut = if text.chars().nth(LONG).is_some() {
        "…"
    } else {
        ""
    };
    format!("`{start}{cut}`").into()
}
