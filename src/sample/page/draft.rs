//! The totals of one engine while its page is being read.

use std::borrow::Cow;

use crate::exposition::Sample;
use crate::sample::engine::{
    CacheConfig, Counter, Counters, EngineKey, EngineTotals, Gauge, Gauges, Histograms,
};
use roofline::statistics::Histogram;
use roofline::units::Seconds;

use super::names::{Distribution, Field, Part};
use super::{LONGEST_QUOTE, MOST_BUCKETS, PageError};

/// No total of vLLM's gets there: an exaflop machine computes for thirty thousand years until then.
const LARGEST: f64 = 1e30;
/// KV cache of one engine, in tokens or blocks: a terabyte of memory with a kilobyte a token is a thousandth of it.
const MOST_KV_TOKENS: f64 = 1e12;
/// Tokens of a KV block; hybrid models have a few thousand.
const LARGEST_BLOCK: f64 = 1e6;
/// Names of number formats are shorter.
const LONGEST_FORMAT: usize = 64;

/// The totals of an engine while its page is being read.
pub(super) struct Draft {
    pub(super) key: EngineKey,
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

impl Draft {
    pub(super) fn of(key: EngineKey) -> Self {
        Self {
            key,
            counters: Counters::default(),
            gauges: Gauges::default(),
            former_kv_usage: None,
            histograms: Default::default(),
        }
    }

    pub(super) fn scalar(&mut self, field: Field, sample: &Sample<'_>) -> Result<(), PageError> {
        if !is_told(sample.value) {
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

    pub(super) fn distribution(
        &mut self,
        which: Distribution,
        part: Part,
        sample: &Sample<'_>,
    ) -> Result<(), PageError> {
        if !is_told(sample.value) {
            return Ok(());
        }
        let histogram = &mut self.histograms[which as usize];
        let replaced = match part {
            Part::Sum => histogram.sum.replace(sample.value),
            Part::Count => histogram.count.replace(sample.value),
            Part::Bucket => {
                if histogram.buckets.buckets.len() > MOST_BUCKETS {
                    return Err(PageError::TooManyBuckets(quoted(sample)));
                }
                let le = sample.labels.get("le").and_then(|le| le.parse().ok());
                let le = le.filter(|le: &f64| !le.is_nan());
                le.and_then(|le| histogram.bucket(le, sample.value))
            }
        };
        once(replaced, sample)
    }

    /// A page may carry series of vLLM's that belong to no engine (a router's, a tool parser's).
    pub(super) fn is_engine(&self) -> bool {
        self.gauges.get(Gauge::Running).is_some()
            || self.counters.get(Counter::GenerationTokens).is_some()
    }

    pub(super) fn finish(mut self) -> EngineTotals {
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
            process_started: None,
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
            sum: self.sum?,
            count: self.count?,
            ..self.buckets
        })
    }
}

fn once(replaced: Option<f64>, sample: &Sample<'_>) -> Result<(), PageError> {
    match replaced {
        Some(_) => Err(PageError::Duplicate(quoted(sample))),
        None => Ok(()),
    }
}

/// The series of `sample`, cut where it grows long.
fn quoted(sample: &Sample<'_>) -> String {
    let mut series = format!("{}{}", sample.name, sample.labels);
    if series.len() > LONGEST_QUOTE {
        series.truncate(series.floor_char_boundary(LONGEST_QUOTE));
        series.push('…');
    }
    series
}

/// Whether `value` is one that vLLM can mean; any other is as good as absent, and must not get into a sum, which would never lose it.
fn is_told(value: f64) -> bool {
    (0.0..=LARGEST).contains(&value)
}

/// The label `engine`, `"0"` before vLLM had it; under Ray Serve with the replica before it, since replicas share a page.
pub(super) fn engine_label(sample: &Sample<'_>) -> String {
    let engine = sample.labels.get("engine").unwrap_or(Cow::Borrowed("0"));
    match sample.labels.get("ReplicaId") {
        Some(replica) if !replica.is_empty() => format!("{replica}/{engine}"),
        _ => engine.into_owned(),
    }
}

pub(super) fn cache_config(sample: &Sample<'_>) -> CacheConfig {
    let text = |label: &str| sample.labels.get(label).filter(|value| value != "None");
    let number = |label: &str, most: f64| {
        text(label)
            .and_then(|value| value.parse().ok())
            .filter(|&value: &f64| value > 0.0 && value <= most)
    };
    CacheConfig {
        size_tokens: number("kv_cache_size_tokens", MOST_KV_TOKENS),
        num_gpu_blocks: number("num_gpu_blocks", MOST_KV_TOKENS),
        block_size: number("block_size", LARGEST_BLOCK),
        cache_dtype: text("cache_dtype")
            .filter(|name| name.len() <= LONGEST_FORMAT)
            .map(Cow::into_owned),
        gpu_memory_utilization: number("gpu_memory_utilization", 1.0),
    }
}
