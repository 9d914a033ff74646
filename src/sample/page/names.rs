//! What vLLM's names are to us. A rename goes here.

use crate::exposition::Sample;
use crate::sample::engine::{Counter, Gauge};

/// What vLLM's names start with: as it writes them, as its OpenMetrics page escapes them, and as Ray Serve re-exports them.
pub(super) const PREFIXES: [&str; 3] = ["vllm:", "ray_vllm_", "vllm_"];
/// Present only while one API server answers: several share their metrics through files and leave process metrics out.
pub(super) const SINGLE_PROCESS: &str = "process_start_time_seconds";

/// Where a sample goes.
#[derive(Clone, Copy)]
pub(super) enum Field {
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
pub(super) enum Distribution {
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
pub(super) enum Part {
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
pub(super) fn scalar(name: &str, sample: &Sample<'_>) -> Option<Field> {
    let &(_, picked, field) = SCALARS.iter().find(|(scalar, ..)| *scalar == name)?;
    let fits =
        picked.is_none_or(|(label, value)| sample.labels.get(label).as_deref() == Some(value));
    fits.then_some(field)
}

/// Which histogram the sample `name` is a part of, and which part.
pub(super) fn distribution(name: &str) -> Option<(Distribution, Part)> {
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
