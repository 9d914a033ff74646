//! What can be wrong with a page, and where.

/// A fault of a page and its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {kind}")]
pub struct ParseError {
    /// Line on the page, from 1.
    pub line: usize,
    /// Byte in the line, from 1.
    pub column: usize,
    /// What is wrong there.
    pub kind: ErrorKind,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Reading stopped: the page exceeds `Limits::page_bytes`.
    #[error("the page is larger than {limit} bytes")]
    PageTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// Reading stopped: a line exceeds `Limits::line_bytes`.
    #[error("the line is longer than {limit} bytes")]
    LineTooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// Reading stopped: the page exceeds `Limits::series`.
    #[error("the page has more than {limit} series")]
    TooManySeries {
        /// The limit in series, metadata and bad lines.
        limit: usize,
    },
    /// The page is not text.
    #[error("the page is not UTF-8 here")]
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
    /// A label value has no closing quote.
    #[error("the label value has no closing quote")]
    OpenQuote,
    /// A label value has a backslash before a foreign character.
    #[error("unknown escape in a label value, only `\\\\`, `\\\"` and `\\n` exist")]
    Escape,
    /// A label is followed by neither `,` nor `}`.
    #[error("expected `,` or `}}` after the label")]
    LabelEnd,
    /// A name and its labels are not followed by a value.
    #[error("expected a value")]
    Value,
    /// A value is not a number.
    #[error("`{0}` is not a number")]
    NotANumber(Box<str>),
    /// A timestamp is not a whole number of milliseconds.
    #[error("timestamp `{0}` is not a whole number of milliseconds")]
    Timestamp(Box<str>),
    /// An exemplar, which is OpenMetrics.
    #[error("an exemplar, which text format 0.0.4 does not have")]
    Exemplar,
    /// More words than the line can have.
    #[error("unexpected text at the end of the line")]
    Trailing,
    /// A `# TYPE` line names no type.
    #[error("`{0}` is not a metric type")]
    UnknownType(Box<str>),
    /// A family has a second `# TYPE` line.
    #[error("second type for family `{0}`")]
    SecondType(Box<str>),
    /// A label name stands twice in one series.
    #[error("duplicate label `{0}`")]
    DuplicateLabel(Box<str>),
    /// A series stands twice on one page, its labels in whatever order.
    #[error("duplicate series `{0}`")]
    DuplicateSeries(Box<str>),
}
