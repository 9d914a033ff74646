//! The totals of one engine while its page is being parsed.

use std::borrow::Cow;

use crate::exposition::Sample;
use crate::sample::engine::{
    CacheConfig, Counter, Counters, Distribution, EngineKey, EngineTotals, Gauge, Gauges,
    Histograms,
};
use crate::sample::metrics::MetricQuantity;
use roofline::statistics::Histogram;
use roofline::units::Seconds;

use super::names::{HistogramPart, Publisher, SampleField};
use super::twice::Twice;
use super::{MOST_BUCKETS, PageError};

/// Larger than any total of vLLM's: an exaflop machine would compute for thirty thousand years.
const LARGEST: f64 = 1e30;
/// KV cache of one engine, in tokens or blocks: a terabyte of memory with a kilobyte per token is a thousandth of it.
const MOST_KV_TOKENS: f64 = 1e12;
/// Tokens of a KV block; hybrid models have a few thousand.
const LARGEST_BLOCK: f64 = 1e6;
/// vLLM's default KV block size in tokens, if the page has none.
const USUAL_BLOCK: f64 = 16.0;
/// Maximum length of a number format's name.
const LONGEST_FORMAT: usize = 64;

/// The totals of an engine while its page is being parsed.
pub(super) struct Draft {
    pub(super) key: EngineKey,
    /// The label `server`, which a router adds to the series of its servers.
    pub(super) server: Option<String>,
    /// Series that appear more than once on the page, so that none of them is trusted.
    pub(super) twice: Vec<(MetricQuantity, Twice)>,
    counters: [NamedValue<Slot>; Counter::ALL.len()],
    gauges: [NamedValue<Slot>; Gauge::ALL.len()],
    histograms: [NamedValue<DraftHistogram>; Distribution::ALL.len()],
}

/// A value under the current name and under the previous one.
type NamedValue<T> = [T; 2];

#[derive(Clone, Copy, Default)]
enum Slot {
    #[default]
    Absent,
    Read(f64),
    /// It appears more than once.
    Unsure,
}

impl Slot {
    /// Sets the value, and returns whether it is the first.
    fn put(&mut self, value: f64) -> bool {
        let first = matches!(self, Self::Absent);
        *self = if first {
            Self::Read(value)
        } else {
            Self::Unsure
        };
        first
    }

    fn add(&mut self, value: f64) {
        *self = Self::Read(self.value().unwrap_or(0.0) + value);
    }

    const fn value(self) -> Option<f64> {
        match self {
            Self::Read(value) => Some(value),
            Self::Absent | Self::Unsure => None,
        }
    }
}

#[derive(Default)]
struct DraftHistogram {
    buckets: Histogram,
    sum: Slot,
    count: Slot,
    unsure: bool,
}

impl Draft {
    /// The draft of the engine `key`, whose first series is `sample`.
    pub(super) fn of(key: EngineKey, sample: &Sample<'_>) -> Self {
        Self {
            key,
            server: sample.labels.get("server").map(Cow::into_owned),
            twice: Vec::new(),
            counters: Default::default(),
            gauges: Default::default(),
            histograms: Default::default(),
        }
    }

    pub(super) fn take(
        &mut self,
        field: SampleField,
        sample: &Sample<'_>,
    ) -> Result<(), PageError> {
        if !is_possible(sample.value) {
            return Ok(());
        }
        let (quantity, first) = match field {
            SampleField::Counter(counter, place) => {
                let slot = &mut self.counters[counter as usize][place];
                let first = if counter.metric().adds_up {
                    slot.add(sample.value);
                    true
                } else {
                    slot.put(sample.value)
                };
                (MetricQuantity::Counter(counter), first)
            }
            SampleField::Gauge(gauge, place) => {
                let first = self.gauges[gauge as usize][place].put(sample.value);
                (MetricQuantity::Gauge(gauge), first)
            }
            SampleField::Distribution(which, place, part) => {
                let first = self.histograms[which as usize][place].take(part, sample)?;
                (MetricQuantity::Distribution(which), first)
            }
            SampleField::CacheConfig | SampleField::Adapters => return Ok(()),
        };
        if !first && self.twice.iter().all(|(known, _)| *known != quantity) {
            self.twice.push((quantity, Twice::of(sample)));
        }
        Ok(())
    }

    /// Whether it is an engine: a page may also have vLLM series of no engine (a router's, a tool parser's).
    pub(super) fn is_engine(&self) -> bool {
        let running = newest(&self.gauges[Gauge::Running as usize]);
        let generated = newest(&self.counters[Counter::GenerationTokens as usize]);
        self.server.is_none() && (running.is_some() || generated.is_some())
    }

    /// The totals without page-wide facts.
    pub(super) fn finish(self, publisher: Publisher, cache: CacheConfig) -> EngineTotals {
        let block = cache.block_size.unwrap_or(USUAL_BLOCK);
        let mut counters = Counters::default();
        for &counter in Counter::ALL {
            let [present, former] = self.counters[counter as usize].map(Slot::value);
            let unit = if counter.metric().formerly_blocks {
                block
            } else {
                1.0
            };
            if let Some(value) = present.or_else(|| Some(former? * unit)) {
                counters.set(counter, value);
            }
        }
        let mut gauges = Gauges::default();
        for &gauge in Gauge::ALL {
            if let Some(value) = newest(&self.gauges[gauge as usize]) {
                gauges.set(gauge, value);
            }
        }
        let mut histograms = Histograms::default();
        for (&which, names) in Distribution::ALL.iter().zip(self.histograms) {
            let read = names.into_iter().find_map(DraftHistogram::finish);
            *histograms.slot(which) = read.map(|histogram| Histogram {
                sum_of_midpoints: publisher == Publisher::Ray,
                ..histogram
            });
        }
        EngineTotals {
            counters,
            gauges,
            histograms,
            cache,
            ..EngineTotals::empty(self.key, Seconds::ZERO)
        }
    }
}

fn newest(names: &NamedValue<Slot>) -> Option<f64> {
    names.iter().find_map(|slot| slot.value())
}

impl DraftHistogram {
    /// Takes one line, and returns whether it is the first of its kind.
    fn take(&mut self, part: HistogramPart, sample: &Sample<'_>) -> Result<bool, PageError> {
        let first = match part {
            HistogramPart::Sum => self.sum.put(sample.value),
            HistogramPart::Count => self.count.put(sample.value),
            HistogramPart::Bucket => self.bucket(sample)?,
        };
        self.unsure |= !first;
        Ok(first)
    }

    /// Adds a bucket, unless it exists.
    fn bucket(&mut self, sample: &Sample<'_>) -> Result<bool, PageError> {
        let buckets = &mut self.buckets.buckets;
        if buckets.len() > MOST_BUCKETS {
            return Err(PageError::TooManyBuckets(super::twice::quoted(sample)));
        }
        let le = sample.labels.get("le").and_then(|le| le.parse().ok());
        let Some(le) = le.filter(|le: &f64| !le.is_nan()) else {
            return Ok(true);
        };
        // Pages list buckets in ascending order, so this is a push.
        let place = buckets.iter().rposition(|&(bound, _)| bound <= le);
        if place.is_some_and(|place| buckets[place].0.total_cmp(&le).is_eq()) {
            return Ok(false);
        }
        buckets.insert(place.map_or(0, |place| place + 1), (le, sample.value));
        Ok(true)
    }

    fn finish(self) -> Option<Histogram> {
        let (sum, count) = (self.sum.value()?, self.count.value()?);
        (!self.unsure).then_some(Histogram {
            sum,
            count,
            ..self.buckets
        })
    }
}

/// Whether `value` is possible; an impossible one counts as absent, because a sum would keep it forever.
fn is_possible(value: f64) -> bool {
    (0.0..=LARGEST).contains(&value)
}

/// The label `engine`; `"0"` for a vLLM without the label; under Ray Serve prefixed with the replica, because replicas share a page, or
/// with the worker if an older vLLM names no replica.
pub(super) fn engine_label(sample: &Sample<'_>, publisher: Publisher) -> String {
    let engine = sample.labels.get("engine").unwrap_or(Cow::Borrowed("0"));
    if publisher == Publisher::Vllm {
        return engine.into_owned();
    }
    let named = |label| sample.labels.get(label).filter(|value| !value.is_empty());
    match named("ReplicaId").or_else(|| named("WorkerId")) {
        Some(replica) => format!("{replica}/{engine}"),
        None => engine.into_owned(),
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
        blocks_overridden: number("num_gpu_blocks_override", MOST_KV_TOKENS).is_some(),
    }
}

/// Number of adapters that a line of `lora_requests_info` names as running.
pub(super) fn running_adapters(sample: &Sample<'_>) -> f64 {
    let names = sample.labels.get("running_lora_adapters");
    let names = names.as_deref().unwrap_or_default().split(',');
    names.filter(|name| !name.is_empty()).count() as f64
}
