//! One line of a page.

use std::borrow::Cow;

use super::cursor::{Cursor, Fault};
use super::error::ErrorKind;
use super::labels::{Labels, unescape};
use super::number;

/// A line that says something.
#[derive(Clone, Debug, PartialEq)]
pub enum Line<'a> {
    /// `# HELP family text`
    Help {
        /// The family's name.
        family: &'a str,
        /// What it measures; copied only if it has escapes.
        text: Cow<'a, str>,
    },
    /// `# TYPE family kind`
    Type {
        /// The family's name.
        family: &'a str,
        /// Its type.
        kind: Kind,
    },
    /// `name{labels} value timestamp`
    Sample(Sample<'a>),
}

/// One value of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample<'a> {
    /// The sample's name; `_bucket`, `_sum` and `_count` belong to it.
    pub name: &'a str,
    /// Its labels, in the order of the page.
    pub labels: Labels<'a>,
    /// Its value; may be infinite or not a number.
    pub value: f64,
    /// Milliseconds since the Unix epoch, if the page says when it was taken.
    pub timestamp: Option<i64>,
}

/// The type of a family. Beside those of text 0.0.4 there are those of OpenMetrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Only goes up, and starts from 0 anew.
    Counter,
    /// Goes up and down.
    Gauge,
    /// `_bucket{le}`, `_sum` and `_count`.
    Histogram,
    /// A value per `quantile`, `_sum` and `_count`.
    Summary,
    /// Not said.
    #[default]
    Untyped,
    /// OpenMetrics: labels that describe, with the value 1 and the suffix `_info`.
    Info,
    /// OpenMetrics: one series per state, 0 or 1.
    StateSet,
    /// OpenMetrics: a histogram of present values, `_bucket{le}`, `_gsum` and `_gcount`.
    GaugeHistogram,
}

impl Kind {
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

/// Reads one line without its end; `None` if it says nothing (blank, or another comment).
pub(super) fn read(line: &str) -> Result<Option<Line<'_>>, Fault> {
    let mut cursor = Cursor::new(line);
    cursor.blanks();
    match cursor.peek() {
        None => Ok(None),
        Some(b'#') => comment(&mut cursor),
        Some(_) => sample(&mut cursor).map(|sample| Some(Line::Sample(sample))),
    }
}

fn comment<'a>(cursor: &mut Cursor<'a>) -> Result<Option<Line<'a>>, Fault> {
    cursor.skip(1);
    cursor.blanks();
    match cursor.word() {
        "HELP" => help(cursor).map(Some),
        "TYPE" => kind(cursor).map(Some),
        _ => Ok(None),
    }
}

fn help<'a>(cursor: &mut Cursor<'a>) -> Result<Line<'a>, Fault> {
    let family = family(cursor)?;
    Ok(Line::Help {
        family,
        text: unescape(cursor.rest()),
    })
}

fn kind<'a>(cursor: &mut Cursor<'a>) -> Result<Line<'a>, Fault> {
    let family = family(cursor)?;
    let at = cursor.at();
    let name = cursor.word();
    let Some(kind) = Kind::from_name(name) else {
        return Err(cursor.fault_at(at, ErrorKind::UnknownType(name.into())));
    };
    end(cursor)?;
    Ok(Line::Type { family, kind })
}

fn family<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, Fault> {
    cursor.blanks();
    let family = cursor.metric_name()?;
    if !matches!(cursor.peek(), None | Some(b' ' | b'\t')) {
        return Err(cursor.fault(ErrorKind::MetricName));
    }
    cursor.blanks();
    Ok(family)
}

fn sample<'a>(cursor: &mut Cursor<'a>) -> Result<Sample<'a>, Fault> {
    let name = cursor.metric_name()?;
    if !matches!(cursor.peek(), None | Some(b'{' | b' ' | b'\t')) {
        return Err(cursor.fault(ErrorKind::MetricName));
    }
    cursor.blanks();
    let labels = Labels::read(cursor)?;
    cursor.blanks();
    let value = value(cursor)?;
    cursor.blanks();
    let timestamp = timestamp(cursor)?;
    end(cursor)?;
    Ok(Sample {
        name,
        labels,
        value,
        timestamp,
    })
}

fn value(cursor: &mut Cursor<'_>) -> Result<f64, Fault> {
    let at = cursor.at();
    match cursor.word() {
        "" => Err(cursor.fault(ErrorKind::Value)),
        word => number::float(word)
            .ok_or_else(|| cursor.fault_at(at, ErrorKind::NotANumber(word.into()))),
    }
}

fn timestamp(cursor: &mut Cursor<'_>) -> Result<Option<i64>, Fault> {
    if matches!(cursor.peek(), None | Some(b'#')) {
        return Ok(None);
    }
    let at = cursor.at();
    let word = cursor.word();
    word.parse()
        .map(Some)
        .map_err(|_| cursor.fault_at(at, ErrorKind::Timestamp(word.into())))
}

/// Nothing but blanks may be left.
fn end(cursor: &mut Cursor<'_>) -> Result<(), Fault> {
    cursor.blanks();
    match cursor.peek() {
        None => Ok(()),
        Some(b'#') => Err(cursor.fault(ErrorKind::Exemplar)),
        Some(_) => Err(cursor.fault(ErrorKind::Trailing)),
    }
}
