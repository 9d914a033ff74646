//! URLs of servers and the options of requests to them. A URL may contain secrets, which are never shown.

mod servers;

pub use servers::Servers;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use serde::{Deserialize, Serialize, Serializer};

/// Replacement of a secret.
pub(crate) const MASK: &str = "<secret>";

/// A URL as configured. Printing, logging and serialising it masks possible secrets; only [`Address::as_given`] returns the original.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Address(String);

/// Options of the requests to a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestOptions {
    /// File with the bearer token, sent only to this server.
    pub key_file: Option<PathBuf>,
    /// PEM file with the CAs that its certificate is verified against; the system's CAs without one.
    pub ca_file: Option<PathBuf>,
    /// Time limit for a whole page.
    pub limit: Duration,
}

impl Address {
    /// The URL with its secrets, to connect with.
    #[must_use]
    pub(crate) fn as_given(&self) -> &str {
        &self.0
    }

    /// The masked form that identifies the server, the same for all spellings of its URL.
    fn server(&self) -> String {
        let given = without_page(&self.0);
        let spelled = Url::parse(given).map_or_else(|_| given.to_owned(), String::from);
        masked(spelled.trim_end_matches('/'))
    }
}

/// `http://host:8000`, `http://host:8000/` and `http://host:8000/metrics` all name one server: the first of them for `url`.
pub(crate) fn without_page(url: &str) -> &str {
    url.trim_end_matches('/').trim_end_matches("/metrics")
}

impl From<String> for Address {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&masked(&self.0))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&masked(&self.0), formatter)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&masked(&self.0))
    }
}

/// `url` with all possible secrets replaced: a password, a user name without a password (which may be a token), and the values of the
/// query. Works on the text, so that an invalid URL shows no secrets either.
pub(crate) fn masked(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    // A password may contain characters that should have been encoded, so only the text after the very last @ is safe.
    let at = rest[..end].rfind('@').or_else(|| {
        let password = rest[..end].contains(':');
        rest.rfind('@').filter(|_| password)
    });
    let Some(at) = at else {
        return scheme + &masked_query(rest);
    };
    let host = masked_query(&rest[at + 1..]);
    match rest[..at].split_once(':') {
        Some((user, _)) => format!("{scheme}{user}:{MASK}@{host}"),
        None => format!("{scheme}{MASK}@{host}"),
    }
}

/// `rest` of a URL with the values of its query masked, and without its fragment.
fn masked_query(rest: &str) -> String {
    let rest = rest.split('#').next().unwrap_or(rest);
    let Some((path, query)) = rest.split_once('?') else {
        return rest.to_owned();
    };
    let masked = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) => format!("{name}={MASK}"),
        None => MASK.to_owned(),
    });
    format!("{path}?{}", masked.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        for (url, shown) in [
            ("http://a:8000", "http://a:8000"),
            ("http://token@a:8000/x", "http://<secret>@a:8000/x"),
            (
                "http://user:hunter2@a:8000/x",
                "http://user:<secret>@a:8000/x",
            ),
            ("http://:hunter2@a", "http://:<secret>@a"),
            ("user:hunter2@a", "user:<secret>@a"),
            ("http://user:hunter2/3@a/x", "http://user:<secret>@a/x"),
            ("http://user:hunt@er2@a", "http://user:<secret>@a"),
            (
                "http://a/p?api_key=k&x",
                "http://a/p?api_key=<secret>&<secret>",
            ),
            ("http://a/p?x=me@b#frag", "http://a/p?x=<secret>"),
            ("http://t@a/?k=v", "http://<secret>@a/?k=<secret>"),
        ] {
            let address = Address::from(url.to_owned());
            assert_eq!(address.to_string(), shown);
            assert_eq!(format!("{address:?}"), format!("{shown:?}"));
            assert_eq!(serde_json::json!(address), shown);
            assert_eq!(address.as_given(), url);
        }
    }
}
