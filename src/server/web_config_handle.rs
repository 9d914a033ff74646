//! The web configuration in force, which is replaced as a whole while requests continue.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::watch;

use super::basic_auth::{self, BasicAuth};
use super::tls;
use super::web_config::{WebConfigError, WebConfigFile};

/// A web configuration file, loaded.
#[derive(Clone, Debug, Default)]
pub struct ActiveWebConfig {
    web_config: WebConfigFile,
    door: Option<BasicAuth>,
    headers: HeaderMap,
    tls: Option<tls::Config>,
    /// The files that it was loaded from, with their timestamps.
    files: Vec<Stamp>,
}

/// A file with the time of its last change.
type Stamp = (PathBuf, Option<SystemTime>);

fn stamp(file: &Path) -> Stamp {
    let changed = std::fs::metadata(file).and_then(|metadata| metadata.modified());
    (file.to_owned(), changed.ok())
}

impl ActiveWebConfig {
    /// Loads the configuration in `file`, and the certificates it names; without a file, there is no protection.
    ///
    /// # Errors
    /// [`WebConfigError`], which names the file and the key.
    pub fn read(file: Option<&Path>) -> Result<Self, WebConfigError> {
        let Some(file) = file else {
            return Ok(Self::default());
        };
        // Timestamps are taken before the files are read: a write in between counts as a change.
        let own = stamp(file);
        let web_config = WebConfigFile::read(file)?;
        let failed = |problem: String| WebConfigError {
            file: file.to_owned(),
            problem,
        };
        Ok(Self {
            files: [own]
                .into_iter()
                .chain(web_config.files().map(stamp))
                .collect(),
            door: BasicAuth::of(&web_config.users),
            headers: web_config.http.headers().map_err(failed)?,
            tls: web_config
                .tls
                .as_ref()
                .map(tls::config)
                .transpose()
                .map_err(failed)?,
            web_config,
        })
    }

    /// Whether one of its files has changed since.
    #[must_use]
    pub(crate) fn are_outdated(&self) -> bool {
        self.files.iter().any(|before| stamp(&before.0) != *before)
    }

    /// `https` or `http`.
    #[must_use]
    pub const fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

/// Publishes the configuration in force.
#[derive(Clone, Debug)]
pub struct WebConfigHandle {
    rules: Arc<watch::Sender<Arc<ActiveWebConfig>>>,
    encryption: Option<tls::Encryption>,
}

impl WebConfigHandle {
    /// A handle with the configuration `rules`.
    #[must_use]
    pub fn new(rules: ActiveWebConfig) -> Self {
        Self {
            encryption: rules.tls.clone().map(tls::encryption),
            rules: Arc::new(watch::Sender::new(Arc::new(rules))),
        }
    }

    /// The configuration in force.
    #[must_use]
    pub fn rules(&self) -> Arc<ActiveWebConfig> {
        Arc::clone(&self.rules.borrow())
    }

    /// The TLS configuration.
    pub(super) const fn encryption(&self) -> Option<&tls::Encryption> {
        self.encryption.as_ref()
    }

    /// Applies `rules` from the next request and the next connection on. Verified credentials are kept only if no user changed. A change of
    /// the scheme needs a new listener and is not applied here.
    pub fn adopt(&self, mut rules: ActiveWebConfig) {
        let before = self.rules();
        if before.web_config.users == rules.web_config.users {
            rules.door.clone_from(&before.door);
        }
        if let Some((encryption, config)) = self.encryption.as_ref().zip(rules.tls.clone()) {
            tls::renew(encryption, config);
        }
        self.rules.send_replace(Arc::new(rules));
    }
}

/// Authenticates the request, and adds the configured headers.
pub(super) async fn check(
    State(web_config_handle): State<WebConfigHandle>,
    request: Request,
    next: Next,
) -> Response {
    let rules = web_config_handle.rules();
    let mut response = match &rules.door {
        Some(door) => basic_auth::check(door, request, next).await,
        None => next.run(request).await,
    };
    for (name, value) in &rules.headers {
        response.headers_mut().insert(name, value.clone());
    }
    response
}
