//! A URL that may hold a password, which is never shown.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// What stands in place of a password.
const MASK: &str = "<secret>";

/// A URL as it was given. Printed, logged and serialized, its password is masked; only [`Address::as_given`] tells it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Address(String);

impl Address {
    /// The URL with its password, to connect with.
    #[must_use]
    pub fn as_given(&self) -> &str {
        &self.0
    }
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

/// `url` with a password replaced. By its text, so that one which is no URL gives nothing away either.
pub(crate) fn masked(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    // A password may hold what should have been encoded, so what follows the last @ of all is surely none.
    let at = rest[..end].rfind('@').or_else(|| rest.rfind('@'));
    let Some((user, _)) = at.and_then(|at| rest[..at].split_once(':')) else {
        return url.to_owned();
    };
    let host = &rest[at.map_or(0, |at| at + 1)..];
    let scheme = if scheme.is_empty() {
        String::new()
    } else {
        format!("{scheme}://")
    };
    format!("{scheme}{user}:{MASK}@{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for (url, shown) in [
            ("http://a:8000", "http://a:8000"),
            ("http://user@a:8000/x", "http://user@a:8000/x"),
            (
                "http://user:hunter2@a:8000/x",
                "http://user:<secret>@a:8000/x",
            ),
            ("http://:hunter2@a", "http://:<secret>@a"),
            ("user:hunter2@a", "user:<secret>@a"),
            ("http://user:hunter2/3@a/x", "http://user:<secret>@a/x"),
            ("http://user:hunt@er2@a", "http://user:<secret>@a"),
            ("http://a/path?x=a:b", "http://a/path?x=a:b"),
        ] {
            let address = Address::from(url.to_owned());
            assert_eq!(address.to_string(), shown);
            assert_eq!(format!("{address:?}"), format!("{shown:?}"));
            assert_eq!(serde_json::json!(address), shown);
            assert_eq!(address.as_given(), url);
        }
    }
}
