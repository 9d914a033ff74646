//! Errors of a page, and their positions.

use std::fmt;

/// An error of a page with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Line on the page, from 1.
    pub line: usize,
    /// Byte in the line, from 1.
    pub column: usize,
    /// The kind of the error.
    pub kind: ErrorKind,
    /// The text found there, in words or in backticks.
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

/// The kind of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Parsing stopped: the page exceeds [`PageLimits::page_bytes`](super::PageLimits::page_bytes).
    #[error("page too large")]
    PageTooLarge,
    /// Parsing stopped: a line exceeds [`PageLimits::line_bytes`](super::PageLimits::line_bytes).
    #[error("line too long")]
    LineTooLong,
    /// Parsing stopped: the page exceeds [`PageLimits::series`](super::PageLimits::series).
    #[error("too many series")]
    TooManySeries,
    /// The page is not text.
    #[error("expected UTF-8")]
    NotUtf8,
    /// A metric name is missing or contains an invalid character.
    #[error("expected a metric name")]
    MetricName,
    /// A label name is missing or contains an invalid character.
    #[error("expected a label name")]
    LabelName,
    /// A label name is not followed by `="`.
    #[error("expected `=` and a quoted label value")]
    LabelValue,
    /// A label value has no closing quote; the position is its opening one.
    #[error("expected a closing quote")]
    ClosingQuote,
    /// A label value has a backslash before an invalid character.
    #[error("expected one of the escapes `\\\\`, `\\\"` and `\\n`")]
    Escape,
    /// A label is followed by neither `,` nor `}`.
    #[error("expected `,` or `}}`")]
    LabelEnd,
    /// A value is missing or not a number.
    #[error("expected a number")]
    Value,
    /// A timestamp is not an integer.
    #[error("expected a timestamp in whole milliseconds")]
    Timestamp,
    /// Excess text at the end of the line.
    #[error("expected the end of the line")]
    LineEnd,
    /// A `# TYPE` line names no type.
    #[error("expected a metric type")]
    Type,
    /// A family has a second `# TYPE` line.
    #[error("duplicate type")]
    DuplicateType,
    /// A label name appears twice in one series.
    #[error("duplicate label")]
    DuplicateLabel,
    /// A series appears twice on one page, whatever the order of its labels.
    #[error("duplicate series")]
    DuplicateSeries,
}

impl ErrorKind {
    /// Whether parsing stopped because the page exceeds one of the [`PageLimits`](super::PageLimits).
    #[must_use]
    pub(crate) const fn is_limit(self) -> bool {
        matches!(
            self,
            Self::PageTooLarge | Self::LineTooLong | Self::TooManySeries
        )
    }
}

/// `text` quoted, truncated if long, and safe to print.
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
