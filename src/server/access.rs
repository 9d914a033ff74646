//! Who may read our pages and how: the web configuration file of the Prometheus exporter toolkit, as far as it is supported here.
//!
//! ```yaml
//! tls_server_config: { cert_file: server.crt, key_file: server.key }
//! basic_auth_users: { prometheus: $2y$10$… }   # bcrypt, as `htpasswd -nBC 10 "" | tr -d ':\n'` makes it
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// How our pages are protected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// Certificate and key, where pages are served over TLS.
    #[serde(rename = "tls_server_config")]
    pub tls: Option<TlsFiles>,
    /// bcrypt hashes of passwords by user; empty where everybody may read.
    #[serde(rename = "basic_auth_users", default)]
    pub users: BTreeMap<String, String>,
}

/// Where certificate and key are.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// PEM file of the certificate chain.
    #[serde(rename = "cert_file")]
    pub certificate: PathBuf,
    /// PEM file of the private key.
    #[serde(rename = "key_file")]
    pub key: PathBuf,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// It cannot be read.
    #[error("cannot read --web.config.file {}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// It is not what it should be.
    #[error("--web.config.file {}: {problem}; of the exporter toolkit's settings, tls_server_config with cert_file and key_file, and basic_auth_users are supported", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        problem: String,
    },
    /// A password is not hashed.
    #[error("--web.config.file {}: the password of basic_auth_users.{user} is no bcrypt hash; make one with: htpasswd -nBC 10 \"\" | tr -d ':\\n'", path.display())]
    NotHashed {
        /// The file.
        path: PathBuf,
        /// Whose password it is.
        user: String,
    },
    /// This build has no TLS.
    #[error("--web.config.file {} asks for TLS, and this build has none; build it with the feature `tls`", path.display())]
    NoTls {
        /// The file.
        path: PathBuf,
    },
}

impl Access {
    /// Reads `file`; paths in it are relative to its directory.
    ///
    /// # Errors
    /// [`AccessError`], which names the file and the key.
    pub fn read(file: &Path) -> Result<Self, AccessError> {
        let path = || file.to_owned();
        let text = std::fs::read_to_string(file).map_err(|error| AccessError::File {
            path: path(),
            error,
        })?;
        let mut access: Self =
            serde_saphyr::from_str(&text).map_err(|error| AccessError::Format {
                path: path(),
                problem: error.to_string(),
            })?;
        if access.tls.is_some() && cfg!(not(feature = "tls")) {
            return Err(AccessError::NoTls { path: path() });
        }
        let hashed = |hash: &str| hash.parse::<bcrypt::HashParts>().is_ok();
        if let Some((user, _)) = access.users.iter().find(|(_, hash)| !hashed(hash)) {
            return Err(AccessError::NotHashed {
                path: path(),
                user: user.clone(),
            });
        }
        let directory = file.parent().unwrap_or(Path::new(""));
        if let Some(tls) = &mut access.tls {
            tls.certificate = directory.join(&tls.certificate);
            tls.key = directory.join(&tls.key);
        }
        Ok(access)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Access, AccessError> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("web.yaml");
        std::fs::write(&file, text).unwrap();
        Access::read(&file)
    }

    #[test]
    fn an_empty_file_protects_nothing() {
        assert_eq!(read("{}").unwrap(), Access::default());
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        let error = read("tls_server_config: {cert_file: a, key_file: b, client_ca_file: c}\n");
        let error = error.unwrap_err().to_string();
        assert!(error.contains("client_ca_file"), "{error}");
        let error = read("http_server_config: {http2: true}\n")
            .unwrap_err()
            .to_string();
        assert!(error.contains("http_server_config"), "{error}");
    }

    #[test]
    fn a_password_in_the_clear_is_refused() {
        let error = read("basic_auth_users: {prometheus: secret}\n").unwrap_err();
        assert!(matches!(error, AccessError::NotHashed { ref user, .. } if user == "prometheus"));
        assert!(!error.to_string().contains("secret"));
    }
}
