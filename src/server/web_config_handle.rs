//! What the web configuration says, made ready and in force, and replaced as a whole while requests go on.

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

/// What a web configuration file says, made ready.
#[derive(Clone, Debug, Default)]
pub struct ActiveWebConfig {
    web_config: WebConfigFile,
    door: Option<BasicAuth>,
    headers: HeaderMap,
    tls: Option<tls::Config>,
    /// The files they were read from, as they were then.
    files: Vec<Stamp>,
}

/// A file, and when it was last changed.
type Stamp = (PathBuf, Option<SystemTime>);

fn stamp(file: &Path) -> Stamp {
    let changed = std::fs::metadata(file).and_then(|metadata| metadata.modified());
    (file.to_owned(), changed.ok())
}

impl ActiveWebConfig {
    /// The rules of `file`, and of the certificates it names; without a file, everybody may read.
    ///
    /// # Errors
    /// [`WebConfigError`], which names the file and the key.
    pub fn read(file: Option<&Path>) -> Result<Self, WebConfigError> {
        let Some(file) = file else {
            return Ok(Self::default());
        };
        // Looked at before they are read: what is written meanwhile is seen as a change.
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

    /// Whether a file they were read from has changed since.
    #[must_use]
    pub fn are_outdated(&self) -> bool {
        self.files.iter().any(|before| stamp(&before.0) != *before)
    }

    /// `https` or `http`.
    #[must_use]
    pub const fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

/// Where the rules in force are.
#[derive(Clone, Debug)]
pub struct WebConfigHandle {
    rules: Arc<watch::Sender<Arc<ActiveWebConfig>>>,
    encryption: Option<tls::Encryption>,
}

impl WebConfigHandle {
    /// A handle that goes by `rules`.
    #[must_use]
    pub fn new(rules: ActiveWebConfig) -> Self {
        Self {
            encryption: rules.tls.clone().map(tls::encryption),
            rules: Arc::new(watch::Sender::new(Arc::new(rules))),
        }
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> Arc<ActiveWebConfig> {
        Arc::clone(&self.rules.borrow())
    }

    /// How connections are encrypted.
    pub(super) const fn encryption(&self) -> Option<&tls::Encryption> {
        self.encryption.as_ref()
    }

    /// Applies `rules` from the next request and the next connection on. Who is known to have the right password is remembered only
    /// if no user changed. `ActiveWebConfig` of the other scheme needs a new listener and is not adopted here.
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

/// Lets in who may, and adds the headers that are set.
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
