//! logfmt: `ts=… level=… msg=… key=value`, as Loki and Prometheus's own programs read and write it.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::registry::LookupSpan;

/// Writes an event as one line of logfmt. External text in an event, such as the name of a model, can neither end the line nor reach the
/// terminal as a control sequence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Logfmt;

impl<S, N> FormatEvent<S, N> for Logfmt
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        writer.write_str("ts=")?;
        SystemTime.format_time(&mut writer)?;
        let level = event.metadata().level().as_str().to_lowercase();
        write!(writer, " level={level}")?;
        let mut fields = EventFields::default();
        event.record(&mut fields);
        write!(writer, " msg={}", quoted(&fields.message))?;
        writeln!(writer, "{}", fields.rest)
    }
}

/// The fields of an event: its message, and the formatted other fields.
#[derive(Debug, Default)]
struct EventFields {
    message: String,
    rest: String,
}

impl Visit for EventFields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(self.rest, " {}={}", field.name(), quoted(value));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// `value`, quoted if necessary, with every control character escaped as in JSON.
fn quoted(value: &str) -> String {
    let plain = |char: char| !char.is_control() && !char.is_whitespace() && !"=\"\\".contains(char);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    let mut text = String::with_capacity(value.len() + 2);
    text.push('"');
    for char in value.chars() {
        match char {
            '"' | '\\' => text.extend(['\\', char]),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            // Control characters are in the first plane of Unicode. Some readers treat line and paragraph separators as line ends.
            _ if char.is_control() || matches!(char, '\u{2028}' | '\u{2029}') => {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\u{:04x}", u32::from(char));
            }
            _ => text.push(char),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A quoted value is a JSON string, which logfmt readers expect; one without quotes is a word.
        #[test]
        fn every_value_is_read_again(value in any::<String>()) {
            let written = quoted(&value);
            prop_assert!(!written.contains(char::is_control));
            if written.starts_with('"') {
                prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), value);
            } else {
                prop_assert!(!written.contains([' ', '=', '"']));
                prop_assert_eq!(written, value);
            }
        }
    }

    #[test]
    fn a_forged_line_stays_one_line() {
        assert_eq!(quoted("a\nlevel=error"), "\"a\\nlevel=error\"");
        assert_eq!(quoted("\u{1b}[2J"), "\"\\u001b[2J\"");
        assert_eq!(quoted(""), "\"\"");
        assert_eq!(quoted("http://a:1/b"), "http://a:1/b");
    }
}
