//! vLLM's metrics page becomes the totals of its engines.
//!
//! Families are taken by presence, not by version: the page of any vLLM from 0.9.2 on is read, former names included. The names stand
//! in `names`, which is where a rename goes.

mod draft;
mod names;

use crate::exposition::{ErrorKind, Lines, ParseError, Sample};
use crate::units::Seconds;

use self::draft::{Draft, cache_config, engine_label};
pub use self::names::needed_names;
use self::names::{Field, PREFIXES, SINGLE_PROCESS, distribution, scalar};
use super::engine::{CacheConfig, EngineKey, EngineTotals};

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
}

impl PageError {
    /// The value of the label `reason` in `source_errors_total`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Empty => "empty_page",
            Self::NotMetrics(_) => "not_metrics",
            Self::StatsDisabled => "stats_disabled",
            Self::NoEngine => "no_engine",
            Self::Malformed(_) => "parse",
            Self::Duplicate(_) => "duplicate_series",
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
    single_process: bool,
    any_series: bool,
}

impl Reader {
    fn take(&mut self, sample: &Sample<'_>) -> Result<(), PageError> {
        let Some(name) = PREFIXES
            .iter()
            .find_map(|prefix| sample.name.strip_prefix(prefix))
        else {
            self.single_process |= sample.name == SINGLE_PROCESS;
            return Ok(());
        };
        self.any_series = true;
        if let Some((which, part)) = distribution(name) {
            return self.draft(sample).distribution(which, part, sample);
        }
        match scalar(name, sample) {
            Some(Field::CacheConfig) => {
                let engine = engine_label(sample);
                self.caches.push((engine, cache_config(sample)));
                Ok(())
            }
            Some(field) => self.draft(sample).scalar(field, sample),
            None => Ok(()),
        }
    }

    fn draft(&mut self, sample: &Sample<'_>) -> &mut Draft {
        let model_name = sample.labels.get("model_name").unwrap_or_default();
        let engine = engine_label(sample);
        let known = self
            .engines
            .iter()
            .position(|draft| draft.key.engine == engine && draft.key.model_name == model_name);
        let place = known.unwrap_or_else(|| {
            self.engines.push(Draft::of(EngineKey {
                model_name: model_name.into_owned(),
                engine,
            }));
            self.engines.len() - 1
        });
        &mut self.engines[place]
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
                single_api_server: self.single_process,
                ..draft.finish()
            }
        });
        Ok(totals.collect())
    }
}
