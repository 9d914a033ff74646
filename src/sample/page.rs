//! Parses vLLM's metrics page into the totals of its engines.
//!
//! Families are recognised by presence, not by version: pages of every vLLM from 0.6 on are read, with their former names.
//! [`metrics`](super::metrics) lists the names of each metric. A line or series that cannot be read costs its metric, not the page.

mod draft;
mod names;
mod nearest;
mod others;
mod twice;

use std::borrow::Cow;

use crate::exposition::{ErrorKind, Line, Lines, ParseError, Sample};
use roofline::units::Seconds;

use self::draft::{Draft, cache_config, engine_label, running_adapters};
use self::names::{PROCESS_STARTED, Publisher, READ, SampleField, field, without_prefix};
pub use self::names::{needed, needed_names};
pub use self::others::Other;
pub use self::twice::Twice;
use super::engine::{AdapterUse, CacheConfig, EngineKey, EngineTotals, MissingInput};
use super::metrics::MetricQuantity;

/// Maximum number of engines of one page: more than a rack of 72 GPUs has. Each is about a hundred series on our own page.
pub const MOST_ENGINES: usize = 128;
/// Maximum bytes of all engines' labels together, which each of those series carries: a model may be named by a long path, or engines be
/// many.
pub const MOST_LABEL_BYTES: usize = 32 << 10;
/// Maximum number of buckets of one histogram: vLLM's largest has 40.
pub(crate) const MOST_BUCKETS: usize = 256;
/// Interval at which Ray's workers send their metrics to the agent that serves the page, unless `RAY_metrics_report_interval_ms` is set.
const RAY_PUBLISHES_EVERY: Seconds = Seconds(10.0);

/// Why a page shows no engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// The page is empty.
    #[error("the page is empty")]
    Empty,
    /// Not the Prometheus text format, such as an HTML page.
    #[error(
        "the page is not a Prometheus exposition ({0}); does the URL point at vLLM's API server?"
    )]
    NotMetrics(ParseError),
    /// The page has metrics, but none of vLLM's.
    #[error(
        "the page has no vllm: series; vLLM runs with --disable-log-stats, or this is another server's page"
    )]
    StatsDisabled,
    /// Another server's metrics.
    #[error("{0}")]
    Other(Other),
    /// The page has vLLM series, but none of an engine.
    #[error(
        "the page has vllm: series but no engine's (vllm:num_requests_running, vllm:generation_tokens_total); point --vllm-url at vLLM itself"
    )]
    NoEngine,
    /// The page has series about other servers: it is a router's.
    #[error(
        "this is a router's page, whose series carry the label server (`{0}`), not vLLM's; run one exporter beside each vLLM and point --vllm-url at it"
    )]
    Router(String),
    /// A required series cannot be read.
    #[error("cannot read the page: {0}")]
    Malformed(ParseError),
    /// The series that identify the engine appear twice, possibly with different values.
    #[error("{0}")]
    Duplicate(Twice),
    /// The page has more engines than one server can have.
    #[error(
        "the page has more than {MOST_ENGINES} engines; is it that of a router or of a whole cluster? Run one exporter beside each vLLM"
    )]
    TooManyEngines,
    /// The labels are so long that our own page would become too large.
    #[error(
        "the labels model_name and engine of all engines have more than {MOST_LABEL_BYTES} bytes; give vLLM a shorter --served-model-name"
    )]
    LabelsTooLong,
    /// A histogram with more buckets than any of vLLM's.
    #[error("a histogram of {0} has more than {MOST_BUCKETS} buckets; is this vLLM's page?")]
    TooManyBuckets(String),
}

impl PageError {
    /// The value of the label `reason` in `source_errors_total`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Empty => "empty_page",
            Self::NotMetrics(_) => "not_metrics",
            Self::Malformed(error) if error.kind.is_limit() => "too_large",
            Self::StatsDisabled => "stats_disabled",
            Self::NoEngine => "no_engine",
            Self::Router(_) => "router",
            Self::Other(_) => "other_server",
            Self::Malformed(_) => "parse",
            Self::Duplicate(_) => "duplicate_series",
            Self::TooManyEngines => "too_many_engines",
            Self::LabelsTooLong | Self::TooManyBuckets(_) => "too_large",
        }
    }
}

/// Parses `page`, which was fetched at `time`.
///
/// # Errors
/// [`PageError`] if the page shows no engine, or is truncated.
pub fn read(page: &str, time: Seconds) -> Result<Vec<EngineTotals>, PageError> {
    let mut reader = PageReader::default();
    for line in Lines::new(page).only(&READ) {
        match line {
            Ok(Line::Sample(sample)) => reader.take(&sample)?,
            Ok(_) => {}
            Err(error) if error.kind.is_limit() || breaks_off(page, &error) => {
                return Err(PageError::Malformed(error));
            }
            Err(error) => reader.unreadable = reader.unreadable.or(Some(error)),
        }
    }
    reader.finish(page, time)
}

/// Whether the error is at the end of the page, within a line: then more than that line is missing.
fn breaks_off(page: &str, error: &ParseError) -> bool {
    !page.ends_with('\n') && error.line == page.lines().count()
}

/// Classifies a page without any vLLM series.
fn without_series(page: &str) -> PageError {
    let mut lines = Lines::new(page);
    match lines.next() {
        None => PageError::Empty,
        Some(Err(error)) if matches!(error.kind, ErrorKind::PageTooLarge) => {
            PageError::Malformed(error)
        }
        Some(Err(error)) => PageError::NotMetrics(error),
        Some(Ok(_)) => others::recognise(page).map_or(PageError::StatsDisabled, PageError::Other),
    }
}

#[derive(Default)]
struct PageReader {
    engines: Vec<Draft>,
    /// Cache facts by engine label: that family has no `model_name`.
    caches: Vec<(String, CacheConfig)>,
    /// Bytes of the engines' labels.
    label_bytes: usize,
    process_started: Option<Seconds>,
    publisher: Option<Publisher>,
    adapters: Option<AdapterUse>,
    /// The first vLLM line that cannot be read.
    unreadable: Option<ParseError>,
}

impl PageReader {
    #[inline]
    fn take(&mut self, sample: &Sample<'_>) -> Result<(), PageError> {
        let Some((name, publisher)) = without_prefix(sample.name) else {
            if sample.name == PROCESS_STARTED && sample.value.is_finite() {
                self.process_started = Some(Seconds(sample.value));
            }
            return Ok(());
        };
        self.publisher = Some(publisher);
        match field(name, sample) {
            None => Ok(()),
            Some(SampleField::CacheConfig) => self.take_cache(sample, publisher),
            Some(SampleField::Adapters) => {
                self.take_adapters(sample);
                Ok(())
            }
            Some(field) => self.draft(sample, publisher)?.take(field, sample),
        }
    }

    /// vLLM adds a line for each combination of adapters; its value is the last time at which they ran.
    fn take_adapters(&mut self, sample: &Sample<'_>) {
        let newest = self.adapters.get_or_insert_default();
        let running = running_adapters(sample);
        if running > 0.0 && sample.value >= newest.last.0 {
            *newest = AdapterUse {
                running,
                last: Seconds(sample.value),
            };
        }
    }

    fn take_cache(&mut self, sample: &Sample<'_>, publisher: Publisher) -> Result<(), PageError> {
        if self.caches.len() == MOST_ENGINES {
            return Err(PageError::TooManyEngines);
        }
        let engine = engine_label(sample, publisher);
        self.caches.push((engine, cache_config(sample)));
        Ok(())
    }

    fn draft(
        &mut self,
        sample: &Sample<'_>,
        publisher: Publisher,
    ) -> Result<&mut Draft, PageError> {
        let model_name = sample.labels.get("model_name").unwrap_or_default();
        let engine = engine_label(sample, publisher);
        let known = self
            .engines
            .iter()
            .position(|draft| draft.key.engine == engine && draft.key.model_name == model_name);
        let place = match known {
            Some(place) => place,
            None => self.add(model_name, engine, sample)?,
        };
        Ok(&mut self.engines[place])
    }

    /// Adds one more engine, and returns its index.
    fn add(
        &mut self,
        model_name: Cow<'_, str>,
        engine: String,
        sample: &Sample<'_>,
    ) -> Result<usize, PageError> {
        self.label_bytes += model_name.len() + engine.len();
        if self.engines.len() == MOST_ENGINES {
            return Err(PageError::TooManyEngines);
        }
        if self.label_bytes > MOST_LABEL_BYTES {
            return Err(PageError::LabelsTooLong);
        }
        let model_name = model_name.into_owned();
        self.engines
            .push(Draft::of(EngineKey { model_name, engine }, sample));
        Ok(self.engines.len() - 1)
    }

    fn finish(mut self, page: &str, time: Seconds) -> Result<Vec<EngineTotals>, PageError> {
        let publisher = self.publisher.unwrap_or(Publisher::Vllm);
        let (mut engines, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.engines)
            .into_iter()
            .partition(Draft::is_engine);
        if engines.is_empty() {
            return Err(self.without_engine(page, others));
        }
        engines.sort_by(|one, other| one.key.cmp(&other.key));
        let engines_on_page = engines.len();
        let single_api_server = self.single_api_server(page, publisher);
        let labels: Vec<_> = engines
            .iter()
            .map(|draft| draft.key.engine.clone())
            .collect();
        let totals = engines.into_iter().map(|mut draft| {
            let twice = std::mem::take(&mut draft.twice);
            let cache = self.cache_of(&draft.key.engine, &labels, publisher);
            let mut totals = EngineTotals {
                time,
                engines_on_page,
                single_api_server,
                // Under Ray, it is the agent's start time.
                process_started: self
                    .process_started
                    .filter(|_| publisher == Publisher::Vllm),
                published_every: match publisher {
                    Publisher::Vllm => Seconds::ZERO,
                    Publisher::Ray => RAY_PUBLISHES_EVERY,
                },
                adapters: self.adapters,
                ..draft.finish(publisher, cache)
            };
            totals.missing = missing(&totals, &twice, page);
            totals
        });
        Ok(totals.collect())
    }

    /// Why none of the page's series belong to an engine.
    fn without_engine(self, page: &str, others: Vec<Draft>) -> PageError {
        for draft in others {
            if let Some(server) = draft.server {
                return PageError::Router(server);
            }
            if let Some((_, twice)) = draft.twice.into_iter().next() {
                return PageError::Duplicate(twice);
            }
        }
        match self.unreadable {
            Some(error) => PageError::Malformed(error),
            None if self.publisher.is_some() => PageError::NoEngine,
            None => without_series(page),
        }
    }

    /// The cache facts of the engine labelled `engine`, with its share of the blocks that its server counts in total.
    fn cache_of(&self, engine: &str, labels: &[String], publisher: Publisher) -> CacheConfig {
        let own_cache = self.caches.iter().find(|(label, _)| label == engine);
        let cache = own_cache
            .map(|(_, cache)| cache.clone())
            .unwrap_or_default();
        // Under Ray each replica has its own server.
        let server = |label: &str| match publisher {
            Publisher::Vllm => String::new(),
            Publisher::Ray => label
                .rsplit_once('/')
                .map_or_else(String::new, |(replica, _)| replica.to_owned()),
        };
        let own = server(engine);
        let sharing = labels.iter().filter(|label| server(label) == own).count();
        CacheConfig {
            num_gpu_blocks: cache
                .num_gpu_blocks
                .map(|blocks| blocks / sharing.max(1) as f64),
            ..cache
        }
    }

    /// Whether one process counts the steps. Several vLLM processes share their metrics through files, and then their client library omits
    /// process metrics: the start time, and the creation times of series. The Rust front end also lacks these, but it is one process, and
    /// its page ends as OpenMetrics does. Ray's replicas count separately.
    fn single_api_server(&self, page: &str, publisher: Publisher) -> bool {
        publisher == Publisher::Ray
            || self.process_started.is_some()
            || page.trim_end().ends_with("# EOF")
            || memchr::memmem::find(page.as_bytes(), b"_created{").is_some()
    }
}

/// Metrics that figures need and `totals` lacks.
fn missing(
    totals: &EngineTotals,
    twice: &[(MetricQuantity, Twice)],
    page: &str,
) -> Vec<MissingInput> {
    let lacking = MetricQuantity::all().filter(|&quantity| !totals.has(quantity));
    let required = lacking.filter_map(|quantity| Some((quantity, quantity.metric().required_for?)));
    required
        .map(|(quantity, leaves_out)| {
            let twice = twice.iter().find(|(known, _)| *known == quantity);
            MissingInput {
                metric: quantity.metric().name.text,
                leaves_out,
                why: twice.map(|(_, twice)| twice.to_string()),
                nearest: if twice.is_some() {
                    None
                } else {
                    nearest::nearest(page, quantity)
                },
            }
        })
        .collect()
}
