//! vLLM's metrics page becomes the totals of its engines.
//!
//! Families are taken by presence, not by version: the page of any vLLM from 0.9.2 on is read, former names included. The names stand
//! in [`SCALARS`] and [`DISTRIBUTIONS`], which is where a rename goes.

use std::borrow::Cow;

use crate::exposition::{ErrorKind, Lines, ParseError, Sample};
use crate::units::Seconds;

use super::engine::{CacheConfig, Counter, EngineKey, EngineTotals, Gauge};
use super::engine::{Counters, Gauges, Histograms};
use super::histogram::Histogram;

/// What vLLM's names start with: as it writes them, as its OpenMetrics page escapes them, and as Ray Serve re-exports them.
const PREFIXES: [&str; 3] = ["vllm:", "ray_vllm_", "vllm_"];
/// Present only while one API server answers: several share their metrics through files and leave process metrics out.
const SINGLE_PROCESS: &str = "process_start_time_seconds";

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

/// Where a sample goes.
#[derive(Clone, Copy)]
enum Field {
    Counter(Counter),
    /// One of several series that add up.
    CounterPart(Counter),
    Gauge(Gauge),
    /// The name that [`Gauge::KvCacheUsage`] had up to vLLM 0.11; good only where the present one is missing.
    FormerKvUsage,
    CacheConfig,
}

/// A label that picks one series of a family.
type Where = Option<(&'static str, &'static str)>;

/// What vLLM's scalar families are to us; names without their prefix.
const SCALARS: &[(&str, Where, Field)] = &[
    ("num_requests_running", None, Field::Gauge(Gauge::Running)),
    ("num_requests_waiting", None, Field::Gauge(Gauge::Waiting)),
    (
        "kv_cache_usage_perc",
        None,
        Field::Gauge(Gauge::KvCacheUsage),
    ),
    ("gpu_cache_usage_perc", None, Field::FormerKvUsage),
    (
        "engine_sleep_state",
        Some(("sleep_state", "awake")),
        Field::Gauge(Gauge::Awake),
    ),
    ("cache_config_info", None, Field::CacheConfig),
    (
        "prompt_tokens_total",
        None,
        Field::Counter(Counter::PromptTokens),
    ),
    (
        "prompt_tokens_by_source_total",
        Some(("source", "local_compute")),
        Field::Counter(Counter::PromptTokensComputed),
    ),
    (
        "prompt_tokens_cached_total",
        None,
        Field::Counter(Counter::PromptTokensCached),
    ),
    (
        "generation_tokens_total",
        None,
        Field::Counter(Counter::GenerationTokens),
    ),
    (
        "prefix_cache_queries_total",
        None,
        Field::Counter(Counter::PrefixCacheQueries),
    ),
    (
        "prefix_cache_hits_total",
        None,
        Field::Counter(Counter::PrefixCacheHits),
    ),
    (
        "external_prefix_cache_hits_total",
        None,
        Field::Counter(Counter::ExternalPrefixCacheHits),
    ),
    (
        "num_preemptions_total",
        None,
        Field::Counter(Counter::Preemptions),
    ),
    (
        "spec_decode_num_draft_tokens_total",
        None,
        Field::Counter(Counter::DraftTokens),
    ),
    (
        "spec_decode_num_accepted_tokens_total",
        None,
        Field::Counter(Counter::AcceptedTokens),
    ),
    (
        "request_success_total",
        None,
        Field::CounterPart(Counter::FinishedRequests),
    ),
    (
        "estimated_flops_per_gpu_total",
        None,
        Field::Counter(Counter::EstimatedFlops),
    ),
    (
        "estimated_read_bytes_per_gpu_total",
        None,
        Field::Counter(Counter::EstimatedReadBytes),
    ),
    (
        "estimated_write_bytes_per_gpu_total",
        None,
        Field::Counter(Counter::EstimatedWriteBytes),
    ),
];

/// The histograms that are read.
#[derive(Clone, Copy)]
enum Distribution {
    IterationTokens,
    TimeToFirstToken,
    InterTokenLatency,
    /// The name that inter-token latency had up to vLLM 0.14.
    FormerInterTokenLatency,
    RequestGenerationTokens,
}

/// What vLLM's histograms are to us, and whether their buckets are needed.
const DISTRIBUTIONS: &[(&str, Distribution, bool)] = &[
    (
        "iteration_tokens_total",
        Distribution::IterationTokens,
        true,
    ),
    (
        "time_to_first_token_seconds",
        Distribution::TimeToFirstToken,
        true,
    ),
    (
        "inter_token_latency_seconds",
        Distribution::InterTokenLatency,
        true,
    ),
    (
        "time_per_output_token_seconds",
        Distribution::FormerInterTokenLatency,
        true,
    ),
    (
        "request_generation_tokens",
        Distribution::RequestGenerationTokens,
        false,
    ),
];

#[derive(Clone, Copy)]
enum Part {
    Bucket,
    Sum,
    Count,
}

const PARTS: [(&str, Part); 3] = [
    ("_bucket", Part::Bucket),
    ("_sum", Part::Sum),
    ("_count", Part::Count),
];

/// What the sample `name`, without its prefix, is to us.
fn scalar(name: &str, sample: &Sample<'_>) -> Option<Field> {
    let &(_, picked, field) = SCALARS.iter().find(|(scalar, ..)| *scalar == name)?;
    let fits =
        picked.is_none_or(|(label, value)| sample.labels.get(label).as_deref() == Some(value));
    fits.then_some(field)
}

/// Which histogram the sample `name` is a part of, and which part.
fn distribution(name: &str) -> Option<(Distribution, Part)> {
    let (family, part) = PARTS
        .iter()
        .find_map(|&(suffix, part)| Some((name.strip_suffix(suffix)?, part)))?;
    let &(_, which, buckets) = DISTRIBUTIONS
        .iter()
        .find(|(distribution, ..)| *distribution == family)?;
    (buckets || !matches!(part, Part::Bucket)).then_some((which, part))
}

/// The sample names that [`read`] looks at: what to ask a server for that can answer with a part of its page.
#[must_use]
pub fn needed_names() -> Vec<String> {
    let scalars = SCALARS
        .iter()
        .map(|(name, ..)| format!("{}{name}", PREFIXES[0]));
    let parts = DISTRIBUTIONS.iter().flat_map(|&(name, _, buckets)| {
        let wanted = PARTS
            .iter()
            .filter(move |(_, part)| buckets || !matches!(part, Part::Bucket));
        wanted.map(move |(suffix, _)| format!("{}{name}{suffix}", PREFIXES[0]))
    });
    scalars
        .chain(parts)
        .chain([SINGLE_PROCESS.to_owned()])
        .collect()
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

/// The totals of an engine while its page is being read.
struct Draft {
    key: EngineKey,
    counters: Counters,
    gauges: Gauges,
    former_kv_usage: Option<f64>,
    histograms: [DraftHistogram; 5],
}

#[derive(Default)]
struct DraftHistogram {
    buckets: Histogram,
    sum: Option<f64>,
    count: Option<f64>,
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
            self.engines.push(Draft {
                key: EngineKey {
                    model_name: model_name.into_owned(),
                    engine,
                },
                counters: Counters::default(),
                gauges: Gauges::default(),
                former_kv_usage: None,
                histograms: Default::default(),
            });
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

impl Draft {
    fn scalar(&mut self, field: Field, sample: &Sample<'_>) -> Result<(), PageError> {
        if sample.value.is_nan() {
            return Ok(());
        }
        let replaced = match field {
            Field::Counter(counter) => self.counters.set(counter, sample.value),
            Field::CounterPart(counter) => {
                let others = self.counters.get(counter).unwrap_or(0.0);
                self.counters.set(counter, others + sample.value);
                None
            }
            Field::Gauge(gauge) => self.gauges.set(gauge, sample.value),
            Field::FormerKvUsage => self.former_kv_usage.replace(sample.value),
            Field::CacheConfig => None,
        };
        once(replaced, sample)
    }

    fn distribution(
        &mut self,
        which: Distribution,
        part: Part,
        sample: &Sample<'_>,
    ) -> Result<(), PageError> {
        let histogram = &mut self.histograms[which as usize];
        let replaced = match part {
            Part::Sum => histogram.sum.replace(sample.value),
            Part::Count => histogram.count.replace(sample.value),
            Part::Bucket => {
                let le = sample.labels.get("le").and_then(|le| le.parse().ok());
                le.and_then(|le| histogram.bucket(le, sample.value))
            }
        };
        once(replaced, sample)
    }

    /// A page may carry series of vLLM's that belong to no engine (a router's, a tool parser's).
    fn is_engine(&self) -> bool {
        self.gauges.get(Gauge::Running).is_some()
            || self.counters.get(Counter::GenerationTokens).is_some()
    }

    fn finish(mut self) -> EngineTotals {
        if self.gauges.get(Gauge::KvCacheUsage).is_none()
            && let Some(usage) = self.former_kv_usage
        {
            self.gauges.set(Gauge::KvCacheUsage, usage);
        }
        let [iterations, first_token, latency, former_latency, outputs] =
            self.histograms.map(DraftHistogram::finish);
        EngineTotals {
            key: self.key,
            time: Seconds::ZERO,
            counters: self.counters,
            gauges: self.gauges,
            histograms: Histograms {
                iteration_tokens: iterations,
                time_to_first_token: first_token,
                inter_token_latency: latency.or(former_latency),
                request_generation_tokens: outputs,
            },
            cache: CacheConfig::default(),
            engines_on_page: 1,
            single_api_server: true,
        }
    }
}

impl DraftHistogram {
    /// Adds a bucket, or returns the value of the one that is there already.
    fn bucket(&mut self, le: f64, count: f64) -> Option<f64> {
        let buckets = &mut self.buckets.buckets;
        // Pages list buckets in ascending order, so this is a push.
        match buckets.iter().rposition(|&(bound, _)| bound <= le) {
            Some(place) if buckets[place].0.total_cmp(&le).is_eq() => Some(buckets[place].1),
            Some(place) => {
                buckets.insert(place + 1, (le, count));
                None
            }
            None => {
                buckets.insert(0, (le, count));
                None
            }
        }
    }

    fn finish(self) -> Option<Histogram> {
        Some(Histogram {
            sum: self.sum.unwrap_or(0.0),
            count: self.count?,
            ..self.buckets
        })
    }
}

fn once(replaced: Option<f64>, sample: &Sample<'_>) -> Result<(), PageError> {
    match replaced {
        Some(_) => Err(PageError::Duplicate(format!(
            "{}{}",
            sample.name, sample.labels
        ))),
        None => Ok(()),
    }
}

/// The label `engine`, `"0"` before vLLM had it; under Ray Serve with the replica before it, since replicas share a page.
fn engine_label(sample: &Sample<'_>) -> String {
    let engine = sample.labels.get("engine").unwrap_or(Cow::Borrowed("0"));
    match sample.labels.get("ReplicaId") {
        Some(replica) if !replica.is_empty() => format!("{replica}/{engine}"),
        _ => engine.into_owned(),
    }
}

fn cache_config(sample: &Sample<'_>) -> CacheConfig {
    let text = |label: &str| sample.labels.get(label).filter(|value| value != "None");
    let number = |label: &str| {
        text(label)
            .and_then(|value| value.parse().ok())
            .filter(|&value: &f64| value.is_finite() && value > 0.0)
    };
    CacheConfig {
        size_tokens: number("kv_cache_size_tokens"),
        num_gpu_blocks: number("num_gpu_blocks"),
        block_size: number("block_size"),
        cache_dtype: text("cache_dtype").map(Cow::into_owned),
        gpu_memory_utilization: number("gpu_memory_utilization"),
    }
}
