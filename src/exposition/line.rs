//! One line of a page.

use std::borrow::Cow;

use super::cursor::Cursor;
use super::error::ErrorKind;
use super::labels::{Labels, PreviousLabels, unescape};
use super::number;

/// A meaningful line.
#[derive(Clone, Debug, PartialEq)]
pub enum Line<'a> {
    /// `# HELP family text`
    Help {
        /// The family's name.
        family: &'a str,
        /// The help text; copied only if it has escapes.
        text: Cow<'a, str>,
    },
    /// `# TYPE family kind`
    Type {
        /// The family's name.
        family: &'a str,
        /// Its type.
        kind: ExpositionType,
    },
    /// `name{labels} value timestamp`
    Sample(Sample<'a>),
}

impl<'a> Line<'a> {
    /// The name of its family or sample.
    #[must_use]
    #[inline]
    pub const fn name(&self) -> &'a str {
        match self {
            Self::Help { family, .. } | Self::Type { family, .. } => family,
            Self::Sample(sample) => sample.name,
        }
    }
}

/// One value of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample<'a> {
    /// The sample's name, including `_bucket`, `_sum` or `_count`.
    pub name: &'a str,
    /// Its labels, in the order of the page.
    pub labels: Labels<'a>,
    /// Its value; may be infinite or not a number.
    pub value: f64,
    /// Milliseconds since the Unix epoch, if the page has a timestamp.
    pub timestamp: Option<i64>,
}

/// The type of a family: those of text 0.0.4, and those of OpenMetrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ExpositionType {
    /// Only goes up; resets to 0.
    Counter,
    /// Goes up and down.
    Gauge,
    /// `_bucket{le}`, `_sum` and `_count`.
    Histogram,
    /// A value per `quantile`, `_sum` and `_count`.
    Summary,
    /// No type given.
    #[default]
    Untyped,
    /// OpenMetrics: labels with information, with the value 1 and the suffix `_info`.
    Info,
    /// OpenMetrics: one series per state, 0 or 1.
    StateSet,
    /// OpenMetrics: a histogram of current values, `_bucket{le}`, `_gsum` and `_gcount`.
    GaugeHistogram,
}

impl ExpositionType {
    /// Its name on a `# TYPE` line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
            Self::Untyped => "untyped",
            Self::Info => "info",
            Self::StateSet => "stateset",
            Self::GaugeHistogram => "gaugehistogram",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "counter" => Self::Counter,
            "gauge" => Self::Gauge,
            "histogram" => Self::Histogram,
            "summary" => Self::Summary,
            "untyped" | "unknown" => Self::Untyped,
            "info" => Self::Info,
            "stateset" => Self::StateSet,
            "gaugehistogram" => Self::GaugeHistogram,
            _ => return None,
        })
    }
}

/// Parts of the previous lines. Pages repeat themselves, and comparing is faster than parsing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Previous<'a> {
    /// The last name of a sample or family.
    pub(super) name: &'a str,
    labels: PreviousLabels<'a>,
}

/// Parses the comment at `cursor` to its end; `None` for a plain comment.
pub(super) fn comment<'a>(
    cursor: &mut Cursor<'a>,
    previous: &mut Previous<'a>,
) -> Result<Option<Line<'a>>, ErrorKind> {
    cursor.eat(b'#');
    cursor.blanks();
    match cursor.word() {
        "HELP" => {
            let family = family(cursor, previous)?;
            let text = unescape(cursor.line());
            Ok(Some(Line::Help { family, text }))
        }
        "TYPE" => {
            let family = family(cursor, previous)?;
            let kind = cursor.parse_word(ExpositionType::from_name, ErrorKind::Type)?;
            end(cursor)?;
            Ok(Some(Line::Type { family, kind }))
        }
        _ => {
            cursor.skip_line();
            Ok(None)
        }
    }
}

fn family<'a>(cursor: &mut Cursor<'a>, previous: &mut Previous<'a>) -> Result<&'a str, ErrorKind> {
    cursor.blanks();
    let family = cursor.metric_name(cursor.known(previous.name))?;
    if !cursor.at_word_end() {
        return Err(ErrorKind::MetricName);
    }
    cursor.blanks();
    previous.name = family;
    Ok(family)
}

/// Parses the sample at `cursor`, whose name is `known` up to there, to the end of its line.
#[inline]
pub(super) fn sample<'a>(
    cursor: &mut Cursor<'a>,
    previous: &mut Previous<'a>,
    known: usize,
) -> Result<Sample<'a>, ErrorKind> {
    let name = cursor.metric_name(known)?;
    previous.name = name;
    if cursor.peek() != Some(b'{') && !cursor.at_word_end() {
        return Err(ErrorKind::MetricName);
    }
    cursor.blanks();
    let labels = Labels::read(cursor, &mut previous.labels)?;
    cursor.blanks();
    let value = value(cursor)?;
    // Most lines end here.
    let timestamp = match cursor.peek() {
        Some(b'\n') => None,
        _ => timestamp(cursor)?,
    };
    Ok(Sample {
        name,
        labels,
        value,
        timestamp,
    })
}

#[inline]
fn value(cursor: &mut Cursor<'_>) -> Result<f64, ErrorKind> {
    let start = *cursor;
    if let Some((value, length)) = number::exact(cursor.rest()) {
        cursor.skip(length);
        if cursor.at_word_end() {
            return Ok(value);
        }
    }
    *cursor = start;
    cursor.parse_word(|word| word.parse().ok(), ErrorKind::Value)
}

/// The optional timestamp after the value. vLLM writes none.
#[cold]
fn timestamp(cursor: &mut Cursor<'_>) -> Result<Option<i64>, ErrorKind> {
    cursor.blanks();
    if cursor.at_line_end() || cursor.peek() == Some(b'#') {
        return end(cursor).map(|()| None);
    }
    let timestamp = cursor.parse_word(|word| word.parse().ok(), ErrorKind::Timestamp)?;
    end(cursor).map(|()| Some(timestamp))
}

/// Moves to the end of the line; only blanks and an OpenMetrics exemplar may precede it.
fn end(cursor: &mut Cursor<'_>) -> Result<(), ErrorKind> {
    cursor.blanks();
    if cursor.rest().starts_with(b"# {") {
        cursor.skip_line();
    }
    if cursor.at_line_end() {
        Ok(())
    } else {
        Err(ErrorKind::LineEnd)
    }
}
