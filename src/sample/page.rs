//! vLLM's metrics page becomes the totals of its engines.
//!
//! Families are taken by presence, not by version: the page of any vLLM from 0.9.2 on is read, former names included. The names stand
//! in `names`, which is where a rename goes.

mod draft;
mod names;

use crate::exposition::{ErrorKind, Lines, ParseError, Sample};
use roofline::units::Seconds;

use self::draft::{Draft, cache_config, engine_label};
pub use self::names::needed_names;
use self::names::{Field, PREFIXES, SINGLE_PROCESS, distribution, scalar};
use super::engine::{CacheConfig, EngineKey, EngineTotals};

/// Engines of one page: more than a rack of 72 GPUs has. Each is about a hundred series on our own page.
pub const MOST_ENGINES: usize = 128;
/// Bytes of all engines' labels together, which stand on each of those series: a model may be named by a long path, or engines be many.
pub const MOST_LABEL_BYTES: usize = 32 << 10;
/// Buckets of one histogram: vLLM's largest has 40.
pub const MOST_BUCKETS: usize = 256;
/// Bytes of a series that an error quotes.
const LONGEST_QUOTE: usize = 200;

/// Why a page tells nothing of an engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// No line on it.
    #[error("the page is empty")]
    Empty,
    /// Not the Prometheus text format, such as an HTML page.
    #[error(
        "the page is not a Prometheus exposition ({0}); does the URL point at vLLM's API server?"
    )]
    NotMetrics(ParseError),
    /// Metrics, but none of vLLM's.
    #[error(
        "the page has no vllm: series; vLLM runs with --disable-log-stats, or this is another server's page"
    )]
    StatsDisabled,
    /// Series of vLLM's, but of no engine: a router's page.
    #[error(
        "the page has vllm: series but no engine's (vllm:num_requests_running, vllm:generation_tokens_total); is it a router's?"
    )]
    NoEngine,
    /// A series that is needed cannot be read.
    #[error("cannot read the page: {0}")]
    Malformed(ParseError),
    /// A series that is needed stands twice, with perhaps different values.
    #[error("duplicate series {0}; was PROMETHEUS_MULTIPROC_DIR left from an earlier run?")]
    Duplicate(String),
    /// More engines than one server has.
    #[error(
        "the page has more than {MOST_ENGINES} engines; is it that of a router or of a whole cluster? Run one exporter beside each vLLM"
    )]
    TooManyEngines,
    /// Labels that would make our own page as large as they are long.
    #[error(
        "the labels model_name and engine of all engines have more than {MOST_LABEL_BYTES} bytes; give vLLM a shorter --served-model-name"
    )]
    LabelsTooLong,
    /// A histogram that is not vLLM's.
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
            Self::Malformed(_) => "parse",
            Self::Duplicate(_) => "duplicate_series",
            Self::TooManyEngines => "too_many_engines",
            Self::LabelsTooLong | Self::TooManyBuckets(_) => "too_large",
        }
    }
}

/// Reads `page`, fetched at `time`.
///
/// # Errors
/// [`PageError`] where the page tells of no engine, or where a series that is needed is malformed or stands twice.
pub fn read(page: &str, time: Seconds) -> Result<Vec<EngineTotals>, PageError> {
    let prefixes = [PREFIXES[0], PREFIXES[1], PREFIXES[2], SINGLE_PROCESS];
    let mut reader = Reader::default();
    for line in Lines::new(page).only(&prefixes) {
        let line = line.map_err(PageError::Malformed)?;
        if let crate::exposition::Line::Sample(sample) = line {
            reader.take(&sample)?;
        }
    }
    reader.finish(time).map_err(|absence| match absence {
        Absence::NoSeries => without_series(page),
        Absence::NoEngine => PageError::NoEngine,
    })
}

/// What a page without a single series of vLLM's is.
fn without_series(page: &str) -> PageError {
    let mut lines = Lines::new(page);
    match lines.next() {
        None => PageError::Empty,
        Some(Err(error)) if matches!(error.kind, ErrorKind::PageTooLarge) => {
            PageError::Malformed(error)
        }
        Some(Err(error)) => PageError::NotMetrics(error),
        Some(Ok(_)) => PageError::StatsDisabled,
    }
}

enum Absence {
    NoSeries,
    NoEngine,
}

#[derive(Default)]
struct Reader {
    engines: Vec<Draft>,
    /// Cache facts by engine label: that family has no `model_name`.
    caches: Vec<(String, CacheConfig)>,
    /// Bytes of the engines' labels.
    label_bytes: usize,
    process_started: Option<Seconds>,
    any_series: bool,
}

impl Reader {
    fn take(&mut self, sample: &Sample<'_>) -> Result<(), PageError> {
        let Some(name) = PREFIXES
            .iter()
            .find_map(|prefix| sample.name.strip_prefix(prefix))
        else {
            if sample.name == SINGLE_PROCESS && sample.value.is_finite() {
                self.process_started = Some(Seconds(sample.value));
            }
            return Ok(());
        };
        self.any_series = true;
        if let Some((which, part)) = distribution(name) {
            return self.draft(sample)?.distribution(which, part, sample);
        }
        match scalar(name, sample) {
            Some(Field::CacheConfig) => {
                if self.caches.len() == MOST_ENGINES {
                    return Err(PageError::TooManyEngines);
                }
                let engine = engine_label(sample);
                self.caches.push((engine, cache_config(sample)));
                Ok(())
            }
            Some(field) => self.draft(sample)?.scalar(field, sample),
            None => Ok(()),
        }
    }

    fn draft(&mut self, sample: &Sample<'_>) -> Result<&mut Draft, PageError> {
        let model_name = sample.labels.get("model_name").unwrap_or_default();
        let engine = engine_label(sample);
        let known = self
            .engines
            .iter()
            .position(|draft| draft.key.engine == engine && draft.key.model_name == model_name);
        let place = match known {
            Some(place) => place,
            None => self.add(EngineKey {
                model_name: model_name.into_owned(),
                engine,
            })?,
        };
        Ok(&mut self.engines[place])
    }

    /// Makes room for one more engine, and says where.
    fn add(&mut self, key: EngineKey) -> Result<usize, PageError> {
        self.label_bytes += key.model_name.len() + key.engine.len();
        if self.engines.len() == MOST_ENGINES {
            return Err(PageError::TooManyEngines);
        }
        if self.label_bytes > MOST_LABEL_BYTES {
            return Err(PageError::LabelsTooLong);
        }
        self.engines.push(Draft::of(key));
        Ok(self.engines.len() - 1)
    }

    fn finish(self, time: Seconds) -> Result<Vec<EngineTotals>, Absence> {
        let mut engines: Vec<_> = self.engines.into_iter().filter(Draft::is_engine).collect();
        if engines.is_empty() {
            return Err(if self.any_series {
                Absence::NoEngine
            } else {
                Absence::NoSeries
            });
        }
        engines.sort_by(|one, other| one.key.cmp(&other.key));
        let engines_on_page = engines.len();
        let caches = self.caches;
        let totals = engines.into_iter().map(|draft| {
            let cache = caches
                .iter()
                .find(|(engine, _)| *engine == draft.key.engine);
            EngineTotals {
                time,
                cache: cache.map(|(_, cache)| cache.clone()).unwrap_or_default(),
                engines_on_page,
                single_api_server: self.process_started.is_some(),
                process_started: self.process_started,
                ..draft.finish()
            }
        });
        Ok(totals.collect())
    }
}
