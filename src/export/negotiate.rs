//! Content negotiation: the text format and encoding by a client's `Accept` and `Accept-Encoding`.

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextFormat {
    /// Prometheus text 0.0.4: the default, and the fallback for unknown formats.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl TextFormat {
    /// The exact `Content-Type`; Prometheus 3 rejects a page without a known one.
    #[must_use]
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The format that `accept` prefers. Any `Accept` header gets a valid answer.
    #[must_use]
    pub(crate) fn preferred(accept: &str) -> Self {
        let mut best = (Self::Text, 0.0);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let parameters: Vec<_> = parts.filter_map(|part| part.split_once('=')).collect();
            let parameter = |name: &str| {
                parameters
                    .iter()
                    .find(|(key, _)| key.trim() == name)
                    .map(|(_, value)| value.trim().trim_matches('"'))
            };
            let format = match media {
                "application/openmetrics-text"
                    if matches!(parameter("version"), None | Some("1.0.0")) =>
                {
                    Self::OpenMetrics
                }
                "text/plain" if matches!(parameter("version"), None | Some("0.0.4")) => Self::Text,
                "*/*" | "text/*" => Self::Text,
                _ => continue,
            };
            let weight = parameter("q").map_or(Ok(1.0), str::parse).unwrap_or(0.0);
            if weight > best.1 {
                best = (format, weight);
            }
        }
        best.0
    }
}

/// Whether `accept_encoding` allows gzip.
#[must_use]
pub(crate) fn takes_gzip(accept_encoding: &str) -> bool {
    accept_encoding.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let refused = parts.any(|part| {
            part.strip_prefix("q=")
                .is_some_and(|weight| weight.parse().is_ok_and(|weight: f64| weight <= 0.0))
        });
        (name == "gzip" || name == "*") && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accept: &str, expected: TextFormat) {
        assert_eq!(TextFormat::preferred(accept), expected, "{accept}");
    }

    #[test]
    fn every_accept_gets_a_format_it_can_read() {
        check("", TextFormat::Text);
        check("*/*", TextFormat::Text);
        check(
            "text/html,application/xhtml+xml,*/*;q=0.8",
            TextFormat::Text,
        );
        check("application/json", TextFormat::Text);
        check("application/openmetrics-text", TextFormat::OpenMetrics);
        check(
            "application/openmetrics-text;version=2.0.0,text/plain;q=0.5",
            TextFormat::Text,
        );
        check(
            "text/plain;version=0.0.4;q=0.9,application/openmetrics-text;version=1.0.0;q=0.1",
            TextFormat::Text,
        );
    }

    #[test]
    fn prometheus_3_gets_openmetrics() {
        check(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            TextFormat::OpenMetrics,
        );
    }

    #[test]
    fn gzip_only_when_it_is_asked_for() {
        assert!(takes_gzip("gzip, deflate, br"));
        assert!(takes_gzip("*"));
        assert!(!takes_gzip("gzip;q=0, identity"));
        assert!(!takes_gzip(""));
    }
}
