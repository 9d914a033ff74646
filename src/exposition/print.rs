//! Writes lines as text, such that parsing them again gives the same lines.

use std::fmt;

use super::labels::Labels;
use super::line::{ExpositionType, Line, Sample};

/// `value` escaped for the quotes of a label.
#[must_use]
pub fn escape_label_value(value: &str) -> String {
    escape_help(value).replace('"', "\\\"")
}

/// `text` escaped for a `# HELP` line.
#[must_use]
pub fn escape_help(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n")
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Help { family, text } => write!(f, "# HELP {family} {}", escape_help(text)),
            Self::Type { family, kind } => write!(f, "# TYPE {family} {kind}"),
            Self::Sample(sample) => sample.fmt(f),
        }
    }
}

impl fmt::Display for Sample<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} ", self.name, self.labels)?;
        match self.value {
            f64::INFINITY => f.write_str("+Inf")?,
            f64::NEG_INFINITY => f.write_str("-Inf")?,
            finite_or_nan => write!(f, "{finite_or_nan:?}")?,
        }
        match self.timestamp {
            Some(milliseconds) => write!(f, " {milliseconds}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut opening = '{';
        for (name, value) in self.raw() {
            write!(f, "{opening}{name}=\"{value}\"")?;
            opening = ',';
        }
        if opening == ',' {
            f.write_str("}")
        } else {
            Ok(())
        }
    }
}

impl fmt::Display for ExpositionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
