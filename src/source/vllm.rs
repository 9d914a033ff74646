//! vLLM's metrics page over HTTP.
//!
//! Every sample on the page costs vLLM's event loop about 13 µs, so the exporter requests only the samples that it needs, with the filter
//! `/metrics/?name[]=…` of vLLM's Prometheus client. Whether a server supports the filter is tested once per run of the server.

use reqwest::Url;

use crate::address::{Address, RequestOptions, masked, without_page};
use crate::exposition::{self, ParseError};
use crate::sample::engine::{Counter, EngineTotals};
use crate::sample::metrics::MetricQuantity;
use crate::sample::page::{self, PageError};
use roofline::units::Seconds;

use super::http::{FetchError, Fetcher, LARGEST_PAGE, shown};
use super::models::Models;
use super::share::ShareError;

/// Always text format 0.0.4: vLLM's OpenMetrics page names families and samples differently.
const ACCEPT: &str = "text/plain;version=0.0.4";

/// Why vLLM's page could not be used.
#[derive(Debug, thiserror::Error)]
pub enum VllmError {
    /// The page cannot be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The page is not text.
    #[error("cannot read the page: {0}")]
    Text(ParseError),
    /// The page has no engine.
    #[error(transparent)]
    Page(#[from] PageError),
    /// The page exceeds the share of one of several servers.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// The URL is invalid.
    #[error("vllm-url `{url}` is not a URL ({cause}); give one such as http://127.0.0.1:8000")]
    Url {
        /// The configured URL.
        url: String,
        /// The problem.
        cause: String,
    },
}

impl VllmError {
    /// The value of the label `reason` in `source_errors_total`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Fetch(error) => error.reason(),
            Self::Text(_) => "not_utf8",
            Self::Page(error) => error.reason(),
            Self::Share(error) => error.reason(),
            Self::Url { .. } => "configuration",
        }
    }

    /// All reasons, for series that exist from the start.
    pub(crate) const REASONS: [&'static str; 19] = [
        "client",
        "configuration",
        "connect",
        "costly",
        "damaged",
        "duplicate_series",
        "empty_page",
        "no_engine",
        "not_metrics",
        "not_utf8",
        "other_server",
        "parse",
        "redirect",
        "router",
        "stats_disabled",
        "status",
        "timeout",
        "too_large",
        "too_many_engines",
    ];
}

/// The form of the request.
#[derive(Clone, Debug)]
enum Form {
    /// The whole page, to compare it with the filtered one.
    Probe,
    /// The whole page.
    Whole,
    /// Only the needed samples, with their URL.
    Filtered(Url),
}

/// One vLLM server.
#[derive(Clone, Debug)]
pub struct VllmSource {
    base: Url,
    whole: Url,
    /// URL of the filtered page.
    parts: Url,
    fetcher: Fetcher,
    form: Form,
}

impl VllmSource {
    /// The server at `url`.
    ///
    /// # Errors
    /// [`VllmError::Url`] or a client that cannot be set up.
    pub fn new(url: &Address, options: &RequestOptions) -> Result<Self, VllmError> {
        let url = url.as_given();
        let base = base_url(url)?;
        let at = |path: &str| {
            base.join(path).map_err(|error| VllmError::Url {
                url: masked(url),
                cause: error.to_string(),
            })
        };
        Ok(Self {
            whole: at("metrics")?,
            parts: at("metrics/")?,
            fetcher: Fetcher::new(&base, options)?,
            base,
            form: Form::Probe,
        })
    }

    /// The server's address.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.base
    }

    /// The engines on the current page; `clock` gives the time of its arrival.
    ///
    /// # Errors
    /// [`VllmError`].
    pub async fn read(
        &mut self,
        clock: impl Fn() -> Seconds,
    ) -> Result<Vec<EngineTotals>, VllmError> {
        let read = self.read_in_form(clock).await;
        if read.is_err() {
            // The next answer may come from another server.
            self.form = Form::Probe;
        }
        read
    }

    /// The whole page, without a filter.
    ///
    /// # Errors
    /// [`VllmError`].
    pub(crate) async fn read_whole(
        &self,
        clock: impl Fn() -> Seconds,
    ) -> Result<VllmReading, VllmError> {
        self.page(&self.whole, &clock).await
    }

    async fn read_in_form(
        &mut self,
        clock: impl Fn() -> Seconds,
    ) -> Result<Vec<EngineTotals>, VllmError> {
        match &self.form {
            Form::Filtered(url) => self.engines(url, &clock).await,
            Form::Whole => self.engines(&self.whole, &clock).await,
            Form::Probe => {
                let whole = self.engines(&self.whole, &clock).await?;
                if whole.iter().any(|engine| !engine.missing.is_empty()) {
                    // The metric may appear later, and only the whole page shows its new name.
                    return Ok(whole);
                }
                let counts_computed = whole.iter().all(counts_computed);
                let url = self.filtered(counts_computed);
                let filtered = self.engines(&url, &clock).await;
                self.form = match filtered {
                    Ok(filtered) if says_the_same(&filtered, &whole, counts_computed) => {
                        Form::Filtered(url)
                    }
                    _ => Form::Whole,
                };
                Ok(whole)
            }
        }
    }

    fn filtered(&self, counts_computed: bool) -> Url {
        let names = page::needed_names(counts_computed);
        let mut url = self.parts.clone();
        url.query_pairs_mut()
            .extend_pairs(names.iter().map(|name| ("name[]", name)));
        url
    }

    /// The page's engines without its text, so that two pages are never held.
    async fn engines(
        &self,
        url: &Url,
        clock: &impl Fn() -> Seconds,
    ) -> Result<Vec<EngineTotals>, VllmError> {
        Ok(self.page(url, clock).await?.engines)
    }

    async fn page(
        &self,
        url: &Url,
        clock: &impl Fn() -> Seconds,
    ) -> Result<VllmReading, VllmError> {
        let read = |body: Vec<u8>| {
            let time = clock();
            let (body, fault) = as_text(body);
            let engines = page::read(&body, time);
            let engines = engines.map_err(|error| fault.map_or(error.into(), VllmError::Text))?;
            Ok(VllmReading { engines, body })
        };
        self.fetcher.read(url, ACCEPT, LARGEST_PAGE, read).await
    }

    /// The answer of `/v1/models`.
    ///
    /// # Errors
    /// [`VllmError`]; 401 if a key is required and none is set.
    pub async fn models(&self) -> Result<Models, VllmError> {
        // NIM serves its page below /v1, like the models.
        let path = if self.base.path().ends_with("/v1/") {
            "models"
        } else {
            "v1/models"
        };
        let url = self.base.join(path).map_err(|error| VllmError::Url {
            url: masked(self.base.as_str()),
            cause: error.to_string(),
        })?;
        let body = self
            .fetcher
            .get(&url, "application/json", Models::LARGEST)
            .await?;
        Models::read(&body).map_err(|error| {
            VllmError::Fetch(FetchError::Damaged {
                url: shown(&url),
                cause: error.to_string(),
            })
        })
    }
}

/// A page that was read.
#[derive(Debug)]
pub(crate) struct VllmReading {
    /// Its engines.
    pub engines: Vec<EngineTotals>,
    /// Its text.
    pub body: String,
}

/// `page` as text, and the first of it that is none. Such bytes are replaced in place: a label costs itself only, and a page of nothing
/// else takes no more memory.
fn as_text(mut page: Vec<u8>) -> (String, Option<ParseError>) {
    let fault = exposition::utf8(&page).err();
    let mut good = 0;
    while let Err(error) = std::str::from_utf8(&page[good..]) {
        good += error.valid_up_to();
        let end = error.error_len().map_or(page.len(), |bytes| good + bytes);
        page[good..end].fill(b'?');
        good = end;
    }
    (String::from_utf8(page).unwrap_or_default(), fault)
}

/// Where the server is that `url` names, with or without its page.
pub(crate) fn base_url(url: &str) -> Result<Url, VllmError> {
    let trimmed = without_page(url);
    let failed = |cause: String| VllmError::Url {
        url: masked(url),
        cause,
    };
    let parsed = Url::parse(&format!("{trimmed}/")).map_err(|error| failed(error.to_string()))?;
    match parsed.scheme() {
        "http" => Ok(parsed),
        "https" if cfg!(feature = "tls") => Ok(parsed),
        "https" => Err(failed("this build has no TLS".to_owned())),
        other => Err(failed(format!("scheme {other} instead of http or https"))),
    }
}

fn counts_computed(engine: &EngineTotals) -> bool {
    engine.has(MetricQuantity::Counter(Counter::PromptTokensComputed))
}

/// Whether a filtered page has all needed values of the whole one.
fn says_the_same(filtered: &[EngineTotals], whole: &[EngineTotals], counts_computed: bool) -> bool {
    filtered.len() == whole.len()
        && filtered.iter().zip(whole).all(|(filtered, whole)| {
            page::needed(counts_computed)
                .all(|quantity| filtered.has(quantity) == whole.has(quantity))
                && filtered.key == whole.key
                && filtered.cache == whole.cache
                && filtered.single_api_server == whole.single_api_server
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_takes_no_more_memory_than_text() {
        let page = b"good \xff\xfe\xe2\x82\n\xc3\xa4 and \xf0\x9f".to_vec();
        let place = page.as_ptr();
        let (text, fault) = as_text(page);
        assert_eq!(text, "good ????\n\u{e4} and ??");
        assert_eq!(text.as_ptr(), place);
        assert_eq!(fault.map(|fault| (fault.line, fault.column)), Some((1, 6)));
        assert_eq!(as_text(b"good".to_vec()), ("good".to_owned(), None));
    }
}
