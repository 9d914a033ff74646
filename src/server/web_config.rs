//! Who may read our pages and how: the web configuration file of the Prometheus exporter toolkit, as far as it is supported here.
//!
//! ```yaml
//! tls_server_config:
//!   cert_file: server.crt
//!   key_file: server.key
//!   min_version: TLS13                             # TLS12 (default) or TLS13; max_version as well
//!   client_auth_type: RequireAndVerifyClientCert   # or VerifyClientCertIfGiven, NoClientCert (default)
//!   client_ca_file: clients.crt
//! http_server_config:
//!   headers: { Strict-Transport-Security: max-age=31536000 }
//! basic_auth_users: { prometheus: $2y$10$… }       # bcrypt, as `htpasswd -nBC 10 "" | tr -d ':\n'` makes it
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::regular_file::{self, LARGEST_SETTINGS};

use super::headers::HttpSettings;

/// The supported settings, for the error message.
const SUPPORTED: &str = "of the exporter toolkit's settings, tls_server_config (cert_file, key_file, client_auth_type, client_ca_file, \
                         min_version, max_version), http_server_config (headers; http2 only as false) and basic_auth_users are supported";

/// Protection of our pages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebConfigFile {
    /// TLS settings, if connections are encrypted.
    #[serde(rename = "tls_server_config")]
    pub tls: Option<TlsSettings>,
    /// Headers of answers.
    #[serde(rename = "http_server_config", default)]
    pub http: HttpSettings,
    /// bcrypt hashes of passwords by user; empty if there is no authentication.
    #[serde(rename = "basic_auth_users", default)]
    pub users: BTreeMap<String, PasswordHash>,
}

/// TLS settings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsSettings {
    /// PEM file of the certificate chain.
    #[serde(rename = "cert_file")]
    pub certificate: PathBuf,
    /// PEM file of the private key.
    #[serde(rename = "key_file")]
    pub key: PathBuf,
    /// Whether clients present a certificate.
    #[serde(rename = "client_auth_type", default)]
    pub client_auth: ClientAuth,
    /// PEM file of the CAs that client certificates are verified against.
    #[serde(rename = "client_ca_file")]
    pub client_ca: Option<PathBuf>,
    /// Minimum version.
    #[serde(rename = "min_version", default = "oldest")]
    pub oldest: TlsVersion,
    /// Maximum version.
    #[serde(rename = "max_version", default = "newest")]
    pub newest: TlsVersion,
}

const fn oldest() -> TlsVersion {
    TlsVersion::Tls12
}

const fn newest() -> TlsVersion {
    TlsVersion::Tls13
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) enum TlsVersion {
    /// 1.2.
    #[serde(rename = "TLS12")]
    Tls12,
    /// 1.3.
    #[serde(rename = "TLS13")]
    Tls13,
}

/// Whether clients present a certificate. Go's modes that request a certificate without verifying it protect nothing, and are rejected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum ClientAuth {
    /// No certificate is requested.
    #[default]
    NoClientCert,
    /// A certificate is optional, and must be valid.
    VerifyClientCertIfGiven,
    /// A valid certificate is required.
    RequireAndVerifyClientCert,
}

/// A bcrypt hash. It is never displayed: anyone who has it can guess offline.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct PasswordHash(String);

impl PasswordHash {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Its cost, as a power of 2; 0 for an invalid hash.
    pub(super) fn cost(&self) -> u32 {
        let parts = self.0.parse::<bcrypt::HashParts>();
        parts.map_or(0, |parts| parts.get_cost())
    }
}

impl From<String> for PasswordHash {
    fn from(hash: String) -> Self {
        Self(hash)
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("<secret>")
    }
}

/// Why the web configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("--web.config.file {}: {problem}", file.display())]
pub struct WebConfigError {
    /// The file.
    pub file: PathBuf,
    /// The problem, its position, and the accepted values.
    pub problem: String,
}

impl WebConfigFile {
    /// Reads `file`; paths in it are relative to its directory.
    ///
    /// # Errors
    /// [`WebConfigError`], which names the file and the key.
    pub(crate) fn read(file: &Path) -> Result<Self, WebConfigError> {
        let read = || {
            let text = regular_file::text(file, LARGEST_SETTINGS)
                .map_err(|error| format!("cannot read it: {error}"))?;
            // A snippet of the file could contain a hash.
            let options = serde_saphyr::options! { with_snippet: false };
            let mut web_config: Self = serde_saphyr::from_str_with_options(&text, options)
                .map_err(|error| format!("{error}; {SUPPORTED}"))?;
            web_config.check()?;
            web_config.locate(file.parent().unwrap_or(Path::new("")));
            Ok(web_config)
        };
        read().map_err(|problem: String| WebConfigError {
            file: file.to_owned(),
            problem,
        })
    }

    /// The files that it names.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.tls.iter().flat_map(|tls| {
            let client_ca = tls.client_ca.as_deref();
            [tls.certificate.as_path(), tls.key.as_path()]
                .into_iter()
                .chain(client_ca)
        })
    }

    fn check(&self) -> Result<(), String> {
        if self.http.http2() {
            return Err(
                "http_server_config.http2: only HTTP/1.1 is served; set false, or leave it out"
                    .to_owned(),
            );
        }
        let hashed = |hash: &PasswordHash| hash.0.parse::<bcrypt::HashParts>().is_ok();
        if let Some((user, _)) = self.users.iter().find(|(_, hash)| !hashed(hash)) {
            return Err(format!(
                "the password of basic_auth_users.{user} is no bcrypt hash; make one with: htpasswd -nBC 10 \"\" | tr -d ':\\n'"
            ));
        }
        self.tls.as_ref().map_or(Ok(()), TlsSettings::check)
    }

    fn locate(&mut self, directory: &Path) {
        if let Some(tls) = &mut self.tls {
            tls.certificate = directory.join(&tls.certificate);
            tls.key = directory.join(&tls.key);
            tls.client_ca = tls.client_ca.as_ref().map(|file| directory.join(file));
        }
    }
}

impl TlsSettings {
    fn check(&self) -> Result<(), String> {
        let wrong = if cfg!(not(feature = "tls")) {
            "this build has no TLS; build it with the feature `tls`"
        } else if self.oldest > self.newest {
            "min_version is above max_version"
        } else {
            match (self.client_auth, &self.client_ca) {
                (ClientAuth::NoClientCert, Some(_)) => {
                    "client_ca_file checks nobody while client_auth_type is NoClientCert; set RequireAndVerifyClientCert"
                }
                (ClientAuth::NoClientCert, None) | (_, Some(_)) => return Ok(()),
                (_, None) => "client_auth_type needs client_ca_file to check certificates against",
            }
        };
        Err(format!("tls_server_config: {wrong}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<WebConfigFile, WebConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("web.yaml");
        std::fs::write(&file, text).unwrap();
        WebConfigFile::read(&file)
    }

    #[test]
    fn an_empty_file_protects_nothing() {
        assert_eq!(read("{}").unwrap(), WebConfigFile::default());
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        let tls =
            |more: &str| format!("tls_server_config: {{cert_file: a, key_file: b, {more}}}\n");
        for (text, expected) in [
            (
                tls("cipher_suites: [TLS_AES_128_GCM_SHA256]"),
                "cipher_suites",
            ),
            (tls("client_allowed_sans: [a]"), "client_allowed_sans"),
            (tls("min_version: TLS10"), "TLS10"),
            (
                tls("min_version: TLS13, max_version: TLS12"),
                "min_version is above",
            ),
            (
                tls("client_auth_type: RequireAnyClientCert, client_ca_file: c"),
                "RequireAnyClientCert",
            ),
            (
                tls("client_auth_type: RequireAndVerifyClientCert"),
                "needs client_ca_file",
            ),
            (tls("client_ca_file: c"), "NoClientCert"),
            ("http_server_config: {http2: true}\n".to_owned(), "http2"),
            (
                "http_server_config: {headers: {X-Powered-By: me}}\n".to_owned(),
                "X-Powered-By",
            ),
            (
                "rate_limit: {interval: 1s, burst: 1}\n".to_owned(),
                "rate_limit",
            ),
        ] {
            let error = read(&text).unwrap_err().to_string();
            assert!(
                error.contains(expected) && error.contains("web.yaml"),
                "{error}"
            );
        }
    }

    #[test]
    fn no_error_and_no_debug_output_shows_a_secret() {
        let error = read("basic_auth_users: {prometheus: hunter2}\n").unwrap_err();
        assert!(error.to_string().contains("basic_auth_users.prometheus"));
        let hash = bcrypt::hash("x", 4).unwrap();
        let wrong = read(&format!(
            "basic_auth_users:\n  a: {hash}\nrate_limit: {{}}\n"
        ))
        .unwrap_err();
        let good = read(&format!("basic_auth_users: {{a: \"{hash}\"}}\n")).unwrap();
        for shown in [error.to_string(), wrong.to_string(), format!("{good:?}")] {
            assert!(
                !shown.contains("hunter2") && !shown.contains(&hash),
                "{shown}"
            );
        }
    }
}
