//! Time spans in settings: `500ms`, `10s`, `1m30s`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::fmt::friendly::{Designator, SpanParser, SpanPrinter};
use serde::{Deserialize, Serialize};

use roofline::units::Seconds;

/// The longest span: sums of times and spans stay within the range of the clock.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// A non-negative time span of at most ten years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeSpan(pub Duration);

impl TimeSpan {
    /// Its length in seconds.
    #[must_use]
    pub const fn seconds(self) -> Seconds {
        Seconds(self.0.as_secs_f64())
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let printer = SpanPrinter::new().designator(Designator::Compact);
        formatter.write_str(&printer.unsigned_duration_to_string(&self.0))
    }
}

/// Parses a target, which is longer than nothing.
///
/// # Errors
/// Text that is no duration, and 0.
pub fn target(text: &str) -> Result<TimeSpan, String> {
    let span: TimeSpan = text.parse()?;
    if span.0.is_zero() {
        return Err("0 is no target".to_owned());
    }
    Ok(span)
}

impl FromStr for TimeSpan {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let span = SpanParser::new()
            .parse_unsigned_duration(text)
            .map_err(|_| format!("`{text}` is not a duration such as 500ms, 10s or 1m30s"))?;
        if span > LONGEST {
            return Err(format!("`{text}` is longer than ten years"));
        }
        Ok(Self(span))
    }
}

impl TryFrom<String> for TimeSpan {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<TimeSpan> for String {
    fn from(span: TimeSpan) -> Self {
        span.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_printed_alike() {
        for text in ["500ms", "10s", "1m30s"] {
            let span: TimeSpan = text.parse().unwrap();
            let again: TimeSpan = span.to_string().replace(' ', "").parse().unwrap();
            assert_eq!(again, span);
        }
        assert!("15".parse::<TimeSpan>().is_err());
        assert!("-5s".parse::<TimeSpan>().is_err());
        assert!("18446744073709551615s".parse::<TimeSpan>().is_err());
    }

    #[test]
    fn a_target_is_longer_than_nothing() {
        assert!(target("500ms").is_ok());
        assert_eq!(target("0s").unwrap_err(), "0 is no target");
        assert!(target("-1s").unwrap_err().contains("not a duration"));
    }
}
