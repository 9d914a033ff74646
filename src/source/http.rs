//! Fetches a page from another server, with limits on time and size; never follows a redirect to another host.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HeaderValue};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::address::{RequestOptions, masked};
use crate::regular_file::{self, LARGEST_SETTINGS};

use super::pace::Pace;
use super::resolver::OneAtATime;

/// Larger pages are not vLLM's: 1,000 adapters on 64 engines are 3 MB.
pub(crate) const LARGEST_PAGE: usize = 6 << 20;
/// Pages up to this size are read concurrently: the page of one engine has 65 KB.
const SMALL_PAGE: usize = 256 << 10;
/// Larger pages are read one at a time, so that memory does not grow with the number of servers.
static LARGE_PAGE: Semaphore = Semaphore::const_new(1);
/// Maximum number of redirects, all to the same host and port.
const MOST_REDIRECTS: usize = 3;

/// Why a page could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Connection refused, or the name does not resolve.
    #[error("cannot connect to {url}: {cause}; is the server up, and the URL right?")]
    Connect {
        /// The requested URL.
        url: String,
        /// The innermost cause.
        cause: String,
    },
    /// Timeout.
    #[error("no answer from {url} within {limit:?}; the server is busy or hangs")]
    Timeout {
        /// The requested URL.
        url: String,
        /// The limit.
        limit: Duration,
    },
    /// A status other than 200.
    #[error("{url} answered {status}{}", hint(*status))]
    Status {
        /// The requested URL.
        url: String,
        /// The status.
        status: StatusCode,
    },
    /// A redirect to another host.
    #[error("{url} redirects to another host, which is not followed; give the final URL")]
    Redirect {
        /// The requested URL.
        url: String,
    },
    /// The page exceeds the size limit.
    #[error("the page at {url} is larger than {most} bytes; is this the URL of vLLM?")]
    TooLarge {
        /// The requested URL.
        url: String,
        /// The limit.
        most: usize,
    },
    /// The page is truncated, or its compression is broken.
    #[error("the page at {url} is cut off or damaged: {cause}")]
    Damaged {
        /// The requested URL.
        url: String,
        /// The innermost cause.
        cause: String,
    },
    /// An earlier answer took too much CPU time.
    #[error(
        "the last answer of {url} took more CPU time than its share, so it is asked less often; is this the right URL?"
    )]
    Costly {
        /// The requested URL.
        url: String,
    },
    /// The API key cannot be read.
    #[error("cannot read vllm-api-key-file {}: {cause}", path.display())]
    ApiKey {
        /// The file.
        path: PathBuf,
        /// The problem.
        cause: String,
    },
    /// The CA file cannot be read.
    #[error("cannot use the CA file {}: {cause}; it must hold certificates in PEM form", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// The problem.
        cause: String,
    },
    /// The client could not be set up.
    #[error("cannot set up an HTTP client: {0}")]
    Client(String),
}

fn hint(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "; set vllm-api-key-file",
        StatusCode::NOT_FOUND => "; does the URL point at vLLM's API server?",
        _ => "",
    }
}

impl FetchError {
    /// The value of the label `reason` in `source_errors_total`.
    #[must_use]
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "connect",
            Self::Timeout { .. } => "timeout",
            Self::Status { .. } => "status",
            Self::Redirect { .. } => "redirect",
            Self::TooLarge { .. } => "too_large",
            Self::Damaged { .. } => "damaged",
            Self::Costly { .. } => "costly",
            Self::ApiKey { .. } => "configuration",
            Self::Client(_) | Self::CaFile { .. } => "client",
        }
    }

    fn of(error: &reqwest::Error, url: &Url, limit: Duration) -> Self {
        let url = shown(url);
        let cause = innermost(error);
        if error.is_timeout() {
            Self::Timeout { url, limit }
        } else if error.is_redirect() {
            Self::Redirect { url }
        } else if error.is_connect() {
            Self::Connect { url, cause }
        } else {
            Self::Damaged { url, cause }
        }
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// A client for one server.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    client: Client,
    key_file: Option<PathBuf>,
    limit: Duration,
    pace: Arc<Pace>,
}

impl Fetcher {
    /// A client for `url`.
    ///
    /// # Errors
    /// [`FetchError::CaFile`], or [`FetchError::Client`] where TLS cannot be set up, such as in an image without CA certificates.
    pub(crate) fn new(url: &Url, options: &RequestOptions) -> Result<Self, FetchError> {
        let builder = Client::builder()
            .timeout(options.limit)
            .dns_resolver(Arc::new(OneAtATime::default()))
            .redirect(redirect::Policy::custom(same_host))
            .user_agent(concat!(
                "vllm-roofline-exporter/",
                env!("CARGO_PKG_VERSION")
            ));
        let client = trusting(builder, url, options.ca_file.as_deref())?.build();
        Ok(Self {
            client: client.map_err(|error| FetchError::Client(innermost(&error)))?,
            key_file: options.key_file.clone(),
            limit: options.limit,
            pace: Arc::default(),
        })
    }

    /// The page at `url`, of at most `most` uncompressed bytes.
    ///
    /// # Errors
    /// [`FetchError`], which names the URL.
    pub(crate) async fn get(
        &self,
        url: &Url,
        accept: &'static str,
        most: usize,
    ) -> Result<Vec<u8>, FetchError> {
        self.read(url, accept, most, Ok).await
    }

    /// Fetches the page at `url`, of at most `most` uncompressed bytes, and applies `read` to it. The time of `read` counts as part of the
    /// answer's cost.
    ///
    /// # Errors
    /// [`FetchError`], which names the URL, and those of `read`.
    pub(crate) async fn read<T, E: From<FetchError>>(
        &self,
        url: &Url,
        accept: &'static str,
        most: usize,
        read: impl FnOnce(Vec<u8>) -> Result<T, E>,
    ) -> Result<T, E> {
        let Some(asking) = self.pace.ask() else {
            return Err(FetchError::Costly { url: shown(url) }.into());
        };
        let page = self.page(url, accept, most).await;
        let read = page.map_err(E::from).and_then(|page| {
            // Its turn ends when it has been read.
            let _turn = page.turn;
            read(page.bytes)
        });
        self.pace.note(&asking, read.is_ok());
        read
    }

    async fn page(&self, url: &Url, accept: &'static str, most: usize) -> Result<Body, FetchError> {
        let mut request = self
            .client
            .get(url.clone())
            .header(ACCEPT, accept)
            // Compression costs the server more than it saves on the loopback; a compressed body is still accepted.
            .header(ACCEPT_ENCODING, "identity");
        if let Some(file) = &self.key_file {
            request = request.header(AUTHORIZATION, bearer(file)?);
        }
        let response = request
            .send()
            .await
            .map_err(|error| FetchError::of(&error, url, self.limit))?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status {
                url: shown(url),
                status: response.status(),
            });
        }
        self.body(response, url, most).await
    }

    async fn body(
        &self,
        mut response: Response,
        url: &Url,
        most: usize,
    ) -> Result<Body, FetchError> {
        let too_large = || FetchError::TooLarge {
            url: shown(url),
            most,
        };
        let announced = response
            .content_length()
            .and_then(|length| usize::try_from(length).ok());
        if announced.is_some_and(|length| length > most) {
            return Err(too_large());
        }
        let mut body = Body::default();
        loop {
            let chunk = response.chunk().await;
            let chunk = chunk.map_err(|error| FetchError::of(&error, url, self.limit))?;
            let Some(chunk) = chunk else {
                return Ok(body);
            };
            if body.bytes.len() + chunk.len() > most {
                return Err(too_large());
            }
            if body.bytes.len() + chunk.len() > SMALL_PAGE && body.turn.is_none() {
                body.turn = Some(self.turn(url).await?);
            }
            body.bytes.extend_from_slice(&chunk);
        }
    }

    /// The permit for a large page; the timeout is the page's own.
    async fn turn(&self, url: &Url) -> Result<SemaphorePermit<'static>, FetchError> {
        let turn = timeout(self.limit, LARGE_PAGE.acquire()).await;
        turn.ok()
            .and_then(Result::ok)
            .ok_or_else(|| FetchError::Timeout {
                url: shown(url),
                limit: self.limit,
            })
    }
}

/// The body of a page.
#[derive(Debug, Default)]
struct Body {
    bytes: Vec<u8>,
    /// The permit, for a large page.
    turn: Option<SemaphorePermit<'static>>,
}

/// `url` for display: without secrets, and without our own query of two thousand bytes.
pub(crate) fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_query(None);
    masked(shown.as_str())
}

fn same_host(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let origin = attempt.previous().first().map(Url::origin);
    if origin == Some(attempt.url().origin()) && attempt.previous().len() <= MOST_REDIRECTS {
        attempt.follow()
    } else {
        attempt.error("redirect to another host")
    }
}

/// The key in `file` as a header. It is read for each use, so that a rotated key takes effect.
pub(crate) fn bearer(file: &Path) -> Result<HeaderValue, FetchError> {
    let failed = |cause: String| FetchError::ApiKey {
        path: file.to_owned(),
        cause,
    };
    let text =
        regular_file::text(file, LARGEST_SETTINGS).map_err(|error| failed(error.to_string()))?;
    let key = text.trim();
    if key.is_empty() {
        return Err(failed("it is empty".to_owned()));
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {key}"))
        .map_err(|_| failed("it is no key: one line of text is".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A client that verifies certificates against `ca_file`, or the system's CAs, and uses no proxy: a proxy from the environment would
/// receive the API key, and its page would be taken for vLLM's. Loads no CAs for a URL that needs none: an image without CAs must still
/// read `http://`.
#[cfg(feature = "tls")]
pub(crate) fn trusting(
    builder: reqwest::ClientBuilder,
    url: &Url,
    ca_file: Option<&Path>,
) -> Result<reqwest::ClientBuilder, FetchError> {
    crate::crypto::install();
    let builder = builder.no_proxy();
    let own = ca_file.map(authorities).transpose()?;
    Ok(match own {
        Some(own) => builder.tls_certs_only(own),
        None if url.scheme() == "https" => builder,
        None => builder.tls_certs_only([]),
    })
}

/// The certificates in `file`.
#[cfg(feature = "tls")]
fn authorities(file: &Path) -> Result<Vec<reqwest::Certificate>, FetchError> {
    let failed = |cause: String| FetchError::CaFile {
        path: file.to_owned(),
        cause,
    };
    let pem =
        regular_file::bytes(file, LARGEST_SETTINGS).map_err(|error| failed(error.to_string()))?;
    let found = reqwest::Certificate::from_pem_bundle(&pem);
    let found = found.map_err(|error| failed(innermost(&error)))?;
    if found.is_empty() {
        return Err(failed("it holds none".to_owned()));
    }
    Ok(found)
}

#[cfg(not(feature = "tls"))]
pub(crate) fn trusting(
    builder: reqwest::ClientBuilder,
    _url: &Url,
    ca_file: Option<&Path>,
) -> Result<reqwest::ClientBuilder, FetchError> {
    match ca_file {
        None => Ok(builder.no_proxy()),
        Some(file) => Err(FetchError::CaFile {
            path: file.to_owned(),
            cause: "this build has no TLS".to_owned(),
        }),
    }
}
