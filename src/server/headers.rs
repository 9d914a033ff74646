//! Headers of every answer: `http_server_config` of the web configuration file.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

/// Settings for all answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HttpSettings {
    /// Accepted for compatibility; only HTTP/1.1 is served.
    http2: bool,
    /// Headers added to every answer.
    headers: BTreeMap<Header, String>,
}

/// The headers that the exporter toolkit allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
enum Header {
    #[serde(rename = "Content-Security-Policy")]
    ContentSecurityPolicy,
    #[serde(rename = "Strict-Transport-Security")]
    StrictTransportSecurity,
    #[serde(rename = "X-Content-Type-Options")]
    XContentTypeOptions,
    #[serde(rename = "X-Frame-Options")]
    XFrameOptions,
    #[serde(rename = "X-XSS-Protection")]
    XXssProtection,
}

impl Header {
    const fn name(self) -> HeaderName {
        HeaderName::from_static(match self {
            Self::ContentSecurityPolicy => "content-security-policy",
            Self::StrictTransportSecurity => "strict-transport-security",
            Self::XContentTypeOptions => "x-content-type-options",
            Self::XFrameOptions => "x-frame-options",
            Self::XXssProtection => "x-xss-protection",
        })
    }
}

impl HttpSettings {
    /// Whether HTTP/2 is requested.
    pub(super) const fn http2(&self) -> bool {
        self.http2
    }

    /// The headers to add.
    ///
    /// # Errors
    /// An invalid header value.
    pub(super) fn headers(&self) -> Result<HeaderMap, String> {
        let given = self.headers.iter().filter(|(_, value)| !value.is_empty());
        given
            .map(|(header, value)| {
                let name = header.name();
                let value = HeaderValue::from_str(value).map_err(|_| {
                    format!("http_server_config.headers.{name}: what is set is no value of a header; give one line of text")
                })?;
                Ok((name, value))
            })
            .collect()
    }
}
